//! Resizable BAR (PCIe 6.0 §7.8.6): a BAR whose size software chooses.

use core::fmt;

use bitfield_struct::bitfield;

/// Offset in bytes within the capability of a [`ResizableBarCapability`]; `index` counts resizable BARs
/// from 0 to 5.
#[must_use]
pub const fn capability_offset(index: u8) -> u16 {
    0x04 + index as u16 * 8
}

/// Offset in bytes within the capability of a [`ResizableBarControl`].
#[must_use]
pub const fn control_offset(index: u8) -> u16 {
    0x08 + index as u16 * 8
}

/// A size code: 2 to the power of it in MiB.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct BarSize(u8);

impl BarSize {
    /// The largest size that has a code: 8 EiB.
    pub const LARGEST: Self = Self(43);

    /// Takes any code.
    #[must_use]
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits)
    }

    /// The code.
    #[must_use]
    pub const fn into_bits(self) -> u8 {
        self.0
    }

    /// The size in bytes; `None` for a reserved code.
    #[must_use]
    pub const fn bytes(self) -> Option<u64> {
        if self.0 <= Self::LARGEST.0 { Some(1 << (20 + self.0)) } else { None }
    }

    /// The code for a size in bytes; `None` if that is not a power of two from 1 MiB to 8 EiB.
    #[must_use]
    pub fn from_bytes(bytes: u64) -> Option<Self> {
        let code = u8::try_from(bytes.checked_ilog2()?.checked_sub(20)?).ok()?;
        (bytes.is_power_of_two()).then_some(Self(code))
    }
}

impl fmt::Display for BarSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 5] = ["MB", "GB", "TB", "PB", "EB"];
        match UNITS.get(usize::from(self.0 / 10)) {
            Some(unit) if *self <= Self::LARGEST => write!(f, "{}{unit}", 1_u32 << (self.0 % 10)),
            _ => write!(f, "{:#04x}", self.0),
        }
    }
}

impl crate::words::Word for BarSize {
    fn word(&self, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{name}={self}")
    }
}

/// Sizes from 1 MiB to 128 TiB that a BAR supports (PCIe 6.0 §7.8.6.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ResizableBarCapability {
    #[bits(4)]
    __: u8,
    /// A bit for each size code from 0 to 27.
    #[bits(28)]
    pub sizes: u32,
}

/// Control of one BAR (PCIe 6.0 §7.8.6.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ResizableBarControl {
    /// BAR Index: 0 to 5.
    #[bits(3)]
    pub bar_index: u8,
    #[bits(2)]
    __: u8,
    /// Number of Resizable BARs; valid in the first control register only.
    #[bits(3)]
    pub bar_count: u8,
    /// BAR Size: read and written.
    #[bits(6)]
    pub size: BarSize,
    #[bits(2)]
    __: u8,
    /// A bit for each size code from 28 (256 TiB) to 43 (8 EiB) that the BAR supports.
    pub large_sizes: u16,
}
display_words!(ResizableBarCapability { "supported" => hex(sizes) });
display_words!(ResizableBarControl { "BAR" => (bar_index), "current size" => (size) });

/// Whether a BAR supports a size.
#[must_use]
pub const fn supports(
    capability: ResizableBarCapability,
    control: ResizableBarControl,
    size: BarSize,
) -> bool {
    match size.into_bits() {
        code @ 0..28 => capability.sizes() >> code & 1 == 1,
        code @ 28..44 => control.large_sizes() >> (code - 28) & 1 == 1,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graphics_card() {
        // "BAR 0: current size: 256MB, supported: 256MB 512MB 1GB 2GB 4GB 8GB 16GB".
        let capability = ResizableBarCapability::from_bits(0x0007_F000);
        let control = ResizableBarControl::from_bits(0x0000_0820);
        assert_eq!(control.to_string(), "BAR=0 current size=256MB");
        assert_eq!(control.bar_count(), 1);
        let sizes: Vec<_> = (0..64)
            .map(BarSize::from_bits)
            .filter(|size| supports(capability, control, *size))
            .map(|size| size.to_string())
            .collect();
        assert_eq!(sizes, ["256MB", "512MB", "1GB", "2GB", "4GB", "8GB", "16GB"]);
    }

    #[test]
    fn every_code_of_six_bits() {
        for code in 0..64 {
            let size = BarSize::from_bits(code);
            assert_eq!(size.bytes().and_then(BarSize::from_bytes), (code < 44).then_some(size));
        }
        assert_eq!(BarSize::LARGEST.to_string(), "8EB");
        assert_eq!(BarSize::from_bits(44).to_string(), "0x2c");
        assert_eq!(BarSize::from_bytes(0), None);
        assert_eq!(BarSize::from_bytes(1 << 19), None);
        assert_eq!(BarSize::from_bytes((1 << 20) + 1), None);
    }

    #[test]
    fn sizes_beyond_128_tib_are_in_the_control_register() {
        let control = ResizableBarControl::from_bits(0x8001_0000);
        let none = ResizableBarCapability::new();
        let supported: Vec<_> =
            (0..64).filter(|code| supports(none, control, BarSize::from_bits(*code))).collect();
        assert_eq!(supported, [28, 43]);
    }
}
