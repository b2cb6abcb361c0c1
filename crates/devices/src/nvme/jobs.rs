//! What waits for its time.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

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
    heap: BinaryHeap<Reverse<Entry>>,
    sequence: u64,
    /// For when the controller has asked to be woken.
    armed: Instant,
}

#[derive(Debug)]
struct Entry {
    at: Instant,
    sequence: u64,
    job: Job,
}

impl Jobs {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new(), sequence: 0, armed: Instant::NEVER }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    pub(crate) fn push(&mut self, at: Instant, job: Job) {
        self.sequence += 1;
        self.heap.push(Reverse(Entry { at, sequence: self.sequence, job }));
    }

    /// The next job that is due.
    #[inline]
    pub(crate) fn take_due(&mut self, now: Instant) -> Option<Job> {
        if self.heap.peek().is_none_or(|entry| entry.0.at > now) {
            return None;
        }
        self.heap.pop().map(|entry| entry.0.job)
    }

    /// For when the controller must ask to be woken, if it has not done so already.
    #[inline]
    pub(crate) fn arm(&mut self) -> Option<Instant> {
        let at = self.heap.peek()?.0.at;
        if at >= self.armed {
            return None;
        }
        self.armed = at;
        Some(at)
    }

    /// The controller was woken.
    pub(crate) fn woken(&mut self, now: Instant) {
        if self.armed <= now {
            self.armed = Instant::NEVER;
        }
    }

    /// Takes out everything that belongs to a submission queue, in the order of its time.
    pub(crate) fn take_queue(&mut self, queue: u16) -> Vec<Job> {
        let all = std::mem::take(&mut self.heap).into_sorted_vec();
        let (mine, others): (Vec<_>, Vec<_>) =
            all.into_iter().rev().partition(|entry| entry.0.job.is_of(queue));
        self.heap = others.into();
        mine.into_iter().map(|entry| entry.0.job).collect()
    }

    /// Takes out a command whose data have not moved yet.
    pub(crate) fn take_command(&mut self, queue: u16, cid: u16) -> bool {
        let waits = |entry: &Reverse<Entry>| matches!(&entry.0.job, Job::Transfer(io) if io.sqid == queue && io.cid == cid);
        let before = self.heap.len();
        self.heap.retain(|entry| !waits(entry));
        before > self.heap.len()
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.sequence).cmp(&(other.at, other.sequence))
    }
}
