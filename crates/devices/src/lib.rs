//! Device models to plug into the fabric.
//!
//! - [`nvme`]: an NVMe 2.1 controller with controller memory buffer and persistent memory region.
//! - [`BarMemoryDevice`]: a plain endpoint with memory behind a BAR, like an accelerator's.
//! - [`DataMover`]: an engine that copies from any address to any address, by descriptors.
//!
//! **Invariant: a model sees only its port.** It emits addresses, and never learns whether they are host
//! memory, a peer or nothing. Input is hostile: it is answered with a status, never with a panic, and with
//! a bounded amount of work per call.
//!
//! Below are `p2pdma-fabric` (the seam), `p2pdma-pci`, `p2pdma-mem` and `p2pdma-spec`. No driver is known
//! here.
//!
//! ```
//! use p2pdma_devices::nvme::{NvmeConfig, NvmeController};
//! use p2pdma_fabric::Endpoint;
//! let controller = NvmeController::new(NvmeConfig::default())?;
//! assert_eq!(controller.describe().bars.len(), 1);
//! # Ok::<(), p2pdma_devices::Error>(())
//! ```

#![forbid(unsafe_code)]

mod bar_memory;
pub mod data_mover;
mod error;
pub mod nvme;

pub use bar_memory::{BarMemoryConfig, BarMemoryDevice};
pub use data_mover::{DataMover, DataMoverConfig};
pub use error::Error;
