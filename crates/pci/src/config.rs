//! Configuration space as a driver reads it, and its lists of capabilities.

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
    pub fn capability(&self, id: u8) -> Result<Option<u16>, Error> {
        const STATUS: u16 = 0x06;
        const CAPABILITIES_LIST: u32 = 1 << 4;
        const POINTER: u16 = 0x34;
        // 48 entries of 4 bytes are all that fit behind the 64-byte header.
        const MOST: usize = 48;
        if self.read(STATUS, Width::Word)? & CAPABILITIES_LIST == 0 {
            return Ok(None);
        }
        let mut at = self.read_u8(POINTER)? & !3;
        for _ in 0..MOST {
            if at < 0x40 {
                return Ok(None);
            }
            let offset = u16::from(at);
            if self.read_u8(offset)? == id {
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
    pub fn extended_capability(&self, id: u16) -> Result<Option<u16>, Error> {
        // 960 entries of 4 bytes are all that fit.
        const MOST: usize = 960;
        let mut at = 0x100_u16;
        for _ in 0..MOST {
            let header = self.read(at, Width::Dword)?;
            if header == 0 || header == u32::MAX {
                return Ok(None);
            }
            let [low, high, ..] = header.to_le_bytes();
            if u16::from_le_bytes([low, high]) == id {
                return Ok(Some(at));
            }
            at = next_extended(header);
            if at < 0x100 {
                return Ok(None);
            }
        }
        Ok(None)
    }

    fn read_u8(&self, offset: u16) -> Result<u8, Error> {
        Ok(self.read(offset, Width::Byte)?.to_le_bytes()[0])
    }
}

/// Bits 31:20 of an extended capability's header: the next one's offset.
fn next_extended(header: u32) -> u16 {
    let [_, _, low, high] = header.to_le_bytes();
    u16::from_le_bytes([low, high]) >> 4 & !3
}
