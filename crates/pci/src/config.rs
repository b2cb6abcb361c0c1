//! Configuration space as a driver reads it, and its lists of capabilities.

use p2pdma_spec::pci::capability::{
    CapabilityId, EXTENDED_START, ExtendedCapabilityHeader, ExtendedCapabilityId, MAX_CAPABILITIES,
    MAX_EXTENDED_CAPABILITIES,
};
use p2pdma_spec::pci::config::{HEADER_SIZE, Status, offset};

use crate::Error;

/// The width of a configuration access.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Width {
    /// One byte.
    Byte,
    /// Two bytes.
    Word,
    /// Four bytes.
    Dword,
}

impl Width {
    /// The width in bytes.
    #[must_use]
    pub const fn bytes(self) -> u16 {
        match self {
            Self::Byte => 1,
            Self::Word => 2,
            Self::Dword => 4,
        }
    }
}

/// A function's 4096 bytes of configuration space.
pub trait ConfigSpace: Send + Sync {
    /// Reads a register; all ones if nobody answers.
    ///
    /// # Errors
    /// [`Error::Config`] if the offset is outside, not aligned to the width, or may not be read
    /// (extended space without privilege).
    fn read(&self, offset: u16, width: Width) -> Result<u32, Error>;

    /// Writes a register.
    ///
    /// # Errors
    /// As [`ConfigSpace::read`].
    fn write(&self, offset: u16, width: Width, value: u32) -> Result<(), Error>;
}

impl dyn ConfigSpace + '_ {
    /// Finds a capability of the first 256 bytes (PCI Local Bus 3.0 §6.7, PCIe 6.0 §7.5.1.1.11).
    ///
    /// # Errors
    /// What reading says. A list that loops or leaves the space ends the search with `None`.
    pub fn capability(&self, id: CapabilityId) -> Result<Option<u16>, Error> {
        let [low, high, ..] = self.read(offset::STATUS, Width::Word)?.to_le_bytes();
        if !Status::from_bits(u16::from_le_bytes([low, high])).capabilities_list() {
            return Ok(None);
        }
        let mut at = self.read_u8(offset::CAPABILITIES_POINTER)? & !3;
        for _ in 0..MAX_CAPABILITIES {
            let offset = u16::from(at);
            if offset < HEADER_SIZE {
                return Ok(None);
            }
            if self.read_u8(offset)? == id.into_bits() {
                return Ok(Some(offset));
            }
            at = self.read_u8(offset + 1)? & !3;
        }
        Ok(None)
    }

    /// Finds an extended capability (PCIe 6.0 §7.6.3).
    ///
    /// # Errors
    /// What reading says. A list that loops or leaves the space ends the search with `None`.
    pub fn extended_capability(&self, id: ExtendedCapabilityId) -> Result<Option<u16>, Error> {
        let mut at = EXTENDED_START;
        for _ in 0..MAX_EXTENDED_CAPABILITIES {
            let bits = self.read(at, Width::Dword)?;
            if bits == 0 || bits == u32::MAX {
                return Ok(None);
            }
            let header = ExtendedCapabilityHeader::from_bits(bits);
            if header.id() == id {
                return Ok(Some(at));
            }
            at = header.next() & !3;
            if at < EXTENDED_START {
                return Ok(None);
            }
        }
        Ok(None)
    }

    fn read_u8(&self, offset: u16) -> Result<u8, Error> {
        Ok(self.read(offset, Width::Byte)?.to_le_bytes()[0])
    }
}
