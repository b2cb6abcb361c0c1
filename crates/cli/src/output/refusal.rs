//! A refused path, with the evidence, what would change it, and what that costs.

use p2pdma::topology::{
    AcsBit, Effect, Fix, HostBridgeEvidence, IommuMode, Kind, Known, MapType, Merge, ReasonCode,
    Refusal, Route, Step, Topology, Verdict,
};
use p2pdma::{Bdf, End, NoPath, Plan, ProviderId, Reach, Rejected, Stage, Why};

use super::bus;
use super::document::{
    CandidateDocument, FixDocument, HostBridgeDocument, RefusalDocument, StepDocument,
    VerdictDocument,
};
use super::style::{LABEL, WARNING, styled};
use super::tree::Branch;
use crate::exit::Exit;
use crate::failure::Failure;

/// A refusal as a failure of the command, before anything was written.
pub(crate) fn failure(no_path: &NoPath, topology: &Topology) -> Failure {
    let last = format!("{:<64} [exit {}]\n", "nothing was written", Exit::NoPath.status());
    let (headline, evidence) = explain(no_path, topology);
    Failure::new(Exit::NoPath, &no_path.code.to_string(), headline)
        .details(format!("{evidence}{last}"))
        .remedy(remedy(no_path, topology))
        .refusal(document(no_path, topology))
}

/// A refusal in a line, and the lines that explain it.
pub(crate) fn explain(no_path: &NoPath, topology: &Topology) -> (String, String) {
    let refused = nearest_refused(no_path);
    let headline = match refused {
        Some((id, refusal)) => headline(id, refusal, topology),
        None => {
            let ends =
                [&no_path.wish.source, &no_path.wish.sink].map(|end| end_text(end, topology));
            let why = message(no_path);
            format!("no peer-to-peer path from {} to {}: {why}", ends[0], ends[1])
        }
    };
    let mut text = String::new();
    if let Some((id, refusal)) = refused {
        for tree in trees(&refusal.verdict, topology) {
            text.push_str(&tree.lines("  "));
        }
        let kernel = refusal.verdict.kernel_map_type.map(MapType::kernel_name);
        text.push_str(&labelled("kernel", kernel.unwrap_or("not known")));
        text.push_str(&other_leg(no_path, id, refusal, topology));
        text.push_str(&advice(no_path.code, fix(no_path, topology).as_ref(), topology));
        text.push_str(&others(no_path, id));
    } else {
        text.push_str(&labelled("fix", general_advice(no_path.code)));
        text.push_str(&candidates(&no_path.rejected));
    }
    text.push_str(&labelled("else", "--p2p=prefer copies through host memory"));
    text.push_str(&labelled("more", &format!("p2pdma explain {}", no_path.code.code())));
    (headline, text)
}

/// The clients among the ends.
fn clients(no_path: &NoPath) -> Vec<Bdf> {
    [no_path.wish.source.clients(), no_path.wish.sink.clients()].concat()
}

/// What would make a path for all clients, where access control alone prevents it.
fn fix(no_path: &NoPath, topology: &Topology) -> Option<Fix> {
    let (_, refusal) = nearest_refused(no_path)?;
    let clients = clients(no_path);
    let all = clients.iter().all(|client| match topology.route(*client, refusal.provider()) {
        Route::NotSupported(refusal) => refusal.code == ReasonCode::AcsRedirect,
        _ => true,
    });
    let fix = topology.fix_for(&clients, refusal.provider());
    fix.filter(|_| all && no_path.code == ReasonCode::AcsRedirect)
}

/// The other client, if it has no path either.
fn other_leg(no_path: &NoPath, id: ProviderId, shown: &Refusal, topology: &Topology) -> String {
    let others = clients(no_path).into_iter().filter(|bdf| ![shown.client(), id.bdf].contains(bdf));
    let refused = others.filter_map(|bdf| match topology.route(bdf, id.bdf) {
        Route::NotSupported(refusal) => Some(labelled("also", &refusal.to_string())),
        _ => None,
    });
    refused.collect()
}

fn nearest_refused(no_path: &NoPath) -> Option<(ProviderId, &Refusal)> {
    no_path.rejected.iter().find_map(|rejected| match &rejected.why {
        Why::Refused(refusal) => Some((rejected.id, &**refusal)),
        _ => None,
    })
}

/// Why, without the code and the pair, which stand before it.
fn message(no_path: &NoPath) -> String {
    let text = no_path.to_string();
    text.rsplit_once(": ").map_or(text.clone(), |(_, why)| why.to_owned())
}

fn end_text(end: &End, topology: &Topology) -> String {
    let bdf = match end {
        End::Client(bdf) => *bdf,
        End::Memory(id) => id.bdf,
        End::Volume(_) | End::Host => return end.to_string(),
    };
    match name(topology, bdf) {
        Some(name) => format!("{end} ({name})"),
        None => end.to_string(),
    }
}

fn headline(id: ProviderId, refusal: &Refusal, topology: &Topology) -> String {
    let named = |bdf| name(topology, bdf).map_or_else(String::new, |name| format!(" ({name})"));
    let (client, provider) = (refusal.client(), refusal.provider());
    let (from, to) = (named(client), named(provider));
    let path = format!("from {client}{from} to {id}{to}");
    if refusal.code == ReasonCode::UnknownNeedRoot {
        return format!("whether there is a peer-to-peer path {path} is not known");
    }
    format!("no peer-to-peer path {path}")
}

/// A line with its label before it.
pub(crate) fn labelled(label: &str, text: &str) -> String {
    format!("{label:<8} {text}\n")
}

/// Another line of what a label says.
pub(crate) fn continued(text: &str) -> String {
    labelled("", text)
}

fn name(topology: &Topology, bdf: Bdf) -> Option<&str> {
    topology.find(bdf).and_then(|id| topology.node(id).name.as_deref())
}

fn named(topology: &Topology, bdf: Bdf) -> String {
    name(topology, bdf).map_or_else(|| bdf.to_string(), str::to_owned)
}

/// The way from the root down to both functions; two trees where they share no bridge.
pub(crate) fn trees(verdict: &Verdict, topology: &Topology) -> Vec<Branch> {
    let line = |step: &Step| Branch::new(step_line(step, verdict));
    // The path of an end from its top downwards, as nested branches.
    let chain = |path: &[Step]| {
        path.iter().fold(None, |below: Option<Branch>, step| {
            let mut branch = line(step);
            branch.children.extend(below);
            Some(branch)
        })
    };
    let branches =
        [&verdict.provider_path, &verdict.client_path].into_iter().filter_map(|path| chain(path));
    let Some(common) = &verdict.common else {
        return below_host_bridges(verdict, branches.collect());
    };
    let mut tree = line(common);
    tree.children.extend(branches);
    let mut above = topology.find(common.bdf).and_then(|id| topology.parent(id));
    while let Some(id) = above {
        let node = topology.node(id);
        let mut parent =
            Branch::new(format!("{} {}", node.bdf, kind_and_name(node.kind, node.name.as_deref())));
        parent.children.push(tree);
        tree = parent;
        above = topology.parent(id);
    }
    if let Some(bridge) = verdict.host_bridges.first() {
        tree.label = format!("{:<33}  {}", tree.label, host_bridge(bridge));
    }
    vec![tree]
}

/// Both ends' trees below their host bridges, or below the one that they share.
fn below_host_bridges(verdict: &Verdict, branches: Vec<Branch>) -> Vec<Branch> {
    let label = |bridge: &HostBridgeEvidence| {
        format!("pci{:04x}:{:02x} {}", bridge.domain, bridge.bus, host_bridge(bridge))
    };
    // The client's host bridge is first; its path is the second branch.
    match (verdict.host_bridges.as_slice(), branches.as_slice()) {
        ([near, far], [provider, client]) => {
            let mut trees = [Branch::new(label(far)), Branch::new(label(near))];
            trees[0].children.push(provider.clone());
            trees[1].children.push(client.clone());
            trees.into()
        }
        ([one, ..], _) => {
            let mut tree = Branch::new(label(one));
            tree.children = branches;
            vec![tree]
        }
        _ => branches,
    }
}

fn host_bridge(bridge: &HostBridgeEvidence) -> String {
    let listed = match (&bridge.entry, bridge.allows) {
        (_, true) => "allowed",
        (Some(_), false) => "listed for pairs below itself only",
        (None, false) => "not on the kernel's list",
    };
    match bridge.key {
        Some((_, id)) => format!("host bridge {id}: {listed}"),
        None => "host bridge: cannot be on the kernel's list".to_owned(),
    }
}

fn kind_and_name(kind: Kind, name: Option<&str>) -> String {
    match (kind, name) {
        (Kind::Endpoint, Some(name)) => name.to_owned(),
        (kind, Some(name)) => format!("{kind} {name}"),
        (kind, None) => kind.to_string(),
    }
}

fn step_line(step: &Step, verdict: &Verdict) -> String {
    let mut line = format!("{} {}", step.bdf, kind_and_name(step.kind, step.name.as_deref()));
    for (bit, _) in step.bits() {
        line.push_str(&format!("  {}+", bit.lspci_name()));
    }
    if let Some(cause) = step.redirecting.cause() {
        line.push_str(&format!("  ACS not known: {cause}"));
    }
    if step.redirects() && verdict.common.is_some() {
        let acting: Vec<AcsBit> = step
            .bits()
            .filter(|(_, effect)| *effect == Effect::ActsOnPair)
            .map(|(bit, _)| bit)
            .collect();
        let acts = |bit| acting.contains(&bit);
        let mark = match acting.as_slice() {
            [] => "<-- counted by the kernel; the bus does not look at it",
            // With both, requests to the peers that egress control guards are redirected.
            _ if acts(AcsBit::EgressControl) && !acts(AcsBit::RequestRedirect) => {
                "<-- blocks peer traffic"
            }
            _ => "<-- sends peer traffic up",
        };
        line.push_str(&format!("  {}", styled(WARNING, mark)));
    }
    if step.bdf == verdict.provider {
        line.push_str("  target");
    }
    if step.bdf == verdict.client {
        line.push_str("  initiator");
    }
    line
}

/// What would make a path, and what that costs.
fn advice(code: ReasonCode, fix: Option<&Fix>, topology: &Topology) -> String {
    let Some(fix) = fix else {
        return labelled("fix", general_advice(code));
    };
    let [table, line] = machine_lines(fix, topology);
    let mut text = labelled("fix now", &format!("in the machine file:  {table}"));
    text.push_str(&continued(&format!("                      {line}")));
    for (index, command) in fix.now.iter().enumerate() {
        let lead = if index == 0 { "on a real machine:   " } else { "                     " };
        text.push_str(&continued(&format!("{lead} {command}")));
    }
    text.push_str(&continued(
        "until reboot; clears RR, CR and EC only; a verdict that the kernel has given",
    ));
    text.push_str(&continued("stays until the driver of the provider is unbound"));
    text.push_str(&labelled("fix boot", &format!("{}   (';' not ',')", fix.boot)));
    text.push_str(&labelled("cost", &cost(&fix.cost, topology)));
    text
}

/// A table of a machine file and the line in it.
pub(crate) fn machine_lines(fix: &Fix, topology: &Topology) -> [String; 2] {
    let names: Vec<String> =
        fix.now.iter().map(|at| format!("\"{}\"", named(topology, at.bdf))).collect();
    ["[os]".to_owned(), format!("disable-acs-redir = [{}]", names.join(", "))]
}

/// What a fix costs: functions that would no longer be isolated.
pub(crate) fn cost(merges: &[Merge], topology: &Topology) -> String {
    const SHOWN: usize = 4;
    let one = |merge: &Merge| {
        let names: Vec<String> =
            merge.functions.iter().map(|bdf| named(topology, *bdf)).take(SHOWN).collect();
        let more = merge.functions.len() - names.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!(
            "{}{more} are no longer isolated from each other (one IOMMU group)",
            names.join(", ")
        )
    };
    if merges.is_empty() {
        return "none: these functions are not isolated from each other now".to_owned();
    }
    let mut merged = merges.iter().map(one).collect::<Vec<_>>().join("; ");
    if topology.host().iommu == Known::Value(IommuMode::Off) {
        merged.push_str("; without an IOMMU nothing isolates them anyway");
    }
    merged
}

/// What helps where no register does.
fn general_advice(code: ReasonCode) -> &'static str {
    match code {
        ReasonCode::RootNotAllowed | ReasonCode::DifferentRoot => {
            "put both devices below one switch (in the machine file: `below`)"
        }
        ReasonCode::NoPeerMemory => {
            "give a device memory to lend (in the machine file: cmb = \"64M\" of an [[nvme]])"
        }
        ReasonCode::PoolEmpty => "a smaller --block-size, or memory that is larger (`cmb`)",
        ReasonCode::NoMover => "copy to or from a namespace: an SSD starts requests",
        ReasonCode::UnknownNeedRoot => "run as root: what is missing can then be read",
        _ => "see the explanation of the code",
    }
}

fn remedy(no_path: &NoPath, topology: &Topology) -> String {
    match fix(no_path, topology) {
        Some(fix) => {
            let [table, line] = machine_lines(&fix, topology);
            format!("{line} in {table} of the machine file; or --p2p=prefer")
        }
        None => format!("{}; or --p2p=prefer", general_advice(no_path.code)),
    }
}

/// The candidates beside the one that the evidence is about.
fn others(no_path: &NoPath, shown: ProviderId) -> String {
    let others: Vec<Rejected> =
        no_path.rejected.iter().filter(|rejected| rejected.id != shown).cloned().collect();
    candidates(&others)
}

fn candidates(rejected: &[Rejected]) -> String {
    const SHOWN: usize = 4;
    let mut text = String::new();
    for rejected in rejected.iter().take(SHOWN) {
        text.push_str(&labelled("not via", &format!("{}: {}", rejected.id, rejected.why)));
    }
    if rejected.len() > SHOWN {
        text.push_str(&continued(&format!("and {} more", rejected.len() - SHOWN)));
    }
    text
}

/// How an end gets to the memory.
pub(crate) fn reach(reach: &Reach) -> String {
    match reach {
        Reach::Own => "its own memory".to_owned(),
        Reach::Host => "in host memory".to_owned(),
        Reach::Processor => "the processor copies".to_owned(),
        Reach::Peer(Route::BusAddress { distance }) => {
            format!("by bus address, distance {distance}")
        }
        Reach::Peer(route) => {
            format!("through the host bridge, distance {}", route.distance().unwrap_or(0))
        }
    }
}

/// A plan for those who ask: who does what, and why no other memory.
pub(crate) fn plan(plan: &Plan, topology: &Topology) -> String {
    let mut text = format!("{} via {}\n", styled(LABEL, "plan"), plan.via);
    for leg in &plan.legs {
        let does = match leg.stage {
            Stage::Fill => "fills it",
            Stage::Drain => "drains it",
        };
        let how = reach(&leg.reach);
        text.push_str(&continued(&format!("{} {does}: {how}", end_text(&leg.end, topology))));
    }
    text.push_str(&candidates(&plan.rejected));
    text.trim_end().to_owned()
}

fn document(no_path: &NoPath, topology: &Topology) -> RefusalDocument {
    let candidate = |rejected: &Rejected| CandidateDocument {
        provider: rejected.id.to_string(),
        why: rejected.why.to_string(),
    };
    RefusalDocument {
        candidates: no_path.rejected.iter().map(candidate).collect(),
        verdict: nearest_refused(no_path).map(|(_, refusal)| {
            verdict_document(&refusal.verdict, fix(no_path, topology).as_ref(), topology)
        }),
    }
}

/// A verdict as data.
pub(crate) fn verdict_document(
    verdict: &Verdict,
    fix: Option<&Fix>,
    topology: &Topology,
) -> VerdictDocument {
    let bridge = |bridge: &HostBridgeEvidence| HostBridgeDocument {
        id: bridge.key.map(|(_, id)| id.to_string()),
        allows: bridge.allows,
    };
    VerdictDocument {
        client: verdict.client.to_string(),
        provider: verdict.provider.to_string(),
        kernel_map_type: verdict.kernel_map_type.map(|map| map.kernel_name().to_owned()),
        distance: verdict.distance,
        path: path(verdict),
        bus: bus::documents(&verdict.bus),
        host_bridges: verdict.host_bridges.iter().map(bridge).collect(),
        fix: fix.map(|fix| fix_document(fix, topology)),
        hazards: verdict
            .hazards
            .iter()
            .map(|hazard| format!("[{}] {hazard}", hazard.code()))
            .collect(),
        gaps: verdict.gaps.iter().map(ToString::to_string).collect(),
    }
}

fn path(verdict: &Verdict) -> Vec<StepDocument> {
    let provider = verdict.provider_path.iter().map(|step| step_document(step, "provider"));
    let common = verdict.common.iter().map(|step| step_document(step, "common"));
    let client = verdict.client_path.iter().map(|step| step_document(step, "client"));
    provider.chain(common).chain(client).collect()
}

fn step_document(step: &Step, side: &'static str) -> StepDocument {
    let names = |bits: &mut dyn Iterator<Item = AcsBit>| {
        bits.map(|bit| bit.lspci_name().to_owned()).collect::<Vec<_>>()
    };
    let acts = |&(_, effect): &(AcsBit, Effect)| effect == Effect::ActsOnPair;
    StepDocument {
        bdf: step.bdf.to_string(),
        side,
        name: step.name.as_deref().map(str::to_owned),
        kind: step.kind.to_string(),
        redirecting: step.redirecting.value().map(|bits| names(&mut AcsBit::of(*bits))),
        acting: names(&mut step.bits().filter(acts).map(|(bit, _)| bit)),
    }
}

fn fix_document(fix: &Fix, topology: &Topology) -> FixDocument {
    let joined = |merge: &Merge| merge.functions.iter().map(ToString::to_string).collect();
    FixDocument {
        commands: fix.now.iter().map(ToString::to_string).collect(),
        kernel_parameter: fix.boot.to_string(),
        machine_file: machine_lines(fix, topology).join("\n"),
        joins: fix.cost.iter().map(joined).collect(),
    }
}
