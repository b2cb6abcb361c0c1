//! What follows for a function from those around it.

use std::collections::HashMap;

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{Kind, Known, PciId};
use p2pdma_spec::pci::class::ClassCode;
use p2pdma_spec::pci::express::PortType;

use super::{Above, Raw};

/// Finds what functions of unread type are, where only one type is possible.
pub(super) fn kinds(raws: &mut [Raw]) {
    let index: HashMap<Bdf, usize> =
        (0..).zip(raws.iter()).map(|(at, raw)| (raw.bdf(), at)).collect();
    let parent_of = |raw: &Raw| match raw.above {
        Above::Bridge(bridge) => index.get(&bridge).copied(),
        Above::HostBridge { .. } => None,
    };
    let parents: Vec<Option<usize>> = raws.iter().map(parent_of).collect();
    for &parent in parents.iter().flatten() {
        if raws[parent].kind == Kind::UnreadFunction {
            // Something is below it.
            raws[parent].kind = Kind::UnreadBridge;
        }
    }
    for (raw, parent) in raws.iter_mut().zip(&parents) {
        raw.kind = by_itself(raw, parent.is_some());
    }
    // A switch's inside is known from either end; what is found here may tell more one level on.
    loop {
        let mut changed = false;
        for at in 0..raws.len() {
            let Some(parent) = parents[at] else { continue };
            let below_root_bus = parents[parent].is_none();
            let (child, above) = (raws[at].kind, raws[parent].kind);
            match (above, child) {
                // Nothing but downstream ports is on the bus inside a switch (PCIe 6.0 §1.3.3).
                (Kind::UpstreamPort, Kind::UnreadBridge) => {
                    raws[at].kind = Kind::DownstreamPort;
                    changed = true;
                }
                (Kind::UnreadBridge, Kind::DownstreamPort) => {
                    raws[parent].kind = Kind::UpstreamPort;
                    changed = true;
                }
                (Kind::UnreadBridge, Kind::UpstreamPort) if below_root_bus => {
                    raws[parent].kind = Kind::RootPort;
                    changed = true;
                }
                _ => {}
            }
        }
        if !changed {
            return;
        }
    }
}

/// What attributes of a function itself say of its kind.
fn by_itself(raw: &Raw, below_bridge: bool) -> Kind {
    match (raw.kind, raw.port_type, raw.express) {
        (Kind::UnreadBridge, Some(PortType::ROOT_PORT), _) => Kind::RootPort,
        (Kind::UnreadBridge, Some(PortType::UPSTREAM_PORT), _) => Kind::UpstreamPort,
        (Kind::UnreadBridge, Some(PortType::DOWNSTREAM_PORT), _) => Kind::DownstreamPort,
        (Kind::UnreadBridge, _, Some(false)) => Kind::PciBridge,
        (Kind::UnreadFunction, _, Some(false)) => Kind::Conventional,
        // Integrated endpoints are on root buses only.
        (Kind::UnreadFunction, _, Some(true)) if below_bridge => Kind::Endpoint,
        (kind, ..) => kind,
    }
}

/// Whether a machine is one of QEMU's: by its host bridges, which are of QEMU's own make or carry the
/// subsystem that QEMU gives to what it emulates of others' (docs/specs/pci-ids.rst in QEMU). The chipsets
/// that it emulates are also those of real boards, and its network and block devices may be in any machine.
pub(super) fn is_qemu(raws: &[Raw]) -> bool {
    const OWN_VENDOR: u16 = 0x1b36;
    const EMULATED: PciId = PciId { vendor: 0x1af4, device: 0x1100 };
    let mut host_bridges = raws.iter().filter(|raw| raw.class == ClassCode::HOST_BRIDGE);
    host_bridges.any(|raw| {
        raw.id.vendor == OWN_VENDOR || raw.function.subsystem == Known::Value(Some(EMULATED))
    })
}

/// Virtual functions have no link registers of their own: their link is the physical function's
/// (PCIe 6.0 §9.3.5.6 and §9.3.5.8).
pub(super) fn links_of_virtual_functions(raws: &mut [Raw]) {
    let links: HashMap<Bdf, _> = raws.iter().map(|raw| (raw.bdf(), raw.link)).collect();
    for raw in raws {
        if let Known::Value(Some(physical)) = raw.function.physical_function
            && let Some(link) = links.get(&physical)
        {
            raw.link = *link;
        }
    }
}
