//! What a bridge forwards: its control register and address windows (PCIe 6.0 §7.5.1.3).

use core::ops::RangeInclusive;

use bitfield_struct::bitfield;

/// Control of a bridge's secondary side (PCIe 6.0 §7.5.1.3.10).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct BridgeControl {
    /// Parity Error Response Enable.
    pub parity_error_response: bool,
    /// SERR# Enable: forward error messages from the secondary side.
    pub serr: bool,
    /// ISA Enable: block the upper 768 bytes of each 1 KiB of I/O space below 64 KiB.
    pub isa: bool,
    /// VGA Enable: forward the legacy VGA ranges.
    pub vga: bool,
    /// VGA 16-bit Decode.
    pub vga_16_bit: bool,
    /// Master Abort Mode; 0 in PCI Express.
    pub master_abort_mode: bool,
    /// Secondary Bus Reset: hot reset of everything behind the bridge while set.
    pub secondary_bus_reset: bool,
    /// Fast Back-to-Back Transactions Enable; 0 in PCI Express.
    pub fast_back_to_back: bool,
    __: u8,
}
display_words!(BridgeControl {
    "Parity" => (parity_error_response), "SERR" => (serr), "NoISA" => (isa), "VGA" => (vga),
    "VGA16" => (vga_16_bit), "MAbort" => (master_abort_mode), ">Reset" => (secondary_bus_reset),
    "FastB2B" => (fast_back_to_back),
});

/// Granularity of both memory windows: 1 MiB.
pub const MEMORY_GRANULARITY: u64 = 1 << 20;
/// Granularity of the I/O window: 4 KiB.
pub const IO_GRANULARITY: u32 = 1 << 12;

/// Memory Base and Memory Limit (PCIe 6.0 §7.5.1.3.8): 32-bit addresses, not prefetchable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryWindow {
    /// The register at [`MEMORY_BASE`](crate::pci::config::type1::MEMORY_BASE).
    pub base: u16,
    /// The register at [`MEMORY_LIMIT`](crate::pci::config::type1::MEMORY_LIMIT).
    pub limit: u16,
}

impl MemoryWindow {
    /// A window that forwards nothing: its base is above its limit.
    pub const CLOSED: Self = Self { base: 0xFFF0, limit: 0 };

    /// A window over exactly `range`; `None` if that is empty or not made of whole MiB.
    #[must_use]
    pub fn new(range: RangeInclusive<u32>) -> Option<Self> {
        let window = Self { base: upper_half(*range.start()), limit: upper_half(*range.end()) };
        (window.range()? == range).then_some(window)
    }

    /// The addresses that are forwarded downstream; `None` if the window is closed.
    #[must_use]
    pub fn range(self) -> Option<RangeInclusive<u32>> {
        let start = u32::from(self.base & 0xFFF0) << 16;
        let end = u32::from(self.limit & 0xFFF0) << 16 | 0x000F_FFFF;
        (start < end).then_some(start..=end)
    }
}

/// Prefetchable Memory Base and Limit with their upper halves (PCIe 6.0 §7.5.1.3.9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrefetchableWindow {
    /// The register at [`PREFETCHABLE_BASE`](crate::pci::config::type1::PREFETCHABLE_BASE); bit 0 says
    /// that the window has 64-bit addresses.
    pub base: u16,
    /// The register at [`PREFETCHABLE_LIMIT`](crate::pci::config::type1::PREFETCHABLE_LIMIT).
    pub limit: u16,
    /// Bits 63 to 32 of the base.
    pub base_upper: u32,
    /// Bits 63 to 32 of the limit.
    pub limit_upper: u32,
}

impl PrefetchableWindow {
    /// A 64-bit window that forwards nothing.
    pub const CLOSED: Self = Self { base: 0xFFF1, limit: 0x0001, base_upper: 0, limit_upper: 0 };

    /// A 64-bit window over exactly `range`; `None` if that is empty or not made of whole MiB.
    #[must_use]
    pub fn new(range: RangeInclusive<u64>) -> Option<Self> {
        let (base_upper, base) = split(*range.start());
        let (limit_upper, limit) = split(*range.end());
        let window = Self { base: base | 1, limit: limit | 1, base_upper, limit_upper };
        (window.range()? == range).then_some(window)
    }

    /// Whether the bridge implements the upper halves.
    #[must_use]
    pub const fn is_64_bit(self) -> bool {
        self.base & 0xF == 1
    }

    /// The addresses that are forwarded downstream; `None` if the window is closed.
    #[must_use]
    pub fn range(self) -> Option<RangeInclusive<u64>> {
        let mut start = u64::from(self.base & 0xFFF0) << 16;
        let mut end = u64::from(self.limit & 0xFFF0) << 16 | 0x000F_FFFF;
        if self.is_64_bit() {
            start |= u64::from(self.base_upper) << 32;
            end |= u64::from(self.limit_upper) << 32;
        }
        (start < end).then_some(start..=end)
    }
}

/// I/O Base and Limit with their upper halves (PCIe 6.0 §7.5.1.3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IoWindow {
    /// The register at [`IO_BASE`](crate::pci::config::type1::IO_BASE); bit 0 says that the window has
    /// 32-bit addresses.
    pub base: u8,
    /// The register at [`IO_LIMIT`](crate::pci::config::type1::IO_LIMIT).
    pub limit: u8,
    /// Bits 31 to 16 of the base.
    pub base_upper: u16,
    /// Bits 31 to 16 of the limit.
    pub limit_upper: u16,
}

impl IoWindow {
    /// A 16-bit window that forwards nothing.
    pub const CLOSED: Self = Self { base: 0xF0, limit: 0, base_upper: 0, limit_upper: 0 };

    /// The ports that are forwarded downstream; `None` if the window is closed.
    #[must_use]
    pub fn range(self) -> Option<RangeInclusive<u32>> {
        let mut start = u32::from(self.base & 0xF0) << 8;
        let mut end = u32::from(self.limit & 0xF0) << 8 | 0xFFF;
        if self.base & 0xF == 1 {
            start |= u32::from(self.base_upper) << 16;
            end |= u32::from(self.limit_upper) << 16;
        }
        (start < end).then_some(start..=end)
    }
}

const fn upper_half(address: u32) -> u16 {
    let [_, _, low, high] = address.to_le_bytes();
    u16::from_le_bytes([low & 0xF0, high])
}

const fn split(address: u64) -> (u32, u16) {
    let [a, b, c, d, e, f, g, h] = address.to_le_bytes();
    (u32::from_le_bytes([e, f, g, h]), upper_half(u32::from_le_bytes([a, b, c, d])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn windows_as_firmware_programs_them() {
        // "Memory behind bridge: e0000000-e04fffff", "Prefetchable ...: 2000000000-2fffffffff".
        let memory = MemoryWindow { base: 0xE000, limit: 0xE040 };
        assert_eq!(memory.range(), Some(0xE000_0000..=0xE04F_FFFF));
        let prefetchable =
            PrefetchableWindow { base: 0x0001, limit: 0xFFF1, base_upper: 0x20, limit_upper: 0x2F };
        assert_eq!(prefetchable.range(), Some(0x20_0000_0000..=0x2F_FFFF_FFFF));
        let io = IoWindow { base: 0xD1, limit: 0xE1, base_upper: 0, limit_upper: 0 };
        assert_eq!(io.range(), Some(0xD000..=0xEFFF));
    }

    #[test]
    fn closed_windows_forward_nothing() {
        assert_eq!(MemoryWindow::CLOSED.range(), None);
        assert_eq!(PrefetchableWindow::CLOSED.range(), None);
        assert_eq!(IoWindow::CLOSED.range(), None);
        // All zeroes, as after reset, is not closed: it covers the first granule.
        assert_eq!(MemoryWindow { base: 0, limit: 0 }.range(), Some(0..=0xF_FFFF));
    }

    #[test]
    fn a_32_bit_prefetchable_window_ignores_its_upper_halves() {
        let window =
            PrefetchableWindow { base: 0x8000, limit: 0x8010, base_upper: 7, limit_upper: 7 };
        assert_eq!(window.range(), Some(0x8000_0000..=0x801F_FFFF));
    }

    proptest! {
        #[test]
        fn whole_mebibytes_survive(first in 0_u64..1 << 44, count in 1_u64..1 << 20) {
            let last = first.saturating_add(count - 1).min((1 << 44) - 1);
            let range = first << 20..=(last << 20 | 0xF_FFFF);
            let window = PrefetchableWindow::new(range.clone()).unwrap();
            prop_assert_eq!(window.range(), Some(range));
        }

        #[test]
        fn anything_else_is_refused(start: u32, end: u32) {
            let whole = start & 0xF_FFFF == 0 && end & 0xF_FFFF == 0xF_FFFF && start < end;
            prop_assert_eq!(MemoryWindow::new(start..=end).is_some(), whole);
        }
    }
}
