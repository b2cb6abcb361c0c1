//! The words of PCIe and NVMe.

#![forbid(unsafe_code)]

#[macro_use]
mod open_enum;
#[macro_use]
mod words;

pub mod le;
pub mod nvme;
pub mod opaque;
pub mod pci;
pub mod text;
