//! Where trace and faults listen in: wrapped around the plain transfers, and free when unused.

use p2pdma_pci::{Instant, Iova};

use crate::aer::Noticed;
use crate::fault::{FaultKind, Site};
use crate::route::{Reporter, Request, Requester, Target, Via};
use crate::state::State;
use crate::tlp::{Access, Attributes, PayloadClass, TlpError, TlpErrorKind};
use crate::trace::{TraceRecord, TracedRoute};

impl State {
    pub(crate) fn tapped_read(
        &mut self,
        source: usize,
        at: Iova,
        data: &mut [u8],
        attributes: &Attributes,
    ) -> Result<Instant, TlpError> {
        let Some(kind) = self.strike_packet(source, false, attributes.class) else {
            return self.plain_read(source, at, data, attributes);
        };
        let error = |kind| Err(TlpError { at, kind });
        match kind {
            FaultKind::UnsupportedRequest => {
                let (place, noticed) = ((at, data.len()), Noticed::UnsupportedRequest);
                self.strike_receiver(source, Access::Read, place, attributes, noticed);
                self.show_completion(source, TlpErrorKind::UnsupportedRequest);
                error(TlpErrorKind::UnsupportedRequest)
            }
            FaultKind::CompleterAbort => {
                let (place, noticed) = ((at, data.len()), Noticed::CompleterAbort);
                self.strike_receiver(source, Access::Read, place, attributes, noticed);
                self.show_completion(source, TlpErrorKind::CompleterAbort);
                error(TlpErrorKind::CompleterAbort)
            }
            FaultKind::Drop | FaultKind::CompletionTimeout => {
                self.report(Reporter::Function(source), Noticed::CompletionTimeout, None);
                error(TlpErrorKind::CompletionTimeout)
            }
            FaultKind::Poison => {
                self.plain_read(source, at, data, attributes)?;
                self.report(Reporter::Function(source), Noticed::Poisoned, None);
                error(TlpErrorKind::Poisoned)
            }
            FaultKind::AllOnes => {
                data.fill(0xff);
                Ok(self.now())
            }
            FaultKind::FlipBit(bit) => {
                let done = self.plain_read(source, at, data, attributes)?;
                flip(data, bit);
                Ok(done)
            }
            FaultKind::Delay(more) => Ok(self.plain_read(source, at, data, attributes)? + more),
            _ => self.plain_read(source, at, data, attributes),
        }
    }

    pub(crate) fn tapped_write(
        &mut self,
        source: usize,
        at: Iova,
        data: &[u8],
        attributes: &Attributes,
    ) -> Result<Instant, TlpError> {
        let Some(kind) = self.strike_packet(source, true, attributes.class) else {
            return self.plain_write(source, at, data, attributes);
        };
        match kind {
            FaultKind::Drop => Ok(self.now()),
            FaultKind::Poison => {
                let (place, noticed) = ((at, data.len()), Noticed::Poisoned);
                self.strike_receiver(source, Access::Write, place, attributes, noticed);
                Ok(self.now())
            }
            FaultKind::Duplicate => {
                self.plain_write(source, at, data, attributes)?;
                self.plain_write(source, at, data, attributes)
            }
            FaultKind::Delay(more) => Ok(self.plain_write(source, at, data, attributes)? + more),
            FaultKind::FlipBit(bit) => {
                let mut data = data.to_vec();
                flip(&mut data, bit);
                self.plain_write(source, at, &data, attributes)
            }
            FaultKind::Misdirect(by) => {
                let at = Iova(at.0.wrapping_add_signed(by));
                self.plain_write(source, at, data, attributes)
            }
            FaultKind::Tear(len) => {
                let data = &data[..len.min(data.len())];
                self.plain_write(source, at, data, attributes)
            }
            _ => self.plain_write(source, at, data, attributes),
        }
    }

    /// How often an interrupt message is sent: once, unless a fault says otherwise.
    pub(crate) fn strike_interrupt(&mut self, function: usize) -> u32 {
        let (bdf, now) = (self.bdf(function), self.now());
        let struck = self.faults.occur(now, |site| site == Site::Interrupt(bdf));
        self.retap();
        match struck.map(|status| status.fault.kind) {
            Some(FaultKind::Drop) => 0,
            Some(FaultKind::Duplicate) => 2,
            Some(kind) => {
                self.upset(function, kind);
                1
            }
            None => 1,
        }
    }

    /// The fault that strikes this packet, if one does; what it does to the function is noted.
    fn strike_packet(
        &mut self,
        source: usize,
        write: bool,
        class: PayloadClass,
    ) -> Option<FaultKind> {
        let (bdf, now) = (self.bdf(source), self.now());
        let struck = self.faults.occur(now, |site| site.is_packet(bdf, write, class));
        self.retap();
        let kind = struck?.fault.kind;
        self.upset(source, kind);
        Some(kind)
    }

    /// Lets whoever gets a request notice that something is wrong with it; nobody if it gets nowhere. Of the
    /// place: the address, the length.
    fn strike_receiver(
        &mut self,
        source: usize,
        access: Access,
        (at, len): (Iova, usize),
        attributes: &Attributes,
        noticed: Noticed,
    ) {
        let requester = Requester::of(source);
        if self.ensure(requester, access, at.0, 1, attributes).is_err() {
            return;
        }
        if let Some(way) = self.routes.current(requester, access) {
            let receiver = way.target.reporter();
            let request = Request::new(at.0, access, attributes);
            let mut offender = self.offender(source, &request, len);
            if noticed == Noticed::Poisoned {
                offender = offender.poisoned();
            }
            self.report(receiver, noticed, Some(offender));
        }
    }

    /// Writes a line of the trace. `way` is none for what was refused.
    #[cold]
    pub(crate) fn record(
        &mut self,
        requester: Requester,
        request: &Request,
        len: usize,
        class: PayloadClass,
        way: Option<(Target, Via)>,
    ) {
        let place = |function| self.machine.tree.function_bdf(function);
        let route = match way {
            None => TracedRoute::Refused,
            Some((Target::Host, _)) => TracedRoute::Host,
            Some((Target::Interrupt, _)) => TracedRoute::Interrupt,
            Some((Target::Lost, _)) => TracedRoute::Lost,
            Some((
                Target::Memory { function, .. }
                | Target::Registers { function, .. }
                | Target::MsixTable { function }
                | Target::MsixPending { function },
                via,
            )) => match via {
                Via::Host => TracedRoute::Downstream(place(function)),
                Via::Local => TracedRoute::PeerLocal(place(function)),
                Via::Root => TracedRoute::PeerThroughRoot(place(function)),
            },
        };
        let record = TraceRecord {
            at: self.events.now(),
            requester: requester.function().map(place),
            access: request.access,
            iova: Iova(request.at),
            len: len as u64,
            class,
            route,
        };
        if let Some(trace) = &mut self.trace {
            trace.push(record);
        }
    }
}

fn flip(data: &mut [u8], bit: u64) {
    let bits = data.len() as u64 * 8;
    let place = bit.checked_rem(bits).and_then(|bit| usize::try_from(bit / 8).ok());
    if let Some(byte) = place.and_then(|at| data.get_mut(at)) {
        *byte ^= 1 << (bit % 8);
    }
}
