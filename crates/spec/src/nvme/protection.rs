//! End-to-end data protection (NVM Command Set 1.1 §5.3).
//!
//! Unlike everything else in NVMe, protection information is big-endian.

use core::fmt;
use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The application tag that switches checking off, for types 1 and 2 always and for type 3 if the reference
/// tag is all ones (NVM Command Set 1.1 §5.3.3).
pub const APPLICATION_TAG_ESCAPE: u16 = 0xFFFF;

open_enum! {
    /// Which of the protection types is in use (NVM Command Set 1.1 §5.3.1.4).
    pub struct ProtectionType: u8 {
        NONE = 0b000 => "None",
        TYPE_1 = 0b001 => "Type 1",
        TYPE_2 = 0b010 => "Type 2",
        TYPE_3 = 0b011 => "Type 3",
    }
}

open_enum! {
    /// Protection Information Format (NVM Command Set 1.1 §4.1.5.3).
    pub struct ProtectionFormat: u8 {
        GUARD_16 = 0b00 => "16b Guard",
        GUARD_32 = 0b01 => "32b Guard",
        GUARD_64 = 0b10 => "64b Guard",
        /// The format is in the field for the qualified type.
        QUALIFIED = 0b11 => "Qualified Type",
    }
}

impl ProtectionFormat {
    /// Bytes of the protection information of a logical block; `None` for a code that names no format.
    #[must_use]
    pub const fn bytes(self) -> Option<usize> {
        match self {
            Self::GUARD_16 => Some(size_of::<ProtectionInfo16>()),
            Self::GUARD_32 => Some(size_of::<ProtectionInfo32>()),
            Self::GUARD_64 => Some(size_of::<ProtectionInfo64>()),
            _ => None,
        }
    }
}

/// Protection Information field of a command: 4 bits (NVM Command Set 1.1 §3.3).
#[bitfield(u8)]
#[derive(PartialEq, Eq)]
pub struct Prinfo {
    /// Check the reference tag (PRCHK bit 0).
    pub check_reference: bool,
    /// Check the application tag (PRCHK bit 1).
    pub check_application: bool,
    /// Check the guard (PRCHK bit 2).
    pub check_guard: bool,
    /// Protection Information Action (PRACT): the controller inserts and strips the information.
    pub pract: bool,
    #[bits(4)]
    __: u8,
}
display_words!(Prinfo {
    "PRCHK.Ref" => (check_reference), "PRCHK.App" => (check_application),
    "PRCHK.Guard" => (check_guard), "PRACT" => (pract),
});

impl Prinfo {
    /// The 4 bits that a command holds.
    pub(crate) const fn nibble(self) -> u8 {
        self.into_bits() & 0xF
    }
}

/// Protection information with a 16-bit guard (NVM Command Set 1.1 §5.3.1.1).
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
pub struct ProtectionInfo16 {
    /// CRC-16 of the data with the polynomial of T10 DIF, 8BB7h.
    pub guard: U16,
    /// Application Tag: the host's own.
    pub application_tag: U16,
    /// Storage Tag, as many bits as the format says, above the reference tag.
    pub reference_tag: U32,
}
const _: () = assert!(size_of::<ProtectionInfo16>() == 8);
const _: () = assert!(offset_of!(ProtectionInfo16, reference_tag) == 4);

impl fmt::Display for ProtectionInfo16 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "guard={:#06x} apptag={:#06x} reftag={:#010x}",
            self.guard, self.application_tag, self.reference_tag
        )
    }
}

/// Protection information with a 32-bit guard (NVM Command Set 1.1 §5.3.1.2).
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
pub struct ProtectionInfo32 {
    /// CRC-32C of the data.
    pub guard: U32,
    /// Application Tag: the host's own.
    pub application_tag: U16,
    /// Storage Tag, as many bits as the format says, above the reference tag: 80 bits.
    pub storage_and_reference: [u8; 10],
}
const _: () = assert!(size_of::<ProtectionInfo32>() == 16);
const _: () = assert!(offset_of!(ProtectionInfo32, storage_and_reference) == 6);

/// Protection information with a 64-bit guard (NVM Command Set 1.1 §5.3.1.3).
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
pub struct ProtectionInfo64 {
    /// CRC-64 of the data with the polynomial that the section defines.
    pub guard: U64,
    /// Application Tag: the host's own.
    pub application_tag: U16,
    /// Storage Tag, as many bits as the format says, above the reference tag: 48 bits.
    pub storage_and_reference: [u8; 6],
}
const _: () = assert!(size_of::<ProtectionInfo64>() == 16);
const _: () = assert!(offset_of!(ProtectionInfo64, storage_and_reference) == 10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_significant_byte_first() {
        let info = ProtectionInfo16 {
            guard: U16::new(0x1122),
            application_tag: U16::new(0x3344),
            reference_tag: U32::new(0x5566_7788),
        };
        assert_eq!(info.as_bytes(), [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88]);
        assert_eq!(info.to_string(), "guard=0x1122 apptag=0x3344 reftag=0x55667788");
    }

    #[test]
    fn sizes_of_the_formats() {
        let sizes = [0_u8, 1, 2, 3].map(|bits| ProtectionFormat::from_bits(bits).bytes());
        assert_eq!(sizes, [Some(8), Some(16), Some(16), None]);
    }
}
