//! `topo`: devices, links, and who can reach whom. Opens no controller.

use clap::Args;
use p2pdma::machine::Machine;
use p2pdma::topology::{
    AcsBit, Cpu, CpuVendor, IommuMode, Kind, LentMemory, LinkStatus, Node, NodeId, Topology,
};
use p2pdma::{Platform, Storage, presets};
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::Format;
use crate::context::Context;
use crate::failure::Result;
use crate::output::csv::{Csv, optional};
use crate::output::matrix::{Cell, Matrix};
use crate::output::style::{FAINT, LABEL, WARNING, styled};
use crate::output::table;
use crate::output::tree::Branch;
use crate::output::units;

/// Prints the machine as a tree, or as a matrix of who reaches whose memory.
#[derive(Debug, Args)]
pub(crate) struct Topo {
    /// Who reaches whose memory, for all pairs
    #[arg(long)]
    matrix: bool,
    /// The machine file itself
    #[arg(long, conflicts_with = "matrix")]
    source: bool,
    /// The machines that come with the command
    #[arg(long, conflicts_with_all = ["matrix", "source"])]
    list: bool,
}

/// What `topo` prints as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TopoDocument {
    /// The machine's name.
    machine: String,
    /// What it shows.
    about: String,
    /// What its IOMMU does: off, passthrough or translate.
    iommu: &'static str,
    /// Its processor: vendor and family.
    processor: String,
    /// Its functions, depth first.
    functions: Vec<FunctionDocument>,
    /// All pairs of endpoints, with `--matrix`.
    #[serde(skip_serializing_if = "Option::is_none")]
    matrix: Option<Vec<Cell>>,
}

/// A function.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FunctionDocument {
    /// Where it is.
    bdf: String,
    /// What people call it.
    name: Option<String>,
    /// What it is.
    kind: String,
    /// Vendor and device.
    id: String,
    /// Its class, in words.
    class: String,
    /// The bridge above it; null on a root bus.
    parent: Option<String>,
    /// What its link runs at; null without a link, or while it is down.
    link: Option<String>,
    /// What its link could run at; null without a link.
    link_max: Option<String>,
    /// The ACS controls that are set, by their names in lspci; null without the capability, or if it
    /// could not be read.
    acs: Option<Vec<&'static str>>,
    /// What it lends.
    memory: Vec<MemoryDocument>,
}

/// Memory that a function lends.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct MemoryDocument {
    /// cmb, pmr or barN.
    kind: String,
    /// How much of it peers can reach.
    size_bytes: u64,
}

impl Topo {
    /// Runs the command.
    pub(crate) fn run(&self, context: &mut Context) -> Result<()> {
        if self.list {
            return list(context);
        }
        let machine = context.machine()?;
        if self.source {
            return source(context);
        }
        let platform = context.platform(&machine, &Storage::Ephemeral)?;
        let topology = platform.topology()?;
        let matrix = self.matrix.then(|| Matrix::of(&topology));
        let out = &context.out;
        match (out.format(), &matrix) {
            (Format::Table, None) => out.text(&tree(&machine, &topology))?,
            (Format::Table, Some(matrix)) => out.text(&matrix.text())?,
            (Format::Csv, None) => out.text(functions_csv(&topology).text())?,
            (Format::Csv, Some(matrix)) => out.text(matrix.csv().text())?,
            (Format::Json, _) => {
                let matrix = matrix.map(|matrix| matrix.cells().to_vec());
                out.document("p2pdma/topo", &document(&machine, &topology, matrix))?;
            }
            (Format::Jsonl, None) => {
                for function in functions(&topology) {
                    out.document("p2pdma/topo-function", &function)?;
                }
            }
            (Format::Jsonl, Some(matrix)) => {
                for cell in matrix.cells() {
                    out.document("p2pdma/topo-pair", cell)?;
                }
            }
        }
        Ok(())
    }
}

/// The machine file's text.
fn source(context: &Context) -> Result<()> {
    let name = context.global.fabric.as_str();
    match presets::text(name) {
        Some(text) => context.out.text(text)?,
        // It was read and understood before.
        None => context.out.text(&std::fs::read_to_string(name)?)?,
    }
    Ok(())
}

/// One line of `topo --list`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct MachineDocument {
    /// What `--fabric` takes.
    name: String,
    /// What it shows.
    about: String,
}

/// What `topo --list` prints as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct MachinesDocument {
    /// The machines that come with the command.
    machines: Vec<MachineDocument>,
}

fn list(context: &Context) -> Result<()> {
    let mut machines = Vec::new();
    for &(name, _) in presets::ALL {
        let machine = presets::machine(name, None)
            .map_err(|error| crate::failure::Failure::usage(error.to_string()))?;
        machines.push(MachineDocument { name: name.to_owned(), about: machine.about });
    }
    let pair = |machine: &MachineDocument| vec![machine.name.clone(), machine.about.clone()];
    match context.out.format() {
        Format::Table => context.out.text(&table::rows(machines.iter().map(pair)))?,
        Format::Csv => {
            let mut csv = Csv::new(&["name", "about"]);
            machines.iter().for_each(|machine| csv.row(pair(machine)));
            context.out.text(csv.text())?;
        }
        Format::Json => context.out.document("p2pdma/machines", &MachinesDocument { machines })?,
        Format::Jsonl => {
            for machine in &machines {
                context.out.document("p2pdma/machine", machine)?;
            }
        }
    }
    Ok(())
}

const fn iommu_word(mode: IommuMode) -> &'static str {
    match mode {
        IommuMode::Off => "off",
        IommuMode::Passthrough => "passthrough",
        IommuMode::Translate => "translate",
    }
}

fn processor(cpu: Cpu) -> String {
    let vendor = match cpu.vendor {
        CpuVendor::Intel => "Intel",
        CpuVendor::Amd => "AMD",
        CpuVendor::Hygon => "Hygon",
        CpuVendor::Other => "other",
    };
    format!("{vendor} family {:#x}", cpu.family)
}

fn tree(machine: &Machine, topology: &Topology) -> String {
    let iommu = iommu_word(machine.iommu);
    let mut text = format!("{}: {}\n", styled(LABEL, &machine.name), machine.about);
    text.push_str(&format!("processor {}, IOMMU {iommu}\n", processor(machine.host.cpu)));
    for (index, bridge) in topology.host_bridges().iter().enumerate() {
        let name = bridge.name.as_deref().unwrap_or_default();
        let mut root = Branch::new(format!("{bridge} {name}"));
        let on_root_bus = topology
            .ids()
            .filter(|id| topology.parent(*id).is_none() && topology.host_bridge_of(*id) == index);
        root.children = on_root_bus.map(|id| branch(topology, id)).collect();
        text.push_str(&root.lines(""));
    }
    text
}

/// A function with all below it. As deep as switches are nested.
fn branch(topology: &Topology, id: NodeId) -> Branch {
    let node = topology.node(id);
    let above = topology.parent(id).map(|parent| topology.node(parent));
    let mut tree = Branch::new(line(node, above));
    let children = topology.ids().filter(|child| topology.parent(*child) == Some(id));
    tree.children = children.map(|child| branch(topology, child)).collect();
    if node.kind.faces_down() && tree.children.is_empty() {
        tree.label.push_str("  (empty)");
    }
    tree
}

/// A function, and the link between it and the port above.
fn line(node: &Node, above: Option<&Node>) -> String {
    let mut line = node.bdf.to_string();
    if let Some(name) = &node.name {
        line.push_str(&format!(" {}", styled(LABEL, name)));
    }
    let what = match node.kind {
        Kind::Endpoint | Kind::Conventional => node.class.to_string(),
        kind => kind.to_string(),
    };
    line.push_str(&format!("  {what}"));
    if !node.kind.is_bridge() {
        line.push_str(&format!(" {}", styled(FAINT, node.id)));
    }
    let port = above.filter(|above| above.kind.faces_down());
    if let (Some(status), Some(port)) = (link_status(node), port.and_then(link_status)) {
        line.push_str(&link_text(status, port));
    }
    let acs = acs_names(node).unwrap_or_default();
    if !acs.is_empty() {
        line.push_str(&format!(
            "  ACS {}",
            acs.iter().map(|bit| format!("{bit}+")).collect::<Vec<_>>().join(" ")
        ));
    }
    for memory in &node.memory {
        line.push_str(&format!("  lends {} {}", memory.kind, units::bytes(memory.size)));
    }
    line
}

fn link_status(node: &Node) -> Option<LinkStatus> {
    node.link.value().copied().flatten()
}

/// What a link runs at, and what it could if that is more.
fn link_text(below: LinkStatus, above: LinkStatus) -> String {
    let possible = below.max.common_with(above.max);
    match below.current {
        None => format!("  link {}", styled(WARNING, "down")),
        Some(current) if current == possible => format!("  {current}"),
        Some(current) => format!("  {current} {}", styled(WARNING, format!("(of {possible})"))),
    }
}

fn acs_names(node: &Node) -> Option<Vec<&'static str>> {
    let acs = node.acs.value()?.as_ref()?;
    Some(AcsBit::of(acs.control).map(AcsBit::lspci_name).collect())
}

fn functions(topology: &Topology) -> impl Iterator<Item = FunctionDocument> {
    let lent = |memory: &LentMemory| MemoryDocument {
        kind: memory.kind.to_string(),
        size_bytes: memory.size,
    };
    topology.ids().map(move |id| {
        let node = topology.node(id);
        let status = link_status(node);
        FunctionDocument {
            bdf: node.bdf.to_string(),
            name: node.name.as_deref().map(str::to_owned),
            kind: node.kind.to_string(),
            id: node.id.to_string(),
            class: node.class.to_string(),
            parent: topology.parent(id).map(|parent| topology.node(parent).bdf.to_string()),
            link: status.and_then(|status| status.current).map(|link| link.to_string()),
            link_max: status.map(|status| status.max.to_string()),
            acs: acs_names(node),
            memory: node.memory.iter().map(lent).collect(),
        }
    })
}

fn document(machine: &Machine, topology: &Topology, matrix: Option<Vec<Cell>>) -> TopoDocument {
    TopoDocument {
        machine: machine.name.clone(),
        about: machine.about.clone(),
        iommu: iommu_word(machine.iommu),
        processor: processor(machine.host.cpu),
        functions: functions(topology).collect(),
        matrix,
    }
}

fn functions_csv(topology: &Topology) -> Csv {
    let columns =
        ["bdf", "name", "kind", "id", "class", "parent", "link", "link_max", "acs", "memory"];
    let mut csv = Csv::new(&columns);
    for function in functions(topology) {
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
        ]);
    }
    csv
}
