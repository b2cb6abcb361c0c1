//! A pair of I/O queues, as its user holds it.

use std::collections::VecDeque;
use std::sync::Arc;

use p2pdma_pci::{Bdf, Duration, Instant, Interrupt};
use p2pdma_spec::nvme::queue::{DataPointer, DataTransfer, Direction, SubmissionEntry};

use super::RawPair;
use super::raw::Reaped;
use crate::data::{Data, ListSlot, Lists, SglSegment};
use crate::nvm::Command;
use crate::sgl::{self, SglLimits};
use crate::shared::Shared;
use crate::time::Deadline;
use crate::{Error, Failure, Rejected, Segment, prp};

/// A submission queue with a completion queue of its own, for one thread.
///
/// `submit` writes a command into the queue, `ring` tells the controller of all that were written, and
/// `poll` takes completions; none of them allocates, locks, or reads a clock. `wait` waits. The token
/// that goes along with each command is in the queue's keeping until the command is over: see the
/// crate's front page.
///
/// Dropping it deletes the queues. If the controller does not do that, it is reset; if that fails too,
/// the queues' memory and the tokens in flight are leaked, since the controller may still use them.
#[derive(Debug)]
pub struct QueuePair<T> {
    pub(super) raw: RawPair<T>,
    pub(super) lists: Lists,
    /// Whether `submit` and `poll` must look at something rare first.
    pub(super) attention: bool,
    /// Whether the controller has the queues.
    pub(super) presence: Presence,
    pub(super) epoch: u32,
    pub(super) sgl: SglLimits,
    pub(super) shared: Arc<Shared>,
    /// Commands that are over, found by other means than polling.
    pub(super) returned: VecDeque<Reaped<T>>,
    pub(super) vector: Option<u16>,
    pub(super) interrupt: Option<Interrupt>,
    /// When the commands in flight last grew older.
    pub(super) aged: Instant,
    /// Whether the controller is known not to use the queues any more, and their identifier was given back.
    pub(super) retired: bool,
}

/// What is known of a controller's knowledge of a pair of queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    /// It has none: they were not created yet, or are deleted, or it was reset.
    Absent,
    /// It was told to create them, and did not say that it did.
    Uncertain,
    /// It has them.
    Present,
}

/// What a command in flight is called within its queue: its command identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u16);

/// A command that is over.
#[derive(Debug)]
#[must_use = "a command that is over may have failed"]
pub struct Completion<T> {
    /// Which command.
    pub id: CommandId,
    /// What went along with it.
    pub token: T,
    /// Dwords 0 and 1 of its completion, or why it failed.
    pub outcome: Result<u64, Failure>,
}

/// A lost interrupt delays a completion by no more than this.
const LOST_INTERRUPT: Duration = Duration::from_millis(1);

impl<T> QueuePair<T> {
    /// Its queue identifier, 1 and up.
    #[must_use]
    pub fn qid(&self) -> u16 {
        self.raw.qid
    }

    /// The controller.
    #[must_use]
    pub fn bdf(&self) -> Bdf {
        self.raw.bdf
    }

    /// How many commands can be in flight.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.raw.slots.capacity()
    }

    /// How many commands are in flight, or over and not polled yet.
    #[inline]
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let flying = if self.presence == Presence::Absent { 0 } else { self.raw.in_flight() };
        flying + self.returned.len()
    }

    /// The longest transfer of a command in bytes.
    #[must_use]
    pub fn max_transfer(&self) -> u64 {
        self.lists.max_transfer
    }

    /// Writes a command into the queue. The controller does not know of it until [`QueuePair::ring`].
    ///
    /// `token` is whatever must stay until the command is over: the buffer itself, an `Arc` of it, or
    /// `()` and an own way of keeping it. It comes back with the completion.
    ///
    /// # Errors
    /// With the token. [`Error::QueueFull`]; what is wrong with the data: [`Error::Length`],
    /// [`Error::TooLong`], [`Error::Misaligned`], [`Error::Gap`], [`Error::TooManySegments`],
    /// [`Error::Unsupported`]; or [`Error::Broken`] or [`Error::Reset`] if the queue has to be recovered.
    #[inline(always)]
    pub fn submit(
        &mut self,
        command: &Command,
        data: Data<'_>,
        token: T,
    ) -> Result<CommandId, Rejected<T>> {
        match data {
            Data::Contiguous(segment) => self.submit_segment(command, segment, token),
            data => self.submit_rarely(command, data, token),
        }
    }

    #[inline(always)]
    fn submit_segment(
        &mut self,
        command: &Command,
        segment: Segment,
        token: T,
    ) -> Result<CommandId, Rejected<T>> {
        let mut token = token;
        if segment.len == command.data && command.places.contain(segment.iova) {
            match self.raw.push_to_host(&command.entry, segment.iova, token) {
                Ok(cid) => return Ok(CommandId(cid)),
                Err(back) => token = back,
            }
        }
        self.submit_large(command, segment, token)
    }

    #[inline(never)]
    fn submit_large(
        &mut self,
        command: &Command,
        segment: Segment,
        token: T,
    ) -> Result<CommandId, Rejected<T>> {
        self.submit_rarely(command, Data::Contiguous(segment), token)
    }

    /// Submits what is more than a page or goes to the controller's own memory, and finds out what is
    /// wrong.
    #[inline(never)]
    fn submit_rarely(
        &mut self,
        command: &Command,
        data: Data<'_>,
        token: T,
    ) -> Result<CommandId, Rejected<T>> {
        if self.attention
            && let Err(error) = self.check_up()
        {
            return Err(Rejected { error, token });
        }
        let entry = self.raw.next_slot().and_then(|slot| self.entry(command, data, slot));
        let pushed = match entry {
            Ok(entry) => self.raw.push(entry, token),
            Err(error) => Err((error, token)),
        };
        pushed.map(CommandId).map_err(|(error, token)| Rejected { error, token })
    }

    /// The entry of a command, if its data and metadata are what it moves.
    fn entry(
        &self,
        command: &Command,
        data: Data<'_>,
        slot: u16,
    ) -> Result<SubmissionEntry, Error> {
        command.check_metadata()?;
        let mut entry = command.entry;
        let list = self.lists.slot(slot);
        entry.dptr = self.data_pointer(command, data, list)?;
        if let Data::Sgl(_) = data {
            let cdw0 = entry.cdw0.get().with_psdt(DataTransfer::SGL_METADATA_BUFFER);
            entry.cdw0.set(cdw0);
        }
        Ok(entry)
    }

    fn data_pointer(
        &self,
        command: &Command,
        data: Data<'_>,
        list: ListSlot<'_>,
    ) -> Result<DataPointer, Error> {
        let actual = match data {
            Data::None => 0,
            Data::Contiguous(segment) => segment.len,
            Data::Segments(segments) => {
                segments.iter().fold(0, |sum, segment| segment.len.saturating_add(sum))
            }
            Data::Sgl(segments) => sgl::len(segments),
        };
        let (expected, most) = (command.data, self.lists.max_transfer);
        if actual != expected {
            return Err(Error::Length { what: "data", expected, actual });
        }
        if actual > most {
            return Err(Error::TooLong { len: actual, most });
        }
        match data {
            Data::None => Ok(DataPointer::default()),
            Data::Contiguous(segment) => prp::segments(&[segment], list),
            Data::Segments(segments) => prp::segments(segments, list),
            Data::Sgl(segments) => {
                self.check_sgl(command, segments)?;
                sgl::build(segments, self.sgl, list)
            }
        }
    }

    fn check_sgl(&self, command: &Command, segments: &[SglSegment]) -> Result<(), Error> {
        let bdf = self.raw.bdf;
        if !self.sgl.supported() {
            return Err(Error::Unsupported { bdf, what: "takes no scatter gather lists" });
        }
        let bucket = segments.iter().any(|segment| matches!(segment, SglSegment::BitBucket(_)));
        let reads = Direction::of(command.entry.opcode()) == Direction::CONTROLLER_TO_HOST;
        if bucket && !(self.sgl.bit_bucket && reads) {
            return Err(Error::Unsupported { bdf, what: "throws nothing of these data away" });
        }
        Ok(())
    }

    /// Tells the controller of every command that was written, by one write of the doorbell; none if
    /// there is nothing new.
    ///
    /// # Errors
    /// [`Error::Reset`] if the queue has to be recovered.
    #[inline]
    pub fn ring(&mut self) -> Result<(), Error> {
        if self.attention {
            self.check_up()?;
        }
        self.raw.ring()
    }

    /// Whether there are commands that [`QueuePair::ring`] would tell the controller of.
    #[inline]
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.raw.is_pending()
    }

    /// The next command that is over, if there is one. When there is none, the controller is told by one
    /// write of the other doorbell which completions were taken, unless that can wait for those that are
    /// still to come.
    ///
    /// # Errors
    /// [`Error::Broken`] if the controller breaks the rules of the queue, [`Error::Reset`] if it does not
    /// have the queue any more. In both cases [`QueuePair::recover`] brings the queue back.
    #[inline(always)]
    pub fn poll(&mut self) -> Result<Option<Completion<T>>, Error> {
        if !self.attention
            && let Some((cid, token, result)) = self.raw.next_success()
        {
            return Ok(Some(Completion { id: CommandId(cid), token, outcome: Ok(result) }));
        }
        self.poll_rarely()
    }

    /// Whether a poll would find nothing, as far as that is known at the cost of one look at memory.
    #[inline]
    #[must_use]
    pub fn is_drained(&self) -> bool {
        !self.attention && self.raw.is_drained() && self.shared.epoch() == self.epoch
    }

    /// Takes all commands that are over and hands each to `each`; then the controller is told by one
    /// write of the other doorbell, unless that can wait. Returns how many there were. [`QueuePair::poll`], for many at a time.
    ///
    /// # Errors
    /// As [`QueuePair::poll`]; what was handed out before stays so.
    #[inline(always)]
    pub fn reap(&mut self, mut each: impl FnMut(Completion<T>)) -> Result<usize, Error> {
        let mut count = 0_usize;
        loop {
            if !self.attention {
                while let Some((cid, token, result)) = self.raw.next_success() {
                    each(Completion { id: CommandId(cid), token, outcome: Ok(result) });
                    count = count.wrapping_add(1);
                }
                if self.is_drained() {
                    self.raw.acknowledge()?;
                    return Ok(count);
                }
            }
            match self.poll_rarely()? {
                Some(completion) => each(completion),
                None => return Ok(count),
            }
            count = count.wrapping_add(1);
        }
    }

    /// Polls where there is no completion, or something else to do first.
    #[cold]
    fn poll_rarely(&mut self) -> Result<Option<Completion<T>>, Error> {
        if let Some(reaped) = self.returned.pop_front() {
            return Ok(Some(Self::completion(reaped)));
        }
        self.check_up()?;
        let polled = self.raw.poll();
        self.attention = polled.is_err();
        match polled? {
            Some(reaped) => Ok(Some(Self::completion(reaped))),
            None if self.shared.epoch() == self.epoch => Ok(None),
            None => {
                // The controller was fenced since the queues were created: what was in flight is lost.
                self.take_down();
                self.poll_rarely()
            }
        }
    }

    fn completion((cid, token, outcome): Reaped<T>) -> Completion<T> {
        Completion { id: CommandId(cid), token, outcome }
    }

    /// Notes that the controller does not have the queues any more.
    pub(super) fn take_down(&mut self) {
        self.raw.shut();
        self.returned.extend(self.raw.posted());
        self.returned.extend(self.raw.lose_all());
        (self.attention, self.presence) = (true, Presence::Absent);
    }

    #[cold]
    fn check_up(&self) -> Result<(), Error> {
        let (bdf, qid) = (self.raw.bdf, self.raw.qid);
        match self.presence {
            Presence::Present if self.raw.is_broken() => Err(self.raw.refusal()),
            Presence::Present => Ok(()),
            Presence::Absent | Presence::Uncertain => Err(Error::Reset { bdf, qid }),
        }
    }

    /// Waits for the next command that is over, for at most `timeout`. Rings first, if need be. `None` if
    /// nothing is in flight.
    ///
    /// A queue without an interrupt vector is polled. One with a vector is looked at when an interrupt
    /// came, and now and then in case that one was lost; where the platform can, the thread sleeps
    /// meanwhile. No completion is missed: one that comes after the last look has its interrupt after it.
    ///
    /// # Errors
    /// [`Error::Timeout`]: [`QueuePair::recover`] aborts what is in flight. [`Error::Gone`] and
    /// [`Error::Failed`] if that is what the controller's registers say, besides those of
    /// [`QueuePair::poll`].
    pub fn wait(&mut self, timeout: Duration) -> Result<Option<Completion<T>>, Error> {
        if self.raw.is_pending() {
            self.ring()?;
        }
        let found = self.poll()?;
        if found.is_some() || self.in_flight() == 0 {
            return Ok(found);
        }
        self.wait_idle(timeout)
    }

    fn wait_idle(&mut self, timeout: Duration) -> Result<Option<Completion<T>>, Error> {
        let shared = Arc::clone(&self.shared);
        let clock = shared.function.clock();
        let deadline = Deadline::after(clock, timeout);
        let (mut looked, mut turns, mut late) = (clock.now(), 0_u32, false);
        while !late {
            let rest = deadline.left().min(LOST_INTERRUPT);
            if !self.interrupt.as_ref().is_some_and(|line| line.sleep(rest)) {
                deadline.relax();
            }
            late = deadline.is_over();
            let announced = self.interrupt.as_ref().is_none_or(|line| line.take() > 0);
            if !announced && !late && clock.now().since(looked) < LOST_INTERRUPT {
                continue;
            }
            looked = clock.now();
            let found = self.poll()?;
            if found.is_some() {
                return Ok(found);
            }
            turns = turns.wrapping_add(1);
            if turns.is_multiple_of(Shared::TURNS_PER_CHECK) {
                shared.check_status()?;
            }
        }
        shared.check_status()?;
        let (bdf, qid, in_flight) = (self.raw.bdf, self.raw.qid, self.in_flight());
        Err(Error::Timeout { bdf, qid, in_flight, waited: deadline.waited() })
    }

    /// Commands that have been in flight for `limit` at least, and for a few times that at most when they
    /// are first named: one that never ends is found, though others do. Reads the clock once, so call it
    /// now and then.
    pub fn overdue(&mut self, limit: Duration) -> Vec<CommandId> {
        let now = self.shared.function.clock().now();
        if now.since(self.aged) >= limit {
            self.raw.grow_older();
            self.aged = now;
        }
        // One that saw the queue grow older twice has seen the time between pass in full.
        self.raw.old().map(CommandId).collect()
    }
}

impl<T> Drop for QueuePair<T> {
    fn drop(&mut self) {
        if self.release() {
            return;
        }
        let (slots, memory) = self.raw.strip();
        std::mem::forget((slots, memory, self.lists.strip()));
    }
}
