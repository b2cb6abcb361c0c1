//! The kernel's rule: `calc_map_type_and_dist()` in drivers/pci/p2pdma.c of Linux 7.3.4.

use super::allowlist::{any, both};
use super::build::{ListRule, Place};
use super::{Kind, Node, NodeId, Topology};

/// What the kernel makes of a pair: `enum pci_p2pdma_map_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MapType {
    /// The client is programmed with the PCI bus address: requests stay below the root, and no IOMMU
    /// sees them.
    BusAddress,
    /// The client is programmed with a processor's physical address or an IOVA: requests go through
    /// the root complex.
    ThroughHostBridge,
    /// The kernel refuses.
    NotSupported,
}

impl MapType {
    /// The kernel's name for it.
    #[must_use]
    pub const fn kernel_name(self) -> &'static str {
        match self {
            Self::BusAddress => "PCI_P2PDMA_MAP_BUS_ADDR",
            Self::ThroughHostBridge => "PCI_P2PDMA_MAP_THRU_HOST_BRIDGE",
            Self::NotSupported => "PCI_P2PDMA_MAP_NOT_SUPPORTED",
        }
    }
}

/// Which entries of the list of host bridges count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lists {
    /// The kernel's own: the answer is the kernel's.
    Kernel,
    /// Users' too: the answer is that of a platform which drives the devices itself.
    WithUsers,
}

/// The bare answer about a pair, without its reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mapping {
    /// The map type; `None` if it depends on something that is not known.
    pub map_type: Option<MapType>,
    /// The kernel's distance: 0 for a function and itself, 2 for two functions of a device, 4 for two
    /// devices on a switch. It is known even where the map type is not, and given even where it is not
    /// supported.
    pub distance: u32,
}

/// Whether the list of host bridges is searched for this device, being the first of a root bus: if it
/// is 00.0, or a root port anywhere. `None` if it may be a root port.
pub(super) fn keys_the_list(first: &Node) -> Option<bool> {
    if (first.bdf.device(), first.bdf.function()) == (0, 0) {
        return Some(true);
    }
    (first.kind != Kind::UnreadBridge).then_some(first.kind == Kind::RootPort)
}

/// Where the paths of two functions meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Meeting {
    /// The bridge, or function, that is on both paths.
    pub(super) common: Option<u32>,
    /// The last function below it on the first one's path; [`Place::NONE`] if that is it itself.
    /// Without a common bridge: the one on the root bus.
    pub(super) first_side: u32,
    /// The same on the second one's path.
    pub(super) second_side: u32,
    /// The kernel's distance.
    pub(super) distance: u32,
}

impl Topology {
    pub(super) fn place(&self, at: u32) -> Place {
        self.places[at as usize]
    }

    /// Walks both paths up to where they meet.
    pub(super) fn meet(&self, first: u32, second: u32) -> Meeting {
        let (mut a, mut b) = (first, second);
        let (mut below_a, mut below_b) = (Place::NONE, Place::NONE);
        let (mut at_a, mut at_b) = (self.place(a), self.place(b));
        let depths = u32::from(at_a.depth) + u32::from(at_b.depth);
        while a != b {
            // The deeper one climbs; of two equally deep, both do, in two turns.
            if at_a.depth >= at_b.depth && at_a.parent != Place::NONE {
                below_a = a;
                a = at_a.parent;
                at_a = self.place(a);
            } else if at_b.parent != Place::NONE {
                below_b = b;
                b = at_b.parent;
                at_b = self.place(b);
            } else {
                // The kernel counts one step beyond the root bus on either side.
                return Meeting {
                    common: None,
                    first_side: a,
                    second_side: b,
                    distance: depths + 2,
                };
            }
        }
        Meeting {
            common: Some(a),
            first_side: below_a,
            second_side: below_b,
            distance: depths - 2 * u32::from(at_a.depth),
        }
    }

    /// The kernel's answer about a pair, without evidence and without allocating: what a matrix of all
    /// pairs is made from.
    #[must_use]
    pub fn map_type(&self, client: NodeId, provider: NodeId, lists: Lists) -> Mapping {
        let meeting = self.meet(provider.0, client.0);
        let map_type = match meeting.common {
            None => self.through_root(client, provider, lists),
            Some(common) => {
                let (noted, unknown) = self.noted(client, provider, common);
                if noted > 0 {
                    self.through_root(client, provider, lists)
                } else if unknown > 0 {
                    None
                } else {
                    Some(MapType::BusAddress)
                }
            }
        };
        Mapping { map_type, distance: meeting.distance }
    }

    /// How many functions on the two paths redirect, and of how many that is not known: the provider,
    /// every bridge above it up to and with the common one, and the client's side below that.
    fn noted(&self, client: NodeId, provider: NodeId, common: u32) -> (u16, u16) {
        let (client, provider) = (self.place(client.0), self.place(provider.0));
        let common = self.place(common);
        let above = self.places.get(common.parent as usize);
        let counted = |of: fn(&Place) -> u16| {
            (of(&provider) - above.map_or(0, of)) + (of(&client) - of(&common))
        };
        (counted(|place| place.redirecting), counted(|place| place.unknown))
    }

    /// The rule for requests that go through the root complex.
    fn through_root(&self, client: NodeId, provider: NodeId, lists: Lists) -> Option<MapType> {
        let permitted = self.permitted(client, provider, lists);
        let blocked = match lists {
            Lists::Kernel => Some(false),
            Lists::WithUsers => self.list_blocks(client, provider),
        };
        let passes = both(permitted, blocked.map(|blocked| !blocked))?;
        Some(if passes { MapType::ThroughHostBridge } else { MapType::NotSupported })
    }

    /// Whether the processor or a list permits it, entries that block left out.
    pub(super) fn permitted(&self, client: NodeId, provider: NodeId, lists: Lists) -> Option<bool> {
        let cpu = self.host.cpu.value().map(|cpu| cpu.carries_peer_traffic());
        any(cpu, self.list_allows(client, provider, lists))
    }

    /// Whether the list allows the host bridges of a pair.
    pub(super) fn list_allows(
        &self,
        client: NodeId,
        provider: NodeId,
        lists: Lists,
    ) -> Option<bool> {
        let answer = |rule: &ListRule| match lists {
            Lists::Kernel => rule.kernel,
            Lists::WithUsers => rule.any,
        };
        match self.root_rules(client, provider) {
            (near, None) => answer(near),
            (near, Some(far)) => both(answer(near), answer(far)),
        }
    }

    /// Whether users' entries block the host bridges of a pair.
    pub(super) fn list_blocks(&self, client: NodeId, provider: NodeId) -> Option<bool> {
        match self.root_rules(client, provider) {
            (near, None) => near.blocked,
            (near, Some(far)) => any(near.blocked, far.blocked),
        }
    }

    /// What the lists say of the client's host bridge and, if it is another, of the provider's.
    fn root_rules(&self, client: NodeId, provider: NodeId) -> (&ListRule, Option<&ListRule>) {
        let bridge = |node: NodeId| usize::from(self.place(node.0).host_bridge);
        let (client, provider) = (bridge(client), bridge(provider));
        let (near, far) = (&self.roots[client], &self.roots[provider]);
        if client == provider { (&near.same, None) } else { (&near.across, Some(&far.across)) }
    }
}
