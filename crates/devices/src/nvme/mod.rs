//! An NVMe controller (NVMe Base 2.1, NVM Command Set 1.1, NVMe over PCIe Transport 1.1).
//!
//! A doorbell makes the controller fetch submission entries in one burst, carry the commands out, and
//! post their completions in one write. Where transfers or media take time, the commands wait in a queue
//! of their own for the instants at which their stages are done, so that they complete in modelled time
//! and in the order that it gives.
//!
//! **Invariant: what a host can write is read once.** Queue entries, lists and descriptors are fetched into
//! owned values, and only those are looked at.
//!
//! **Invariant: a command is fetched only if its completion has room.** So nothing is ever overwritten, and
//! a host that does not take completions stops nobody but itself.

mod admin;
mod arbitration;
mod bad_blocks;
mod cmb;
mod config;
mod controller;
mod dma;
mod engine;
mod event;
mod feature;
mod format;
mod identify;
mod jobs;
mod label;
mod log;
mod media;
mod namespace;
mod nvm;
mod pmr;
mod protection;
mod prp;
mod queue;
mod registers;
mod reply;
mod segments;
mod sgl;
mod shadow;
mod subsystem;

pub use cmb::{CmbConfig, CmbUses};
pub use config::{ControllerConfig, NvmeConfig, SubsystemConfig};
pub use controller::NvmeController;
pub use media::{Fill, Media, MediaError, MediaTiming, ServiceTime, Take};
pub use namespace::{CacheConfig, MediaConfig, NamespaceConfig};
pub use pmr::PmrConfig;
pub use subsystem::Subsystem;
