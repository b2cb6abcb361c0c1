//! What of a job is to be done, and who is to be told what of it is durable.

use p2pdma_pci::{Duration, Instant};

use crate::Error;
use crate::transfer::{Job, Parts};

/// A job, or parts of one.
#[derive(Debug)]
pub struct Portion<'a> {
    /// The job.
    pub job: Job,
    /// What of it is to be moved; all of it if `None`. Every part begins at a multiple of both ends' block
    /// sizes, and so does what lies between them. What is left out counts as complete.
    pub parts: Option<Parts>,
    /// Who is told what is durable.
    pub durable: Option<Durable<'a>>,
}

/// Is told again and again up to which byte from the job's start on everything is durable, after a flush of the
/// sink: every half second, or less often where flushes take long; and at the end, whether good or bad.
pub struct Durable<'a> {
    /// After so many bytes, too: where time is modelled, it hardly passes.
    pub every: u64,
    /// Is told. If it fails, so does the transfer.
    pub tell: &'a mut dyn FnMut(u64) -> Result<(), Error>,
}

impl std::fmt::Debug for Durable<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Durable").field("every", &self.every).finish_non_exhaustive()
    }
}

impl From<Job> for Portion<'_> {
    fn from(job: Job) -> Self {
        Self { job, parts: None, durable: None }
    }
}

impl Portion<'_> {
    pub(super) fn check(&self) -> Result<(), Error> {
        self.job.check()?;
        let outside = |parts: &Parts| parts.end() > self.job.len;
        if self.parts.as_ref().is_some_and(outside) {
            return Err(Error::Job { reason: "a part of it is outside" });
        }
        Ok(())
    }

    pub(super) fn parts(&self) -> Parts {
        self.parts.clone().unwrap_or_else(|| Parts::whole(self.job.len))
    }
}

/// When durability was last told.
pub(super) struct Checkpoints<'a> {
    durable: Durable<'a>,
    at: Instant,
    complete: u64,
    /// How long to wait until the next time.
    pause: Duration,
}

/// A flush costs some milliseconds at most, which is little of half a second.
const PERIOD: Duration = Duration::from_millis(500);
/// Where a flush takes longer, this many times as long passes until the next.
const SHARE: u64 = 10;

impl<'a> Checkpoints<'a> {
    pub(super) fn new(durable: Durable<'a>, began: Instant) -> Self {
        Self { durable, at: began, complete: 0, pause: PERIOD }
    }

    pub(super) fn is_due(&self, now: Instant, complete: u64) -> bool {
        now.since(self.at) >= self.pause
            || complete.saturating_sub(self.complete) >= self.durable.every
    }

    /// What was complete when a flush began is durable now.
    pub(super) fn tell(
        &mut self,
        complete: u64,
        began: Instant,
        now: Instant,
    ) -> Result<(), Error> {
        (self.at, self.complete) = (now, complete);
        self.pause = PERIOD.max(now.since(began) * SHARE);
        (self.durable.tell)(complete)
    }
}
