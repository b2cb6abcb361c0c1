//! A user-space NVMe driver: it drives an NVMe controller through a [`Function`](p2pdma_pci::Function), and
//! knows nothing else of the platform below (NVMe Base 2.1, NVM Command Set 1.1, NVMe over PCIe 1.1).
//!
//! ```no_run
//! # fn example(function: std::sync::Arc<dyn p2pdma_pci::Function>) -> Result<(), p2pdma_nvme::Error> {
//! use p2pdma_nvme::{Controller, Data, Options, QueueOptions};
//! let controller = Controller::open(function, Options::default())?;
//! let namespace = controller.namespace(1)?;
//! let mut queue = controller.queue_pair(&QueueOptions::default())?;
//! let buffer = controller.alloc_dma(4096)?;
//! queue.submit(&namespace.read(0, 1)?, Data::from(&buffer), buffer)?;
//! let completion = queue.wait(p2pdma_pci::Duration::from_millis(1000))?.expect("one is in flight");
//! completion.outcome?; // `completion.token` is the buffer, and it holds block 0
//! # Ok(())
//! # }
//! ```
//!
//! # The lifetime of buffers
//!
//! A controller may use memory from the moment that a command names it until the command is over. So
//! whatever keeps the memory (a [`DmaBuffer`](p2pdma_pci::DmaBuffer), an `Arc` of one, a [`CmbBuffer`], a
//! [`PeerWindow`](p2pdma_pci::PeerWindow)) goes into the queue with the command, as its *token*, and the
//! queue gives it back in two cases only: with the command's [`Completion`], or with proof that the
//! controller is fenced: it deleted the queue, or was reset and said so. Without such proof a dropped
//! queue leaks its tokens and its memory; that is better than to let a device write to memory that has a
//! new owner. Memory that serves many commands, a pool, can stay with the caller, with an index as the
//! token; the caller then gives it back to the platform after the last [`QueuePair`] that used it said that it
//! is retired ([`QueuePair::retire`]), or not at all.
//!
//! # Layers
//!
//! [`Controller`] (admin commands, recovery) and [`QueuePair`] (I/O) are views of one shared state;
//! [`Namespace`] makes [`Command`]s; [`Data`] says where their data are, in host memory, a [`Cmb`], a
//! [`Pmr`] or a peer. Below are `p2pdma-pci` (the seam), `p2pdma-mem` (shared bytes), `p2pdma-spec` (the
//! words of the specification).
//!
//! **Invariants.** Every wait ends, by the function's clock. Nothing that a device does makes the driver
//! panic, or makes it touch or give away memory that it should not. The path of an I/O command allocates
//! nothing, takes no lock and reads no clock; a batch of commands costs one write of each doorbell.
//!
//! What it is not: it brings no policy of retries, timeouts or scheduling. It says what happened, and
//! offers [`QueuePair::recover`].

#![forbid(unsafe_code)]

mod admin;
mod cmb;
mod controller;
mod data;
mod error;
mod function;
mod memory;
mod namespace;
mod nvm;
mod options;
mod pmr;
mod prp;
mod queue;
mod registers;
mod reset;
mod sgl;
mod shared;
mod time;
mod unbroken;
#[cfg(test)]
#[path = "../tests/nvme/support/walk.rs"]
mod walk;

pub use admin::{AdminData, AdminReply, Setting};
pub use cmb::{Cmb, CmbBuffer, CmbWindow};
pub use controller::Controller;
pub use data::{Data, Segment, SglSegment};
pub use error::{Cause, Error, Failure, Rejected, Violation};
pub use namespace::{BlockFormat, Namespace};
pub use nvm::{Command, write_ranges};
pub use options::{Options, Placement, QueueOptions};
pub use pmr::{Pmr, PmrWindow};
pub use queue::{CommandId, Completion, QueuePair, Recovery};
pub use unbroken::Unbroken;

/// The memory page of this driver in bytes: the smallest that the specification knows (CC.MPS 0), which
/// every controller that it opens supports.
pub(crate) const PAGE: u64 = 4096;
