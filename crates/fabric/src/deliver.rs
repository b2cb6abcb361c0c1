//! What is no plain memory: registers, MSI-X tables, interrupts, and requests that fail.

use p2pdma_pci::{Bdf, Instant, Iova};

use crate::aer::Noticed;
use crate::iommu::FaultRecord;
use crate::msix::Message;
use crate::route::{Failure, FailureKind, Reporter, Request, Requester, Target};
use crate::state::{Event, Payload, State, index};
use crate::tlp::{Access, Attributes, PayloadClass, TlpError, TlpErrorKind};

/// Where a piece of a request leads, and when it would be there.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leg {
    pub(crate) target: Target,
    pub(crate) offset: u64,
    pub(crate) done: Instant,
}

/// Register writes are delivered in pieces of at most this many bytes.
const LARGEST_WRITE: usize = 4096;

impl State {
    /// Answers a read of what is no plain memory.
    #[cold]
    pub(crate) fn answer(
        &mut self,
        requester: Requester,
        leg: Leg,
        data: &mut [u8],
    ) -> Result<(), FailureKind> {
        if let Target::Registers { function, .. } = leg.target
            && requester == Requester::HOST
        {
            self.flush_posted(function);
        }
        let functions = &mut self.machine.tree.functions;
        let msix =
            |function: usize| functions[function].msix.as_ref().ok_or(FailureKind::Unsupported);
        match leg.target {
            Target::MsixTable { function } => msix(function)?.read_table(leg.offset, data),
            Target::MsixPending { function } => msix(function)?.read_pending(leg.offset, data),
            Target::Registers { function, bar } => {
                let slot = &mut functions[function];
                let index = slot.bars[usize::from(bar)].index;
                // Absent while it runs: a function cannot complete a request of its own making.
                let endpoint = slot.endpoint.as_mut().filter(|_| slot.present);
                let endpoint = endpoint.ok_or(FailureKind::Unsupported)?;
                endpoint.mmio_read(index, leg.offset, data);
            }
            Target::Lost => data.fill(0xff),
            Target::Host | Target::Memory { .. } | Target::Interrupt => {
                return Err(FailureKind::Unsupported);
            }
        }
        Ok(())
    }

    /// Takes a write to what is no plain memory.
    pub(crate) fn take(&mut self, requester: Requester, leg: Leg, data: &[u8]) {
        match leg.target {
            Target::Registers { function, bar } => {
                let from_host = requester == Requester::HOST;
                let pieces = data.chunks(LARGEST_WRITE);
                for (piece, offset) in pieces.zip((leg.offset..).step_by(LARGEST_WRITE)) {
                    let place = (offset, leg.done);
                    self.post((function, bar), place, Payload::new(piece), from_host);
                }
            }
            Target::MsixTable { function } => {
                if let Some(msix) = &mut self.machine.tree.functions[function].msix {
                    msix.write_table(leg.offset, data);
                    let epoch = self.machine.tree.functions[function].epoch;
                    match requester {
                        Requester::HOST => self.send_pending(function),
                        // A device's own message may have got here, and may set off another's: in turn,
                        // not inside each other.
                        _ => {
                            let function = index(function);
                            self.events.push(leg.done, || Event::Unmasked { function, epoch });
                        }
                    }
                }
            }
            Target::Interrupt => {
                let data = <[u8; 4]>::try_from(data).map_or(u32::MAX, u32::from_le_bytes);
                let message = Message { address: leg.offset, data };
                let from = requester.function().map(index);
                self.events.push(leg.done, || Event::Interrupt { message, from });
            }
            Target::Host | Target::Memory { .. } | Target::MsixPending { .. } | Target::Lost => {}
        }
    }

    /// Sends a register write on its way: it arrives as an event, so no model runs inside another. The
    /// processor's own are counted, so that its reads do not pass them. Of the place: the offset in the
    /// BAR, and when it would be there.
    #[inline(always)]
    pub(crate) fn post(
        &mut self,
        (function, bar): (usize, u8),
        (offset, done): (u64, Instant),
        data: Payload,
        from_host: bool,
    ) {
        let slot = &mut self.machine.tree.functions[function];
        slot.posted += u32::from(from_host);
        let (epoch, function) = (slot.epoch, index(function));
        let write = || Event::Write { function, bar, offset, data, epoch, from_host };
        self.events.push(done, write);
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

    /// Records a failure where it is noticed, and says what the requester learns. Of the place: the
    /// address, the length. Of the failure: the address at which it happened.
    #[cold]
    #[inline(never)]
    pub(crate) fn fail(
        &mut self,
        source: usize,
        access: Access,
        (at, len): (Iova, usize),
        attributes: &Attributes,
        (failed, failure): (u64, Failure),
    ) -> TlpError {
        let request = &Request::new(failed, access, attributes);
        let before = usize::try_from(failed.saturating_sub(at.0)).unwrap_or(len);
        let len = len.saturating_sub(before);
        self.record(Requester::of(source), request, 0, PayloadClass::Control, None);
        let kind = match failure.kind {
            FailureKind::BusMasterDisabled => TlpErrorKind::BusMasterDisabled,
            FailureKind::LinkDown => TlpErrorKind::LinkDown,
            FailureKind::Unsupported => {
                let offender = self.offender(source, request, len);
                self.report(failure.at, Noticed::UnsupportedRequest, Some(offender));
                TlpErrorKind::UnsupportedRequest
            }
            FailureKind::AcsViolation(_) => {
                let offender = self.offender(source, request, len);
                self.report(failure.at, Noticed::AcsViolation, Some(offender));
                // PCIe 6.0 §6.12.4: a blocked non-posted request is completed with Completer Abort.
                TlpErrorKind::CompleterAbort
            }
            FailureKind::Iommu(reason) => {
                let own = self.bdf(source);
                let forged = request.forged_requester;
                let requester = forged.map_or(own, |id| Bdf::from_requester(own.domain(), id));
                let (iova, access) = (Iova(request.at), request.access);
                self.fault_log.push(FaultRecord { requester, iova, access, reason });
                TlpErrorKind::UnsupportedRequest
            }
            FailureKind::CompletionLost => {
                self.report(Reporter::Function(source), Noticed::CompletionTimeout, None);
                TlpErrorKind::CompletionTimeout
            }
        };
        if request.access == Access::Read {
            self.show_completion(source, kind);
        }
        TlpError { at: Iova(request.at), kind }
    }
}
