//! Firmware Slot Information, LID 03h (NVMe Base 2.1 §5.1.12.1.4).

use core::fmt;
use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::opaque::Opaque;
use crate::text::Ascii;

/// AFI, Active Firmware Info.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ActiveFirmware {
    /// Current Active Firmware Slot: 1 to 7.
    #[bits(3)]
    pub current: u8,
    __: bool,
    /// Next Reset Firmware Slot: the one that the next reset activates, 0 if not reported.
    #[bits(3)]
    pub next: u8,
    __: bool,
}
display_words!(ActiveFirmware { "Current" => (current), "Next" => (next) });

/// The Firmware Slot Information log page: 512 bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct FirmwareSlots {
    /// Active Firmware Info.
    pub afi: ActiveFirmware,
    /// Reserved.
    pub reserved1: Opaque<7>,
    /// Firmware revisions of slots 1 to 7; all zero where a slot is empty.
    pub frs: [Ascii<8>; 7],
    /// Reserved.
    pub reserved64: Opaque<448>,
}
const _: () = assert!(size_of::<FirmwareSlots>() == 512);
const _: () = assert!(offset_of!(FirmwareSlots, frs) == 8);

impl Default for FirmwareSlots {
    /// All slots empty.
    fn default() -> Self {
        use zerocopy::FromZeros as _;
        Self::new_zeroed()
    }
}

impl fmt::Display for FirmwareSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.afi)?;
        for (slot, revision) in (1..).zip(&self.frs) {
            if !revision.trimmed().is_empty() {
                write!(f, " FRS{slot}={revision}")?;
            }
        }
        Ok(())
    }
}
