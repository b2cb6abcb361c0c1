//! From the start of the process to its end: what a user waits for a command that has little to do.
//!
//! `cargo bench -p p2pdma-cli --bench start` prints the command beside `true`, which is what any process
//! costs on this machine.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::process::{Command, Stdio};
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

fn start(criterion: &mut Criterion) {
    criterion.bench_function("start/true", |bencher| bencher.iter(|| done("true", &[])));
    let p2pdma = env!("CARGO_BIN_EXE_p2pdma");
    criterion.bench_function("start/topo", |bencher| {
        bencher.iter(|| done(p2pdma, &["--fabric", "default", "topo"]));
    });
}

fn done(program: &str, args: &[&str]) {
    let status = Command::new(program).args(args).stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{program} failed");
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(30).measurement_time(Duration::from_secs(4));
    targets = start
}
criterion_main!(benches);
