//! What verdicts cost on a large machine, in instructions. `cargo xtask instructions` runs it under
//! callgrind with two counts, and divides the differences.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run should stop")]

#[path = "../verdicts/machine.rs"]
mod machine;

use std::hint::black_box;

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{Lists, NodeId, Topology};

/// Judges so many pairs, each with its evidence.
#[inline(never)]
fn explain_pairs(topology: &Topology, client: Bdf, provider: Bdf, count: usize) {
    for _ in 0..count {
        drop(black_box(topology.explain(black_box(client), black_box(provider))));
    }
}

/// Judges all pairs of so many clients and all endpoints.
#[inline(never)]
fn judge_rows(topology: &Topology, endpoints: &[NodeId], rows: usize) {
    let clients = endpoints.iter().copied().cycle().take(rows).collect();
    drop(black_box(topology.matrix(clients, endpoints.to_vec(), Lists::Kernel)));
}

fn main() {
    // What cargo passes to every benchmark is no count: then a few verdicts show that it runs.
    let count: usize = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(10);
    let topology = machine::machine();
    let endpoints = machine::endpoints(&topology);
    let at = |index: usize| topology.node(endpoints[index]).bdf;
    match std::env::args().nth(2).as_deref() {
        // Every fourth switch, the first among them, redirects; a switch has 64 endpoints.
        Some("path") => explain_pairs(&topology, at(65), at(66), count),
        Some("redirected") => explain_pairs(&topology, at(0), at(1), count),
        Some("across") => explain_pairs(&topology, at(0), at(4095), count),
        _ => judge_rows(&topology, &endpoints, count),
    }
}
