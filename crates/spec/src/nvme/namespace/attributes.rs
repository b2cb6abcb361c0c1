//! Fields of the Identify Namespace structures (NVM Command Set 1.1 §4.1.5.1, Figures 114 to 116).

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::nvme::protection::ProtectionType;

open_enum! {
    /// Which preferred sizes and alignments of writes are reported (NSFEAT.OPTPERF).
    pub struct PreferredSizes: u8 {
        NONE = 0b00 => "None",
        SMALL = 0b01 => "NPWG, NPWA, NPDG, NPDA, NOWS",
        LARGE = 0b10 => "NPWG, NPWA, NPDGL, NPDAL, NOWS",
        ALL = 0b11 => "NPWG, NPWA, NPDG, NPDGL, NPDA, NPDAL, NOWS",
    }
}

/// NSFEAT, Namespace Features of the NVM Command Set.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Nsfeat {
    /// Thin Provisioning: the capacity may be less than the size.
    pub thinp: bool,
    /// Namespace Supported Atomic Boundary and Power: NAWUN, NAWUPF and NACWU count instead of the
    /// controller's.
    pub nsabp: bool,
    /// Deallocated Error: reading a deallocated block can be an error.
    pub dae: bool,
    /// UID Reuse: NGUID and EUI64 are never used for another namespace.
    pub uidreuse: bool,
    /// Optional Write Performance.
    #[bits(2)]
    pub optperf: PreferredSizes,
    /// Multiple Atomicity Mode.
    pub mam: bool,
    /// Optional Read Performance: NPRG, NPRA and NORS are reported.
    pub optrperf: bool,
}
display_words!(Nsfeat {
    "THINP" => (thinp), "NSABP" => (nsabp), "DAE" => (dae), "UIDREUSE" => (uidreuse),
    "OPTPERF" => (optperf), "MAM" => (mam), "OPTRPERF" => (optrperf),
});

/// FLBAS, Formatted LBA Size.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Flbas {
    /// Format Index Lower: bits 3 to 0 of the index of the LBA format.
    #[bits(4)]
    pub fidxl: u8,
    /// Metadata Transferred as Extended LBA: metadata follow the data of each block instead of being in a
    /// buffer of their own.
    pub mtelba: bool,
    /// Format Index Upper: bits 5 and 4 of the index, to be ignored where there are 16 formats or fewer.
    #[bits(2)]
    pub fidxu: u8,
    __: bool,
}
display_words!(Flbas { "FIDX" => (format_index), "MTELBA" => (mtelba) });

impl Flbas {
    /// The index of the LBA format: 0 to 63.
    #[must_use]
    pub const fn format_index(self) -> u8 {
        self.fidxu() << 4 | self.fidxl()
    }

    /// Replaces the index of the LBA format, of which 6 bits count.
    #[must_use]
    pub const fn with_format_index(self, index: u8) -> Self {
        self.with_fidxl(index & 0xF).with_fidxu(index >> 4 & 0x3)
    }
}

/// MC, Metadata Capabilities.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Mc {
    /// Metadata Transferred as Extended LBA Support.
    pub mtelbas: bool,
    /// Metadata Transferred as Separate Buffer Support.
    pub mtsbs: bool,
    #[bits(6)]
    __: u8,
}
display_words!(Mc { "MTELBAS" => (mtelbas), "MTSBS" => (mtsbs) });

/// DPC, End-to-end Data Protection Capabilities.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Dpc {
    /// Protection Information Type 1 Supported.
    pub pit1s: bool,
    /// Protection Information Type 2 Supported.
    pub pit2s: bool,
    /// Protection Information Type 3 Supported.
    pub pit3s: bool,
    /// Protection Information In First Bytes of the metadata.
    pub piifb: bool,
    /// Protection Information In Last Bytes of the metadata.
    pub piilb: bool,
    #[bits(3)]
    __: u8,
}
display_words!(Dpc {
    "PIT1S" => (pit1s), "PIT2S" => (pit2s), "PIT3S" => (pit3s), "PIIFB" => (piifb),
    "PIILB" => (piilb),
});

/// DPS, End-to-end Data Protection Type Settings.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Dps {
    /// Protection Information Type.
    #[bits(3)]
    pub pit: ProtectionType,
    /// Protection Information Position: first bytes of the metadata instead of last.
    pub pip: bool,
    #[bits(4)]
    __: u8,
}
display_words!(Dps { "PIT" => (pit), "PIP" => (pip) });

/// NMIC, Namespace Multi-path I/O and Namespace Sharing Capabilities.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Nmic {
    /// Shared Namespace: it can be attached to several controllers.
    pub shrns: bool,
    /// Dispersed Namespace: it can be in several subsystems.
    pub disns: bool,
    #[bits(6)]
    __: u8,
}
display_words!(Nmic { "SHRNS" => (shrns), "DISNS" => (disns) });

/// RESCAP, Reservation Capabilities.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Rescap {
    /// Persist Through Power Loss Support.
    pub ptpls: bool,
    /// Write Exclusive Support.
    pub wes: bool,
    /// Exclusive Access Support.
    pub eas: bool,
    /// Write Exclusive - Registrants Only Support.
    pub weros: bool,
    /// Exclusive Access - Registrants Only Support.
    pub earos: bool,
    /// Write Exclusive - All Registrants Support.
    pub wears: bool,
    /// Exclusive Access - All Registrants Support.
    pub eaars: bool,
    /// Ignore Existing Key Support, as revision 1.3 and later define it.
    pub ieks: bool,
}
display_words!(Rescap {
    "PTPLS" => (ptpls), "WES" => (wes), "EAS" => (eas), "WEROS" => (weros), "EAROS" => (earos),
    "WEARS" => (wears), "EAARS" => (eaars), "IEKS" => (ieks),
});

/// FPI, Format Progress Indicator.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Fpi {
    /// Remaining Format NVM: percent that remains to be formatted.
    #[bits(7)]
    pub rfnvm: u8,
    /// Format Progress Indicator Support.
    pub fpis: bool,
}
display_words!(Fpi { "RFNVM" => (rfnvm), "FPIS" => (fpis) });

open_enum! {
    /// Deallocation Read Behavior: what a deallocated block reads as (DLFEAT.DRB).
    pub struct Deallocated: u8 {
        NOT_REPORTED = 0b000 => "Not reported",
        ZEROES = 0b001 => "All bytes 00h",
        ONES = 0b010 => "All bytes FFh",
    }
}

/// DLFEAT, Deallocate Logical Block Features.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Dlfeat {
    /// Deallocation Read Behavior.
    #[bits(3)]
    pub drb: Deallocated,
    /// Write Zeroes Deallocation Support.
    pub wzds: bool,
    /// Guard Deallocation Status: the guard of a deallocated block fits its data instead of being FFFFh.
    pub gds: bool,
    #[bits(3)]
    __: u8,
}
display_words!(Dlfeat { "DRB" => (drb), "WZDS" => (wzds), "GDS" => (gds) });

/// KPIOS, Key Per I/O Status.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Kpios {
    /// Key Per I/O Enabled in Namespace.
    pub kpioens: bool,
    /// Key Per I/O Supported in Namespace.
    pub kpiosns: bool,
    #[bits(6)]
    __: u8,
}
display_words!(Kpios { "KPIOENS" => (kpioens), "KPIOSNS" => (kpiosns) });

/// NSATTR, Namespace Attributes.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct NamespaceAttributes {
    /// Currently Write Protected.
    pub cwp: bool,
    #[bits(7)]
    __: u8,
}
display_words!(NamespaceAttributes { "CWP" => (cwp) });

open_enum! {
    /// Relative Performance of an LBA format.
    pub struct RelativePerformance: u8 {
        BEST = 0b00 => "Best",
        BETTER = 0b01 => "Better",
        GOOD = 0b10 => "Good",
        DEGRADED = 0b11 => "Degraded",
    }
}

/// An LBA format.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LbaFormat {
    /// Metadata Size: bytes for each logical block.
    pub ms: u16,
    /// LBA Data Size as a power of two: at least 9, or 0 for a format that is not available.
    pub lbads: u8,
    /// Relative Performance.
    #[bits(2)]
    pub rp: RelativePerformance,
    #[bits(6)]
    __: u8,
}
display_words!(LbaFormat { "MS" => (ms), "LBADS" => (lbads), "RP" => (rp) });

impl LbaFormat {
    /// Bytes of data of a logical block; `None` if the format is not available or the size is no valid
    /// one.
    #[must_use]
    pub const fn data_bytes(self) -> Option<u64> {
        match self.lbads() {
            lbads @ 9..=63 => Some(1 << lbads),
            _ => None,
        }
    }
}
