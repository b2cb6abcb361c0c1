//! The ends of transfers.

mod direct;
mod host;
mod nvme;

pub(crate) use direct::{DirectClient, Moved, Way};
pub use host::HostClient;
pub(crate) use nvme::NvmeClient;
