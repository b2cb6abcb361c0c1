//! What waits for its time.

use p2pdma_fabric::TimerId;
use p2pdma_pci::Instant;
use p2pdma_spec::nvme::queue::SubmissionEntry;

use super::nvm::Io;
use super::reply::CommandResult;

/// Something that happens at an instant.
///
/// Its tag is a whole word, so that it is moved in whole words: with a smaller one the compiler moves it in pieces
/// that overlap, and a processor cannot pass on a word of which it has stored two pieces before they are in its cache.
#[derive(Debug)]
#[repr(u64)]
pub(crate) enum Job {
    /// Entries of a submission queue arrive.
    Fetched {
        /// The queue.
        sqid: u16,
        /// The entries.
        entries: Vec<SubmissionEntry>,
    },
    /// Entries of a submission queue that were fetched are still to be carried out.
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
            Self::Fetched { sqid, .. }
            | Self::Decode { sqid, .. }
            | Self::Complete { sqid, .. } => *sqid == queue,
            Self::Transfer(io) => io.sqid == queue,
            Self::Interrupt { .. } | Self::KeepAlive => false,
        }
    }
}

/// All of them. The fabric's event queue is what keeps their order: each has a timer, or follows another
/// that waits for the same instant.
#[derive(Debug)]
pub(crate) struct Jobs {
    slots: Vec<Slot>,
    /// The first free slot; beyond the last if there is none.
    free: u32,
    made: u64,
    /// The last that was made, as long as it waits.
    last: u32,
}

#[derive(Debug)]
enum Slot {
    Waits {
        at: Instant,
        made: u64,
        /// None if it was taken out; its timer comes all the same.
        job: Option<Job>,
        /// The one that follows at the same instant.
        next: u32,
    },
    /// Which slot is the next free one.
    Free(u32),
}

/// No slot.
const NONE: u32 = u32::MAX;
/// The timers of jobs have their slots' numbers, from here on.
const FIRST_TIMER: u32 = 16;

impl Jobs {
    pub(crate) fn new() -> Self {
        Self { slots: Vec::new(), free: 0, made: 0, last: NONE }
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::new();
    }

    /// Lets a job wait; returns the timer that must be set for its instant, if it follows no other.
    ///
    /// The job is made in its slot, field by field. Made elsewhere and moved, it would be stored in parts and
    /// loaded whole, for which a processor waits until all that it stored before, a block of data too, has
    /// left its store buffer.
    #[inline(always)]
    #[must_use]
    pub(crate) fn push(&mut self, at: Instant, job: impl FnOnce() -> Job) -> Option<TimerId> {
        self.made += 1;
        let slot = self.free;
        if slot as usize >= self.slots.len() {
            self.grow();
        }
        if let Some(place) = self.slots.get_mut(slot as usize) {
            let waits = Slot::Waits { at, made: self.made, job: Some(job()), next: NONE };
            if let Slot::Free(next) = std::mem::replace(place, waits) {
                self.free = next;
            }
        }
        let before = std::mem::replace(&mut self.last, slot);
        match self.slots.get_mut(before as usize) {
            Some(Slot::Waits { at: same, next, .. }) if *same == at => {
                *next = slot;
                None
            }
            _ => Some(Self::timer(slot)),
        }
    }

    /// Adds a free slot beyond the last.
    #[cold]
    fn grow(&mut self) {
        // No controller has so many outstanding commands.
        let beyond = u32::try_from(self.slots.len() + 1).unwrap_or(NONE);
        self.slots.push(Slot::Free(beyond));
    }

    /// The timer of a slot.
    #[inline]
    pub(crate) fn timer(slot: u32) -> TimerId {
        TimerId(slot.saturating_add(FIRST_TIMER))
    }

    /// The slot of the job whose timer came. What was set for slots that were cleared since does not count
    /// before the job that is there now is due.
    #[inline]
    pub(crate) fn due(&self, timer: TimerId, now: Instant) -> Option<u32> {
        let slot = timer.0.checked_sub(FIRST_TIMER)?;
        match self.slots.get(slot as usize)? {
            Slot::Waits { at, .. } if *at <= now => Some(slot),
            _ => None,
        }
    }

    /// Empties a slot: the job, if it was not taken out before, and the slot that follows.
    #[inline]
    pub(crate) fn take(&mut self, slot: u32) -> (Option<Job>, Option<u32>) {
        let Some(place) = self.slots.get_mut(slot as usize) else { return (None, None) };
        let Slot::Waits { job, next, .. } = place else { return (None, None) };
        let (job, next) = (job.take(), *next);
        *place = Slot::Free(self.free);
        self.free = slot;
        if self.last == slot {
            self.last = NONE;
        }
        (job, (next != NONE).then_some(next))
    }

    /// Takes out everything for which `is_meant` says so, in the order of its time.
    fn take_all(&mut self, is_meant: impl Fn(&Job) -> bool) -> Vec<Job> {
        let mut found: Vec<(Instant, u64, Job)> = Vec::new();
        for place in &mut self.slots {
            if let Slot::Waits { at, made, job, .. } = place
                && let Some(job) = job.take_if(|job| is_meant(job))
            {
                found.push((*at, *made, job));
            }
        }
        found.sort_by_key(|(at, made, _)| (*at, *made));
        found.into_iter().map(|(.., job)| job).collect()
    }

    /// Takes out everything that belongs to a submission queue, in the order of its time.
    pub(crate) fn take_queue(&mut self, queue: u16) -> Vec<Job> {
        self.take_all(|job| job.is_of(queue))
    }

    /// Takes out a command whose data have not moved yet.
    pub(crate) fn take_command(&mut self, queue: u16, cid: u16) -> bool {
        let waits =
            |job: &Job| matches!(job, Job::Transfer(io) if io.sqid == queue && io.cid == cid);
        !self.take_all(waits).is_empty()
    }
}
