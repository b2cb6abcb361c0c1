//! A PCI function as a driver holds it, and the topology that says who can reach whom.
//!
//! - The **lower seam**: [`Function`] and [`Clock`]. A platform (the software fabric, vfio) hands out
//!   functions; a driver brings everything else.
//! - The **topology** and its peer-to-peer verdict: [`topology`].
//! - The **machine file** that describes a machine once, for the fabric and for the lab: [`machine`].
//! - **Users' lists** of host bridges, which add to the kernel's: [`lists`].
//!
//! Pure: this crate does no I/O, holds no device and reads no clock. Below it are `p2pdma-spec` (words)
//! and `p2pdma-mem` (shared bytes).

#![forbid(unsafe_code)]

mod address;
mod bar;
mod config;
mod error;
mod function;
pub mod lists;
pub mod machine;
mod size;
mod suggest;
mod time;
pub mod topology;

pub use address::{BarIndex, Bdf, BusAddr, Iova, ParseBdfError};
pub use bar::{Bar, BarAccess, Lease, PeerWindow};
pub use config::{ConfigSpace, Width};
pub use error::Error;
pub use function::{DmaBuffer, Function, Interrupt, InterruptLine};
pub use size::Size;
pub use suggest::nearest;
pub use time::{Clock, Duration, Instant};
