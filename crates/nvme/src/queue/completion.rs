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
    /// Index of the next entry to look at; after the last one it stays behind it until that is needed.
    next: u32,
    entries: u32,
    /// The upper half of an entry that is new and says success, as far as it is known: its phase tag, and
    /// the submission queue.
    expected: u64,
    /// How many entries had been taken when the index was last 0.
    lap: u64,
    /// The index that the controller knows.
    told: u32,
    pub(super) doorbell: Doorbell,
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
        Ok(Self { ring, next: 0, entries, expected: PHASE, lap: 0, told: 0, doorbell, memory })
    }

    /// From now on, entries that say success for a queue other than `qid` count as unexpected.
    pub(super) fn expect(&mut self, qid: u16) {
        self.expected = self.expected & !SQID | u64::from(qid) << 16;
    }

    /// The entry at the head, if it is new.
    ///
    /// The half with the phase tag is loaded once, in one access, and first: whoever sees the tag sees
    /// what the controller wrote before it, and every decision is made on the copy.
    pub(super) fn peek(&mut self) -> Result<Option<CompletionEntry>, Error> {
        if self.next == self.entries {
            self.begin_lap();
        }
        let at = self.next as usize * COMPLETION_ENTRY_SIZE;
        let high = self.memory.load(at + 8)?;
        if (high ^ self.expected) & PHASE != 0 {
            return Ok(None);
        }
        let bytes = (u128::from(high) << 64 | u128::from(self.memory.load(at)?)).to_le_bytes();
        Ok(Some(CompletionEntry::from_bytes(bytes)))
    }

    /// The same for an entry in host memory that says success for the expected queue, at less cost: its
    /// parts.
    #[inline(always)]
    pub(super) fn peek_success(&mut self) -> Option<Success> {
        let entry = match self.ring.get(self.next as usize) {
            Some(entry) => entry,
            None => {
                self.turn()?;
                self.ring.get(0)?
            }
        };
        let high = entry.load::<1>(Acquire);
        if (high ^ self.expected) & (STATUS | SQID) != 0 {
            return None;
        }
        let [a, b, _, _, cid @ .., _, _] = high.to_le_bytes();
        let result = entry.load::<0>(Relaxed);
        Some(Success { result, head: u16::from_le_bytes([a, b]), cid: u16::from_le_bytes(cid) })
    }

    /// Goes back to the first entry of a queue in host memory, if it is time to.
    #[cold]
    fn turn(&mut self) -> Option<()> {
        if self.next < self.entries || self.ring.is_empty() {
            return None;
        }
        self.begin_lap();
        Some(())
    }

    /// Whether it is certain, and was found out at little cost, that there is no new entry.
    #[inline]
    pub(super) fn is_drained(&self) -> bool {
        let entry = self.ring.get(self.next as usize);
        entry.is_some_and(|entry| (entry.load::<1>(Relaxed) ^ self.expected) & PHASE != 0)
    }

    /// Takes the entry that was looked at.
    #[inline(always)]
    pub(super) fn advance(&mut self) {
        self.next = self.next.wrapping_add(1);
    }

    /// Goes back to the first entry: those that are new have the other phase tag now.
    fn begin_lap(&mut self) {
        self.lap = self.taken();
        self.told = self.head(self.told).into();
        self.next = 0;
        self.expected ^= PHASE;
    }

    /// An index as the doorbell takes it: behind the last entry is the first.
    #[inline]
    fn head(&self, next: u32) -> u16 {
        if next < self.entries { index(next) } else { 0 }
    }

    /// How many entries were taken since the queue was made.
    #[inline]
    pub(super) fn taken(&self) -> u64 {
        self.lap.wrapping_add(self.next.into())
    }

    /// How many entries were taken of which the controller does not know.
    #[inline]
    fn untold(&self) -> u32 {
        let untold = self.next.wrapping_sub(self.told);
        // The controller was last told in this lap, or in the one before.
        if self.told <= self.next { untold } else { untold.wrapping_add(self.entries) }
    }

    /// Whether the controller, which does not know what was taken, lacks entries for so many commands.
    #[inline]
    pub(super) fn is_short_for(&self, commands: usize) -> bool {
        // One entry of a queue is always empty (NVMe Base 2.1 §3.3.1.2).
        self.untold() as usize + commands >= self.entries as usize
    }

    /// Whether so much was taken that the controller should know.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.untold() > self.entries / 2
    }

    /// Tells the controller of all entries that were taken. There were never as many as the queue has:
    /// see [`Self::is_short_for`].
    pub(super) fn ring(&mut self) -> Result<(), Error> {
        if self.next == self.told {
            return Ok(());
        }
        self.doorbell.ring(self.head(self.told), self.head(self.next))?;
        self.told = self.next;
        Ok(())
    }

    /// Starts over, as after the creation of the queue, where `taken` entries count as taken.
    pub(super) fn restart(&mut self, taken: u64) -> Result<(), Error> {
        self.lap = taken;
        (self.next, self.told, self.expected) = (0, 0, self.expected & SQID | PHASE);
        self.memory.clear(self.entries as usize * COMPLETION_ENTRY_SIZE)
    }
}

/// Phase Tag, Status Code and Status Code Type in the upper half of an entry (NVMe Base 2.1 §4.2.3).
const STATUS: u64 = 0x0FFF << 48;
const PHASE: u64 = 1 << 48;
/// SQ Identifier, there too.
const SQID: u64 = 0xFFFF << 16;

/// The parts of a completion of success.
#[derive(Debug, Clone, Copy)]
pub(super) struct Success {
    /// Dwords 0 and 1.
    pub(super) result: u64,
    /// SQ Head Pointer.
    pub(super) head: u16,
    pub(super) cid: u16,
}
