//! Optional parts of the I/O command sets and the fabrics: bytes 512 to 2047 of Identify Controller
//! (NVMe Base 2.1 §5.1.13.2.1, Figure 312).

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// SQES and CQES, Submission and Completion Queue Entry Size. Both sizes are powers of two.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct QueueEntrySizes {
    /// The required size, as a power of two: 6 for submission queues, 4 for completion queues.
    #[bits(4)]
    pub min: u8,
    /// The largest size, as a power of two.
    #[bits(4)]
    pub max: u8,
}
display_words!(QueueEntrySizes { "MIN" => (min), "MAX" => (max) });

impl QueueEntrySizes {
    /// What an NVM controller reports for submission queues: 64 bytes and nothing else.
    pub const SUBMISSION: Self = Self::new().with_min(6).with_max(6);
    /// What an NVM controller reports for completion queues: 16 bytes and nothing else.
    pub const COMPLETION: Self = Self::new().with_min(4).with_max(4);
}

/// ONCS, Optional NVM Command Support.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Oncs {
    /// Compare.
    pub nvmcmps: bool,
    /// Write Uncorrectable.
    pub nvmwusv: bool,
    /// Dataset Management.
    pub nvmdsmsv: bool,
    /// Write Zeroes.
    pub nvmwzsv: bool,
    /// Save and Select Feature Support: the Save bit of Set Features, the Select field of Get Features.
    pub ssfs: bool,
    /// Reservations.
    pub reservs: bool,
    /// Timestamp feature.
    pub tss: bool,
    /// Verify.
    pub nvmvfys: bool,
    /// Copy.
    pub nvmcpys: bool,
    /// Copy Single Atomicity: the write of a whole Copy command is atomic.
    pub nvmcsa: bool,
    /// All Fast Copy: every copy is a fast one.
    pub nvmafc: bool,
    /// Maximum Write Zeroes With Deallocate: the limit is in WZDSL.
    pub maxwzd: bool,
    /// Namespace Zeroes: Write Zeroes can clear a whole namespace.
    pub nszs: bool,
    #[bits(3)]
    __: u8,
}
display_words!(Oncs {
    "NVMCMPS" => (nvmcmps), "NVMWUSV" => (nvmwusv), "NVMDSMSV" => (nvmdsmsv),
    "NVMWZSV" => (nvmwzsv), "SSFS" => (ssfs), "RESERVS" => (reservs), "TSS" => (tss),
    "NVMVFYS" => (nvmvfys), "NVMCPYS" => (nvmcpys), "NVMCSA" => (nvmcsa), "NVMAFC" => (nvmafc),
    "MAXWZD" => (maxwzd), "NSZS" => (nszs),
});

/// FUSES, Fused Operation Support.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Fuses {
    /// Fused Compare and Write Support.
    pub fcws: bool,
    #[bits(15)]
    __: u16,
}
display_words!(Fuses { "FCWS" => (fcws) });

/// FNA, Format NVM Attributes.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Fna {
    /// Format applies to all namespaces.
    pub fns: bool,
    /// Secure erase applies to all namespaces.
    pub sens: bool,
    /// Cryptographic erase is supported.
    pub cryes: bool,
    /// Format NVM does not accept NSID FFFFFFFFh.
    pub fnvmbs: bool,
    #[bits(4)]
    __: u8,
}
display_words!(Fna { "FNS" => (fns), "SENS" => (sens), "CRYES" => (cryes), "FNVMBS" => (fnvmbs) });

open_enum! {
    /// Flush Behavior: what Flush does with NSID FFFFFFFFh (VWC.FB).
    pub struct FlushBehavior: u8 {
        NOT_INDICATED = 0b00 => "Not indicated",
        ALL_NOT_SUPPORTED = 0b10 => "NSID FFFFFFFFh not supported",
        ALL_SUPPORTED = 0b11 => "NSID FFFFFFFFh supported",
    }
}

/// VWC, Volatile Write Cache.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Vwc {
    /// Volatile Write Cache Present.
    pub vwcp: bool,
    /// Flush Behavior.
    #[bits(2)]
    pub fb: FlushBehavior,
    #[bits(5)]
    __: u8,
}
display_words!(Vwc { "VWCP" => (vwcp), "FB" => (fb) });

/// NWPC, Namespace Write Protection Capabilities.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Nwpc {
    /// No Write Protect and Write Protect states.
    pub nwpwps: bool,
    /// Write Protect Until Power Cycle state.
    pub wpupcs: bool,
    /// Permanent Write Protect state.
    pub pwps: bool,
    #[bits(5)]
    __: u8,
}
display_words!(Nwpc { "NWPWPS" => (nwpwps), "WPUPCS" => (wpupcs), "PWPS" => (pwps) });

/// CDFS, Copy Descriptor Formats Supported.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Cdfs {
    /// Copy Descriptor Format 0h.
    pub cdf0s: bool,
    /// Copy Descriptor Format 1h.
    pub cdf1s: bool,
    /// Copy Descriptor Format 2h.
    pub cdf2s: bool,
    /// Copy Descriptor Format 3h.
    pub cdf3s: bool,
    /// Copy Descriptor Format 4h.
    pub cdf4s: bool,
    #[bits(11)]
    __: u16,
}
display_words!(Cdfs {
    "CDF0S" => (cdf0s), "CDF1S" => (cdf1s), "CDF2S" => (cdf2s), "CDF3S" => (cdf3s),
    "CDF4S" => (cdf4s),
});

open_enum! {
    /// SGLs in I/O commands (SGLS bits 1 and 0).
    pub struct SglSupport: u8 {
        NONE = 0b00 => "Not supported",
        ANY_ALIGNMENT = 0b01 => "Supported, no alignment",
        DWORD_ALIGNMENT = 0b10 => "Supported, dword aligned",
    }
}

/// SGLS, SGL Support.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Sgls {
    /// SGLs in I/O commands.
    #[bits(2)]
    pub support: SglSupport,
    /// Keyed SGL Data Block descriptors.
    pub keyed: bool,
    #[bits(5)]
    __: u8,
    /// SGL Descriptor Threshold: the recommended most descriptors of a command, 0 for no advice.
    pub sdt: u8,
    /// Bit Bucket descriptors.
    pub bit_bucket: bool,
    /// The metadata pointer can be any byte address.
    pub byte_aligned_mptr: bool,
    /// An SGL may be longer than the data.
    pub longer_than_data: bool,
    /// The metadata pointer may be the address of an SGL descriptor.
    pub mptr_sgl: bool,
    /// The address of a descriptor may be an offset.
    pub offset: bool,
    /// Transport SGL Data Block descriptors.
    pub transport: bool,
    #[bits(10)]
    __: u16,
}
display_words!(Sgls {
    "SGLS" => (support), "Keyed" => (keyed), "SDT" => (sdt), "BitBucket" => (bit_bucket),
    "ByteAlignedMPTR" => (byte_aligned_mptr), "LongerThanData" => (longer_than_data),
    "MPTRSGL" => (mptr_sgl), "Offset" => (offset), "Transport" => (transport),
});

/// TRATTR, Tracking Attributes.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Trattr {
    /// Track Host Memory Changes Support.
    pub thmcs: bool,
    /// Track User Data Changes Support.
    pub tudcs: bool,
    /// Memory Range Tracking Length Limit.
    pub mrtll: bool,
    #[bits(5)]
    __: u8,
}
display_words!(Trattr { "THMCS" => (thmcs), "TUDCS" => (tudcs), "MRTLL" => (mrtll) });

/// FCATT, Fabrics Controller Attributes.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Fcatt {
    /// Static controller model; a dynamic one otherwise.
    pub static_controller: bool,
    #[bits(7)]
    __: u8,
}
display_words!(Fcatt { "StaticController" => (static_controller) });

/// OFCS, Optional Fabrics Commands Support.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Ofcs {
    /// Disconnect Command Support.
    pub disconnect: bool,
    #[bits(15)]
    __: u16,
}
display_words!(Ofcs { "Disconnect" => (disconnect) });

open_enum! {
    /// DCTYPE, Discovery Controller Type.
    pub struct DiscoveryControllerType: u8 {
        NOT_REPORTED = 0x00 => "Not reported",
        DIRECT = 0x01 => "Direct Discovery controller",
        CENTRAL = 0x02 => "Central Discovery controller",
    }
}
