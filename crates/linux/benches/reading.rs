//! How long it takes to read a machine of 504 functions: 28 switches with 8 SSDs each.

#[expect(dead_code, clippy::unwrap_used, reason = "the tests use more of it")]
#[path = "../tests/linux/machine.rs"]
mod machine;
#[path = "../tests/linux/registers.rs"]
mod registers;

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use p2pdma_linux::{Snapshot, Survey};
use p2pdma_pci::topology::Allowlist;

fn reading(criterion: &mut Criterion) {
    let machine = machine::Machine::switches(28);
    let snapshot = Snapshot::capture(&machine).expect("it is a machine");
    let mut file = Vec::new();
    snapshot.write(&mut file).expect("memory takes everything");
    let dump = machine.dump();
    let mut group = criterion.benchmark_group("read 504 functions");
    group.sample_size(20);
    group.bench_function("a snapshot's file", |bencher| {
        bencher.iter(|| Snapshot::parse(black_box(&file)));
    });
    group.bench_function("a snapshot in memory", |bencher| {
        bencher.iter(|| Survey::read(black_box(&snapshot)));
    });
    group.bench_function("lspci -xxxx", |bencher| {
        bencher.iter(|| Survey::from_capture(black_box(dump.as_bytes()), Allowlist::kernel()));
    });
    group.finish();
}

criterion_group!(benches, reading);
criterion_main!(benches);
