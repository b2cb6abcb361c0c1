//! What a command costs in the controller and the fabric, with a host that does next to nothing.
//!
//! With `PROBE=<case>:<rounds>` in the environment one case runs so many rounds of 32 commands and nothing
//! else: the difference of two such runs under an instruction counter is the cost of a command. The cases
//! are `null`, `read`, `write` and `idle`, which is the host alone.

#[path = "../tests/nvme/host.rs"]
#[expect(dead_code, reason = "the tests' host does more than is measured")]
mod host;

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use memmap2::{Advice, MmapOptions};
use p2pdma_devices::nvme::{
    MediaConfig, NamespaceConfig, NvmeConfig, NvmeController, SubsystemConfig,
};
use p2pdma_fabric::Timing;
use p2pdma_pci::DmaBuffer;
use p2pdma_pci::topology::IommuMode;
use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::queue::{DataPointer, SubmissionEntry};

use host::{Board, Host};

/// Commands of a round: the queue depth.
const DEPTH: u32 = 32;
/// Namespaces and buffers are of this size.
const BYTES: u64 = 256 << 20;

/// A machine with a queue full of commands, each on memory of its own.
struct Bench {
    host: Host,
    queue: usize,
    buffers: Vec<(DmaBuffer, DataPointer)>,
    /// Decides where the next commands read or write.
    state: u64,
    opcode: NvmOpcode,
    /// Whether commands are written anew in every round.
    moving: bool,
    blocks: u32,
}

impl Bench {
    fn new(media: MediaConfig, opcode: NvmOpcode, moving: bool, blocks: u32) -> Self {
        let namespace =
            NamespaceConfig { blocks: BYTES / 4096, media, ..NamespaceConfig::default() };
        let subsystem =
            SubsystemConfig { namespaces: vec![namespace], ..SubsystemConfig::default() };
        let config = NvmeConfig { subsystem, ..NvmeConfig::default() };
        let mut board = Board::new(IommuMode::Translate, Timing::Ideal);
        board.plug("nvme0", NvmeController::new(config).unwrap());
        let mut host = Host::open(board.build(), "nvme0");
        host.enable();
        let queue = host.create_queue(4 * DEPTH);
        let buffers = (0..DEPTH).map(|_| {
            let buffer = host.buffer(blocks as usize * 4096);
            let pointer = host.prps(&buffer);
            (buffer, pointer)
        });
        let buffers = buffers.collect();
        let large = host.buffer(1 << 20);
        for first in (0..BYTES / 4096).step_by(256) {
            host.write(1, first, 256, &large).unwrap();
        }
        let mut bench = Self { host, queue, buffers, state: 1, opcode, moving, blocks };
        for _ in 0..4 {
            bench.submit();
        }
        bench
    }

    fn submit(&mut self) {
        for (_, pointer) in &self.buffers {
            let first = random(&mut self.state) % (BYTES / 4096 / u64::from(self.blocks));
            let mut entry = SubmissionEntry::new(self.opcode, 1);
            entry.set_cdw10_11(first * u64::from(self.blocks));
            entry.cdw12 = (self.blocks - 1).into();
            entry.dptr = *pointer;
            self.host.io[self.queue].push(entry);
        }
    }

    /// One round: entries, one doorbell, the controller's work, the other doorbell.
    fn round(&mut self) {
        if self.moving {
            self.submit();
        } else {
            let queue = &mut self.host.io[self.queue];
            queue.tail = (queue.tail + DEPTH) % queue.size;
        }
        let (id, tail) = (self.host.io[self.queue].id, self.host.io[self.queue].tail);
        self.host.ring_tail(id, tail);
        assert!(self.host.fabric.step());
        let queue = &mut self.host.io[self.queue];
        queue.head = (queue.head + DEPTH) % queue.size;
        let head = queue.head;
        self.host.ring_head(id, head);
        while self.host.fabric.step() {}
    }
}

fn bench_of(case: &str) -> Bench {
    match case {
        "null" => Bench::new(MediaConfig::Null, NvmOpcode::READ, false, 1),
        "read" => Bench::new(MediaConfig::Memory, NvmOpcode::READ, true, 1),
        "write" => Bench::new(MediaConfig::Memory, NvmOpcode::WRITE, true, 1),
        "read 128 KiB" => Bench::new(MediaConfig::Memory, NvmOpcode::READ, true, 32),
        other => panic!("no case {other}"),
    }
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Copies of random blocks to as many buffers: the limit of what reading can be.
fn copies(blocks: &[u8], targets: &mut [Vec<u8>], state: &mut u64) {
    for target in targets {
        let len = target.len();
        let index = usize::try_from(random(state)).unwrap() % (blocks.len() / len);
        target.copy_from_slice(&blocks[index * len..][..len]);
        black_box(target);
    }
}

fn wall(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("nvme");
    group.throughput(Throughput::Elements(u64::from(DEPTH)));
    for case in ["null", "read", "write"] {
        let mut bench = bench_of(case);
        group.bench_function(format!("{case} 4 KiB"), |bencher| bencher.iter(|| bench.round()));
    }
    let mut blocks = MmapOptions::new().len(usize::try_from(BYTES).unwrap()).map_anon().unwrap();
    blocks.advise(Advice::HugePage).unwrap();
    blocks.fill(1);
    let mut targets = vec![vec![0; 4096]; DEPTH as usize];
    let mut state = 1;
    group.bench_function("limit: copy 4 KiB", |bencher| {
        bencher.iter(|| copies(&blocks, &mut targets, &mut state));
    });
    group.finish();
}

fn main() {
    if let Ok(probe) = std::env::var("PROBE") {
        let (case, rounds) = probe.split_once(':').expect("PROBE=<case>:<rounds>");
        let mut bench = bench_of(case);
        for _ in 0..rounds.parse::<u64>().expect("a number of rounds") {
            bench.round();
        }
        return;
    }
    let mut criterion = Criterion::default()
        .measurement_time(Duration::from_secs(3))
        .warm_up_time(Duration::from_secs(1))
        .configure_from_args();
    wall(&mut criterion);
    criterion.final_summary();
}
