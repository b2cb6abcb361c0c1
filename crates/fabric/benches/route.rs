//! What the router costs a warm requester: a decision with the bytes it moves.
//!
//! `cargo bench -p p2pdma-fabric` prints the time per request. The floor beside it is the same copy
//! without a router: a write into shared memory.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

use std::hint::black_box;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use p2pdma_fabric::{
    Attributes, BarDescription, Builder, Description, Endpoint, Fabric, FunctionConfig,
    HostBridgeConfig, MemoryRegion, Port, PortConfig, Reset, TimerId,
};
use p2pdma_mem::SharedMemory;
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::{CpuVendor, Host, IommuMode, Known, Link, LinkStatus, MemoryKind};
use p2pdma_pci::{BarIndex, ConfigSpace as _, Function as _, Iova, Width};
use p2pdma_spec::pci::bar::BarKind;
use p2pdma_spec::pci::express::{LinkSpeed, LinkWidth};

/// A job for a device: so many writes of so many bytes to an address, and how long they took.
#[derive(Default)]
struct Job {
    at: u64,
    len: usize,
    count: u64,
    took: std::time::Duration,
}

struct Writer {
    job: Arc<Mutex<Job>>,
    memory: SharedMemory,
}

const MEMORY: u64 = 1 << 20;

impl Endpoint for Writer {
    fn describe(&self) -> Description {
        let index = BarIndex::new(2).unwrap();
        let kind = MemoryKind::Bar(index);
        let memory: Arc<dyn p2pdma_fabric::BarMemory> = Arc::new(self.memory.clone());
        let region = MemoryRegion { offset: 0, len: MEMORY, kind, behind: None, memory };
        let bar = |index, len, memory| BarDescription {
            index,
            len,
            kind: BarKind::Memory64 { prefetchable: true },
            memory,
        };
        let bars = vec![bar(BarIndex::ZERO, 4096, vec![]), bar(index, MEMORY, vec![region])];
        Description { vendor: 1, device: 1, bars, ..Description::default() }
    }
    fn mmio_read(&mut self, _: BarIndex, _: u64, _: &mut [u8]) {}
    fn mmio_write(&mut self, _: BarIndex, _: u64, _: &[u8], port: &mut Port<'_>) {
        let mut job = self.job.lock().unwrap();
        let data = vec![0x5a; job.len];
        let begin = Instant::now();
        for turn in 0..job.count {
            let at = Iova(job.at + (turn & 63) * 64);
            black_box(port.write(at, black_box(&data), Attributes::DATA)).unwrap();
        }
        job.took = begin.elapsed();
    }
    fn wake(&mut self, _: TimerId, _: &mut Port<'_>) {}
    fn reset(&mut self, _: Reset) {}
}

/// Two writers below one switch.
fn machine(iommu: IommuMode) -> (Fabric, Arc<Mutex<Job>>) {
    let mut host = Host::new(CpuVendor::Intel, 6);
    host.iommu = Known::Value(iommu);
    let mut builder = Builder::new(host, 64 << 20);
    let policy = PeerPolicy::Forward;
    let bridge = builder.host_bridge(HostBridgeConfig { policy, ..HostBridgeConfig::default() });
    let link = Link { speed: LinkSpeed::GEN4, width: LinkWidth::X4 };
    let link = LinkStatus { current: Some(link), max: link };
    let port = |name: &str| PortConfig { name: name.to_owned(), link, acs: None };
    let root = builder.root_port(bridge, port("rp0")).unwrap();
    let ports = builder.switch(root, "sw0", vec![port("sw0.0"), port("sw0.1")]).unwrap();
    let job = Arc::new(Mutex::new(Job::default()));
    for (port, name) in ports.into_iter().zip(["a", "b"]) {
        let memory = SharedMemory::anonymous(usize::try_from(MEMORY).unwrap()).unwrap();
        let writer = Writer { job: Arc::clone(&job), memory };
        let config = FunctionConfig { name: name.to_owned(), number: 0, link, acs: None };
        builder.endpoint(port, config, Box::new(writer));
    }
    let fabric = builder.build().unwrap();
    let bdf = fabric.find("a").unwrap();
    fabric.config(bdf).write(4, Width::Word, 6).unwrap();
    (fabric, job)
}

fn run(fabric: &Fabric, job: &Mutex<Job>, at: u64, len: usize, count: u64) -> std::time::Duration {
    let (took, zero) = (std::time::Duration::ZERO, BarIndex::ZERO);
    *job.lock().unwrap() = Job { at, len, count, took };
    let function = fabric.open(fabric.find("a").unwrap()).unwrap();
    function.map_bar(zero).unwrap().write32(0, 1).unwrap();
    while fabric.step() {}
    job.lock().unwrap().took
}

fn route(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("route");
    for len in [4, 64, 4096] {
        let floor = SharedMemory::anonymous(1 << 20).unwrap();
        let data = vec![0x5a; len];
        group.bench_function(BenchmarkId::new("floor", len), |bencher| {
            let mut turn = 0;
            bencher.iter(|| {
                turn = (turn + 1) & 63;
                floor.write(turn * 64, black_box(&data)).unwrap();
            });
        });
        for (name, iommu) in [("host", IommuMode::Off), ("host-iommu", IommuMode::Translate)] {
            let (fabric, job) = machine(iommu);
            let function = fabric.open(fabric.find("a").unwrap()).unwrap();
            let buffer = function.alloc_dma(64 << 10).unwrap();
            group.bench_function(BenchmarkId::new(name, len), |bencher| {
                bencher.iter_custom(|count| run(&fabric, &job, buffer.iova().0, len, count));
            });
        }
        let (fabric, job) = machine(IommuMode::Off);
        let peer = fabric.open(fabric.find("b").unwrap()).unwrap();
        let at = peer.map_bar(BarIndex::new(2).unwrap()).unwrap().address().0;
        group.bench_function(BenchmarkId::new("peer", len), |bencher| {
            bencher.iter_custom(|count| run(&fabric, &job, at, len, count));
        });
    }
    group.finish();
}

criterion_group!(benches, route);
criterion_main!(benches);
