//! Physical Region Pages (NVMe Base 2.1 §4.3.1).

use core::fmt;
use core::mem::size_of;

use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of an entry.
pub const ENTRY_SIZE: u64 = 8;

/// One entry: the address of a memory page and, in the low bits, an offset within it.
///
/// Only the first entry of a command, and the pointer to a list, may have an offset; it is a multiple of 4
/// (of 8 for a list).
#[derive(
    Clone, Copy, PartialEq, Eq, Default, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(transparent)]
pub struct PrpEntry(U64);
const _: () = assert!(size_of::<PrpEntry>() == 8);

impl PrpEntry {
    /// The entry for an address.
    #[inline]
    #[must_use]
    pub const fn new(address: u64) -> Self {
        Self(U64::new(address))
    }

    /// Page Base Address and Offset as one address.
    #[inline]
    #[must_use]
    pub const fn address(self) -> u64 {
        self.0.get()
    }

    /// The offset in a page of `page_size` bytes, which is a power of two.
    #[inline]
    #[must_use]
    pub const fn offset(self, page_size: u64) -> u64 {
        self.address() & page_size.wrapping_sub(1)
    }

    /// The Page Base Address for pages of `page_size` bytes, which is a power of two.
    #[inline]
    #[must_use]
    pub const fn page(self, page_size: u64) -> u64 {
        self.address() & !page_size.wrapping_sub(1)
    }
}

impl fmt::Display for PrpEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.address())
    }
}

impl fmt::Debug for PrpEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many entries of a list are in its first page, the list beginning at `list`: the last of them points
/// to the next page of the list if the list does not end before it (NVMe Base 2.1 §4.3.1). `page_size` is
/// a power of two of at least 4096.
#[inline]
#[must_use]
pub const fn entries_to_page_end(list: PrpEntry, page_size: u64) -> u64 {
    (page_size - list.offset(page_size)) / ENTRY_SIZE
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_of_an_entry() {
        assert_eq!(PrpEntry::new(0x1234_5000).as_bytes(), [0, 0x50, 0x34, 0x12, 0, 0, 0, 0]);
        assert_eq!(PrpEntry::new(0x1234_5678).to_string(), "0x12345678");
    }

    #[test]
    fn lists_at_the_end_of_a_page() {
        assert_eq!(entries_to_page_end(PrpEntry::new(0x1000), 4096), 512);
        assert_eq!(entries_to_page_end(PrpEntry::new(0x1FF8), 4096), 1);
        assert_eq!(entries_to_page_end(PrpEntry::new(0x1FFC), 4096), 0);
        assert_eq!(entries_to_page_end(PrpEntry::new(0x1000), 65_536), 7680);
    }

    proptest! {
        #[test]
        fn page_and_offset_make_the_address(address: u64, shift in 12_u32..28) {
            let entry = PrpEntry::new(address);
            let page_size = 1 << shift;
            prop_assert_eq!(entry.page(page_size) + entry.offset(page_size), address);
            prop_assert!(entry.offset(page_size) < page_size);
        }
    }
}
