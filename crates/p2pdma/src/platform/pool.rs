//! Lenders of memory: controller memory buffers, persistent memory regions, plain BARs, host memory.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use p2pdma_mem::RangeAllocator;
use p2pdma_nvme::{Cmb, Pmr};
use p2pdma_pci::topology::MemoryKind;
use p2pdma_pci::{Bar, Bdf, Function, Iova};

use crate::Error;
use crate::client::Moved;
use crate::memory::{Backing, PeerMemory, ProviderKind};
use crate::platform::{Provider, ProviderId};

/// Loans begin at multiples of this many bytes.
pub(crate) const PAGE: u64 = 4096;

/// A controller memory buffer. Its driver keeps the account, since queues may be in it too.
#[derive(Debug)]
pub(crate) struct CmbPool(pub(crate) Cmb);

impl Provider for CmbPool {
    fn bdf(&self) -> Option<Bdf> {
        Some(self.0.bar().owner())
    }

    fn kind(&self) -> ProviderKind {
        ProviderKind::Peer(MemoryKind::Cmb)
    }

    fn capacity(&self) -> u64 {
        self.0.largest()
    }

    fn alloc(&self, len: u64) -> Result<PeerMemory, Error> {
        let pages = pages(self, len)?;
        let buffer = self.0.allocate(pages, PAGE).map_err(|error| match error {
            p2pdma_nvme::Error::NoRoom { largest, .. } => empty(self, len, largest),
            other => other.into(),
        })?;
        let own = buffer.segment().iova;
        let offset = self.0.range().start + (own.0 - self.0.iova().0);
        let backing = Backing::Bar { bar: self.0.bar().clone(), offset, own: Some(own) };
        let unbroken = self.0.unbroken();
        Ok(PeerMemory::new(backing, len, Arc::new(buffer)).of_buffer(unbroken))
    }

    fn part(&self, range: Range<u64>) -> Result<PeerMemory, Error> {
        // Only the driver knows which parts queues are in: the whole is never an end of a transfer.
        Err(Error::OutsideMemory { offset: range.start, len: range.end - range.start, size: 0 })
    }
}

/// Memory behind a BAR that nobody else keeps an account of.
pub(crate) struct BarPool {
    bar: Bar,
    /// Which part of the BAR it is.
    range: Range<u64>,
    kind: MemoryKind,
    /// What its own controller calls the first byte, if it can reach it.
    own: Option<Iova>,
    free: Arc<Mutex<RangeAllocator>>,
    /// The region that it is, if it is one; its controller stays open as long as any loan.
    pmr: Option<Pmr>,
}

impl BarPool {
    pub(crate) fn bar(bar: Bar, range: Range<u64>, kind: MemoryKind) -> Self {
        Self::new(bar, range, kind, None, None)
    }

    pub(crate) fn pmr(pmr: Pmr) -> Self {
        let range = 0..pmr.len();
        let own = pmr.segment(range.clone()).map(|segment| segment.iova);
        Self::new(pmr.bar().clone(), range, MemoryKind::Pmr, own, Some(pmr))
    }

    fn new(
        bar: Bar,
        range: Range<u64>,
        kind: MemoryKind,
        own: Option<Iova>,
        pmr: Option<Pmr>,
    ) -> Self {
        let free = RangeAllocator::new(0..range.end - range.start);
        Self { bar, range, kind, own, free: Arc::new(Mutex::new(free)), pmr }
    }

    fn lend(&self, start: u64, taken: u64, len: u64) -> PeerMemory {
        let own = self.own.and_then(|own| own.checked_add(start));
        let backing = Backing::Bar { bar: self.bar.clone(), offset: self.range.start + start, own };
        let (free, pmr) = (Arc::clone(&self.free), self.pmr.clone());
        let loan = Loan { free, start, len: taken, _pmr: pmr.clone() };
        PeerMemory::new(backing, len, Arc::new(loan)).of_region(pmr)
    }
}

impl Provider for BarPool {
    fn bdf(&self) -> Option<Bdf> {
        Some(self.bar.owner())
    }

    fn kind(&self) -> ProviderKind {
        ProviderKind::Peer(self.kind)
    }

    fn capacity(&self) -> u64 {
        lock(&self.free).largest()
    }

    fn alloc(&self, len: u64) -> Result<PeerMemory, Error> {
        let taken = pages(self, len)?;
        let mut free = lock(&self.free);
        let (found, largest) = (free.allocate(taken, PAGE), free.largest());
        drop(free);
        Ok(self.lend(found.ok_or_else(|| empty(self, len, largest))?, taken, len))
    }

    fn part(&self, range: Range<u64>) -> Result<PeerMemory, Error> {
        let size = self.range.end - self.range.start;
        let len = range.end.saturating_sub(range.start);
        if len == 0 || range.end > size {
            return Err(Error::OutsideMemory { offset: range.start, len, size });
        }
        let mut free = lock(&self.free);
        let (took, largest) = (free.take(range.start, len), free.largest());
        drop(free);
        if !took {
            return Err(empty(self, len, largest));
        }
        Ok(self.lend(range.start, len, len))
    }
}

struct Loan {
    free: Arc<Mutex<RangeAllocator>>,
    start: u64,
    len: u64,
    _pmr: Option<Pmr>,
}

impl Drop for Loan {
    fn drop(&mut self) {
        lock(&self.free).release(self.start, self.len);
    }
}

fn lock(free: &Mutex<RangeAllocator>) -> std::sync::MutexGuard<'_, RangeAllocator> {
    // The allocator's own calls do not panic half-way.
    free.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A loan's length in whole pages.
pub(crate) fn pages(pool: &dyn Provider, len: u64) -> Result<u64, Error> {
    len.checked_next_multiple_of(PAGE).ok_or_else(|| empty(pool, len, pool.capacity()))
}

pub(crate) fn empty(pool: &dyn Provider, wanted: u64, available: u64) -> Error {
    let owner = pool.bdf().map_or_else(String::new, |bdf| format!("{bdf}/"));
    Error::PoolEmpty { provider: format!("{owner}{}", pool.kind()), wanted, available }
}

/// Memory of a device that does not come up.
pub(crate) struct ClosedPool {
    pub(crate) id: ProviderId,
    /// Why.
    pub(crate) reason: String,
}

impl ClosedPool {
    fn closed(&self) -> Error {
        Error::ProviderClosed { provider: self.id, reason: self.reason.clone() }
    }
}

impl Provider for ClosedPool {
    fn bdf(&self) -> Option<Bdf> {
        Some(self.id.bdf)
    }

    fn kind(&self) -> ProviderKind {
        ProviderKind::Peer(self.id.kind)
    }

    fn capacity(&self) -> u64 {
        0
    }

    fn alloc(&self, _: u64) -> Result<PeerMemory, Error> {
        Err(self.closed())
    }

    fn part(&self, _: Range<u64>) -> Result<PeerMemory, Error> {
        Err(self.closed())
    }
}

/// Host memory, allocated by way of one of the machine's functions.
pub(crate) struct HostPool {
    pub(crate) function: Arc<dyn Function>,
    /// Where the platform counts what the processor stages in it.
    pub(crate) moved: Arc<Moved>,
}

impl Provider for HostPool {
    fn bdf(&self) -> Option<Bdf> {
        None
    }

    fn kind(&self) -> ProviderKind {
        ProviderKind::Host
    }

    /// What the platform has left is known when it is asked for.
    fn capacity(&self) -> u64 {
        u64::MAX
    }

    fn alloc(&self, len: u64) -> Result<PeerMemory, Error> {
        let size = usize::try_from(len).unwrap_or(usize::MAX);
        let buffer = self.function.alloc_dma(size)?;
        let memory = PeerMemory::new(Backing::Host(buffer), len, Arc::new(()));
        Ok(memory.counted(Arc::clone(&self.moved)))
    }

    fn part(&self, range: Range<u64>) -> Result<PeerMemory, Error> {
        self.alloc(range.end.saturating_sub(range.start))
    }
}
