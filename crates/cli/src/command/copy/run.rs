//! Carries a planned copy out: moves, verifies, makes durable, and says what became of it.

use std::sync::Arc;
use std::time::Instant;

use p2pdma::linux::io::DirectFile;
use p2pdma::{
    Client, HostClient, Job, LinuxPlatform, Members, PeerMemory, Plan, Platform, Policy, Shape,
    Stage, Untested,
};

use super::carried::Carried;
use super::document::Facts;
use super::job::{Lengths, Pieces};
use super::names::Names;
use super::resume::Resume;
use super::scope::{Made, Scope};
use super::side::{self, Kind, Side};
use super::target::{Target, Writing};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::platform::AnyPlatform;

/// A copy, planned.
pub(crate) struct Transfer<'a> {
    pub(crate) platform: &'a AnyPlatform,
    pub(crate) source: Side,
    pub(crate) sink: Side,
    pub(crate) plan: Plan,
    pub(crate) pieces: Pieces,
    pub(crate) lengths: Lengths,
    pub(crate) scope: Scope,
    pub(crate) resume: Option<Resume>,
    pub(crate) target: Target,
    /// The target, where it had to be begun before the copy could be planned.
    pub(crate) begun: Option<Writing>,
}

/// Both ends with the memory between them. An end that is the memory itself has no client.
pub(super) struct Bound {
    pub(super) memory: Arc<PeerMemory>,
    pub(super) source: Option<Box<dyn Client>>,
    pub(super) sink: Option<Box<dyn Client>>,
    pub(super) job: Job,
    pub(super) scope: Scope,
    /// The file or block device of this machine that is written.
    pub(super) file: Option<Arc<DirectFile>>,
    /// That file is written in whole blocks, and cut to this length.
    pub(super) cut: Option<u64>,
    /// What source and sink are made of.
    pub(super) members: [Members; 2],
}

impl Transfer<'_> {
    /// Runs the copy and prints what became of it.
    pub(crate) fn run(
        mut self,
        context: &mut Context,
        facts: &Facts,
        verify: bool,
        flush: bool,
    ) -> Result<()> {
        let (platform, shape) = (&**self.platform, self.plan.shape);
        let proves = !platform.is_modelled() && self.plan.wish.policy != Policy::Off;
        let names = Names::of(&self.source, &self.sink);
        let interrupt = Interrupt::watch()?;
        let (there, mut resume) = (self.scope.durable.clone(), self.resume.take());
        let (bound, plan, mut writing) = self.bind()?;
        if let Some(resume) = &mut resume {
            resume.begin(&mut writing)?;
        }
        let mut carried = Carried { bound, names: &names, interrupt: &interrupt, shape };
        let checked = carried.check_there(platform, &there);
        let probed = match proves {
            true => checked.and_then(|()| carried.probe(platform, &plan)),
            false => checked.map(|()| Vec::new()),
        };
        let probed = probed.map(|untested| note_untested(&context.out, &untested));
        let before = platform.traffic();
        let began = Instant::now();
        let moved = probed.and_then(|()| carried.carry(platform, plan, &context.out, &mut resume));
        let seconds = began.elapsed().as_secs_f64();
        let traffic = platform.traffic().zip(before).map(|(now, before)| now.since(&before));
        // Holes that the destination could not make were moved.
        let facts = facts.clone().of(&carried.bound.scope, resume.is_some());
        let document = facts.measured(seconds, traffic);

        let payload = facts.payload();
        let outcome = moved.and_then(|report| {
            let blocks = carried.complete(platform, &context.out, payload, verify, flush)?;
            Ok((report, blocks))
        });
        drop(carried);
        match outcome {
            Ok((report, blocks)) => {
                writing.finish(&interrupt)?;
                resume.map_or(Ok(()), Resume::finish)?;
                let document = document.done(&report, platform.is_modelled(), blocks, flush);
                let told = document.print(&context.out).map_err(Failure::from);
                told.map_err(|failure| failure.append("; the copy itself is complete"))
            }
            Err(ended) => {
                let complete = ended.complete.min(payload);
                let (failure, place) = ended.leave(&names, writing, resume);
                document.failed(&failure, complete, place).print(&context.out)?;
                Err(failure.documented())
            }
        }
    }

    /// Takes the memory, and makes a client of every end that needs one.
    fn bind(self) -> Result<(Bound, Plan, Writing)> {
        let Self { platform, source, sink, plan, pieces, lengths, scope, target, begun, .. } = self;
        let (linux, platform) = (platform.linux(), &**platform);
        let payload = lengths.payload;
        let (from, to) = (source.offset, sink.offset);
        let len = if plan.shape == Shape::Through { lengths.moved } else { payload };
        let job = Job { from, to, len, block: pieces.block, depth: pieces.depth };
        let memory = match plan.shape {
            Shape::Through => {
                let blocks = u64::from(job.blocks().min(pieces.room));
                Arc::new(plan.memory(platform, blocks * job.block)?)
            }
            Shape::Into => lend_all(platform, &sink, payload)?,
            Shape::OutOf => lend_all(platform, &source, payload)?,
        };
        let writing = begun.map_or_else(|| target.begin(None), Ok)?;
        let (file, cut) = make_room(&sink, &writing, lengths, &scope)?;
        let memory_is = |stage| match plan.shape {
            Shape::Into => stage == Stage::Drain,
            Shape::OutOf => stage == Stage::Fill,
            Shape::Through => false,
        };
        let members = [members(linux, &source)?, members(linux, &sink)?];
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
        let job = Job { from: from_base, to: to_base, ..job };
        let bound = Bound { memory, source, sink, job, scope, file, cut, members };
        Ok((bound, plan, writing))
    }
}

/// Says what the data probe did not show.
pub(crate) fn note_untested(out: &Output, untested: &[Untested]) {
    for what in untested {
        out.note(&what.to_string());
    }
}

/// What an end on this machine is made of.
pub(crate) fn members(linux: Option<&LinuxPlatform>, side: &Side) -> Result<Members> {
    match (linux, side.volume()) {
        (Some(linux), Some(volume)) => Ok(linux.members(volume)?),
        _ => Ok(Members::default()),
    }
}

/// Makes a file as long as it will be, with room for what is moved, so that a full disk is known beforehand.
fn make_room(
    sink: &Side,
    writing: &Writing,
    lengths: Lengths,
    scope: &Scope,
) -> Result<(Option<Arc<DirectFile>>, Option<u64>)> {
    let Kind::Volume { volume, grows } = &sink.kind else {
        if scope.made == Made::Hole && !scope.holes.is_empty() {
            writing.set_len(lengths.payload)?;
        }
        return Ok((None, None));
    };
    let file = Arc::clone(&volume.file);
    if *grows {
        file.reserve(lengths.moved, scope.moved.ranges())
            .map_err(|error| Failure::file(file.path(), &error).append("; nothing was written"))?;
    }
    Ok((Some(file), grows.then_some(lengths.payload)))
}

fn lend_all(platform: &dyn Platform, side: &Side, len: u64) -> Result<Arc<PeerMemory>> {
    match side.kind {
        Kind::Memory { id, .. } => side::lend(platform, id, side.offset, len),
        Kind::Namespace { .. } | Kind::Volume { .. } | Kind::Host(_) => {
            Err(p2pdma::Error::Internal("a plan into what is no memory").into())
        }
    }
}
