//! Address Translation Services (PCIe 6.0 §10.5.1): a device that caches the IOMMU's translations.

use bitfield_struct::bitfield;

/// Offsets in bytes within the capability.
pub mod offset {
    /// [`AtsCapability`](super::AtsCapability), 16 bits.
    pub const CAPABILITY: u16 = 0x04;
    /// [`AtsControl`](super::AtsControl), 16 bits.
    pub const CONTROL: u16 = 0x06;
}

/// The ATS Capability register (PCIe 6.0 §10.5.1.2).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct AtsCapability {
    /// Invalidate Queue Depth: how many invalidate requests the function takes; 0 means 32.
    #[bits(5)]
    pub invalidate_queue_depth: u8,
    /// Page Aligned Request: untranslated addresses are always aligned to 4096 bytes.
    pub page_aligned_request: bool,
    /// Global Invalidate Supported.
    pub global_invalidate: bool,
    /// Relaxed Ordering Supported: translation requests may have Relaxed Ordering set.
    pub relaxed_ordering: bool,
    __: u8,
}

impl AtsCapability {
    /// How many invalidate requests the function takes before it pushes back: 1 to 32.
    #[must_use]
    pub const fn invalidate_requests(self) -> u8 {
        match self.invalidate_queue_depth() {
            0 => 32,
            depth => depth,
        }
    }
}

/// The ATS Control register (PCIe 6.0 §10.5.1.3).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct AtsControl {
    /// Smallest Translation Unit: 2 to the power of it in units of 4096 bytes.
    #[bits(5)]
    pub smallest_translation_unit: u8,
    #[bits(10)]
    __: u16,
    /// Enable: the function may cache translations.
    pub enable: bool,
}

impl AtsControl {
    /// The smallest translation unit in bytes: 4096 and up.
    #[must_use]
    pub const fn smallest_translation_bytes(self) -> u64 {
        4096 << self.smallest_translation_unit()
    }
}

display_words!(AtsCapability {
    "InvalidateQueueDepth" => hex(invalidate_requests), "PageAlignedReq" => (page_aligned_request),
    "GlobalInvalidate" => (global_invalidate),
});
display_words!(AtsControl {
    "Enable" => (enable), "SmallestTranslationUnit" => hex(smallest_translation_unit),
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_means_thirty_two() {
        assert_eq!(AtsCapability::from_bits(0x0060).invalidate_requests(), 32);
        assert_eq!(AtsCapability::from_bits(0x001F).invalidate_requests(), 31);
    }

    #[test]
    fn translation_units() {
        assert_eq!(AtsControl::from_bits(0x8000).smallest_translation_bytes(), 4096);
        assert_eq!(AtsControl::from_bits(0x801F).smallest_translation_bytes(), 1 << 43);
        assert_eq!(
            AtsControl::from_bits(0x8001).to_string(),
            "Enable+ SmallestTranslationUnit=0x1"
        );
    }
}
