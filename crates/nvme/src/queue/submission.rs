//! The submission queue: entries written in turn, and one doorbell for all of them.

use p2pdma_spec::nvme::queue::{SUBMISSION_ENTRY_SIZE, SubmissionEntry};
use zerocopy::IntoBytes as _;

use super::Doorbell;
use crate::Error;
use crate::memory::QueueMemory;

/// A submission queue of one producer.
///
/// It keeps no head: as many commands are in flight as there are entries minus one at most, and an entry
/// that the controller has not fetched yet belongs to one of them, so there is always room for the next.
#[derive(Debug)]
pub(crate) struct SubmissionQueue {
    pub(super) memory: QueueMemory,
    doorbell: Doorbell,
    entries: u32,
    /// Index of the next entry to write.
    tail: u32,
    /// The tail that the controller knows.
    rung: u32,
    /// How many entries were written, and how many of them the controller knows of.
    written: u64,
    known: u64,
}

/// Aligned like a cache line, so that copying it takes whole words.
#[repr(C, align(64))]
struct Line(SubmissionEntry);

impl SubmissionQueue {
    /// `entries` is at most [`MAX_IO_ENTRIES`](p2pdma_spec::nvme::queue::MAX_IO_ENTRIES).
    pub(crate) fn new(memory: QueueMemory, entries: u32, doorbell: Doorbell) -> Self {
        Self { memory, doorbell, entries, tail: 0, rung: 0, written: 0, known: 0 }
    }

    /// Writes an entry at the tail; returns its place in the sequence of all entries.
    #[inline]
    pub(super) fn push(&mut self, entry: SubmissionEntry) -> Result<u64, Error> {
        let line = Line(entry);
        let at = self.tail as usize * SUBMISSION_ENTRY_SIZE;
        self.memory.write(at, line.0.as_bytes())?;
        let next = self.tail + 1;
        self.tail = if next == self.entries { 0 } else { next };
        let place = self.written;
        self.written += 1;
        Ok(place)
    }

    /// Whether entries were written that the controller does not know of.
    #[inline]
    pub(super) fn is_pending(&self) -> bool {
        self.written != self.known
    }

    /// Tells the controller of all entries that were written.
    #[inline]
    pub(super) fn ring(&mut self) -> Result<(), Error> {
        if !self.is_pending() {
            return Ok(());
        }
        let last = self.tail.checked_sub(1).unwrap_or(self.entries - 1);
        self.memory.flush(last as usize * SUBMISSION_ENTRY_SIZE)?;
        self.doorbell.ring(index(self.rung), index(self.tail))?;
        self.rung = self.tail;
        self.known = self.written;
        Ok(())
    }

    /// Whether a controller whose head is `sqhd` can have fetched the entry at `place`.
    ///
    /// Heads are not in order of completions: a controller may take the head first and post later.
    #[inline]
    pub(super) fn fetched(&self, place: u64, sqhd: u16) -> bool {
        let sqhd = u32::from(sqhd);
        let behind =
            if self.rung >= sqhd { self.rung - sqhd } else { self.rung + self.entries - sqhd };
        // An entry that the controller was not told of has a place at or after `known`.
        u64::from(behind) < self.known.saturating_sub(place)
    }

    /// How many entries there are.
    #[inline]
    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    /// Starts over, as after the creation of the queue.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        (self.tail, self.rung) = (0, 0);
        self.known = self.written;
        self.memory.clear(self.entries as usize * SUBMISSION_ENTRY_SIZE)
    }
}

/// An index as a doorbell holds it; it is below 65536.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "queues have at most 65536 entries")]
pub(super) const fn index(value: u32) -> u16 {
    value as u16
}
