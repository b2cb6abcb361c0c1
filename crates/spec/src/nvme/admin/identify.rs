//! The Identify command (NVMe Base 2.1 §5.1.13). What it returns is in
//! [`identify`](crate::nvme::identify) and [`namespace`](crate::nvme::namespace).

use bitfield_struct::bitfield;

use super::command_dwords;
use crate::nvme::CommandSet;

open_enum! {
    /// Controller or Namespace Structure: which data structure to return (NVMe Base 2.1 §5.1.13.1,
    /// Figure 310).
    pub struct Cns: u8 {
        NAMESPACE = 0x00 => "Identify Namespace",
        CONTROLLER = 0x01 => "Identify Controller",
        ACTIVE_NAMESPACES = 0x02 => "Active Namespace ID list",
        NAMESPACE_DESCRIPTORS = 0x03 => "Namespace Identification Descriptor list",
        NVM_SETS = 0x04 => "NVM Set List",
        COMMAND_SET_NAMESPACE = 0x05 => "I/O Command Set specific Identify Namespace",
        COMMAND_SET_CONTROLLER = 0x06 => "I/O Command Set specific Identify Controller",
        COMMAND_SET_ACTIVE_NAMESPACES = 0x07 => "I/O Command Set specific Active Namespace ID list",
        INDEPENDENT_NAMESPACE = 0x08 => "I/O Command Set Independent Identify Namespace",
        NAMESPACE_FOR_FORMAT = 0x09 => "Identify Namespace for a Format Index",
        COMMAND_SET_NAMESPACE_FOR_FORMAT = 0x0A => "I/O Command Set specific Identify Namespace for a Format Index",
        ALLOCATED_NAMESPACES = 0x10 => "Allocated Namespace ID list",
        ALLOCATED_NAMESPACE = 0x11 => "Identify Namespace for an Allocated Namespace ID",
        ATTACHED_CONTROLLERS = 0x12 => "Namespace Attached Controller List",
        CONTROLLERS = 0x13 => "Controller List",
        PRIMARY_CONTROLLER_CAPABILITIES = 0x14 => "Primary Controller Capabilities",
        SECONDARY_CONTROLLERS = 0x15 => "Secondary Controller List",
        NAMESPACE_GRANULARITY = 0x16 => "Namespace Granularity List",
        UUIDS = 0x17 => "UUID List",
        DOMAINS = 0x18 => "Domain List",
        ENDURANCE_GROUPS = 0x19 => "Endurance Group List",
        COMMAND_SET_ALLOCATED_NAMESPACES = 0x1A => "I/O Command Set specific Allocated Namespace ID list",
        COMMAND_SET_ALLOCATED_NAMESPACE = 0x1B => "I/O Command Set specific Identify Namespace for an Allocated Namespace ID",
        COMMAND_SETS = 0x1C => "I/O Command Set data structure",
        UNDERLYING_NAMESPACES = 0x1D => "Underlying Namespace List",
        PORTS = 0x1E => "Ports List",
        INDEPENDENT_ALLOCATED_NAMESPACE = 0x1F => "I/O Command Set Independent Identify Namespace for an Allocated Namespace ID",
        CONTROLLER_STATE_FORMATS = 0x20 => "Supported Controller State Formats",
    }
}

/// Command Dword 10 of Identify.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct IdentifyCdw10 {
    /// Controller or Namespace Structure.
    #[bits(8)]
    pub cns: Cns,
    __: u8,
    /// Controller Identifier, where the structure needs one.
    pub cntid: u16,
}
display_words!(IdentifyCdw10 { "CNS" => (cns), "CNTID" => (cntid) });

/// Command Dword 11 of Identify.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct IdentifyCdw11 {
    /// CNS Specific Identifier: an NVM set, an endurance group, a domain, or a format index.
    pub cnssid: u16,
    __: u8,
    /// Command Set Identifier.
    #[bits(8)]
    pub csi: CommandSet,
}
display_words!(IdentifyCdw11 { "CNSSID" => (cnssid), "CSI" => (csi) });

/// Command Dword 14 of Identify, Get Features and Set Features.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct UuidIndexCdw14 {
    /// UUID Index: which UUID a vendor specific request is meant for, 0 for none.
    #[bits(7)]
    pub uidx: u8,
    #[bits(25)]
    __: u32,
}
display_words!(UuidIndexCdw14 { "UIDX" => (uidx) });

command_dwords!(IdentifyCdw10, IdentifyCdw11, UuidIndexCdw14);
