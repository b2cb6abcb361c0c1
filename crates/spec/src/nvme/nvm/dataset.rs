//! Dataset Management (NVM Command Set 1.1 §3.3.3).

use core::fmt;
use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{AccessFrequency, AccessLatency, command_dwords};
use crate::le::Le32;

/// The most ranges of a Dataset Management command: NR is 8 bits, minus 1.
pub const MAX_DATASET_RANGES: usize = 256;

/// Command Dword 10 of Dataset Management.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DatasetManagementCdw10 {
    /// Number of Ranges, minus 1.
    pub nr_z: u8,
    #[bits(24)]
    __: u32,
}
display_words!(DatasetManagementCdw10 { "NR" => (nr_z) });

impl DatasetManagementCdw10 {
    /// How many ranges the command carries: 1 to 256.
    #[must_use]
    pub const fn ranges(self) -> usize {
        self.nr_z() as usize + 1
    }
}

/// Command Dword 11 of Dataset Management.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DatasetManagementCdw11 {
    /// Attribute - Integral Dataset for Read.
    pub idr: bool,
    /// Attribute - Integral Dataset for Write.
    pub idw: bool,
    /// Attribute - Deallocate.
    pub ad: bool,
    #[bits(29)]
    __: u32,
}
display_words!(DatasetManagementCdw11 { "IDR" => (idr), "IDW" => (idw), "AD" => (ad) });

command_dwords!(DatasetManagementCdw10, DatasetManagementCdw11);

/// Context Attributes of a range.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct RangeAttributes {
    /// Access Frequency.
    #[bits(4)]
    pub af: AccessFrequency,
    /// Access Latency.
    #[bits(2)]
    pub al: AccessLatency,
    #[bits(2)]
    __: u8,
    /// Sequential Read Range.
    pub sr: bool,
    /// Sequential Write Range.
    pub sw: bool,
    /// Write Prepare.
    pub wp: bool,
    #[bits(13)]
    __: u16,
    /// Command Access Size: blocks of a typical command, 0 if not known.
    pub access_size: u8,
}
display_words!(RangeAttributes {
    "AF" => (af), "AL" => (al), "SR" => (sr), "SW" => (sw), "WP" => (wp),
    "AccessSize" => (access_size),
});

/// A range of a Dataset Management command.
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
pub struct DatasetRange {
    /// Context Attributes (CATTR).
    pub cattr: Le32<RangeAttributes>,
    /// Length in logical blocks (LLB); not minus 1.
    pub llb: U32,
    /// Starting LBA.
    pub slba: U64,
}
const _: () = assert!(size_of::<DatasetRange>() == 16);
const _: () = assert!(offset_of!(DatasetRange, llb) == 4);
const _: () = assert!(offset_of!(DatasetRange, slba) == 8);

impl fmt::Display for DatasetRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SLBA={} LLB={} {}", self.slba, self.llb, self.cattr)
    }
}
