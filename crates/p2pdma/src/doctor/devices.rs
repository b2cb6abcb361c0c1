//! Devices as clients: whether they are awake, bound to the right driver, and well connected.

use p2pdma_linux::block::{Passage, Stack};
use p2pdma_linux::{Function, Survey};
use p2pdma_pci::topology::{Hazard, Known, Node, NodeId, ReasonCode, Topology};
use p2pdma_spec::pci::class::ClassCode;

use super::{Finding, called};

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
    .remedy("reseat the device; look at riser and retimer")
}

/// What keeps a function that a driver holds from taking part.
fn ready(node: &Node, function: &Function) -> Vec<Finding> {
    let mut findings = Vec::new();
    let driver = match &function.driver {
        Known::Value(Some(driver)) => Some(&**driver),
        _ => None,
    };
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

/// Judges the kernel's interface to a client: its driver, and the block devices on it.
#[must_use]
pub fn client(survey: &Survey, id: NodeId) -> Vec<Finding> {
    let node = survey.topology.node(id);
    let function = survey.function(id);
    let mut findings = ready(node, function);
    let devices = match &survey.blocks.devices {
        Known::Value(devices) => devices,
        Known::Unknown(cause) => {
            findings.push(Finding::unknown(*cause, called(node), "what block devices it has"));
            return findings;
        }
    };
    let stacks = devices.iter().filter_map(|device| {
        let stack = survey.blocks.stack(&device.name, survey.system.kernel)?;
        stack.functions.contains(&node.bdf).then_some((&device.name, stack))
    });
    let judged: Vec<Finding> = stacks.flat_map(|(name, stack)| block(name, &stack)).collect();
    if judged.is_empty() && node.class != ClassCode::NVME {
        let driver = function.driver.value().and_then(Option::as_deref).unwrap_or("no driver");
        let text = format!("no block device: what it may do is up to its driver ({driver})");
        findings.push(Finding::note(called(node), text));
    }
    findings.extend(judged);
    findings
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
    findings.extend(caveats.map(|code| Finding::note(name, code.summary()).code(code)));
    findings
}
