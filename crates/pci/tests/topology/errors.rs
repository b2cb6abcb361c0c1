//! Lists of functions that are no topology.

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{
    CpuVendor, Host, HostBridge, Kind, Node, Topology, TopologyError, Upstream,
};

use crate::tree::{Tree, at, switch};

fn bridge(domain: u32, bus: u8) -> HostBridge {
    HostBridge { domain, bus, name: None }
}

fn error(bridges: &[HostBridge], nodes: Vec<Node>) -> TopologyError {
    let host = Host::new(CpuVendor::Intel, 6);
    Topology::new(host, bridges.to_vec(), nodes, 0).unwrap_err()
}

#[test]
fn addresses_are_unique() {
    let node = Node::new(at("00:01.0"), Kind::RootPort, Upstream::HostBridge(0));
    let again = error(&[bridge(0, 0)], vec![node.clone(), node]);
    assert_eq!(again, TopologyError::DuplicateBdf(at("00:01.0")));
    assert_eq!(again.to_string(), "two functions are at 0000:00:01.0");
    assert_eq!(
        error(&[bridge(1, 0), bridge(0, 0), bridge(1, 0)], vec![]),
        TopologyError::DuplicateHostBridge { domain: 1, bus: 0 }
    );
}

#[test]
fn everything_hangs_on_a_bridge_that_is_there() {
    let lone = |upstream| vec![Node::new(at("01:00.0"), Kind::Endpoint, upstream)];
    assert_eq!(
        error(&[bridge(0, 0)], lone(Upstream::Bridge(at("00:01.0")))),
        TopologyError::NoSuchBridge { bdf: at("01:00.0"), bridge: at("00:01.0") }
    );
    assert_eq!(
        error(&[bridge(0, 0)], lone(Upstream::HostBridge(1))),
        TopologyError::NoSuchHostBridge { bdf: at("01:00.0"), index: 1, count: 1 }
    );
    assert_eq!(
        error(&[bridge(7, 0)], lone(Upstream::HostBridge(0))),
        TopologyError::OtherDomain { bdf: at("01:00.0"), domain: 7 }
    );
    let mut nodes = lone(Upstream::HostBridge(0));
    let below = Upstream::Bridge(at("01:00.0"));
    nodes.push(Node::new(at("02:00.0"), Kind::Endpoint, below));
    assert_eq!(
        error(&[bridge(0, 0)], nodes),
        TopologyError::BelowNoBridge { bdf: at("02:00.0"), parent: at("01:00.0") }
    );
}

#[test]
fn circles_are_found() {
    let port = |bdf, parent| Node::new(at(bdf), Kind::UpstreamPort, Upstream::Bridge(at(parent)));
    let nodes = vec![port("01:00.0", "02:00.0"), port("02:00.0", "01:00.0")];
    let found = error(&[bridge(0, 0)], nodes);
    assert_eq!(found, TopologyError::Cycle(at("01:00.0")));
    let own = error(&[bridge(0, 0)], vec![port("01:00.0", "01:00.0")]);
    assert_eq!(own.to_string(), "0000:01:00.0 is below itself");
}

#[test]
fn nothing_is_a_topology_too() {
    let host = Host::new(CpuVendor::Other, 0);
    let topology = Topology::new(host, vec![], vec![], 9).unwrap();
    assert_eq!((topology.nodes().len(), topology.generation()), (0, 9));
    assert_eq!(topology.find(at("00:00.0")), None);
}

#[test]
fn functions_are_found_and_ordered_depth_first() {
    let tree = switch("-", "-", "-");
    tree.nodes.borrow_mut().reverse();
    let topology = tree.build();
    let order: Vec<String> = topology.nodes().iter().map(|n| n.bdf.to_string()).collect();
    let expected = ["00:00.0", "00:01.0", "01:00.0", "02:00.0", "03:00.0", "02:01.0", "04:00.0"];
    assert_eq!(order, expected.map(|bdf| format!("0000:{bdf}")));
    for id in topology.ids() {
        assert_eq!(topology.find(topology.node(id).bdf), Some(id));
        assert_eq!(topology.host_bridge_of(id), 0);
    }
    let parent = |bdf| topology.parent(topology.find(at(bdf)).unwrap());
    assert_eq!(parent("03:00.0"), topology.find(at("02:00.0")));
    assert_eq!(parent("00:01.0"), None);
}

#[test]
fn a_chain_of_many_bridges_is_no_problem() {
    let tree = Tree::q35();
    tree.root_port("00:01.0", "-");
    let mut parent = "00:01.0".to_owned();
    for bus in 1..=200_u8 {
        let bdf = Bdf::new(0, bus, 0, 0).unwrap().to_string();
        let kind = [Kind::UpstreamPort, Kind::DownstreamPort][usize::from(bus % 2 == 0)];
        tree.below(kind, &parent, &bdf, "-");
        parent = bdf;
    }
    let topology = tree.build();
    let route = topology.route(at("c8:00.0"), at("00:01.0"));
    assert_eq!(route.distance(), Some(200));
}
