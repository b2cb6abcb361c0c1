//! Copy (NVM Command Set 1.1 §3.3.2). The destination's first LBA is in Command Dwords 10 and 11.

use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{CommandExtension, command_dwords};
use crate::le::Le16;
use crate::nvme::admin::DirectiveType;
use crate::nvme::protection::Prinfo;

open_enum! {
    /// Descriptor Format: the form of the source ranges (NVM Command Set 1.1 §3.3.2).
    pub struct CopyFormat: u8 {
        /// [`CopyRange0`].
        FORMAT_0 = 0x0 => "Format 0h",
        /// [`CopyRange1`].
        FORMAT_1 = 0x1 => "Format 1h",
        /// [`CopyRange2`].
        FORMAT_2 = 0x2 => "Format 2h",
        /// [`CopyRange3`].
        FORMAT_3 = 0x3 => "Format 3h",
        /// Of the Subsystem Local Memory Command Set.
        FORMAT_4 = 0x4 => "Format 4h",
    }
}

/// Command Dword 12 of Copy.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CopyCdw12 {
    /// Number of Ranges, minus 1.
    pub nr_z: u8,
    /// Descriptor Format.
    #[bits(4)]
    pub desfmt: CopyFormat,
    /// Protection Information of the reads.
    #[bits(4, into = Prinfo::nibble)]
    pub prinfor: Prinfo,
    /// Command Extension Type.
    #[bits(4)]
    pub cetype: CommandExtension,
    /// Directive Type.
    #[bits(4)]
    pub dtype: DirectiveType,
    /// Storage Tag Check of the writes.
    pub stcw: bool,
    /// Storage Tag Check of the reads.
    pub stcr: bool,
    /// Protection Information of the writes.
    #[bits(4, into = Prinfo::nibble)]
    pub prinfow: Prinfo,
    /// Force Unit Access.
    pub fua: bool,
    /// Limited Retry.
    pub lr: bool,
}
display_words!(CopyCdw12 {
    "NR" => (nr_z), "DESFMT" => (desfmt), "PRINFOR" => (prinfor), "CETYPE" => (cetype),
    "DTYPE" => (dtype), "STCW" => (stcw), "STCR" => (stcr), "PRINFOW" => (prinfow),
    "FUA" => (fua), "LR" => (lr),
});

impl CopyCdw12 {
    /// How many source ranges the command carries: 1 to 256.
    #[must_use]
    pub const fn ranges(self) -> usize {
        self.nr_z() as usize + 1
    }
}

/// Command Dword 13 of Copy.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CopyCdw13 {
    /// Command Extension Value.
    pub cev: u16,
    /// Directive Specific.
    pub dspec: u16,
}
display_words!(CopyCdw13 { "CEV" => hex(cev), "DSPEC" => (dspec) });

command_dwords!(CopyCdw12, CopyCdw13);

/// Source Options of a range that names its namespace.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct SourceOptions {
    #[bits(15)]
    __: u16,
    /// Fast Copy Only: fail where copying would not be faster than reading and writing.
    pub fco: bool,
}
display_words!(SourceOptions { "FCO" => (fco) });

/// A source range of format 0h: in the destination's namespace, with a 16-bit guard.
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
pub struct CopyRange0 {
    /// Reserved.
    pub reserved0: [u8; 8],
    /// Starting LBA.
    pub slba: U64,
    /// Number of Logical Blocks, minus 1.
    pub nlb_z: U16,
    /// Command Extension Type in bits 3 to 0.
    pub cetype: CommandExtension,
    /// Reserved.
    pub reserved19: u8,
    /// Command Extension Value.
    pub cev: U16,
    /// Reserved.
    pub reserved22: [u8; 2],
    /// Expected storage tag above the expected initial reference tag (ELBST, EILBRT).
    pub elbt: U32,
    /// Expected Logical Block Application Tag.
    pub elbat: U16,
    /// Expected Logical Block Application Tag Mask.
    pub elbatm: U16,
}
const _: () = assert!(size_of::<CopyRange0>() == 32);
const _: () = assert!(offset_of!(CopyRange0, slba) == 8);
const _: () = assert!(offset_of!(CopyRange0, cev) == 20);
const _: () = assert!(offset_of!(CopyRange0, elbt) == 24);
const _: () = assert!(offset_of!(CopyRange0, elbatm) == 30);

/// A source range of format 1h: in the destination's namespace, with a 32-bit or 64-bit guard.
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
pub struct CopyRange1 {
    /// Reserved.
    pub reserved0: [u8; 8],
    /// Starting LBA.
    pub slba: U64,
    /// Number of Logical Blocks, minus 1.
    pub nlb_z: U16,
    /// Command Extension Type in bits 3 to 0.
    pub cetype: CommandExtension,
    /// Reserved.
    pub reserved19: u8,
    /// Command Extension Value.
    pub cev: U16,
    /// Reserved.
    pub reserved22: [u8; 4],
    /// Expected storage tag above the expected initial reference tag (ELBST, EILBRT): 80 bits.
    pub elbt: [u8; 10],
    /// Expected Logical Block Application Tag.
    pub elbat: U16,
    /// Expected Logical Block Application Tag Mask.
    pub elbatm: U16,
}
const _: () = assert!(size_of::<CopyRange1>() == 40);
const _: () = assert!(offset_of!(CopyRange1, cev) == 20);
const _: () = assert!(offset_of!(CopyRange1, elbt) == 26);
const _: () = assert!(offset_of!(CopyRange1, elbat) == 36);

/// A source range of format 2h: like format 0h, in any namespace.
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
pub struct CopyRange2 {
    /// Source Namespace Identifier.
    pub snsid: U32,
    /// Reserved.
    pub reserved4: [u8; 4],
    /// Starting LBA.
    pub slba: U64,
    /// Number of Logical Blocks, minus 1.
    pub nlb_z: U16,
    /// Command Extension Type in bits 3 to 0.
    pub cetype: CommandExtension,
    /// Reserved.
    pub reserved19: u8,
    /// Command Extension Value.
    pub cev: U16,
    /// Source Options.
    pub sopt: Le16<SourceOptions>,
    /// Expected storage tag above the expected initial reference tag (ELBST, EILBRT).
    pub elbt: U32,
    /// Expected Logical Block Application Tag.
    pub elbat: U16,
    /// Expected Logical Block Application Tag Mask.
    pub elbatm: U16,
}
const _: () = assert!(size_of::<CopyRange2>() == 32);
const _: () = assert!(offset_of!(CopyRange2, sopt) == 22);
const _: () = assert!(offset_of!(CopyRange2, elbt) == 24);

/// A source range of format 3h: like format 1h, in any namespace.
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
pub struct CopyRange3 {
    /// Source Namespace Identifier.
    pub snsid: U32,
    /// Reserved.
    pub reserved4: [u8; 4],
    /// Starting LBA.
    pub slba: U64,
    /// Number of Logical Blocks, minus 1.
    pub nlb_z: U16,
    /// Command Extension Type in bits 3 to 0.
    pub cetype: CommandExtension,
    /// Reserved.
    pub reserved19: u8,
    /// Command Extension Value.
    pub cev: U16,
    /// Source Options.
    pub sopt: Le16<SourceOptions>,
    /// Reserved.
    pub reserved24: [u8; 2],
    /// Expected storage tag above the expected initial reference tag (ELBST, EILBRT): 80 bits.
    pub elbt: [u8; 10],
    /// Expected Logical Block Application Tag.
    pub elbat: U16,
    /// Expected Logical Block Application Tag Mask.
    pub elbatm: U16,
}
const _: () = assert!(size_of::<CopyRange3>() == 40);
const _: () = assert!(offset_of!(CopyRange3, sopt) == 22);
const _: () = assert!(offset_of!(CopyRange3, elbt) == 26);
const _: () = assert!(offset_of!(CopyRange3, elbat) == 36);
