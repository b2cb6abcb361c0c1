//! A submission queue, its completion queue, and the commands between them.

use p2pdma_pci::{Bdf, Iova};
use p2pdma_spec::nvme::queue::{CompletionEntry, SubmissionEntry};
use p2pdma_spec::nvme::status::{CompletionStatus, Status};

use super::completion::Success;
use super::slots::Slots;
use super::{CompletionQueue, Shadow, SubmissionQueue};
use crate::memory::QueueMemory;
use crate::{Cause, Error, Failure, Violation};

/// A pair of queues with what came along with each command in flight: the mechanics that admin and I/O
/// queues share.
#[derive(Debug)]
pub(crate) struct RawPair<T> {
    pub(crate) bdf: Bdf,
    pub(crate) qid: u16,
    sq: SubmissionQueue,
    cq: CompletionQueue,
    pub(crate) slots: Slots<T>,
    broken: Option<Violation>,
    /// How many commands had been submitted when the queue last grew older, and the time before that.
    ages: [u64; 2],
}

/// The raw form of a completion: identifier, what came with the command, outcome.
pub(crate) type Reaped<T> = (u16, T, Result<u64, Failure>);

impl<T> RawPair<T> {
    pub(crate) fn new(bdf: Bdf, qid: u16, sq: SubmissionQueue, mut cq: CompletionQueue) -> Self {
        cq.expect(qid);
        // One entry of a queue is always empty (NVMe Base 2.1 §3.3.1.1).
        let capacity = u16::try_from(sq.entries().saturating_sub(1)).unwrap_or(u16::MAX);
        Self { bdf, qid, sq, cq, slots: Slots::new(capacity), broken: None, ages: [0; 2] }
    }

    /// The slot of the next command.
    pub(crate) fn next_slot(&self) -> Result<u16, Error> {
        match self.slots.next() {
            Some(slot) if self.broken.is_none() => Ok(slot),
            _ => Err(self.refusal()),
        }
    }

    #[cold]
    pub(crate) fn refusal(&self) -> Error {
        let (bdf, qid) = (self.bdf, self.qid);
        match self.broken {
            Some(violation) => Error::Broken { bdf, qid, violation },
            None => Error::QueueFull { bdf, qid, capacity: self.slots.capacity() },
        }
    }

    /// Writes a command in the next slot. The controller does not know of it until [`Self::ring`].
    pub(crate) fn push(&mut self, entry: SubmissionEntry, token: T) -> Result<u16, (Error, T)> {
        if let Err(error) = self.next_slot() {
            return Err((error, token));
        }
        let mut failed = None;
        let sq = &self.sq;
        let occupied = self.slots.occupy(token, sq.written(), |cid| {
            let mut entry = entry;
            entry.set_cid(cid);
            sq.write(&entry).map_err(|error| failed = Some(error)).ok()
        });
        match occupied {
            Ok(cid) => {
                self.sq.advance();
                Ok(cid)
            }
            Err(token) => Err((failed.unwrap_or_else(|| self.refusal()), token)),
        }
    }

    /// The same, at less cost, for a command whose data are one page from `data` on, and a queue in host
    /// memory that has room and works: if it is none, the token comes back.
    #[inline(always)]
    pub(crate) fn push_to_host(
        &mut self,
        entry: &SubmissionEntry,
        data: Iova,
        token: T,
    ) -> Result<u16, T> {
        let sq = &mut self.sq;
        self.slots.occupy(token, sq.written(), |cid| sq.push_to_host(entry, cid, data))
    }

    /// Lets [`Self::push_to_host`] be used, as long as the controller has the queues.
    pub(crate) fn open(&mut self) -> Result<(), Error> {
        self.sq.open()
    }

    /// The opposite of [`Self::open`].
    pub(crate) fn shut(&mut self) {
        self.sq.shut();
    }

    /// How many commands are in flight: each takes one entry of either queue.
    #[inline]
    pub(crate) fn in_flight(&self) -> usize {
        let count = self.sq.written().wrapping_sub(self.cq.taken());
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Tells the controller of every command that was written, by one doorbell. If it may lack room for
    /// their completions, it is told which ones were taken, too.
    #[inline]
    pub(crate) fn ring(&mut self) -> Result<(), Error> {
        if !self.is_pending() {
            return Ok(());
        }
        if self.cq.is_short_for(self.in_flight()) {
            self.cq.ring()?;
        }
        self.sq.ring()
    }

    /// Whether commands were written that the controller does not know of.
    #[inline]
    pub(crate) fn is_pending(&self) -> bool {
        self.sq.is_pending()
    }

    /// The next completion, if it is there, is right, and says success: the common case. Anything else
    /// stays where it is.
    #[inline(always)]
    pub(crate) fn next_success(&mut self) -> Option<(u16, T, u64)> {
        let Success { result, head, cid } = self.cq.peek_success()?;
        if u32::from(head) >= self.sq.entries() {
            return None;
        }
        let token = self.slots.complete(cid, self.sq.known())?;
        self.cq.advance();
        Some((cid, token, result))
    }

    /// The next completion. If there is none, the controller is told which ones were taken, unless that
    /// can wait.
    pub(crate) fn poll(&mut self) -> Result<Option<Reaped<T>>, Error> {
        if self.broken.is_some() {
            return Err(self.refusal());
        }
        let Some(entry) = self.cq.peek()? else {
            self.acknowledge()?;
            return Ok(None);
        };
        match self.accept(&entry) {
            Some(reaped) => Ok(Some(reaped)),
            None => Err(self.break_off(&entry)),
        }
    }

    /// Whether there is no completion, as far as that is found out at little cost.
    #[inline]
    pub(crate) fn is_drained(&self) -> bool {
        self.cq.is_drained()
    }

    /// Tells the controller which completions were taken, unless that can wait: as long as others are on
    /// their way, it can until they are worth a doorbell.
    #[inline]
    pub(crate) fn acknowledge(&mut self) -> Result<(), Error> {
        if self.in_flight() == 0 || self.cq.is_due() {
            self.cq.ring()?;
        }
        Ok(())
    }

    /// Matches a completion with the one command that it can belong to, and takes both.
    fn accept(&mut self, entry: &CompletionEntry) -> Option<Reaped<T>> {
        let (cid, sqhd) = (entry.cid.get(), entry.sqhd.get());
        if entry.sqid.get() != self.qid || u32::from(sqhd) >= self.sq.entries() {
            return None;
        }
        let token = self.slots.complete(cid, self.sq.known())?;
        self.cq.advance();
        let status = entry.status.get();
        let outcome = if status.status() == Status::SUCCESS {
            Ok(entry.result())
        } else {
            Err(self.failure(cid, Cause::Status(status)))
        };
        Some((cid, token, outcome))
    }

    /// Notes what is wrong with a completion.
    #[cold]
    fn break_off(&mut self, entry: &CompletionEntry) -> Error {
        let (sqid, sqhd, entries) = (entry.sqid.get(), entry.sqhd.get(), self.sq.entries());
        self.shut();
        self.broken = Some(if sqid != self.qid {
            Violation::WrongQueue { sqid }
        } else if u32::from(sqhd) >= entries {
            Violation::HeadOutOfRange { sqhd, entries }
        } else {
            self.slots.violation(entry.cid.get())
        });
        self.refusal()
    }

    #[cold]
    fn failure(&self, cid: u16, cause: Cause) -> Failure {
        let cause = match cause {
            // The phase tag is the queue's, not the command's.
            Cause::Status(status) => Cause::Status(CompletionStatus::with_phase(status, false)),
            Cause::Lost => Cause::Lost,
        };
        Failure { bdf: self.bdf, qid: self.qid, cid, cause }
    }

    /// Lets time pass for the commands in flight: what was submitted before is older from now on.
    pub(crate) fn grow_older(&mut self) {
        self.ages = [self.sq.written(), self.ages[0]];
    }

    /// Commands in flight that saw the queue grow older twice.
    pub(crate) fn old(&self) -> impl Iterator<Item = u16> + '_ {
        self.slots.among(self.ages[1])
    }

    /// Commands in flight.
    pub(crate) fn flying(&self) -> impl Iterator<Item = u16> + '_ {
        self.slots.among(self.sq.written())
    }

    /// The completions that were posted before the controller lost the queues. It is not told that they
    /// were taken.
    pub(crate) fn posted(&mut self) -> Vec<Reaped<T>> {
        let mut posted = Vec::new();
        while self.broken.is_none()
            && let Ok(Some(entry)) = self.cq.peek()
            && let Some(reaped) = self.accept(&entry)
        {
            posted.push(reaped);
        }
        posted
    }

    /// Takes every command out of flight as lost. Only for a queue that the controller no longer has; it
    /// counts none as in flight after [`Self::restart`].
    pub(crate) fn lose_all(&mut self) -> Vec<Reaped<T>> {
        let lost = self.slots.drain();
        lost.into_iter()
            .map(|(cid, token)| (cid, token, Err(self.failure(cid, Cause::Lost))))
            .collect()
    }

    /// Starts over, as after the creation of the queues.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        self.sq.restart()?;
        self.cq.restart(self.sq.written())?;
        self.broken = None;
        Ok(())
    }

    /// Goes on with these shadow doorbells, or none: before the controller is told of the queues.
    pub(crate) fn mirror(&mut self, shadow: &Shadow) -> Result<(), Error> {
        self.sq.doorbell.mirror(shadow)?;
        self.cq.doorbell.mirror(shadow)
    }

    /// Where the controller finds the two queues.
    pub(crate) fn memory(&self) -> (&QueueMemory, &QueueMemory) {
        (&self.sq.memory, &self.cq.memory)
    }

    /// How many entries each of the queues has.
    pub(crate) fn entries(&self) -> u32 {
        self.sq.entries()
    }

    /// Whether the controller broke the rules of the queue.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Takes out all that the controller may still use.
    pub(crate) fn strip(&mut self) -> (Slots<T>, [QueueMemory; 2]) {
        let slots = std::mem::replace(&mut self.slots, Slots::new(0));
        let sq = std::mem::take(&mut self.sq.memory);
        (slots, [sq, std::mem::take(&mut self.cq.memory)])
    }
}
