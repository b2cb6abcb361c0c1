//! `topo` as a tree of lines.

use p2pdma::linux::{Function, Survey};
use p2pdma::topology::{
    Cause, Kind, Known, LentMemory, LinkStatus, MemoryKind, Node, NodeId, Topology,
};

use super::document::{acs_names, iommu_word, processor, vfio};
use crate::output::style::{FAINT, LABEL, WARNING, styled};
use crate::output::tree::Branch;
use crate::output::units;
use crate::subject::{self, Subject};

/// The whole machine.
pub(super) fn text(subject: &Subject) -> String {
    let topology = subject.topology();
    let host = topology.host();
    let iommu = host.iommu.value().map_or("not known", |mode| iommu_word(*mode));
    let cpu = host.cpu.value().map_or_else(|| "not known".to_owned(), |cpu| processor(*cpu));
    let mut text = format!("{}: {}\n", styled(LABEL, subject.name()), subject.about());
    text.push_str(&format!("processor {cpu}, IOMMU {iommu}\n"));
    let children = Children::of(topology);
    for (index, bridge) in topology.host_bridges().iter().enumerate() {
        let name = bridge.name.as_deref().unwrap_or_default();
        let mut root = Branch::new(format!("{bridge} {name}").trim_end());
        let on_root_bus = children.roots.iter().filter(|id| topology.host_bridge_of(**id) == index);
        root.children = on_root_bus.map(|id| branch(subject, &children, *id)).collect();
        text.push_str(&root.lines(""));
    }
    if topology.nodes().is_empty() {
        text.push_str("there are no PCI functions\n");
    }
    text.push_str(&unread(subject));
    text
}

/// Who is below whom.
struct Children {
    roots: Vec<NodeId>,
    below: Vec<Vec<NodeId>>,
}

impl Children {
    fn of(topology: &Topology) -> Self {
        let mut roots = Vec::new();
        let mut below = vec![Vec::new(); topology.nodes().len()];
        for id in topology.ids() {
            match topology.parent(id) {
                Some(parent) => below[parent.index()].push(id),
                None => roots.push(id),
            }
        }
        Self { roots, below }
    }
}

/// A function with all below it. As deep as switches are nested.
fn branch(subject: &Subject, children: &Children, id: NodeId) -> Branch {
    let topology = subject.topology();
    let node = topology.node(id);
    let above = topology.parent(id).map(|parent| topology.node(parent));
    let survey = subject.survey();
    let mut tree = Branch::new(line(node, above, survey.map(|survey| survey.function(id))));
    if let Some(survey) = survey {
        tree.label.push_str(&linux(node, survey.function(id), survey));
    }
    let below = &children.below[id.index()];
    tree.children = below.iter().map(|child| branch(subject, children, *child)).collect();
    if node.kind.faces_down() && tree.children.is_empty() {
        tree.label.push_str("  (empty)");
    }
    tree
}

/// A function, and the link between it and the port above.
fn line(node: &Node, above: Option<&Node>, function: Option<&Function>) -> String {
    let mut line = node.bdf.to_string();
    if let Some(name) = &node.name {
        line.push_str(&format!(" {}", styled(LABEL, name)));
    }
    let what = match node.kind {
        Kind::Endpoint | Kind::Conventional => subject::class(node),
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
        let lends = verb(memory, function);
        line.push_str(&format!("  {lends} {} {}", memory.kind, units::bytes(memory.size)));
    }
    line
}

/// Whether it lends its memory, or merely has it. On the software fabric everybody lends.
fn verb(memory: &LentMemory, function: Option<&Function>) -> &'static str {
    let pool = function.map(|function| function.pool);
    match (memory.kind, pool) {
        (MemoryKind::Bar(_), _) | (MemoryKind::Cmb, Some(Known::Value(None))) => "has",
        _ => "lends",
    }
}

/// What Linux tells beside that.
fn linux(node: &Node, function: &Function, survey: &Survey) -> String {
    let mut line = String::new();
    if node.acs.cause().is_some() {
        line.push_str(&format!("  ACS {}", styled(WARNING, "?")));
    }
    if let Known::Value(Some(driver)) = &function.driver
        && !node.kind.is_bridge()
    {
        line.push_str(&format!("  {}", styled(FAINT, format!("driver {driver}"))));
    }
    if let Known::Value(Some(group)) = function.iommu_group {
        line.push_str(&format!("  {}", styled(FAINT, format!("group {}", group.number))));
    }
    if let Some(opened) = vfio(survey, function) {
        line.push_str(&format!("  {}", styled(FAINT, format!("vfio {opened}"))));
    }
    line
}

/// How much is not known for want of what, and what would tell.
fn unread(subject: &Subject) -> String {
    let causes = subject.topology().nodes().iter().filter_map(|node| node.acs.cause());
    let mut counts = std::collections::BTreeMap::<Cause, u64>::new();
    for cause in causes {
        *counts.entry(cause).or_default() += 1;
    }
    let line = |(cause, count): (Cause, u64)| {
        let functions = units::count(count, "function");
        let how = match cause {
            Cause::NeedsRoot => subject.more(),
            Cause::NotCaptured | Cause::Unreadable => cause.remedy(),
        };
        format!("ACS ? of {functions}: {cause}; {how}\n")
    };
    counts.into_iter().map(line).collect()
}

/// The link of a function, if it is known to have one.
pub(super) fn link_status(node: &Node) -> Option<LinkStatus> {
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
