//! The submission queue: entries written in turn, and one doorbell for all of them.

use std::mem::offset_of;

use p2pdma_mem::SharedEntries;
use p2pdma_pci::Iova;
use p2pdma_spec::nvme::queue::{DataPointer, SUBMISSION_ENTRY_SIZE, SubmissionEntry};
use zerocopy::{IntoBytes as _, transmute_ref};

use super::Doorbell;
use crate::Error;
use crate::memory::QueueMemory;

/// Where an entry has the command identifier, which is the upper half of its first dword.
const CID: usize = offset_of!(SubmissionEntry, cdw0) + 2;
/// Where an entry has the first entry of its data pointer.
const PRP1: usize = offset_of!(SubmissionEntry, dptr) + offset_of!(DataPointer, prp1);

/// A submission queue of one producer.
///
/// It keeps no head: as many commands are in flight as there are entries minus one at most, and an entry
/// that the controller has not fetched yet belongs to one of them, so there is always room for the next.
#[derive(Debug)]
pub(crate) struct SubmissionQueue {
    /// The entries, while they are in use and if they are in host memory; else none.
    ring: SharedEntries<8>,
    /// Index of the next entry to write; after the last one it stays behind it until there is a next.
    next: u32,
    entries: u32,
    /// How many entries had been written when the index was last 0, and how many the controller knows of.
    lap: u64,
    known: u64,
    /// The tail that the controller knows.
    rung: u32,
    pub(super) doorbell: Doorbell,
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
        Ok(Self { ring, next: 0, entries, lap: 0, known: 0, rung: 0, doorbell, memory })
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
        self.memory.write(self.tail() as usize * SUBMISSION_ENTRY_SIZE, entry.as_bytes())
    }

    /// Writes a command at the tail of an open queue in host memory and moves on; `None` if it is none.
    /// `first` is the first of its data pointer's entries; the second is not set.
    #[inline(always)]
    pub(super) fn push_to_host(
        &mut self,
        entry: &SubmissionEntry,
        cid: u16,
        first: Iova,
    ) -> Option<()> {
        let slot = match self.ring.get(self.next as usize) {
            Some(slot) => slot,
            None => {
                self.begin_lap()?;
                self.ring.get(0)?
            }
        };
        self.next = self.next.wrapping_add(1);
        // The controller does not look before the doorbell, so the pieces may come one by one.
        slot.fill(transmute_ref!(entry));
        slot.store::<CID, u16>(cid);
        slot.store::<PRP1, u64>(first.0);
        Some(())
    }

    /// Goes back to the first entry of an open queue, if it is time to.
    #[cold]
    fn begin_lap(&mut self) -> Option<()> {
        if self.next < self.entries || self.ring.is_empty() {
            return None;
        }
        self.lap = self.written();
        self.next = 0;
        Some(())
    }

    /// The index of the next entry, which is what the doorbell takes.
    #[inline]
    fn tail(&self) -> u32 {
        if self.next < self.entries { self.next } else { 0 }
    }

    /// Moves on behind the entry that was written.
    pub(super) fn advance(&mut self) {
        if self.next == self.entries {
            self.lap = self.written();
            self.next = 0;
        }
        self.next += 1;
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
        let (last, tail) = (self.next.saturating_sub(1), self.tail());
        self.memory.flush(last as usize * SUBMISSION_ENTRY_SIZE)?;
        self.doorbell.ring(index(self.rung), index(tail))?;
        self.rung = tail;
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
        self.lap.wrapping_add(self.next.into())
    }

    /// How many entries there are.
    #[inline(always)]
    pub(super) fn entries(&self) -> u32 {
        self.entries
    }

    /// Starts over, as after the creation of the queue.
    pub(super) fn restart(&mut self) -> Result<(), Error> {
        self.lap = self.written();
        (self.next, self.rung, self.known) = (0, 0, self.lap);
        self.memory.clear(self.entries as usize * SUBMISSION_ENTRY_SIZE)
    }
}

/// An index as a doorbell holds it; it is below 65536.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "queues have at most 65536 entries")]
pub(super) const fn index(value: u32) -> u16 {
    value as u16
}
