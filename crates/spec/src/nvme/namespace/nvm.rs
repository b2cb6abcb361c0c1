//! The NVM Command Set's own part of Identify Namespace (NVM Command Set 1.1 §4.1.5.3, Figures 118 and
//! 119).

use core::fmt;
use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::MAX_LBA_FORMATS;
use crate::le::Le32;
use crate::nvme::identify::IDENTIFY_SIZE;
use crate::nvme::protection::ProtectionFormat;
use crate::opaque::Opaque;
use crate::words::{Hex, lines};

/// PIC, Protection Information Capabilities.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Pic {
    /// 16b Guard Protection Information Storage Tag Support.
    pub pists16b: bool,
    /// 16b Guard Protection Information Storage Tag Mask: it must be all ones.
    pub pistm16b: bool,
    /// Storage Tag Check Read Support.
    pub stcrs: bool,
    /// Qualified Protection Information Format Support.
    pub qpifs: bool,
    #[bits(4)]
    __: u8,
}
display_words!(Pic {
    "PISTS16B" => (pists16b), "PISTM16B" => (pistm16b), "STCRS" => (stcrs), "QPIFS" => (qpifs),
});

open_enum! {
    /// Storage Tag Masking Level Attribute (PIFA.STMLA).
    pub struct StorageTagMasking: u8 {
        BIT = 0b000 => "Bit Granularity Masking",
        BYTE = 0b001 => "Byte Granularity Masking",
        NOT_SUPPORTED = 0b010 => "Masking Not Supported",
    }
}

/// PIFA, Protection Information Format Attribute.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Pifa {
    /// Storage Tag Masking Level Attribute.
    #[bits(3)]
    pub stmla: StorageTagMasking,
    #[bits(5)]
    __: u8,
}
display_words!(Pifa { "STMLA" => (stmla) });

open_enum! {
    /// Qualified Protection Information Format: counts where the format is of the qualified type.
    pub struct QualifiedFormat: u8 {
        GUARD_16 = 0x0 => "16b Guard",
        GUARD_32 = 0x1 => "32b Guard",
        GUARD_64 = 0x2 => "64b Guard",
    }
}

/// ELBAF, an extended LBA format: what the LBA format of the same index adds.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ExtendedLbaFormat {
    /// Storage Tag Size: most significant bits of the storage and reference space.
    #[bits(7)]
    pub sts: u8,
    /// Protection Information Format.
    #[bits(2)]
    pub pif: ProtectionFormat,
    /// Qualified Protection Information Format.
    #[bits(4)]
    pub qpif: QualifiedFormat,
    #[bits(19)]
    __: u32,
}
display_words!(ExtendedLbaFormat { "STS" => (sts), "PIF" => (pif), "QPIF" => (qpif) });

/// I/O Command Set specific Identify Namespace of the NVM Command Set, CNS 05h and CSI 00h: 4096 bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct IdentifyNamespaceNvm {
    /// Logical Block Storage Tag Mask.
    pub lbstm: U64,
    /// Protection Information Capabilities.
    pub pic: Pic,
    /// Protection Information Format Attribute.
    pub pifa: Pifa,
    /// Reserved.
    pub reserved10: Opaque<2>,
    /// Extended LBA formats.
    pub elbaf: [Le32<ExtendedLbaFormat>; MAX_LBA_FORMATS],
    /// Namespace Preferred Deallocate Granularity Large in logical blocks, 0 for none.
    pub npdgl: U32,
    /// Namespace Preferred Read Granularity in logical blocks, minus 1.
    pub nprg_z: U32,
    /// Namespace Preferred Read Alignment in logical blocks, minus 1.
    pub npra_z: U32,
    /// Namespace Optimal Read Size in logical blocks, minus 1.
    pub nors_z: U32,
    /// Namespace Preferred Deallocate Alignment Large in logical blocks, 0 for none.
    pub npdal: U32,
    /// LBA Format Placement Shard Size in logical blocks, 0 if not reported.
    pub lbapss: U32,
    /// Tracked LBA Allocation Granularity in logical blocks, 0 if not reported.
    pub tlbaag: U32,
    /// Reserved.
    pub reserved296: Opaque<3800>,
}
const _: () = assert!(size_of::<IdentifyNamespaceNvm>() == IDENTIFY_SIZE);
const _: () = assert!(offset_of!(IdentifyNamespaceNvm, pic) == 8);
const _: () = assert!(offset_of!(IdentifyNamespaceNvm, elbaf) == 12);
const _: () = assert!(offset_of!(IdentifyNamespaceNvm, npdgl) == 268);
const _: () = assert!(offset_of!(IdentifyNamespaceNvm, nors_z) == 280);
const _: () = assert!(offset_of!(IdentifyNamespaceNvm, tlbaag) == 292);

impl Default for IdentifyNamespaceNvm {
    /// All zero: nothing beyond the Identify Namespace data structure.
    fn default() -> Self {
        Self::new_zeroed()
    }
}

impl fmt::Display for IdentifyNamespaceNvm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(
            f,
            &[
                ("LBSTM", &Hex(self.lbstm)),
                ("PIC", &self.pic),
                ("PIFA", &self.pifa),
                ("NPDGL", &self.npdgl),
                ("NPRG", &self.nprg_z),
                ("NPRA", &self.npra_z),
                ("NORS", &self.nors_z),
                ("NPDAL", &self.npdal),
                ("LBAPSS", &self.lbapss),
                ("TLBAAG", &self.tlbaag),
            ],
        )?;
        let used =
            self.elbaf.iter().enumerate().filter(|(_, format)| format.get().into_bits() != 0);
        for (index, format) in used {
            write!(f, "\nelbaf {index:>4}: {format}")?;
        }
        Ok(())
    }
}
