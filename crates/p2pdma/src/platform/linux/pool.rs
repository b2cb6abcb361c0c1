//! What Linux lends: memory of devices, out of their pools; and memory of this process.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use p2pdma_linux::io::{LendError, LentMemory, Pool};
use p2pdma_mem::{RangeAllocator, SharedMemory};
use p2pdma_pci::Bdf;
use p2pdma_pci::topology::MemoryKind;

use crate::Error;
use crate::memory::{Backing, PeerMemory, ProviderKind};
use crate::platform::Provider;
use crate::platform::pool::{PAGE, empty, pages};

/// The pool of a device. Loans are parts of a few mappings: each mapping is an allocation of the kernel's, and
/// a thousand of them would be a thousand.
pub(crate) struct LentPool {
    pool: Pool,
    /// The mappings that have loans in them, and may have more.
    runs: Mutex<Vec<Weak<Run>>>,
}

/// A mapping, parts of which are lent.
struct Run {
    memory: Arc<LentMemory>,
    free: Mutex<RangeAllocator>,
}

/// A mapping has at least this size, if the pool has it.
const RUN: u64 = 1 << 20;

impl LentPool {
    pub(crate) fn new(bdf: Bdf) -> Self {
        Self { pool: Pool::of(bdf), runs: Mutex::new(Vec::new()) }
    }

    /// A new mapping, if need be without room for more.
    fn map(&self, len: u64) -> Result<Arc<Run>, Error> {
        let map = |len: u64| self.pool.lend(usize::try_from(len).unwrap_or(usize::MAX));
        let (memory, len) = match map(len.max(RUN)) {
            Ok(memory) => (memory, len.max(RUN)),
            Err(LendError::Exhausted { .. }) if len < RUN => (map(len)?, len),
            Err(error) => return Err(error.into()),
        };
        let free = Mutex::new(RangeAllocator::new(0..len));
        Ok(Arc::new(Run { memory: Arc::new(memory), free }))
    }
}

impl Run {
    fn take(self: &Arc<Self>, taken: u64, len: u64) -> Option<PeerMemory> {
        let start = lock(&self.free).allocate(taken, PAGE)?;
        let backing = Backing::Lent { memory: Arc::clone(&self.memory), offset: start };
        let loan = Loan { run: Arc::clone(self), start, len: taken };
        Some(PeerMemory::new(backing, len, Arc::new(loan)))
    }
}

struct Loan {
    run: Arc<Run>,
    start: u64,
    len: u64,
}

impl Drop for Loan {
    fn drop(&mut self) {
        lock(&self.run.free).release(self.start, self.len);
    }
}

impl Provider for LentPool {
    fn bdf(&self) -> Option<Bdf> {
        Some(self.pool.bdf())
    }

    fn kind(&self) -> ProviderKind {
        ProviderKind::Peer(MemoryKind::P2pmem)
    }

    /// What is free, though perhaps not in one run: the kernel tells no more.
    fn capacity(&self) -> u64 {
        self.pool.available().unwrap_or(0)
    }

    fn alloc(&self, len: u64) -> Result<PeerMemory, Error> {
        let taken = pages(self, len)?;
        let mut runs = lock(&self.runs);
        // Whoever has a loan in a run that a reset has struck is told; nobody else gets a part of that.
        let is_good =
            |run: &Weak<Run>| run.upgrade().is_some_and(|run| run.memory.check_kept().is_ok());
        runs.retain(is_good);
        if let Some(memory) = runs.iter().find_map(|run| run.upgrade()?.take(taken, len)) {
            return Ok(memory);
        }
        let run = self.map(taken)?;
        runs.push(Arc::downgrade(&run));
        run.take(taken, len).ok_or_else(|| empty(self, len, self.capacity()))
    }

    /// No part of it can be asked for: the kernel chooses.
    fn part(&self, range: Range<u64>) -> Result<PeerMemory, Error> {
        Err(Error::OutsideMemory { offset: range.start, len: range.end - range.start, size: 0 })
    }
}

/// Memory of this process.
pub(crate) struct ProcessPool;

impl Provider for ProcessPool {
    fn bdf(&self) -> Option<Bdf> {
        None
    }

    fn kind(&self) -> ProviderKind {
        ProviderKind::Host
    }

    fn capacity(&self) -> u64 {
        u64::MAX
    }

    fn alloc(&self, len: u64) -> Result<PeerMemory, Error> {
        let size = usize::try_from(len).unwrap_or(usize::MAX);
        let memory = SharedMemory::anonymous(size).map_err(|_| empty(self, len, 0))?;
        Ok(PeerMemory::new(Backing::Process(memory), len, Arc::new(())))
    }

    fn part(&self, range: Range<u64>) -> Result<PeerMemory, Error> {
        self.alloc(range.end.saturating_sub(range.start))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // The allocator's own calls do not panic half-way.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
