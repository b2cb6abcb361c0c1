//! Requests on their way to plain memory: the hot path, from the route to the bytes, the counters and
//! the time. Everything else is in [`crate::deliver`].

use p2pdma_pci::{Instant, Iova};

use crate::deliver::Leg;
use crate::route::resolve::{from_function, from_host};
use crate::route::{Failure, FailureKind, Reporter, Request, Requester, Route, Target};
use crate::state::State;
use crate::timing::Way;
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
            let len = self.ensure(requester, Access::Read, at, rest.len(), attributes)?;
            let (piece, others) = rest.split_at_mut(len);
            let leg = self.charge(requester, Access::Read, at, len).ok_or((at, NOWHERE))?;
            let filled = match leg.target {
                Target::Host => self.machine.host_memory.read(leg.offset, piece),
                Target::Memory { .. } => {
                    let memory = self.routes.current(requester, Access::Read);
                    memory.is_some_and(|route| route.read_memory(leg.offset, piece))
                }
                _ => {
                    let answer = self.answer(requester, leg, piece);
                    answer.map_err(|kind| (at, Failure { at: leg.target.reporter(), kind }))?;
                    true
                }
            };
            if !filled {
                let kind = FailureKind::Unsupported;
                return Err((at, Failure { at: leg.target.reporter(), kind }));
            }
            done = done.max(leg.done);
            at = at.saturating_add(len as u64);
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
            let len = self.ensure(requester, Access::Write, at, rest.len(), attributes)?;
            let (piece, others) = rest.split_at(len);
            let leg = self.charge(requester, Access::Write, at, len).ok_or((at, NOWHERE))?;
            let taken = match leg.target {
                Target::Host => {
                    self.noticed = true;
                    self.machine.host_memory.write(leg.offset, piece)
                }
                Target::Memory { .. } => {
                    let memory = self.routes.current(requester, Access::Write);
                    memory.is_some_and(|route| route.write_memory(leg.offset, piece))
                }
                _ => {
                    self.take(requester, leg, piece);
                    true
                }
            };
            if !taken {
                let kind = FailureKind::Unsupported;
                return Err((at, Failure { at: leg.target.reporter(), kind }));
            }
            done = done.max(leg.done);
            at = at.saturating_add(len as u64);
            rest = others;
        }
        Ok(done)
    }

    /// Makes the route of a request the current one; returns how many of its `len` bytes go that way.
    #[inline(always)]
    pub(crate) fn ensure(
        &mut self,
        requester: Requester,
        access: Access,
        at: u64,
        len: usize,
        attributes: &Attributes,
    ) -> Result<usize, (u64, Failure)> {
        if !self.routes.find(requester, self.machine.generation, access, at, attributes.flavour()) {
            let request = Request::new(at, access, attributes);
            self.learn(requester, &request).map_err(|failure| (at, failure))?;
        }
        let packets = self.machine.packets;
        // Found or just inserted; a cache without a current route would be a broken invariant.
        let route = self.routes.current(requester, access).ok_or((at, NOWHERE))?;
        let len = len.min(usize::try_from(route.end - at).unwrap_or(usize::MAX));
        route.count(access, attributes.class, len as u64, packets);
        if self.tapped {
            let way = Some((route.target, route.via));
            let request = Request::new(at, access, attributes);
            self.record(requester, &request, len, attributes.class, way);
        }
        Ok(len)
    }

    /// Charges the time that `len` bytes take on the current route.
    #[inline(always)]
    fn charge(&mut self, requester: Requester, access: Access, at: u64, len: usize) -> Option<Leg> {
        let route = self.routes.current(requester, access)?;
        let (target, offset, now) = (route.target, route.offset(at), self.events.now());
        let done = match &mut self.channels {
            None => now,
            Some(channels) => {
                let packets = self.machine.packets;
                let mut way = Way { links: &mut self.machine.links, channels, packets };
                let memory = (target == Target::Host).then_some(offset);
                let path = &route.path;
                match access {
                    Access::Read => way.read(&path.out, &path.back, now, len as u64, memory),
                    Access::Write => way.write(&path.out, now, len as u64, memory),
                }
            }
        };
        Some(Leg { target, offset, done })
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
