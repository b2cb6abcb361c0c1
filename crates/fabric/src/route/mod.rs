//! Routing: which way a packet goes, decided in one place for every platform that is built on the fabric.
//!
//! [`resolve`] walks the machine as a packet would and decides at every port; its answer holds for a
//! whole run of addresses. [`Routes`] keeps the answers per requester, so that a warm decision is a
//! comparison or a short binary search. Any change of a register, mapping, link or slot starts a new
//! generation, which forgets all answers.

pub(crate) mod boundaries;
mod cache;
pub(crate) mod resolve;

pub(crate) use cache::{Route, Routes};

use p2pdma_spec::pci::acs::AcsControl;

use crate::iommu::FaultReason;
use crate::timing::Hop;
use crate::tlp::{Access, AddressType, Attributes};

/// Who sends a request: the processor, or a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Requester(usize);

impl Requester {
    /// The processor.
    pub(crate) const HOST: Self = Self(0);

    pub(crate) fn of(function: usize) -> Self {
        Self(function + 1)
    }

    pub(crate) fn function(self) -> Option<usize> {
        self.0.checked_sub(1)
    }
}

/// Where a packet ends up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Host memory; offsets are system addresses.
    Host,
    /// Memory behind a BAR; offsets count from the region's start.
    Memory { function: usize, bar: u8, region: u8 },
    /// Registers; offsets count from the BAR's start.
    Registers { function: usize, bar: u8 },
    /// A function's MSI-X table.
    MsixTable { function: usize },
    /// A function's MSI-X pending bits.
    MsixPending { function: usize },
    /// The interrupt controller; offsets are system addresses.
    Interrupt,
    /// Nowhere, and nobody says so.
    Lost,
}

impl Target {
    /// The function that it is a part of; none if it is the root complex's.
    pub(crate) fn function(self) -> Option<usize> {
        match self {
            Self::Memory { function, .. }
            | Self::Registers { function, .. }
            | Self::MsixTable { function }
            | Self::MsixPending { function } => Some(function),
            Self::Host | Self::Interrupt | Self::Lost => None,
        }
    }

    /// Who notices what is wrong there.
    pub(crate) fn reporter(self) -> Reporter {
        self.function().map_or(Reporter::HostBridge, Reporter::Function)
    }
}

/// Why a packet ends up nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) at: Reporter,
    pub(crate) kind: FailureKind,
}

/// Who noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reporter {
    Port(usize),
    Function(usize),
    HostBridge,
    Iommu,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// Nothing was sent: bus mastering is off.
    BusMasterDisabled,
    /// Nothing was sent, or nothing arrived: a link is down.
    LinkDown,
    /// Nobody decodes the address, or a bridge does not pass it on.
    Unsupported,
    /// An access control service blocked it.
    AcsViolation(AcsControl),
    /// The IOMMU stopped it.
    Iommu(FaultReason),
    /// The request arrived, and its completion did not.
    CompletionLost,
}

/// Through what a packet went on its way to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// To or from the host itself.
    Host,
    /// Turned at a switch, at a port, or inside the device.
    Local,
    /// Through a root complex.
    Root,
}

/// A memory request, as far as routing needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) at: u64,
    pub(crate) access: Access,
    pub(crate) translated: bool,
    pub(crate) relaxed_ordering: bool,
    pub(crate) forged_requester: Option<u16>,
    flavour: cache::Flavour,
}

impl Request {
    pub(crate) fn new(at: u64, access: Access, attributes: &Attributes) -> Self {
        Self {
            at,
            access,
            translated: attributes.address_type == AddressType::Translated,
            relaxed_ordering: attributes.relaxed_ordering,
            forged_requester: attributes.forged_requester,
            flavour: attributes.flavour(),
        }
    }
}

/// The way of a packet, and the run of addresses for which it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Resolution {
    pub(crate) outcome: Result<Target, Failure>,
    /// First and one past the last address with the same answer.
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// The target's offset that `start` leads to.
    pub(crate) base: u64,
    /// The links that the request passes.
    pub(crate) out: Vec<Hop>,
    /// The links that a read's completions pass.
    pub(crate) back: Vec<Hop>,
    /// Through what the payload went: the request of a write, the completions of a read.
    pub(crate) via: Via,
}
