//! A PCI function as a driver holds it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use p2pdma_mem::SharedMemory;

use crate::{Bar, BarIndex, Bdf, Clock, ConfigSpace, Duration, Error, Iova, Lease, PeerWindow};

/// One PCI function, opened for a driver: the seam between drivers and platforms.
///
/// Only for the cold path. What it returns is concrete ([`Bar`], [`DmaBuffer`]) and serves the hot
/// path without it.
pub trait Function: Send + Sync {
    /// Where it is.
    fn bdf(&self) -> Bdf;

    /// Its configuration space.
    fn config(&self) -> &dyn ConfigSpace;

    /// Maps a memory BAR for the processor.
    ///
    /// # Errors
    /// [`Error::NoBar`] if there is no memory behind it.
    fn map_bar(&self, index: BarIndex) -> Result<Bar, Error>;

    /// Allocates zeroed host memory that this function can reach at one contiguous run of addresses,
    /// aligned to 4 KiB.
    ///
    /// # Errors
    /// [`Error::NoDmaSpace`] if memory or addresses run out.
    fn alloc_dma(&self, len: usize) -> Result<DmaBuffer, Error>;

    /// Maps host memory that another function of this platform allocated for this one too, so that both
    /// reach the same bytes, each at an address of its own.
    ///
    /// # Errors
    /// [`Error::NoDmaSpace`] if addresses run out, or the memory is not of this platform.
    fn share_dma(&self, buffer: &DmaBuffer) -> Result<DmaBuffer, Error>;

    /// Maps part of another function's BAR so that this function can reach it.
    ///
    /// # Errors
    /// [`Error::Refused`] with the topology's own refusal if there is no peer-to-peer path, or it is
    /// unknown whether there is one.
    fn map_peer(&self, memory: &Bar, range: Range<u64>) -> Result<PeerWindow, Error>;

    /// Opens an MSI-X vector. Its interrupts are heard by whoever opened it last: an [`Interrupt`] of before
    /// hears of no more, so who has users for more than one must not let them open the same.
    ///
    /// # Errors
    /// [`Error::NoVector`] if the function has no such vector.
    fn interrupt(&self, vector: u16) -> Result<Interrupt, Error>;

    /// The clock by which this function's waits are measured.
    fn clock(&self) -> &dyn Clock;

    /// Resets the function (function-level reset).
    ///
    /// # Errors
    /// [`Error::Unsupported`] if it cannot be reset alone, [`Error::Gone`] if it does not come back.
    fn reset(&self) -> Result<(), Error>;
}

/// Host memory that a function can reach.
///
/// Dropping it unmaps it. Whoever holds it must keep it until the device can no longer use it.
pub struct DmaBuffer {
    memory: SharedMemory,
    iova: Iova,
    lease: Lease,
}

impl DmaBuffer {
    /// `memory`, which the function reaches at `iova`; `lease` is released on drop.
    #[must_use]
    pub fn new(memory: SharedMemory, iova: Iova, lease: Lease) -> Self {
        Self { memory, iova, lease }
    }

    /// The bytes.
    #[inline]
    #[must_use]
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// What the function must emit to reach the first byte.
    #[inline]
    #[must_use]
    pub fn iova(&self) -> Iova {
        self.iova
    }

    /// What keeps the memory and its mapping: whoever maps the memory a second time holds this too.
    #[must_use]
    pub fn lease(&self) -> Lease {
        Arc::clone(&self.lease)
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }
}

impl fmt::Debug for DmaBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DmaBuffer")
            .field("iova", &self.iova)
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

/// Where a platform counts the interrupts of one vector.
pub trait InterruptLine: Send + Sync {
    /// How many came since the last call.
    fn take(&self) -> u64;

    /// Lets this thread sleep until one has come that was not taken, for at most `limit`. One that came
    /// before the call counts: whoever takes, looks, finds nothing and then sleeps misses none. `false` if
    /// the line cannot be slept at; whoever waits then lets time pass by the function's clock.
    fn sleep(&self, limit: Duration) -> bool {
        let _ = limit;
        false
    }
}

/// An interrupt vector, opened.
pub struct Interrupt {
    vector: u16,
    line: Box<dyn InterruptLine>,
}

impl Interrupt {
    /// The given vector, counted by `line`.
    #[must_use]
    pub fn new(vector: u16, line: Box<dyn InterruptLine>) -> Self {
        Self { vector, line }
    }

    /// The vector's number in the function's MSI-X table.
    #[must_use]
    pub fn vector(&self) -> u16 {
        self.vector
    }

    /// How many interrupts came since the last call; does not wait.
    #[must_use]
    pub fn take(&self) -> u64 {
        self.line.take()
    }

    /// Sleeps until an interrupt has come that was not taken, for at most `limit`: see
    /// [`InterruptLine::sleep`].
    #[must_use]
    pub fn sleep(&self, limit: Duration) -> bool {
        self.line.sleep(limit)
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interrupt").field("vector", &self.vector).finish_non_exhaustive()
    }
}
