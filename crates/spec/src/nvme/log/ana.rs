//! Asymmetric Namespace Access, LID 0Ch (NVMe Base 2.1 §5.1.12.1.13): a header, then the groups, each
//! followed by its namespaces.

use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::opaque::Opaque;

open_enum! {
    /// Asymmetric Namespace Access State (NVMe Base 2.1 §8.1.1).
    pub struct AnaState: u8 {
        OPTIMIZED = 0x1 => "ANA Optimized",
        NON_OPTIMIZED = 0x2 => "ANA Non-Optimized",
        INACCESSIBLE = 0x3 => "ANA Inaccessible",
        PERSISTENT_LOSS = 0x4 => "ANA Persistent Loss",
        CHANGE = 0xF => "ANA Change",
    }
}

/// The header of the log page: 16 bytes.
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
pub struct AnaHeader {
    /// Change Count.
    pub chgcnt: U64,
    /// Number of ANA Group Descriptors.
    pub nagd: U16,
    /// Reserved.
    pub reserved10: Opaque<6>,
}
const _: () = assert!(size_of::<AnaHeader>() == 16);
display_lines!(AnaHeader { "CHGCNT" => (chgcnt), "NAGD" => (nagd) });

/// The state of a group, in a byte of its own.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct AnaStateByte {
    /// Asymmetric Namespace Access State.
    #[bits(4)]
    pub anas: AnaState,
    #[bits(4)]
    __: u8,
}
display_words!(AnaStateByte { "ANAS" => (anas) });

/// An ANA Group Descriptor: 32 bytes, and 4 for each namespace.
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
pub struct AnaGroup {
    /// ANA Group ID.
    pub agid: U32,
    /// Number of NSID Values that follow.
    pub nnsidv: U32,
    /// Change Count.
    pub chgcnt: U64,
    /// The state.
    pub state: AnaStateByte,
    /// Reserved.
    pub reserved17: Opaque<15>,
}
const _: () = assert!(size_of::<AnaGroup>() == 32);
const _: () = assert!(offset_of!(AnaGroup, chgcnt) == 8);
const _: () = assert!(offset_of!(AnaGroup, state) == 16);
display_lines!(AnaGroup {
    "AGID" => (agid), "NNSIDV" => (nnsidv), "CHGCNT" => (chgcnt), "ANAS" => (state),
});
