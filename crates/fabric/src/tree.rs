//! The machine's parts and how they hang together.

use std::sync::Arc;

use p2pdma_mem::RangeAllocator;
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::LinkStatus;
use p2pdma_pci::{BarIndex, Bdf};
use p2pdma_spec::pci::acs::AcsControl;
use p2pdma_spec::pci::bar::BarKind;

use crate::config::ConfigImage;
use crate::counters::ErrorCounters;
use crate::endpoint::{BarMemory, Description, Endpoint, MemoryRegion, MsixDescription};
use crate::iommu::Domain;
use crate::msix::Msix;
use crate::route::Target;
use crate::timing::Packets;
use crate::tlp::Access;

/// The kinds of port, which are type 1 functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum PortKind {
    Root,
    Upstream,
    Downstream,
}

/// A root complex, or that part of one that has a root bus of its own.
#[derive(Debug)]
pub(crate) struct HostBridge {
    pub(crate) name: String,
    pub(crate) domain: u32,
    pub(crate) first_bus: u8,
    /// Bus numbers up to here may be given out below it.
    pub(crate) last_bus: u8,
    pub(crate) policy: PeerPolicy,
    pub(crate) ports: Vec<usize>,
    /// Device 00.0 of the root bus.
    pub(crate) config: ConfigImage,
}

/// A root port, or a port of a switch.
#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) kind: PortKind,
    pub(crate) host_bridge: usize,
    /// The port above: of an upstream port the one its link leads to, of a downstream port its
    /// switch's upstream port, of a root port none.
    pub(crate) above: Option<usize>,
    /// The ports below: of an upstream port its switch's downstream ports, else the upstream port at
    /// the link's other end.
    pub(crate) below: Vec<usize>,
    /// The functions at the link's other end.
    pub(crate) functions: Vec<usize>,
    /// Its device number on the bus above it.
    pub(crate) device: u8,
    /// The link below; of an upstream port the link above.
    pub(crate) link: usize,
    pub(crate) link_config: LinkStatus,
    pub(crate) config: ConfigImage,
    pub(crate) decode: BridgeDecode,
    pub(crate) acs: Acs,
    /// How what the root complex sends through a root port is cut.
    pub(crate) packets: Packets,
    pub(crate) errors: ErrorCounters,
}

/// Access control services of a port or function, as its registers have them now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Acs {
    /// Zero without the capability.
    pub(crate) control: AcsControl,
    /// One bit per port or function that egress control guards.
    pub(crate) egress: u64,
}

/// What a bridge passes on, as its registers have it now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct BridgeDecode {
    pub(crate) secondary: u8,
    pub(crate) subordinate: u8,
    /// First and last address of the memory window; empty if reversed.
    pub(crate) memory: (u64, u64),
    /// First and last address of the prefetchable window.
    pub(crate) prefetchable: (u64, u64),
    pub(crate) memory_enable: bool,
    pub(crate) bus_master: bool,
}

impl BridgeDecode {
    pub(crate) fn has_address(&self, at: u64) -> bool {
        let within = |(first, last): (u64, u64)| first <= at && at <= last;
        self.memory_enable && (within(self.memory) || within(self.prefetchable))
    }

    pub(crate) fn has_bus(&self, bus: u8) -> bool {
        self.secondary != 0 && self.secondary <= bus && bus <= self.subordinate
    }
}

/// An endpoint's function, plugged in or taken out.
pub(crate) struct Function {
    pub(crate) name: String,
    /// The port at the upper end of its link.
    pub(crate) port: usize,
    /// Its function number.
    pub(crate) number: u8,
    /// The model; absent while it runs, and once it was removed.
    pub(crate) endpoint: Option<Box<dyn Endpoint>>,
    pub(crate) present: bool,
    pub(crate) link: LinkStatus,
    pub(crate) config: ConfigImage,
    pub(crate) memory_enable: bool,
    pub(crate) bus_master: bool,
    pub(crate) bars: Vec<BarState>,
    pub(crate) msix: Option<Msix>,
    pub(crate) acs: Acs,
    /// How what it sends is cut.
    pub(crate) packets: Packets,
    /// Counts resets; events of an earlier epoch do not arrive.
    pub(crate) epoch: u32,
    /// Register writes of the processor that are still on their way.
    pub(crate) posted: u32,
    pub(crate) domain: Domain,
    /// Which device addresses of its domain are free.
    pub(crate) addresses: RangeAllocator,
    pub(crate) errors: ErrorCounters,
}

/// A BAR as its register has it now.
#[derive(Debug)]
pub(crate) struct BarState {
    pub(crate) index: BarIndex,
    pub(crate) len: u64,
    pub(crate) kind: BarKind,
    /// Where it decodes; none before an address was assigned.
    pub(crate) address: Option<u64>,
    pub(crate) regions: Vec<Region>,
}

/// Part of a BAR.
#[derive(Debug)]
pub(crate) struct Region {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) content: Content,
}

#[derive(Debug)]
pub(crate) enum Content {
    Registers,
    Memory(MemoryRegion),
    MsixTable,
    MsixPending,
}

impl BarState {
    /// The first and one past the last address, if it decodes any.
    pub(crate) fn range(&self) -> Option<(u64, u64)> {
        let start = self.address?;
        Some((start, start.checked_add(self.len)?))
    }
}

/// Lays out every BAR: what the model calls memory, MSI-X, and registers in all the gaps.
pub(crate) fn lay_out_bars(description: &Description) -> Vec<BarState> {
    let layout = |bar: &crate::endpoint::BarDescription| BarState {
        index: bar.index,
        len: bar.len,
        kind: bar.kind,
        address: None,
        regions: lay_out(bar, description.msix.filter(|msix| msix.bar == bar.index)),
    };
    description.bars.iter().map(layout).collect()
}

fn lay_out(bar: &crate::endpoint::BarDescription, msix: Option<MsixDescription>) -> Vec<Region> {
    let memory = bar.memory.iter().map(|memory| Region {
        start: memory.offset,
        end: memory.offset.saturating_add(memory.len).min(bar.len),
        content: Content::Memory(memory.clone()),
    });
    let mut regions: Vec<Region> = memory.collect();
    if let Some(msix) = msix {
        let table = u64::from(msix.vectors) * crate::msix::ENTRY;
        let pending = u64::from(msix.vectors).div_ceil(64) * 8;
        let parts = [
            (msix.table, table, Content::MsixTable),
            (msix.pending, pending, Content::MsixPending),
        ];
        regions.extend(parts.map(|(start, len, content)| Region {
            start,
            end: start + len,
            content,
        }));
    }
    regions.sort_by_key(|region| region.start);
    let mut filled = Vec::new();
    let mut at = 0;
    for region in regions {
        if at < region.start {
            filled.push(Region { start: at, end: region.start, content: Content::Registers });
        }
        at = region.end;
        filled.push(region);
    }
    if at < bar.len {
        filled.push(Region { start: at, end: bar.len, content: Content::Registers });
    }
    filled
}

/// The whole machine, without host memory and time.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) host_bridges: Vec<HostBridge>,
    pub(crate) ports: Vec<Port>,
    pub(crate) functions: Vec<Function>,
}

impl Tree {
    /// The memory that a target is, if it is.
    pub(crate) fn memory(&self, target: Target) -> Option<Arc<dyn BarMemory>> {
        let Target::Memory { function, bar, region } = target else { return None };
        let bar = self.functions.get(function)?.bars.get(usize::from(bar))?;
        match &bar.regions.get(usize::from(region))?.content {
            Content::Memory(memory) => Some(Arc::clone(&memory.memory)),
            _ => None,
        }
    }

    /// How a request between two functions is cut, and its completions. No function is the root complex,
    /// which sends through the root port above the other.
    pub(crate) fn packets(
        &self,
        from: Option<usize>,
        to: Option<usize>,
        access: Access,
    ) -> Packets {
        let own = |function: usize| self.functions[function].packets;
        let root = |function: usize| {
            let port = self.functions[function].port;
            self.ports[self.root_port(port)].packets
        };
        let requester = from.map(own).or(to.map(root)).unwrap_or_default();
        let completer = to.map(own).or(from.map(root)).unwrap_or_default();
        match access {
            Access::Write => requester,
            Access::Read => requester.answered_by(completer),
        }
    }

    /// The root port above a port, or that itself.
    pub(crate) fn root_port(&self, mut port: usize) -> usize {
        while let Some(above) = self.ports[port].above {
            port = above;
        }
        port
    }

    /// Where a function is, by the bus numbers that its port has now.
    pub(crate) fn function_bdf(&self, function: usize) -> Bdf {
        let function = &self.functions[function];
        let port = &self.ports[function.port];
        let requester = u16::from(port.decode.secondary) << 8 | u16::from(function.number & 7);
        Bdf::from_requester(self.host_bridges[port.host_bridge].domain, requester)
    }

    /// Where a port is, by the bus numbers that the port above it has now.
    pub(crate) fn port_bdf(&self, port: usize) -> Bdf {
        let port = &self.ports[port];
        let host_bridge = &self.host_bridges[port.host_bridge];
        let bus = match port.above {
            Some(above) => self.ports[above].decode.secondary,
            None => host_bridge.first_bus,
        };
        let requester = u16::from(bus) << 8 | u16::from(port.device) << 3;
        Bdf::from_requester(host_bridge.domain, requester)
    }

    /// What the machine's description calls what is at a place: a function or a port.
    pub(crate) fn name_at(&self, bdf: Bdf) -> Option<&str> {
        let function = self.function_at(bdf).map(|index| &*self.functions[index].name);
        let port = || (0..self.ports.len()).find(|&port| self.port_bdf(port) == bdf);
        function.or_else(|| port().map(|port| &*self.ports[port].name))
    }

    /// The present function at a place.
    pub(crate) fn function_at(&self, bdf: Bdf) -> Option<usize> {
        // Only functions below the one port whose secondary bus this is can be meant.
        let port = self.ports.iter().find(|port| {
            self.host_bridges[port.host_bridge].domain == bdf.domain()
                && port.kind != PortKind::Upstream
                && port.decode.secondary == bdf.bus()
        })?;
        let here = |&index: &usize| {
            let function = &self.functions[index];
            function.present && bdf.device() == 0 && function.number == bdf.function()
        };
        port.functions.iter().copied().find(here)
    }
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Function")
            .field("name", &self.name)
            .field("number", &self.number)
            .field("present", &self.present)
            .finish_non_exhaustive()
    }
}
