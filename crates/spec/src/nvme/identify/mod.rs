//! What Identify returns about controllers, and its lists (NVMe Base 2.1 §5.1.13.2, NVM Command Set 1.1
//! §4.1.5). Namespaces are in [`namespace`](crate::nvme::namespace).

mod admin_capabilities;
mod attributes;
mod command_set;
mod controller;
mod controller_display;
mod descriptors;
mod io_capabilities;
mod lists;
mod power;
mod resources;
mod virtualization;

pub use admin_capabilities::{
    Anacap, Apsta, Dsto, Frmw, Hctma, Kpioc, Lpa, NoDeallocateModifies, Oacs, Rpmbs, Sanicap,
    Tmpthha, VendorSpecificCommands,
};
pub use attributes::{
    Bpcap, Cmic, ControllerType, Crcap, Ctratt, Mec, Nvmsr, Oaes, Plsi, RpmbBootProtection, Vwci,
};
pub use command_set::{
    Aocs, CommandSetVector, CommandSets, IdentifyControllerNvm, Kpiocap, LbaMigrationQueueFormat,
};
pub use controller::IdentifyController;
pub use descriptors::{
    NamespaceDescriptor, NamespaceDescriptorHeader, NamespaceDescriptors, NamespaceIdType,
};
pub use io_capabilities::{
    Cdfs, DiscoveryControllerType, Fcatt, FlushBehavior, Fna, Fuses, Nwpc, Ofcs, Oncs,
    QueueEntrySizes, SglSupport, Sgls, Trattr, Vwc,
};
pub use lists::{
    ControllerList, NamespaceList, UuidAssociation, UuidEntry, UuidEntryHeader, UuidList,
};
pub use power::{
    ActivePowerWorkload, IdlePowerScale, PowerLossScales, PowerScale, PowerStateDescriptor,
    PowerStateFlags,
};
pub use resources::{
    DomainAttributes, DomainList, EnduranceGroupList, NamespaceGranularity,
    NamespaceGranularityAttributes, NamespaceGranularityList, NvmSetAttributes, NvmSetList,
};
pub use virtualization::{
    ControllerResourceTypes, PrimaryControllerCapabilities, SecondaryController,
    SecondaryControllerList, SecondaryState,
};

/// Bytes of a structure that Identify returns (NVMe Base 2.1 §5.1.13.2).
pub const IDENTIFY_SIZE: usize = 4096;

#[cfg(test)]
mod tests;
