//! Who reaches whose memory: rows start the requests, columns own the memory.

mod beneath;

use p2pdma::doctor::{self, Lending};
use p2pdma::topology::{Kind, Lists, MapType, Matrix as Pairs, Node, NodeId, Pair, ReasonCode};
use schemars::JsonSchema;
use serde::Serialize;

use super::csv::{Csv, optional};
use super::table;
use super::units;
use crate::subject::{Subject, label};

/// All pairs of functions that may take part.
#[derive(Debug)]
pub(crate) struct Matrix<'a> {
    subject: &'a Subject,
    pairs: Pairs,
    parties: Vec<Party>,
}

/// What is to be known of a function beside its paths.
#[derive(Debug, Clone, Copy)]
struct Party {
    /// Whether it has memory that peers can reach; `None` if that is not known.
    memory: Option<bool>,
    /// Whether that can be had.
    lending: Lending,
    /// What keeps it from starting requests.
    starts: Option<ReasonCode>,
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
    /// Whether data can take this way now: false without a path, for memory that the kernel does not
    /// lend, for a client that starts no such requests, and where data are lost; null if not known.
    usable: Option<bool>,
    /// The kernel's distance; null without a memory to reach.
    distance: Option<u32>,
    /// Why not, why it is not known, or why a path cannot be used.
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

const UNUSABLE: &str = "! there is a path, and it cannot be used: beneath\n";

/// With more functions than these, those that lend nothing get no column.
const SQUARE: usize = 16;

/// For those who want to know more about a cell.
pub(crate) const HINT: &str = "'p2pdma doctor CLIENT PROVIDER' tells all about one pair";

impl<'a> Matrix<'a> {
    /// Judges all pairs of a machine.
    pub(crate) fn of(subject: &'a Subject) -> Self {
        let topology = subject.topology();
        let parties = topology.ids().map(|id| Party::of(subject, id)).collect();
        let ids: Vec<NodeId> = topology.ids().filter(|id| takes_part(topology.node(*id))).collect();
        let pairs = topology.matrix(ids.clone(), ids, Lists::WithUsers);
        Self { subject, pairs, parties }
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

    fn party(&self, id: NodeId) -> Party {
        self.parties[id.index()]
    }

    fn lends(&self, id: NodeId) -> Option<bool> {
        self.party(id).memory
    }

    /// Why a path cannot be used; `None` without a path, and if nothing is known against it.
    fn flaw(&self, client: NodeId, provider: NodeId, pair: Pair) -> Option<Flaw> {
        let kind = self.kind(client, provider, pair);
        if !matches!(kind, RouteKind::Direct | RouteKind::ThroughHostBridge) {
            return None;
        }
        if let Some(code) = self.party(client).starts {
            return Some(Flaw::Client(code));
        }
        match (self.party(provider).lending, pair.code) {
            (Lending::Withheld(code), _) => Some(Flaw::Provider(code)),
            (_, Some(code)) => Some(Flaw::Pair(code)),
            _ => None,
        }
    }

    fn usable(&self, client: NodeId, provider: NodeId, pair: Pair) -> Option<bool> {
        if self.flaw(client, provider, pair).is_some() {
            return Some(false);
        }
        match (self.kind(client, provider, pair), self.party(provider).lending) {
            (RouteKind::NotSupported | RouteKind::NoMemory, _) => Some(false),
            (RouteKind::Unknown, _) | (_, Lending::Unknown(_)) => None,
            (_, lending) => Some(lending == Lending::Lent),
        }
    }

    fn name(&self, id: NodeId) -> String {
        label(self.subject.topology().node(id))
    }

    /// The pairs.
    pub(crate) fn cells(&self) -> impl Iterator<Item = Cell> {
        self.entries().map(|(client, provider, pair)| {
            let route = self.kind(client, provider, pair);
            let refused = matches!(route, RouteKind::NotSupported | RouteKind::Unknown);
            let flaw = self.flaw(client, provider, pair).map(Flaw::code);
            let code = flaw.or(pair.code.filter(|_| refused));
            Cell {
                client: self.name(client),
                provider: self.name(provider),
                route,
                memory: self.lends(provider),
                usable: self.usable(client, provider, pair),
                distance: (route != RouteKind::NoMemory).then_some(pair.distance.into()),
                code: code.map(|code| code.to_string()),
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
            let marks = cells.map(|(provider, pair)| self.mark(client, *provider, *pair));
            std::iter::once(self.name(client)).chain(marks).collect()
        });
        let mut text = table::numbers(&header, rows);
        text.push('\n');
        text.push_str(LEGEND);
        if self.unusable() > 0 {
            text.push_str(UNUSABLE);
        }
        if !all {
            let none = parties.iter().filter(|id| !lends(id)).count();
            text.push_str(&format!("{} lend no memory and have no column\n", functions(none)));
        }
        let unknown = parties.iter().filter(|id| self.lends(**id).is_none()).count();
        if unknown > 0 {
            text.push_str(&format!("whether {} lend memory is not known\n", functions(unknown)));
        }
        if !parties.iter().any(lends) {
            let code = ReasonCode::NoPeerMemory;
            text.push_str(&format!("[{code}] nothing here lends memory\n"));
        }
        text.push_str(&self.reasons());
        text.push_str(&self.hazards(false));
        text
    }

    fn mark(&self, client: NodeId, provider: NodeId, pair: Pair) -> String {
        let flawed = self.flaw(client, provider, pair).is_some();
        let mark = mark(self.kind(client, provider, pair), pair);
        if flawed { format!("{mark}!") } else { mark }
    }

    /// How many pairs have a path that cannot be used.
    pub(crate) fn unusable(&self) -> usize {
        let flawed = |&(client, provider, pair): &_| self.flaw(client, provider, pair).is_some();
        self.entries().filter(flawed).count()
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

fn functions(count: usize) -> String {
    units::count(count.try_into().unwrap_or(u64::MAX), "function")
}

/// Why a path cannot be used, and on whose account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    Client(ReasonCode),
    Provider(ReasonCode),
    Pair(ReasonCode),
}

impl Flaw {
    const fn code(self) -> ReasonCode {
        match self {
            Self::Client(code) | Self::Provider(code) | Self::Pair(code) => code,
        }
    }
}

impl Party {
    fn of(subject: &Subject, id: NodeId) -> Self {
        let (topology, survey) = (subject.topology(), subject.survey());
        let lending = doctor::lending(topology, survey, id);
        let memory = match (topology.node(id).memory.is_empty(), lending) {
            (false, _) => Some(true),
            (true, Lending::Unknown(_)) => None,
            (true, _) => Some(false),
        };
        Self { memory, lending, starts: doctor::starts(topology, survey, id) }
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
