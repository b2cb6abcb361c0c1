//! Submission and completion queues as the controller sees them (NVMe Base 2.1 §3.3).

use p2pdma_spec::nvme::admin::{AsyncErrorInfo, QueuePriority};
use p2pdma_spec::nvme::queue::SubmissionEntry;

/// The commands' way in.
#[derive(Debug)]
pub(crate) struct SubmissionQueue {
    pub(crate) base: u64,
    /// Entries.
    pub(crate) size: u32,
    /// The next entry to fetch.
    pub(crate) head: u32,
    /// One past the last entry that the host has written.
    pub(crate) tail: u32,
    pub(crate) cqid: u16,
    pub(crate) priority: QueuePriority,
    /// Whether it waits for its turn, or for room in its completion queue.
    pub(crate) waiting: bool,
    /// Whether entries are on their way. The next are asked for when they have come: a controller has not
    /// any number of reads of one queue under way.
    pub(crate) fetching: bool,
    /// The first command of a fused operation whose second is still to be fetched.
    pub(crate) fused: Option<SubmissionEntry>,
}

impl SubmissionQueue {
    pub(crate) fn new(base: u64, size: u32, cqid: u16, priority: QueuePriority) -> Self {
        let (waiting, fetching) = (false, false);
        Self { base, size, head: 0, tail: 0, cqid, priority, waiting, fetching, fused: None }
    }

    /// How many entries are to be fetched.
    #[inline]
    pub(crate) fn pending(&self) -> u32 {
        distance(self.head, self.tail, self.size)
    }

    /// How many of them lie in one run.
    #[inline]
    pub(crate) fn contiguous(&self) -> u32 {
        if self.tail >= self.head { self.tail - self.head } else { self.size - self.head }
    }

    /// `count` entries were fetched.
    #[inline]
    pub(crate) fn advance(&mut self, count: u32) {
        self.head = add(self.head, count, self.size);
    }

    /// A new tail; refused if the doorbell cannot mean it (NVMe Base 2.1 §3.3.1.2.1, §5.1.2.1).
    #[inline]
    pub(crate) fn set_tail(&mut self, tail: u32) -> Result<(), AsyncErrorInfo> {
        if tail >= self.size || tail == self.tail {
            return Err(AsyncErrorInfo::INVALID_DOORBELL_VALUE);
        }
        let added = distance(self.tail, tail, self.size);
        if added > self.size - 1 - self.pending() {
            return Err(AsyncErrorInfo::INVALID_DOORBELL_VALUE);
        }
        self.tail = tail;
        Ok(())
    }
}

/// The completions' way out.
#[derive(Debug)]
pub(crate) struct CompletionQueue {
    pub(crate) base: u64,
    /// Entries.
    pub(crate) size: u32,
    /// The next entry that the host will look at.
    head: u32,
    /// The next entry to write.
    pub(crate) tail: u32,
    /// What the phase tag of the next entry is.
    pub(crate) phase: bool,
    /// Entries that are neither full nor promised to a command that was fetched. A command is only
    /// fetched if there is room for its completion, so that nothing is ever overwritten.
    pub(crate) room: u32,
    pub(crate) vector: Option<u16>,
    /// How many submission queues use it.
    pub(crate) users: u32,
    /// Submission queues that wait for room.
    pub(crate) starved: Vec<u16>,
}

impl CompletionQueue {
    pub(crate) fn new(base: u64, size: u32, vector: Option<u16>) -> Self {
        Self {
            base,
            size,
            head: 0,
            tail: 0,
            phase: true,
            room: size - 1,
            vector,
            users: 0,
            starved: Vec::new(),
        }
    }

    /// How many entries lie in one run from the tail on.
    #[inline]
    pub(crate) fn contiguous(&self) -> u32 {
        self.size - self.tail
    }

    /// `count` entries were written, in one run.
    #[inline]
    pub(crate) fn advance(&mut self, count: u32) {
        self.tail = add(self.tail, count, self.size);
        self.phase ^= self.tail == 0;
    }

    /// A new head: the host is done with everything before. Refused if the doorbell cannot mean it.
    #[inline]
    pub(crate) fn set_head(&mut self, head: u32) -> Result<(), AsyncErrorInfo> {
        if head >= self.size || head == self.head {
            return Err(AsyncErrorInfo::INVALID_DOORBELL_VALUE);
        }
        let freed = distance(self.head, head, self.size);
        if freed > distance(self.head, self.tail, self.size) {
            return Err(AsyncErrorInfo::INVALID_DOORBELL_VALUE);
        }
        self.head = head;
        self.room += freed;
        Ok(())
    }

    pub(crate) fn head(&self) -> u32 {
        self.head
    }
}

/// From one index of a ring to another.
#[inline]
fn distance(from: u32, to: u32, size: u32) -> u32 {
    if to >= from { to - from } else { size - from + to }
}

/// An index of a ring, moved on by less than its size, or all of it.
#[inline]
fn add(index: u32, count: u32, size: u32) -> u32 {
    let sum = index + count;
    if sum >= size { sum - size } else { sum }
}

/// All queues, by identifier; 0 is the admin queue's.
#[derive(Debug, Default)]
pub(crate) struct Queues {
    submission: Vec<Option<SubmissionQueue>>,
    completion: Vec<Option<CompletionQueue>>,
}

impl Queues {
    /// Room for admin queues and `io` I/O queues of each kind.
    pub(crate) fn new(io: u16) -> Self {
        let slots = usize::from(io) + 1;
        let mut queues = Self::default();
        queues.submission.resize_with(slots, || None);
        queues.completion.resize_with(slots, || None);
        queues
    }

    pub(crate) fn clear(&mut self) {
        self.submission.fill_with(|| None);
        self.completion.fill_with(|| None);
    }

    /// The largest identifier there can be.
    pub(crate) fn last(&self) -> u16 {
        u16::try_from(self.submission.len() - 1).unwrap_or(u16::MAX)
    }

    #[inline]
    pub(crate) fn submission(&mut self, id: u16) -> Option<&mut SubmissionQueue> {
        self.submission.get_mut(usize::from(id))?.as_mut()
    }

    #[inline]
    pub(crate) fn completion(&mut self, id: u16) -> Option<&mut CompletionQueue> {
        self.completion.get_mut(usize::from(id))?.as_mut()
    }

    /// A submission queue and the completion queue that it uses.
    #[inline]
    pub(crate) fn pair(&mut self, id: u16) -> Option<(&mut SubmissionQueue, &mut CompletionQueue)> {
        let submission = self.submission.get_mut(usize::from(id))?.as_mut()?;
        let completion = self.completion.get_mut(usize::from(submission.cqid))?.as_mut()?;
        Some((submission, completion))
    }

    pub(crate) fn insert_submission(&mut self, id: u16, queue: SubmissionQueue) {
        if let Some(completion) = self.completion(queue.cqid) {
            completion.users += 1;
        }
        if let Some(slot) = self.submission.get_mut(usize::from(id)) {
            *slot = Some(queue);
        }
    }

    pub(crate) fn insert_completion(&mut self, id: u16, queue: CompletionQueue) {
        if let Some(slot) = self.completion.get_mut(usize::from(id)) {
            *slot = Some(queue);
        }
    }

    pub(crate) fn remove_submission(&mut self, id: u16) -> Option<SubmissionQueue> {
        let removed = self.submission.get_mut(usize::from(id))?.take()?;
        if let Some(completion) = self.completion(removed.cqid) {
            completion.users -= 1;
            completion.starved.retain(|&starved| starved != id);
        }
        Some(removed)
    }

    pub(crate) fn remove_completion(&mut self, id: u16) {
        if let Some(slot) = self.completion.get_mut(usize::from(id)) {
            *slot = None;
        }
    }

    /// Whether there is any I/O queue.
    pub(crate) fn any_io(&self) -> bool {
        self.submission.iter().skip(1).any(Option::is_some)
            || self.completion.iter().skip(1).any(Option::is_some)
    }

    /// The I/O submission queues that exist.
    pub(crate) fn io_submission_ids(&self) -> impl Iterator<Item = u16> + '_ {
        let numbered = (0..).zip(&self.submission).skip(1);
        numbered.filter(|(_, queue)| queue.is_some()).map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every queue of 2 to 9 entries, every state, every doorbell value: against counting.
    #[test]
    fn doorbells_exhaustively() {
        let mut cases = 0;
        for size in 2..10 {
            for head in 0..size {
                for tail in 0..size {
                    for value in 0..size + 3 {
                        let mut queue = SubmissionQueue::new(0, size, 0, QueuePriority::URGENT);
                        (queue.head, queue.tail) = (head, tail);
                        let used = (tail + size - head) % size;
                        assert_eq!(queue.pending(), used);
                        let added = (value + size - tail) % size;
                        let valid = value < size && added != 0 && used + added < size;
                        assert_eq!(queue.set_tail(value).is_ok(), valid);
                        assert_eq!(queue.tail, if valid { value } else { tail });
                        assert!(queue.contiguous() <= queue.pending());

                        let mut queue = CompletionQueue::new(0, size, None);
                        (queue.head, queue.tail) = (head, tail);
                        queue.room = size - 1 - used;
                        let freed = (value + size - head) % size;
                        let valid = value < size && freed != 0 && freed <= used;
                        assert_eq!(queue.set_head(value).is_ok(), valid);
                        let expected = size - 1 - used + if valid { freed } else { 0 };
                        assert_eq!(queue.room, expected);
                        cases += 2;
                    }
                }
            }
        }
        println!("doorbell cases: {cases}");
    }
}
