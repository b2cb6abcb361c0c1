//! The topology of a machine and its peer-to-peer verdict: may a *client* reach the memory of a
//! *provider*, by which route, and if not, what prevents it and what would change that?
//!
//! Two judgements, both pure functions of the topology:
//!
//! - the **kernel's rule**, to the letter ([`Topology::route`], [`Topology::map_type`]): what Linux allows,
//!   and what every platform here enforces;
//! - the **bus's** ([`Topology::bus_paths`]): where switches really send each class of packet.
//!
//! The kernel's rule is stricter on purpose: [`MapType::BusAddress`] implies that every untranslated
//! packet turns below the root complex, and not the reverse (docs/decisions/0002-kernel-rule-and-bus.md).
//! [`Topology::explain`] gives both with the evidence.
//!
//! What could not be read is [`Known::Unknown`] and stays so: the answer is then
//! [`Route::Unknown`], unless it is the same whatever the missing bits are.
//!
//! ```
//! use p2pdma_pci::Bdf;
//! use p2pdma_pci::topology::{
//!     CpuVendor, Host, HostBridge, Kind, Node, Route, Topology, Upstream,
//! };
//!
//! let at = |text: &str| text.parse::<Bdf>();
//! let below = |text: &str| Ok::<_, p2pdma_pci::ParseBdfError>(Upstream::Bridge(at(text)?));
//! let nodes = vec![
//!     Node::new(at("00:01.0")?, Kind::RootPort, Upstream::HostBridge(0)),
//!     Node::new(at("01:00.0")?, Kind::UpstreamPort, below("00:01.0")?),
//!     Node::new(at("02:00.0")?, Kind::DownstreamPort, below("01:00.0")?),
//!     Node::new(at("02:01.0")?, Kind::DownstreamPort, below("01:00.0")?),
//!     Node::new(at("03:00.0")?, Kind::Endpoint, below("02:00.0")?),
//!     Node::new(at("04:00.0")?, Kind::Endpoint, below("02:01.0")?),
//! ];
//! let bridge = HostBridge { domain: 0, bus: 0, name: None };
//! let topology = Topology::new(Host::new(CpuVendor::Intel, 6), vec![bridge], nodes, 0)?;
//! let route = topology.route(at("04:00.0")?, at("03:00.0")?);
//! assert_eq!(route, Route::BusAddress { distance: 4 });
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acs;
mod allowlist;
mod build;
mod bus;
mod fix;
mod hazard;
mod isolation;
mod kernel;
mod known;
mod link;
mod matrix;
mod node;
mod reason;
mod route;
mod verdict;

pub use acs::{Acs, AcsBit, EgressVector, ISOLATING, REDIRECTING};
pub use allowlist::{
    AllowEntry, Allowlist, BlockEntry, KernelRange, KernelVersion, ParseKernelVersionError, Source,
};
pub use build::TopologyError;
pub use bus::{BusPath, BusPaths, Decision, TlpClass};
pub use fix::{BootParameter, Fix, Setpci};
pub use hazard::Hazard;
pub use isolation::Merge;
pub use kernel::{Lists, MapType, Mapping};
pub use known::{Cause, Known};
pub use link::{Link, LinkStatus, ParseLinkError};
pub use matrix::{Matrix, Pair};
pub use node::{
    BusRange, Cpu, CpuVendor, Host, HostBridge, IommuMode, Kind, LentMemory, MemoryKind, Node,
    NodeId, ParsePciIdError, PciId, Upstream,
};
pub use reason::{ParseReasonError, ReasonCode};
pub use route::{Missing, Permission, Refusal, Route};
pub use verdict::{Effect, Gap, HostBridgeEvidence, Rule, Step, Verdict};

use crate::Bdf;

/// The functions of a machine as trees, one per host bridge, and what the verdict needs to know of
/// the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Topology {
    generation: u64,
    host: Host,
    host_bridges: Vec<HostBridge>,
    /// Depth first; the functions of a bus by address.
    nodes: Vec<Node>,
    /// Beside `nodes`.
    places: Vec<build::Place>,
    /// Beside `host_bridges`.
    roots: Vec<build::RootRule>,
    /// Beside `nodes`: which of them ACS does not isolate from one another.
    groups: Vec<u32>,
    /// Sorted by address.
    index: Vec<(Bdf, NodeId)>,
}

impl Topology {
    /// The count of changes to what this topology was read from.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The host bridges.
    #[must_use]
    pub fn host_bridges(&self) -> &[HostBridge] {
        &self.host_bridges
    }

    /// All functions, depth first: a bridge, then all that is below it.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The numbers of all functions, in the order of [`Topology::nodes`].
    pub fn ids(&self) -> impl Iterator<Item = NodeId> {
        (0..).map(NodeId).take(self.nodes.len())
    }

    /// The function at an address.
    #[must_use]
    pub fn find(&self, bdf: Bdf) -> Option<NodeId> {
        let found = self.index.binary_search_by_key(&bdf, |&(bdf, _)| bdf).ok()?;
        self.index.get(found).map(|&(_, id)| id)
    }

    /// A function.
    ///
    /// # Panics
    /// If the number is one of another, larger topology.
    #[must_use]
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The bridge above a function; `None` on a root bus.
    #[must_use]
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        let parent = self.place(id.0).parent;
        (parent != build::Place::NONE).then_some(NodeId(parent))
    }

    /// The host bridge that a function hangs on: its index in [`Topology::host_bridges`].
    #[must_use]
    pub fn host_bridge_of(&self, id: NodeId) -> usize {
        usize::from(self.place(id.0).host_bridge)
    }
}
