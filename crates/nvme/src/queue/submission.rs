//! The submission queue: entries written in turn, and one doorbell for all of them.

use p2pdma_mem::SharedEntries;
use p2pdma_spec::nvme::queue::{SUBMISSION_ENTRY_SIZE, SubmissionEntry};
use zerocopy::little_endian::U64;
use zerocopy::{IntoBytes as _, transmute};

use super::Doorbell;
use crate::Error;
use crate::memory::QueueMemory;

/// A submission queue of one producer.
///
/// It keeps no head: as many commands are in flight as there are entries minus one at most, and an entry
/// that the controller has not fetched yet belongs to one of them, so there is always room for the next.
#[derive(Debug)]
pub(crate) struct SubmissionQueue {
    /// The entries, while they are in use and if they are in host memory; else none.
    ring: SharedEntries<8>,
    /// Index of the next entry to write.
    tail: u32,
    entries: u32,
    /// How many entries had been written when the tail was last 0, and how many the controller knows of.
    lap: u64,
    known: u64,
    /// The tail that the controller knows.
    rung: u32,
    doorbell: Doorbell,
    pub(super) memory: QueueMemory,
}

impl SubmissionQueue {
    /// `entries` is at most [`MAX_IO_ENTRIES`](p2pdma_spec::nvme::queue::MAX_IO_ENTRIES).
    pub(crate) fn new(
        memory: QueueMemory,
        entries: u32,
        doorbell: Doorbell,
    ) -> Result<Self, Error> {
        let ring = memory.entries(0, doorbell.bdf())?;
        Ok(Self { ring, tail: 0, entries, lap: 0, known: 0, rung: 0, doorbell, memory })
    }

    /// Lets [`Self::push_to_host`] be used, if the queue is in host memory.
    pub(super) fn open(&mut self) -> Result<(), Error> {
        self.ring = self.memory.entries(self.entries, self.doorbell.bdf())?;
        Ok(())
    }

    /// The opposite of [`Self::open`].
    pub(super) fn shut(&mut self) {
        self.ring.truncate(0);
    }

    /// Writes an entry at the tail.
    pub(super) fn write(&self, entry: &SubmissionEntry) -> Result<(), Error> {
        self.memory.write(self.tail as usize * SUBMISSION_ENTRY_SIZE, entry.as_bytes())
    }

    /// Writes an entry at the tail of an open queue in host memory and moves on; `None` if it is none.
    #[inline(always)]
    pub(super) fn push_to_host(&mut self, entry: SubmissionEntry) -> Option<()> {
        let slot = self.ring.get(self.tail as usize)?;
        let next = self.tail.wrapping_add(1);
        self.tail = next;
        if next == self.entries {
            self.lap = self.lap.wrapping_add(next.into());
            self.tail = 0;
        }
        let words: [U64; 8] = transmute!(entry);
        slot.store(words.map(|word| word.get()));
        Some(())
    }

    /// Moves on behind the entry that was written.
    pub(super) fn advance(&mut self) {
        self.tail += 1;
        if self.tail == self.entries {
            self.lap = self.lap.wrapping_add(self.tail.into());
            self.tail = 0;
        }
    }

    /// Whether entries were written that the controller does not know of.
    #[inline]
    pub(super) fn is_pending(&self) -> bool {
        self.written() != self.known
    }

    /// Tells the controller of all entries that were written.
    pub(super) fn ring(&mut self) -> Result<(), Error> {
        if !self.is_pending() {
            return Ok(());
        }
        let last = self.tail.checked_sub(1).unwrap_or(self.entries - 1);
        self.memory.flush(last as usize * SUBMISSION_ENTRY_SIZE)?;
        self.doorbell.ring(index(self.rung), index(self.tail))?;
        self.rung = self.tail;
        self.known = self.written();
        Ok(())
    }

    /// How many entries the controller was told of.
    #[inline(always)]
    pub(super) fn known(&self) -> u64 {
        self.known
    }

    /// How many entries were written.
    #[inline(always)]
    pub(super) fn written(&self) -> u64 {
        self.lap.wrapping_add(self.tail.into())
    }

    /// How many entries there are.
    #[inline(always)]
    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    /// Starts over, as after the creation of the queue.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        self.lap = self.written();
        (self.tail, self.rung, self.known) = (0, 0, self.lap);
        self.memory.clear(self.entries as usize * SUBMISSION_ENTRY_SIZE)
    }
}

/// An index as a doorbell holds it; it is below 65536.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "queues have at most 65536 entries")]
pub(super) const fn index(value: u32) -> u16 {
    value as u16
}
