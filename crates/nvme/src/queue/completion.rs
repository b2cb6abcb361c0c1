//! The completion queue: what the controller posted, found by its phase tag.

use std::sync::atomic::Ordering::{Acquire, Relaxed};

use p2pdma_mem::SharedEntries;
use p2pdma_spec::nvme::queue::{COMPLETION_ENTRY_SIZE, CompletionEntry};

use super::{Doorbell, submission::index};
use crate::Error;
use crate::memory::QueueMemory;

/// A completion queue of one consumer.
#[derive(Debug)]
pub(crate) struct CompletionQueue {
    /// The entries, if they are in host memory; else none.
    ring: SharedEntries<2>,
    /// Index of the next entry to look at.
    head: u32,
    entries: u32,
    /// The upper half of an entry that is new and says success, as far as it is known: its phase tag.
    expected: u64,
    /// How many entries had been taken when the head was last 0.
    lap: u64,
    /// The head that the controller knows.
    rung: u32,
    doorbell: Doorbell,
    pub(super) memory: QueueMemory,
}

impl CompletionQueue {
    /// `memory` is zero; `entries` is at most
    /// [`MAX_IO_ENTRIES`](p2pdma_spec::nvme::queue::MAX_IO_ENTRIES).
    pub(crate) fn new(
        memory: QueueMemory,
        entries: u32,
        doorbell: Doorbell,
    ) -> Result<Self, Error> {
        let ring = memory.entries(entries, doorbell.bdf())?;
        Ok(Self { ring, head: 0, entries, expected: PHASE, lap: 0, rung: 0, doorbell, memory })
    }

    /// The entry at the head, if it is new.
    ///
    /// The half with the phase tag is loaded once, in one access, and first: whoever sees the tag sees
    /// what the controller wrote before it, and every decision is made on the copy.
    pub(super) fn peek(&self) -> Result<Option<CompletionEntry>, Error> {
        let at = self.head as usize * COMPLETION_ENTRY_SIZE;
        let high = self.memory.load(at + 8)?;
        if (high ^ self.expected) & PHASE != 0 {
            return Ok(None);
        }
        let bytes = (u128::from(high) << 64 | u128::from(self.memory.load(at)?)).to_le_bytes();
        Ok(Some(CompletionEntry::from_bytes(bytes)))
    }

    /// The same for an entry of success in host memory, at less cost: its parts.
    #[inline(always)]
    pub(super) fn peek_success(&self) -> Option<Success> {
        let entry = self.ring.get(self.head as usize)?;
        let high = entry.load::<1>(Acquire);
        if (high ^ self.expected) & STATUS != 0 {
            return None;
        }
        let [a, b, c, d, cid @ .., _, _] = high.to_le_bytes();
        let place = u32::from_le_bytes([a, b, c, d]);
        let result = entry.load::<0>(Relaxed);
        Some(Success { result, place, cid: u16::from_le_bytes(cid) })
    }

    /// Takes the entry that was looked at.
    #[inline(always)]
    pub(super) fn advance(&mut self) {
        self.head = self.head.wrapping_add(1);
        if self.head == self.entries {
            self.lap = self.lap.wrapping_add(self.head.into());
            self.head = 0;
            self.expected ^= PHASE;
        }
    }

    /// How many entries were taken since the queue was made.
    #[inline]
    pub(super) fn taken(&self) -> u64 {
        self.lap.wrapping_add(self.head.into())
    }

    /// Whether the controller, which does not know what was taken, lacks entries for so many commands.
    #[inline]
    pub(super) fn is_short_for(&self, commands: usize) -> bool {
        let taken = if self.head >= self.rung {
            self.head - self.rung
        } else {
            self.head + self.entries - self.rung
        };
        // One entry of a queue is always empty (NVMe Base 2.1 §3.3.1.2).
        taken as usize + commands >= self.entries as usize
    }

    /// Tells the controller of all entries that were taken. There were never as many as the queue has:
    /// see [`Self::is_short_for`].
    pub(super) fn ring(&mut self) -> Result<(), Error> {
        if self.head == self.rung {
            return Ok(());
        }
        self.doorbell.ring(index(self.rung), index(self.head))?;
        self.rung = self.head;
        Ok(())
    }

    /// Starts over, as after the creation of the queue, where `taken` entries count as taken.
    pub(super) fn restart(&mut self, taken: u64) -> Result<(), Error> {
        self.lap = taken;
        (self.head, self.rung, self.expected) = (0, 0, PHASE);
        self.memory.clear(self.entries as usize * COMPLETION_ENTRY_SIZE)
    }
}

/// Phase Tag, Status Code and Status Code Type in the upper half of an entry (NVMe Base 2.1 §4.2.3).
const STATUS: u64 = 0x0FFF << 48;
const PHASE: u64 = 1 << 48;

/// The parts of a completion of success.
#[derive(Debug, Clone, Copy)]
pub(super) struct Success {
    /// Dwords 0 and 1.
    pub(super) result: u64,
    /// SQ Identifier above SQ Head Pointer.
    pub(super) place: u32,
    pub(super) cid: u16,
}
