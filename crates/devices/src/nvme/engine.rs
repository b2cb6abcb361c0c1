//! The controller at work: fetch, carry out, complete.

use p2pdma_fabric::TimerId;
use p2pdma_pci::{Duration, Instant};
use p2pdma_spec::nvme::admin::{
    AsyncErrorInfo, AsyncEventResult, AsyncEventType, AsyncNoticeInfo, QueuePriority,
};
use p2pdma_spec::nvme::log::LogPageId;
use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::queue::{
    ADMIN_QID, COMPLETION_ENTRY_SIZE, CompletionEntry, Fuse, SUBMISSION_ENTRY_SIZE, SubmissionEntry,
};
use p2pdma_spec::nvme::registers::{Arbitration as Mechanism, Cc, CommandSetSelection};
use p2pdma_spec::nvme::status::{CompletionStatus, Status};
use zerocopy::IntoBytes as _;

use super::arbitration::Arbiter;
use super::config::ControllerConfig;
use super::event::{ErrorLog, Events};
use super::feature::Features;
use super::jobs::{Job, Jobs};
use super::nvm::{self, Env, Io, Limits, Scratch};
use super::queue::{CompletionQueue, Queues, SubmissionQueue};
use super::reply::{CommandResult, Failure, is_final};
use super::shadow::ShadowDoorbells;

/// Entries that are fetched in one read, and completions that are posted in one write, at most. Small
/// enough that completions are copied in ascending order, the phase tag of each after its other bytes.
const BATCH: u32 = 32;
/// Commands that one call carries out, roughly; then others have a turn.
const COMMANDS_PER_CALL: u32 = 256;
/// Blocks that one call moves, roughly.
const BLOCKS_PER_CALL: u64 = 1 << 16;

/// The timer for jobs.
pub(crate) const JOBS: TimerId = TimerId(0);
/// The timer for going on with what one call did not finish.
const AGAIN: TimerId = TimerId(1);

/// Whether commands are carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Activity {
    /// Not enabled, or shut down.
    Stopped,
    Running,
    /// A queue could not be reached (CSTS.CFS).
    Fatal,
}

/// Everything but registers and memories of its own.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) activity: Activity,
    pub(crate) queues: Queues,
    pub(crate) arbiter: Arbiter,
    pub(crate) jobs: Jobs,
    pub(crate) events: Events,
    pub(crate) errors: ErrorLog,
    pub(crate) features: Features,
    pub(crate) limits: Limits,
    pub(crate) shadow: Option<ShadowDoorbells>,
    pub(crate) max_queue_entries: u32,
    pub(crate) vectors: u16,
    pub(crate) doorbell_stride: u8,
    pub(crate) identity: Identity,
    pub(crate) entry_sizes_set: bool,
    /// When the controller becomes ready, if it is not yet.
    pub(crate) ready_at: Option<Instant>,
    /// Whether I/O commands are carried out at all (CC.CSS).
    io_commands: bool,
    max_outstanding: u32,
    /// Commands that were fetched and not completed, waiting event requests left out.
    outstanding: u32,
    /// Submission queues that wait for fewer outstanding commands.
    stalled: Vec<u16>,
    io: Io,
    scratch: Scratch,
    entries: Vec<SubmissionEntry>,
    outbox: Outbox,
    /// Whether the timer for going on is set.
    again: bool,
    /// Blocks that the present call has moved.
    blocks: u64,
}

/// What Identify shows of the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Identity {
    pub(crate) vendor: u16,
    pub(crate) subsystem_vendor: u16,
    pub(crate) mdts: u8,
}

/// Completions of one submission queue on their way.
#[derive(Debug)]
struct Outbox {
    sqid: u16,
    cqid: u16,
    sqhd: u16,
    /// The next slot of the completion queue, and its phase tag.
    slot: u32,
    phase: bool,
    size: u32,
    entries: Vec<CompletionEntry>,
}

impl Engine {
    pub(crate) fn new(controller: u16, config: &ControllerConfig) -> Self {
        let features = Features::new(config);
        let limits = Limits {
            controller,
            page: 4096,
            max_transfer: match config.mdts {
                0 => u32::MAX,
                mdts => 4096 << mdts,
            },
            copy_between_namespaces: false,
        };
        let outbox = Outbox {
            sqid: 0,
            cqid: 0,
            sqhd: 0,
            slot: 0,
            phase: false,
            size: 0,
            entries: Vec::with_capacity(BATCH as usize),
        };
        Self {
            activity: Activity::Stopped,
            queues: Queues::new(config.max_io_queues),
            arbiter: Arbiter::new(features.arbitration()),
            jobs: Jobs::new(),
            events: Events::default(),
            errors: ErrorLog::default(),
            features,
            limits,
            shadow: None,
            max_queue_entries: config.max_queue_entries,
            vectors: config.vectors,
            doorbell_stride: config.doorbell_stride,
            identity: Identity {
                vendor: config.vendor,
                subsystem_vendor: config.subsystem_vendor,
                mdts: config.mdts,
            },
            entry_sizes_set: false,
            ready_at: None,
            io_commands: false,
            max_outstanding: config.max_outstanding,
            outstanding: 0,
            stalled: Vec::new(),
            io: Io::default(),
            scratch: Scratch::new(),
            entries: vec![SubmissionEntry::default(); BATCH as usize],
            outbox,
            again: false,
            blocks: 0,
        }
    }

    /// Forgets everything that a Controller Level Reset ends: queues, commands, features that were not
    /// saved. What was on its way goes nowhere.
    pub(crate) fn reset(&mut self) {
        self.activity = Activity::Stopped;
        self.queues.clear();
        self.jobs.clear();
        self.events = Events::default();
        self.features.reset();
        self.arbiter = Arbiter::new(self.features.arbitration());
        self.limits.copy_between_namespaces = false;
        self.shadow = None;
        self.ready_at = None;
        self.outstanding = 0;
        self.stalled.clear();
        self.outbox.entries.clear();
        self.again = false;
    }

    /// Power was lost: what only a Controller Level Reset leaves is gone too.
    pub(crate) fn power_cut(&mut self) {
        self.errors = ErrorLog::default();
    }

    /// Begins to work with the admin queues; entries in `sizes`.
    pub(crate) fn start(&mut self, cc: Cc, asq: u64, acq: u64, sizes: (u32, u32), now: Instant) {
        self.features.start(now);
        self.limits.page = cc.page_size();
        self.io_commands = cc.css() != CommandSetSelection::ADMIN_ONLY;
        let weighted = cc.ams() == Mechanism::WEIGHTED_ROUND_ROBIN;
        self.arbiter.reset(weighted, self.features.arbitration());
        self.queues.insert_completion(ADMIN_QID, CompletionQueue::new(acq, sizes.1, Some(0)));
        let queue = SubmissionQueue::new(asq, sizes.0, ADMIN_QID, QueuePriority::URGENT);
        self.queues.insert_submission(ADMIN_QID, queue);
        self.activity = Activity::Running;
    }

    /// The host rang a tail doorbell.
    #[inline]
    pub(crate) fn ring_tail(&mut self, env: &mut Env<'_, '_>, id: u16, tail: u32) {
        let shadow = self.shadow.filter(|shadow| id != ADMIN_QID && shadow.covers(id));
        let Some(queue) = self.queues.submission(id) else {
            return self.refuse_doorbell(AsyncErrorInfo::INVALID_DOORBELL_REGISTER);
        };
        let moved = match shadow {
            // What counts is the buffer, which is never older than the doorbell.
            Some(_) => true,
            None => match queue.set_tail(tail) {
                Ok(()) => true,
                Err(info) => {
                    self.refuse_doorbell(info);
                    false
                }
            },
        };
        if moved {
            if shadow.is_some() {
                self.look_at_tail(env, id);
            }
            self.enqueue(id);
        }
    }

    /// The host rang a head doorbell.
    #[inline]
    pub(crate) fn ring_head(&mut self, env: &mut Env<'_, '_>, id: u16, head: u32) {
        let shadow = self.shadow.filter(|shadow| id != ADMIN_QID && shadow.covers(id));
        let Some(queue) = self.queues.completion(id) else {
            return self.refuse_doorbell(AsyncErrorInfo::INVALID_DOORBELL_REGISTER);
        };
        if shadow.is_some() {
            self.look_at_head(env, id);
        } else if let Err(info) = queue.set_head(head) {
            return self.refuse_doorbell(info);
        }
        self.feed(id);
    }

    /// Queues that waited for room in a completion queue may go on.
    fn feed(&mut self, cqid: u16) {
        let Some(queue) = self.queues.completion(cqid) else { return };
        if queue.room == 0 || queue.starved.is_empty() {
            return;
        }
        for id in std::mem::take(&mut queue.starved) {
            self.unpark(id);
        }
    }

    #[cold]
    pub(crate) fn refuse_doorbell(&mut self, info: AsyncErrorInfo) {
        self.errors.other(Status::INVALID_FIELD);
        self.events.raise_error(info);
    }

    /// Gives a submission queue with commands its place among those that wait, if it has none.
    #[inline]
    fn enqueue(&mut self, id: u16) {
        if let Some(queue) = self.queues.submission(id)
            && !queue.waiting
        {
            queue.waiting = true;
            let priority = queue.priority;
            self.arbiter.push(id, priority);
        }
    }

    /// A queue that waited elsewhere waits for its turn again.
    fn unpark(&mut self, id: u16) {
        if let Some(queue) = self.queues.submission(id) {
            let priority = queue.priority;
            self.arbiter.push(id, priority);
        }
    }

    fn look_at_tail(&mut self, env: &mut Env<'_, '_>, id: u16) {
        let (Some(shadow), Some(queue)) = (self.shadow, self.queues.submission(id)) else { return };
        match shadow.tail(&mut env.dma, id, queue.tail) {
            // A value that has not moved is no mistake here.
            Ok(Some(tail)) if tail != queue.tail => {
                if let Err(info) = queue.set_tail(tail) {
                    self.refuse_doorbell(info);
                }
            }
            Ok(_) => {}
            Err(_) => self.activity = Activity::Fatal,
        }
    }

    fn look_at_head(&mut self, env: &mut Env<'_, '_>, id: u16) {
        let (Some(shadow), Some(queue)) = (self.shadow, self.queues.completion(id)) else { return };
        match shadow.head(&mut env.dma, id, queue.head()) {
            Ok(Some(head)) if head != queue.head() => {
                if let Err(info) = queue.set_head(head) {
                    self.refuse_doorbell(info);
                }
            }
            Ok(_) => {}
            Err(_) => self.activity = Activity::Fatal,
        }
    }

    /// Carries out what waits, up to a limit.
    pub(crate) fn run(&mut self, env: &mut Env<'_, '_>) {
        if self.outstanding < self.max_outstanding && !self.stalled.is_empty() {
            for id in std::mem::take(&mut self.stalled) {
                self.unpark(id);
            }
        }
        let mut budget = COMMANDS_PER_CALL;
        while budget > 0 && self.blocks <= BLOCKS_PER_CALL && self.activity == Activity::Running {
            let Some((id, most)) = self.arbiter.next() else { break };
            budget = budget.saturating_sub(self.serve(env, id, most).max(1));
        }
        self.hear_news(env);
        if self.events.is_due() {
            self.report_events(env);
        }
        self.blocks = 0;
        self.rest(env);
    }

    /// Asks to be woken for what is left.
    #[inline]
    fn rest(&mut self, env: &mut Env<'_, '_>) {
        if self.activity != Activity::Running {
            return;
        }
        if !self.arbiter.is_idle() && !self.again {
            self.again = true;
            env.dma.wake_at(env.dma.now(), AGAIN);
        }
        if let Some(at) = self.jobs.arm() {
            env.dma.wake_at(at, JOBS);
        }
    }

    /// A timer came.
    pub(crate) fn wake(&mut self, env: &mut Env<'_, '_>, timer: TimerId) {
        if timer == AGAIN {
            self.again = false;
        } else {
            let now = env.dma.now();
            self.jobs.woken(now);
            while self.activity == Activity::Running
                && self.blocks <= BLOCKS_PER_CALL
                && let Some(job) = self.jobs.take_due(now)
            {
                self.do_job(env, job);
            }
            self.post(env);
        }
        self.run(env);
    }

    fn do_job(&mut self, env: &mut Env<'_, '_>, job: Job) {
        match job {
            Job::Decode { sqid, entries } => self.execute(env, sqid, &entries),
            Job::Transfer(mut io) => {
                env.dma.restart();
                let (result, done) = nvm::transfer(&mut io, &self.limits, &mut self.scratch, env);
                if let Err(failure) = &result {
                    self.errors.io(&io, failure.status);
                }
                self.blocks += io.blocks();
                self.finish(env, io.sqid, io.cid, result, done);
            }
            Job::Complete { sqid, cid, result } => self.complete(env, sqid, cid, result),
            Job::Interrupt { vector } => self.features.expire(vector, &mut env.dma),
            Job::KeepAlive => self.check_keep_alive(env),
        }
    }

    /// Lets a queue fetch up to `most` commands, and carries them out; returns how many.
    fn serve(&mut self, env: &mut Env<'_, '_>, id: u16, most: u32) -> u32 {
        let free = self.max_outstanding - self.outstanding;
        let Some((queue, completions)) = self.queues.pair(id) else { return 0 };
        let waits = queue.pending();
        let room = completions.room;
        let fetched = most.min(BATCH).min(queue.contiguous()).min(room).min(free);
        if fetched == 0 {
            self.park(env, id, waits, room);
            return 0;
        }
        let at = queue.base + u64::from(queue.head) * SUBMISSION_ENTRY_SIZE as u64;
        queue.advance(fetched);
        completions.room -= fetched;
        self.outstanding += fetched;
        let priority = queue.priority;
        let more = waits > fetched;
        queue.waiting = more;
        if more {
            self.arbiter.push(id, priority);
        }
        self.arbiter.charge(id, priority, fetched);
        self.fetch(env, id, at, fetched as usize);
        if !more && self.shadow.is_some() && id != ADMIN_QID {
            self.look_again(env, id);
        }
        fetched
    }

    fn fetch(&mut self, env: &mut Env<'_, '_>, id: u16, at: u64, count: usize) {
        let mut entries = std::mem::take(&mut self.entries);
        env.dma.restart();
        if env.dma.read_control(at, entries[..count].as_mut_bytes()).is_err() {
            self.activity = Activity::Fatal;
        } else if env.dma.done() > env.dma.now() {
            let entries = entries[..count].to_vec();
            self.jobs.push(env.dma.done(), Job::Decode { sqid: id, entries });
        } else {
            self.execute(env, id, &entries[..count]);
            self.post(env);
        }
        self.entries = entries;
    }

    /// With doorbells in memory, a queue that seems empty may not be.
    fn look_again(&mut self, env: &mut Env<'_, '_>, id: u16) {
        self.look_at_tail(env, id);
        if self.queues.submission(id).is_some_and(|queue| queue.pending() > 0) {
            self.enqueue(id);
        }
    }

    /// A queue has nothing to fetch, or may not.
    #[cold]
    fn park(&mut self, env: &mut Env<'_, '_>, id: u16, waits: u32, room: u32) {
        let Some(queue) = self.queues.submission(id) else { return };
        if waits == 0 {
            queue.waiting = false;
            return;
        }
        let cqid = queue.cqid;
        if room > 0 {
            self.stalled.push(id);
            return;
        }
        if let Some(completions) = self.queues.completion(cqid) {
            completions.starved.push(id);
        }
        if self.shadow.is_some_and(|shadow| cqid != ADMIN_QID && shadow.covers(cqid)) {
            self.look_at_head(env, cqid);
            self.feed(cqid);
        }
    }

    /// Carries out commands in the order of their queue.
    fn execute(&mut self, env: &mut Env<'_, '_>, sqid: u16, entries: &[SubmissionEntry]) {
        let mut rest = entries;
        while let [entry, later @ ..] = rest {
            rest = later;
            let fused = entry.cdw0.get().fuse() != Fuse::NORMAL;
            if sqid == ADMIN_QID {
                self.admin_command(env, entry);
            } else if fused || self.holds_fused(sqid) {
                rest = self.fused(env, sqid, entry, rest);
            } else {
                self.io_command(env, sqid, entry);
            }
            self.blocks += self.io.blocks();
            if self.activity != Activity::Running {
                return;
            }
            if self.blocks > BLOCKS_PER_CALL && !rest.is_empty() {
                let entries = rest.to_vec();
                self.jobs.push(env.dma.now(), Job::Decode { sqid, entries });
                return;
            }
        }
    }

    #[inline]
    fn holds_fused(&mut self, sqid: u16) -> bool {
        self.queues.submission(sqid).is_some_and(|queue| queue.fused.is_some())
    }

    #[inline]
    fn io_command(&mut self, env: &mut Env<'_, '_>, sqid: u16, entry: &SubmissionEntry) {
        env.dma.restart();
        let (result, done) = match self.begin(env, sqid, entry) {
            Ok(at) if at > env.dma.now() => {
                let io = Box::new(std::mem::take(&mut self.io));
                return self.jobs.push(at, Job::Transfer(io));
            }
            Ok(_) => nvm::transfer(&mut self.io, &self.limits, &mut self.scratch, env),
            Err(failure) => (Err(failure), env.dma.done()),
        };
        if let Err(failure) = &result {
            self.errors.command(sqid, entry, failure.status);
        }
        self.finish(env, sqid, entry.cid(), result, done);
    }

    #[inline]
    fn begin(
        &mut self,
        env: &mut Env<'_, '_>,
        sqid: u16,
        entry: &SubmissionEntry,
    ) -> Result<Instant, Failure> {
        if !self.io_commands {
            return Err(Status::INVALID_OPCODE.into());
        }
        nvm::begin(&mut self.io, &self.limits, env, sqid, entry)
    }

    /// The two commands of a fused operation, which follow each other (NVMe Base 2.1 §3.4.2). Returns
    /// what is left of the batch.
    fn fused<'e>(
        &mut self,
        env: &mut Env<'_, '_>,
        sqid: u16,
        entry: &SubmissionEntry,
        rest: &'e [SubmissionEntry],
    ) -> &'e [SubmissionEntry] {
        let Some(queue) = self.queues.submission(sqid) else { return rest };
        let held = queue.fused.take();
        let fuse = entry.cdw0.get().fuse();
        match (held, fuse) {
            (Some(first), Fuse::SECOND) => {
                self.compare_and_write(env, sqid, &first, entry);
                return rest;
            }
            (Some(first), _) => self.abort_fused(env, sqid, &first),
            (None, _) => {}
        }
        match (fuse, rest) {
            (Fuse::FIRST, [second, later @ ..]) if second.cdw0.get().fuse() == Fuse::SECOND => {
                self.compare_and_write(env, sqid, entry, second);
                return later;
            }
            (Fuse::FIRST, []) if self.can_hold(sqid) => {
                if let Some(queue) = self.queues.submission(sqid) {
                    queue.fused = Some(*entry);
                }
            }
            (Fuse::NORMAL, _) => self.io_command(env, sqid, entry),
            (Fuse::FIRST | Fuse::SECOND, _) => self.abort_fused(env, sqid, entry),
            _ => self.refuse(env, sqid, entry, Status::INVALID_FIELD),
        }
        rest
    }

    /// Whether the entry that follows in the queue is there, and will find room.
    fn can_hold(&mut self, sqid: u16) -> bool {
        self.queues
            .pair(sqid)
            .is_some_and(|(queue, completions)| queue.pending() > 0 && completions.size > 2)
    }

    fn abort_fused(&mut self, env: &mut Env<'_, '_>, sqid: u16, entry: &SubmissionEntry) {
        self.refuse(env, sqid, entry, Status::ABORTED_MISSING_FUSED);
    }

    fn refuse(
        &mut self,
        env: &mut Env<'_, '_>,
        sqid: u16,
        entry: &SubmissionEntry,
        status: Status,
    ) {
        self.errors.command(sqid, entry, status);
        self.complete(env, sqid, entry.cid(), Err(status.into()));
    }

    /// The one fused operation that there is (NVM Command Set 1.1 §3.2.1).
    fn compare_and_write(
        &mut self,
        env: &mut Env<'_, '_>,
        sqid: u16,
        first: &SubmissionEntry,
        second: &SubmissionEntry,
    ) {
        let kinds = [first, second].map(|entry| NvmOpcode::from_bits(entry.opcode()));
        let range =
            |entry: &SubmissionEntry| (entry.nsid, entry.cdw10_11(), entry.cdw12.get() & 0xFFFF);
        let fits = kinds == [NvmOpcode::COMPARE, NvmOpcode::WRITE] && range(first) == range(second);
        if !fits {
            self.refuse(env, sqid, first, Status::INVALID_FIELD);
            return self.refuse(env, sqid, second, Status::ABORTED_FAILED_FUSED);
        }
        let mut at = env.dma.now();
        for (entry, other) in [(first, Some(second)), (second, None)] {
            env.dma.restart();
            // Both at once, so that nothing comes between them; the times follow each other.
            let result = match self.begin(env, sqid, entry) {
                Err(failure) => Err(failure),
                Ok(_) => {
                    let (result, done) =
                        nvm::transfer(&mut self.io, &self.limits, &mut self.scratch, env);
                    at += done.since(env.dma.now());
                    result
                }
            };
            let failed = result.is_err();
            if let Err(failure) = &result {
                self.errors.command(sqid, entry, failure.status);
            }
            self.finish(env, sqid, entry.cid(), result, at);
            if failed {
                if let Some(other) = other {
                    self.refuse(env, sqid, other, Status::ABORTED_FAILED_FUSED);
                }
                return;
            }
        }
    }

    /// A command is done, now or later.
    #[inline]
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
            self.jobs.push(at, Job::Complete { sqid, cid, result });
        }
    }

    /// Puts a completion where the next write takes it along.
    #[inline]
    pub(crate) fn complete(
        &mut self,
        env: &mut Env<'_, '_>,
        sqid: u16,
        cid: u16,
        result: CommandResult,
    ) {
        let full = self.outbox.entries.len() >= BATCH as usize;
        if (self.outbox.entries.is_empty() || self.outbox.sqid != sqid || full)
            && !self.address(env, sqid)
        {
            return;
        }
        self.outstanding = self.outstanding.saturating_sub(1);
        let outbox = &mut self.outbox;
        let status = CompletionStatus::new().with_phase(outbox.phase);
        let (status, [a, b, c, d, e, f, g, h]) = match result {
            Ok(value) => (status, value.to_le_bytes()),
            Err(Failure { status: code, dword }) => {
                let final_ = is_final(code);
                let status = status.with_status(code).with_m(true).with_dnr(final_);
                (status, u64::from(dword).to_le_bytes())
            }
        };
        outbox.entries.push(CompletionEntry {
            dw0: [a, b, c, d].into(),
            dw1: [e, f, g, h].into(),
            sqhd: outbox.sqhd.into(),
            sqid: sqid.into(),
            cid: cid.into(),
            status: status.into(),
        });
        outbox.slot += 1;
        if outbox.slot == outbox.size {
            outbox.slot = 0;
            outbox.phase = !outbox.phase;
        }
    }

    /// Sends off what is in the outbox, and makes it one for another queue.
    fn address(&mut self, env: &mut Env<'_, '_>, sqid: u16) -> bool {
        self.post(env);
        let Some((queue, completions)) = self.queues.pair(sqid) else { return false };
        let [a, b, ..] = queue.head.to_le_bytes();
        let outbox = &mut self.outbox;
        (outbox.sqid, outbox.cqid, outbox.sqhd) = (sqid, queue.cqid, u16::from_le_bytes([a, b]));
        (outbox.slot, outbox.phase) = (completions.tail, completions.phase);
        outbox.size = completions.size;
        true
    }

    /// Writes the completions that wait, in as few writes as the ring allows, and interrupts the host.
    #[inline]
    pub(crate) fn post(&mut self, env: &mut Env<'_, '_>) {
        if self.outbox.entries.is_empty() {
            return;
        }
        let cqid = self.outbox.cqid;
        let Some(queue) = self.queues.completion(cqid) else {
            return self.outbox.entries.clear();
        };
        let mut rest = &self.outbox.entries[..];
        while !rest.is_empty() {
            let run = rest.len().min(queue.contiguous() as usize);
            let (now, later) = rest.split_at(run);
            let at = queue.base + u64::from(queue.tail) * COMPLETION_ENTRY_SIZE as u64;
            if env.dma.write_control(at, now.as_bytes()).is_err() {
                self.activity = Activity::Fatal;
                break;
            }
            // At most a batch.
            queue.advance(u32::try_from(run).unwrap_or(BATCH));
            rest = later;
        }
        let (vector, count) = (queue.vector, self.outbox.entries.len());
        self.outbox.entries.clear();
        if let Some(vector) = vector {
            self.interrupt(env, cqid, vector, count);
        }
    }

    #[inline]
    fn interrupt(&mut self, env: &mut Env<'_, '_>, cqid: u16, vector: u16, count: usize) {
        if cqid == ADMIN_QID || !self.features.coalesces() {
            return env.dma.raise(vector);
        }
        let later = self.features.hold_back(vector, count, &mut env.dma);
        if let Some(delay) = later {
            self.jobs.push(env.dma.now() + delay, Job::Interrupt { vector });
        }
    }

    /// Answers event requests, as long as the admin completion queue has room.
    fn report_events(&mut self, env: &mut Env<'_, '_>) {
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
        self.outstanding = self.outstanding.saturating_sub(1);
        if let Some((queue, completions)) = self.queues.pair(sqid) {
            completions.room += 1;
            let cqid = queue.cqid;
            self.feed(cqid);
        }
    }

    /// The opposite: there is room, as the caller has found.
    pub(crate) fn unshelve(&mut self) {
        self.outstanding += 1;
        if let Some(queue) = self.queues.completion(ADMIN_QID) {
            queue.room -= 1;
        }
    }

    /// Doorbells in memory begin with what the registers say.
    pub(crate) fn adopt_shadow(&mut self, env: &mut Env<'_, '_>, id: u16) {
        let Some(shadow) = self.shadow else { return };
        let Some((queue, completions)) = self.queues.pair(id) else { return };
        let (tail, head, cqid) = (queue.tail, completions.head(), queue.cqid);
        if shadow.begin(&mut env.dma, id, tail, cqid, head).is_err() {
            self.activity = Activity::Fatal;
        }
    }

    /// Other controllers may have changed what this one's host should know of.
    fn hear_news(&mut self, env: &mut Env<'_, '_>) {
        let notes = env.subsystem.controllers.get_mut(usize::from(self.limits.controller));
        let news = notes.is_some_and(|notes| std::mem::take(&mut notes.news));
        if news && self.features.async_events().nan() {
            self.events.raise(
                AsyncEventResult::new()
                    .with_event_type(AsyncEventType::NOTICE)
                    .with_info(AsyncNoticeInfo::ATTACHED_NAMESPACE_CHANGED.into_bits())
                    .with_lid(LogPageId::CHANGED_ATTACHED_NAMESPACES),
            );
        }
    }

    /// Ends every command of a submission queue that is being deleted (NVMe Base 2.1 §3.3.1.3).
    pub(crate) fn abort_queue(&mut self, env: &mut Env<'_, '_>, sqid: u16) {
        let aborted = Status::ABORTED_SQ_DELETION;
        for job in self.jobs.take_queue(sqid) {
            match job {
                Job::Decode { entries, .. } => {
                    for entry in entries {
                        self.complete(env, sqid, entry.cid(), Err(aborted.into()));
                    }
                }
                Job::Transfer(io) => self.complete(env, sqid, io.cid, Err(aborted.into())),
                Job::Complete { cid, result, .. } => self.complete(env, sqid, cid, result),
                Job::Interrupt { .. } | Job::KeepAlive => {}
            }
        }
        let held = self.queues.submission(sqid).and_then(|queue| queue.fused.take());
        if let Some(entry) = held {
            self.complete(env, sqid, entry.cid(), Err(aborted.into()));
        }
        self.post(env);
        self.arbiter.remove(sqid);
        self.stalled.retain(|&stalled| stalled != sqid);
    }

    /// The host sent no Keep Alive in time: the controller stops (NVMe Base 2.1 §3.9).
    fn check_keep_alive(&mut self, env: &mut Env<'_, '_>) {
        match self.features.keep_alive_left(env.dma.now()) {
            Some(Duration::ZERO) => {
                self.errors.other(Status::KEEP_ALIVE_EXPIRED);
                self.activity = Activity::Fatal;
            }
            Some(left) => self.jobs.push(env.dma.now() + left, Job::KeepAlive),
            None => self.features.keep_alive_watched = false,
        }
    }
}
