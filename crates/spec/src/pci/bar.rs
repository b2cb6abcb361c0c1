//! Base Address Registers (PCIe 6.0 §7.5.1.2.1).

use core::fmt;

use bitfield_struct::bitfield;

open_enum! {
    /// Bits 2 and 1 of a memory BAR.
    pub struct MemoryType: u8 {
        BITS_32 = 0b00 => "32-bit",
        BELOW_1M = 0b01 => "low-1M",
        BITS_64 = 0b10 => "64-bit",
    }
}

/// The register word. For an I/O BAR only `io_space` and bits 31 to 2 have their meaning.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct BarRegister {
    /// Memory Space Indicator: 1 for I/O, 0 for memory.
    pub io_space: bool,
    /// Width of the address; 64-bit ones take the next register as their upper half.
    #[bits(2)]
    pub memory_type: MemoryType,
    /// Prefetchable: reads have no side effects and writes may be merged.
    pub prefetchable: bool,
    /// Bits 31 to 4 of the address.
    #[bits(28)]
    pub address_31_4: u32,
}

/// What a BAR decodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BarKind {
    /// I/O ports.
    Io,
    /// Memory, one register.
    Memory32 {
        /// Reads have no side effects and writes may be merged.
        prefetchable: bool,
    },
    /// Memory, two registers.
    Memory64 {
        /// Reads have no side effects and writes may be merged.
        prefetchable: bool,
    },
}

impl BarKind {
    /// The read-only low bits of the register.
    #[must_use]
    pub const fn register(self) -> BarRegister {
        match self {
            Self::Io => BarRegister::new().with_io_space(true),
            Self::Memory32 { prefetchable } => BarRegister::new().with_prefetchable(prefetchable),
            Self::Memory64 { prefetchable } => BarRegister::new()
                .with_memory_type(MemoryType::BITS_64)
                .with_prefetchable(prefetchable),
        }
    }

    /// How many consecutive registers the BAR takes: 1 or 2.
    #[must_use]
    pub const fn registers(self) -> u8 {
        match self {
            Self::Memory64 { .. } => 2,
            Self::Io | Self::Memory32 { .. } => 1,
        }
    }

    /// The register bits that hold an address, as one number of 64 bits.
    #[must_use]
    pub const fn address_mask(self) -> u64 {
        match self {
            Self::Io => 0xFFFF_FFFC,
            Self::Memory32 { .. } => 0xFFFF_FFF0,
            Self::Memory64 { .. } => 0xFFFF_FFFF_FFFF_FFF0,
        }
    }

    /// The smallest size that the registers can express: 4 ports or 16 bytes.
    #[must_use]
    pub const fn smallest(self) -> u64 {
        match self {
            Self::Io => 4,
            Self::Memory32 { .. } | Self::Memory64 { .. } => 16,
        }
    }

    /// The base address held by the registers; `upper` is read only for a 64-bit BAR.
    #[must_use]
    pub const fn address(self, lower: u32, upper: u32) -> u64 {
        joined(lower, upper) & self.address_mask()
    }

    /// The registers' content for a base address: lower half with the read-only bits, and upper half.
    /// Bits that the BAR cannot hold are dropped.
    #[must_use]
    pub const fn encode(self, address: u64) -> (u32, u32) {
        let [a, b, c, d, e, f, g, h] = (address & self.address_mask()).to_le_bytes();
        let lower = u32::from_le_bytes([a, b, c, d]) | self.register().into_bits();
        (lower, u32::from_le_bytes([e, f, g, h]))
    }

    /// The size that a BAR reveals after all ones were written to it; `None` if no bit stuck (the BAR is
    /// not implemented) or if the bits that did are not a power-of-two decoder.
    #[must_use]
    pub const fn size(self, lower: u32, upper: u32) -> Option<u64> {
        let space = self.address_mask();
        let stuck = joined(lower, upper) & space;
        if stuck == 0 {
            return None;
        }
        let size = stuck & stuck.wrapping_neg();
        // Every address bit above the size has to stick, except that I/O BARs may leave out bits 31 to 16.
        let above = space & !(size - 1);
        let complete = match self {
            Self::Io => stuck & 0xFFFF == above & 0xFFFF,
            Self::Memory32 { .. } | Self::Memory64 { .. } => stuck == above,
        };
        if complete { Some(size) } else { None }
    }

    /// What a BAR of `size` bytes reads as after all ones were written to it. `size` is a power of two of
    /// at least [`BarKind::smallest`].
    #[must_use]
    pub const fn sizing(self, size: u64) -> (u32, u32) {
        self.encode(size.wrapping_neg())
    }
}

impl BarRegister {
    /// What the BAR decodes; `None` for a memory type that PCI Express does not use.
    #[must_use]
    pub const fn kind(self) -> Option<BarKind> {
        if self.io_space() {
            return Some(BarKind::Io);
        }
        let prefetchable = self.prefetchable();
        match self.memory_type() {
            MemoryType::BITS_32 => Some(BarKind::Memory32 { prefetchable }),
            MemoryType::BITS_64 => Some(BarKind::Memory64 { prefetchable }),
            _ => None,
        }
    }
}

impl fmt::Display for BarKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (width, prefetchable) = match self {
            Self::Io => return f.write_str("I/O ports"),
            Self::Memory32 { prefetchable } => (MemoryType::BITS_32, prefetchable),
            Self::Memory64 { prefetchable } => (MemoryType::BITS_64, prefetchable),
        };
        let not = if *prefetchable { "" } else { "non-" };
        write!(f, "Memory ({width}, {not}prefetchable)")
    }
}

impl fmt::Display for BarRegister {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind() {
            Some(kind) => write!(f, "{kind} at {:x}", kind.address(self.into_bits(), 0)),
            None => write!(f, "Memory ({}) at {:x}", self.memory_type(), self.address_31_4() << 4),
        }
    }
}

const fn joined(lower: u32, upper: u32) -> u64 {
    let [a, b, c, d] = lower.to_le_bytes();
    let [e, f, g, h] = upper.to_le_bytes();
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KINDS: [BarKind; 5] = [
        BarKind::Io,
        BarKind::Memory32 { prefetchable: false },
        BarKind::Memory32 { prefetchable: true },
        BarKind::Memory64 { prefetchable: false },
        BarKind::Memory64 { prefetchable: true },
    ];

    #[test]
    fn registers_of_real_devices() {
        let nvme = BarRegister::from_bits(0xF7A0_0004);
        assert_eq!(nvme.to_string(), "Memory (64-bit, non-prefetchable) at f7a00000");
        let gpu = BarRegister::from_bits(0xE000_000C);
        assert_eq!(gpu.kind(), Some(BarKind::Memory64 { prefetchable: true }));
        let serial = BarRegister::from_bits(0x0000_E001);
        assert_eq!(serial.kind(), Some(BarKind::Io));
        assert_eq!(BarKind::Io.address(serial.into_bits(), 0), 0xE000);
        assert_eq!(BarRegister::from_bits(0x2).kind(), None);
        assert_eq!(BarRegister::from_bits(0x6).kind(), None);
    }

    #[test]
    fn sizing_boundaries() {
        let memory32 = BarKind::Memory32 { prefetchable: false };
        let memory64 = BarKind::Memory64 { prefetchable: true };
        // 16 KiB as on most SSDs, from the values that such a device returns.
        assert_eq!(memory64.size(0xFFFF_C004, 0xFFFF_FFFF), Some(0x4000));
        assert_eq!(memory32.size(0, 0), None);
        assert_eq!(memory32.size(0xFFFF_FFF0, 0), Some(16));
        assert_eq!(memory32.size(0x8000_0000, 0), Some(1 << 31));
        assert_eq!(memory64.size(0x0000_000C, 0xFFFF_FFFF), Some(1 << 32));
        assert_eq!(memory64.size(0x0000_000C, 0x8000_0000), Some(1 << 63));
        // A hole in the mask is no decoder.
        assert_eq!(memory32.size(0xFF7F_0000, 0), None);
        // 256 ports of a device that decodes 16 bits.
        assert_eq!(BarKind::Io.size(0x0000_FF01, 0), Some(256));
        println!("sizing boundaries: 8");
    }

    #[test]
    fn every_size_of_every_kind_survives() {
        let mut cases = 0;
        for kind in KINDS {
            let bits = if kind.registers() == 2 { 64 } else { 32 };
            for shift in kind.smallest().trailing_zeros()..bits {
                let (lower, upper) = kind.sizing(1 << shift);
                assert_eq!(BarRegister::from_bits(lower).kind(), Some(kind));
                assert_eq!(kind.size(lower, upper), Some(1 << shift));
                cases += 1;
            }
        }
        println!("sizes: {cases}");
        assert_eq!(cases, 30 + 2 * 28 + 2 * 60);
    }

    proptest! {
        #[test]
        fn address_survives(kind in prop::sample::select(KINDS.to_vec()), address: u64) {
            let (lower, upper) = kind.encode(address);
            prop_assert_eq!(BarRegister::from_bits(lower).kind(), Some(kind));
            prop_assert_eq!(kind.address(lower, upper), address & kind.address_mask());
        }
    }
}
