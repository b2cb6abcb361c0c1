//! PCI Express: configuration space and capabilities (PCIe Base 6.0).

pub mod acs;
pub mod aer;
pub mod ats;
pub mod bar;
pub mod bridge;
pub mod capability;
pub mod class;
pub mod config;
pub mod express;
pub mod msix;
pub mod power;
pub mod resizable_bar;
pub mod tlp;
