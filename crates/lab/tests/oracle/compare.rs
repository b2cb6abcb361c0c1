//! Our verdict beside what the kernel did and said.

use std::fmt;

use p2pdma_lab::machine::Role;
use p2pdma_linux::Survey;
use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{Allowlist, IommuMode, MapType, MemoryKind, Node, Topology, Verdict};

use crate::kernel::{Observed, Pair, Read};
use crate::scenario::Case;

/// The kernel's EINVAL: the error of a transfer that it does not support.
const EINVAL: i32 = 22;

/// How many pairs were compared, by what the kernel does with them.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) bus_address: usize,
    pub(crate) through_host_bridge: usize,
    pub(crate) not_supported: usize,
    /// Pairs for which ACS was the reason, or one of them.
    pub(crate) redirects: usize,
    /// Pairs whose data QEMU led astray, as foretold.
    pub(crate) astray: usize,
    /// Messages of the kernel.
    pub(crate) messages: usize,
}

impl Counts {
    pub(crate) fn pairs(&self) -> usize {
        self.bus_address + self.through_host_bridge + self.not_supported
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.bus_address += other.bus_address;
        self.through_host_bridge += other.through_host_bridge;
        self.not_supported += other.not_supported;
        self.redirects += other.redirects;
        self.astray += other.astray;
        self.messages += other.messages;
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} pairs compared (BUS_ADDR {}, THRU_HOST_BRIDGE {}, NOT_SUPPORTED {}, with ACS \
             redirection {}, astray in QEMU {}), {} messages of the kernel",
            self.pairs(),
            self.bus_address,
            self.through_host_bridge,
            self.not_supported,
            self.redirects,
            self.astray,
            self.messages
        )
    }
}

/// Compares every ordered pair; adds what differs to `differences`.
pub(crate) fn compare(case: &Case, observed: &Observed, differences: &mut Vec<String>) -> Counts {
    let survey = Survey::from_capture(observed.snapshot.as_bytes(), Allowlist::kernel()).unwrap();
    let planned = case.plan.topology().unwrap();
    functions(case, &planned, &survey.topology, differences);
    pairs(case, ("as read in the guest", &survey.topology), observed, differences);
    pairs(case, ("as planned", &planned), observed, differences)
}

/// Whether every function of the machine file is read in the guest as it was planned.
fn functions(case: &Case, planned: &Topology, read: &Topology, differences: &mut Vec<String>) {
    for node in planned.nodes() {
        let facts = |node: &Node| {
            let acs = node.acs.as_ref().map(|acs| acs.as_ref().map(|acs| acs.control));
            (node.kind, node.multi_function, node.upstream, acs)
        };
        let found = read.find(node.bdf).map(|id| facts(read.node(id)));
        if found != Some(facts(node)) {
            let what = format!("planned {:?}, and in the guest {found:?}", facts(node));
            differences.push(format!("{}: {}: {what}", case.name, node.bdf));
        }
    }
}

/// Compares every ordered pair by the verdicts of one topology.
fn pairs(
    case: &Case,
    (label, topology): (&str, &Topology),
    observed: &Observed,
    differences: &mut Vec<String>,
) -> Counts {
    let mut differ = |what: String| differences.push(format!("{}, {label}: {what}", case.name));
    let lent = lenders(topology);
    if lent != observed.providers {
        differ(format!("lent by {lent:?}, and in the kernel by {:?}", observed.providers));
    }
    let ssds = case.plan.placed().iter().filter(|placed| placed.role == Role::Function);
    let mut counts = Counts::default();
    for client in ssds {
        for &provider in &lent {
            let pair = (client.bdf, provider);
            let verdict = topology.explain(client.bdf, provider);
            let name = case.plan.at(provider).map_or("?", |placed| placed.name.as_str());
            let who = format!("{} into {name}", client.name);
            if let Err(what) = read(case, &verdict, observed.reads.get(&pair).copied()) {
                differ(format!("{who}: {what}"));
            }
            let (ours, theirs) = (messages(&verdict), said(observed, pair));
            if ours != theirs {
                differ(format!(
                    "{who}: expected the messages {ours:#?}, the kernel's are {theirs:#?}"
                ));
            }
            counts.count(&verdict, observed.reads.get(&pair), theirs.len());
        }
    }
    counts
}

fn said(observed: &Observed, pair: Pair) -> &[String] {
    observed.messages.get(&pair).map_or(&[], Vec::as_slice)
}

/// Who lends memory, by our reading of the machine.
pub(crate) fn lenders(topology: &Topology) -> Vec<Bdf> {
    let lends = |node: &&Node| node.memory.iter().any(|memory| memory.kind == MemoryKind::P2pmem);
    let mut all: Vec<Bdf> = topology.nodes().iter().filter(lends).map(|node| node.bdf).collect();
    all.sort();
    all
}

/// Whether the read went as the verdict says.
fn read(case: &Case, verdict: &Verdict, read: Option<Read>) -> Result<(), String> {
    let map_type = verdict.map_type.ok_or("we do not know")?;
    let expected = match map_type {
        MapType::NotSupported => Read::Failed(EINVAL),
        MapType::ThroughHostBridge => Read::Right,
        // QEMU sends what a switch would turn round through the IOMMU, which has no such address. A
        // controller finds its own memory without that.
        MapType::BusAddress
            if case.iommu == IommuMode::Translate && verdict.client != verdict.provider =>
        {
            Read::Astray
        }
        MapType::BusAddress => Read::Right,
    };
    let foretold = verdict.loses_data();
    if foretold != (read == Some(Read::Astray)) {
        return Err(format!("foretold that data are lost: {foretold}; {:?}", verdict.hazards));
    }
    match read {
        Some(read) if read == expected => Ok(()),
        other => {
            Err(format!("our map type is {map_type:?}, so {expected:?}; the kernel: {other:?}"))
        }
    }
}

/// What the kernel says about a pair, by our verdict (`calc_map_type_and_dist` and `host_bridge_whitelist`
/// in drivers/pci/p2pdma.c of Linux 7.3).
fn messages(verdict: &Verdict) -> Vec<String> {
    let mut messages = Vec::new();
    let provider = verdict.provider;
    let noted: Vec<String> = verdict.noted().map(|step| step.bdf.to_string()).collect();
    if !noted.is_empty() {
        messages.push(format!("ACS redirect is set between the client and provider ({provider})"));
        messages.push(format!(
            "to disable ACS redirect for this path, add the kernel parameter: \
             pci=disable_acs_redir={}",
            noted.join(";")
        ));
    }
    if verdict.map_type == Some(MapType::NotSupported) {
        let refusing = verdict.host_bridges.iter().find(|bridge| !bridge.allows);
        if let Some((_, id)) = refusing.filter(|_| !noted.is_empty()).and_then(|bridge| bridge.key)
        {
            messages.push(format!("Host bridge not in P2PDMA whitelist: {id}"));
        }
        messages.push(format!(
            "cannot be used for peer-to-peer DMA as the client and provider ({provider}) do not \
             share an upstream bridge or whitelisted host bridge"
        ));
    }
    messages
}

impl Counts {
    fn count(&mut self, verdict: &Verdict, read: Option<&Read>, messages: usize) {
        match verdict.map_type {
            Some(MapType::BusAddress) => self.bus_address += 1,
            Some(MapType::ThroughHostBridge) => self.through_host_bridge += 1,
            Some(MapType::NotSupported) => self.not_supported += 1,
            None => {}
        }
        self.redirects += usize::from(verdict.noted().next().is_some());
        self.astray += usize::from(read == Some(&Read::Astray));
        self.messages += messages;
    }
}
