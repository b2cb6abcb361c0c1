//! The kernel as oracle: real kernels on machines of many kinds, and our verdict about every ordered pair
//! of SSD and lent memory beside what the kernel does with it, and what it says.
//!
//! The verdict is asked twice: about the machine file, and about what `p2pdma-linux` reads in the guest.
//! Each boot serves all pairs of a machine. In CI two boots show every map type and every message, and
//! what was recorded of all boots (`records/`) is compared again without booting. `cargo xtask oracle`
//! boots them all; `cargo xtask oracle record` records them anew.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops at the first thing that is wrong"
)]
#![expect(clippy::print_stdout, reason = "the counts are for people")]

mod boot;
mod compare;
mod kernel;
mod scenario;

use std::time::Instant;

use p2pdma_lab::Job;

use compare::Counts;
use kernel::Observed;
use scenario::{ARM, Case, RISCV, SCENARIOS, all, cases};

/// Set by `cargo xtask oracle record`.
const RECORD: &str = "P2PDMA_ORACLE_RECORD";

/// Compares all pairs of some machines; prints the counts.
fn compare(cases: &[Case], observe: impl Fn(&Case) -> Observed) -> Counts {
    let begin = Instant::now();
    let mut all = Counts::default();
    let mut differences = Vec::new();
    for case in cases {
        let counts = compare::compare(case, &observe(case), &mut differences);
        println!("{}: {counts}", case.name);
        all.add(&counts);
    }
    let seconds = begin.elapsed().as_secs_f32();
    println!("{} boots in {seconds:.1} s: {all}; differences: {}", cases.len(), differences.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    all
}

/// Boots a machine, and records what came of it if that is wanted.
fn booted(case: &Case) -> Observed {
    let observed = boot::observe(&case.plan);
    if std::env::var_os(RECORD).is_some() {
        observed.record(case.name);
    }
    observed
}

fn recorded(case: &Case) -> Observed {
    Observed::recorded(case.name)
}

#[test]
fn two_boots_agree_on_every_pair() {
    let all = compare(&cases(&SCENARIOS[..2]), booted);
    assert!(all.pairs() >= 60, "{all}");
    assert!(all.bus_address > 0 && all.through_host_bridge > 0 && all.not_supported > 0, "{all}");
    assert!(all.messages > 0 && all.redirects > 0, "{all}");
}

#[test]
fn every_recorded_boot_agrees_on_every_pair() {
    let all = compare(&all(), recorded);
    assert!(all.pairs() >= 1000 && all.astray > 0, "{all}");
    assert!(all.bus_address > 0 && all.through_host_bridge > 0 && all.not_supported > 0, "{all}");
    compare(&cases(ARM), recorded);
}

#[test]
#[ignore = "takes more than a minute: cargo xtask oracle"]
fn every_boot_agrees_on_every_pair() {
    let all = compare(&all(), booted);
    assert!(all.astray > 0, "a translating IOMMU below a switch is among them: {all}");
}

#[test]
#[ignore = "needs a Rust target for Arm: cargo xtask oracle"]
fn arm64_agrees_on_every_pair() {
    let all = compare(&cases(ARM), booted);
    assert!(all.bus_address > 0 && all.not_supported > 0 && all.redirects > 0, "{all}");
    assert_eq!(all.through_host_bridge, 0, "{all}");
}

#[test]
#[ignore = "fetches 160 MB: cargo xtask oracle"]
fn a_riscv64_kernel_without_p2pdma_lends_nothing() {
    let plan = RISCV.case().plan;
    let job = Job::script("sleep 2; cat /sys/bus/pci/devices/*/p2pmem/size; ls /dev/nvme8n1");
    let outcome = boot::boot(&plan, &job);
    let log = String::from_utf8_lossy(&outcome.log);
    assert_eq!(String::from_utf8_lossy(&outcome.out), "/dev/nvme8n1\n");
    assert_eq!(outcome.status, 0, "{log}");
    let refused = log.matches("failed to register the CMB").count();
    assert_eq!(refused, compare::lenders(&plan.topology().unwrap()).len(), "{log}");
    println!("controller memory buffers that a kernel without P2PDMA does not take: {refused}");
}
