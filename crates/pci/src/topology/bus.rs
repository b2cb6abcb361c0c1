//! The bus's judgement: where switches and multi-function devices really send each kind of packet
//! (PCIe 6.0 §6.12). The kernel does not ask this; its rule is stricter.
//!
//! | control | acts | on |
//! |---|---|---|
//! | SV | never here: a function's own requester ID is valid | |
//! | TB | at every port that a packet passes upwards | translated requests: blocked |
//! | RR | only where a request would turn to a peer | requests: sent up |
//! | CR | only where a completion would turn to a peer | completions that are not relaxed-ordered: sent up |
//! | UF | at a switch's port where a packet sent up would go down again | all: sent up further, else turned back there |
//! | EC | only where a request would turn, for peers in the vector | requests: blocked, or sent up if RR is on; peers not in the vector are reached directly even if RR is on |
//! | DT | only where a request would turn | translated requests: go directly whatever RR and EC say |
//!
//! A packet turns at the downstream port through which it enters the switch, or, within a
//! multi-function device, at the function that it leaves. A root port is part of the root complex: what
//! was sent up to it has reached the root, whatever its UF says.

use super::build::Place;
use super::{Acs, AcsBit, Kind, Known, NodeId, Topology};
use crate::Bdf;

/// Kinds of packets that ACS tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlpClass {
    /// A memory write from client to provider: posted, untranslated.
    Write,
    /// A memory read request from client to provider, untranslated.
    Read,
    /// A completion with the provider's data, not relaxed-ordered.
    Completion,
    /// A completion with the relaxed-ordering attribute set.
    RelaxedCompletion,
    /// A memory request from client to provider whose address was translated beforehand (ATS).
    Translated,
}

impl TlpClass {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Write, Self::Read, Self::Completion, Self::RelaxedCompletion, Self::Translated];

    const fn is_completion(self) -> bool {
        matches!(self, Self::Completion | Self::RelaxedCompletion)
    }
}

/// The control that decided, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// The port or function.
    pub at: Bdf,
    /// The control.
    pub bit: AcsBit,
}

/// Where the bus sends a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BusPath {
    /// It turns below the root complex: no IOMMU sees it.
    Local {
        /// Where it turns.
        turn: Bdf,
        /// The control that had sent it up before a port without upstream forwarding turned it back.
        sent_up: Option<Decision>,
    },
    /// It goes through the root complex, which may pass it on or not.
    ThroughRoot {
        /// The control that sent it there; `None` if there is no other way.
        sent_up: Option<Decision>,
    },
    /// It is dropped as an ACS violation.
    Blocked(Decision),
    /// It depends on the ACS registers of a port that could not be read.
    Unknown {
        /// The port or function.
        at: Bdf,
    },
}

impl BusPath {
    /// Whether the packet certainly stays below the root complex.
    #[must_use]
    pub const fn is_local(self) -> bool {
        matches!(self, Self::Local { .. })
    }

    /// The control that decided, if one did.
    #[must_use]
    pub const fn decision(self) -> Option<Decision> {
        match self {
            Self::Local { sent_up, .. } | Self::ThroughRoot { sent_up } => sent_up,
            Self::Blocked(decision) => Some(decision),
            Self::Unknown { .. } => None,
        }
    }
}

/// The bus's judgement of a pair: a path for each class of packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusPaths {
    paths: [BusPath; TlpClass::ALL.len()],
}

impl BusPaths {
    pub(super) const fn all(path: BusPath) -> Self {
        Self { paths: [path; TlpClass::ALL.len()] }
    }

    /// Where packets of a class go.
    #[must_use]
    pub const fn of(&self, class: TlpClass) -> BusPath {
        self.paths[class as usize]
    }

    /// Whether all that an ordinary transfer in either direction consists of stays below the root.
    #[must_use]
    pub fn untranslated_local(&self) -> bool {
        TlpClass::ALL
            .into_iter()
            .filter(|&class| class != TlpClass::Translated)
            .all(|class| self.of(class).is_local())
    }

    /// Whether a control of a function decides about some class of this pair.
    #[must_use]
    pub fn acts(&self, decision: Decision) -> bool {
        self.paths.iter().any(|path| path.decision() == Some(decision))
    }
}

/// What a function does with a packet that would turn there.
enum Turn {
    Direct,
    SentUp(AcsBit),
    Blocked(AcsBit),
    Unknown,
}

impl Topology {
    /// Where the bus sends all classes of packets of a pair.
    #[must_use]
    pub fn bus_paths(&self, client: NodeId, provider: NodeId) -> BusPaths {
        BusPaths { paths: TlpClass::ALL.map(|class| self.bus_path(client, provider, class)) }
    }

    /// Where the bus sends packets of one class: requests from the client to the provider's memory,
    /// completions from the provider to the client. A function is taken to reach its own memory inside
    /// itself.
    #[must_use]
    pub fn bus_path(&self, client: NodeId, provider: NodeId, class: TlpClass) -> BusPath {
        let (from, to) =
            if class.is_completion() { (provider.0, client.0) } else { (client.0, provider.0) };
        let meeting = self.meet(from, to);
        let (near, far) = (meeting.first_side, meeting.second_side);
        let Some(common) = meeting.common else {
            return self.between_roots(from, near, far, class);
        };
        // From a function to the memory of a bridge above it, from a bridge to a function below it, or
        // to itself: nothing turns.
        if near == Place::NONE || far == Place::NONE {
            let end = if near == Place::NONE { from } else { self.place(common).parent };
            let blocked = self.translation_blocked(from, end, class);
            return blocked.unwrap_or(BusPath::Local { turn: self.bdf_at(common), sent_up: None });
        }
        if let Some(blocked) = self.translation_blocked(from, self.place(near).parent, class) {
            return blocked;
        }
        if self.kind_at(common) == Kind::PciBridge {
            // A conventional bus: everybody on it hears the packet.
            return BusPath::Local { turn: self.bdf_at(common), sent_up: None };
        }
        let turn = self.bdf_at(near);
        match self.turn(near, far, class) {
            Turn::Direct => BusPath::Local { turn, sent_up: None },
            // What may be a conventional bus has no ports to redirect at.
            _ if self.kind_at(common) == Kind::UnreadBridge => {
                BusPath::Unknown { at: self.bdf_at(common) }
            }
            Turn::SentUp(bit) => self.climb(common, Decision { at: turn, bit }, class),
            Turn::Blocked(bit) => BusPath::Blocked(Decision { at: turn, bit }),
            Turn::Unknown => BusPath::Unknown { at: turn },
        }
    }

    /// A packet was sent up at `sent_up`, and its target is below the bridge `from` nevertheless.
    fn climb(&self, from: u32, sent_up: Decision, class: TlpClass) -> BusPath {
        let mut at = from;
        loop {
            if self.kind_at(at) == Kind::UnreadBridge {
                return BusPath::Unknown { at: self.bdf_at(at) };
            }
            if self.kind_at(at).faces_down() {
                let bdf = self.bdf_at(at);
                if let Some(blocked) = self.translation_blocked_at(at, class) {
                    return blocked;
                }
                if self.kind_at(at) == Kind::RootPort {
                    return BusPath::ThroughRoot { sent_up: Some(sent_up) };
                }
                match self.control_at(at, AcsBit::UpstreamForwarding) {
                    None => return BusPath::Unknown { at: bdf },
                    Some(true) => {}
                    Some(false) => {
                        return BusPath::Local { turn: bdf, sent_up: Some(sent_up) };
                    }
                }
            }
            at = self.place(at).parent;
            if at == Place::NONE {
                return BusPath::ThroughRoot { sent_up: Some(sent_up) };
            }
        }
    }

    /// From one root port, or function on the root bus, to another: always through the root complex,
    /// unless a root port's egress control forbids that.
    fn between_roots(&self, from: u32, near: u32, far: u32, class: TlpClass) -> BusPath {
        if let Some(blocked) = self.translation_blocked(from, Place::NONE, class) {
            return blocked;
        }
        let alone = BusPath::ThroughRoot { sent_up: None };
        let one_complex = self.place(near).host_bridge == self.place(far).host_bridge;
        let kinds = [near, far].map(|at| self.kind_at(at));
        let may_be_port = |kind| matches!(kind, Kind::RootPort | Kind::UnreadBridge);
        if !one_complex || !kinds.into_iter().all(may_be_port) {
            return alone;
        }
        let at = self.bdf_at(near);
        match self.turn(near, far, class) {
            Turn::Direct => alone,
            _ if kinds != [Kind::RootPort; 2] => BusPath::Unknown { at },
            Turn::SentUp(bit) => BusPath::ThroughRoot { sent_up: Some(Decision { at, bit }) },
            Turn::Blocked(bit) => BusPath::Blocked(Decision { at, bit }),
            Turn::Unknown => BusPath::Unknown { at },
        }
    }

    /// Whether a port on the way up from `from`, below `end`, blocks a translated request.
    fn translation_blocked(&self, from: u32, end: u32, class: TlpClass) -> Option<BusPath> {
        let mut at = from;
        while at != end && at != Place::NONE {
            if let Some(blocked) = self.translation_blocked_at(at, class) {
                return Some(blocked);
            }
            at = self.place(at).parent;
        }
        None
    }

    fn translation_blocked_at(&self, at: u32, class: TlpClass) -> Option<BusPath> {
        let kind = self.kind_at(at);
        let may_face_down = kind.faces_down() || kind == Kind::UnreadBridge;
        if class != TlpClass::Translated || !may_face_down {
            return None;
        }
        let (bdf, bit) = (self.bdf_at(at), AcsBit::TranslationBlocking);
        match self.control_at(at, bit) {
            Some(false) => None,
            Some(true) if kind.faces_down() => Some(BusPath::Blocked(Decision { at: bdf, bit })),
            _ => Some(BusPath::Unknown { at: bdf }),
        }
    }

    /// What `near` does with a packet that would go from it to its peer `far`.
    fn turn(&self, near: u32, far: u32, class: TlpClass) -> Turn {
        let acs = match &self.nodes[near as usize].acs {
            Known::Unknown(_) => return Turn::Unknown,
            Known::Value(None) => return Turn::Direct,
            Known::Value(Some(acs)) => acs,
        };
        let control = acs.control;
        match class {
            TlpClass::RelaxedCompletion => Turn::Direct,
            TlpClass::Completion if control.completion_redirect() => {
                Turn::SentUp(AcsBit::CompletionRedirect)
            }
            TlpClass::Completion => Turn::Direct,
            TlpClass::Translated if control.direct_translated() => Turn::Direct,
            _ if control.egress_control() => self.egress(acs, near, far),
            _ if control.request_redirect() => Turn::SentUp(AcsBit::RequestRedirect),
            _ => Turn::Direct,
        }
    }

    /// Egress control and request redirect together (PCIe 6.0 §6.12.3): the vector says for whom, RR
    /// says what.
    fn egress(&self, acs: &Acs, near: u32, far: u32) -> Turn {
        match self.lists(acs, near, far) {
            None => Turn::Unknown,
            Some(false) => Turn::Direct,
            Some(true) if acs.control.request_redirect() => Turn::SentUp(AcsBit::RequestRedirect),
            Some(true) => Turn::Blocked(AcsBit::EgressControl),
        }
    }

    /// Whether the egress vector of `near` lists its peer `far`: by port number in a port, by function
    /// number in a multi-function device.
    pub(super) fn lists(&self, acs: &Acs, near: u32, far: u32) -> Option<bool> {
        let vector = acs.egress.value()?;
        let peer = &self.nodes[far as usize];
        if [self.kind_at(near), peer.kind].contains(&Kind::UnreadBridge) {
            return None;
        }
        let number = if self.kind_at(near).faces_down() {
            peer.kind.faces_down().then_some(peer.port_number)
        } else {
            Some(peer.bdf.function())
        };
        Some(number.is_some_and(|number| vector.lists(number)))
    }

    pub(super) fn control_at(&self, at: u32, bit: AcsBit) -> Option<bool> {
        let acs = self.nodes[at as usize].acs.value()?;
        Some(acs.as_ref().is_some_and(|acs| bit.is_set(acs.control)))
    }

    pub(super) fn kind_at(&self, at: u32) -> Kind {
        self.nodes[at as usize].kind
    }

    pub(super) fn bdf_at(&self, at: u32) -> Bdf {
        self.nodes[at as usize].bdf
    }
}
