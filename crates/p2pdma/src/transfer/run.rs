//! Carries a plan out.

use std::ops::ControlFlow;
use std::sync::Arc;

use hdrhistogram::Histogram;
use p2pdma_pci::{Clock as _, Duration, Instant};

use crate::HostClock;
use crate::memory::PeerMemory;
use crate::platform::{Attachment, Client, Done, Op, Platform, Ticket};
use crate::transfer::extents::Extents;
use crate::transfer::patience::GRACE;
use crate::transfer::portion::{Checkpoints, Portion};
use crate::transfer::{Next, Pipeline, Plan, Policy, Report, Shape, Stage, Step};
use crate::{Error, Traffic};

/// What to move, and in which pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Job {
    /// The source's first byte.
    pub from: u64,
    /// The sink's first byte.
    pub to: u64,
    /// How many bytes.
    pub len: u64,
    /// The size of a block in bytes: a multiple of both ends' block sizes, at most what both can move
    /// with one operation.
    pub block: u64,
    /// The most operations that each end has under way, at least 1.
    pub depth: u32,
}

impl Job {
    /// How many blocks of memory it makes use of on its way from client to client: as many as each end may have under way,
    /// and two at least, so that one is filled while the other is drained; but no more than it has.
    #[must_use]
    pub fn blocks(&self) -> u32 {
        self.at_most(self.depth.max(2))
    }

    /// How many bytes these have. One block does, too, where the depth is 1: the ends take turns then.
    #[must_use]
    pub fn memory(&self) -> u64 {
        self.block.saturating_mul(u64::from(self.blocks()))
    }

    /// How many bytes of memory it cannot do without.
    fn needed(&self) -> u64 {
        self.block.saturating_mul(u64::from(self.at_most(self.depth)))
    }

    /// How many blocks that it makes use of memory has room for.
    fn slots(&self, memory: u64) -> u32 {
        let room = memory.checked_div(self.block).unwrap_or(0);
        u32::try_from(room).unwrap_or(u32::MAX).min(self.blocks())
    }

    /// So many blocks, but no more than it has.
    fn at_most(&self, blocks: u32) -> u32 {
        let all = self.len.div_ceil(self.block.max(1)).max(1);
        u32::try_from(all).unwrap_or(u32::MAX).min(blocks)
    }

    /// Makes sure that the numbers have a meaning.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let reason = if self.block == 0 || self.depth == 0 {
            "block size and depth must be at least 1"
        } else if self.from.max(self.to).checked_add(self.len).is_none() {
            "it ends beyond the last byte that 64 bits can name"
        } else {
            return Ok(());
        };
        Err(Error::Job { reason })
    }
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes moved from end to end.
    pub moved: u64,
    /// Bytes to move in all.
    pub len: u64,
}

/// The ends of a transfer. An end that is the memory itself has no client.
#[derive(Default)]
pub struct Ends<'a> {
    /// Who fills the memory.
    pub source: Option<&'a mut dyn Client>,
    /// Who drains it.
    pub sink: Option<&'a mut dyn Client>,
}

impl std::fmt::Debug for Ends<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ends")
            .field("source", &self.source.as_ref().map(|client| client.bdf()))
            .field("sink", &self.sink.as_ref().map(|client| client.bdf()))
            .finish()
    }
}

/// A transfer that did not end well.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failed {
    /// Why.
    pub error: Error,
    /// Bytes that had been moved from end to end, not necessarily the first ones.
    pub moved: u64,
    /// How many bytes from the start on are complete.
    pub complete: u64,
}

/// Moves a job's bytes, or a [`Portion`] of them, as planned, through `memory`.
///
/// `watch` is told after every round of completions, and every tenth of a second, or as seldom as the platform's clock comes back
/// from waiting (400 ms on Linux); if it breaks off, what is under
/// way ends, and the transfer fails with [`Error::Interrupted`]. What has not ended half a second later is left to
/// its client, which keeps the memory that it uses: nothing is made durable then, because that may wait as long.
///
/// # Errors
/// The first thing that went wrong, with how far it came. [`Error::Reset`] if the memory's device was reset
/// meanwhile, though all operations succeeded. Under [`Policy::Require`] also
/// [`Error::Staged`], if the platform counted user data in host memory although all went well, and
/// [`Error::Uncounted`], if it could not count. It counts what the whole machine does: nothing else may go through
/// host memory meanwhile.
pub fn run<'a>(
    platform: &'a dyn Platform,
    plan: Plan,
    ends: Ends<'a>,
    memory: &Arc<PeerMemory>,
    job: impl Into<Portion<'a>>,
    watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Report, Failed> {
    let portion = job.into();
    portion.check().map_err(at_start)?;
    let (before, wall) = (platform.traffic(), HostClock::new());
    let mut run = Run::new(platform, &plan, ends, memory, portion).map_err(at_start)?;
    let outcome = run.drive(watch);
    // What went wrong first is what is told: of a command that failed, perhaps what the memory's device went through.
    let outcome = outcome.map_err(|error| run.cause(error));
    let outcome = outcome.and(run.finish());
    // What the platform waits for, to know what no status tells, is none of the transfer's.
    let elapsed = platform.clock().now().since(run.began);
    let wall = wall.now().since(Instant::ZERO);
    let outcome = outcome.and_then(|()| platform.check());
    let (moved, complete) = (run.pipeline.moved(), run.kept);
    let fail = |error| Failed { error, moved, complete };
    outcome.map_err(fail)?;
    let traffic = platform.traffic().zip(before).map(|(now, before)| now.since(&before));
    let report = run.report(plan, traffic, elapsed, wall);
    if report.plan.wish.policy != Policy::Require || !report.plan.between_devices() {
        return Ok(report);
    }
    match traffic {
        Some(Traffic { host_memory: 0, .. }) => Ok(report),
        Some(Traffic { host_memory: bytes, .. }) => Err(fail(Error::Staged { bytes })),
        None => Err(fail(Error::Uncounted)),
    }
}

fn at_start(error: Error) -> Failed {
    Failed { error, moved: 0, complete: 0 }
}

/// The longest latency that the histogram tells from longer ones, in picoseconds: 18 minutes. A command
/// is given up long before.
const LONGEST: u64 = 1 << 50;

/// Up to here the histogram has room from the beginning, in picoseconds: 16 microseconds.
const USUAL: u64 = 1 << 24;

/// What the histogram tells apart at least, in picoseconds: beyond half a microsecond three digits are more.
const FINEST: u64 = 512;

/// An end with its mapping of the memory.
struct Attached<'a> {
    client: &'a mut dyn Client,
    attachment: Attachment,
    /// Where the job begins at this end.
    base: u64,
    /// Whether operations were started that the client may still hold back.
    fresh: bool,
}

/// How often whoever waits is asked, and the memory's device looked at: so soon a reset or an interrupt shows.
const TURN: Duration = Duration::from_millis(100);

struct Run<'a> {
    platform: &'a dyn Platform,
    memory: Arc<PeerMemory>,
    pipeline: Pipeline,
    /// Bytes to move in all.
    len: u64,
    moved: Extents,
    /// How many bytes from the start on were complete when the memory's device was last seen not to have been reset.
    kept: u64,
    /// When it was looked at.
    looked: Instant,
    /// When somebody wanted the transfer to end, or the memory's device was reset.
    interrupted: Option<Instant>,
    job: Job,
    shape: Shape,
    source: Option<Attached<'a>>,
    sink: Option<Attached<'a>>,
    began: Instant,
    /// When each slot's block was begun.
    begun: Vec<Instant>,
    done: Vec<Done>,
    operations: u64,
    latency: Histogram<u64>,
    checkpoints: Option<Checkpoints<'a>>,
}

impl<'a> Run<'a> {
    fn new(
        platform: &'a dyn Platform,
        plan: &Plan,
        ends: Ends<'a>,
        memory: &Arc<PeerMemory>,
        portion: Portion<'a>,
    ) -> Result<Self, Error> {
        let (job, parts) = (portion.job, portion.parts());
        let attach = |client: Option<&'a mut dyn Client>, base| match client {
            None => Ok(None),
            Some(client) => {
                let attachment = client.attach(memory)?;
                Ok::<_, Error>(Some(Attached { client, attachment, base, fresh: false }))
            }
        };
        let needed = match plan.shape {
            Shape::Through => job.needed(),
            Shape::Into | Shape::OutOf => job.len,
        };
        if memory.len() < needed {
            return Err(Error::OutsideMemory { offset: 0, len: needed, size: memory.len() });
        }
        let began = platform.clock().now();
        // Long latencies are rare, and the room for them takes its time to be cleared.
        let latency = Histogram::new_with_bounds(FINEST, USUAL, 3);
        let mut latency = latency.map_err(|_| Error::Internal("no histogram"))?;
        latency.auto(true);
        let slots = match plan.shape {
            Shape::Through => job.slots(memory.len()),
            Shape::Into | Shape::OutOf => job.depth,
        };
        let (len, moved) = (parts.bytes(), Extents::new(job.len, parts.clone(), slots));
        Ok(Self {
            platform,
            memory: Arc::clone(memory),
            pipeline: Pipeline::of_parts(plan.shape, parts, job.block, slots, job.depth),
            len,
            kept: moved.prefix(),
            moved,
            looked: began,
            interrupted: None,
            job,
            shape: plan.shape,
            source: attach(ends.source, job.from)?,
            sink: attach(ends.sink, job.to)?,
            began,
            begun: vec![began; slots as usize],
            done: Vec::with_capacity(slots as usize * 2),
            operations: 0,
            latency,
            checkpoints: portion.durable.map(|durable| Checkpoints::new(durable, began)),
        })
    }

    fn drive(&mut self, watch: &mut dyn FnMut(Progress) -> ControlFlow<()>) -> Result<(), Error> {
        let (clock, mut failure) = (self.platform.clock(), None);
        // A look at the clock before each part of a round, not per operation.
        let mut now = clock.now();
        loop {
            let finished = failure.is_some() || self.start_all(now, &mut failure);
            // Where requests are carried out one at a time, starting them was most of the work.
            now = clock.now();
            let mut ended = self.collect(now, false, &mut failure)?;
            if finished && self.pipeline.under_way() == 0 {
                break;
            }
            if ended == 0 {
                clock.relax();
                now = clock.now();
                ended = self.collect(now, true, &mut failure)?;
            }
            if failure.is_none() {
                if let Err(error) = self.turn(now, ended > 0, watch) {
                    failure = Some(error);
                }
            } else {
                self.heed(now, watch, failure.as_ref());
                if self.is_overdue(now) {
                    break;
                }
            }
        }
        match failure {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Asks whether to go on, looks at the memory's device, and makes durable what is complete: each if it is time.
    fn turn(
        &mut self,
        now: Instant,
        ended: bool,
        watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let is_time = now.since(self.looked) >= TURN;
        if (ended || is_time)
            && watch(Progress { moved: self.pipeline.moved(), len: self.len }).is_break()
        {
            self.interrupted = Some(now);
            return Err(Error::Interrupted);
        }
        if is_time {
            self.looked = now;
            self.look()?;
        }
        let is_due = |due: &Checkpoints<'_>| due.is_due(now, self.moved.prefix());
        if ended && self.checkpoints.as_ref().is_some_and(is_due) {
            return self.tell_durable();
        }
        Ok(())
    }

    /// What is under way after a failure is awaited, unless somebody wants an end, or it was on its way through a
    /// device that was reset: its answer may not come.
    fn heed(
        &mut self,
        now: Instant,
        watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
        failure: Option<&Error>,
    ) {
        let progress = Progress { moved: self.pipeline.moved(), len: self.len };
        let is_lost = matches!(failure, Some(Error::Reset { .. }));
        if self.interrupted.is_none() && (is_lost || watch(progress).is_break()) {
            self.interrupted = Some(now);
        }
    }

    /// Whether what is under way after an interrupt is awaited no longer.
    fn is_overdue(&self, now: Instant) -> bool {
        self.interrupted.is_some_and(|at| now.since(at) >= GRACE)
    }

    /// How much is complete from the start on, if the memory's device was not reset. What was on its way through the
    /// memory while it was is not complete, though it has ended well.
    fn look(&mut self) -> Result<u64, Error> {
        let complete = self.moved.prefix();
        self.memory.check_kept()?;
        self.kept = complete;
        Ok(complete)
    }

    /// Why an operation failed.
    fn cause(&self, error: Error) -> Error {
        match error {
            Error::Command(_) | Error::Nvme(_) => self.memory.check_kept().err().unwrap_or(error),
            other => other,
        }
    }

    /// Nothing is to be moved any more.
    fn finish(&mut self) -> Result<(), Error> {
        let answers = self.interrupted.is_none() || self.pipeline.under_way() == 0;
        // A device that does not answer does not flush either.
        if answers { self.tell_durable() } else { self.look().map(drop) }
    }

    /// Makes durable what is complete, and tells it.
    fn tell_durable(&mut self) -> Result<(), Error> {
        // What is complete now, and no more: what ends during the flush may have come too late for it.
        let (complete, began) = (self.look()?, self.platform.clock().now());
        let Some(checkpoints) = &mut self.checkpoints else { return Ok(()) };
        let flushed = match (&mut self.sink, &self.source) {
            (Some(sink), _) => sink.client.flush(),
            // The memory itself is the sink.
            (None, Some(source)) => source.attachment.memory.persist(),
            (None, None) => Ok(()),
        };
        let now = self.platform.clock().now();
        let told = flushed.and_then(|()| checkpoints.tell(complete, began, now));
        if told.is_err() {
            // A flush after one that failed may succeed without what was lost with that one.
            self.checkpoints = None;
        }
        told
    }

    /// Starts what can be started; true if nothing is left to start.
    fn start_all(&mut self, now: Instant, failure: &mut Option<Error>) -> bool {
        loop {
            match self.pipeline.next_step() {
                Next::Finished => return true,
                Next::Wait => return false,
                Next::Start(step) => match self.start(step, now) {
                    Ok(()) => {}
                    Err(error) => {
                        // What could not be started is not under way.
                        let taken_back = self.pipeline.put_back(step);
                        debug_assert!(taken_back.is_ok(), "the step was just handed out");
                        if !matches!(error, Error::Busy) {
                            *failure = Some(error);
                        }
                        return failure.is_some();
                    }
                },
            }
        }
    }

    fn start(&mut self, step: Step, now: Instant) -> Result<(), Error> {
        let Step { stage, slot, at, len } = step;
        let offset = match self.shape {
            Shape::Through => u64::from(slot) * self.job.block,
            Shape::Into | Shape::OutOf => at,
        };
        let end = match stage {
            Stage::Fill => &mut self.source,
            Stage::Drain => &mut self.sink,
        };
        let Some(end) = end.as_mut() else {
            return Err(Error::Internal("a leg without a client"));
        };
        let Some(position) = end.base.checked_add(at) else {
            return Err(Error::Internal("a job beyond 2^64"));
        };
        let op = match stage {
            Stage::Fill => Op::Fill { from: position, len },
            Stage::Drain => Op::Drain { to: position, len },
        };
        let ticket = Ticket(slot << 1 | u32::from(stage == Stage::Drain));
        end.client.submit(op, &end.attachment, offset..offset + len, ticket)?;
        end.fresh = true;
        self.operations += 1;
        let first = stage == Stage::Fill || self.shape == Shape::OutOf;
        if first && let Some(begun) = self.begun.get_mut(slot as usize) {
            *begun = now;
        }
        Ok(())
    }

    /// Lets begin what was started, and collects what has ended: at both ends if time has passed since
    /// that was last done. Returns how many operations ended.
    #[inline(always)]
    fn collect(
        &mut self,
        now: Instant,
        waited: bool,
        failure: &mut Option<Error>,
    ) -> Result<usize, Error> {
        for end in [&mut self.source, &mut self.sink].into_iter().flatten() {
            if waited || end.fresh {
                end.fresh = false;
                end.client.poll(&mut self.done)?;
            }
        }
        let ended = self.done.len();
        if ended > 0 {
            self.end_all(now, failure)?;
        }
        Ok(ended)
    }

    fn end_all(&mut self, now: Instant, failure: &mut Option<Error>) -> Result<(), Error> {
        let (mut next, mut all_well) = (0, true);
        while let Some(done) = self.done.get(next) {
            let (ticket, well) = (done.ticket, done.result.is_ok());
            (next, all_well) = (next + 1, all_well && well);
            self.end(ticket, now, well)?;
        }
        if all_well {
            self.done.clear();
        } else if let Some(error) = self.done.drain(..).find_map(|done| done.result.err()) {
            failure.get_or_insert(error);
        }
        Ok(())
    }

    /// An operation has ended; if it did so `well`, its block counts, whatever became of others.
    #[inline]
    fn end(&mut self, ticket: Ticket, now: Instant, well: bool) -> Result<(), Error> {
        let stage = if ticket.0 & 1 == 0 { Stage::Fill } else { Stage::Drain };
        let slot = ticket.0 >> 1;
        let unexpected = |_| Error::Internal("a client ended what was not begun");
        let moved = self.pipeline.ended(stage, slot).map_err(unexpected)?;
        if let Some((at, len)) = moved.filter(|_| well) {
            self.moved.add(at, len);
            let begun = self.begun.get(slot as usize).copied().unwrap_or(now);
            let latency = now.since(begun).picos().min(LONGEST);
            self.latency
                .record(latency)
                .map_err(|_| Error::Internal("a histogram that is full"))?;
        }
        Ok(())
    }

    fn report(
        self,
        plan: Plan,
        traffic: Option<Traffic>,
        elapsed: Duration,
        wall: Duration,
    ) -> Report {
        Report {
            plan,
            bytes: self.pipeline.moved(),
            traffic,
            elapsed,
            wall,
            operations: self.operations,
            block: self.job.block,
            depth: self.job.depth,
            latency: self.latency,
        }
    }
}
