//! Devices as clients: whether they are awake, bound to the right driver, and well connected.

use p2pdma_linux::block::{Passage, Stack};
use p2pdma_linux::{Function, Survey};
use p2pdma_pci::topology::{Hazard, Known, Node, NodeId, ReasonCode, Topology};
use p2pdma_spec::pci::class::ClassCode;

use super::{Finding, Level, called};

/// Judges all links, and all functions that are not ready. What is well is not mentioned.
#[must_use]
pub fn devices(topology: &Topology, survey: Option<&Survey>) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        topology.link_hazards().iter().map(|hazard| link(topology, hazard)).collect();
    if let Some(survey) = survey {
        for id in topology.ids() {
            findings.extend(ready(topology.node(id), survey.function(id)));
        }
    }
    findings
}

fn link(topology: &Topology, hazard: &Hazard) -> Finding {
    let at = match hazard {
        Hazard::LinkDown { at } | Hazard::LinkDownTrained { at, .. } => topology.find(*at),
        _ => None,
    };
    let about = at.map_or_else(|| "link".to_owned(), |id| called(topology.node(id)));
    match hazard {
        Hazard::LinkDown { .. } => {
            Finding::hinders(ReasonCode::LinkDown, about, hazard.to_string())
        }
        _ => Finding::note(about, hazard.to_string()).code(ReasonCode::LinkDown),
    }
    .remedies(hazard.remedy())
}

/// What keeps a function that a driver holds from taking part.
pub(super) fn ready(node: &Node, function: &Function) -> Vec<Finding> {
    let mut findings = Vec::new();
    let driver = driver(function);
    let Known::Value(command) = function.command else { return findings };
    if driver.is_some() && !command.bus_master() {
        let text = match node.kind.is_bridge() {
            true => "bus mastering is off: it passes no request upwards",
            false => "bus mastering is off: it starts no request",
        };
        findings.push(Finding::hinders(ReasonCode::BusMasterOff, called(node), text));
    }
    if driver.is_some() && !node.memory.is_empty() && !command.memory_space() {
        let text = "memory space is off: nobody can reach its memory";
        findings.push(Finding::hinders(ReasonCode::MemoryOff, called(node), text));
    }
    if node.class == ClassCode::NVME && driver.is_none_or(|driver| driver != "nvme") {
        let text = match driver {
            Some(driver) => format!("{driver} has this SSD, and the kernel cannot use it"),
            None => "no driver has this SSD".to_owned(),
        };
        findings.push(Finding::note(called(node), text).code(ReasonCode::BoundElsewhere));
    }
    findings
}

fn driver(function: &Function) -> Option<&str> {
    function.driver.value().and_then(Option::as_deref)
}

/// Why a function starts no requests to peer memory; `None` if nothing is known to keep it from that.
#[must_use]
pub fn starts(topology: &Topology, survey: Option<&Survey>, id: NodeId) -> Option<ReasonCode> {
    let findings = able(topology.node(id), survey.map(|survey| survey.function(id)));
    findings.iter().find(|finding| finding.level == Level::Hinders).and_then(|found| found.code)
}

/// What keeps a function, and the driver that holds it, from starting requests to peer memory.
fn able(node: &Node, function: Option<&Function>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if node.kind.is_bridge() {
        let text = format!("a {} starts no requests: it passes those of others", node.kind);
        findings.push(
            Finding::hinders(ReasonCode::NoMover, called(node), text)
                .remedy("name a device below it"),
        );
    }
    let Some(function) = function else { return findings };
    findings.extend(other_storage(node, function));
    findings.extend(ready(node, function));
    findings
}

/// Storage that is no NVMe: no block driver but NVMe's sets BLK_FEAT_PCI_P2PDMA (include/linux/blkdev.h).
/// What a user-space driver makes of it is its own affair.
fn other_storage(node: &Node, function: &Function) -> Option<Finding> {
    const STORAGE: u8 = 0x01;
    let of_kernel =
        function.driver.value().is_some_and(|driver| driver.as_deref() != Some("vfio-pci"));
    if node.class.base_class() != STORAGE || node.class == ClassCode::NVME || !of_kernel {
        return None;
    }
    let driver = driver(function).unwrap_or("no driver");
    let text =
        format!("storage that takes no peer memory ({driver}): of the kernel's only nvme does");
    let finding = Finding::hinders(ReasonCode::NotNvmePci, called(node), text);
    Some(finding.remedy("move the data to an NVMe SSD"))
}

/// Judges a client: whether it starts requests, its driver, and the block devices on it.
#[must_use]
pub fn client(topology: &Topology, survey: Option<&Survey>, id: NodeId) -> Vec<Finding> {
    let node = topology.node(id);
    let mut findings = able(node, survey.map(|survey| survey.function(id)));
    findings.extend(survey.into_iter().flat_map(|survey| block_devices(survey, node, id)));
    findings
}

/// Judges the block devices on a function.
fn block_devices(survey: &Survey, node: &Node, id: NodeId) -> Vec<Finding> {
    let devices = match &survey.blocks.devices {
        Known::Value(devices) => devices,
        Known::Unknown(cause) => {
            return vec![Finding::unknown(*cause, called(node), "what block devices it has")];
        }
    };
    let stacks = devices.iter().filter_map(|device| {
        let stack = survey.blocks.stack(&device.name, survey.system.kernel)?;
        stack.functions.contains(&node.bdf).then_some((&device.name, stack))
    });
    let mut judged: Vec<Finding> = stacks.flat_map(|(name, stack)| block(name, &stack)).collect();
    let by_driver = !node.kind.is_bridge() && other_storage(node, survey.function(id)).is_none();
    if judged.is_empty() && node.class != ClassCode::NVME && by_driver {
        let driver = driver(survey.function(id)).unwrap_or("no driver");
        let text = format!("no block device: what it may do is up to its driver ({driver})");
        judged.push(Finding::note(called(node), text));
    }
    judged
}

/// Judges a block device with all that it is made of.
pub(super) fn block(name: &str, stack: &Stack) -> Vec<Finding> {
    let mut findings = vec![match stack.passage {
        Passage::Passes => Finding::good(name, "carries peer-to-peer I/O"),
        Passage::Stops(code) => {
            let stops = stack.layers.iter().find(|layer| layer.passage == stack.passage);
            let at = stops.map_or(name, |layer| &layer.device);
            Finding::note(name, format!("does not carry peer-to-peer I/O: {at} stops it"))
                .code(code)
        }
        Passage::Unknown(cause) => {
            Finding::unknown(cause, name, "whether it carries peer-to-peer I/O")
        }
    }];
    let caveats = stack.layers.iter().filter_map(|layer| layer.caveat);
    findings.extend(caveats.map(|code| {
        let text = match code {
            ReasonCode::Md => {
                "a mirror: a write from memory that a member does not reach is lost, with status OK"
            }
            code => code.summary(),
        };
        Finding::note(name, text).code(code)
    }));
    findings
}
