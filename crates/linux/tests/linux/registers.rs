//! Configuration space to order.

/// A configuration space that is being filled in.
#[derive(Debug, Clone)]
pub(crate) struct Registers(pub(crate) Vec<u8>);

/// Device/port types (PCIe 6.0 §7.5.3.2).
pub(crate) const ENDPOINT: u8 = 0x0;
pub(crate) const ROOT_PORT: u8 = 0x4;
pub(crate) const UPSTREAM: u8 = 0x5;
pub(crate) const DOWNSTREAM: u8 = 0x6;

impl Registers {
    /// A type 0 header: memory and bus mastering on, no capabilities.
    pub(crate) fn new(id: [u16; 2], class: u32, size: usize) -> Self {
        let mut registers = Self(vec![0; size]);
        registers.set(0x00, &id[0].to_le_bytes());
        registers.set(0x02, &id[1].to_le_bytes());
        registers.set(0x04, &[0x06, 0x04]);
        registers.set(0x09, &class.to_le_bytes()[..3]);
        registers
    }

    pub(crate) fn set(&mut self, at: usize, bytes: &[u8]) -> &mut Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// A PCI Express capability at 0x40: a link of gen4 x4 that runs at it.
    pub(crate) fn express(mut self, port_type: u8) -> Self {
        self.set(0x06, &[0x10]).set(0x34, &[0x40]);
        self.set(0x40, &[0x10, 0, 0x02 | port_type << 4, 0]);
        self.set(0x4c, &[0x44, 0, 0, 0]).set(0x52, &[0x44, 0]);
        self
    }

    /// An ACS capability at 0x100.
    pub(crate) fn acs(mut self, control: u8) -> Self {
        self.set(0x100, &[0x0d, 0, 0x01, 0, 0x5f, 0, control, 0]);
        self
    }

    /// The header of a bridge to these buses.
    pub(crate) fn bridge(mut self, buses: [u8; 3]) -> Self {
        self.set(0x0e, &[0x01]).set(0x18, &buses);
        self
    }

    /// A 64-bit prefetchable BAR 0.
    pub(crate) fn bar(mut self, address: u64) -> Self {
        self.set(0x10, &(address | 0xc).to_le_bytes());
        self
    }
}
