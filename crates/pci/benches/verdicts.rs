//! What verdicts cost on a large machine: 4,096 endpoints under 64 switches.
//!
//! `cargo bench -p p2pdma-pci` prints the times and ends with the memory that the matrix takes. It fails
//! beyond the bounds: a second and 200 MB for the matrix, 5 µs for a verdict.

#![expect(clippy::expect_used, reason = "a benchmark that cannot run should stop")]
#![expect(clippy::print_stdout, reason = "this is what it is for")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{
    Acs, CpuVendor, Host, HostBridge, Kind, Known, Lists, Node, NodeId, REDIRECTING, Topology,
    Upstream,
};
use p2pdma_spec::pci::acs::AcsControl;

const SWITCHES: u8 = 64;
const PORTS: u8 = 64;

/// A switch has 66 buses, so there are three to a domain. Every fourth has ACS redirection on.
fn machine() -> Topology {
    let at = |domain: u32, bus: u8, device: u8, function: u8| {
        Bdf::new(domain, bus, device, function).expect("it is an address")
    };
    let mut nodes = Vec::new();
    let mut bridges = Vec::new();
    for number in 0..SWITCHES {
        let domain = u32::from(number / 3);
        if number % 3 == 0 {
            bridges.push(HostBridge { domain, bus: 0, name: None });
        }
        let first = number % 3 * 66 + 1;
        let root = at(domain, 0, number % 3 + 1, 0);
        let host_bridge = Upstream::HostBridge(usize::from(number / 3));
        nodes.push(Node::new(root, Kind::RootPort, host_bridge));
        let up = at(domain, first, 0, 0);
        nodes.push(Node::new(up, Kind::UpstreamPort, Upstream::Bridge(root)));
        for port in 0..PORTS {
            let down = at(domain, first + 1, port / 8, port % 8);
            let mut node = Node::new(down, Kind::DownstreamPort, Upstream::Bridge(up));
            let control = if number % 4 == 0 { REDIRECTING } else { AcsControl::new() };
            node.acs = Known::Value(Some(Acs::new(control)));
            nodes.push(node);
            let ssd = at(domain, first + 2 + port, 0, 0);
            nodes.push(Node::new(ssd, Kind::Endpoint, Upstream::Bridge(down)));
        }
    }
    Topology::new(Host::new(CpuVendor::Intel, 6), bridges, nodes, 0).expect("it is a machine")
}

fn verdicts(criterion: &mut Criterion) {
    let topology = machine();
    let is_endpoint = |id: &NodeId| topology.node(*id).kind == Kind::Endpoint;
    let endpoints: Vec<NodeId> = topology.ids().filter(is_endpoint).collect();
    assert_eq!(endpoints.len(), 4096);
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
