//! From single functions to the tree: the same for sysfs and for dumps.

mod infer;
mod memory;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{
    Acs, BusRange, Host, HostBridge, Kind, Known, LinkStatus, Node, PciId, Topology, Upstream,
};
use p2pdma_spec::pci::class::ClassCode;
use p2pdma_spec::pci::express::PortType;

use crate::{Error, Function, Note, NoteKind};

/// What a function is below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Above {
    HostBridge { domain: u32, bus: u8 },
    Bridge(Bdf),
}

/// A function as it was read.
#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) function: Function,
    pub(crate) above: Above,
    pub(crate) id: PciId,
    pub(crate) class: ClassCode,
    pub(crate) kind: Kind,
    pub(crate) acs: Known<Option<Acs>>,
    pub(crate) link: Known<Option<LinkStatus>>,
    pub(crate) name: Option<Arc<str>>,
    /// Whether it has a PCI Express capability, where that is known from elsewhere than its registers.
    pub(crate) express: Option<bool>,
    /// The type of port, where that is known from elsewhere than its registers.
    pub(crate) port_type: Option<PortType>,
    /// Where a dump has it.
    pub(crate) line: Option<usize>,
}

impl Raw {
    /// A function of these registers, with what they say.
    pub(crate) fn new(function: Function, above: Above, id: PciId, class: ClassCode) -> Self {
        let config = &function.config;
        Self {
            kind: config.kind(class),
            acs: config.acs(),
            link: config.link(),
            function,
            above,
            id,
            class,
            name: None,
            express: None,
            port_type: None,
            line: None,
        }
    }

    pub(crate) fn bdf(&self) -> Bdf {
        self.function.bdf
    }

    fn note(&self, kind: NoteKind) -> Note {
        Note { line: self.line, kind }
    }
}

/// Puts the tree together. Functions that cannot be in it are left out and noted. The functions are in the
/// order of the topology's nodes.
pub(crate) fn assemble(
    mut host: Host,
    raws: Vec<Raw>,
    notes: &mut Vec<Note>,
) -> Result<(Topology, Vec<Function>), Error> {
    let mut raws = without_strays(raws, notes);
    host.qemu = infer::is_qemu(&raws);
    infer::kinds(&mut raws);
    infer::links_of_virtual_functions(&mut raws);
    let multi_function = devices_of_several(&raws);
    let roots: BTreeMap<(u32, u8), usize> = {
        let mut roots: Vec<_> = raws
            .iter()
            .filter_map(|raw| match raw.above {
                Above::HostBridge { domain, bus } => Some((domain, bus)),
                Above::Bridge(_) => None,
            })
            .collect();
        roots.sort_unstable();
        roots.dedup();
        roots.into_iter().zip(0..).collect()
    };
    let bridges = roots.keys().map(|&(domain, bus)| HostBridge { domain, bus, name: None });
    let bridges: Vec<HostBridge> = bridges.collect();
    let mut functions = HashMap::with_capacity(raws.len());
    let mut nodes = Vec::with_capacity(raws.len());
    for raw in raws {
        let upstream = match raw.above {
            Above::Bridge(bridge) => Upstream::Bridge(bridge),
            Above::HostBridge { domain, bus } => {
                Upstream::HostBridge(roots.get(&(domain, bus)).copied().unwrap_or_default())
            }
        };
        let device = device_of(raw.bdf());
        nodes.push(node(&raw, upstream, multi_function.contains_key(&device)));
        functions.insert(raw.bdf(), raw.function);
    }
    let topology = Topology::new(host, bridges, nodes, 0)?;
    let in_order = topology.nodes().iter().filter_map(|node| functions.remove(&node.bdf));
    let in_order = in_order.collect();
    Ok((topology, in_order))
}

fn node(raw: &Raw, upstream: Upstream, siblings: bool) -> Node {
    let config = &raw.function.config;
    let mut node = Node::new(raw.bdf(), raw.kind, upstream);
    node.name.clone_from(&raw.name);
    node.id = raw.id;
    node.class = raw.class;
    // As the kernel does: the header's bit, or a function beside it (`pci_scan_slot()` in
    // drivers/pci/probe.c).
    let bit = config.header_type().value().is_some_and(|header| header.multi_function());
    node.multi_function = bit || siblings;
    node.acs.clone_from(&raw.acs);
    node.port_number = config.port_number();
    node.link = raw.link;
    node.buses =
        config.buses().value().copied().flatten().and_then(|[_, secondary, subordinate]| {
            // A bridge that nobody has numbered has zeroes here.
            (secondary != 0).then_some(BusRange { secondary, subordinate })
        });
    if !raw.kind.is_bridge() {
        node.memory = memory::lent(&raw.function);
    }
    node
}

/// Domain, bus and device, and for virtual functions nothing that another function has.
fn device_of(bdf: Bdf) -> (u32, u8, u8) {
    (bdf.domain(), bdf.bus(), bdf.device())
}

/// The devices that have more than one physical function.
fn devices_of_several(raws: &[Raw]) -> HashMap<(u32, u8, u8), usize> {
    let mut counts = HashMap::new();
    for raw in raws {
        if !matches!(raw.function.physical_function, Known::Value(Some(_))) {
            *counts.entry(device_of(raw.bdf())).or_insert(0) += 1;
        }
    }
    counts.retain(|_, &mut count| count > 1);
    counts
}

/// Leaves out what is not below a host bridge.
fn without_strays(raws: Vec<Raw>, notes: &mut Vec<Note>) -> Vec<Raw> {
    let index: HashMap<Bdf, usize> = (0..).zip(&raws).map(|(at, raw)| (raw.bdf(), at)).collect();
    let mut below = vec![Vec::new(); raws.len()];
    let mut waiting = Vec::new();
    for (at, raw) in raws.iter().enumerate() {
        match raw.above {
            Above::HostBridge { domain, .. } if domain == raw.bdf().domain() => waiting.push(at),
            Above::HostBridge { .. } => {}
            Above::Bridge(bridge) => {
                let parent = index.get(&bridge).filter(|&&parent| may_hold(&raws[parent], raw));
                if let Some(&parent) = parent {
                    below[parent].push(at);
                }
            }
        }
    }
    let mut kept = vec![false; raws.len()];
    while let Some(at) = waiting.pop() {
        if !std::mem::replace(&mut kept[at], true) {
            waiting.append(&mut below[at]);
        }
    }
    let mut whole = Vec::with_capacity(raws.len());
    for (raw, kept) in raws.into_iter().zip(kept) {
        if kept {
            whole.push(raw);
            continue;
        }
        let bdf = raw.bdf();
        notes.push(raw.note(match raw.above {
            Above::Bridge(bridge) => NoteKind::Orphan { bdf, bridge },
            Above::HostBridge { domain, bus } => NoteKind::LeftOut {
                bdf,
                why: format!("it is said to be below pci{domain:04x}:{bus:02x}"),
            },
        }));
    }
    whole
}

/// Whether a function can be the bridge above another. One whose header was not read can.
fn may_hold(parent: &Raw, child: &Raw) -> bool {
    let header_read = parent.function.config.header_type().value().is_some();
    let bridge = parent.kind.is_bridge() || parent.kind == Kind::UnreadFunction && !header_read;
    bridge && parent.bdf().domain() == child.bdf().domain()
}
