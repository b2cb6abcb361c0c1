//! Memory of the process: a longer copy allocates no more than a shorter one. A program of its own, for its
//! allocator counts.

#![expect(
    clippy::unwrap_used,
    reason = "helpers outside #[test] functions fail a test by panicking"
)]

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use p2pdma::linux::io::{Access, Engine};
use p2pdma::topology::Allowlist;
use p2pdma::{End, Ends, Job, LinuxPlatform, Plan, Policy, Wish, run};

const BLOCK: u64 = 4096;
const DEPTH: u32 = 32;

/// Allocations of this thread during a copy of so many blocks between two files.
fn allocations(folder: &Path, engine: Engine, blocks: u64) -> u64 {
    let platform = LinuxPlatform::new(Allowlist::kernel(), engine).unwrap();
    let mut source = platform.open(&folder.join("source"), Access::Read).unwrap();
    let mut sink = platform.open(&folder.join("sink"), Access::Write).unwrap();
    let end = || End::Volume([].into());
    let (policy, via, barrier) = (Policy::Off, None, None);
    let wish = Wish { source: end(), sink: end(), via, block: BLOCK, policy, barrier };
    let plan = Plan::on(&platform, wish).unwrap();
    let job = Job { from: 0, to: 0, len: blocks * BLOCK, block: BLOCK, depth: DEPTH };
    let memory = Arc::new(plan.memory(&platform, job.memory()).unwrap());
    let counted = allocation_counter::measure(|| {
        let ends = Ends { source: Some(&mut *source.client), sink: Some(&mut *sink.client) };
        let go_on = &mut |_| ControlFlow::Continue(());
        let report = run(&platform, plan, ends, &memory, job, go_on).unwrap();
        assert_eq!(report.operations, 2 * blocks);
    });
    counted.count_total
}

#[test]
fn a_longer_copy_allocates_no_more_than_a_shorter_one() {
    const BLOCKS: u64 = 2048;
    // Where direct I/O is possible: beside what is built.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let len = usize::try_from(2 * BLOCKS * BLOCK).unwrap();
    std::fs::write(folder.path().join("source"), vec![7; len]).unwrap();
    std::fs::write(folder.path().join("sink"), b"").unwrap();
    for engine in [Engine::Uring, Engine::Synchronous] {
        let short = allocations(folder.path(), engine, BLOCKS);
        let long = allocations(folder.path(), engine, 2 * BLOCKS);
        println!("{engine:?}: {short} allocations for {BLOCKS} blocks, {long} for twice as many");
        // Latencies that are longer than any before make the histogram grow, at most once for each doubling.
        assert!(long <= short + 40, "{long} against {short}");
        assert!(short < 200, "{short}");
    }
}
