//! Who reaches whose memory: rows start the requests, columns own the memory.

use std::collections::BTreeMap;

use p2pdma::topology::{Kind, Lists, MapType, NodeId, ReasonCode, Route, Topology};
use schemars::JsonSchema;
use serde::Serialize;

use super::csv::{Csv, optional};
use super::table;

/// All pairs of endpoints.
#[derive(Debug, Clone)]
pub(crate) struct Matrix {
    names: Vec<String>,
    /// By row, then column.
    cells: Vec<Cell>,
    /// For each reason, its first pair with the whole sentence, and how many pairs it holds for.
    reasons: BTreeMap<ReasonCode, (String, usize)>,
    /// What may go wrong on pairs that have a path.
    hazards: Vec<String>,
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

impl Matrix {
    /// Judges all pairs of a topology.
    pub(crate) fn of(topology: &Topology) -> Self {
        let endpoints: Vec<NodeId> =
            topology.ids().filter(|id| is_endpoint(topology.node(*id).kind)).collect();
        let name = |id: &NodeId| {
            let node = topology.node(*id);
            node.name.as_deref().map_or_else(|| node.bdf.to_string(), str::to_owned)
        };
        let names: Vec<String> = endpoints.iter().map(name).collect();
        let mut matrix =
            Self { names, cells: Vec::new(), reasons: BTreeMap::new(), hazards: Vec::new() };
        for (row, &client) in endpoints.iter().enumerate() {
            for (column, &provider) in endpoints.iter().enumerate() {
                let cell = matrix.judge(topology, (row, client), (column, provider));
                matrix.cells.push(cell);
            }
        }
        matrix
    }

    fn judge(
        &mut self,
        topology: &Topology,
        (row, client): (usize, NodeId),
        (column, provider): (usize, NodeId),
    ) -> Cell {
        let mut cell = Cell {
            client: self.names[row].clone(),
            provider: self.names[column].clone(),
            route: RouteKind::NoMemory,
            distance: None,
            code: None,
        };
        if topology.node(provider).memory.is_empty() {
            return cell;
        }
        let mapping = topology.map_type(client, provider, Lists::WithUsers);
        cell.distance = Some(mapping.distance);
        cell.route = match mapping.map_type {
            _ if client == provider => RouteKind::Own,
            Some(MapType::BusAddress) => RouteKind::Direct,
            Some(MapType::ThroughHostBridge) => RouteKind::ThroughHostBridge,
            Some(MapType::NotSupported) => RouteKind::NotSupported,
            None => RouteKind::Unknown,
        };
        match cell.route {
            RouteKind::NotSupported | RouteKind::Unknown => {
                let code = self.reason(topology, client, provider);
                cell.code = code.map(|code| code.to_string());
            }
            RouteKind::Direct | RouteKind::ThroughHostBridge => {
                self.note_hazards(topology, &cell, client, provider);
            }
            RouteKind::Own | RouteKind::NoMemory => {}
        }
        cell
    }

    fn reason(
        &mut self,
        topology: &Topology,
        client: NodeId,
        provider: NodeId,
    ) -> Option<ReasonCode> {
        let (client, provider) = (topology.node(client).bdf, topology.node(provider).bdf);
        let (code, sentence) = match topology.route(client, provider) {
            Route::NotSupported(refusal) => (refusal.code, refusal.to_string()),
            Route::Unknown(missing) => (
                ReasonCode::UnknownNeedRoot,
                format!("[{}] {missing}", ReasonCode::UnknownNeedRoot),
            ),
            Route::BusAddress { .. } | Route::ThroughHostBridge { .. } => return None,
        };
        self.reasons.entry(code).or_insert((sentence, 0)).1 += 1;
        Some(code)
    }

    fn note_hazards(&mut self, topology: &Topology, cell: &Cell, client: NodeId, provider: NodeId) {
        let verdict = topology.explain(topology.node(client).bdf, topology.node(provider).bdf);
        for hazard in &verdict.hazards {
            let pair = format!("{} to {}", cell.client, cell.provider);
            self.hazards.push(format!("[{}] {pair}: {hazard}", hazard.code()));
        }
    }

    /// The pairs.
    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The matrix with its legend, the reasons and what else to know.
    pub(crate) fn text(&self) -> String {
        let mut header = vec![""];
        header.extend(self.names.iter().map(String::as_str));
        let rows = self.names.iter().zip(self.cells.chunks(self.names.len().max(1)));
        let rows = rows.map(|(name, cells)| {
            std::iter::once(name.clone()).chain(cells.iter().map(mark)).collect()
        });
        let mut text = table::numbers(&header, rows);
        text.push('\n');
        text.push_str(LEGEND);
        let reasons = self.reasons.values().map(|(sentence, pairs)| match pairs {
            1 => format!("{sentence}\n"),
            more => format!("{sentence} (and {} other pairs)\n", more - 1),
        });
        text.extend(reasons);
        const SHOWN: usize = 8;
        text.extend(self.hazards.iter().take(SHOWN).map(|hazard| format!("{hazard}\n")));
        if self.hazards.len() > SHOWN {
            text.push_str(&format!("and {} more of the kind\n", self.hazards.len() - SHOWN));
        }
        text
    }

    /// One line per pair.
    pub(crate) fn csv(&self) -> Csv {
        let mut csv = Csv::new(&["client", "provider", "route", "distance", "code"]);
        for cell in &self.cells {
            let Cell { client, provider, route, distance, code } = cell;
            let (distance, code) = (optional(*distance), optional(code.as_ref()));
            csv.row([client, provider, route.word(), &distance, &code]);
        }
        csv
    }
}

fn is_endpoint(kind: Kind) -> bool {
    matches!(kind, Kind::Endpoint | Kind::IntegratedEndpoint)
}

fn mark(cell: &Cell) -> String {
    let distance = cell.distance.unwrap_or(0);
    match cell.route {
        RouteKind::Direct => format!("D{distance}"),
        RouteKind::ThroughHostBridge => format!("H{distance}"),
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
