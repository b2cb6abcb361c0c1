//! The data mover's interface, which is this project's own: registers, descriptors, completion records.
//! All of it is little-endian.

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Offsets in bytes in BAR 0.
pub mod offset {
    /// Read only, 32 bits: the most entries of a ring.
    pub const MAX_ENTRIES: u64 = 0x00;
    /// Read only, 32 bits: the most bytes of a descriptor.
    pub const MAX_LENGTH: u64 = 0x04;
    /// 32 bits: bit 0 enables. Disabling forgets everything that is under way.
    pub const CONTROL: u64 = 0x08;
    /// Read only, 32 bits: bit 0 enabled, bit 1 stopped because a ring could not be reached.
    pub const STATUS: u64 = 0x0C;
    /// 64 bits: where the ring of descriptors begins, a multiple of 64. Fixed while enabled, like the next
    /// two.
    pub const RING: u64 = 0x10;
    /// 64 bits: where the ring of completion records begins, a multiple of 64.
    pub const COMPLETIONS: u64 = 0x18;
    /// 32 bits: entries of each ring, 2 to [`MAX_ENTRIES`]'s value.
    pub const ENTRIES: u64 = 0x20;
    /// 32 bits: the index behind the last descriptor that was written. Writing it starts the engine; what
    /// is no index is ignored.
    pub const TAIL: u64 = 0x24;
    /// Read only, 32 bits: the index of the next descriptor to be fetched.
    pub const HEAD: u64 = 0x28;
}

/// CONTROL bit 0.
pub const CONTROL_ENABLE: u32 = 1;
/// STATUS bit 0.
pub const STATUS_ENABLED: u32 = 1;
/// STATUS bit 1.
pub const STATUS_FAILED: u32 = 2;

/// Flags bit 0: raise vector 0 when the descriptor is complete.
pub const FLAG_INTERRUPT: u32 = 1;

/// One copy, 32 bytes.
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
pub struct Descriptor {
    /// Where to read.
    pub source: U64,
    /// Where to write. The two ranges must not overlap.
    pub target: U64,
    /// How many bytes: 1 to MAX_LENGTH's value.
    pub length: U32,
    /// [`FLAG_INTERRUPT`]; other bits are zero.
    pub flags: U32,
    /// The host's own, returned in the completion record.
    pub cookie: U64,
}
const _: () = assert!(size_of::<Descriptor>() == 32);

/// What became of the descriptor with the same index, 16 bytes.
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
pub struct CompletionRecord {
    /// The descriptor's cookie.
    pub cookie: U64,
    /// Bytes that were written, from the beginning.
    pub copied: U32,
    /// A [`MoverStatus`].
    pub status: U16,
    /// 1 on the first pass through the ring, then 0, and so on.
    pub phase: U16,
}
const _: () = assert!(size_of::<CompletionRecord>() == 16);

/// How a copy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u16)]
pub enum MoverStatus {
    /// All bytes were read, and sent.
    Success = 0,
    /// Length, flags or addresses are impossible.
    InvalidDescriptor = 1,
    /// The source is nobody's, or the request was blocked.
    UnsupportedRequest = 2,
    /// The source refused.
    CompleterAbort = 3,
    /// The source did not answer.
    CompletionTimeout = 4,
    /// The source's data are known to be bad.
    Poisoned = 5,
    /// Nothing could be sent: bus mastering is off, or the link is down.
    CannotSend = 6,
}

impl MoverStatus {
    /// The status with a number.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Option<Self> {
        Some(match bits {
            0 => Self::Success,
            1 => Self::InvalidDescriptor,
            2 => Self::UnsupportedRequest,
            3 => Self::CompleterAbort,
            4 => Self::CompletionTimeout,
            5 => Self::Poisoned,
            6 => Self::CannotSend,
            _ => return None,
        })
    }
}
