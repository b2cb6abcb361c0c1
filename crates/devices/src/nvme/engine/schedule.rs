//! Whose commands are fetched, and when.

use p2pdma_fabric::TimerId;
use p2pdma_pci::{Duration, Instant};
use p2pdma_spec::nvme::admin::{AsyncEventResult, AsyncEventType, AsyncNoticeInfo};
use p2pdma_spec::nvme::log::{CriticalWarning, LogPageId};
use p2pdma_spec::nvme::queue::{ADMIN_QID, SUBMISSION_ENTRY_SIZE, SubmissionEntry};
use p2pdma_spec::nvme::status::Status;
use zerocopy::IntoBytes as _;

use super::super::jobs::{Job, Jobs};
use super::super::nvm::{self, Env, Io};
use super::super::reply::Stop;
use super::{AGAIN, Activity, BATCH, BLOCKS_PER_CALL, COMMANDS_PER_CALL, Engine, NEWS, WARNING};

impl Engine {
    /// Carries out what waits, up to a limit.
    #[inline(never)]
    fn run(&mut self, env: &mut Env<'_, '_>) {
        if !self.stalled.is_empty() && self.outstanding < self.max_outstanding {
            for id in std::mem::take(&mut self.stalled) {
                self.unpark(id);
            }
        }
        if !self.arbiter.is_idle() {
            self.serve_all(env);
        }
        if self.events.is_due() {
            self.report_events(env);
        }
        self.blocks = 0;
        self.rest(env);
    }

    /// Lets every queue that waits have its turns, up to a limit.
    fn serve_all(&mut self, env: &mut Env<'_, '_>) {
        let mut budget = COMMANDS_PER_CALL;
        while budget > 0 && self.blocks <= BLOCKS_PER_CALL && self.activity == Activity::Running {
            let Some((id, most)) = self.arbiter.next() else { break };
            budget = budget.saturating_sub(self.serve(env, id, most).max(1));
        }
    }

    /// Asks to be woken for what is left.
    #[inline]
    pub(super) fn rest(&mut self, env: &mut Env<'_, '_>) {
        if self.activity != Activity::Running {
            return;
        }
        if !self.arbiter.is_idle() && !self.again {
            self.again = true;
            env.dma.wake_at(env.dma.now(), AGAIN);
        }
    }

    /// Lets a job wait for its time.
    #[inline(always)]
    pub(crate) fn later(&mut self, env: &mut Env<'_, '_>, at: Instant, job: impl FnOnce() -> Job) {
        if let Some(timer) = self.jobs.push(at, job) {
            env.dma.wake_at(at, timer);
        }
    }

    /// A timer came, or a bell was rung.
    pub(crate) fn wake(&mut self, env: &mut Env<'_, '_>, timer: TimerId) {
        match timer {
            AGAIN => self.again = false,
            NEWS => self.hear_news(env),
            WARNING => self.warn(env, CriticalWarning::new().with_pmrro(true)),
            _ => self.do_jobs(env, timer),
        }
        self.go_on(env);
    }

    /// Carries out what waits, if anything does.
    #[inline(always)]
    pub(crate) fn go_on(&mut self, env: &mut Env<'_, '_>) {
        if self.is_calm() {
            self.blocks = 0;
        } else {
            self.run(env);
        }
    }

    /// Whether there is nothing to do but what waits for its time.
    #[inline]
    fn is_calm(&self) -> bool {
        self.arbiter.is_idle() && self.stalled.is_empty() && !self.events.is_due()
    }

    /// Does what waited for a timer, up to a limit.
    #[inline]
    fn do_jobs(&mut self, env: &mut Env<'_, '_>, timer: TimerId) {
        let mut due = self.jobs.due(timer, env.dma.now());
        while let Some(slot) = due {
            if self.blocks > BLOCKS_PER_CALL {
                env.dma.wake_at(env.dma.now(), Jobs::timer(slot));
                break;
            }
            let (job, next) = self.jobs.take(slot);
            if let Some(job) = job.filter(|_| self.activity == Activity::Running) {
                self.do_job(env, job);
            }
            due = next;
        }
        self.post(env);
    }

    pub(super) fn do_job(&mut self, env: &mut Env<'_, '_>, job: Job) {
        match job {
            Job::Fetched { sqid, entries } => {
                self.fetch_next(env, sqid);
                self.execute(env, sqid, &entries);
                self.spare.push(entries);
            }
            Job::Decode { sqid, entries } => {
                self.execute(env, sqid, &entries);
                self.spare.push(entries);
            }
            Job::Transfer(io) => self.transfer(env, io),
            Job::Complete { sqid, cid, result } => self.complete(env, sqid, cid, result),
            Job::Interrupt { vector } => self.features.expire(vector, &mut env.dma),
            Job::KeepAlive => self.check_keep_alive(env),
        }
    }

    /// Goes on with a command that waited for its data.
    fn transfer(&mut self, env: &mut Env<'_, '_>, mut io: Box<Io>) {
        env.dma.restart();
        let result = io.resume(&self.limits, &mut self.scratch, env);
        self.blocks += io.blocks();
        let result = match result {
            Ok(value) => Ok(value),
            Err(Stop::Failed(failure)) => {
                self.errors.io(&io, failure.status);
                Err(failure)
            }
            Err(Stop::Unfinished) => return self.later(env, env.dma.now(), || Job::Transfer(io)),
        };
        let done = nvm::done(&io, env);
        self.finish(env, io.sqid, io.cid, result, done);
    }

    /// Lets a queue fetch up to `most` commands, and carries them out; returns how many.
    pub(super) fn serve(&mut self, env: &mut Env<'_, '_>, id: u16, most: u32) -> u32 {
        let free = self.max_outstanding - self.outstanding;
        let Some((queue, completions)) = self.queues.pair(id) else { return 0 };
        if queue.fetching {
            queue.waiting = false;
            return 0;
        }
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

    pub(super) fn fetch(&mut self, env: &mut Env<'_, '_>, id: u16, at: u64, count: usize) {
        let mut entries = self.spare.pop().unwrap_or_default();
        entries.resize(count, SubmissionEntry::default());
        env.dma.restart();
        if env.dma.read_control(at, entries.as_mut_bytes()).is_err() {
            self.activity = Activity::Fatal;
        } else if env.dma.done() > env.dma.now() {
            if let Some(queue) = self.queues.submission(id) {
                queue.fetching = true;
            }
            return self.later(env, env.dma.done(), || Job::Fetched { sqid: id, entries });
        } else {
            self.execute(env, id, &entries);
            self.post(env);
        }
        self.spare.push(entries);
    }

    /// Entries have come: those that the host told of meanwhile are asked for before anything is done with
    /// these.
    #[inline]
    fn fetch_next(&mut self, env: &mut Env<'_, '_>, id: u16) {
        let Some(queue) = self.queues.submission(id) else { return };
        queue.fetching = false;
        if queue.pending() > 0 {
            self.admit(env, id);
        }
    }

    /// A queue has nothing to fetch, or may not.
    #[cold]
    pub(super) fn park(&mut self, env: &mut Env<'_, '_>, id: u16, waits: u32, room: u32) {
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

    /// The host sent no Keep Alive in time: the controller stops (NVMe Base 2.1 §3.9).
    pub(super) fn check_keep_alive(&mut self, env: &mut Env<'_, '_>) {
        match self.features.keep_alive_left(env.dma.now()) {
            Some(Duration::ZERO) => {
                self.errors.other(Status::KEEP_ALIVE_EXPIRED);
                self.activity = Activity::Fatal;
            }
            Some(left) => self.later(env, env.dma.now() + left, || Job::KeepAlive),
            None => self.features.keep_alive_watched = false,
        }
    }

    /// Other controllers have changed what this one's host should know of.
    pub(super) fn hear_news(&mut self, env: &mut Env<'_, '_>) {
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
}
