//! A copy under way: tested with data, moved, made durable, compared.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use p2pdma::{
    Client, Durable, Ends, Failed, HostClient, Job, Mismatch, Parts, Plan, Platform, Portion,
    Probe, Reach, Report, Shape, Stage, Untested, verify,
};

use super::names::{Ended, Names, changed, differs};
use super::resume::Resume;
use super::run::Bound;
use super::scope::Made;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::output::progress::Amount;

/// Verification proceeds in parts of this size, between which it can be broken off.
const PART: u64 = 64 << 20;

/// Where time is modelled, so much is flushed at a time.
const STRIDE: u64 = 32 << 20;

/// A copy under way.
pub(super) struct Carried<'a> {
    pub(super) bound: Bound,
    pub(super) names: &'a Names,
    pub(super) interrupt: &'a Interrupt,
    pub(super) shape: Shape,
}

impl Carried<'_> {
    /// Ends before anything was moved: what was there still is.
    fn before(&self, failure: Failure) -> Ended {
        Ended {
            complete: self.bound.scope.there(),
            moved: self.bound.scope.durable.bytes(),
            failure,
            is_wrong: false,
        }
    }

    /// Makes sure that the destination still has what the journal says: its first block, and its last.
    pub(super) fn check_there(
        &mut self,
        platform: &dyn Platform,
        there: &Parts,
    ) -> std::result::Result<(), Ended> {
        let job = self.bound.job;
        let blocks = there.ranges().iter().flat_map(|part| {
            let len = job.block.min(part.end - part.start);
            [(part.start, len), (part.end - len, len)]
        });
        for (at, len) in blocks {
            let part = Job { from: job.from + at, to: job.to + at, len, ..job };
            match self.compare(platform, part) {
                Ok(None) => {}
                Ok(Some(_)) => return Err(self.before(changed(&self.names.sink, at))),
                Err(failure) => return Err(self.before(failure)),
            }
        }
        Ok(())
    }

    /// Tests each leg to a peer's memory with data: the source's without writing to it, then the
    /// destination's, within the range that is going to be written first. Returns what that did not
    /// show.
    pub(super) fn probe(
        &mut self,
        platform: &dyn Platform,
        plan: &Plan,
    ) -> std::result::Result<Vec<Untested>, Ended> {
        // A probe overwrites the memory, which here is the source.
        if plan.shape == Shape::OutOf {
            return Ok(Vec::new());
        }
        let part = self.bound.scope.sample.clone();
        let Some(part) = part else { return Ok(Vec::new()) };
        self.probe_part(platform, plan, part).map_err(|error| {
            let left = match &error {
                p2pdma::Error::NotPutBack { len, .. } => *len,
                _ => 0,
            };
            let ended = self.before(self.names.failure(error));
            Ended { moved: ended.moved + left, ..ended }
        })
    }

    fn probe_part(
        &mut self,
        platform: &dyn Platform,
        plan: &Plan,
        part: Range<u64>,
    ) -> std::result::Result<Vec<Untested>, p2pdma::Error> {
        let mut untested = Vec::new();
        let Bound { memory, source, sink, job, cut, members, .. } = &mut self.bound;
        let watch = &|| self.interrupt.flow();
        let [of_source, of_sink] = members;
        let ends = [
            (source, Stage::Fill, job.from, &self.names.source, of_source),
            (sink, Stage::Drain, job.to, &self.names.sink, of_sink),
        ];
        for (client, stage, at, name, members) in ends {
            let peer = |leg: &&p2pdma::Leg| leg.stage == stage && leg.reach != Reach::Host;
            let Some(client) = client
                .as_mut()
                .filter(|client| plan.legs.iter().any(|leg| peer(&leg)) && client.bdf().is_some())
            else {
                continue;
            };
            let (at, len) = (at + part.start, part.end - part.start);
            let client = &mut **client;
            let mut probe = Probe { platform, client, name, memory, at, len, watch };
            // A new file has nothing to be read yet.
            let fills = stage == Stage::Fill || cut.is_none();
            untested.extend(members.probe(&mut probe, fills, stage == Stage::Drain)?.1);
        }
        Ok(untested)
    }

    /// Lets the destination make zeroes of what are holes of the source; where it cannot, they are moved.
    fn zero_holes(&mut self) -> std::result::Result<(), Ended> {
        let Bound { file, scope, job, .. } = &self.bound;
        let Some(file) = file.as_ref().filter(|_| scope.made == Made::Zeroes) else {
            return Ok(());
        };
        let mut zeroed = scope.durable.bytes();
        let all: Vec<(u64, u64)> = pieces(scope.holes.ranges(), PART).collect();
        for (at, len) in all {
            let failure = match file.zero(job.to + at..job.to + at + len) {
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    self.bound.scope.fill_holes();
                    return Ok(());
                }
                Err(error) => Failure::file(file.path(), &error),
                Ok(()) if self.interrupt.raised() => Failure::interrupted(),
                Ok(()) => {
                    zeroed += len;
                    continue;
                }
            };
            return Err(Ended { moved: zeroed + len, ..self.before(failure) });
        }
        Ok(())
    }

    pub(super) fn carry(
        &mut self,
        platform: &dyn Platform,
        plan: Plan,
        out: &Output,
        resume: &mut Option<Resume>,
    ) -> std::result::Result<Report, Ended> {
        self.zero_holes()?;
        let Bound { memory, source, sink, job, scope, .. } = &mut self.bound;
        let mut progress = out.progress("copying", Amount::Bytes(scope.moved.bytes()));
        let ends = Ends {
            source: source.as_mut().map(|client| &mut **client as &mut dyn Client),
            sink: sink.as_mut().map(|client| &mut **client as &mut dyn Client),
        };
        let mut tell = resume.as_mut().map(|resume| |end| resume.tell(end));
        let every = if platform.is_modelled() { STRIDE } else { u64::MAX };
        let durable = tell.as_mut().map(|tell| Durable { every, tell });
        // Memory that is an end is moved to its last byte, which need not be a block's.
        let parts = Some(scope.moved.up_to(job.len));
        let portion = Portion { job: *job, parts, durable };
        let report = p2pdma::run(platform, plan, ends, memory, portion, &mut |now| {
            progress.at(now.moved);
            self.interrupt.flow()
        });
        report.map_err(|Failed { error, moved, complete }| Ended {
            complete,
            moved: moved + self.bound.scope.durable.bytes() + self.zeroed(),
            failure: self.names.failure(error),
            is_wrong: false,
        })
    }

    /// Bytes of the destination that were made zeroes.
    fn zeroed(&self) -> u64 {
        let scope = &self.bound.scope;
        if scope.made == Made::Zeroes { scope.holes.bytes() } else { 0 }
    }

    /// What follows the move: durable first, so that what is verified is what stays. Returns how many
    /// blocks were compared.
    pub(super) fn complete(
        &mut self,
        platform: &dyn Platform,
        out: &Output,
        payload: u64,
        verify: bool,
        flush: bool,
    ) -> std::result::Result<Option<u64>, Ended> {
        let ended =
            |complete| move |failure| Ended { complete, moved: payload, failure, is_wrong: false };
        if let (Some(file), Some(len)) = (&self.bound.file, self.bound.cut) {
            let cut = file.file().set_len(len);
            cut.map_err(|error| ended(0)(Failure::file(file.path(), &error)))?;
        }
        if flush {
            let flushed = match &mut self.bound.sink {
                Some(sink) => sink.flush(),
                // The memory itself is the destination.
                None => self.bound.memory.persist(),
            };
            flushed.map_err(|error| self.names.failure(error)).map_err(ended(0))?;
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
                let ended = ended(at + mismatch.at)(differs(&mismatch, at, job.block));
                return Err(Ended { is_wrong: true, ..ended });
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
        let watch = &|| self.interrupt.flow();
        Ok(verify(platform, &mut **source, &mut **sink, part, watch)?)
    }
}

/// These ranges in pieces of at most `most` bytes: where each begins, and its length.
fn pieces(ranges: &[Range<u64>], most: u64) -> impl Iterator<Item = (u64, u64)> {
    let of_range = move |range: &Range<u64>| {
        let end = range.end;
        range
            .clone()
            .step_by(usize::try_from(most).unwrap_or(usize::MAX))
            .map(move |at| (at, most.min(end - at)))
    };
    ranges.iter().flat_map(of_range)
}
