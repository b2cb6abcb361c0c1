//! SSD to SSD through a controller memory buffer: the library's whole pipeline.

use std::hint::black_box;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2pdma::machine::Machine;
use p2pdma::topology::Allowlist;
use p2pdma::{
    Candidate, Client, End, Ends, FabricPlatform, HostClient, Job, Plan, Platform, Policy, Storage,
    Wish, run,
};

/// Two SSDs with memory for media, below one switch.
pub(crate) struct Copier {
    pub(crate) platform: FabricPlatform,
    source: Box<dyn Client>,
    sink: Box<dyn Client>,
    job: Job,
}

impl Copier {
    /// Each SSD has `size` bytes; all of them are copied, over and over.
    pub(crate) fn new(timing: &str, size: u64, block: u64, depth: u32) -> Self {
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
            size = "{size}"
            block = 4096
            media = "memory"
            [[nvme]]
            name = "nvme1"
            below = "sw0.1"
            [[nvme.namespace]]
            size = "{size}"
            block = 4096
            media = "memory"
            "#
        );
        let machine = Machine::parse(&text, "two.toml").unwrap();
        let platform =
            FabricPlatform::new(&machine, &Storage::Ephemeral, Allowlist::kernel()).unwrap();
        let open = |name| platform.namespace(platform.find(name).unwrap(), 1).unwrap();
        let (source, sink) = (open("nvme0"), open("nvme1"));
        let job = Job { from: 0, to: 0, len: size, block, depth };
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
            let wish =
                Wish { source, sink, via: None, block, policy: Policy::Require, barrier: None };
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
    pub(crate) fn run(&mut self, blocks: u64) -> Duration {
        let ends = [&self.source, &self.sink].map(|client| End::Client(client.bdf().unwrap()));
        let [source, sink] = ends;
        let block = self.job.block;
        let wish = Wish { source, sink, via: None, block, policy: Policy::Require, barrier: None };
        let providers = self.platform.providers().unwrap();
        let candidates: Vec<_> = providers.iter().filter_map(Candidate::of).collect();
        let plan = Plan::new(&self.platform.topology().unwrap(), wish, &candidates).unwrap();
        let memory = plan.memory(&self.platform, self.job.memory()).unwrap();
        let memory = Arc::new(memory);
        let (mut left, mut took) = (blocks * block, Duration::ZERO);
        while left > 0 {
            let job = Job { len: left.min(self.job.len), ..self.job };
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
