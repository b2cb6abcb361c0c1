//! The kernel as oracle: real kernels on machines of many kinds, and our verdict about every ordered pair
//! of SSD and lent memory beside what the kernel does with it, and what it says.
//!
//! Each boot serves all pairs of a machine. In CI two boots show every map type and every message; `cargo
//! xtask oracle` runs them all.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first thing that is wrong"
)]
#![expect(clippy::print_stdout, reason = "the counts are for people")]

mod compare;
mod kernel;
mod scenario;

use std::time::Instant;

use compare::Counts;
use scenario::{SCENARIOS, Scenario};

/// Compares all pairs of some scenarios; prints the counts.
fn compare(scenarios: &[Scenario]) -> Counts {
    let begin = Instant::now();
    let mut all = Counts::default();
    let mut differences = Vec::new();
    for scenario in scenarios {
        let plan = scenario.plan();
        let observed = kernel::observe(&plan);
        let counts = compare::compare(scenario, &plan, &observed, &mut differences);
        println!("{}: {counts}", scenario.name);
        all.add(&counts);
    }
    let seconds = begin.elapsed().as_secs();
    println!("{} boots in {seconds} s: {all}; differences: {}", scenarios.len(), differences.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    all
}

#[test]
fn two_boots_agree_on_every_pair() {
    let all = compare(&SCENARIOS[..2]);
    assert!(all.pairs() >= 60, "{all}");
    assert!(all.bus_address > 0 && all.through_host_bridge > 0 && all.not_supported > 0, "{all}");
    assert!(all.messages > 0 && all.redirects > 0, "{all}");
}

#[test]
#[ignore = "takes more than a minute: cargo xtask oracle"]
fn every_boot_agrees_on_every_pair() {
    let all = compare(SCENARIOS);
    assert!(all.astray > 0, "a translating IOMMU below a switch is among them: {all}");
}
