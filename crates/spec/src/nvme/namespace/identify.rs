//! The Identify Namespace data structure (NVM Command Set 1.1 §4.1.5.1, Figure 114).

use core::fmt;
use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{
    Dlfeat, Dpc, Dps, Flbas, Fpi, Kpios, LbaFormat, MAX_LBA_FORMATS, Mc, NamespaceAttributes, Nmic,
    Nsfeat, Rescap,
};
use crate::le::Le32;
use crate::nvme::identify::IDENTIFY_SIZE;
use crate::opaque::Opaque;
use crate::words::{Hex, lines};

/// Identify Namespace, CNS 00h: 4096 bytes. Sizes count logical blocks unless they say otherwise.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct IdentifyNamespace {
    /// Namespace Size: the valid LBAs are less. 0 if the NSID is not active.
    pub nsze: U64,
    /// Namespace Capacity: the most blocks that may be allocated at a time.
    pub ncap: U64,
    /// Namespace Utilization: blocks that are allocated.
    pub nuse: U64,
    /// Namespace Features.
    pub nsfeat: Nsfeat,
    /// Number of LBA Formats, minus 1.
    pub nlbaf_z: u8,
    /// Formatted LBA Size.
    pub flbas: Flbas,
    /// Metadata Capabilities.
    pub mc: Mc,
    /// End-to-end Data Protection Capabilities.
    pub dpc: Dpc,
    /// End-to-end Data Protection Type Settings.
    pub dps: Dps,
    /// Multi-path I/O and sharing.
    pub nmic: Nmic,
    /// Reservation Capabilities.
    pub rescap: Rescap,
    /// Format Progress Indicator.
    pub fpi: Fpi,
    /// Deallocate Logical Block Features.
    pub dlfeat: Dlfeat,
    /// Namespace Atomic Write Unit Normal, minus 1.
    pub nawun_z: U16,
    /// Namespace Atomic Write Unit Power Fail, minus 1.
    pub nawupf_z: U16,
    /// Namespace Atomic Compare & Write Unit, minus 1.
    pub nacwu_z: U16,
    /// Namespace Atomic Boundary Size Normal, minus 1; 0 for no boundaries.
    pub nabsn_z: U16,
    /// Namespace Atomic Boundary Offset: the LBA where the first boundary is.
    pub nabo: U16,
    /// Namespace Atomic Boundary Size Power Fail, minus 1; 0 for no boundaries.
    pub nabspf_z: U16,
    /// Namespace Optimal I/O Boundary, 0 if not reported.
    pub noiob: U16,
    /// NVM Capacity in bytes, 0 if not reported.
    pub nvmcap: U128,
    /// Namespace Preferred Write Granularity, minus 1.
    pub npwg_z: U16,
    /// Namespace Preferred Write Alignment, minus 1.
    pub npwa_z: U16,
    /// Namespace Preferred Deallocate Granularity, minus 1.
    pub npdg_z: U16,
    /// Namespace Preferred Deallocate Alignment, minus 1.
    pub npda_z: U16,
    /// Namespace Optimal Write Size, minus 1.
    pub nows_z: U16,
    /// Maximum Single Source Range Length of a Copy command.
    pub mssrl: U16,
    /// Maximum Copy Length: all source ranges together.
    pub mcl: U32,
    /// Maximum Source Range Count of a Copy command, minus 1.
    pub msrc_z: u8,
    /// Key Per I/O Status.
    pub kpios: Kpios,
    /// Number of Unique Attribute LBA Formats, minus 1.
    pub nulbaf: u8,
    /// Reserved.
    pub reserved83: u8,
    /// Key Per I/O Data Access Alignment and Granularity, minus 1.
    pub kpiodaag_z: U32,
    /// Reserved.
    pub reserved88: Opaque<4>,
    /// ANA Group Identifier.
    pub anagrpid: U32,
    /// Reserved.
    pub reserved96: Opaque<3>,
    /// Namespace Attributes.
    pub nsattr: NamespaceAttributes,
    /// NVM Set Identifier.
    pub nvmsetid: U16,
    /// Endurance Group Identifier.
    pub endgid: U16,
    /// Namespace Globally Unique Identifier, most significant byte first; zero for none.
    pub nguid: [u8; 16],
    /// IEEE Extended Unique Identifier, most significant byte first; zero for none.
    pub eui64: [u8; 8],
    /// LBA formats.
    pub lbaf: [Le32<LbaFormat>; MAX_LBA_FORMATS],
    /// Vendor Specific.
    pub vendor_specific: Opaque<3712>,
}

macro_rules! offsets {
    ($($field:ident = $offset:literal),+ $(,)?) => {
        $(const _: () = assert!(offset_of!(IdentifyNamespace, $field) == $offset);)+
    };
}
const _: () = assert!(size_of::<IdentifyNamespace>() == IDENTIFY_SIZE);
offsets! {
    ncap = 8, nuse = 16, nsfeat = 24, nlbaf_z = 25, flbas = 26, mc = 27, dpc = 28, dps = 29,
    nmic = 30, rescap = 31, fpi = 32, dlfeat = 33, nawun_z = 34, nawupf_z = 36, nacwu_z = 38,
    nabsn_z = 40, nabo = 42, nabspf_z = 44, noiob = 46, nvmcap = 48, npwg_z = 64, npwa_z = 66,
    npdg_z = 68, npda_z = 70, nows_z = 72, mssrl = 74, mcl = 76, msrc_z = 80, kpios = 81,
    nulbaf = 82, kpiodaag_z = 84, anagrpid = 92, nsattr = 99, nvmsetid = 100, endgid = 102,
    nguid = 104, eui64 = 120, lbaf = 128, vendor_specific = 384,
}

impl IdentifyNamespace {
    /// The LBA format that the namespace has. With 16 formats or fewer only the lower part of the index
    /// counts (NVM Command Set 1.1 §4.1.5.1).
    #[must_use]
    pub fn format(&self) -> LbaFormat {
        let index = if self.nlbaf_z < 16 { self.flbas.fidxl() } else { self.flbas.format_index() };
        self.lbaf[usize::from(index)].get()
    }

    /// Bytes of data of a logical block; `None` if the format says nothing valid.
    #[must_use]
    pub fn block_bytes(&self) -> Option<u64> {
        self.format().data_bytes()
    }
}

impl Default for IdentifyNamespace {
    /// All zero: what Identify returns for a namespace that is not active.
    fn default() -> Self {
        Self::new_zeroed()
    }
}

impl fmt::Display for IdentifyNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.capacity_and_features(f)?;
        self.limits(f)?;
        let formats = usize::from(self.nlbaf_z) + 1;
        for (index, format) in self.lbaf.iter().take(formats).enumerate() {
            let mark = if format.get() == self.format() { " (in use)" } else { "" };
            write!(f, "\nlbaf {index:>5}: {format}{mark}")?;
        }
        Ok(())
    }
}

impl IdentifyNamespace {
    fn capacity_and_features(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        lines(
            f,
            &[
                ("NSZE", &Hex(self.nsze)),
                ("NCAP", &Hex(self.ncap)),
                ("NUSE", &Hex(self.nuse)),
                ("NSFEAT", &self.nsfeat),
                ("NLBAF", &self.nlbaf_z),
                ("FLBAS", &self.flbas),
                ("MC", &self.mc),
                ("DPC", &self.dpc),
                ("DPS", &self.dps),
                ("NMIC", &self.nmic),
                ("RESCAP", &self.rescap),
                ("FPI", &self.fpi),
                ("DLFEAT", &self.dlfeat),
            ],
        )
    }

    fn limits(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\n")?;
        lines(
            f,
            &[
                ("NAWUN", &self.nawun_z),
                ("NAWUPF", &self.nawupf_z),
                ("NACWU", &self.nacwu_z),
                ("NABSN", &self.nabsn_z),
                ("NABO", &self.nabo),
                ("NABSPF", &self.nabspf_z),
                ("NOIOB", &self.noiob),
                ("NVMCAP", &self.nvmcap),
                ("NPWG", &self.npwg_z),
                ("NPWA", &self.npwa_z),
                ("NPDG", &self.npdg_z),
                ("NPDA", &self.npda_z),
                ("NOWS", &self.nows_z),
                ("MSSRL", &self.mssrl),
                ("MCL", &self.mcl),
                ("MSRC", &self.msrc_z),
                ("KPIOS", &self.kpios),
                ("NULBAF", &self.nulbaf),
                ("KPIODAAG", &self.kpiodaag_z),
                ("ANAGRPID", &self.anagrpid),
                ("NSATTR", &self.nsattr),
                ("NVMSETID", &self.nvmsetid),
                ("ENDGID", &self.endgid),
                ("NGUID", &Hex(u128::from_be_bytes(self.nguid))),
                ("EUI64", &Hex(u64::from_be_bytes(self.eui64))),
            ],
        )
    }
}
