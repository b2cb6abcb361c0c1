//! The ends of transfers.

mod counted;
mod direct;
mod host;
mod nvme;

pub(crate) use counted::Counted;
pub(crate) use direct::{DirectClient, Moved, Way};
pub use host::HostClient;
pub(crate) use nvme::NvmeClient;
