//! SSD to SSD through a controller memory buffer: the library's whole pipeline.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::Criterion;
use p2pdma::machine::Machine;
use p2pdma::topology::Allowlist;
use p2pdma::{
    Candidate, Client, End, Ends, FabricPlatform, HostClient, Job, Plan, Platform, Policy, Storage,
    Wish, run,
};

use crate::pair::Pair;

const SIZE: u64 = 256 << 20;

/// Two SSDs with 256 MiB in memory below one switch.
struct Copier {
    platform: FabricPlatform,
    source: Box<dyn Client>,
    sink: Box<dyn Client>,
    job: Job,
}

impl Copier {
    fn new(timing: &str, block: u64, depth: u32) -> Self {
        let text = format!(
            r#"
            name = "two"
            {timing}
            [[host-bridge]]
            name = "host0"
            id = "8086:29c0"
            p2p = "refuse"
            [[root-port]]
            name = "rp0"
            on = "host0"
            [[switch]]
            name = "sw0"
            below = "rp0"
            ports = 2
            [[nvme]]
            name = "nvme0"
            below = "sw0.0"
            cmb = "16M"
            [[nvme.namespace]]
            size = "256M"
            block = 4096
            media = "memory"
            [[nvme]]
            name = "nvme1"
            below = "sw0.1"
            [[nvme.namespace]]
            size = "256M"
            block = 4096
            media = "memory"
            "#
        );
        let machine = Machine::parse(&text, "two.toml").unwrap();
        let platform =
            FabricPlatform::new(&machine, &Storage::Ephemeral, Allowlist::kernel()).unwrap();
        let open = |name| platform.namespace(platform.find(name).unwrap(), 1).unwrap();
        let (source, sink) = (open("nvme0"), open("nvme1"));
        let job = Job { from: 0, to: 0, len: SIZE, block, depth };
        let mut copier = Self { platform, source, sink, job };
        copier.fill();
        copier
    }

    /// Both namespaces are written once, so that no page is touched for the first time later.
    fn fill(&mut self) {
        for client in [&mut self.source, &mut self.sink] {
            let bdf = client.bdf().unwrap();
            let (source, sink) = (End::Host, End::Client(bdf));
            let block = 512 << 10;
            let wish = Wish { source, sink, via: None, block, policy: Policy::Require };
            let plan = Plan::new(&self.platform.topology().unwrap(), wish, &[]).unwrap();
            let job = Job { block, depth: 2, ..self.job };
            let memory = Arc::new(plan.memory(&self.platform, 2 * block).unwrap());
            let mut pattern = HostClient::pattern(1);
            let ends = Ends { source: Some(&mut pattern), sink: Some(&mut **client) };
            run(&self.platform, plan, ends, &memory, job, &mut |_| ControlFlow::Continue(()))
                .unwrap();
        }
    }

    /// Copies so many blocks, wrapping around.
    fn run(&mut self, blocks: u64) -> Duration {
        let ends = [&self.source, &self.sink].map(|client| End::Client(client.bdf().unwrap()));
        let [source, sink] = ends;
        let block = self.job.block;
        let wish = Wish { source, sink, via: None, block, policy: Policy::Require };
        let providers = self.platform.providers().unwrap();
        let candidates: Vec<_> = providers.iter().filter_map(Candidate::of).collect();
        let plan = Plan::new(&self.platform.topology().unwrap(), wish, &candidates).unwrap();
        let memory = plan.memory(&self.platform, block * u64::from(self.job.depth)).unwrap();
        let memory = Arc::new(memory);
        let (mut left, mut took) = (blocks * block, Duration::ZERO);
        while left > 0 {
            let job = Job { len: left.min(SIZE), ..self.job };
            let ends = Ends { source: Some(&mut *self.source), sink: Some(&mut *self.sink) };
            let watch = &mut |_| ControlFlow::Continue(());
            let begin = Instant::now();
            black_box(run(&self.platform, plan.clone(), ends, &memory, job, watch)).unwrap();
            took += begin.elapsed();
            left -= job.len;
        }
        took
    }
}

/// 128 KiB blocks at depth 8. Two copies are the least: into the buffer and out of it.
pub(crate) fn large(criterion: &mut Criterion) {
    const BLOCK: usize = 128 << 10;
    let mut copier = Copier::new("", BLOCK as u64, 8);
    let (source, mut sink) = (vec![1_u8; SIZE as usize], vec![2_u8; SIZE as usize]);
    let mut buffer = vec![0_u8; 8 * BLOCK];
    let pair = Pair {
        name: "SSD to SSD through a CMB, 128 KiB, depth 8",
        unit: "blocks",
        limit: "two memcpys of the same blocks",
        goal: Some(0.8),
    };
    let copies = |count: u64| {
        let begin = Instant::now();
        for turn in 0..count as usize {
            let (at, slot) = (turn * BLOCK % source.len(), turn % 8 * BLOCK);
            let slot = &mut buffer[slot..slot + BLOCK];
            slot.copy_from_slice(black_box(&source[at..at + BLOCK]));
            sink[at..at + BLOCK].copy_from_slice(black_box(slot));
        }
        begin.elapsed()
    };
    if let Some(figures) = pair.run(criterion, copies, |count| copier.run(count)) {
        println!("  {:.1} GB/s end to end", BLOCK as f64 * 1e-9 / figures.ours);
    }
}

/// 4 KiB blocks with links, hops and memory taking modelled time, beside the same without.
pub(crate) fn timed(criterion: &mut Criterion) {
    let mut ideal = Copier::new("", 4096, 32);
    let mut timed = Copier::new("[timing]\nmodel = \"pcie\"", 4096, 32);
    let pair = Pair {
        name: "SSD to SSD through a CMB, 4 KiB, depth 32, timing model on",
        unit: "transfers",
        limit: "the same, timing model off",
        goal: Some(1.0 / 2.5),
    };
    if let Some(figures) = pair.run(criterion, |count| ideal.run(count), |count| timed.run(count)) {
        figures.print_rate_goal("transfers", 1.5);
    }
}
