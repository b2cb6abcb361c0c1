//! Faults: what goes wrong, where, and at which occurrence.

use p2pdma_pci::{Bdf, Duration, Instant};

use crate::endpoint::Reset;
use crate::tlp::PayloadClass;

/// A fault to happen once, at the `index`-th occurrence (from 0) of its site after it was injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fault {
    /// Where.
    pub site: Site,
    /// At which occurrence, from 0.
    pub index: u64,
    /// What.
    pub kind: FaultKind,
}

/// Where a fault can strike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Site {
    /// A read that the function sends, of one class or any.
    Read(Bdf, Option<PayloadClass>),
    /// A write that the function sends, of one class or any.
    Write(Bdf, Option<PayloadClass>),
    /// An interrupt that the function raises.
    Interrupt(Bdf),
    /// An event of the fabric; the fault strikes the function just before it.
    Event(Bdf),
}

/// What can go wrong.
///
/// A kind that makes no sense at its site (a lost completion of a posted write) does nothing, and is
/// reported as fired all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// A write or interrupt is lost; a read gets no completion.
    Drop,
    /// A write or interrupt arrives twice.
    Duplicate,
    /// It takes this much longer.
    Delay(Duration),
    /// A read is answered with Unsupported Request.
    UnsupportedRequest,
    /// A read is answered with Completer Abort.
    CompleterAbort,
    /// A read is never answered.
    CompletionTimeout,
    /// The payload arrives marked as poisoned: a read fails, a write is dropped and counted.
    Poison,
    /// A read returns all ones and success, as from a dead device behind a root port.
    AllOnes,
    /// This bit of the payload is inverted (counted from the first byte's lowest; modulo its length).
    FlipBit(u64),
    /// A write goes this many bytes further up than asked, or down.
    Misdirect(i64),
    /// Only so many bytes of a write arrive.
    Tear(usize),
    /// The link above the function goes down and stays down.
    LinkDown,
    /// The function is pulled out of its slot.
    Unplug,
    /// The function is reset.
    Reset(Reset),
    /// The whole machine loses power and gets it back.
    PowerCut,
}

/// A fault and what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FaultStatus {
    /// The fault as injected.
    pub fault: Fault,
    /// How often its site has occurred since.
    pub occurrences: u64,
    /// When it struck, if it did.
    pub fired: Option<Instant>,
}

/// The faults of a fabric.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan {
    faults: Vec<FaultStatus>,
}

impl FaultPlan {
    pub(crate) fn inject(&mut self, fault: Fault) {
        self.faults.push(FaultStatus { fault, occurrences: 0, fired: None });
    }

    pub(crate) fn status(&self) -> &[FaultStatus] {
        &self.faults
    }

    /// Whether a packet could still be struck.
    pub(crate) fn armed(&self) -> bool {
        self.faults.iter().any(|status| status.fired.is_none())
    }

    /// Counts an occurrence at every matching site; returns the first fault that it sets off.
    pub(crate) fn occur(
        &mut self,
        now: Instant,
        matches: impl Fn(Site) -> bool,
    ) -> Option<FaultStatus> {
        let mut struck = None;
        for status in &mut self.faults {
            if status.fired.is_some() || !matches(status.fault.site) {
                continue;
            }
            if status.occurrences == status.fault.index && struck.is_none() {
                status.fired = Some(now);
                struck = Some(*status);
            }
            status.occurrences += 1;
        }
        struck
    }
}

impl Site {
    /// Whether this is the site of a packet that `function` sends.
    pub(crate) fn is_packet(self, function: Bdf, write: bool, class: PayloadClass) -> bool {
        let (who, filter) = match self {
            Self::Read(who, filter) if !write => (who, filter),
            Self::Write(who, filter) if write => (who, filter),
            _ => return false,
        };
        who == function && filter.is_none_or(|wanted| wanted == class)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_once_at_its_index() {
        let function = Bdf::from_requester(0, 0x0100);
        let site = Site::Write(function, Some(PayloadClass::Data));
        let mut plan = FaultPlan::default();
        plan.inject(Fault { site, index: 2, kind: FaultKind::Drop });
        let mut fired = Vec::new();
        for turn in 0..6 {
            let control = plan
                .occur(Instant::ZERO, |site| site.is_packet(function, true, PayloadClass::Control));
            assert!(control.is_none());
            let data = plan
                .occur(Instant::ZERO, |site| site.is_packet(function, true, PayloadClass::Data));
            fired.extend(data.map(|_| turn));
        }
        assert_eq!(fired, [2]);
        assert!(!plan.armed());
        assert!(plan.status().iter().all(|status| status.fired.is_some()));
    }
}
