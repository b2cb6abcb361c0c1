//! Configuration space as registers: which bits exist, which can be written, which a one clears.

use std::ops::Range;

use p2pdma_pci::Width;
use p2pdma_spec::pci::capability::{
    CapabilityHeader, CapabilityId, EXTENDED_START, ExtendedCapabilityHeader, ExtendedCapabilityId,
};
use p2pdma_spec::pci::config::{HEADER_SIZE, HeaderLayout, HeaderType, SIZE, Status, offset};

use crate::endpoint::Reset;

/// A function's configuration space.
#[derive(Debug, Clone)]
pub(crate) struct ConfigImage {
    /// Present value; what lies beyond reads as zero.
    bytes: Vec<u8>,
    /// Bits that software can write.
    writable: Vec<u8>,
    /// Bits that software clears by writing one.
    clears: Vec<u8>,
    /// The value after reset, of everything that software can write.
    initial: Vec<u8>,
    /// Registers that only a loss of power resets.
    sticky: Range<usize>,
    pub(crate) offsets: Offsets,
}

/// Where the capabilities that the fabric acts on begin; zero if absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Offsets {
    pub(crate) express: u16,
    pub(crate) msix: u16,
    pub(crate) aer: u16,
    pub(crate) acs: u16,
    pub(crate) ats: u16,
}

impl ConfigImage {
    /// Reads a register. The caller has checked that it is aligned and within 4 KiB.
    pub(crate) fn read(&self, offset: u16, width: Width) -> u32 {
        let byte = |at: u16| self.bytes.get(usize::from(offset + at)).copied().unwrap_or(0);
        (0..width.bytes()).rev().fold(0, |value, at| value << 8 | u32::from(byte(at)))
    }

    /// Writes a register as software does; returns whether any bit changed.
    pub(crate) fn write(&mut self, offset: u16, width: Width, value: u32) -> bool {
        let mut changed = false;
        let places = usize::from(offset)..usize::from(offset + width.bytes());
        for (at, new) in places.zip(value.to_le_bytes()) {
            let (Some(byte), Some(&writable), Some(&clears)) =
                (self.bytes.get_mut(at), self.writable.get(at), self.clears.get(at))
            else {
                continue;
            };
            let next = (*byte & !writable | new & writable) & !(new & clears);
            changed |= next != *byte;
            *byte = next;
        }
        changed
    }

    /// Sets bits as the hardware does, whatever software may write.
    pub(crate) fn raise(&mut self, offset: u16, bits: u32) {
        self.force(offset, self.read(offset, Width::Dword) | bits);
    }

    /// The same for a register of 16 bits.
    pub(crate) fn raise_word(&mut self, offset: u16, bits: u16) {
        self.raise(offset & !3, u32::from(bits) << (8 * (offset & 3)));
    }

    /// Replaces a dword as the hardware does.
    pub(crate) fn force(&mut self, offset: u16, value: u32) {
        let start = usize::from(offset);
        if let Some(bytes) = self.bytes.get_mut(start..start + 4) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
    }

    /// Every register that software can write returns to its initial value, sticky ones with the power
    /// only (PCIe 6.0 §7.4).
    pub(crate) fn reset(&mut self, kind: Reset) {
        let kept = self.bytes.get(self.sticky.clone()).unwrap_or_default().to_vec();
        self.bytes.clone_from(&self.initial);
        if kind != Reset::Cold
            && let Some(sticky) = self.bytes.get_mut(self.sticky.clone())
        {
            sticky.copy_from_slice(&kept);
        }
    }

    /// Makes the present values those that a reset returns to.
    pub(crate) fn make_initial(&mut self) {
        self.initial.clone_from(&self.bytes);
    }
}

/// Builds a [`ConfigImage`].
#[derive(Debug)]
pub(crate) struct ConfigBuilder {
    image: ConfigImage,
    next_capability: u16,
    /// Where the header of the last capability of the list is, and of the last extended one.
    last: Option<u16>,
    last_extended: Option<u16>,
    next_extended: u16,
}

impl ConfigBuilder {
    pub(crate) fn new(layout: HeaderLayout, multi_function: bool) -> Self {
        let image = ConfigImage {
            bytes: Vec::new(),
            writable: Vec::new(),
            clears: Vec::new(),
            initial: Vec::new(),
            sticky: 0..0,
            offsets: Offsets::default(),
        };
        let (next_capability, next_extended) = (HEADER_SIZE, EXTENDED_START);
        let mut builder =
            Self { image, next_capability, last: None, last_extended: None, next_extended };
        let header = HeaderType::new().with_layout(layout).with_multi_function(multi_function);
        builder.set(offset::HEADER_TYPE, &[header.into_bits()]);
        builder
    }

    /// Gives registers their value.
    pub(crate) fn set(&mut self, offset: u16, value: &[u8]) -> &mut Self {
        put(&mut self.image.bytes, offset, value);
        self
    }

    /// Lets software write these bits.
    pub(crate) fn writable(&mut self, offset: u16, mask: &[u8]) -> &mut Self {
        put(&mut self.image.writable, offset, mask);
        self
    }

    /// Lets software clear these bits by writing one.
    pub(crate) fn clears(&mut self, offset: u16, mask: &[u8]) -> &mut Self {
        put(&mut self.image.clears, offset, mask);
        self
    }

    /// Lets registers keep their value through any reset but a loss of power.
    pub(crate) fn sticky(&mut self, offset: u16, len: u16) -> &mut Self {
        self.image.sticky = usize::from(offset)..usize::from(offset + len);
        self
    }

    /// Adds a capability of `len` bytes to the list; returns where it begins.
    pub(crate) fn capability(&mut self, id: CapabilityId, len: u16) -> u16 {
        let at = self.next_capability;
        self.next_capability = (at + len).next_multiple_of(4);
        let pointer = self.last.map_or(offset::CAPABILITIES_POINTER, |last| last + 1);
        self.set(pointer, &[at.to_le_bytes()[0]]);
        self.set(at, &CapabilityHeader::new().with_id(id).into_bits().to_le_bytes());
        self.set(at + len - 1, &[0]);
        let status = Status::new().with_capabilities_list(true);
        self.set(offset::STATUS, &status.into_bits().to_le_bytes());
        self.last = Some(at);
        at
    }

    /// Adds an extended capability of `len` bytes; returns where it begins.
    pub(crate) fn extended(&mut self, id: ExtendedCapabilityId, version: u8, len: u16) -> u16 {
        let at = self.next_extended;
        self.next_extended = (at + len).next_multiple_of(4);
        if let Some(last) = self.last_extended {
            let header = ExtendedCapabilityHeader::from_bits(self.image.read(last, Width::Dword));
            self.set(last, &header.with_next(at).into_bits().to_le_bytes());
        }
        let header = ExtendedCapabilityHeader::new().with_id(id).with_version(version);
        self.set(at + len - 1, &[0]);
        self.set(at, &header.into_bits().to_le_bytes());
        self.last_extended = Some(at);
        at
    }

    pub(crate) fn offsets(&mut self) -> &mut Offsets {
        &mut self.image.offsets
    }

    pub(crate) fn build(mut self) -> ConfigImage {
        let len = self.image.bytes.len().max(usize::from(HEADER_SIZE)).next_multiple_of(4);
        debug_assert!(len <= usize::from(SIZE), "capabilities fit configuration space");
        for map in [&mut self.image.bytes, &mut self.image.writable, &mut self.image.clears] {
            map.resize(len, 0);
        }
        self.image.make_initial();
        self.image
    }
}

fn put(map: &mut Vec<u8>, offset: u16, value: &[u8]) {
    let start = usize::from(offset);
    let end = start + value.len();
    if map.len() < end {
        map.resize(end, 0);
    }
    map[start..end].copy_from_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> ConfigImage {
        let mut builder = ConfigBuilder::new(HeaderLayout::TYPE0, false);
        builder.set(0, &[0x36, 0x1b, 0x10, 0x00]).writable(0x10, &[0, 0xc0, 0xff, 0xff]);
        let express = builder.capability(CapabilityId::PCI_EXPRESS, 60);
        let msix = builder.capability(CapabilityId::MSI_X, 12);
        let aer = builder.extended(ExtendedCapabilityId::ADVANCED_ERROR_REPORTING, 2, 72);
        let acs = builder.extended(ExtendedCapabilityId::ACCESS_CONTROL_SERVICES, 1, 8);
        builder.clears(aer + 4, &[0xff; 4]);
        assert_eq!((express, msix, aer, acs), (0x40, 0x7c, 0x100, 0x148));
        builder.build()
    }

    #[test]
    fn lists_of_capabilities_are_linked() {
        let image = sample();
        assert_eq!(image.read(offset::CAPABILITIES_POINTER, Width::Byte), 0x40);
        assert_eq!(image.read(0x40, Width::Word), 0x7c10);
        assert_eq!(image.read(0x7c, Width::Word), 0x0011);
        assert_eq!(image.read(0x100, Width::Dword), 0x1482_0001);
        assert_eq!(image.read(0x148, Width::Dword), 0x0001_000d);
        assert_eq!(image.read(0xffc, Width::Dword), 0);
    }

    #[test]
    fn ones_clear_what_hardware_raised_and_sizing_shows_the_mask() {
        let mut image = sample();
        image.raise(0x104, 0x0010_0010);
        assert!(image.write(0x104, Width::Dword, 0x10));
        assert_eq!(image.read(0x104, Width::Dword), 0x0010_0000);
        image.write(0x10, Width::Dword, u32::MAX);
        assert_eq!(image.read(0x10, Width::Dword), 0xffff_c000);
        image.reset(Reset::Hot);
        assert_eq!((image.read(0x10, Width::Dword), image.read(0x104, Width::Dword)), (0, 0));
    }

    proptest! {
        /// Random writes of every width at every offset change only what the masks allow.
        #[test]
        fn no_write_reaches_a_read_only_bit(
            writes in proptest::collection::vec((0u16..4096, 0u8..3, any::<u32>()), 1..200),
        ) {
            let mut image = sample();
            let before = image.clone();
            for (offset, width, value) in writes {
                let width = [Width::Byte, Width::Word, Width::Dword][usize::from(width)];
                image.write(offset & !(width.bytes() - 1), width, value);
            }
            for at in 0..image.bytes.len() {
                let fixed = !(image.writable[at] | image.clears[at]);
                prop_assert_eq!(image.bytes[at] & fixed, before.bytes[at] & fixed);
            }
        }
    }
}
