//! What waits for its time.

use p2pdma_fabric::Agenda;
use p2pdma_pci::Instant;
use p2pdma_spec::nvme::queue::SubmissionEntry;

use super::nvm::Io;
use super::reply::CommandResult;

/// Something that happens at an instant.
#[derive(Debug)]
pub(crate) enum Job {
    /// Entries of a submission queue have been fetched.
    Decode {
        /// The queue.
        sqid: u16,
        /// The entries.
        entries: Vec<SubmissionEntry>,
    },
    /// A command's data can move.
    Transfer(Box<Io>),
    /// A command is done.
    Complete {
        /// Its submission queue.
        sqid: u16,
        /// Its identifier.
        cid: u16,
        /// How it ended.
        result: CommandResult,
    },
    /// An interrupt that was held back is due.
    Interrupt {
        /// Its vector.
        vector: u16,
    },
    /// The keep-alive timer may have expired.
    KeepAlive,
}

impl Job {
    /// Whether it belongs to a command, or to commands, of a submission queue.
    fn is_of(&self, queue: u16) -> bool {
        match self {
            Self::Decode { sqid, .. } | Self::Complete { sqid, .. } => *sqid == queue,
            Self::Transfer(io) => io.sqid == queue,
            Self::Interrupt { .. } | Self::KeepAlive => false,
        }
    }
}

/// All of them, by time, and by order of making where times are equal.
#[derive(Debug)]
pub(crate) struct Jobs {
    agenda: Agenda<Job>,
    /// For when the controller has asked to be woken, the next time last.
    armed: Vec<Instant>,
}

impl Jobs {
    pub(crate) fn new() -> Self {
        Self { agenda: Agenda::new(), armed: Vec::new() }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    #[inline]
    pub(crate) fn push(&mut self, at: Instant, job: Job) {
        self.agenda.push(at, job);
    }

    /// The next job that is due.
    #[inline]
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Job> {
        self.agenda.pop_due(now)
    }

    /// For when the controller must ask to be woken, if it has not done so already.
    #[inline]
    pub(crate) fn arm(&mut self) -> Option<Instant> {
        let at = self.agenda.first_at();
        if at == Instant::NEVER || self.armed.last().is_some_and(|&armed| armed <= at) {
            return None;
        }
        self.armed.push(at);
        Some(at)
    }

    /// The controller was woken.
    pub(crate) fn woken(&mut self, now: Instant) {
        while self.armed.pop_if(|armed| *armed <= now).is_some() {}
    }

    /// Takes out everything that belongs to a submission queue, in the order of its time.
    pub(crate) fn take_queue(&mut self, queue: u16) -> Vec<Job> {
        self.agenda.take(|job| job.is_of(queue))
    }

    /// Takes out a command whose data have not moved yet.
    pub(crate) fn take_command(&mut self, queue: u16, cid: u16) -> bool {
        let waits =
            |job: &Job| matches!(job, Job::Transfer(io) if io.sqid == queue && io.cid == cid);
        !self.agenda.take(waits).is_empty()
    }
}
