//! Requests on their way: from the route to the bytes, the counters and the time.

use p2pdma_pci::{Instant, Iova};
use p2pdma_spec::pci::aer::UncorrectableErrors;

use crate::iommu::FaultRecord;
use crate::msix::Message;
use crate::route::resolve::{from_function, from_host};
use crate::route::{Failure, FailureKind, Reporter, Request, Route, Target};
use crate::state::{Event, Payload, State};
use crate::timing::Way;
use crate::tlp::{Access, Attributes, PayloadClass, TlpError, TlpErrorKind};
use crate::tree::Content;

/// A piece of a request that goes one way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leg {
    pub(crate) target: Target,
    pub(crate) offset: u64,
    pub(crate) len: usize,
    /// When its last byte would arrive: a write's at the target, a read's at the requester.
    pub(crate) done: Instant,
}

/// Register writes are delivered in pieces of at most this many bytes.
const LARGEST_WRITE: usize = 4096;

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

    pub(crate) fn plain_read(
        &mut self,
        source: usize,
        at: Iova,
        data: &mut [u8],
        attributes: &Attributes,
    ) -> Result<Instant, TlpError> {
        let mut done = self.now();
        let (mut rest, mut at) = (data, at);
        while !rest.is_empty() {
            let request = Request::new(at.0, Access::Read, attributes);
            let leg = self.travel(Some(source), &request, rest.len(), attributes.class);
            let leg = leg.map_err(|failure| self.fail(source, &request, failure))?;
            let (piece, others) = rest.split_at_mut(leg.len);
            self.fetch(leg, piece).map_err(|kind| TlpError { at, kind })?;
            done = done.max(leg.done);
            rest = others;
            at = Iova(at.0.saturating_add(leg.len as u64));
        }
        Ok(done)
    }

    pub(crate) fn plain_write(
        &mut self,
        source: usize,
        at: Iova,
        data: &[u8],
        attributes: &Attributes,
    ) -> Result<Instant, TlpError> {
        let mut done = self.now();
        let (mut rest, mut at) = (data, at);
        while !rest.is_empty() {
            let request = Request::new(at.0, Access::Write, attributes);
            let leg = match self.travel(Some(source), &request, rest.len(), attributes.class) {
                Ok(leg) => leg,
                Err(failure) => {
                    let error = self.fail(source, &request, failure);
                    if matches!(
                        error.kind,
                        TlpErrorKind::BusMasterDisabled | TlpErrorKind::LinkDown
                    ) {
                        return Err(error);
                    }
                    // Posted: the writer learns nothing, and goes on.
                    return Ok(done);
                }
            };
            let (piece, others) = rest.split_at(leg.len);
            self.deposit(leg, piece, false);
            done = done.max(leg.done);
            rest = others;
            at = Iova(at.0.saturating_add(leg.len as u64));
        }
        Ok(done)
    }

    /// Finds the way of a request's first piece, counts it, and charges its time.
    #[inline]
    pub(crate) fn travel(
        &mut self,
        source: Option<usize>,
        request: &Request,
        len: usize,
        class: PayloadClass,
    ) -> Result<Leg, Failure> {
        let generation = self.machine.generation;
        let cache = match source {
            Some(function) => &mut self.machine.tree.functions[function].routes,
            None => &mut self.host_routes,
        };
        if !cache.find(generation, request) {
            self.learn(source, request)?;
        }
        let cache = match source {
            Some(function) => &mut self.machine.tree.functions[function].routes,
            None => &mut self.host_routes,
        };
        // Found or just inserted; a cache without a current route would be a broken invariant.
        let nowhere = Failure { at: Reporter::HostBridge, kind: FailureKind::Unsupported };
        let route = cache.current(request.access).ok_or(nowhere)?;
        let room = usize::try_from(route.end - request.at).unwrap_or(usize::MAX);
        let len = len.min(room);
        let (target, offset) = (route.target, route.offset(request.at));
        let packets = self.machine.packets;
        route.traffic.tlps += packets.payloads(len as u64);
        route.traffic.payload[class as usize] += len as u64;
        if request.access == Access::Read {
            route.requests += packets.read_requests(len as u64);
        }
        let done = match &mut self.channels {
            None => self.events.now(),
            Some(channels) => {
                let mut way = Way { links: &mut self.machine.links, channels, packets };
                let memory = (target == Target::Host).then_some(offset);
                let (path, from) = (&route.path, self.events.now());
                match request.access {
                    Access::Read => way.read(&path.out, &path.back, from, len as u64, memory),
                    Access::Write => way.write(&path.out, from, len as u64, memory),
                }
            }
        };
        if self.tapped {
            let via = route.via;
            self.record(source, request, len, class, Some((target, via)));
        }
        Ok(Leg { target, offset, len, done })
    }

    /// Resolves a request that no known route serves, and keeps the route.
    #[cold]
    fn learn(&mut self, source: Option<usize>, request: &Request) -> Result<(), Failure> {
        self.machine.refresh();
        let generation = self.machine.generation;
        let resolution = match source {
            Some(function) => from_function(&self.machine, function, request),
            None => from_host(&self.machine, request),
        };
        let target = resolution.outcome?;
        if resolution.end <= request.at {
            // The very last byte of the address space is nobody's.
            return Err(Failure { at: Reporter::HostBridge, kind: FailureKind::Unsupported });
        }
        let cache = match source {
            Some(function) => &self.machine.tree.functions[function].routes,
            None => &self.host_routes,
        };
        if cache.must_drain(generation, request.access) {
            self.forget_routes(source);
        }
        let cache = match source {
            Some(function) => &mut self.machine.tree.functions[function].routes,
            None => &mut self.host_routes,
        };
        cache.insert(request.access, Route::new(resolution, target, request));
        Ok(())
    }

    /// Copies bytes out of where a read leads.
    #[inline]
    pub(crate) fn fetch(&mut self, leg: Leg, data: &mut [u8]) -> Result<(), TlpErrorKind> {
        let tree = &mut self.machine.tree;
        let unsupported = Err(TlpErrorKind::UnsupportedRequest);
        match leg.target {
            Target::Host => {
                if !self.machine.host_memory.read(leg.offset, data) {
                    return unsupported;
                }
            }
            Target::Memory { function, bar, region } => {
                let content = &tree.functions[function].bars[bar].regions[region].content;
                let Content::Memory(memory) = content else {
                    return unsupported;
                };
                if memory.memory.read(leg.offset, data).is_err() {
                    self.report_unsupported(Reporter::Function(function));
                    return unsupported;
                }
            }
            Target::Registers { function, bar } => {
                let slot = &mut tree.functions[function];
                let index = slot.bars[bar].index;
                // Absent while it runs: a function cannot complete a request of its own making.
                let Some(endpoint) = &mut slot.endpoint else {
                    return unsupported;
                };
                endpoint.mmio_read(index, leg.offset, data);
            }
            Target::MsixTable { function } => match &tree.functions[function].msix {
                Some(msix) => msix.read_table(leg.offset, data),
                None => return unsupported,
            },
            Target::MsixPending { function } => match &tree.functions[function].msix {
                Some(msix) => msix.read_pending(leg.offset, data),
                None => return unsupported,
            },
            Target::Interrupt => return unsupported,
            Target::Lost => data.fill(0xff),
        }
        Ok(())
    }

    /// Puts bytes where a write leads. `by_host`: the processor's writes to registers are counted, so
    /// that its reads do not pass them.
    #[inline]
    pub(crate) fn deposit(&mut self, leg: Leg, data: &[u8], by_host: bool) {
        let tree = &mut self.machine.tree;
        match leg.target {
            Target::Host => {
                // The route's range lies within one run of host memory.
                self.machine.host_memory.write(leg.offset, data);
            }
            Target::Memory { function, bar, region } => {
                let content = &tree.functions[function].bars[bar].regions[region].content;
                if let Content::Memory(memory) = content
                    && memory.memory.write(leg.offset, data).is_err()
                {
                    self.report_unsupported(Reporter::Function(function));
                }
            }
            Target::Registers { function, bar } => self.post(function, bar, leg, data, by_host),
            Target::MsixTable { function } => {
                if let Some(msix) = &mut tree.functions[function].msix {
                    msix.write_table(leg.offset, data);
                    self.send_pending(function);
                }
            }
            Target::Interrupt => {
                let data = <[u8; 4]>::try_from(data).map_or(u32::MAX, u32::from_le_bytes);
                let message = Message { address: leg.offset, data };
                self.events.push(leg.done, Event::Interrupt(message));
            }
            Target::MsixPending { .. } | Target::Lost => {}
        }
    }

    /// Sends a register write on its way: it arrives as an event, so no model runs inside another.
    fn post(&mut self, function: usize, bar: usize, leg: Leg, data: &[u8], posted: bool) {
        let pieces = data.chunks(LARGEST_WRITE);
        let offsets = (leg.offset..).step_by(LARGEST_WRITE);
        for (piece, offset) in pieces.zip(offsets) {
            let slot = &mut self.machine.tree.functions[function];
            slot.posted += u32::from(posted);
            let (data, epoch) = (Payload::new(piece), slot.epoch);
            let event = Event::Write { function, bar, offset, data, epoch, posted };
            self.events.push(leg.done, event);
        }
    }

    /// Raises an interrupt vector.
    pub(crate) fn raise(&mut self, function: usize, vector: u16) {
        let msix = &mut self.machine.tree.functions[function].msix;
        if let Some(message) = msix.as_mut().and_then(|msix| msix.raise(vector)) {
            self.send_interrupt(function, message);
        }
    }

    /// Sends what was pending and is masked no more.
    pub(crate) fn send_pending(&mut self, function: usize) {
        let next = |state: &mut Self| {
            let msix = state.machine.tree.functions[function].msix.as_mut();
            msix.and_then(crate::msix::Msix::take_deliverable)
        };
        while let Some(message) = next(self) {
            self.send_interrupt(function, message);
        }
    }

    fn send_interrupt(&mut self, function: usize, message: Message) {
        let turns = if self.tapped { self.strike_interrupt(function) } else { 1 };
        for _ in 0..turns {
            let (at, data) = (Iova(message.address), message.data.to_le_bytes());
            // With bus mastering off nothing is sent, as on hardware.
            let _ = self.dma_write(function, at, &data, &Attributes::INTERRUPT);
        }
    }

    /// Records a failure where it is noticed, and says what the requester learns.
    #[cold]
    pub(crate) fn fail(&mut self, source: usize, request: &Request, failure: Failure) -> TlpError {
        self.record(Some(source), request, 0, PayloadClass::Control, None);
        let kind = match failure.kind {
            FailureKind::BusMasterDisabled => TlpErrorKind::BusMasterDisabled,
            FailureKind::LinkDown => TlpErrorKind::LinkDown,
            FailureKind::Unsupported => {
                self.report_unsupported(failure.at);
                TlpErrorKind::UnsupportedRequest
            }
            FailureKind::AcsViolation(_) => {
                let status = UncorrectableErrors::new().with_acs_violation(true);
                self.report(failure.at, status, |errors| &mut errors.acs_violations);
                // PCIe 6.0 §6.12.4: a blocked non-posted request is completed with Completer Abort.
                TlpErrorKind::CompleterAbort
            }
            FailureKind::Iommu(reason) => {
                let own = self.bdf(source);
                let forged = request.forged_requester;
                let requester =
                    forged.map_or(own, |id| p2pdma_pci::Bdf::from_requester(own.domain(), id));
                let (iova, access) = (Iova(request.at), request.access);
                self.fault_log.push(FaultRecord { requester, iova, access, reason });
                TlpErrorKind::UnsupportedRequest
            }
            FailureKind::CompletionLost => {
                let status = UncorrectableErrors::new().with_completion_timeout(true);
                let at = Reporter::Function(source);
                self.report(at, status, |errors| &mut errors.completion_timeouts);
                TlpErrorKind::CompletionTimeout
            }
        };
        TlpError { at: Iova(request.at), kind }
    }

    pub(crate) fn report_unsupported(&mut self, at: Reporter) {
        let status = UncorrectableErrors::new().with_unsupported_request(true);
        self.report(at, status, |errors| &mut errors.unsupported_requests);
    }
}
