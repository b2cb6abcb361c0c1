//! The topology that the kernel sees: QEMU's devices at the file's places.

use p2pdma_pci::Bdf;
use p2pdma_pci::machine::{AcsSetting, Below, Cmb, Function, Machine, Model, Port};
use p2pdma_pci::topology::{
    Acs, Allowlist, BusRange, Cpu, CpuVendor, Host, HostBridge, Kind, Known, LentMemory,
    MemoryKind, Node, Topology, TopologyError, Upstream,
};

use super::check::{ROOT_PORT_ID, host_bridge_id};
use super::place::{Placed, Role};
use crate::Arch;

/// Builds it.
pub(super) fn topology(
    machine: &Machine,
    arch: Arch,
    placed: &[Placed],
) -> Result<Topology, TopologyError> {
    let bridges = machine.host_bridges.iter().map(|bridge| HostBridge {
        domain: 0,
        bus: bridge.first_bus,
        name: Some(bridge.name.as_str().into()),
    });
    let mut nodes: Vec<Node> = placed.iter().map(|placed| node(machine, arch, placed)).collect();
    // The first root bus has a device 00.0, and the kernel looks it up in its list.
    if let Some(bdf) = Bdf::new(0, 0, 0, 0) {
        let mut node = Node::new(bdf, Kind::Conventional, Upstream::HostBridge(0));
        node.id = host_bridge_id(arch);
        nodes.push(node);
    }
    let host = Host {
        cpu: Known::Value(cpu(machine, arch)),
        iommu: Known::Value(machine.iommu),
        kernel: None,
        allowlist: Allowlist::kernel(),
        qemu: true,
    };
    Topology::new(host, bridges.collect(), nodes, 0)
}

/// The processor; the file's is an x86, and any other is none of those that the kernel trusts.
fn cpu(machine: &Machine, arch: Arch) -> Cpu {
    match arch {
        Arch::X86_64 => machine.host.cpu,
        Arch::Aarch64 | Arch::Riscv64 => Cpu { vendor: CpuVendor::Other, family: 0 },
    }
}

fn node(machine: &Machine, arch: Arch, placed: &Placed) -> Node {
    let mut node = Node::new(placed.bdf, placed.kind(), placed.upstream);
    node.name = Some(placed.name.as_str().into());
    node.buses = placed.secondary.map(|secondary| BusRange { secondary, subordinate: secondary });
    match placed.role {
        Role::RootPort => {
            node.id = ROOT_PORT_ID;
            // QEMU's root ports have the capability, whatever the file says.
            let setting = root_port(machine, &placed.name);
            node.acs = Known::Value(Some(Acs::new(super::kernel::control(machine, arch, setting))));
        }
        Role::DownstreamPort(number) => node.port_number = number,
        Role::UpstreamPort => {}
        Role::Function => {
            if let Some((function, siblings)) = function(machine, &placed.name) {
                node.multi_function = siblings > 1;
                node.memory.extend(lent(function));
            }
        }
    }
    node
}

fn root_port<'a>(machine: &'a Machine, name: &str) -> Option<&'a AcsSetting> {
    let mut ports = machine.host_bridges.iter().flat_map(|bridge| &bridge.ports);
    ports.find(|port| port.name == name)?.acs.as_ref()
}

/// A function, and how many there are in its device.
fn function<'a>(machine: &'a Machine, name: &str) -> Option<(&'a Function, usize)> {
    let ports = machine.host_bridges.iter().flat_map(|bridge| &bridge.ports);
    let mut todo: Vec<&Port> = ports.collect();
    while let Some(port) = todo.pop() {
        match &port.below {
            Below::Nothing => {}
            Below::Switch(switch) => todo.extend(&switch.ports),
            Below::Device(functions) => {
                if let Some(function) = functions.iter().find(|function| function.name == name) {
                    return Some((function, functions.len()));
                }
            }
        }
    }
    None
}

/// What the kernel publishes of a function's memory: a controller memory buffer whose size is a multiple
/// of 2 MiB (`nvme_map_cmb` in drivers/nvme/host/pci.c and `pci_p2pdma_add_resource`, which needs whole
/// memory sections).
fn lent(function: &Function) -> Option<LentMemory> {
    const SECTION: u64 = 2 << 20;
    let Model::Nvme(nvme) = &function.model else { return None };
    let Cmb { size, .. } = nvme.cmb?;
    size.is_multiple_of(SECTION).then_some(LentMemory {
        kind: MemoryKind::P2pmem,
        size,
        behind: None,
        address: None,
        published: true,
    })
}
