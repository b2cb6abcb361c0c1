//! The ends of transfers.

mod host;
mod nvme;

pub use host::HostClient;
pub(crate) use nvme::NvmeClient;
