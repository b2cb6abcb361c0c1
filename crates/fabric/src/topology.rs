//! The machine as a topology: what its registers say now, in the form that verdicts are made of.

use std::sync::Arc;

use p2pdma_pci::topology::{
    self, BusRange, HostBridge, Kind, Known, LentMemory, LinkStatus, MemoryKind, Node, PciId,
    Topology, Upstream,
};
use p2pdma_pci::{Bdf, BusAddr, Width};
use p2pdma_spec::pci::class::ClassRevision;
use p2pdma_spec::pci::config::offset;

use crate::config::ConfigImage;
use crate::error::Error;
use crate::fabric::Fabric;
use crate::state::State;
use crate::tree::{Content, Function, Port, PortKind, Tree};

impl Fabric {
    /// The topology as the registers have it now. Cheap as long as nothing changed.
    ///
    /// # Errors
    /// [`Error::Topology`] if the machine is not enumerated, so that bus numbers repeat.
    pub fn topology(&self) -> Result<Arc<Topology>, Error> {
        self.lock().snapshot()
    }
}

impl State {
    fn snapshot(&mut self) -> Result<Arc<Topology>, Error> {
        let layout = self.machine.layout;
        match &self.topology {
            Some(known) if known.generation() == layout => Ok(Arc::clone(known)),
            _ => {
                let read = Arc::new(read(self)?);
                self.topology = Some(Arc::clone(&read));
                Ok(read)
            }
        }
    }
}

fn read(state: &State) -> Result<Topology, Error> {
    let machine = &state.machine;
    let tree = &machine.tree;
    let mut nodes = Vec::new();
    for (index, bridge) in tree.host_bridges.iter().enumerate() {
        if let Some(bdf) = Bdf::new(bridge.domain, bridge.first_bus, 0, 0) {
            let mut node = Node::new(bdf, Kind::Conventional, Upstream::HostBridge(index));
            identify(&mut node, &bridge.config, &bridge.name);
            nodes.push(node);
        }
    }
    let link_is_up = |link: usize| machine.links[link].up;
    for (index, port) in tree.ports.iter().enumerate() {
        nodes.push(port_node(tree, index, port, link_is_up(port.link)));
    }
    for (index, function) in tree.functions.iter().enumerate() {
        if function.present {
            let up = link_is_up(tree.ports[function.port].link);
            nodes.push(function_node(tree, index, function, up));
        }
    }
    let bridges = tree.host_bridges.iter().map(|bridge| HostBridge {
        domain: bridge.domain,
        bus: bridge.first_bus,
        name: Some(bridge.name.as_str().into()),
    });
    Ok(Topology::new(machine.host.clone(), bridges.collect(), nodes, machine.layout)?)
}

fn identify(node: &mut Node, config: &ConfigImage, name: &str) {
    let [vendor_low, vendor_high, device_low, device_high] =
        config.read(offset::VENDOR_ID, Width::Dword).to_le_bytes();
    node.id = PciId {
        vendor: u16::from_le_bytes([vendor_low, vendor_high]),
        device: u16::from_le_bytes([device_low, device_high]),
    };
    let class = ClassRevision::from_bits(config.read(offset::CLASS_REVISION, Width::Dword));
    node.class = class.class_code();
    node.name = Some(name.into());
}

fn port_node(tree: &Tree, index: usize, port: &Port, link_up: bool) -> Node {
    let kind = match port.kind {
        PortKind::Root => Kind::RootPort,
        PortKind::Upstream => Kind::UpstreamPort,
        PortKind::Downstream => Kind::DownstreamPort,
    };
    let upstream = match port.above {
        Some(above) => Upstream::Bridge(tree.port_bdf(above)),
        None => Upstream::HostBridge(port.host_bridge),
    };
    let mut node = Node::new(tree.port_bdf(index), kind, upstream);
    identify(&mut node, &port.config, &port.name);
    node.acs = Known::Value(acs(&port.config));
    node.port_number = port.device;
    node.link = Known::Value(Some(link_status(&port.link_config, link_up)));
    let (secondary, subordinate) = (port.decode.secondary, port.decode.subordinate);
    node.buses = Some(BusRange { secondary, subordinate });
    node
}

fn function_node(tree: &Tree, index: usize, function: &Function, link_up: bool) -> Node {
    let upstream = Upstream::Bridge(tree.port_bdf(function.port));
    let mut node = Node::new(tree.function_bdf(index), Kind::Endpoint, upstream);
    identify(&mut node, &function.config, &function.name);
    let siblings = tree.ports[function.port].functions.iter();
    node.multi_function = siblings.filter(|&&other| tree.functions[other].present).count() > 1;
    node.acs = Known::Value(acs(&function.config));
    node.link = Known::Value(Some(link_status(&function.link, link_up)));
    for bar in &function.bars {
        let address = bar.range().filter(|_| function.memory_enable);
        for region in &bar.regions {
            if let Content::Memory(memory) = &region.content {
                node.memory.push(LentMemory {
                    kind: memory.kind,
                    size: memory.len,
                    behind: memory.behind,
                    address: address.map(|(start, _)| BusAddr(start + region.start)),
                    // What persists is nobody's to overwrite who does not ask for it.
                    published: memory.kind != MemoryKind::Pmr,
                });
            }
        }
    }
    node
}

fn link_status(link: &LinkStatus, up: bool) -> LinkStatus {
    LinkStatus { current: link.current.filter(|_| up), max: link.max }
}

fn acs(config: &ConfigImage) -> Option<topology::Acs> {
    let at = config.offsets.acs;
    (at != 0).then(|| crate::registers::topology_acs(config, at))
}
