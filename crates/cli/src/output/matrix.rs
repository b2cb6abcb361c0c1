//! Who reaches whose memory: rows start the requests, columns own the memory.

use std::collections::BTreeMap;

use p2pdma::topology::{
    Kind, Lists, MapType, Matrix as Pairs, Node, NodeId, Pair, ReasonCode, Route, Topology,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::csv::{Csv, optional};
use super::table;
use crate::subject::{Subject, label};

/// All pairs of functions that may take part.
#[derive(Debug)]
pub(crate) struct Matrix<'a> {
    topology: &'a Topology,
    pairs: Pairs,
    /// Of each function whether it has memory that peers can reach; `None` if that is not known.
    lends: Vec<Option<bool>>,
}

/// A pair.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Cell {
    /// Who starts the requests.
    client: String,
    /// Whose memory it is.
    provider: String,
    /// How it gets there.
    route: RouteKind,
    /// Whether there is memory at the end; null if that is not known.
    memory: Option<bool>,
    /// The kernel's distance; null without a memory to reach.
    distance: Option<u32>,
    /// Why not, or why it is not known.
    code: Option<String>,
}

/// How a client reaches a memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum RouteKind {
    /// Below the root, by bus address.
    Direct,
    /// Through a host bridge that is allowed to carry it.
    ThroughHostBridge,
    /// Not at all.
    NotSupported,
    /// It cannot be told.
    Unknown,
    /// The memory is its own.
    Own,
    /// There is no memory.
    NoMemory,
}

const LEGEND: &str = "\
rows start the DMA, columns own the memory
D4 direct, distance 4   H8 through an allowed host bridge   x no   ? unknown: run as root
= its own memory        - lends no memory
";

/// With more functions than these, those that lend nothing get no column.
const SQUARE: usize = 16;

/// For those who want to know more about a cell.
pub(crate) const HINT: &str = "'p2pdma doctor CLIENT PROVIDER' tells all about one pair";

impl<'a> Matrix<'a> {
    /// Judges all pairs of a machine.
    pub(crate) fn of(subject: &'a Subject) -> Self {
        let topology = subject.topology();
        let unread = |id| subject.survey().is_some_and(|s| s.function(id).pool.cause().is_some());
        let lends = topology.ids().map(|id| match topology.node(id).memory.is_empty() {
            false => Some(true),
            true if unread(id) => None,
            true => Some(false),
        });
        let lends = lends.collect();
        let parties: Vec<NodeId> =
            topology.ids().filter(|id| takes_part(topology.node(*id))).collect();
        let pairs = topology.matrix(parties.clone(), parties, Lists::WithUsers);
        Self { topology, pairs, lends }
    }

    /// All cells with their places.
    fn entries(&self) -> impl Iterator<Item = (NodeId, NodeId, Pair)> {
        let providers = self.pairs.providers();
        self.pairs.rows().flat_map(move |(client, row)| {
            providers.iter().zip(row).map(move |(&provider, &pair)| (client, provider, pair))
        })
    }

    fn kind(&self, client: NodeId, provider: NodeId, pair: Pair) -> RouteKind {
        if self.lends(provider) == Some(false) {
            return RouteKind::NoMemory;
        }
        match pair.map_type {
            _ if client == provider => RouteKind::Own,
            Some(MapType::BusAddress) => RouteKind::Direct,
            Some(MapType::ThroughHostBridge) => RouteKind::ThroughHostBridge,
            Some(MapType::NotSupported) => RouteKind::NotSupported,
            None => RouteKind::Unknown,
        }
    }

    fn lends(&self, id: NodeId) -> Option<bool> {
        self.lends[id.index()]
    }

    fn name(&self, id: NodeId) -> String {
        label(self.topology.node(id))
    }

    /// The pairs.
    pub(crate) fn cells(&self) -> impl Iterator<Item = Cell> {
        self.entries().map(|(client, provider, pair)| {
            let route = self.kind(client, provider, pair);
            let refused = matches!(route, RouteKind::NotSupported | RouteKind::Unknown);
            Cell {
                client: self.name(client),
                provider: self.name(provider),
                route,
                memory: self.lends(provider),
                distance: (route != RouteKind::NoMemory).then_some(pair.distance.into()),
                code: pair.code.filter(|_| refused).map(|code| code.to_string()),
            }
        })
    }

    /// The matrix with its legend, the reasons and what else to know.
    pub(crate) fn text(&self) -> String {
        let parties = self.pairs.providers();
        let lends = |id: &NodeId| self.lends(*id) != Some(false);
        let all = parties.len() <= SQUARE;
        let shown = |id: &NodeId| all || lends(id);
        let mut header = vec![String::new()];
        header.extend(parties.iter().filter(|id| shown(id)).map(|id| self.name(*id)));
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        let rows = self.pairs.rows().map(|(client, row)| {
            let cells = parties.iter().zip(row).filter(|(id, _)| shown(id));
            let marks =
                cells.map(|(provider, pair)| mark(self.kind(client, *provider, *pair), *pair));
            std::iter::once(self.name(client)).chain(marks).collect()
        });
        let mut text = table::numbers(&header, rows);
        text.push('\n');
        text.push_str(LEGEND);
        if !all {
            let none = parties.iter().filter(|id| !lends(id)).count();
            text.push_str(&format!("{none} functions lend no memory and have no column\n"));
        }
        let unknown = parties.iter().filter(|id| self.lends(**id).is_none()).count();
        if unknown > 0 {
            text.push_str(&format!("whether {unknown} functions lend memory is not known\n"));
        }
        if !parties.iter().any(lends) {
            let code = ReasonCode::NoPeerMemory;
            text.push_str(&format!("[{code}] nothing here lends memory\n"));
        }
        text.push_str(&self.reasons());
        text.push_str(&self.hazards());
        text
    }

    /// How many pairs of a client and another function's memory are direct, through a host bridge,
    /// refused, unknown.
    pub(crate) fn counts(&self) -> [usize; 4] {
        let mut counts = [0; 4];
        for (client, provider, pair) in self.entries() {
            let place = match self.kind(client, provider, pair) {
                RouteKind::Direct => 0,
                RouteKind::ThroughHostBridge => 1,
                RouteKind::NotSupported => 2,
                RouteKind::Unknown => 3,
                RouteKind::Own | RouteKind::NoMemory => continue,
            };
            counts[place] += 1;
        }
        counts
    }

    /// For each reason, its first pair with the whole sentence, and how many pairs it holds for.
    pub(crate) fn reasons(&self) -> String {
        let mut reasons: BTreeMap<ReasonCode, (NodeId, NodeId, u64)> = BTreeMap::new();
        for (client, provider, pair) in self.entries() {
            let kind = self.kind(client, provider, pair);
            if let RouteKind::NotSupported | RouteKind::Unknown = kind
                && let Some(code) = pair.code
            {
                reasons.entry(code).or_insert((client, provider, 0)).2 += 1;
            }
        }
        let at = |id| self.topology.node(id).bdf;
        let line = |(code, (client, provider, pairs)): (ReasonCode, (NodeId, NodeId, u64))| {
            let sentence = match self.topology.route(at(client), at(provider)) {
                Route::NotSupported(refusal) => refusal.to_string(),
                Route::Unknown(missing) => format!("[{code}] {missing}"),
                Route::BusAddress { .. } | Route::ThroughHostBridge { .. } => code.to_string(),
            };
            match pairs {
                1 => format!("{sentence}\n"),
                more => format!("{sentence} (and {} other pairs)\n", more - 1),
            }
        };
        reasons.into_iter().map(line).collect()
    }

    /// What may go wrong on pairs that have a path.
    fn hazards(&self) -> String {
        const SHOWN: usize = 8;
        let mut text = String::new();
        let mut count = 0;
        for (client, provider, pair) in self.entries() {
            let kind = self.kind(client, provider, pair);
            if !matches!(kind, RouteKind::Direct | RouteKind::ThroughHostBridge) {
                continue;
            }
            for hazard in self.topology.hazards_of(client, provider) {
                if count < SHOWN {
                    let (client, provider) = (self.name(client), self.name(provider));
                    let line = format!("[{}] {client} to {provider}: {hazard}\n", hazard.code());
                    text.push_str(&line);
                }
                count += 1;
            }
        }
        if count > SHOWN {
            text.push_str(&format!("and {} more of the kind\n", count - SHOWN));
        }
        text
    }

    /// One line per pair.
    pub(crate) fn csv(&self) -> Csv {
        let mut csv = Csv::new(&["client", "provider", "route", "distance", "code"]);
        for cell in self.cells() {
            let Cell { client, provider, route, distance, code, .. } = &cell;
            let (distance, code) = (optional(*distance), optional(code.as_ref()));
            csv.row([client, provider, route.word(), &distance, &code]);
        }
        csv
    }
}

/// Whether a function may move data or lend memory: bridges do not, nor does what serves the processor
/// only, such as timers and keyboards.
pub(crate) fn takes_part(node: &Node) -> bool {
    if !node.memory.is_empty() {
        return true;
    }
    let (base, sub) = (node.class.base_class(), node.class.sub_class());
    // Base classes (PCI Code and ID Assignment 1.16 §1): bridges, simple communication controllers,
    // input devices, docking stations, serial buses; of the system peripherals all but DMA controllers.
    let serves = matches!(base, 0x06 | 0x07 | 0x09 | 0x0a | 0x0c) || base == 0x08 && sub != 0x01;
    let able = matches!(
        node.kind,
        Kind::Endpoint | Kind::IntegratedEndpoint | Kind::Conventional | Kind::UnreadFunction
    );
    able && !serves
}

fn mark(kind: RouteKind, pair: Pair) -> String {
    match kind {
        RouteKind::Direct => format!("D{}", pair.distance),
        RouteKind::ThroughHostBridge => format!("H{}", pair.distance),
        RouteKind::NotSupported => "x".to_owned(),
        RouteKind::Unknown => "?".to_owned(),
        RouteKind::Own => "=".to_owned(),
        RouteKind::NoMemory => "-".to_owned(),
    }
}

impl RouteKind {
    /// As JSON has it.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::ThroughHostBridge => "through-host-bridge",
            Self::NotSupported => "not-supported",
            Self::Unknown => "unknown",
            Self::Own => "own",
            Self::NoMemory => "no-memory",
        }
    }
}
