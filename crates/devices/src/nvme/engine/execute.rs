//! Commands of a submission queue, one after another.

use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::queue::{ADMIN_QID, Fuse, SubmissionEntry};
use p2pdma_spec::nvme::status::Status;

use super::super::jobs::Job;
use super::super::nvm::{self, Env};
use super::super::reply::{Failure, Stop};
use super::{Activity, BLOCKS_PER_CALL, Engine};

impl Engine {
    /// Carries out commands in the order of their queue.
    pub(super) fn execute(
        &mut self,
        env: &mut Env<'_, '_>,
        sqid: u16,
        entries: &[SubmissionEntry],
    ) {
        let mut held = self.queues.submission(sqid).is_some_and(|queue| queue.fused.is_some());
        let mut rest = entries;
        while let [entry, later @ ..] = rest {
            rest = later;
            if sqid == ADMIN_QID {
                self.admin_command(env, entry);
            } else if held || entry.cdw0.get().fuse() != Fuse::NORMAL {
                held = false;
                rest = self.fused(env, sqid, entry, rest);
            } else {
                if let [next, ..] = rest {
                    nvm::expect(&self.limits, &mut env.subsystem, entry, next);
                }
                self.io_command(env, sqid, entry);
            }
            self.blocks += self.io.blocks();
            if self.activity != Activity::Running {
                return;
            }
            if self.blocks > BLOCKS_PER_CALL && !rest.is_empty() {
                let entries = rest.to_vec();
                return self.later(env, env.dma.now(), || Job::Decode { sqid, entries });
            }
        }
    }

    #[inline]
    fn io_command(&mut self, env: &mut Env<'_, '_>, sqid: u16, entry: &SubmissionEntry) {
        env.dma.restart();
        if !self.io_commands {
            return self.refuse(env, sqid, entry, Status::INVALID_OPCODE);
        }
        match nvm::begin(&mut self.io, &self.limits, env, sqid, entry) {
            Ok(at) if at <= env.dma.now() => {
                match nvm::transfer(&mut self.io, &self.limits, &mut self.scratch, env) {
                    Ok(value) => {
                        let done = nvm::done(&self.io, env);
                        self.finish(env, sqid, entry.cid(), Ok(value), done);
                    }
                    Err(stop) => self.stop(env, sqid, entry, stop),
                }
            }
            Ok(at) => {
                let io = self.io.pause(&env.subsystem);
                self.later(env, at, || Job::Transfer(io));
            }
            Err(failure) => self.fail(env, sqid, entry, failure),
        }
    }

    /// A command that does not come to its end, or not now.
    #[cold]
    fn stop(&mut self, env: &mut Env<'_, '_>, sqid: u16, entry: &SubmissionEntry, stop: Stop) {
        match stop {
            Stop::Unfinished => {
                self.blocks += self.io.blocks();
                let io = self.io.pause(&env.subsystem);
                self.later(env, env.dma.now(), || Job::Transfer(io));
            }
            Stop::Failed(failure) => {
                self.errors.command(sqid, entry, failure.status);
                let done = nvm::done(&self.io, env);
                self.finish(env, sqid, entry.cid(), Err(failure), done);
            }
        }
    }

    /// A command that cannot begin.
    #[cold]
    fn fail(
        &mut self,
        env: &mut Env<'_, '_>,
        sqid: u16,
        entry: &SubmissionEntry,
        failure: Failure,
    ) {
        self.errors.command(sqid, entry, failure.status);
        let done = env.dma.done();
        self.finish(env, sqid, entry.cid(), Err(failure), done);
    }

    #[cold]
    fn refuse(
        &mut self,
        env: &mut Env<'_, '_>,
        sqid: u16,
        entry: &SubmissionEntry,
        status: Status,
    ) {
        self.fail(env, sqid, entry, status.into());
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
            (Some(first), _) => self.refuse(env, sqid, &first, Status::ABORTED_MISSING_FUSED),
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
            (Fuse::FIRST | Fuse::SECOND, _) => {
                self.refuse(env, sqid, entry, Status::ABORTED_MISSING_FUSED);
            }
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
        if !fits || !self.io_commands {
            env.dma.restart();
            self.refuse(env, sqid, first, Status::INVALID_FIELD);
            return self.refuse(env, sqid, second, Status::ABORTED_FAILED_FUSED);
        }
        let mut at = env.dma.now();
        for (entry, other) in [(first, Some(second)), (second, None)] {
            env.dma.restart();
            // Both at once, so that nothing comes between them; the times follow each other.
            let begun = nvm::begin(&mut self.io, &self.limits, env, sqid, entry);
            let result = begun
                .map_err(Stop::from)
                .and_then(|_| nvm::transfer(&mut self.io, &self.limits, &mut self.scratch, env));
            let result = result.map_err(|stop| match stop {
                Stop::Failed(failure) => failure,
                // Neither of the two is ever split.
                Stop::Unfinished => Status::INTERNAL_ERROR.into(),
            });
            at += nvm::done(&self.io, env).since(env.dma.now());
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

    /// Ends every command of a submission queue that is being deleted (NVMe Base 2.1 §3.3.1.3).
    pub(crate) fn abort_queue(&mut self, env: &mut Env<'_, '_>, sqid: u16) {
        let aborted = Status::ABORTED_SQ_DELETION;
        for job in self.jobs.take_queue(sqid) {
            match job {
                Job::Fetched { entries, .. } | Job::Decode { entries, .. } => {
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
}
