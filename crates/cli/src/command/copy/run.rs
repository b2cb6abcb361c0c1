//! Carries a planned copy out: moves, verifies, makes durable, and says what became of it.

use std::sync::Arc;
use std::time::Instant;

use p2pdma::linux::io::DirectFile;
use p2pdma::{
    Client, Ends, Failed, HostClient, Job, Mismatch, PeerMemory, Plan, Platform, Policy, Probe,
    Reach, Report, Shape, Stage, verify,
};

use super::document::Facts;
use super::job::{Lengths, Pieces};
use super::side::{self, Kind, Side};
use super::target::{Target, Writing};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::output::progress::Amount;
use crate::output::units;
use crate::platform::AnyPlatform;

/// A copy, planned.
pub(crate) struct Transfer<'a> {
    pub(crate) platform: &'a AnyPlatform,
    pub(crate) source: Side,
    pub(crate) sink: Side,
    pub(crate) plan: Plan,
    pub(crate) pieces: Pieces,
    pub(crate) lengths: Lengths,
    pub(crate) target: Target,
    /// The target, where it had to be begun before the copy could be planned.
    pub(crate) begun: Option<Writing>,
}

/// A copy that did not end well.
struct Ended {
    /// How many bytes from the start on are as they should be.
    complete: u64,
    /// How many bytes were moved, wherever.
    moved: u64,
    failure: Failure,
}

/// Both ends with the memory between them. An end that is the memory itself has no client.
struct Bound {
    memory: Arc<PeerMemory>,
    source: Option<Box<dyn Client>>,
    sink: Option<Box<dyn Client>>,
    job: Job,
    /// A file of this machine that is written in whole blocks, and cut to this length.
    cut: Option<(Arc<DirectFile>, u64)>,
}

/// Verification proceeds in parts of this size, between which it can be broken off.
const PART: u64 = 64 << 20;

impl Transfer<'_> {
    /// Runs the copy and prints what became of it.
    pub(crate) fn run(
        self,
        context: &mut Context,
        facts: &Facts,
        verify: bool,
        flush: bool,
    ) -> Result<()> {
        let (platform, shape) = (&**self.platform, self.plan.shape);
        let proves = self.platform.linux().is_some() && self.plan.wish.policy != Policy::Off;
        let names = Names::of(&self.source, &self.sink);
        let interrupt = Interrupt::watch()?;
        let (bound, plan, writing) = self.bind()?;
        let mut carried = Carried { bound, names: &names, interrupt: &interrupt, shape };
        let probed = if proves { carried.probe(platform, &plan) } else { Ok(()) };
        let before = platform.traffic();
        let began = Instant::now();
        let moved = probed.and_then(|()| carried.carry(platform, plan, &context.out));
        let seconds = began.elapsed().as_secs_f64();
        let traffic = platform.traffic().zip(before).map(|(now, before)| now.since(&before));
        let document = facts.measured(seconds, traffic);

        let payload = facts.payload();
        let outcome = moved
            .map_err(|failed| Ended {
                complete: failed.complete.min(payload),
                moved: failed.moved,
                failure: names.failure(failed.error),
            })
            .and_then(|report| {
                let blocks = carried.complete(platform, &context.out, payload, verify, flush)?;
                Ok((report, blocks))
            });
        drop(carried);
        match outcome {
            Ok((report, blocks)) => {
                writing.finish(&interrupt)?;
                Ok(document
                    .done(&report, platform.is_modelled(), blocks, flush)
                    .print(&context.out)?)
            }
            Err(Ended { complete, moved, failure }) => {
                let partial = names.partial(writing, failure.exit(), complete, moved);
                let failure = failure.append(&partial.note);
                let document = document.failed(&failure, complete, partial.place);
                document.print(&context.out)?;
                Err(failure.documented())
            }
        }
    }

    /// Takes the memory, and makes a client of every end that needs one.
    fn bind(self) -> Result<(Bound, Plan, Writing)> {
        let Self { platform, source, sink, plan, pieces, lengths, target, begun } = self;
        let platform = &**platform;
        let payload = lengths.payload;
        let (from, to) = (source.offset, sink.offset);
        let memory = match plan.shape {
            Shape::Through => {
                let blocks = payload.div_ceil(pieces.block).min(u64::from(pieces.depth));
                Arc::new(plan.memory(platform, blocks * pieces.block)?)
            }
            Shape::Into => lend_all(platform, &sink, payload)?,
            Shape::OutOf => lend_all(platform, &source, payload)?,
        };
        let writing = begun.map_or_else(|| target.begin(), Ok)?;
        let cut = make_room(&sink, lengths)?;
        let memory_is = |stage| match plan.shape {
            Shape::Into => stage == Stage::Drain,
            Shape::OutOf => stage == Stage::Fill,
            Shape::Through => false,
        };
        let (mut from_base, mut to_base) = (from, to);
        let client = |side: Side, base: &mut u64, stage| -> Result<Option<Box<dyn Client>>> {
            if memory_is(stage) {
                *base = 0;
                return Ok(None);
            }
            let end = side.offset.saturating_add(payload);
            Ok(Some(match side.kind {
                Kind::Namespace { client, .. } => client,
                Kind::Volume { volume, .. } => volume.client,
                Kind::Memory { id, .. } => {
                    let part = side::lend(platform, id, side.offset, payload)?;
                    *base = 0;
                    Box::new(HostClient::memory(part).ending_at(payload))
                }
                Kind::Host(host) => Box::new(host.client(platform, writing.file()?, end)?),
            }))
        };
        let source = client(source, &mut from_base, Stage::Fill)?;
        let sink = client(sink, &mut to_base, Stage::Drain)?;
        let len = if plan.shape == Shape::Through { lengths.moved } else { payload };
        let depth =
            u32::try_from(payload.div_ceil(pieces.block)).unwrap_or(u32::MAX).min(pieces.depth);
        let job = Job { from: from_base, to: to_base, len, block: pieces.block, depth };
        Ok((Bound { memory, source, sink, job, cut }, plan, writing))
    }
}

/// Reserves the room that a file of this machine will need, so that a full disk is known beforehand.
fn make_room(sink: &Side, lengths: Lengths) -> Result<Option<(Arc<DirectFile>, u64)>> {
    let Kind::Volume { volume, grows: true } = &sink.kind else { return Ok(None) };
    let file = Arc::clone(&volume.file);
    file.reserve(lengths.moved)
        .map_err(|error| Failure::file(file.path(), &error).append("; nothing was written"))?;
    Ok(Some((file, lengths.payload)))
}

fn lend_all(platform: &dyn Platform, side: &Side, len: u64) -> Result<Arc<PeerMemory>> {
    match side.kind {
        Kind::Memory { id, .. } => side::lend(platform, id, side.offset, len),
        Kind::Namespace { .. } | Kind::Volume { .. } | Kind::Host(_) => {
            Err(p2pdma::Error::Internal("a plan into what is no memory").into())
        }
    }
}

/// A copy under way.
struct Carried<'a> {
    bound: Bound,
    names: &'a Names,
    interrupt: &'a Interrupt,
    shape: Shape,
}

impl Carried<'_> {
    /// Tests each leg to a peer's memory with data: the source's without writing to it, then the
    /// destination's, within the range that is going to be written.
    fn probe(&mut self, platform: &dyn Platform, plan: &Plan) -> std::result::Result<(), Failed> {
        let Bound { memory, source, sink, job, cut } = &mut self.bound;
        let failed = |error| Failed { error, moved: 0, complete: 0 };
        let ends = [
            (source, Stage::Fill, job.from, &self.names.source),
            (sink, Stage::Drain, job.to, &self.names.sink),
        ];
        for (client, stage, at, name) in ends {
            let peer = |leg: &&p2pdma::Leg| leg.stage == stage && leg.reach != Reach::Host;
            let Some(client) = client
                .as_mut()
                .filter(|client| plan.legs.iter().any(|leg| peer(&leg)) && client.bdf().is_some())
            else {
                continue;
            };
            let len = job.len;
            let mut probe = Probe { platform, client: &mut **client, name, memory, at, len };
            // A new file has nothing to be read yet.
            if stage == Stage::Fill || cut.is_none() {
                probe.fills().map_err(failed)?;
            }
            if stage == Stage::Drain {
                probe.drains().map_err(failed)?;
            }
        }
        Ok(())
    }

    fn carry(
        &mut self,
        platform: &dyn Platform,
        plan: Plan,
        out: &Output,
    ) -> std::result::Result<Report, Failed> {
        let Bound { memory, source, sink, job, .. } = &mut self.bound;
        let mut progress = out.progress("copying", Amount::Bytes(job.len));
        let ends = Ends {
            source: source.as_mut().map(|client| &mut **client as &mut dyn Client),
            sink: sink.as_mut().map(|client| &mut **client as &mut dyn Client),
        };
        p2pdma::run(platform, plan, ends, memory, *job, &mut |now| {
            progress.at(now.moved);
            self.interrupt.flow()
        })
    }

    /// What follows the move: durable first, so that what is verified is what stays. Returns how many
    /// blocks were compared.
    fn complete(
        &mut self,
        platform: &dyn Platform,
        out: &Output,
        payload: u64,
        verify: bool,
        flush: bool,
    ) -> std::result::Result<Option<u64>, Ended> {
        let ended = |complete| move |failure| Ended { complete, moved: payload, failure };
        if let Some((file, len)) = &self.bound.cut {
            let cut = file.file().set_len(*len);
            cut.map_err(|error| ended(0)(Failure::file(file.path(), &error)))?;
        }
        if flush && let Some(sink) = &mut self.bound.sink {
            sink.flush().map_err(|error| self.names.failure(error)).map_err(ended(0))?;
        }
        if !verify {
            return Ok(None);
        }
        let mut progress = out.progress("verifying", Amount::Bytes(payload));
        let job = self.bound.job;
        let part = PART.next_multiple_of(job.block);
        let mut at = 0;
        while at < payload {
            let len = part.min(payload - at);
            let part = Job { from: job.from + at, to: job.to + at, len, ..job };
            if let Some(mismatch) = self.compare(platform, part).map_err(ended(at))? {
                return Err(ended(at + mismatch.at)(differs(&mismatch, at, job.block)));
            }
            at += len;
            progress.at(at);
            if self.interrupt.raised() {
                return Err(ended(payload)(Failure::interrupted()));
            }
        }
        Ok(Some(payload.div_ceil(job.block)))
    }

    fn compare(&mut self, platform: &dyn Platform, part: Job) -> Result<Option<Mismatch>> {
        let memory = &self.bound.memory;
        let mut itself: Box<dyn Client> = Box::new(HostClient::memory(Arc::clone(memory)));
        let (source, sink) = (self.bound.source.as_mut(), self.bound.sink.as_mut());
        let (source, sink) = match (self.shape, source, sink) {
            (Shape::Through, Some(source), Some(sink)) => (source, sink),
            (Shape::Into, Some(source), _) => (source, &mut itself),
            (Shape::OutOf, _, Some(sink)) => (&mut itself, sink),
            _ => return Err(p2pdma::Error::Internal("an end without a client").into()),
        };
        Ok(verify(platform, &mut **source, &mut **sink, part)?)
    }
}

/// `base` is where the part that was compared begins.
fn differs(mismatch: &Mismatch, base: u64, block: u64) -> Failure {
    let Mismatch { block: number, at, len, source, sink } = mismatch;
    let message = format!(
        "the destination differs from the source: first in block {} ({} from byte {} on)",
        base / block + number,
        units::exact_bytes(*len),
        base + at
    );
    let checksums = format!(
        "  CRC-64/NVMe of position and bytes: source {source:016x}, destination {sink:016x}\n"
    );
    Failure::new(Exit::Mismatch, "P2P-DATA-LOST", message)
        .details(checksums)
        .remedy("status said OK and the data are wrong: p2pdma explain DATA-LOST")
}

/// The ends, as messages call them.
struct Names {
    source: String,
    sink: String,
    source_offset: u64,
    sink_offset: u64,
    /// Whether what reaches the destination stays there.
    keeps: bool,
}

/// What is left of a copy that did not become complete.
struct Partial {
    /// Its name, if anything is left.
    place: Option<String>,
    /// What to tell people.
    note: String,
}

impl Names {
    fn of(source: &Side, sink: &Side) -> Self {
        Self {
            source: source.text.clone(),
            sink: sink.text.clone(),
            source_offset: source.offset,
            sink_offset: sink.offset,
            keeps: sink.keeps(),
        }
    }

    fn failure(&self, error: p2pdma::Error) -> Failure {
        let Self { source, sink, source_offset, sink_offset, .. } = self;
        if error.is_full() {
            let message = format!("no room is left under {sink}: its file cannot grow");
            return Failure::new(Exit::Io, "FULL", message)
                .remedy("make room in the state folder, and run it again");
        }
        let p2pdma::Error::Mismatch { at } = error else { return error.into() };
        let at = at.saturating_sub(*sink_offset).saturating_add(*source_offset);
        let message = format!("{source} does not match {sink}: first at byte {at}");
        Failure::new(Exit::Mismatch, "MISMATCH", message)
    }

    fn partial(&self, writing: Writing, exit: Exit, complete: u64, moved: u64) -> Partial {
        let bytes = units::exact_bytes(complete);
        if matches!(writing, Writing::Elsewhere) {
            let place = (self.keeps && moved > 0).then(|| self.sink.clone());
            let offset = self.sink_offset;
            let note = match &place {
                None if self.keeps => "; nothing was written".to_owned(),
                None => String::new(),
                Some(place) if exit == Exit::Mismatch => {
                    format!("; {place} keeps what arrived: {bytes} from byte {offset} on are right")
                }
                Some(place) => {
                    format!("; the partial result is in {place}: {bytes} from byte {offset} on")
                }
            };
            return Partial { place, note };
        }
        let place = writing.abandon(complete);
        let note = match &place {
            None => "; nothing was written".to_owned(),
            Some(place) => format!("; the partial result is {place}: its first {bytes}"),
        };
        Partial { place, note }
    }
}
