//! A submission queue, its completion queue, and the commands between them.

use p2pdma_pci::Bdf;
use p2pdma_spec::nvme::queue::{CompletionEntry, SubmissionEntry};
use p2pdma_spec::nvme::status::{CompletionStatus, Status};

use super::slots::Slots;
use super::{CompletionQueue, Reserved, SubmissionQueue};
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
    /// Advances now and then; commands remember it, so that old ones can be told without a clock.
    age: u32,
}

/// The raw form of a completion: identifier, what came with the command, outcome.
pub(crate) type Reaped<T> = (u16, T, Result<u64, Failure>);

impl<T> RawPair<T> {
    pub(crate) fn new(bdf: Bdf, qid: u16, sq: SubmissionQueue, cq: CompletionQueue) -> Self {
        // One entry of a queue is always empty (NVMe Base 2.1 §3.3.1.1).
        let capacity = u16::try_from(sq.entries().saturating_sub(1)).unwrap_or(u16::MAX);
        Self { bdf, qid, sq, cq, slots: Slots::new(capacity), broken: None, age: 1 }
    }

    /// A slot for the next command.
    #[inline]
    pub(crate) fn reserve(&self) -> Result<Reserved, Error> {
        match self.slots.reserve() {
            Some(reserved) if self.broken.is_none() => Ok(reserved),
            _ => Err(self.refusal()),
        }
    }

    #[cold]
    fn refusal(&self) -> Error {
        let (bdf, qid) = (self.bdf, self.qid);
        match self.broken {
            Some(violation) => Error::Broken { bdf, qid, violation },
            None => Error::QueueFull { bdf, qid, capacity: self.slots.capacity() },
        }
    }

    /// Writes the command of a reserved slot. The controller does not know of it until [`Self::ring`].
    #[inline]
    pub(crate) fn push(
        &mut self,
        reserved: Reserved,
        mut entry: SubmissionEntry,
        token: T,
    ) -> Result<(), (Error, T)> {
        entry.set_cid(reserved.cid);
        match self.sq.push(entry) {
            Ok(place) => {
                self.slots.occupy(reserved, token, place, self.age);
                Ok(())
            }
            Err(error) => Err((error, token)),
        }
    }

    /// Tells the controller of every command that was written, by one doorbell.
    #[inline]
    pub(crate) fn ring(&mut self) -> Result<(), Error> {
        self.sq.ring()
    }

    /// Whether commands were written that the controller does not know of.
    pub(crate) fn is_pending(&self) -> bool {
        self.sq.is_pending()
    }

    /// The next completion. If there is none, the controller is told which ones were taken.
    #[inline]
    pub(crate) fn poll(&mut self) -> Result<Option<Reaped<T>>, Error> {
        if self.broken.is_some() {
            return Err(self.refusal());
        }
        let Some(entry) = self.cq.peek()? else {
            self.cq.ring()?;
            return Ok(None);
        };
        match self.accept(&entry) {
            Ok(reaped) => {
                self.cq.advance();
                if self.cq.is_half_taken() {
                    self.cq.ring()?;
                }
                Ok(Some(reaped))
            }
            Err(violation) => {
                self.broken = Some(violation);
                Err(self.refusal())
            }
        }
    }

    /// Matches a completion with the one command that it can belong to.
    #[inline]
    fn accept(&mut self, entry: &CompletionEntry) -> Result<Reaped<T>, Violation> {
        let (cid, sqhd) = (entry.cid.get(), entry.sqhd.get());
        if entry.sqid.get() != self.qid {
            return Err(Violation::WrongQueue { sqid: entry.sqid.get() });
        }
        let entries = self.sq.entries();
        if u32::from(sqhd) >= entries {
            return Err(Violation::HeadOutOfRange { sqhd, entries });
        }
        let sq = &self.sq;
        let token = match self.slots.complete(cid, |place| sq.fetched(place, sqhd)) {
            Ok(token) => token,
            Err(violation) => return Err(violation.unwrap_or(Violation::NotFetched { cid, sqhd })),
        };
        let status = entry.status.get();
        let outcome = if status.status() == Status::SUCCESS {
            Ok(entry.result())
        } else {
            Err(self.failure(cid, Cause::Status(status)))
        };
        Ok((cid, token, outcome))
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
        self.age = self.age.saturating_add(1);
    }

    /// Commands in flight that saw the queue grow older at least `times` times.
    pub(crate) fn older_than(&self, times: u32) -> impl Iterator<Item = u16> + '_ {
        self.slots.since(self.age.saturating_sub(times))
    }

    /// The completions that were posted before the controller lost the queues. It is not told that they
    /// were taken.
    pub(crate) fn posted(&mut self) -> Vec<Reaped<T>> {
        let mut posted = Vec::new();
        while let Ok(Some(entry)) = self.cq.peek()
            && self.broken.is_none()
            && let Ok(reaped) = self.accept(&entry)
        {
            self.cq.advance();
            posted.push(reaped);
        }
        posted
    }

    /// Takes every command out of flight as lost. Only for a queue that the controller no longer has.
    pub(crate) fn lose_all(&mut self) -> Vec<Reaped<T>> {
        let lost = self.slots.drain();
        lost.into_iter()
            .map(|(cid, token)| (cid, token, Err(self.failure(cid, Cause::Lost))))
            .collect()
    }

    /// Starts over, as after the creation of the queues.
    pub(crate) fn restart(&mut self) -> Result<(), Error> {
        self.sq.restart()?;
        self.cq.restart()?;
        self.broken = None;
        Ok(())
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
