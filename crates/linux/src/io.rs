//! The data path of the kernel: direct I/O between files and memory, and what tells whether it was direct.
//!
//! - [`DirectFile`]: a file or block device open with `O_DIRECT`, or a namespace open for NVMe commands, with what
//!   it can do.
//! - [`LentMemory`]: memory of a device, as the kernel lends it (`p2pmem/allocate`).
//! - [`Resets`]: whether a controller was reset, so that what was lost with that does not pass for moved.
//! - [`Queue`]: requests under way, by io_uring or one at a time.
//! - [`MemoryControllers`]: what all memory of the machine was read and written meanwhile, by its own counters.
//! - [`Watch`]: what the page cache says about a file, so that a transfer that was staged in host memory does not
//!   pass for one that was not.

mod controllers;
mod direct;
mod extents;
mod insertions;
mod lent;
mod namespace;
mod passthrough;
mod perf;
mod processor;
mod resets;
mod residency;
mod ring;
mod watch;

pub use controllers::MemoryControllers;
pub use direct::{Access, DirectFile, OpenError, bytes_at};
pub use extents::{Extent, extents};
pub use lent::{LendError, LentMemory, Pool};
pub use namespace::Unfit;
pub use passthrough::{CommandError, identify_controller};
pub use processor::{context_switches, processor_time};
pub use resets::{Fate, Resets, is_leaving};
pub use residency::Means;
pub use ring::{Completion, Direction, Engine, Queue, Request, register};
pub use watch::{Blind, Seen, Watch};
