//! Small topologies by hand.

use std::cell::RefCell;

use p2pdma_pci::Bdf;
use p2pdma_spec::pci::acs::AcsControl;

use p2pdma_pci::topology::{
    Acs, AcsBit, Cause, Cpu, CpuVendor, EgressVector, Host, HostBridge, Kind, Known, Node, PciId,
    Topology, Upstream,
};

/// An address; panics on bad text.
pub(crate) fn at(text: &str) -> Bdf {
    text.parse().unwrap()
}

/// A control word from mnemonics: `"RR CR"`.
pub(crate) fn control(bits: &str) -> AcsControl {
    bits.split_whitespace()
        .map(|name| AcsBit::from_name(name).unwrap())
        .fold(AcsControl::new(), |control, bit| bit.set(control))
}

/// A topology in the making. Each function is described by one line: where it is, what it is below,
/// and its ACS (`-` none, `?` unknown, else mnemonics; `EC:1,2` adds an egress vector).
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) host: Host,
    pub(crate) bridges: Vec<HostBridge>,
    pub(crate) nodes: RefCell<Vec<Node>>,
}

impl Tree {
    /// One host bridge, an Intel processor of no listed kind, and QEMU's q35 host bridge at 00.0.
    pub(crate) fn q35() -> Self {
        Self::with_host_bridge("8086:29c0")
    }

    pub(crate) fn with_host_bridge(id: &str) -> Self {
        let tree = Self {
            host: Host::new(CpuVendor::Intel, 6),
            bridges: Vec::new(),
            nodes: RefCell::default(),
        };
        tree.host_bridge(0x00, id)
    }

    /// Adds a host bridge with a device 00.0 on its root bus.
    pub(crate) fn host_bridge(mut self, bus: u8, id: &str) -> Self {
        let index = self.bridges.len();
        self.bridges.push(HostBridge { domain: 0, bus, name: None });
        let bdf = Bdf::new(0, bus, 0, 0).unwrap();
        let mut node = Node::new(bdf, Kind::Conventional, Upstream::HostBridge(index));
        node.id = id.parse::<PciId>().unwrap();
        self.nodes.borrow_mut().push(node);
        self
    }

    pub(crate) fn cpu(mut self, vendor: CpuVendor, family: u16) -> Self {
        self.host.cpu = Known::Value(Cpu { vendor, family });
        self
    }

    fn add(&self, kind: Kind, bdf: &str, upstream: Upstream, acs: &str) -> &Self {
        let mut node = Node::new(at(bdf), kind, upstream);
        node.port_number = node.bdf.device();
        node.acs = acs_from(acs);
        self.nodes.borrow_mut().push(node);
        self
    }

    pub(crate) fn root_port(&self, bdf: &str, acs: &str) -> &Self {
        let bus = at(bdf).bus();
        let index = self.bridges.iter().position(|bridge| bridge.bus == bus);
        self.add(Kind::RootPort, bdf, Upstream::HostBridge(index.unwrap()), acs)
    }

    pub(crate) fn below(&self, kind: Kind, parent: &str, bdf: &str, acs: &str) -> &Self {
        self.add(kind, bdf, Upstream::Bridge(at(parent)), acs)
    }

    pub(crate) fn up(&self, parent: &str, bdf: &str) -> &Self {
        self.below(Kind::UpstreamPort, parent, bdf, "-")
    }

    pub(crate) fn down(&self, parent: &str, bdf: &str, acs: &str) -> &Self {
        self.below(Kind::DownstreamPort, parent, bdf, acs)
    }

    pub(crate) fn end(&self, parent: &str, bdf: &str) -> &Self {
        self.below(Kind::Endpoint, parent, bdf, "-")
    }

    pub(crate) fn function(&self, parent: &str, bdf: &str, acs: &str) -> &Self {
        self.below(Kind::Endpoint, parent, bdf, acs)
    }

    pub(crate) fn edit(&self, bdf: &str, change: impl FnOnce(&mut Node)) -> &Self {
        let mut nodes = self.nodes.borrow_mut();
        change(nodes.iter_mut().find(|node| node.bdf == at(bdf)).unwrap());
        drop(nodes);
        self
    }

    pub(crate) fn build(&self) -> Topology {
        let nodes = self.nodes.borrow().clone();
        Topology::new(self.host.clone(), self.bridges.clone(), nodes, 1).unwrap()
    }
}

fn acs_from(text: &str) -> Known<Option<Acs>> {
    match text {
        "-" => Known::Value(None),
        "?" => Known::Unknown(Cause::NeedsRoot),
        _ => {
            let (bits, peers) = text.split_once(':').unwrap_or((text, ""));
            let mut acs = Acs::new(control(bits));
            let peers = peers.split(',').filter_map(|peer| peer.parse().ok());
            acs.egress = Known::Value(EgressVector::listing(peers));
            Known::Value(Some(acs))
        }
    }
}

/// Two SSDs on a switch: 03:00.0 below port 0, 04:00.0 below port 1.
pub(crate) fn switch(root: &str, port0: &str, port1: &str) -> Tree {
    let tree = Tree::q35();
    tree.root_port("00:01.0", root)
        .up("00:01.0", "01:00.0")
        .down("01:00.0", "02:00.0", port0)
        .down("01:00.0", "02:01.0", port1)
        .end("02:00.0", "03:00.0")
        .end("02:01.0", "04:00.0");
    tree
}

/// Two functions of one device below a root port: 01:00.0 and 01:00.1.
pub(crate) fn multi_function(root: &str, first: &str, second: &str) -> Tree {
    let tree = Tree::q35();
    tree.root_port("00:01.0", root)
        .function("00:01.0", "01:00.0", first)
        .function("00:01.0", "01:00.1", second);
    tree
}

/// Two SSDs, each below its own root port: 01:00.0 and 02:00.0.
pub(crate) fn root_ports(host_bridge: &str) -> Tree {
    let tree = Tree::with_host_bridge(host_bridge);
    tree.root_port("00:01.0", "")
        .root_port("00:02.0", "")
        .end("00:01.0", "01:00.0")
        .end("00:02.0", "02:00.0");
    tree
}

/// Two SSDs, each below its own host bridge: 01:00.0 and 81:00.0.
pub(crate) fn host_bridges(near: &str, far: &str) -> Tree {
    let tree = Tree::with_host_bridge(near).host_bridge(0x80, far);
    tree.root_port("00:01.0", "-")
        .root_port("80:01.0", "-")
        .end("00:01.0", "01:00.0")
        .end("80:01.0", "81:00.0");
    tree
}
