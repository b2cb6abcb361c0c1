//! Lists of NVM sets, endurance groups, domains, and sizes of namespaces.

use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IDENTIFY_SIZE;
use crate::le::Le32;
use crate::opaque::Opaque;

/// Attributes of an NVM set.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct NvmSetAttributes {
    /// NVM Set Identifier.
    pub nvmsetid: U16,
    /// Endurance Group Identifier.
    pub endgid: U16,
    /// Reserved.
    pub reserved4: Opaque<4>,
    /// Random 4 KiB Read Typical in units of 100 nanoseconds, 0 if not reported.
    pub rr4kt: U32,
    /// Optimal Write Size in bytes, 0 if not reported.
    pub ows: U32,
    /// Total NVM Set Capacity in bytes.
    pub tnvmsetcap: U128,
    /// Unallocated NVM Set Capacity in bytes.
    pub unvmsetcap: U128,
    /// Reserved.
    pub reserved48: Opaque<80>,
}
const _: () = assert!(size_of::<NvmSetAttributes>() == 128);
const _: () = assert!(offset_of!(NvmSetAttributes, rr4kt) == 8);
const _: () = assert!(offset_of!(NvmSetAttributes, tnvmsetcap) == 16);
const _: () = assert!(offset_of!(NvmSetAttributes, unvmsetcap) == 32);

display_lines!(NvmSetAttributes {
    "NVMSETID" => (nvmsetid), "ENDGID" => (endgid), "RR4KT" => (rr4kt), "OWS" => (ows),
    "TNVMSETCAP" => (tnvmsetcap), "UNVMSETCAP" => (unvmsetcap),
});

/// NVM Set List, CNS 04h (NVMe Base 2.1 §5.1.13.2.4).
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct NvmSetList {
    /// Number of Identifiers: up to 31.
    pub numid: u8,
    /// Reserved.
    pub reserved1: Opaque<127>,
    /// The entries.
    pub entries: [NvmSetAttributes; 31],
}
const _: () = assert!(size_of::<NvmSetList>() == IDENTIFY_SIZE);

/// Attributes of a domain.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct DomainAttributes {
    /// Domain Identifier.
    pub did: U16,
    /// Reserved.
    pub reserved2: Opaque<14>,
    /// Total Domain Capacity in bytes.
    pub total_capacity: U128,
    /// Unallocated Domain Capacity in bytes.
    pub unallocated_capacity: U128,
    /// Max Endurance Group Domain Capacity in bytes.
    pub max_endurance_group_capacity: U128,
    /// Reserved.
    pub reserved64: Opaque<64>,
}
const _: () = assert!(size_of::<DomainAttributes>() == 128);
const _: () = assert!(offset_of!(DomainAttributes, total_capacity) == 16);
const _: () = assert!(offset_of!(DomainAttributes, max_endurance_group_capacity) == 48);

display_lines!(DomainAttributes {
    "DID" => (did), "Total" => (total_capacity), "Unalloc" => (unallocated_capacity),
    "MaxEndGrp" => (max_endurance_group_capacity),
});

/// Domain List, CNS 18h (NVMe Base 2.1 §5.1.13.2.15).
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct DomainList {
    /// Number of Domain Attributes Entries: up to 31.
    pub numid: u8,
    /// Reserved.
    pub reserved1: Opaque<127>,
    /// The entries.
    pub entries: [DomainAttributes; 31],
}
const _: () = assert!(size_of::<DomainList>() == IDENTIFY_SIZE);

/// Endurance Group List, CNS 19h (NVMe Base 2.1 §5.1.13.2.16).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct EnduranceGroupList {
    /// Number of Identifiers.
    pub numid: U16,
    /// The identifiers.
    pub endgids: [U16; 2047],
}
const _: () = assert!(size_of::<EnduranceGroupList>() == IDENTIFY_SIZE);

impl Default for EnduranceGroupList {
    /// The empty list.
    fn default() -> Self {
        Self::new_zeroed()
    }
}

/// Sizes in whose multiples a namespace wastes no capacity; 0 if not reported.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct NamespaceGranularity {
    /// Namespace Size Granularity in bytes.
    pub nsg: U64,
    /// Namespace Capacity Granularity in bytes.
    pub ncg: U64,
}
const _: () = assert!(size_of::<NamespaceGranularity>() == 16);

display_lines!(NamespaceGranularity { "NSG" => (nsg), "NCG" => (ncg) });

/// NGA, Namespace Granularity Attributes.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct NamespaceGranularityAttributes {
    /// Granularity Descriptor Mapping: entry n is for LBA format n; otherwise entry 0 is for all.
    pub gdm: bool,
    #[bits(31)]
    __: u32,
}
display_words!(NamespaceGranularityAttributes { "GDM" => (gdm) });

/// Namespace Granularity List, CNS 16h (NVM Command Set 1.1 §4.1.5.8).
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct NamespaceGranularityList {
    /// Namespace Granularity Attributes.
    pub nga: Le32<NamespaceGranularityAttributes>,
    /// Number of Descriptors, minus 1: up to 15, or 63 with extended LBA formats.
    pub nd_z: u8,
    /// Reserved.
    pub reserved5: Opaque<27>,
    /// The entries.
    pub entries: [NamespaceGranularity; 64],
    /// Reserved.
    pub reserved1056: Opaque<3040>,
}
const _: () = assert!(size_of::<NamespaceGranularityList>() == IDENTIFY_SIZE);
const _: () = assert!(offset_of!(NamespaceGranularityList, entries) == 32);

impl Default for NamespaceGranularityList {
    /// All zero: one entry that reports nothing.
    fn default() -> Self {
        Self::new_zeroed()
    }
}
