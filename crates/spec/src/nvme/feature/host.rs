//! What a host tells about itself.

use core::fmt;
use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::Le16;
use crate::nvme::admin::command_dwords;
use crate::nvme::identify::Cdfs;
use crate::opaque::Opaque;

open_enum! {
    /// Timestamp Origin.
    pub struct TimestampOrigin: u8 {
        RESET = 0b000 => "Cleared by a Controller Level Reset",
        HOST = 0b001 => "Set by a Set Features command",
    }
}

/// Attributes of a timestamp that Get Features returns.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct TimestampAttributes {
    /// Synch: the controller may have stopped counting during some time.
    pub synch: bool,
    /// Timestamp Origin.
    #[bits(3)]
    pub to: TimestampOrigin,
    #[bits(4)]
    __: u8,
}
display_words!(TimestampAttributes { "SYNCH" => (synch), "TO" => (to) });

/// Timestamp, FID 0Eh (NVMe Base 2.1 §5.1.25.1.7): 8 bytes of data.
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
pub struct Timestamp {
    /// Milliseconds since the beginning of 1970, least significant byte first.
    pub tstmp: [u8; 6],
    /// Attributes, for Get Features.
    pub attributes: TimestampAttributes,
    /// Reserved.
    pub reserved7: u8,
}
const _: () = assert!(size_of::<Timestamp>() == 8);
const _: () = assert!(offset_of!(Timestamp, attributes) == 6);

impl Timestamp {
    /// A timestamp to set; `None` if it exceeds 48 bits.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Option<Self> {
        let [a, b, c, d, e, f, 0, 0] = millis.to_le_bytes() else {
            return None;
        };
        Some(Self {
            tstmp: [a, b, c, d, e, f],
            attributes: TimestampAttributes::new(),
            reserved7: 0,
        })
    }

    /// Milliseconds since the beginning of 1970.
    #[must_use]
    pub const fn millis(&self) -> u64 {
        let [a, b, c, d, e, f] = self.tstmp;
        u64::from_le_bytes([a, b, c, d, e, f, 0, 0])
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TSTMP={} {}", self.millis(), self.attributes)
    }
}

/// Host Behavior Support, FID 16h (NVMe Base 2.1 §5.1.25.1.14): 512 bytes of data. A byte of 1 switches a
/// behaviour on.
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
pub struct HostBehaviorSupport {
    /// Advanced Command Retry Enable: the host understands Command Interrupted.
    pub acre: u8,
    /// Extended Telemetry Data Area 4 Supported by the host.
    pub etdas: u8,
    /// LBA Format Extension Enable.
    pub lbafee: u8,
    /// Host Dispersed Namespace Support.
    pub hdisns: u8,
    /// Copy Descriptor Formats Enable: of formats 2h to 4h.
    pub cdfe: Le16<Cdfs>,
    /// Reserved.
    pub reserved6: Opaque<506>,
}
const _: () = assert!(size_of::<HostBehaviorSupport>() == 512);
const _: () = assert!(offset_of!(HostBehaviorSupport, cdfe) == 4);
display_lines!(HostBehaviorSupport {
    "ACRE" => (acre), "ETDAS" => (etdas), "LBAFEE" => (lbafee), "HDISNS" => (hdisns),
    "CDFE" => (cdfe),
});

/// I/O Command Set Profile, FID 19h (NVMe Base 2.1 §5.1.25.1.17).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct IoCommandSetProfile {
    /// I/O Command Set Combination Index: which of the combinations that Identify lists is enabled.
    #[bits(9)]
    pub iocsci: u16,
    #[bits(23)]
    __: u32,
}
display_words!(IoCommandSetProfile { "IOCSCI" => (iocsci) });

/// Host Identifier, FID 81h (NVMe Base 2.1 §5.1.25.1.28). The data are the identifier: 8 or 16 bytes.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct HostIdentifierSize {
    /// Enable Extended Host Identifier: 128 bits and not 64.
    pub exhid: bool,
    #[bits(31)]
    __: u32,
}
display_words!(HostIdentifierSize { "EXHID" => (exhid) });

command_dwords!(IoCommandSetProfile, HostIdentifierSize);
