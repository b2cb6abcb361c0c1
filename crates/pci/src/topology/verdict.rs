//! A verdict with its evidence.

use std::fmt;
use std::sync::Arc;

use p2pdma_spec::pci::acs::AcsControl;

use super::build::Place;
use super::kernel::Meeting;
use super::{
    AcsBit, AllowEntry, BlockEntry, BusPath, BusPaths, Cause, Decision, Fix, Hazard, Kind, Known,
    Lists, MapType, NodeId, PciId, ReasonCode, Topology,
};
use crate::Bdf;

/// Which rule of the kernel decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The functions share an upstream bridge, and nothing on the way redirects.
    SharedBridge,
    /// Traffic goes through the root complex, and the processor is one that carries it.
    Cpu,
    /// Traffic goes through the root complex, and the list of host bridges allows it.
    Allowlist,
    /// Traffic would go through the root complex, and neither rule allows it.
    NotAllowed,
    /// Traffic would go through the root complex, and a rule allows it; but a user's entry blocks it.
    Blocked,
    /// It depends on what is not known: [`Verdict::gaps`].
    Undecided,
}

/// What a redirecting ACS bit does to a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It decides where the bus sends some class of this pair's packets.
    ActsOnPair,
    /// The bus does not look at it for this pair; the kernel counts it all the same.
    KernelOnly,
}

/// A function on the way between client and provider.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// Where it is.
    pub bdf: Bdf,
    /// What it is.
    pub kind: Kind,
    /// What people call it.
    pub name: Option<Arc<str>>,
    /// Vendor and device.
    pub id: PciId,
    /// The bits that redirect, as far as they are set: RR, CR and EC.
    pub redirecting: Known<AcsControl>,
    /// Those of them that act on this pair on the bus.
    pub acting: AcsControl,
}

impl Step {
    /// The redirecting bits that are set, each with what it does to the pair.
    pub fn bits(&self) -> impl Iterator<Item = (AcsBit, Effect)> {
        let set = self.redirecting.value().copied().unwrap_or_default();
        let effect = |bit: AcsBit| match bit.is_set(self.acting) {
            true => Effect::ActsOnPair,
            false => Effect::KernelOnly,
        };
        AcsBit::of(set).map(move |bit| (bit, effect(bit)))
    }

    /// Whether a redirecting bit is known to be set.
    #[must_use]
    pub fn redirects(&self) -> bool {
        self.redirecting.value().is_some_and(|bits| bits.into_bits() != 0)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bdf)?;
        match &self.name {
            Some(name) => write!(f, " ({name})"),
            None => Ok(()),
        }
    }
}

/// What a host bridge says to traffic through it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostBridgeEvidence {
    /// Its domain.
    pub domain: u32,
    /// Its root bus.
    pub bus: u8,
    /// The device by which the list knows it; `None` if the first device of the root bus is neither
    /// 00.0 nor a root port.
    pub key: Option<(Bdf, PciId)>,
    /// The entry that decides.
    pub entry: Option<AllowEntry>,
    /// The user's entry that blocks this pair, whatever allows it.
    pub block: Option<BlockEntry>,
    /// Whether `entry` is known to allow this pair and nothing blocks it.
    pub allows: bool,
}

impl fmt::Display for HostBridgeEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            Some((_, id)) => write!(f, "host bridge {id}"),
            None => write!(f, "host bridge pci{:04x}:{:02x}", self.domain, self.bus),
        }
    }
}

/// A fact about a pair that is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Gap {
    /// The ACS registers of a function.
    Acs {
        /// The function.
        at: Bdf,
        /// Why.
        cause: Cause,
    },
    /// The processor's make and family.
    Cpu {
        /// Why.
        cause: Cause,
    },
    /// The running kernel's version, and so what its list of host bridges says.
    Kernel {
        /// Why.
        cause: Cause,
    },
    /// Whether the first function of a root bus is a root port, by which the list would know its host
    /// bridge.
    RootDevice {
        /// The function.
        at: Bdf,
        /// Why.
        cause: Cause,
    },
    /// The function itself: the topology has none at this address.
    Absent {
        /// The address.
        at: Bdf,
    },
}

impl Gap {
    /// What would close it, as an imperative.
    #[must_use]
    pub const fn remedy(&self) -> &'static str {
        match self {
            Self::Acs { cause, .. }
            | Self::Cpu { cause }
            | Self::Kernel { cause }
            | Self::RootDevice { cause, .. } => cause.remedy(),
            Self::Absent { .. } => "check the address; if the device is new, scan again",
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Acs { at, cause } => {
                write!(f, "the ACS registers of {at} are not known: {cause}")
            }
            Self::Cpu { cause } => write!(f, "the processor is not known: {cause}"),
            Self::Kernel { cause } => write!(f, "the kernel's version is not known: {cause}"),
            Self::RootDevice { at, cause } => {
                write!(f, "whether {at} is a root port is not known: {cause}")
            }
            Self::Absent { at } => write!(f, "there is no function at {at}"),
        }
    }
}

/// All that led to an answer about a pair.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// The generation of the topology that it is about. A topology of a later one needs a new verdict.
    pub generation: u64,
    /// Who starts the requests.
    pub client: Bdf,
    /// Whose memory it is.
    pub provider: Bdf,
    /// The kernel's distance; `None` if one of the two is not there.
    pub distance: Option<u32>,
    /// The map type, users' entries in the list of host bridges counted; `None` if not known.
    pub map_type: Option<MapType>,
    /// The map type by the kernel's own list: what the running kernel says.
    pub kernel_map_type: Option<MapType>,
    /// Which rule led to `map_type`.
    pub rule: Rule,
    /// The client and the bridges above it, up to but without the common one.
    pub client_path: Vec<Step>,
    /// The provider and the bridges above it, up to but without the common one.
    pub provider_path: Vec<Step>,
    /// The bridge, or function, that both paths share.
    pub common: Option<Step>,
    /// The client's host bridge and, if it is another, the provider's.
    pub host_bridges: Vec<HostBridgeEvidence>,
    /// Where the bus itself sends this pair's packets.
    pub bus: BusPaths,
    /// What would make the kernel use bus addresses, where ACS alone prevents it.
    pub fix: Option<Fix>,
    /// What may go wrong all the same.
    pub hazards: Vec<Hazard>,
    /// What on this pair's way is not known.
    pub gaps: Vec<Gap>,
}

impl Verdict {
    /// All functions that the kernel looks at, the provider's side first and the common bridge between
    /// the two.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        let provider = self.provider_path.iter();
        provider.chain(&self.common).chain(self.client_path.iter())
    }

    /// The functions for whose redirection the kernel sends the pair through the root complex. Without
    /// a common bridge it goes there anyway, and this is empty.
    pub fn noted(&self) -> impl Iterator<Item = &Step> {
        let shared = self.common.is_some();
        self.steps().filter(move |step| shared && step.redirects())
    }

    /// Whether the pair passes only because of a user's entry in the list of host bridges.
    #[must_use]
    pub fn by_user_entry(&self) -> bool {
        let passes =
            matches!(self.map_type, Some(MapType::BusAddress | MapType::ThroughHostBridge));
        passes && self.map_type != self.kernel_map_type
    }

    /// The code for the answer, if it is not a path.
    #[must_use]
    pub fn code(&self) -> Option<ReasonCode> {
        match self.map_type {
            None => Some(ReasonCode::UnknownNeedRoot),
            Some(MapType::BusAddress | MapType::ThroughHostBridge) => None,
            Some(MapType::NotSupported) if self.rule == Rule::Blocked => {
                Some(ReasonCode::RootBlocked)
            }
            Some(MapType::NotSupported) if self.common.is_some() => Some(ReasonCode::AcsRedirect),
            Some(MapType::NotSupported) if self.host_bridges.len() > 1 => {
                Some(ReasonCode::DifferentRoot)
            }
            Some(MapType::NotSupported) => Some(ReasonCode::RootNotAllowed),
        }
    }

    /// Whether the pair's data are known to be lost, whatever status its commands end with.
    #[must_use]
    pub fn loses_data(&self) -> bool {
        self.hazards.contains(&Hazard::DataLost)
    }

    fn absent(generation: u64, client: Bdf, provider: Bdf, missing: Vec<Gap>, at: Bdf) -> Self {
        Self {
            generation,
            client,
            provider,
            distance: None,
            map_type: None,
            kernel_map_type: None,
            rule: Rule::Undecided,
            client_path: Vec::new(),
            provider_path: Vec::new(),
            common: None,
            host_bridges: Vec::new(),
            bus: BusPaths::all(BusPath::Unknown { at }),
            fix: None,
            hazards: Vec::new(),
            gaps: missing,
        }
    }
}

impl Topology {
    /// The verdict about a pair, with all its evidence.
    #[must_use]
    pub fn explain(&self, client: Bdf, provider: Bdf) -> Verdict {
        match (self.find(client), self.find(provider)) {
            (Some(client), Some(provider)) => self.explain_nodes(client, provider),
            (near, far) => {
                let places = [(near, client), (far, provider)];
                let gaps: Vec<Gap> = places
                    .into_iter()
                    .filter(|(node, _)| node.is_none())
                    .map(|(_, at)| Gap::Absent { at })
                    .collect();
                let at = if near.is_none() { client } else { provider };
                Verdict::absent(self.generation, client, provider, gaps, at)
            }
        }
    }

    fn explain_nodes(&self, client: NodeId, provider: NodeId) -> Verdict {
        let meeting = self.meet(provider.0, client.0);
        let map_type = self.map_type(client, provider, Lists::WithUsers).map_type;
        let bus = self.bus_paths(client, provider);
        let mut verdict = Verdict {
            generation: self.generation,
            client: self.bdf_at(client.0),
            provider: self.bdf_at(provider.0),
            distance: Some(meeting.distance),
            map_type,
            kernel_map_type: self.map_type(client, provider, Lists::Kernel).map_type,
            rule: self.rule(client, provider, map_type),
            client_path: self.steps(client.0, meeting.common, &bus),
            provider_path: self.steps(provider.0, meeting.common, &bus),
            common: meeting.common.map(|at| self.step(at, &bus)),
            host_bridges: self.host_bridge_evidence(client, provider),
            bus,
            fix: None,
            hazards: self.hazards(client, provider, &meeting, map_type),
            gaps: Vec::new(),
        };
        verdict.gaps = self.gaps(&verdict);
        let noted = self.noted_nodes(client, provider, &meeting);
        if !noted.is_empty() {
            verdict.fix = Some(self.fix(&noted));
        }
        verdict
    }

    fn rule(&self, client: NodeId, provider: NodeId, map_type: Option<MapType>) -> Rule {
        match map_type {
            None => Rule::Undecided,
            Some(MapType::BusAddress) => Rule::SharedBridge,
            Some(MapType::NotSupported) => {
                match self.permitted(client, provider, Lists::WithUsers) {
                    Some(true) => Rule::Blocked,
                    _ => Rule::NotAllowed,
                }
            }
            // The kernel asks the processor first.
            Some(MapType::ThroughHostBridge) => match self.permission(client, provider) {
                super::Permission::Cpu => Rule::Cpu,
                super::Permission::KernelList | super::Permission::UserList => Rule::Allowlist,
            },
        }
    }

    fn steps(&self, from: u32, common: Option<u32>, bus: &BusPaths) -> Vec<Step> {
        let mut steps = Vec::with_capacity(4);
        let mut at = from;
        while at != Place::NONE && Some(at) != common {
            steps.push(self.step(at, bus));
            at = self.place(at).parent;
        }
        steps
    }

    fn step(&self, at: u32, bus: &BusPaths) -> Step {
        let node = &self.nodes[at as usize];
        let redirecting = node.redirecting();
        let set = redirecting.value().copied().unwrap_or_default();
        let acts = |&bit: &AcsBit| bus.acts(Decision { at: node.bdf, bit });
        Step {
            bdf: node.bdf,
            kind: node.kind,
            name: node.name.clone(),
            id: node.id,
            redirecting,
            acting: AcsBit::of(set)
                .filter(acts)
                .fold(AcsControl::new(), |acting, bit| bit.set(acting)),
        }
    }

    fn host_bridge_evidence(&self, client: NodeId, provider: NodeId) -> Vec<HostBridgeEvidence> {
        let (near, far) = (self.host_bridge_of(client), self.host_bridge_of(provider));
        let mut bridges = vec![self.judge_host_bridge(near, near == far)];
        if far != near {
            bridges.push(self.judge_host_bridge(far, false));
        }
        bridges
    }

    /// What the lists say of a host bridge, by its index in [`Topology::host_bridges`]: for pairs below
    /// it alone (`same`), or for pairs of which one function is below another one.
    ///
    /// # Panics
    /// If there is no such host bridge.
    #[must_use]
    pub fn judge_host_bridge(&self, index: usize, same: bool) -> HostBridgeEvidence {
        let key = self.roots[index].key.map(|at| &self.nodes[at as usize]);
        let (list, kernel) = (&self.host.allowlist, self.host.kernel);
        let rule = if same { self.roots[index].same } else { self.roots[index].across };
        HostBridgeEvidence {
            domain: self.host_bridges[index].domain,
            bus: self.host_bridges[index].bus,
            key: key.map(|node| (node.bdf, node.id)),
            entry: key.and_then(|node| list.entry(node.id, kernel, same).cloned()),
            block: key.and_then(|node| list.block_entry(node.id, kernel, same).cloned()),
            allows: rule.any == Some(true) && rule.blocked == Some(false),
        }
    }

    /// What is not known of what the rules look at for this pair.
    fn gaps(&self, verdict: &Verdict) -> Vec<Gap> {
        let mut gaps = Vec::new();
        if verdict.common.is_some() {
            gaps.extend(verdict.steps().filter_map(|step| {
                let cause = step.redirecting.cause()?;
                Some(Gap::Acs { at: step.bdf, cause })
            }));
        }
        let through_root = verdict.common.is_none() || verdict.noted().next().is_some();
        if let Known::Unknown(cause) = self.host.cpu
            && through_root
            && verdict.rule == Rule::Undecided
        {
            gaps.push(Gap::Cpu { cause });
        }
        if through_root && verdict.rule == Rule::Undecided {
            gaps.extend(self.list_gaps(verdict));
        }
        gaps
    }

    /// What is missing to tell what the lists of host bridges say.
    fn list_gaps(&self, verdict: &Verdict) -> Vec<Gap> {
        let same = verdict.host_bridges.len() < 2;
        let place = |bridge: &HostBridgeEvidence| {
            let is = |own: &super::HostBridge| (own.domain, own.bus) == (bridge.domain, bridge.bus);
            self.host_bridges.iter().position(is)
        };
        let rules = verdict.host_bridges.iter().filter_map(place).map(|index| &self.roots[index]);
        let mut gaps = Vec::new();
        for rule in rules {
            let lists = if same { &rule.same } else { &rule.across };
            let Some(first) = rule.key.map(|at| &self.nodes[at as usize]) else { continue };
            if lists.any.is_some() && lists.blocked.is_some() {
                continue;
            }
            if super::kernel::keys_the_list(first).is_none() {
                let cause = first.acs.cause().unwrap_or(Cause::Unreadable);
                gaps.push(Gap::RootDevice { at: first.bdf, cause });
            }
            if let Some(Known::Unknown(cause)) = self.host.kernel
                && !gaps.contains(&Gap::Kernel { cause })
            {
                gaps.push(Gap::Kernel { cause });
            }
        }
        gaps
    }

    /// The functions that [`Verdict::noted`] lists, in the order in which the kernel finds them.
    pub(super) fn noted_nodes(
        &self,
        client: NodeId,
        provider: NodeId,
        meeting: &Meeting,
    ) -> Vec<NodeId> {
        let mut noted = Vec::new();
        let Some(common) = meeting.common else {
            return noted;
        };
        let ways = [(provider.0, self.place(common).parent), (client.0, common)];
        for (start, end) in ways {
            let mut at = start;
            while at != end {
                let bits = self.nodes[at as usize].redirecting();
                if bits.value().is_some_and(|bits| bits.into_bits() != 0) {
                    noted.push(NodeId(at));
                }
                at = self.place(at).parent;
            }
        }
        noted
    }
}
