//! What stands beneath a matrix: why there is no path, why one cannot be used, and what may go wrong.

use std::collections::{BTreeMap, HashMap};

use p2pdma::doctor;
use p2pdma::topology::{Hazard, NodeId, ReasonCode, Route};

use super::{Flaw, Matrix, RouteKind};
use crate::output::units;

/// How many lines of a kind are shown.
const SHOWN: usize = 8;

impl Matrix<'_> {
    /// For each reason, its first pair with the whole sentence, and how many pairs it holds for; then what
    /// makes paths useless.
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
        let topology = self.subject.topology();
        let at = |id| topology.node(id).bdf;
        let line = |(code, (client, provider, pairs)): (ReasonCode, (NodeId, NodeId, u64))| {
            let sentence = match topology.route(at(client), at(provider)) {
                Route::NotSupported(refusal) => refusal.to_string(),
                Route::Unknown(missing) => format!("[{code}] {missing}"),
                Route::BusAddress { .. } | Route::ThroughHostBridge { .. } => code.to_string(),
            };
            format!("{sentence}{}\n", others(pairs))
        };
        let mut text: String = reasons.into_iter().map(line).collect();
        text.push_str(&self.flaws());
        text.push_str(&self.hazards(true));
        text
    }

    /// Clients that start no requests, and memory that the kernel does not lend: each once.
    fn flaws(&self) -> String {
        let (topology, survey) = (self.subject.topology(), self.subject.survey());
        let mut blamed: BTreeMap<(ReasonCode, NodeId), (Flaw, u64)> = BTreeMap::new();
        for (client, provider, pair) in self.entries() {
            let Some(flaw) = self.flaw(client, provider, pair) else { continue };
            let id = match flaw {
                Flaw::Client(_) => client,
                Flaw::Provider(_) => provider,
                // Hazards tell of these.
                Flaw::Pair(_) => continue,
            };
            blamed.entry((flaw.code(), id)).or_insert((flaw, 0)).1 += 1;
        }
        let count = blamed.len();
        let line = |((code, id), (flaw, pairs)): ((ReasonCode, NodeId), (Flaw, u64))| {
            let found = match flaw {
                Flaw::Client(_) => doctor::client(topology, survey, id),
                _ => doctor::lender(topology, survey, id),
            };
            let why = found.into_iter().find(|found| found.code == Some(code));
            let why = why.map_or_else(|| code.summary().to_owned(), |found| found.text);
            format!("[{code}] {}: {why} ({})\n", self.name(id), units::count(pairs, "pair"))
        };
        let mut text: String = blamed.into_iter().take(SHOWN).map(line).collect();
        text.push_str(&more(count));
        text
    }

    /// What goes wrong on pairs that have a path, or may go wrong: each hazard once, with its first pair.
    /// Those that make a path useless, or the others.
    pub(super) fn hazards(&self, of_flaws: bool) -> String {
        let mut places: HashMap<Hazard, usize> = HashMap::new();
        let mut found: Vec<(Hazard, NodeId, NodeId, u64)> = Vec::new();
        for (client, provider, pair) in self.entries() {
            let kind = self.kind(client, provider, pair);
            if !matches!(kind, RouteKind::Direct | RouteKind::ThroughHostBridge) {
                continue;
            }
            let flaw = self.flaw(client, provider, pair);
            for hazard in self.subject.topology().hazards_of(client, provider) {
                // Of a pair that an end makes useless, the end is told, once.
                let told = match flaw {
                    None => of_flaws,
                    Some(Flaw::Pair(code)) => of_flaws != (code == hazard.code()),
                    Some(Flaw::Client(_) | Flaw::Provider(_)) => true,
                };
                if told {
                    continue;
                }
                let place = *places.entry(hazard).or_insert_with(|| {
                    found.push((hazard, client, provider, 0));
                    found.len() - 1
                });
                found[place].3 += 1;
            }
        }
        let count = found.len();
        let line = |(hazard, client, provider, pairs): (Hazard, NodeId, NodeId, u64)| {
            let (client, provider) = (self.name(client), self.name(provider));
            let code = hazard.code();
            format!("[{code}] {client} to {provider}: {hazard}{}\n", others(pairs))
        };
        let mut text: String = found.into_iter().take(SHOWN).map(line).collect();
        text.push_str(&more(count));
        text
    }
}

/// How many pairs there are beside the one that is shown.
fn others(pairs: u64) -> String {
    match pairs {
        0 | 1 => String::new(),
        more => format!(" (and {} other pairs)", more - 1),
    }
}

fn more(count: usize) -> String {
    match count.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("and {more} more of the kind\n"),
    }
}
