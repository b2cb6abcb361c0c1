//! Requests on their way to plain memory: the hot path, from the route to the bytes, the counters and
//! the time. Everything else is in [`crate::deliver`].

use p2pdma_pci::{Instant, Iova};

use crate::deliver::Leg;
use crate::route::resolve::{from_function, from_host};
use crate::route::{Failure, FailureKind, Reporter, Request, Requester, Route, Target};
use crate::state::{Payload, State};
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
        let place = (at, data.len());
        self.read(Requester::of(source), at.0, data, attributes)
            .map_err(|failure| self.fail(source, Access::Read, place, attributes, failure))
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
            Err(failure) => {
                let place = (at, data.len());
                let error = self.fail(source, Access::Write, place, attributes, failure);
                match error.kind {
                    TlpErrorKind::BusMasterDisabled | TlpErrorKind::LinkDown => Err(error),
                    // Posted: the writer learns nothing.
                    _ => Ok(self.now()),
                }
            }
        }
    }

    /// Reads. Fails with the address of the piece that failed.
    #[inline]
    pub(crate) fn read(
        &mut self,
        requester: Requester,
        at: u64,
        data: &mut [u8],
        attributes: &Attributes,
    ) -> Result<Instant, (u64, Failure)> {
        match self.read_straight(requester, at, data, attributes) {
            Some(done) => Ok(done),
            None => self.read_in_pieces(requester, at, data, attributes),
        }
    }

    /// Writes. Fails with the address of the piece that failed.
    #[inline]
    pub(crate) fn write(
        &mut self,
        requester: Requester,
        at: u64,
        data: &[u8],
        attributes: &Attributes,
    ) -> Result<Instant, (u64, Failure)> {
        match self.write_straight(requester, at, data, attributes) {
            Some(done) => Ok(done),
            None => self.write_in_pieces(requester, at, data, attributes),
        }
    }

    /// A read that goes a known way as a whole, out of plain memory, which almost all are. `None` if it is
    /// none of these, or fails; then nothing has happened.
    #[inline(always)]
    fn read_straight(
        &mut self,
        requester: Requester,
        at: u64,
        data: &mut [u8],
        attributes: &Attributes,
    ) -> Option<Instant> {
        if self.tapped {
            return None;
        }
        let (generation, len) = (self.machine.generation, data.len() as u64);
        let flavour = attributes.flavour();
        let way = self.routes.way(requester, generation, Access::Read, (at, len), flavour)?;
        let offset = way.offset(at);
        let filled = match way.target {
            Target::Host => self.machine.host_memory.read(offset, data),
            Target::Memory { .. } => way.read_memory(offset, data),
            _ => false,
        };
        if !filled {
            return None;
        }
        way.count(attributes.class, len);
        let now = self.events.now();
        Some(match &mut self.channels {
            None => now,
            Some(channels) => {
                way.time_read(&mut self.machine.wires(), channels, now, (offset, len))
            }
        })
    }

    /// The same for a write into plain memory.
    #[inline(always)]
    fn write_straight(
        &mut self,
        requester: Requester,
        at: u64,
        data: &[u8],
        attributes: &Attributes,
    ) -> Option<Instant> {
        if self.tapped {
            return None;
        }
        let (generation, len) = (self.machine.generation, data.len() as u64);
        let flavour = attributes.flavour();
        let way = self.routes.way(requester, generation, Access::Write, (at, len), flavour)?;
        let offset = way.offset(at);
        let taken = match way.target {
            Target::Host => {
                self.noticed = true;
                self.machine.host_memory.write(offset, data)
            }
            Target::Memory { .. } => way.write_memory(offset, data),
            _ => false,
        };
        if !taken {
            return None;
        }
        way.count(attributes.class, len);
        let now = self.events.now();
        Some(match &mut self.channels {
            None => now,
            Some(channels) => {
                way.time_write(&mut self.machine.wires(), channels, now, (offset, len))
            }
        })
    }

    /// The processor's write into a register, which goes a known way as a whole: a doorbell. False if it is none
    /// of these; then nothing has happened.
    #[inline(always)]
    pub(crate) fn ring(&mut self, at: u64, data: &[u8]) -> bool {
        if self.tapped {
            return false;
        }
        let Some(payload) = Payload::small(data) else { return false };
        let (generation, len) = (self.machine.generation, data.len() as u64);
        let flavour = Attributes::CONTROL.flavour();
        let host = Requester::HOST;
        let Some(way) = self.routes.way(host, generation, Access::Write, (at, len), flavour) else {
            return false;
        };
        let Target::Registers { function, bar } = way.target else { return false };
        let offset = way.offset(at);
        way.count(Attributes::CONTROL.class, len);
        let now = self.events.now();
        let done = match &mut self.channels {
            None => now,
            Some(channels) => {
                way.time_write(&mut self.machine.wires(), channels, now, (offset, len))
            }
        };
        self.post((function, bar), (offset, done), payload, true);
        true
    }

    /// Reads, piece by piece where a request crosses from one route to another.
    #[inline(never)]
    fn read_in_pieces(
        &mut self,
        requester: Requester,
        at: u64,
        data: &mut [u8],
        attributes: &Attributes,
    ) -> Result<Instant, (u64, Failure)> {
        let mut done = self.events.now();
        let (mut at, mut rest) = (at, data);
        while !rest.is_empty() {
            let (leg, len) = self.send(requester, Access::Read, at, rest.len(), attributes)?;
            let (piece, others) = rest.split_at_mut(len);
            let filled = match leg.target {
                Target::Host => self.machine.host_memory.read(leg.offset, piece),
                Target::Memory { .. } => {
                    let way = self.routes.current(requester, Access::Read);
                    way.is_some_and(|way| way.read_memory(leg.offset, piece))
                }
                _ => {
                    let answer = self.answer(requester, leg, piece);
                    answer.map_err(|kind| (at, Failure { at: leg.target.reporter(), kind }))?;
                    true
                }
            };
            if !filled {
                return Err((at, unsupported(leg.target)));
            }
            done = done.max(leg.done);
            at = at.saturating_add(len as u64);
            rest = others;
        }
        Ok(done)
    }

    /// Writes, piece by piece where a request crosses from one route to another.
    #[inline(never)]
    fn write_in_pieces(
        &mut self,
        requester: Requester,
        at: u64,
        data: &[u8],
        attributes: &Attributes,
    ) -> Result<Instant, (u64, Failure)> {
        let mut done = self.events.now();
        let (mut at, mut rest) = (at, data);
        while !rest.is_empty() {
            let (leg, len) = self.send(requester, Access::Write, at, rest.len(), attributes)?;
            let (piece, others) = rest.split_at(len);
            let taken = match leg.target {
                Target::Host => {
                    self.noticed = true;
                    self.machine.host_memory.write(leg.offset, piece)
                }
                Target::Memory { .. } => {
                    let way = self.routes.current(requester, Access::Write);
                    way.is_some_and(|way| way.write_memory(leg.offset, piece))
                }
                _ => {
                    self.take(requester, leg, piece);
                    true
                }
            };
            if !taken {
                return Err((at, unsupported(leg.target)));
            }
            done = done.max(leg.done);
            at = at.saturating_add(len as u64);
            rest = others;
        }
        Ok(done)
    }

    /// Sends the first piece of a request: where it leads, and how many of its `len` bytes that are.
    fn send(
        &mut self,
        requester: Requester,
        access: Access,
        at: u64,
        len: usize,
        attributes: &Attributes,
    ) -> Result<(Leg, usize), (u64, Failure)> {
        self.ensure(requester, access, at, len, attributes)?;
        let now = self.events.now();
        // Found or just inserted; a cache without a current route would be a broken invariant.
        let way = self.routes.current(requester, access).ok_or((at, NOWHERE))?;
        let reach = way.reach(at, len);
        let (target, offset, len) = (way.target, way.offset(at), reach as u64);
        way.count(attributes.class, len);
        let mut wires = self.machine.wires();
        let done = match (&mut self.channels, access) {
            (None, _) => now,
            (Some(channels), Access::Read) => {
                way.time_read(&mut wires, channels, now, (offset, len))
            }
            (Some(channels), Access::Write) => {
                way.time_write(&mut wires, channels, now, (offset, len))
            }
        };
        Ok((Leg { target, offset, done }, reach))
    }

    /// Makes the route of a request the current one, and notes the request where there is a trace.
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
        let (from, to) = (requester.function(), target.function());
        let packets = self.machine.tree.packets(from, to, request.access);
        let route = Route::new(resolution, target, memory, request, packets);
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
