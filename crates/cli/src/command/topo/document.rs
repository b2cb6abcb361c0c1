//! `topo` as data.

use p2pdma::linux::bind::Binding;
use p2pdma::linux::{Function, Survey};
use p2pdma::topology::{AcsBit, Cause, Cpu, CpuVendor, IommuMode, Known, LentMemory, Node, NodeId};
use schemars::JsonSchema;
use serde::Serialize;

use super::tree::link_status;
use crate::output::csv::{Csv, optional};
use crate::output::matrix::Cell;
use crate::subject::{self, Subject};

/// What `topo` prints as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TopoDocument {
    /// The machine's name.
    machine: String,
    /// What it shows.
    about: String,
    /// Where this is from: fabric, linux, snapshot or lspci.
    source: &'static str,
    /// What its IOMMU does: off, passthrough or translate; null if that is not known.
    iommu: Option<&'static str>,
    /// Its processor: vendor and family; null if that is not known.
    processor: Option<String>,
    /// Its functions, depth first.
    functions: Vec<FunctionDocument>,
    /// All pairs of endpoints, with `--matrix`.
    #[serde(skip_serializing_if = "Option::is_none")]
    matrix: Option<Vec<Cell>>,
    /// What is left out, or not known for a reason worth telling.
    notes: Vec<String>,
}

/// A function.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FunctionDocument {
    /// Where it is.
    pub(super) bdf: String,
    /// What people call it.
    pub(super) name: Option<String>,
    /// What it is.
    pub(super) kind: String,
    /// Vendor and device.
    pub(super) id: String,
    /// Its class, in words.
    pub(super) class: String,
    /// The bridge above it; null on a root bus.
    pub(super) parent: Option<String>,
    /// What its link runs at; null without a link, while it is down, or if it is not known.
    pub(super) link: Option<String>,
    /// What its link could run at; null without a link, or if it is not known.
    pub(super) link_max: Option<String>,
    /// The ACS controls that are set, by their names in lspci; null without the capability, or if it
    /// could not be read.
    pub(super) acs: Option<Vec<&'static str>>,
    /// What it lends, or what of it looks like memory.
    pub(super) memory: Vec<MemoryDocument>,
    /// The driver that is bound to it; null without one, or if it is not known.
    pub(super) driver: Option<String>,
    /// Its IOMMU group; null without one, or if it is not known.
    pub(super) iommu_group: Option<u32>,
    /// The type of that group's domain, as in sysfs; null if it is not known.
    pub(super) iommu_domain: Option<String>,
    /// How this command would open it: `container (type 1)`, `iommufd`, or who keeps it from that, and `?` if that is not known; null if it is not bound to vfio-pci.
    pub(super) vfio: Option<String>,
    /// Its NUMA node; null if the machine does not say.
    pub(super) numa_node: Option<u32>,
    /// Its block devices, partitions left out.
    pub(super) block_devices: Vec<String>,
    /// What could not be read of it, and why.
    pub(super) unknown: Vec<String>,
}

/// Memory that a function lends.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct MemoryDocument {
    /// cmb, pmr, barN or p2pmem.
    kind: String,
    /// How much of it peers can reach.
    size_bytes: u64,
    /// How much of it is free; null if that is not known.
    available_bytes: Option<u64>,
    /// Whether others may be given it without asking for this provider by name.
    published: bool,
}

pub(super) const fn iommu_word(mode: IommuMode) -> &'static str {
    match mode {
        IommuMode::Off => "off",
        IommuMode::Passthrough => "passthrough",
        IommuMode::Translate => "translate",
    }
}

pub(super) fn processor(cpu: Cpu) -> String {
    let vendor = match cpu.vendor {
        CpuVendor::Intel => "Intel",
        CpuVendor::Amd => "AMD",
        CpuVendor::Hygon => "Hygon",
        CpuVendor::Other => "other",
    };
    format!("{vendor} family {:#x}", cpu.family)
}

/// The names of the ACS controls that are set.
pub(super) fn acs_names(node: &Node) -> Option<Vec<&'static str>> {
    let acs = node.acs.value()?.as_ref()?;
    Some(AcsBit::of(acs.control).map(AcsBit::lspci_name).collect())
}

/// All functions, depth first.
pub(super) fn functions(subject: &Subject) -> impl Iterator<Item = FunctionDocument> {
    subject.topology().ids().map(move |id| function(subject, id))
}

fn function(subject: &Subject, id: NodeId) -> FunctionDocument {
    let topology = subject.topology();
    let node = topology.node(id);
    let status = link_status(node);
    let linux = subject.survey().map(|survey| survey.function(id));
    let known = |of: fn(&Function) -> Option<String>| linux.and_then(of);
    FunctionDocument {
        bdf: node.bdf.to_string(),
        name: node.name.as_deref().map(str::to_owned),
        kind: node.kind.to_string(),
        id: node.id.to_string(),
        class: subject::class(node),
        parent: topology.parent(id).map(|parent| topology.node(parent).bdf.to_string()),
        link: status.and_then(|status| status.current).map(|link| link.to_string()),
        link_max: status.map(|status| status.max.to_string()),
        acs: acs_names(node),
        memory: node.memory.iter().map(|memory| memory_document(memory, linux)).collect(),
        driver: known(|function| function.driver.value()?.as_deref().map(str::to_owned)),
        iommu_group: linux.and_then(|function| Some((*function.iommu_group.value()?)?.number)),
        iommu_domain: known(|function| {
            Some((*function.iommu_group.value()?)?.domain.value()?.to_string())
        }),
        vfio: linux.zip(subject.survey()).and_then(|(function, survey)| vfio(survey, function)),
        numa_node: linux.and_then(|function| *function.numa_node.value()?),
        block_devices: subject
            .survey()
            .map(|survey| subject::block_devices(survey, node.bdf))
            .unwrap_or_default(),
        unknown: unknown(node, linux),
    }
}

/// How a function that is bound to vfio-pci would be opened, or who shares its IOMMU group and is in the way.
pub(super) fn vfio(survey: &Survey, function: &Function) -> Option<String> {
    let binding = Binding::surveyed(survey, function);
    if !binding.is_taken() {
        return None;
    }
    let others: Vec<String> =
        binding.in_the_way(&[]).map(|(bdf, driver)| format!("{bdf} ({driver})")).collect();
    Some(match (binding.group, others.as_slice()) {
        (None, _) => "no IOMMU group".to_owned(),
        (Some(_), []) => survey.vfio.value().map_or_else(|| "?".to_owned(), ToString::to_string),
        (Some(_), others) => format!("not by itself: {} has its group", others.join(", ")),
    })
}

fn memory_document(memory: &LentMemory, linux: Option<&Function>) -> MemoryDocument {
    let pool = linux.and_then(|function| *function.pool.value()?);
    let available = pool.and_then(|pool| pool.available.value().copied());
    MemoryDocument {
        kind: memory.kind.to_string(),
        size_bytes: memory.size,
        available_bytes: available.filter(|_| memory.kind == p2pdma::topology::MemoryKind::P2pmem),
        published: memory.published,
    }
}

/// What could not be read of a function.
fn unknown(node: &Node, linux: Option<&Function>) -> Vec<String> {
    let mut missing: Vec<(&str, Option<Cause>)> =
        vec![("ACS", node.acs.cause()), ("link", node.link.cause())];
    if let Some(function) = linux {
        missing.extend([
            ("command register", function.command.cause()),
            ("driver", function.driver.cause()),
            ("IOMMU group", function.iommu_group.cause()),
            ("NUMA node", function.numa_node.cause()),
            ("BARs", function.bars.cause()),
            ("p2pmem", function.pool.cause()),
        ]);
        if let Known::Value(Some(group)) = function.iommu_group {
            missing.push(("IOMMU domain", group.domain.cause()));
        }
    }
    missing.into_iter().filter_map(|(what, cause)| Some(format!("{what}: {}", cause?))).collect()
}

/// The whole machine.
pub(super) fn topo(subject: &Subject, matrix: Option<Vec<Cell>>) -> TopoDocument {
    let host = subject.topology().host();
    let notes = subject.survey().into_iter().flat_map(|survey| &survey.notes);
    TopoDocument {
        machine: subject.name(),
        about: subject.about(),
        source: subject.source(),
        iommu: host.iommu.value().map(|mode| iommu_word(*mode)),
        processor: host.cpu.value().map(|cpu| processor(*cpu)),
        functions: functions(subject).collect(),
        matrix,
        notes: notes.map(ToString::to_string).collect(),
    }
}

/// One line per function.
pub(super) fn functions_csv(subject: &Subject) -> Csv {
    let columns = [
        "bdf",
        "name",
        "kind",
        "id",
        "class",
        "parent",
        "link",
        "link_max",
        "acs",
        "memory",
        "driver",
        "iommu_group",
        "numa_node",
    ];
    let mut csv = Csv::new(&columns);
    for function in functions(subject) {
        let memory =
            function.memory.iter().map(|memory| format!("{}:{}", memory.kind, memory.size_bytes));
        csv.row([
            function.bdf,
            optional(function.name),
            function.kind,
            function.id,
            function.class,
            optional(function.parent),
            optional(function.link),
            optional(function.link_max),
            optional(function.acs.map(|bits| bits.join(" "))),
            memory.collect::<Vec<_>>().join(" "),
            optional(function.driver),
            optional(function.iommu_group),
            optional(function.numa_node),
        ]);
    }
    csv
}
