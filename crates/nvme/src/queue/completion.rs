//! The completion queue: what the controller posted, found by its phase tag.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use p2pdma_spec::nvme::queue::{COMPLETION_ENTRY_SIZE, CompletionEntry};

use super::{Doorbell, submission::index};
use crate::Error;
use crate::memory::QueueMemory;

/// A completion queue of one consumer.
#[derive(Debug)]
pub(crate) struct CompletionQueue {
    pub(super) memory: QueueMemory,
    doorbell: Doorbell,
    entries: u32,
    /// Index of the next entry to look at.
    head: u32,
    /// The head that the controller knows.
    rung: u32,
    /// Entries that were taken since.
    taken: u32,
    /// The phase tag of an entry that is new.
    phase: bool,
}

impl CompletionQueue {
    /// `memory` is zero; `entries` is at most
    /// [`MAX_IO_ENTRIES`](p2pdma_spec::nvme::queue::MAX_IO_ENTRIES).
    pub(crate) fn new(memory: QueueMemory, entries: u32, doorbell: Doorbell) -> Self {
        Self { memory, doorbell, entries, head: 0, rung: 0, taken: 0, phase: true }
    }

    /// The entry at the head, if it is new.
    ///
    /// The half with the phase tag is loaded once, in one access, and first: whoever sees the tag sees
    /// what the controller wrote before it, and every decision is made on the copy.
    #[inline]
    pub(super) fn peek(&self) -> Result<Option<CompletionEntry>, Error> {
        const PHASE: u64 = 1 << 48;
        let at = self.head as usize * COMPLETION_ENTRY_SIZE;
        let high = self.memory.load(at + 8, Acquire)?;
        if (high & PHASE != 0) != self.phase {
            return Ok(None);
        }
        let low = self.memory.load(at, Relaxed)?;
        let bytes = (u128::from(high) << 64 | u128::from(low)).to_le_bytes();
        Ok(Some(CompletionEntry::from_bytes(bytes)))
    }

    /// Takes the entry that was looked at.
    #[inline]
    pub(super) fn advance(&mut self) {
        self.head += 1;
        self.taken += 1;
        if self.head == self.entries {
            self.head = 0;
            self.phase = !self.phase;
        }
    }

    /// Whether so many entries were taken that the controller may soon have none left.
    #[inline]
    pub(super) fn is_half_taken(&self) -> bool {
        self.taken >= self.entries / 2
    }

    /// Tells the controller of all entries that were taken.
    #[inline]
    pub(super) fn ring(&mut self) -> Result<(), Error> {
        if self.taken == 0 {
            return Ok(());
        }
        self.doorbell.ring(index(self.rung), index(self.head))?;
        self.rung = self.head;
        self.taken = 0;
        Ok(())
    }

    /// Starts over, as after the creation of the queue.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        (self.head, self.rung, self.taken, self.phase) = (0, 0, 0, true);
        self.memory.clear(self.entries as usize * COMPLETION_ENTRY_SIZE)
    }
}
