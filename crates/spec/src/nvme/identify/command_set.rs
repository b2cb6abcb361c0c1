//! What a controller says about I/O command sets.

use core::fmt;
use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IDENTIFY_SIZE;
use crate::le::{Le16, Le32, Le64};
use crate::nvme::CommandSet;
use crate::nvme::registers::Vs;
use crate::opaque::Opaque;

/// KPIOCAP, Key Per I/O Capabilities of the NVM Command Set.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Kpiocap {
    /// Key Per I/O Supported.
    pub kpios: bool,
    /// Key Per I/O Scope: all namespaces have it on or off together.
    pub kpiosc: bool,
    #[bits(6)]
    __: u8,
}
display_words!(Kpiocap { "KPIOS" => (kpios), "KPIOSC" => (kpiosc) });

/// AOCS, Admin Optional Command Support of the NVM Command Set.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Aocs {
    /// Reporting Allocated LBA Supported: an action of Get LBA Status.
    pub ralbas: bool,
    #[bits(15)]
    __: u16,
}
display_words!(Aocs { "RALBAS" => (ralbas) });

open_enum! {
    /// LBAMQF, LBA Migration Queue Format. C0h and above are a vendor's.
    pub struct LbaMigrationQueueFormat: u8 {
        TYPE_0 = 0x00 => "LBA Migration Queue Entry Type 0",
    }
}

/// I/O Command Set specific Identify Controller of the NVM Command Set, CNS 06h and CSI 00h
/// (NVM Command Set 1.1 §4.1.5.4). A limit of 0 means that none is reported where ONCS has the command's
/// bit set, and that the command is not supported where it is clear.
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
pub struct IdentifyControllerNvm {
    /// Verify Size Limit: a power of two in units of CAP.MPSMIN.
    pub vsl: u8,
    /// Write Zeroes Size Limit: a power of two in units of CAP.MPSMIN.
    pub wzsl: u8,
    /// Write Uncorrectable Size Limit: a power of two in units of CAP.MPSMIN.
    pub wusl: u8,
    /// Dataset Management Ranges Limit.
    pub dmrl: u8,
    /// Dataset Management Range Size Limit in logical blocks.
    pub dmrsl: U32,
    /// Dataset Management Size Limit in logical blocks.
    pub dmsl: U64,
    /// Key Per I/O Capabilities.
    pub kpiocap: Kpiocap,
    /// Write Zeroes With Deallocate Size Limit: a power of two in units of CAP.MPSMIN.
    pub wzdsl: u8,
    /// Admin Optional Command Support.
    pub aocs: Le16<Aocs>,
    /// Version of the command set specification.
    pub ver: Le32<Vs>,
    /// LBA Migration Queue Format.
    pub lbamqf: LbaMigrationQueueFormat,
    /// Reserved.
    pub reserved25: Opaque<4071>,
}
const _: () = assert!(size_of::<IdentifyControllerNvm>() == IDENTIFY_SIZE);
const _: () = assert!(offset_of!(IdentifyControllerNvm, dmrsl) == 4);
const _: () = assert!(offset_of!(IdentifyControllerNvm, dmsl) == 8);
const _: () = assert!(offset_of!(IdentifyControllerNvm, kpiocap) == 16);
const _: () = assert!(offset_of!(IdentifyControllerNvm, aocs) == 18);
const _: () = assert!(offset_of!(IdentifyControllerNvm, ver) == 20);
const _: () = assert!(offset_of!(IdentifyControllerNvm, lbamqf) == 24);

display_lines!(IdentifyControllerNvm {
    "VSL" => (vsl), "WZSL" => (wzsl), "WUSL" => (wusl), "DMRL" => (dmrl), "DMRSL" => (dmrsl),
    "DMSL" => (dmsl), "KPIOCAP" => (kpiocap), "WZDSL" => (wzdsl), "AOCS" => (aocs),
    "VER" => (ver), "LBAMQF" => (lbamqf),
});

/// A combination of command sets that can be enabled together: a bit for each Command Set Identifier.
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct CommandSetVector {
    /// NVM Command Set.
    pub nvm: bool,
    /// Key Value Command Set.
    pub key_value: bool,
    /// Zoned Namespace Command Set.
    pub zoned: bool,
    /// Subsystem Local Memory Command Set.
    pub subsystem_local_memory: bool,
    /// Computational Programs Command Set.
    pub computational_programs: bool,
    #[bits(59)]
    __: u64,
}
display_words!(CommandSetVector {
    "NVM" => (nvm), "KV" => (key_value), "ZNS" => (zoned), "SLM" => (subsystem_local_memory),
    "CP" => (computational_programs),
});

impl CommandSetVector {
    /// Whether the combination has a command set. Identifiers above 63 are in none.
    #[must_use]
    pub const fn contains(self, set: CommandSet) -> bool {
        let csi = set.into_bits();
        csi < 64 && self.into_bits() >> csi & 1 == 1
    }
}

/// I/O Command Set data structure, CNS 1Ch: the combinations that a controller supports, the first empty
/// one ends the list (NVMe Base 2.1 §5.1.13.2.19).
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CommandSets {
    /// I/O Command Set Combinations; the I/O Command Set Profile feature selects one by its index.
    pub combinations: [Le64<CommandSetVector>; 512],
}
const _: () = assert!(size_of::<CommandSets>() == IDENTIFY_SIZE);

impl CommandSets {
    /// The combinations that are in use.
    pub fn iter(&self) -> impl Iterator<Item = CommandSetVector> + '_ {
        self.combinations
            .iter()
            .map(|combination| combination.get())
            .take_while(|combination| combination.into_bits() != 0)
    }
}

impl Default for CommandSets {
    /// No combinations.
    fn default() -> Self {
        Self::new_zeroed()
    }
}

impl fmt::Debug for CommandSets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
