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
use p2pdma_lab::Job;
use scenario::{ARM, RISCV, SCENARIOS, Scenario};

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

#[test]
#[ignore = "needs a Rust target for Arm: cargo xtask oracle"]
fn arm64_agrees_on_every_pair() {
    let all = compare(ARM);
    assert!(all.bus_address > 0 && all.not_supported > 0 && all.redirects > 0, "{all}");
    assert_eq!(all.through_host_bridge, 0, "{all}");
}

#[test]
#[ignore = "fetches 160 MB: cargo xtask oracle"]
fn a_riscv64_kernel_without_p2pdma_lends_nothing() {
    let job = Job::script("sleep 2; cat /sys/bus/pci/devices/*/p2pmem/size; ls /dev/nvme8n1");
    let outcome = kernel::boot(&RISCV.plan(), &job);
    let log = String::from_utf8_lossy(&outcome.log);
    assert_eq!(outcome.status, 0, "{log}");
    assert_eq!(String::from_utf8_lossy(&outcome.out), "/dev/nvme8n1\n");
    let refused = log.matches("failed to register the CMB").count();
    assert_eq!(
        refused,
        RISCV
            .plan()
            .topology()
            .unwrap()
            .nodes()
            .iter()
            .filter(|node| !node.memory.is_empty())
            .count(),
        "{log}"
    );
    println!("controller memory buffers that a kernel without P2PDMA does not take: {refused}");
}
