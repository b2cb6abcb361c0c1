//! Memory that a provider lends for a transfer.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use p2pdma_linux::io::LentMemory;
use p2pdma_mem::SharedMemory;
use p2pdma_nvme::{Error as NvmeError, Pmr, Unbroken};
use p2pdma_pci::topology::MemoryKind;
use p2pdma_pci::{Bar, Bdf, DmaBuffer, Iova, Lease};

use crate::Error;
use crate::client::{Moved, Way};

/// What kind of memory a provider lends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProviderKind {
    /// A device's: nobody's data passes the host.
    Peer(MemoryKind),
    /// The host's: what a transfer bounces through.
    Host,
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(kind) => kind.fmt(f),
            Self::Host => f.write_str("host memory"),
        }
    }
}

/// A run of memory on loan.
///
/// It goes back to its provider on drop. Whoever attached it keeps a mapping of its own, which must be
/// dropped first for the provider's controller to be released; until then the loan lives on.
pub struct PeerMemory {
    backing: Backing,
    len: u64,
    /// The region that it is part of, if it keeps what is put there.
    pmr: Option<Pmr>,
    /// Tells whether its device was reset since it was lent, if that is a controller of ours.
    unbroken: Option<Unbroken>,
    /// Where its platform counts what was moved, if it is the host's.
    moved: Option<Arc<Moved>>,
    _lease: Lease,
}

/// Where the bytes are.
#[derive(Debug)]
pub(crate) enum Backing {
    /// Behind a BAR.
    Bar {
        bar: Bar,
        /// Where in the BAR the run begins.
        offset: u64,
        /// What its own controller calls the first byte, where that differs from what peers say.
        own: Option<Iova>,
    },
    /// In host memory.
    Host(DmaBuffer),
    /// Behind a device's BAR, lent by the kernel.
    Lent {
        memory: Arc<LentMemory>,
        /// Where in it the run begins.
        offset: u64,
    },
    /// In this process, for the kernel to move.
    Process(SharedMemory),
}

impl PeerMemory {
    pub(crate) fn new(backing: Backing, len: u64, lease: Lease) -> Self {
        Self { backing, len, pmr: None, unbroken: None, moved: None, _lease: lease }
    }

    /// The same, of which its platform wants to know what the processor stages in it.
    pub(crate) fn counted(self, moved: Arc<Moved>) -> Self {
        Self { moved: Some(moved), ..self }
    }

    /// Counts what the processor copied between this memory of the host's and a device's: no link leads to this one.
    pub(crate) fn count_staged(&self, bytes: u64) {
        if let Some(moved) = &self.moved {
            moved.count(Way::Host, bytes);
        }
    }

    /// The same, as part of a persistent memory region.
    pub(crate) fn of_region(self, pmr: Option<Pmr>) -> Self {
        let unbroken = pmr.as_ref().map(Pmr::unbroken);
        Self { pmr, unbroken, ..self }
    }

    /// The same, in a controller memory buffer.
    pub(crate) fn of_buffer(self, unbroken: Unbroken) -> Self {
        Self { unbroken: Some(unbroken), ..self }
    }

    pub(crate) fn backing(&self) -> &Backing {
        &self.backing
    }

    /// Whose memory it is; `None` for the host's.
    #[must_use]
    pub fn owner(&self) -> Option<Bdf> {
        match &self.backing {
            Backing::Bar { bar, .. } => Some(bar.owner()),
            Backing::Lent { memory, .. } => Some(memory.bdf()),
            Backing::Host(_) | Backing::Process(_) => None,
        }
    }

    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes durable what was put there before, by the processor or by commands that are over. Memory that keeps nothing
    /// has nothing to be made durable.
    ///
    /// # Errors
    /// Of a persistent memory region without a write barrier; of one that reports that it lost something.
    pub fn persist(&self) -> Result<(), Error> {
        match &self.pmr {
            Some(pmr) => Ok(pmr.persist()?),
            None => Ok(()),
        }
    }

    /// Makes sure that what has ended up to now did not end while its device was reset. Of a controller of ours that
    /// is one read of a register; a plain BAR tells nothing.
    ///
    /// # Errors
    /// [`Error::Reset`], [`Error::Revoked`]; what keeps that from being known.
    pub(crate) fn check_kept(&self) -> Result<(), Error> {
        match &self.backing {
            Backing::Lent { memory, .. } => Ok(memory.check_kept()?),
            Backing::Bar { bar, .. } => match &self.unbroken {
                Some(unbroken) => unbroken.check().map_err(|error| broken(bar.owner(), &error)),
                None => Ok(()),
            },
            Backing::Host(_) | Backing::Process(_) => Ok(()),
        }
    }

    /// Copies bytes out, by the processor.
    ///
    /// # Errors
    /// [`Error::OutsideMemory`] if the range leaves the memory.
    pub fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), Error> {
        self.check(offset, data.len() as u64)?;
        match &self.backing {
            Backing::Bar { bar, offset: start, .. } => bar.read_data(start + offset, data)?,
            Backing::Lent { memory, offset: start } => memory.read(place(start + offset), data)?,
            Backing::Host(buffer) => buffer.memory().read(place(offset), data)?,
            Backing::Process(memory) => memory.read(place(offset), data)?,
        }
        Ok(())
    }

    /// Copies bytes in, by the processor.
    ///
    /// # Errors
    /// [`Error::OutsideMemory`] if the range leaves the memory.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.check(offset, data.len() as u64)?;
        match &self.backing {
            Backing::Bar { bar, offset: start, .. } => bar.write_data(start + offset, data)?,
            Backing::Lent { memory, offset: start } => memory.write(place(start + offset), data)?,
            Backing::Host(buffer) => buffer.memory().write(place(offset), data)?,
            Backing::Process(memory) => memory.write(place(offset), data)?,
        }
        Ok(())
    }

    /// `len` of its bytes from `offset` on, for the kernel to move.
    pub(crate) fn shared(&self, offset: u64, len: u64) -> Result<SharedMemory, Error> {
        let (whole, start) = match &self.backing {
            Backing::Lent { memory, offset } => (memory.memory(), *offset),
            Backing::Process(memory) => (memory, 0),
            Backing::Bar { .. } | Backing::Host(_) => {
                return Err(Error::Internal("memory that is not in this process"));
            }
        };
        let outside = Error::OutsideMemory { offset, len, size: self.len };
        let start = start.saturating_add(offset);
        whole.slice(place(start)..place(start.saturating_add(len))).map_err(|_| outside)
    }

    pub(crate) fn check_range(&self, range: &Range<u64>) -> Result<u64, Error> {
        let len = range.end.checked_sub(range.start).ok_or_else(|| self.outside(range.start, 0))?;
        self.check(range.start, len)?;
        Ok(len)
    }

    fn check(&self, offset: u64, len: u64) -> Result<(), Error> {
        let fits = offset.checked_add(len).is_some_and(|end| end <= self.len);
        if fits { Ok(()) } else { Err(Error::OutsideMemory { offset, len, size: self.len }) }
    }

    fn outside(&self, offset: u64, len: usize) -> Error {
        Error::OutsideMemory { offset, len: len as u64, size: self.len }
    }
}

/// What became of the device whose memory it is.
fn broken(provider: Bdf, error: &NvmeError) -> Error {
    match error {
        NvmeError::Gone { .. } | NvmeError::Pci(_) => Error::Revoked { provider },
        _ => Error::Reset { provider },
    }
}

/// A position in memory of this process; what is beyond it is refused where it is used.
fn place(offset: u64) -> usize {
    usize::try_from(offset).unwrap_or(usize::MAX)
}

impl fmt::Debug for PeerMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerMemory")
            .field("backing", &self.backing)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
