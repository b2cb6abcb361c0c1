//! Errors in registers: what a port or function logs of an error that it notices, and the message that
//! reaches its root port (PCIe 6.0 §6.2.5, §6.2.6).
//!
//! What there is: Device Status; the uncorrectable errors' status, mask and severity; First Error Pointer
//! and Header Log; Advisory Non-Fatal Error for requests that a completion with Unsupported Request or
//! Completer Abort answers (§6.2.3.2.4.1); the reporting enables of Device Control and SERR# Enable of the
//! bridges above; Root Error Status and Error Source Identification; master and target aborts and
//! poison in Status and Secondary Status.
//!
//! What there is not: a root port does not interrupt the processor (Root Error Command, Root Control and
//! SERR# Enable of the command register read as zero). One header is logged, that of the first error. The
//! packets of completions are not logged, so a poisoned completion or a timeout has a First Error Pointer
//! and a Header Log of zeros; tags are zero. Nobody receives an Unexpected Completion or a Malformed TLP.
//! Root complexes and IOMMUs have no registers of their own, and requests of the processor that fail are
//! logged by nobody.

use p2pdma_pci::Width;
use p2pdma_spec::pci::aer::{
    self, AdvancedErrorControl, CorrectableErrors, ErrorSource, RootErrorStatus,
    UncorrectableErrors,
};
use p2pdma_spec::pci::bridge::BridgeControl;
use p2pdma_spec::pci::config::{self, Status, type1};
use p2pdma_spec::pci::express::{self, DeviceStatus};
use p2pdma_spec::pci::tlp::{HeaderStart, MemoryRequest};

use crate::config::ConfigImage;
use crate::counters::ErrorCounters;
use crate::registers::{device_control, word};
use crate::route::{Reporter, Request};
use crate::state::State;
use crate::tlp::{Access, TlpErrorKind};
use crate::tree::Tree;

/// An error that a port or function notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Noticed {
    UnsupportedRequest,
    CompleterAbort,
    CompletionTimeout,
    Poisoned,
    AcsViolation,
}

impl Noticed {
    fn status(self) -> UncorrectableErrors {
        let none = UncorrectableErrors::new();
        match self {
            Self::UnsupportedRequest => none.with_unsupported_request(true),
            Self::CompleterAbort => none.with_completer_abort(true),
            Self::CompletionTimeout => none.with_completion_timeout(true),
            Self::Poisoned => none.with_poisoned_tlp(true),
            Self::AcsViolation => none.with_acs_violation(true),
        }
    }

    fn counter(self, errors: &mut ErrorCounters) -> &mut u64 {
        match self {
            Self::UnsupportedRequest => &mut errors.unsupported_requests,
            Self::CompleterAbort => &mut errors.completer_aborts,
            Self::CompletionTimeout => &mut errors.completion_timeouts,
            Self::Poisoned => &mut errors.poisoned,
            Self::AcsViolation => &mut errors.acs_violations,
        }
    }
}

/// The request in which an error was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offender {
    header: [u32; 4],
    /// Whether a completion tells the requester.
    answered: bool,
}

impl Offender {
    /// The same with a payload that is marked as poisoned.
    pub(crate) fn poisoned(mut self) -> Self {
        let start = HeaderStart::from_bits(self.header[0]);
        self.header[0] = start.with_poisoned(true).into_bits();
        self
    }
}

/// An error message (PCIe 6.0 §2.2.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Message {
    Correctable,
    NonFatal,
    Fatal,
}

const ADVISORY: CorrectableErrors = CorrectableErrors::new().with_advisory_non_fatal(true);

/// The Correctable Error Mask after a reset (PCIe 6.0 §7.8.4.6).
pub(crate) const CORRECTABLE_MASK: CorrectableErrors = ADVISORY;

impl State {
    /// The first packet of what is left of a request, from where it failed.
    pub(crate) fn offender(&self, source: usize, request: &Request, len: usize) -> Offender {
        let tree = &self.machine.tree;
        let own = tree.function_bdf(source).requester();
        let packets = tree.functions[source].packets;
        let header = MemoryRequest {
            address: request.at,
            len: packets.first(request.access, request.at, len as u64),
            write: request.access == Access::Write,
            requester: request.forged_requester.unwrap_or(own),
            translated: request.translated,
            relaxed_ordering: request.relaxed_ordering,
            poisoned: false,
        };
        Offender { header: header.header(), answered: request.access == Access::Read }
    }

    /// Counts an error at whoever noticed it, logs it there, and signals it. `offender` is the request that
    /// arrived, if it was one.
    pub(crate) fn report(&mut self, at: Reporter, noticed: Noticed, offender: Option<Offender>) {
        let tree = &mut self.machine.tree;
        let (errors, config, status) = match at {
            Reporter::Port(port) => {
                let port = &mut tree.ports[port];
                // Requests come to a port that notices something from below, which is its secondary side.
                (&mut port.errors, &mut port.config, type1::SECONDARY_STATUS)
            }
            Reporter::Function(function) => {
                let function = &mut tree.functions[function];
                (&mut function.errors, &mut function.config, config::offset::STATUS)
            }
            Reporter::HostBridge | Reporter::Iommu => return,
        };
        *noticed.counter(errors) += 1;
        let aborts = matches!(noticed, Noticed::CompleterAbort | Noticed::AcsViolation);
        let bits = Status::new()
            .with_signaled_target_abort(aborts && offender.is_some_and(|request| request.answered))
            .with_detected_parity_error(noticed == Noticed::Poisoned);
        config.raise_word(status, bits.into_bits());
        if let Some(message) = config.log(noticed, offender) {
            tree.signal(at, message);
        }
    }

    /// Shows in a requester's Status register how its read was completed (PCIe 6.0 §7.5.1.1.4).
    pub(crate) fn show_completion(&mut self, requester: usize, kind: TlpErrorKind) {
        let bits = Status::new()
            .with_received_master_abort(kind == TlpErrorKind::UnsupportedRequest)
            .with_received_target_abort(kind == TlpErrorKind::CompleterAbort);
        let config = &mut self.machine.tree.functions[requester].config;
        config.raise_word(config::offset::STATUS, bits.into_bits());
    }
}

impl ConfigImage {
    /// Logs an uncorrectable error; says which message goes to the root port, if one does.
    fn log(&mut self, noticed: Noticed, offender: Option<Offender>) -> Option<Message> {
        let (error, at) = (noticed.status().into_bits(), self.offsets.aer);
        let has =
            |config: &Self, register, bits| config.read(at + register, Width::Dword) & bits != 0;
        let fatal = has(self, aer::offset::UNCORRECTABLE_SEVERITY, error);
        let advisory = !fatal && offender.is_some_and(|request| request.answered);
        let unsupported = noticed == Noticed::UnsupportedRequest;
        let status = DeviceStatus::new()
            .with_correctable_error(advisory)
            .with_non_fatal_error(!advisory && !fatal)
            .with_fatal_error(fatal)
            .with_unsupported_request(unsupported);
        let express = self.offsets.express;
        self.raise_word(express + express::offset::DEVICE_STATUS, status.into_bits());
        if advisory {
            self.raise(at + aer::offset::CORRECTABLE_STATUS, ADVISORY.into_bits());
            if has(self, aer::offset::CORRECTABLE_MASK, ADVISORY.into_bits()) {
                return None;
            }
        }
        let masked = has(self, aer::offset::UNCORRECTABLE_MASK, error);
        self.point_at(error, masked, offender);
        self.raise(at + aer::offset::UNCORRECTABLE_STATUS, error);
        let control = device_control(self);
        let (message, enabled) = if advisory {
            (Message::Correctable, control.correctable_error_reporting())
        } else if fatal {
            (Message::Fatal, control.fatal_error_reporting() && !masked)
        } else {
            (Message::NonFatal, control.non_fatal_error_reporting() && !masked)
        };
        let enabled = enabled && (!unsupported || control.unsupported_request_reporting());
        enabled.then_some(message)
    }

    /// Records which error is the first, and its request: unless an earlier one still stands, or it is masked
    /// (PCIe 6.0 §6.2.4.2).
    fn point_at(&mut self, error: u32, masked: bool, offender: Option<Offender>) {
        let at = self.offsets.aer;
        let control = self.read(at + aer::offset::CONTROL, Width::Dword);
        let control = AdvancedErrorControl::from_bits(control);
        let pointed = 1 << control.first_error_pointer();
        if self.read(at + aer::offset::UNCORRECTABLE_STATUS, Width::Dword) & pointed != 0 {
            return;
        }
        // A pointer to bit 0, which no error has, is to none.
        let bit = if masked { 0 } else { error.trailing_zeros() };
        let control = control.with_first_error_pointer(bit.to_le_bytes()[0]);
        self.force(at + aer::offset::CONTROL, control.into_bits());
        let header = offender.filter(|_| !masked).map_or([0; 4], |request| request.header);
        for (register, value) in (at + aer::offset::HEADER_LOG..).step_by(4).zip(header) {
            self.force(register, value);
        }
    }

    /// Whether a bridge passes a message from below on (PCIe 6.0 §7.5.1.3.13); it notes it anyway.
    fn forwards(&mut self, message: Message) -> bool {
        let status = Status::new().with_system_error(message != Message::Correctable);
        self.raise_word(type1::SECONDARY_STATUS, status.into_bits());
        BridgeControl::from_bits(word(self, type1::BRIDGE_CONTROL)).serr()
    }

    /// A root port receives a message (PCIe 6.0 §7.8.4.10, §7.8.4.11).
    fn receive(&mut self, message: Message, from: u16) {
        let at = self.offsets.aer;
        let read = |register| self.read(at + register, Width::Dword);
        let mut status = RootErrorStatus::from_bits(read(aer::offset::ROOT_ERROR_STATUS));
        let mut source = ErrorSource::from_bits(read(aer::offset::ERROR_SOURCE));
        if message == Message::Correctable {
            if status.correctable() {
                status.set_multiple_correctable(true);
            } else {
                status.set_correctable(true);
                source.set_correctable(from);
            }
        } else {
            let fatal = message == Message::Fatal;
            if status.uncorrectable() {
                status.set_multiple_uncorrectable(true);
            } else {
                status.set_uncorrectable(true);
                status.set_first_uncorrectable_fatal(fatal);
                source.set_uncorrectable(from);
            }
            status.set_fatal(status.fatal() || fatal);
            status.set_non_fatal(status.non_fatal() || !fatal);
        }
        self.force(at + aer::offset::ROOT_ERROR_STATUS, status.into_bits());
        self.force(at + aer::offset::ERROR_SOURCE, source.into_bits());
    }
}

impl Tree {
    /// Sends an error message up to the root port, which may be its sender.
    fn signal(&mut self, from: Reporter, message: Message) {
        let (source, mut next, root) = match from {
            Reporter::Function(function) => {
                let port = self.functions[function].port;
                (self.function_bdf(function), Some(port), self.root_port(port))
            }
            Reporter::Port(port) => {
                (self.port_bdf(port), self.ports[port].above, self.root_port(port))
            }
            Reporter::HostBridge | Reporter::Iommu => return,
        };
        while let Some(port) = next {
            if !self.ports[port].config.forwards(message) {
                return;
            }
            next = self.ports[port].above;
        }
        self.ports[root].config.receive(message, source.requester());
    }
}
