//! Completions on their way to the host.

use p2pdma_pci::Instant;
use p2pdma_spec::nvme::queue::{ADMIN_QID, COMPLETION_ENTRY_SIZE, CompletionEntry};
use p2pdma_spec::nvme::status::CompletionStatus;
use zerocopy::IntoBytes as _;

use super::super::jobs::Job;
use super::super::nvm::Env;
use super::super::reply::{CommandResult, Failure, is_final};
use super::{Activity, BATCH, Engine};

/// Completions of one submission queue, to be written together.
#[derive(Debug)]
pub(super) struct Outbox {
    sqid: u16,
    cqid: u16,
    sqhd: u16,
    /// The phase tag of the entries, which lie in one run of the ring.
    phase: bool,
    /// How many more entries it takes; none while it is nobody's.
    left: u32,
    entries: Vec<CompletionEntry>,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            sqid: 0,
            cqid: 0,
            sqhd: 0,
            phase: false,
            left: 0,
            entries: Vec::with_capacity(BATCH as usize),
        }
    }

    #[inline(always)]
    fn push(&mut self, cid: u16, result: CommandResult) {
        let status = CompletionStatus::new().with_phase(self.phase);
        let (status, value) = match result {
            Ok(value) => (status, value),
            Err(Failure { status: code, dword }) => {
                let status = status.with_status(code).with_m(true).with_dnr(is_final(code));
                (status, u64::from(dword))
            }
        };
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        self.entries.push(CompletionEntry {
            dw0: [a, b, c, d].into(),
            dw1: [e, f, g, h].into(),
            sqhd: self.sqhd.into(),
            sqid: self.sqid.into(),
            cid: cid.into(),
            status: status.into(),
        });
        self.left -= 1;
    }
}

impl Engine {
    /// A command is done, now or later.
    #[inline(always)]
    pub(crate) fn finish(
        &mut self,
        env: &mut Env<'_, '_>,
        sqid: u16,
        cid: u16,
        result: CommandResult,
        at: Instant,
    ) {
        if at <= env.dma.now() {
            self.complete(env, sqid, cid, result);
        } else {
            self.later(env, at, || Job::Complete { sqid, cid, result });
        }
    }

    /// Puts a completion where the next write takes it along.
    #[inline(always)]
    pub(crate) fn complete(
        &mut self,
        env: &mut Env<'_, '_>,
        sqid: u16,
        cid: u16,
        result: CommandResult,
    ) {
        let open = self.outbox.sqid == sqid && self.outbox.left > 0;
        if open || self.address(env, sqid) {
            self.outbox.push(cid, result);
        }
    }

    /// Sends off what is in the outbox, and makes it one for another queue; false if that is gone.
    #[inline(never)]
    fn address(&mut self, env: &mut Env<'_, '_>, sqid: u16) -> bool {
        self.post(env);
        let Some((queue, completions)) = self.queues.pair(sqid) else { return false };
        let [a, b, ..] = queue.head.to_le_bytes();
        let outbox = &mut self.outbox;
        (outbox.sqid, outbox.cqid, outbox.sqhd) = (sqid, queue.cqid, u16::from_le_bytes([a, b]));
        (outbox.phase, outbox.left) = (completions.phase, BATCH.min(completions.contiguous()));
        true
    }

    /// Writes the completions that wait, in one write, and interrupts the host.
    #[inline]
    pub(super) fn post(&mut self, env: &mut Env<'_, '_>) {
        self.outbox.left = 0;
        if !self.outbox.entries.is_empty() {
            self.post_entries(env);
        }
    }

    #[inline(never)]
    fn post_entries(&mut self, env: &mut Env<'_, '_>) {
        let cqid = self.outbox.cqid;
        let Some(queue) = self.queues.completion(cqid) else {
            return self.outbox.entries.clear();
        };
        let at = queue.base + u64::from(queue.tail) * COMPLETION_ENTRY_SIZE as u64;
        if env.dma.write_control(at, self.outbox.entries.as_bytes()).is_err() {
            self.activity = Activity::Fatal;
        }
        // At most a batch.
        let count = u32::try_from(self.outbox.entries.len()).unwrap_or(BATCH);
        queue.advance(count);
        self.outstanding -= count;
        let vector = queue.vector;
        self.outbox.entries.clear();
        if let Some(vector) = vector {
            self.interrupt(env, cqid, vector, count);
        }
    }

    #[inline]
    fn interrupt(&mut self, env: &mut Env<'_, '_>, cqid: u16, vector: u16, count: u32) {
        if cqid == ADMIN_QID || !self.features.coalesces() {
            return env.dma.raise(vector);
        }
        let later = self.features.hold_back(vector, count, &mut env.dma);
        if let Some(delay) = later {
            self.later(env, env.dma.now() + delay, || Job::Interrupt { vector });
        }
    }

    /// Answers event requests, as long as the admin completion queue has room.
    pub(super) fn report_events(&mut self, env: &mut Env<'_, '_>) {
        while self.queues.completion(ADMIN_QID).is_some_and(|queue| queue.room > 0)
            && let Some((cid, event)) = self.events.report()
        {
            self.unshelve();
            self.complete(env, ADMIN_QID, cid, Ok(u64::from(event.into_bits())));
        }
        self.post(env);
    }

    /// A command waits without an end in sight: its completion needs no room for now.
    pub(crate) fn shelve(&mut self, sqid: u16) {
        self.outstanding -= 1;
        if let Some((queue, completions)) = self.queues.pair(sqid) {
            completions.room += 1;
            let cqid = queue.cqid;
            self.feed(cqid);
        }
    }

    /// The opposite, for the admin queue: there is room, as the caller has found.
    pub(crate) fn unshelve(&mut self) {
        self.outstanding += 1;
        if let Some(queue) = self.queues.completion(ADMIN_QID) {
            queue.room -= 1;
        }
    }
}
