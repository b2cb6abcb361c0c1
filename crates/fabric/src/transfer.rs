//! Requests on their way to plain memory: the hot path, from the route to the bytes, the counters and
//! the time. Everything else is in [`crate::deliver`].

use p2pdma_pci::{Instant, Iova};

use crate::deliver::Leg;
use crate::route::resolve::{from_function, from_host};
use crate::route::{Failure, FailureKind, Reporter, Request, Requester, Route, Target};
use crate::state::State;
use crate::tlp::{Access, Attributes, TlpError, TlpErrorKind};

impl State {
    /// A function's read.
    #[inline]
    pub(crate) fn dma_read(
        &mut self,
        source: usize,
        at: Iova,
        data: &mut [u8],
        attributes: &Attributes,
    ) -> Result<Instant, TlpError> {
        if self.tapped {
            return self.tapped_read(source, at, data, attributes);
        }
        self.plain_read(source, at, data, attributes)
    }

    /// A function's write.
    #[inline]
    pub(crate) fn dma_write(
        &mut self,
        source: usize,
        at: Iova,
        data: &[u8],
        attributes: &Attributes,
    ) -> Result<Instant, TlpError> {
        if self.tapped {
            return self.tapped_write(source, at, data, attributes);
        }
        self.plain_write(source, at, data, attributes)
    }

    #[inline]
    pub(crate) fn plain_read(
        &mut self,
        source: usize,
        at: Iova,
        data: &mut [u8],
        attributes: &Attributes,
    ) -> Result<Instant, TlpError> {
        self.read(Requester::of(source), at.0, data, attributes).map_err(|(at, failure)| {
            let request = Request::new(at, Access::Read, attributes);
            self.fail(source, &request, failure)
        })
    }

    #[inline]
    pub(crate) fn plain_write(
        &mut self,
        source: usize,
        at: Iova,
        data: &[u8],
        attributes: &Attributes,
    ) -> Result<Instant, TlpError> {
        match self.write(Requester::of(source), at.0, data, attributes) {
            Ok(done) => Ok(done),
            Err((at, failure)) => {
                let request = Request::new(at, Access::Write, attributes);
                let error = self.fail(source, &request, failure);
                match error.kind {
                    TlpErrorKind::BusMasterDisabled | TlpErrorKind::LinkDown => Err(error),
                    // Posted: the writer learns nothing.
                    _ => Ok(self.now()),
                }
            }
        }
    }

    /// Reads, piece by piece where a request crosses from one route to another. Fails with the address
    /// of the piece that failed.
    #[inline]
    pub(crate) fn read(
        &mut self,
        requester: Requester,
        at: u64,
        data: &mut [u8],
        attributes: &Attributes,
    ) -> Result<Instant, (u64, Failure)> {
        let mut done = self.events.now();
        let (mut at, mut rest) = (at, data);
        while !rest.is_empty() {
            self.ensure(requester, Access::Read, at, rest.len(), attributes)?;
            let (now, packets) = (self.events.now(), self.machine.packets);
            let way = self.routes.current(requester, Access::Read).ok_or((at, NOWHERE))?;
            let (piece, others) = rest.split_at_mut(way.reach(at, rest.len()));
            let len = piece.len() as u64;
            way.count(Access::Read, attributes.class, len, packets);
            let (target, offset) = (way.target, way.offset(at));
            let leg = Leg {
                target,
                offset,
                done: match &mut self.channels {
                    None => now,
                    Some(channels) => {
                        way.time_read(&mut self.machine.links, channels, packets, (now, at, len))
                    }
                },
            };
            let filled = match target {
                Target::Host => self.machine.host_memory.read(offset, piece),
                Target::Memory { .. } => way.read_memory(offset, piece),
                _ => {
                    let answer = self.answer(requester, leg, piece);
                    answer.map_err(|kind| (at, Failure { at: target.reporter(), kind }))?;
                    true
                }
            };
            if !filled {
                return Err((at, unsupported(target)));
            }
            done = done.max(leg.done);
            at = at.saturating_add(len);
            rest = others;
        }
        Ok(done)
    }

    /// Writes, piece by piece where a request crosses from one route to another. Fails with the address
    /// of the piece that failed.
    #[inline]
    pub(crate) fn write(
        &mut self,
        requester: Requester,
        at: u64,
        data: &[u8],
        attributes: &Attributes,
    ) -> Result<Instant, (u64, Failure)> {
        let mut done = self.events.now();
        let (mut at, mut rest) = (at, data);
        while !rest.is_empty() {
            self.ensure(requester, Access::Write, at, rest.len(), attributes)?;
            let (now, packets) = (self.events.now(), self.machine.packets);
            let way = self.routes.current(requester, Access::Write).ok_or((at, NOWHERE))?;
            let (piece, others) = rest.split_at(way.reach(at, rest.len()));
            let len = piece.len() as u64;
            way.count(Access::Write, attributes.class, len, packets);
            let (target, offset) = (way.target, way.offset(at));
            let leg = Leg {
                target,
                offset,
                done: match &mut self.channels {
                    None => now,
                    Some(channels) => {
                        way.time_write(&mut self.machine.links, channels, packets, (now, at, len))
                    }
                },
            };
            let taken = match target {
                Target::Host => {
                    self.noticed = true;
                    self.machine.host_memory.write(offset, piece)
                }
                Target::Memory { .. } => way.write_memory(offset, piece),
                _ => {
                    self.take(requester, leg, piece);
                    true
                }
            };
            if !taken {
                return Err((at, unsupported(target)));
            }
            done = done.max(leg.done);
            at = at.saturating_add(len);
            rest = others;
        }
        Ok(done)
    }

    /// Makes the route of a request the current one, and notes the request where there is a trace.
    #[inline(always)]
    pub(crate) fn ensure(
        &mut self,
        requester: Requester,
        access: Access,
        at: u64,
        len: usize,
        attributes: &Attributes,
    ) -> Result<(), (u64, Failure)> {
        if !self.routes.find(requester, self.machine.generation, access, at, attributes.flavour()) {
            let request = Request::new(at, access, attributes);
            self.learn(requester, &request).map_err(|failure| (at, failure))?;
        }
        if self.tapped {
            self.note(requester, access, at, len, attributes);
        }
        Ok(())
    }

    /// Writes the piece of a request that goes the current way into the trace.
    #[cold]
    fn note(
        &mut self,
        requester: Requester,
        access: Access,
        at: u64,
        len: usize,
        attributes: &Attributes,
    ) {
        if let Some(way) = self.routes.current(requester, access) {
            let (len, went) = (way.reach(at, len), (way.target, way.via));
            let request = Request::new(at, access, attributes);
            self.record(requester, &request, len, attributes.class, Some(went));
        }
    }

    /// Resolves a request that no known route serves, and keeps the route.
    #[cold]
    fn learn(&mut self, requester: Requester, request: &Request) -> Result<(), Failure> {
        self.machine.refresh();
        let resolution = match requester.function() {
            Some(function) => from_function(&self.machine, function, request),
            None => from_host(&self.machine, request),
        };
        let target = resolution.outcome?;
        if resolution.end <= request.at {
            // The very last byte of the address space is nobody's.
            return Err(NOWHERE);
        }
        let memory = self.machine.tree.memory(target);
        let route = Route::new(resolution, target, memory, request);
        let generation = self.machine.generation;
        self.routes.insert(requester, generation, request.access, route, &mut self.counters);
        Ok(())
    }
}

/// Where a request goes for which there is no route although there was one.
const NOWHERE: Failure = Failure { at: Reporter::HostBridge, kind: FailureKind::Unsupported };

/// The target is there and does not take or answer this.
fn unsupported(target: Target) -> Failure {
    Failure { at: target.reporter(), kind: FailureKind::Unsupported }
}
