//! MSI-X (PCIe 6.0 §7.7.2).

use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::Le32;

/// Bytes of the capability.
pub const CAPABILITY_SIZE: u16 = 12;
/// The most entries that a table can have.
pub const MAX_ENTRIES: u16 = 2048;

/// Offsets in bytes within the capability.
pub mod offset {
    /// [`MessageControl`](super::MessageControl), 16 bits.
    pub const MESSAGE_CONTROL: u16 = 0x02;
    /// [`TableLocation`](super::TableLocation) of the table, 32 bits.
    pub const TABLE: u16 = 0x04;
    /// [`TableLocation`](super::TableLocation) of the Pending Bit Array, 32 bits.
    pub const PENDING_BIT_ARRAY: u16 = 0x08;
}

/// Message Control (PCIe 6.0 §7.7.2.2).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct MessageControl {
    /// Table Size: the number of entries minus 1.
    #[bits(11)]
    pub table_size_z: u16,
    #[bits(3)]
    __: u8,
    /// Function Mask: all vectors are masked.
    pub function_mask: bool,
    /// MSI-X Enable.
    pub enable: bool,
}

impl MessageControl {
    /// The number of entries: 1 to 2048.
    #[must_use]
    pub const fn entries(self) -> u16 {
        self.table_size_z() + 1
    }
}
display_words!(MessageControl {
    "Enable" => (enable), "Count" => (entries), "Masked" => (function_mask),
});

/// Where the table or the Pending Bit Array is (PCIe 6.0 §7.7.2.3 and §7.7.2.4).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct TableLocation {
    /// BAR Indicator Register: 0 to 5.
    #[bits(3)]
    pub bir: u8,
    /// The offset in that BAR in units of 8 bytes.
    #[bits(29)]
    pub offset_8: u32,
}

impl TableLocation {
    /// The offset in the BAR in bytes: a multiple of 8.
    #[must_use]
    pub const fn offset(self) -> u32 {
        self.offset_8() << 3
    }

    /// The location at `offset` in BAR `bir`; `None` if the offset is no multiple of 8 or there is no such
    /// BAR.
    #[must_use]
    pub const fn at(bir: u8, offset: u32) -> Option<Self> {
        if bir > 5 || !offset.is_multiple_of(8) {
            return None;
        }
        Some(Self::new().with_bir(bir).with_offset_8(offset >> 3))
    }
}
display_words!(TableLocation { "BAR" => (bir), "offset" => hex(offset) });

/// Vector Control of an entry (PCIe 6.0 §7.7.2.8).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct VectorControl {
    /// Mask Bit: the function keeps the message pending instead of sending it.
    pub mask: bool,
    #[bits(15)]
    __: u16,
    /// ST Lower: steering tag, if the TPH capability says so.
    pub st_lower: u8,
    /// ST Upper.
    pub st_upper: u8,
}
display_words!(VectorControl { "Mask" => (mask) });

/// An entry of the table: a write of `data` to `address` is the interrupt.
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
pub struct TableEntry {
    /// Message Address and Message Upper Address; bits 1 and 0 are zero.
    pub address: U64,
    /// Message Data.
    pub data: U32,
    /// Vector Control.
    pub vector_control: Le32<VectorControl>,
}
const _: () = assert!(size_of::<TableEntry>() == 16);
const _: () = assert!(offset_of!(TableEntry, data) == 8);
const _: () = assert!(offset_of!(TableEntry, vector_control) == 12);

impl TableEntry {
    /// An entry as after reset: no address, masked.
    #[must_use]
    pub fn masked() -> Self {
        Self { vector_control: VectorControl::new().with_mask(true).into(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capability_of_a_real_ssd() {
        // "MSI-X: Enable+ Count=33 Masked-; Vector table: BAR=0 offset=00002000".
        let control = MessageControl::from_bits(0x8020);
        assert_eq!(control.to_string(), "Enable+ Count=33 Masked-");
        let table = TableLocation::from_bits(0x0000_2000);
        assert_eq!(table.to_string(), "BAR=0 offset=0x2000");
        assert_eq!(MessageControl::from_bits(0x07FF).entries(), MAX_ENTRIES);
    }

    #[test]
    fn locations_are_multiples_of_eight_in_one_of_six_bars() {
        assert_eq!(TableLocation::at(4, 0x3000).unwrap().into_bits(), 0x3004);
        assert_eq!(TableLocation::at(0, 4), None);
        assert_eq!(TableLocation::at(6, 0), None);
        assert_eq!(TableLocation::at(5, 0xFFFF_FFF8).unwrap().offset(), 0xFFFF_FFF8);
    }

    #[test]
    fn entries_start_masked() {
        assert_eq!(
            TableEntry::masked().as_bytes(),
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]
        );
    }
}
