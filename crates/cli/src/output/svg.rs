//! The machine as a picture: its tree with links, access control and memory, and a way through it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use p2pdma::Bdf;
use p2pdma::topology::{AcsBit, MapType, Node, NodeId, Topology, Verdict};

use super::units;
use crate::subject::{Subject, class, label};

const ROW: usize = 30;
const STEP: usize = 28;
const LEFT: usize = 20;
const TOP: usize = 74;
const WIDTH: usize = 1080;
/// Where columns begin: links, access control, memory.
const COLUMNS: [usize; 3] = [520, 680, 880];

const STYLE: &str = "\
text{font:13px ui-monospace,monospace;fill:#1b1f24}.title{font-size:16px;font-weight:bold}.faint{fill:#57606a}\
.wire{stroke:#8c959f;stroke-width:1.5;fill:none}.box{fill:#f6f8fa;stroke:#8c959f}\
.acs{fill:#9a6700;font-weight:bold}.down{fill:#cf222e;font-weight:bold}.memory{fill:#1a7f37;font-weight:bold}\
.way{stroke:#0969da;stroke-width:4;fill:none}.refused{stroke:#cf222e;stroke-dasharray:7 4}\
.unknown{stroke:#8c959f;stroke-dasharray:2 4}.end{fill:#ddf4ff;stroke:#0969da;stroke-width:2}";

/// A line of the picture.
struct Row {
    /// The function; a host bridge has none.
    id: Option<NodeId>,
    depth: usize,
    /// The line of what it is below.
    parent: Option<usize>,
    text: String,
}

/// Draws a machine, and the way of a client to a provider if there is one.
pub(crate) fn draw(subject: &Subject, route: Option<(Bdf, Bdf)>) -> String {
    let topology = subject.topology();
    let rows = rows(topology);
    let verdict = route.map(|(client, provider)| topology.explain(client, provider));
    let height = TOP + rows.len() * ROW + 2 * ROW;
    let title = escape(&format!("{}: {}", subject.name(), subject.about()));
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" \
         height=\"{height}\" role=\"img\">\n<title>{title}</title>\n<style>{STYLE}</style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#ffffff\"/>\n"
    );
    text(&mut svg, (LEFT, 28), "title", &title);
    let caption = verdict.as_ref().map(|verdict| caption(topology, verdict)).unwrap_or_default();
    text(&mut svg, (LEFT, 50), "faint", &escape(&caption));
    for (column, head) in COLUMNS.into_iter().zip(["link", "access control", "memory"]) {
        text(&mut svg, (column, 50), "faint", head);
    }
    for (index, row) in rows.iter().enumerate() {
        if let Some(parent) = row.parent {
            wire(&mut svg, "wire", parent, index, row.depth);
        }
    }
    if let Some(verdict) = &verdict {
        way(&mut svg, topology, &rows, verdict);
    }
    for (index, row) in rows.iter().enumerate() {
        line(&mut svg, topology, index, row, verdict.as_ref());
    }
    let legend = "+ after a control: it is on. RR, CR and EC make the kernel send peer traffic through the root.";
    text(&mut svg, (LEFT, height - ROW / 2), "faint", legend);
    svg.push_str("</svg>\n");
    svg
}

fn rows(topology: &Topology) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::with_capacity(topology.nodes().len() + 4);
    let mut lines: BTreeMap<NodeId, usize> = BTreeMap::new();
    for (index, bridge) in topology.host_bridges().iter().enumerate() {
        let name = bridge.name.as_deref().unwrap_or_default();
        let head = rows.len();
        let text = format!("{bridge} {name}");
        rows.push(Row { id: None, depth: 0, parent: None, text });
        // Depth first, as they are drawn.
        for id in topology.ids().filter(|id| topology.host_bridge_of(*id) == index) {
            let above = topology.parent(id).and_then(|parent| lines.get(&parent)).copied();
            let parent = above.unwrap_or(head);
            let depth = rows.get(parent).map_or(0, |row| row.depth) + 1;
            lines.insert(id, rows.len());
            let text = what(topology.node(id));
            rows.push(Row { id: Some(id), depth, parent: Some(parent), text });
        }
    }
    rows
}

fn what(node: &Node) -> String {
    let name = node.name.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
    let kind = match node.kind.is_bridge() {
        true => node.kind.to_string(),
        false => class(node),
    };
    format!("{}{name}  {kind}", node.bdf)
}

fn middle(index: usize) -> usize {
    TOP + index * ROW + ROW / 2
}

/// The line from what is above to a function.
fn wire(svg: &mut String, class: &str, parent: usize, index: usize, depth: usize) {
    let x = LEFT + (depth.saturating_sub(1)) * STEP + STEP / 2;
    let (from, to, end) = (middle(parent) + ROW / 3, middle(index), LEFT + depth * STEP);
    push(svg, format_args!("<path class=\"{class}\" d=\"M{x} {from}V{to}H{end}\"/>\n"));
}

fn line(svg: &mut String, topology: &Topology, index: usize, row: &Row, verdict: Option<&Verdict>) {
    let (x, y) = (LEFT + row.depth * STEP, middle(index));
    let width = COLUMNS[0].saturating_sub(x + 12).max(120);
    let node = row.id.map(|id| topology.node(id));
    let is_end =
        |node: &Node| verdict.is_some_and(|way| [way.client, way.provider].contains(&node.bdf));
    let class = if node.is_some_and(is_end) { "end" } else { "box" };
    push(
        svg,
        format_args!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{}\" width=\"{width}\" height=\"{}\" rx=\"4\"/>\n",
            y - ROW / 2 + 3,
            ROW - 6
        ),
    );
    text(svg, (x + 8, y + 5), "", &escape(&row.text));
    let Some(node) = node else { return };
    let (class, link) = link(node);
    text(svg, (COLUMNS[0], y + 5), class, &link);
    text(svg, (COLUMNS[1], y + 5), "acs", &access_control(node));
    let lent =
        node.memory.iter().map(|memory| format!("{} {}", memory.kind, units::bytes(memory.size)));
    text(svg, (COLUMNS[2], y + 5), "memory", &lent.collect::<Vec<_>>().join(", "));
}

fn link(node: &Node) -> (&'static str, String) {
    match node.link.value() {
        None => ("faint", "?".to_owned()),
        Some(None) => ("", String::new()),
        Some(Some(status)) => match status.current {
            None => ("down", "down".to_owned()),
            Some(link) if link == status.max => ("", link.to_string()),
            Some(link) => ("acs", format!("{link} of {}", status.max)),
        },
    }
}

fn access_control(node: &Node) -> String {
    match node.acs.value() {
        None => "?".to_owned(),
        Some(None) => String::new(),
        Some(Some(acs)) => {
            let bits = AcsBit::of(acs.control).map(|bit| format!("{bit}+"));
            bits.collect::<Vec<_>>().join(" ")
        }
    }
}

/// What the kernel says of the pair, in a line.
fn caption(topology: &Topology, verdict: &Verdict) -> String {
    let name = |bdf| topology.find(bdf).map(|id| label(topology.node(id))).unwrap_or_default();
    let pair = format!("{} to {}", name(verdict.client), name(verdict.provider));
    let distance = verdict.distance.unwrap_or_default();
    match (verdict.map_type, verdict.code()) {
        (Some(MapType::BusAddress), _) => format!("{pair}: direct, distance {distance}"),
        (Some(MapType::ThroughHostBridge), _) => {
            format!("{pair}: through the host bridge, distance {distance}")
        }
        (_, Some(code)) => format!("{pair}: {code}"),
        (_, None) => pair,
    }
}

/// Highlights the wires from the client up to where the paths meet, and down to the provider.
fn way(svg: &mut String, topology: &Topology, rows: &[Row], verdict: &Verdict) {
    let on_way: BTreeSet<NodeId> = verdict
        .client_path
        .iter()
        .chain(&verdict.provider_path)
        .filter_map(|step| topology.find(step.bdf))
        .collect();
    let class = match verdict.map_type {
        Some(MapType::BusAddress | MapType::ThroughHostBridge) => "way",
        Some(MapType::NotSupported) => "way refused",
        None => "way unknown",
    };
    for (index, row) in rows.iter().enumerate() {
        if let (Some(id), Some(parent)) = (row.id, row.parent)
            && on_way.contains(&id)
        {
            wire(svg, class, parent, index, row.depth);
        }
    }
}

fn text(svg: &mut String, (x, y): (usize, usize), class: &str, content: &str) {
    if !content.is_empty() {
        push(svg, format_args!("<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{content}</text>\n"));
    }
}

fn push(svg: &mut String, content: std::fmt::Arguments<'_>) {
    // A string takes everything.
    let _ = svg.write_fmt(content);
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            control if control.is_control() => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_become_markup() {
        assert_eq!(escape("a<b>&\"c\"\u{1}"), "a&lt;b&gt;&amp;&quot;c&quot;\u{fffd}");
    }
}
