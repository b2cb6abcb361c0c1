//! Where queues and lists lie: in host memory, or in the controller's own memory buffer.

use std::sync::atomic::Ordering;

use p2pdma_mem::{SharedEntries, SharedMemory};
use p2pdma_pci::{Bdf, DmaBuffer, Iova};

use crate::Error;
use crate::cmb::CmbRange;

/// Memory that the driver writes and the controller reads, or the other way round.
#[derive(Debug, Default)]
pub(crate) enum QueueMemory {
    /// Host memory.
    Host(DmaBuffer),
    /// Part of the controller memory buffer, reached through its BAR.
    Cmb(CmbRange),
    /// Nothing: a queue that was taken down.
    #[default]
    Gone,
}

impl QueueMemory {
    /// Where the controller finds its first byte.
    pub(crate) fn iova(&self) -> Iova {
        match self {
            Self::Host(buffer) => buffer.iova(),
            Self::Cmb(range) => range.iova(),
            Self::Gone => Iova(0),
        }
    }

    /// The memory as entries of `N` words: `count` of them, or none if it is not the host's.
    pub(crate) fn entries<const N: usize>(
        &self,
        count: u32,
        bdf: Bdf,
    ) -> Result<SharedEntries<N>, Error> {
        if let Self::Host(buffer) = self {
            return Ok(SharedEntries::new(buffer.memory().clone(), count as usize)?);
        }
        let reason = "the operating system maps no memory";
        let error = p2pdma_pci::Error::NoDmaSpace { bdf, len: 0, reason };
        Ok(SharedEntries::new(SharedMemory::anonymous(0).map_err(|_| error)?, 0)?)
    }

    /// Copies bytes in.
    pub(crate) fn write(&self, offset: usize, data: &[u8]) -> Result<(), Error> {
        match self {
            Self::Host(buffer) => Ok(buffer.memory().write(offset, data)?),
            Self::Cmb(range) => range.write(offset, data),
            Self::Gone => Ok(()),
        }
    }

    /// Loads an aligned word. From the BAR it comes in one access.
    pub(crate) fn load(&self, offset: usize) -> Result<u64, Error> {
        match self {
            Self::Host(buffer) => Ok(buffer.memory().load(offset, Ordering::Acquire)?),
            Self::Cmb(range) => range.load(offset),
            Self::Gone => Ok(0),
        }
    }

    /// Clears the first `len` bytes.
    pub(crate) fn clear(&self, len: usize) -> Result<(), Error> {
        match self {
            Self::Host(buffer) => Ok(buffer.memory().fill(0, len, 0)?),
            Self::Cmb(range) => range.clear(),
            Self::Gone => Ok(()),
        }
    }

    /// Makes sure that what was written at `offset` has arrived before anything that follows.
    ///
    /// Writes to a BAR are posted, and a doorbell may reach the registers before they reach the buffer;
    /// a read of the same memory pushes them (PCIe 6.0 §2.4.1).
    pub(crate) fn flush(&self, offset: usize) -> Result<(), Error> {
        match self {
            Self::Cmb(range) => range.load(offset).map(drop),
            Self::Host(_) | Self::Gone => Ok(()),
        }
    }
}
