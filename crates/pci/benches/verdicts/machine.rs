//! A large machine: 4,096 endpoints under 64 switches.

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{
    Acs, CpuVendor, Host, HostBridge, Kind, Known, Node, NodeId, REDIRECTING, Topology, Upstream,
};
use p2pdma_spec::pci::acs::AcsControl;

const SWITCHES: u8 = 64;
const PORTS: u8 = 64;

/// A switch has 66 buses, so there are three to a domain. Every fourth has ACS redirection on.
pub(crate) fn machine() -> Topology {
    let at = |domain: u32, bus: u8, device: u8, function: u8| {
        Bdf::new(domain, bus, device, function).expect("it is an address")
    };
    let mut nodes = Vec::new();
    let mut bridges = Vec::new();
    for number in 0..SWITCHES {
        let domain = u32::from(number / 3);
        if number % 3 == 0 {
            bridges.push(HostBridge { domain, bus: 0, name: None });
        }
        let first = number % 3 * 66 + 1;
        let root = at(domain, 0, number % 3 + 1, 0);
        let host_bridge = Upstream::HostBridge(usize::from(number / 3));
        nodes.push(Node::new(root, Kind::RootPort, host_bridge));
        let up = at(domain, first, 0, 0);
        nodes.push(Node::new(up, Kind::UpstreamPort, Upstream::Bridge(root)));
        for port in 0..PORTS {
            let down = at(domain, first + 1, port / 8, port % 8);
            let mut node = Node::new(down, Kind::DownstreamPort, Upstream::Bridge(up));
            let control = if number % 4 == 0 { REDIRECTING } else { AcsControl::new() };
            node.acs = Known::Value(Some(Acs::new(control)));
            nodes.push(node);
            let ssd = at(domain, first + 2 + port, 0, 0);
            nodes.push(Node::new(ssd, Kind::Endpoint, Upstream::Bridge(down)));
        }
    }
    Topology::new(Host::new(CpuVendor::Intel, 6), bridges, nodes, 0).expect("it is a machine")
}

/// Its endpoints, in order.
pub(crate) fn endpoints(topology: &Topology) -> Vec<NodeId> {
    let is_endpoint = |id: &NodeId| topology.node(*id).kind == Kind::Endpoint;
    let endpoints: Vec<NodeId> = topology.ids().filter(is_endpoint).collect();
    assert_eq!(endpoints.len(), 4096);
    endpoints
}
