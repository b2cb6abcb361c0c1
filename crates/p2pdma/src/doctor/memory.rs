//! Who lends memory, and what is wrong with it.

use p2pdma_linux::{Function, Pool, Survey};
use p2pdma_pci::Size;
use p2pdma_pci::topology::{
    Cause, Hazard, Known, LentMemory, MemoryKind, Node, NodeId, ReasonCode, Topology,
};

use super::{Finding, Level, called};

/// Whether the memory of a function can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lending {
    /// It is lent: by the kernel, or on the software fabric.
    Lent,
    /// There is memory, and the kernel lends none of it now.
    Withheld(ReasonCode),
    /// There is none.
    Nothing,
    /// That is not known.
    Unknown(Cause),
}

/// Tells whether the memory of a function can be had.
#[must_use]
pub fn lending(topology: &Topology, survey: Option<&Survey>, id: NodeId) -> Lending {
    let node = topology.node(id);
    let function = survey.map(|survey| survey.function(id));
    if let Some(cause) = function.and_then(Function::unread_memory) {
        return Lending::Unknown(cause);
    }
    let parts = node.memory.iter().flat_map(|memory| part(node, function, memory));
    let mut withheld = None;
    for finding in parts {
        if finding.level == Level::Good {
            return Lending::Lent;
        }
        withheld = withheld.or(finding.code);
    }
    withheld.map_or(Lending::Nothing, Lending::Withheld)
}

/// Judges all memory of a machine; if there is none, that is the one finding.
#[must_use]
pub fn memory(topology: &Topology, survey: Option<&Survey>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = Vec::new();
    let mut unread = None;
    for id in topology.ids().filter(|id| !topology.node(*id).kind.is_bridge()) {
        if topology.node(id).memory.is_empty() {
            let cause = survey.and_then(|survey| survey.function(id).unread_memory());
            unread = unread.or(cause);
        } else {
            findings.extend(lender(topology, survey, id));
        }
    }
    if !findings.iter().any(|finding| finding.level == Level::Good) {
        let none = match unread {
            Some(cause) => Finding::unknown(cause, "memory", "who lends any"),
            None => Finding::hinders(
                ReasonCode::NoPeerMemory,
                "memory",
                "no device lends any to the kernel",
            )
            .remedy("an NVMe SSD with a controller memory buffer lends it"),
        };
        findings.insert(0, none);
    }
    findings
}

/// Judges what a function lends; a function without memory has one finding too.
#[must_use]
pub fn lender(topology: &Topology, survey: Option<&Survey>, id: NodeId) -> Vec<Finding> {
    let node = topology.node(id);
    let function = survey.map(|survey| survey.function(id));
    let mut findings: Vec<Finding> =
        node.memory.iter().flat_map(|memory| part(node, function, memory)).collect();
    if findings.is_empty() {
        findings.push(match function.and_then(Function::unread_memory) {
            Some(cause) => Finding::unknown(cause, called(node), "whether it lends memory"),
            None => nothing(node),
        });
    }
    findings
}

fn nothing(node: &Node) -> Finding {
    Finding::hinders(ReasonCode::NoPeerMemory, called(node), "it lends no memory")
        .remedy("'p2pdma doctor' shows who does")
}

fn part(node: &Node, function: Option<&Function>, memory: &LentMemory) -> Vec<Finding> {
    let about = called(node);
    let what = format!("{} of {}", memory.kind, Size(memory.size));
    let mut findings = Vec::new();
    let Some(function) = function else {
        findings.push(Finding::good(about.clone(), format!("lends {what}")));
        findings.extend(small(&about, memory));
        return findings;
    };
    match (memory.kind, function.pool) {
        (MemoryKind::P2pmem, Known::Value(Some(own))) => findings.extend(pool(&about, memory, own)),
        (MemoryKind::Cmb, Known::Value(Some(_))) => {}
        (MemoryKind::Cmb, Known::Unknown(cause)) => {
            findings.push(Finding::unknown(cause, about.clone(), "whether it lends its CMB"));
        }
        (MemoryKind::Cmb, Known::Value(None)) => findings.push(ignored(node, function, memory)),
        _ => findings.push(
            Finding::note(
                about.clone(),
                format!("has {what}, which no driver lends to the kernel"),
            )
            .code(ReasonCode::NoPeerMemory),
        ),
    }
    findings.extend(small(&about, memory));
    findings
}

fn pool(about: &str, memory: &LentMemory, pool: Pool) -> Vec<Finding> {
    let size = Size(memory.size);
    let mut findings = Vec::new();
    findings.push(match pool.available {
        Known::Value(0) => {
            Finding::hinders(ReasonCode::PoolEmpty, about, format!("all of its {size} is in use"))
                .remedy("end what uses it, or boot with nvme.use_cmb_sqs=0")
        }
        Known::Value(free) => {
            Finding::good(about, format!("lends p2pmem of {size}, {} free", Size(free)))
        }
        Known::Unknown(_) => Finding::good(about, format!("lends p2pmem of {size}")),
    });
    if pool.published == Known::Value(false) {
        findings.push(Finding::note(
            about,
            "its memory is not published: only those who name it are given any",
        ));
    }
    if pool.allocatable == Known::Value(false) {
        findings.push(
            Finding::hinders(
                ReasonCode::KernelVersion,
                about,
                "user space cannot allocate its memory: p2pmem/allocate is not there",
            )
            .remedy("run Linux 6.2 or later"),
        );
    }
    findings
}

/// A controller memory buffer that the kernel does not lend, and why.
fn ignored(node: &Node, function: &Function, memory: &LentMemory) -> Finding {
    let about = called(node);
    let size = Size(memory.size);
    let unaligned = |address: u64| {
        const SECTION: u64 = 2 << 20;
        !memory.size.is_multiple_of(SECTION) || !address.is_multiple_of(SECTION)
    };
    if unaligned(memory.address.map_or(0, |address| address.0)) {
        let text = format!("its CMB of {size} is not aligned to 2 MiB: the kernel ignores it");
        return Finding::hinders(ReasonCode::CmbAlign, about, text)
            .remedies(Hazard::CmbUnaligned { size: memory.size }.remedy());
    }
    match &function.driver {
        Known::Value(Some(driver)) if &**driver != "nvme" => {
            let text = format!("its CMB of {size} is not lent: {driver} has the device");
            Finding::hinders(ReasonCode::BoundElsewhere, about, text)
                .remedy("bind it to the nvme driver")
        }
        _ => {
            let text = format!("its CMB of {size} is not lent");
            Finding::hinders(ReasonCode::NoPeerMemory, about, text)
                .remedy("look for 'failed to register the CMB' in dmesg")
        }
    }
}

fn small(about: &str, memory: &LentMemory) -> Option<Finding> {
    let behind = memory.behind.filter(|behind| *behind > memory.size)?;
    let hazard = Hazard::BarSmall { window: memory.size, memory: behind };
    Some(
        Finding::note(about, hazard.to_string())
            .code(ReasonCode::BarSmall)
            .remedies(hazard.remedy()),
    )
}
