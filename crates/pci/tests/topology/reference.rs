//! A second reading of the kernel's rule, as slow and literal as the pseudo-code it follows, and free
//! of the library's own logic. Each planted bug is a way to get the rule wrong.

use std::collections::HashMap;

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{CpuVendor, Host, HostBridge, Kind, Known, MapType, Node, Upstream};

/// Mistakes in the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    None,
    ForgetsCommonBridge,
    ForgetsProviderItself,
    ForgetsClientItself,
    ForgetsClientSide,
    IgnoresEgressControl,
    IgnoresCompletionRedirect,
    CountsUpstreamForwarding,
    HygonIsAmd,
    AnyAmdFamily,
    IgnoresSameBridgeOnly,
    OneListedBridgeSuffices,
    KeyIsAnyFirstDevice,
    KeyIsOnlyDevice00,
    SharedBridgeNeedsNoPermission,
    DistanceCountsBridgesOnly,
}

impl Bug {
    pub(crate) const PLANTED: [Self; 15] = [
        Self::ForgetsCommonBridge,
        Self::ForgetsProviderItself,
        Self::ForgetsClientItself,
        Self::ForgetsClientSide,
        Self::IgnoresEgressControl,
        Self::IgnoresCompletionRedirect,
        Self::CountsUpstreamForwarding,
        Self::HygonIsAmd,
        Self::AnyAmdFamily,
        Self::IgnoresSameBridgeOnly,
        Self::OneListedBridgeSuffices,
        Self::KeyIsAnyFirstDevice,
        Self::KeyIsOnlyDevice00,
        Self::SharedBridgeNeedsNoPermission,
        Self::DistanceCountsBridgesOnly,
    ];
}

/// The kernel's table by hand: vendor, device (`None` any), same bridge only.
const LIST: [(u16, Option<u16>, bool); 25] = [
    (0x8086, Some(0x3c00), true),
    (0x8086, Some(0x3c01), true),
    (0x8086, Some(0x2f00), true),
    (0x8086, Some(0x2f01), true),
    (0x8086, Some(0x2020), false),
    (0x8086, Some(0x2030), false),
    (0x8086, Some(0x2031), false),
    (0x8086, Some(0x2032), false),
    (0x8086, Some(0x2033), false),
    (0x8086, Some(0x09a2), false),
    (0x8086, Some(0x0b25), false),
    (0x8086, Some(0x0cfe), false),
    (0x8086, Some(0x11fb), false),
    (0x8086, Some(0x1212), false),
    (0x8086, Some(0x1216), false),
    (0x8086, Some(0x4940), false),
    (0x8086, Some(0x4942), false),
    (0x8086, Some(0x4944), false),
    (0x8086, Some(0x4946), false),
    (0x8086, Some(0x4948), false),
    (0x1ae0, None, false),
    (0x10de, Some(0x2f95), false),
    (0x10de, Some(0x2f96), false),
    (0x10de, Some(0x2f97), false),
    (0x10de, Some(0x2f98), false),
];

pub(crate) struct Reference<'a> {
    host: &'a Host,
    devices: HashMap<Bdf, &'a Node>,
    bridges: &'a [HostBridge],
    bug: Bug,
}

impl<'a> Reference<'a> {
    pub(crate) fn new(
        host: &'a Host,
        bridges: &'a [HostBridge],
        nodes: &'a [Node],
        bug: Bug,
    ) -> Self {
        let devices = nodes.iter().map(|node| (node.bdf, node)).collect();
        Self { host, devices, bridges, bug }
    }

    fn upstream(&self, dev: Bdf) -> Option<Bdf> {
        match self.devices[&dev].upstream {
            Upstream::Bridge(bridge) => Some(bridge),
            Upstream::HostBridge(_) => None,
        }
    }

    fn host_bridge(&self, dev: Bdf) -> usize {
        match self.devices[&dev].upstream {
            Upstream::Bridge(bridge) => self.host_bridge(bridge),
            Upstream::HostBridge(index) => index,
        }
    }

    fn acs_redirects(&self, dev: Bdf) -> bool {
        let Known::Value(Some(acs)) = &self.devices[&dev].acs else {
            return false;
        };
        let mut mask = 0x04 | 0x08 | 0x20;
        match self.bug {
            Bug::IgnoresEgressControl => mask &= !0x20,
            Bug::IgnoresCompletionRedirect => mask &= !0x08,
            Bug::CountsUpstreamForwarding => mask |= 0x10,
            _ => {}
        }
        acs.control.into_bits() & mask != 0
    }

    /// The map type and distance of a pair.
    pub(crate) fn verdict(&self, provider: Bdf, client: Bdf) -> (MapType, u32) {
        let mut noted = Vec::new();
        let (mut dist_a, mut dist_b) = (0, 0);
        let mut a = Some(provider);
        while let Some(bridge) = a {
            dist_b = 0;
            let before = noted.len();
            let skipped = self.bug == Bug::ForgetsProviderItself && bridge == provider;
            if self.acs_redirects(bridge) && !skipped {
                noted.push(bridge);
            }
            let mut b = Some(client);
            while let Some(below) = b {
                if bridge == below {
                    if self.bug == Bug::ForgetsCommonBridge {
                        noted.truncate(before);
                    }
                    return self.common(provider, client, bridge, noted, dist_a + dist_b);
                }
                dist_b += 1;
                b = self.upstream(below);
            }
            a = self.upstream(bridge);
            dist_a += 1;
        }
        let bridges_only = u32::from(self.bug == Bug::DistanceCountsBridgesOnly) * 2;
        let distance = dist_a + dist_b - bridges_only;
        (self.through_host_bridge(provider, client), distance)
    }

    fn common(
        &self,
        provider: Bdf,
        client: Bdf,
        common: Bdf,
        mut noted: Vec<Bdf>,
        distance: u32,
    ) -> (MapType, u32) {
        let mut b = client;
        while b != common && self.bug != Bug::ForgetsClientSide {
            let skipped = self.bug == Bug::ForgetsClientItself && b == client;
            if self.acs_redirects(b) && !skipped {
                noted.push(b);
            }
            b = self.upstream(b).unwrap();
        }
        if noted.is_empty() {
            (MapType::BusAddress, distance)
        } else if self.bug == Bug::SharedBridgeNeedsNoPermission {
            (MapType::ThroughHostBridge, distance)
        } else {
            (self.through_host_bridge(provider, client), distance)
        }
    }

    fn through_host_bridge(&self, provider: Bdf, client: Bdf) -> MapType {
        if self.cpu_rule() || self.list_rule(provider, client) {
            MapType::ThroughHostBridge
        } else {
            MapType::NotSupported
        }
    }

    fn cpu_rule(&self) -> bool {
        let Known::Value(cpu) = self.host.cpu else {
            return false;
        };
        let amd = cpu.vendor == CpuVendor::Amd
            || self.bug == Bug::HygonIsAmd && cpu.vendor == CpuVendor::Hygon;
        amd && (cpu.family >= 0x17 || self.bug == Bug::AnyAmdFamily)
    }

    fn list_rule(&self, provider: Bdf, client: Bdf) -> bool {
        let (a, b) = (self.host_bridge(provider), self.host_bridge(client));
        if a == b {
            self.listed(a, true)
        } else if self.bug == Bug::OneListedBridgeSuffices {
            self.listed(a, false) || self.listed(b, false)
        } else {
            self.listed(a, false) && self.listed(b, false)
        }
    }

    fn listed(&self, bridge: usize, same: bool) -> bool {
        assert!(bridge < self.bridges.len());
        let on_root_bus =
            self.devices.values().filter(|node| node.upstream == Upstream::HostBridge(bridge));
        let Some(first) = on_root_bus.min_by_key(|node| node.bdf) else {
            return false;
        };
        let is_00 = first.bdf.device() == 0 && first.bdf.function() == 0;
        let is_key = match self.bug {
            Bug::KeyIsAnyFirstDevice => true,
            Bug::KeyIsOnlyDevice00 => is_00,
            _ => is_00 || first.kind == Kind::RootPort,
        };
        if !is_key {
            return false;
        }
        for (vendor, device, same_only) in LIST {
            if vendor == first.id.vendor && device.is_none_or(|device| device == first.id.device) {
                return same || !same_only || self.bug == Bug::IgnoresSameBridgeOnly;
            }
        }
        false
    }
}
