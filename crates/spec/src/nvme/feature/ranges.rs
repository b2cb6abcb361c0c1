//! LBA Range Type, FID 03h (NVM Command Set 1.1 §4.1.3.1).

use core::fmt;
use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::nvme::admin::command_dwords;
use crate::opaque::Opaque;

/// Command Dword 11 of Set Features, and Dword 0 of the completion of Get Features.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LbaRangeCount {
    /// Number of LBA Ranges, minus 1.
    #[bits(6)]
    pub num_z: u8,
    #[bits(26)]
    __: u32,
}
display_words!(LbaRangeCount { "NUM" => (num_z) });
command_dwords!(LbaRangeCount);

open_enum! {
    /// Type of an LBA range.
    pub struct LbaRangeType: u8 {
        GENERAL_PURPOSE = 0x00 => "General Purpose",
        FILESYSTEM = 0x01 => "Filesystem",
        RAID = 0x02 => "RAID",
        CACHE = 0x03 => "Cache",
        PAGE_OR_SWAP_FILE = 0x04 => "Page or swap file",
    }
}

/// Attributes of an LBA range.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct LbaRangeAttributes {
    /// LBA Range Overwriteable.
    pub lbaro: bool,
    /// Hide LBA Range from the operating system and the firmware.
    pub hlbar: bool,
    #[bits(6)]
    __: u8,
}
display_words!(LbaRangeAttributes { "LBARO" => (lbaro), "HLBAR" => (hlbar) });

/// An LBA range: 64 bytes, of which a namespace has up to 64.
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
pub struct LbaRange {
    /// Type.
    pub range_type: LbaRangeType,
    /// Attributes.
    pub attrb: LbaRangeAttributes,
    /// Reserved.
    pub reserved2: Opaque<14>,
    /// Starting LBA.
    pub slba: U64,
    /// Number of Logical Blocks, minus 1.
    pub nlb_z: U64,
    /// Unique Identifier: the host's own, which tells the type.
    pub guid: [u8; 16],
    /// Reserved.
    pub reserved48: Opaque<16>,
}
const _: () = assert!(size_of::<LbaRange>() == 64);
const _: () = assert!(offset_of!(LbaRange, slba) == 16);
const _: () = assert!(offset_of!(LbaRange, guid) == 32);

impl fmt::Display for LbaRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} SLBA={} NLB={}", self.range_type, self.attrb, self.slba, self.nlb_z)
    }
}
