//! What verdicts cost on a large machine: 4,096 endpoints under 64 switches.
//!
//! `cargo bench -p p2pdma-pci` prints the times and ends with the memory that the matrix takes. It fails
//! beyond the bounds: a second and 200 MB for the matrix, 5 µs for a verdict.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run should stop")]
#![expect(clippy::print_stdout, reason = "this is what it is for")]

mod machine;

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use p2pdma_pci::topology::{Lists, NodeId, Topology};

use machine::{endpoints, machine};

fn verdicts(criterion: &mut Criterion) {
    let topology = machine();
    let endpoints = endpoints(&topology);
    let mut group = criterion.benchmark_group("4096 endpoints");
    group.sample_size(10);
    group.bench_function("the matrix of all pairs", |bencher| {
        bencher.iter(|| {
            let (clients, providers) = (endpoints.clone(), endpoints.clone());
            black_box(topology.matrix(clients, providers, Lists::Kernel))
        });
    });
    let address = |index: usize| topology.node(endpoints[index]).bdf;
    for (name, client, provider) in [
        ("a path, with its evidence", 65, 66),
        ("a refusal by ACS, with its evidence", 0, 1),
        ("a refusal between host bridges, with its evidence", 0, 4095),
    ] {
        let (client, provider) = (address(client), address(provider));
        group.bench_function(name, |bencher| {
            bencher.iter(|| black_box(&topology).explain(black_box(client), black_box(provider)));
        });
    }
    group.finish();
    bounds(&topology, &endpoints);
}

/// Checks the bounds, by the best of a few rounds: other processes only ever make it slower.
fn bounds(topology: &Topology, endpoints: &[NodeId]) {
    let best = |work: &dyn Fn()| {
        let once = |_| {
            let begin = Instant::now();
            work();
            begin.elapsed()
        };
        (0..5).map(once).min().unwrap_or_default()
    };
    let matrix = best(&|| {
        let (clients, providers) = (endpoints.to_vec(), endpoints.to_vec());
        drop(black_box(topology.matrix(clients, providers, Lists::Kernel)));
    });
    let (client, provider) = (topology.node(endpoints[0]).bdf, topology.node(endpoints[1]).bdf);
    let verdicts = best(&|| {
        (0..1000).for_each(|_| drop(black_box(topology.explain(client, provider))));
    });
    let peak = peak();
    println!("matrix {matrix:?}, 1000 verdicts {verdicts:?}, peak memory {peak:?} KiB");
    assert!(matrix < Duration::from_secs(1));
    assert!(verdicts < Duration::from_millis(5));
    assert!(peak.is_none_or(|peak| peak < 200_000_000 / 1024));
}

/// The most memory that this process has had, in KiB, as Linux tells it.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

criterion_group!(benches, verdicts);
criterion_main!(benches);
