//! The I/O Command Set Independent Identify Namespace data structure (NVMe Base 2.1 §5.1.13.2.8, Figure
//! 319).

use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Fpi, Kpios, NamespaceAttributes, Nmic, Rescap};
use crate::nvme::identify::IDENTIFY_SIZE;
use crate::opaque::Opaque;

/// NSFEAT, Common Namespace Features.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct IndependentNsfeat {
    #[bits(3)]
    __: u8,
    /// UID Reuse: NGUID and EUI64 are never used for another namespace.
    pub uidreuse: bool,
    /// Rotational Media: the data are on it.
    pub rmedia: bool,
    /// Volatile Write Cache Not Present: there is none, whatever the controller reports.
    pub vwcnp: bool,
    #[bits(2)]
    __: u8,
}
display_words!(IndependentNsfeat {
    "UIDREUSE" => (uidreuse), "RMEDIA" => (rmedia), "VWCNP" => (vwcnp),
});

open_enum! {
    /// I/O Impacted: whether I/O performance is degraded at the moment (NSTAT.IOI).
    pub struct IoImpacted: u8 {
        NOT_REPORTED = 0b00 => "Not reported",
        NOT_DEGRADED = 0b10 => "Not degraded",
        DEGRADED = 0b11 => "Degraded",
    }
}

/// NSTAT, Namespace Status.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct NamespaceStatus {
    /// Namespace Ready.
    pub nrdy: bool,
    /// I/O Impacted.
    #[bits(2)]
    pub ioi: IoImpacted,
    #[bits(5)]
    __: u8,
}
display_words!(NamespaceStatus { "NRDY" => (nrdy), "IOI" => (ioi) });

/// I/O Command Set Independent Identify Namespace, CNS 08h: 4096 bytes.
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
pub struct IdentifyNamespaceIndependent {
    /// Common Namespace Features.
    pub nsfeat: IndependentNsfeat,
    /// Multi-path I/O and sharing.
    pub nmic: Nmic,
    /// Reservation Capabilities.
    pub rescap: Rescap,
    /// Format Progress Indicator.
    pub fpi: Fpi,
    /// ANA Group Identifier.
    pub anagrpid: U32,
    /// Namespace Attributes.
    pub nsattr: NamespaceAttributes,
    /// Reserved.
    pub reserved9: u8,
    /// NVM Set Identifier.
    pub nvmsetid: U16,
    /// Endurance Group Identifier.
    pub endgid: U16,
    /// Namespace Status.
    pub nstat: NamespaceStatus,
    /// Key Per I/O Status.
    pub kpios: Kpios,
    /// Maximum Key Tag.
    pub maxkt: U16,
    /// Reserved.
    pub reserved18: Opaque<2>,
    /// Reachability Group Identifier.
    pub rgrpid: U32,
    /// Reserved.
    pub reserved24: Opaque<4072>,
}
const _: () = assert!(size_of::<IdentifyNamespaceIndependent>() == IDENTIFY_SIZE);
const _: () = assert!(offset_of!(IdentifyNamespaceIndependent, anagrpid) == 4);
const _: () = assert!(offset_of!(IdentifyNamespaceIndependent, nvmsetid) == 10);
const _: () = assert!(offset_of!(IdentifyNamespaceIndependent, nstat) == 14);
const _: () = assert!(offset_of!(IdentifyNamespaceIndependent, maxkt) == 16);
const _: () = assert!(offset_of!(IdentifyNamespaceIndependent, rgrpid) == 20);

display_lines!(IdentifyNamespaceIndependent {
    "NSFEAT" => (nsfeat), "NMIC" => (nmic), "RESCAP" => (rescap), "FPI" => (fpi),
    "ANAGRPID" => (anagrpid), "NSATTR" => (nsattr), "NVMSETID" => (nvmsetid),
    "ENDGID" => (endgid), "NSTAT" => (nstat), "KPIOS" => (kpios), "MAXKT" => (maxkt),
    "RGRPID" => (rgrpid),
});
