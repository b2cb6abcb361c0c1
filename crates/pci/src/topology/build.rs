//! Construction: from a list of functions, each naming what it is below, to a checked tree.

use std::collections::HashMap;

use super::{Host, HostBridge, Known, Lists, Node, NodeId, Topology, Upstream};
use crate::Bdf;

/// Why a list of functions is no topology.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// Two functions have one address.
    #[error("two functions are at {0}")]
    DuplicateBdf(Bdf),
    /// Two host bridges have one root bus.
    #[error("two host bridges have the root bus {domain:04x}:{bus:02x}")]
    DuplicateHostBridge {
        /// Their domain.
        domain: u32,
        /// Their bus.
        bus: u8,
    },
    /// A function is said to be below a bridge that is not there.
    #[error("{bdf} is below {bridge}, which is not in the topology")]
    NoSuchBridge {
        /// The function.
        bdf: Bdf,
        /// The bridge it names.
        bridge: Bdf,
    },
    /// A function is said to be on the root bus of a host bridge that is not there.
    #[error("{bdf} is below host bridge {index}, but there are {count}")]
    NoSuchHostBridge {
        /// The function.
        bdf: Bdf,
        /// The index it names.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// A function is below one that is no bridge.
    #[error("{bdf} is below {parent}, which is no bridge")]
    BelowNoBridge {
        /// The function.
        bdf: Bdf,
        /// What it is below.
        parent: Bdf,
    },
    /// A function's domain differs from that of its host bridge.
    #[error("{bdf} is below a host bridge of domain {domain:04x}")]
    OtherDomain {
        /// The function.
        bdf: Bdf,
        /// The host bridge's domain.
        domain: u32,
    },
    /// Bridges are below each other in a circle.
    #[error("{0} is below itself")]
    Cycle(Bdf),
    /// There are more functions than a topology can number, or bridges are nested too deeply.
    #[error("too many functions or levels: {0}")]
    TooLarge(usize),
}

/// What the verdict needs of a function, small and side by side with its neighbours'.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The bridge above, or [`Place::NONE`].
    pub(super) parent: u32,
    /// One past the last function below, in depth-first order.
    pub(super) end: u32,
    /// The host bridge.
    pub(super) host_bridge: u16,
    /// The number of bridges above.
    pub(super) depth: u16,
    /// How many of this function and the bridges above it redirect.
    pub(super) redirecting: u16,
    /// Of how many of them that is not known.
    pub(super) unknown: u16,
}

impl Place {
    pub(super) const NONE: u32 = u32::MAX;
}

/// What the lists of host bridges say about pairs below one. What depends on something unknown is
/// `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RootRule {
    /// The device that the lists are searched for: the first of the root bus, if it is 00.0 or a root
    /// port, or may be one.
    pub(super) key: Option<u32>,
    /// For pairs below this one host bridge.
    pub(super) same: ListRule,
    /// For pairs across host bridges.
    pub(super) across: ListRule,
}

/// What the lists say about one kind of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ListRule {
    /// Allowed by the kernel's table.
    pub(super) kernel: Option<bool>,
    /// Allowed by that or by users' entries.
    pub(super) any: Option<bool>,
    /// Blocked by users' entries.
    pub(super) blocked: Option<bool>,
}

impl ListRule {
    const UNLISTED: Self = Self { kernel: Some(false), any: Some(false), blocked: Some(false) };

    /// The same where it is not known whether the lists are searched at all.
    fn if_searched(self) -> Self {
        let open = |answer: Option<bool>| answer.filter(|&listed| !listed);
        Self { kernel: open(self.kernel), any: open(self.any), blocked: open(self.blocked) }
    }
}

impl Topology {
    /// Builds a topology from its parts. Functions may come in any order; those of one bus are then
    /// ordered by address.
    ///
    /// `generation` is the platform's count of changes to what these facts were read from: verdicts
    /// carry it, and one of another generation is stale.
    ///
    /// # Errors
    /// [`TopologyError`] if addresses repeat, or the functions do not form one tree per host bridge.
    pub fn new(
        host: Host,
        host_bridges: Vec<HostBridge>,
        nodes: Vec<Node>,
        generation: u64,
    ) -> Result<Self, TopologyError> {
        let mut nodes = nodes;
        nodes.sort_by_key(|node| node.bdf);
        check_host_bridges(&host_bridges)?;
        let parents = parents(&nodes, &host_bridges)?;
        let order = depth_first(&parents, host_bridges.len());
        if order.len() < nodes.len() {
            let mut seen = vec![false; nodes.len()];
            order.iter().for_each(|&(at, _)| seen[at] = true);
            let lost = nodes.iter().zip(&seen).find(|&(_, seen)| !seen);
            return Err(lost.map_or(TopologyError::TooLarge(nodes.len()), |(node, _)| {
                TopologyError::Cycle(node.bdf)
            }));
        }
        let places = places(&nodes, &parents, &order)?;
        let nodes = reorder(nodes, &order);
        let mut index: Vec<(Bdf, NodeId)> =
            (0..).zip(&nodes).map(|(at, node)| (node.bdf, NodeId(at))).collect();
        index.sort_unstable();
        let roots = root_rules(&host, &host_bridges, &nodes, &places);
        let mut topology = Self {
            generation,
            host,
            host_bridges,
            nodes,
            places,
            index,
            roots,
            groups: Vec::new(),
        };
        topology.groups = topology.current_groups();
        Ok(topology)
    }
}

fn check_host_bridges(bridges: &[HostBridge]) -> Result<(), TopologyError> {
    let mut seen: Vec<(u32, u8)> = bridges.iter().map(|b| (b.domain, b.bus)).collect();
    seen.sort_unstable();
    for pair in seen.windows(2) {
        if let [(domain, bus), second] = *pair
            && (domain, bus) == second
        {
            return Err(TopologyError::DuplicateHostBridge { domain, bus });
        }
    }
    if u16::try_from(bridges.len()).is_err() {
        return Err(TopologyError::TooLarge(bridges.len()));
    }
    Ok(())
}

/// What each function is below: a function's index, or a host bridge's.
enum Parent {
    Function(usize),
    HostBridge(usize),
}

fn parents(nodes: &[Node], bridges: &[HostBridge]) -> Result<Vec<Parent>, TopologyError> {
    let mut by_bdf = HashMap::with_capacity(nodes.len());
    for (at, node) in nodes.iter().enumerate() {
        if by_bdf.insert(node.bdf, at).is_some() {
            return Err(TopologyError::DuplicateBdf(node.bdf));
        }
    }
    if u32::try_from(nodes.len()).is_err() {
        return Err(TopologyError::TooLarge(nodes.len()));
    }
    let parent = |node: &Node| match node.upstream {
        Upstream::Bridge(bridge) => match by_bdf.get(&bridge) {
            Some(&at) if nodes[at].kind.is_bridge() => Ok(Parent::Function(at)),
            Some(_) => Err(TopologyError::BelowNoBridge { bdf: node.bdf, parent: bridge }),
            None => Err(TopologyError::NoSuchBridge { bdf: node.bdf, bridge }),
        },
        Upstream::HostBridge(index) => match bridges.get(index) {
            Some(bridge) if bridge.domain == node.bdf.domain() => Ok(Parent::HostBridge(index)),
            Some(bridge) => {
                Err(TopologyError::OtherDomain { bdf: node.bdf, domain: bridge.domain })
            }
            None => {
                Err(TopologyError::NoSuchHostBridge { bdf: node.bdf, index, count: bridges.len() })
            }
        },
    };
    nodes.iter().map(parent).collect()
}

/// The functions that hang on a host bridge, depth first, each with its host bridge. Those in a circle
/// hang on none and are missing.
fn depth_first(parents: &[Parent], host_bridges: usize) -> Vec<(usize, usize)> {
    let mut below = vec![Vec::new(); parents.len()];
    let mut roots = vec![Vec::new(); host_bridges];
    for (at, parent) in parents.iter().enumerate() {
        match *parent {
            Parent::Function(parent) => below[parent].push(at),
            Parent::HostBridge(index) => roots[index].push(at),
        }
    }
    let mut order = Vec::with_capacity(parents.len());
    for (index, root) in roots.iter().enumerate() {
        let mut waiting: Vec<usize> = root.iter().rev().copied().collect();
        while let Some(at) = waiting.pop() {
            order.push((at, index));
            waiting.extend(below[at].iter().rev());
        }
    }
    order
}

fn places(
    nodes: &[Node],
    parents: &[Parent],
    order: &[(usize, usize)],
) -> Result<Vec<Place>, TopologyError> {
    let too_large = || TopologyError::TooLarge(nodes.len());
    let mut new_index = vec![Place::NONE; nodes.len()];
    let mut places: Vec<Place> = Vec::with_capacity(nodes.len());
    for (new, &(old, host_bridge)) in (0_u32..).zip(order) {
        new_index[old] = new;
        let (parent, above) = match parents[old] {
            Parent::Function(parent) => {
                let parent = new_index[parent];
                (parent, Some(places[parent as usize]))
            }
            Parent::HostBridge(_) => (Place::NONE, None),
        };
        let (redirects, unknown) = match nodes[old].redirecting() {
            Known::Value(bits) => (u16::from(bits.into_bits() != 0), 0),
            Known::Unknown(_) => (0, 1),
        };
        let depth = above.map_or(Some(0), |above| above.depth.checked_add(1));
        places.push(Place {
            parent,
            end: new + 1,
            host_bridge: u16::try_from(host_bridge).map_err(|_| too_large())?,
            // The counts below cannot overflow where the depth does not.
            depth: depth.filter(|&depth| depth < u16::MAX).ok_or_else(too_large)?,
            redirecting: above.map_or(0, |above| above.redirecting) + redirects,
            unknown: above.map_or(0, |above| above.unknown) + unknown,
        });
    }
    for at in (0..places.len()).rev() {
        let Place { parent, end, .. } = places[at];
        if let Some(above) = places.get_mut(parent as usize) {
            above.end = above.end.max(end);
        }
    }
    Ok(places)
}

fn reorder(nodes: Vec<Node>, order: &[(usize, usize)]) -> Vec<Node> {
    let mut nodes: Vec<Option<Node>> = nodes.into_iter().map(Some).collect();
    order.iter().filter_map(|&(at, _)| nodes.get_mut(at)?.take()).collect()
}

fn root_rules(
    host: &Host,
    bridges: &[HostBridge],
    nodes: &[Node],
    places: &[Place],
) -> Vec<RootRule> {
    let unlisted = ListRule::UNLISTED;
    let mut rules = vec![RootRule { key: None, same: unlisted, across: unlisted }; bridges.len()];
    let mut first_seen = vec![false; bridges.len()];
    for (at, (place, node)) in (0..).zip(places.iter().zip(nodes)) {
        let index = usize::from(place.host_bridge);
        if place.parent != Place::NONE || std::mem::replace(&mut first_seen[index], true) {
            continue;
        }
        let searched = super::kernel::keys_the_list(node);
        if searched == Some(false) {
            continue;
        }
        let rule = |same| {
            let (list, kernel) = (&host.allowlist, host.kernel);
            let rule = ListRule {
                kernel: list.allows(node.id, kernel, same, Lists::Kernel),
                any: list.allows(node.id, kernel, same, Lists::WithUsers),
                blocked: list.is_blocked(node.id, kernel, same),
            };
            if searched.is_some() { rule } else { rule.if_searched() }
        };
        rules[index] = RootRule { key: Some(at), same: rule(true), across: rule(false) };
    }
    rules
}
