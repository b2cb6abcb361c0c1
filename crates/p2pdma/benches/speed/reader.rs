//! A reader: the driver on the controller on the fabric, in one thread.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use p2pdma::fabric::Fabric;
use p2pdma_nvme::{Controller, Data, Namespace, Options, QueueOptions, QueuePair, Segment};
use p2pdma_pci::{Clock, DmaBuffer, Function};

pub(crate) const DEPTH: usize = 32;
pub(crate) const BLOCK: usize = 4096;

/// A queue pair on a namespace, with a buffer of a block per command.
pub(crate) struct Reader {
    pub(crate) queue: QueuePair<u32>,
    pub(crate) namespace: Namespace,
    pub(crate) buffer: DmaBuffer,
    clock: Box<dyn Clock>,
    _controller: Controller,
}

impl Reader {
    /// The controller of that name, opened.
    pub(crate) fn new(fabric: &Fabric, name: &str) -> Self {
        let function = fabric.open(fabric.find(name).unwrap()).unwrap();
        let function: Arc<dyn Function> = Arc::new(function);
        // As hardware does it, which hardly ever offers shadow doorbells.
        let options = Options { shadow_doorbells: false, ..Options::default() };
        let controller = Controller::open(function, options).unwrap();
        let namespace = controller.namespace(1).unwrap();
        let queue = controller.queue_pair(&QueueOptions::entries(64)).unwrap();
        let buffer = controller.alloc_dma(BLOCK * DEPTH).unwrap();
        let clock = Box::new(fabric.clock());
        Self { queue, namespace, buffer, clock, _controller: controller }
    }

    /// How many of the namespace's blocks are one of ours.
    pub(crate) fn blocks(&self) -> u32 {
        u32::try_from(BLOCK).unwrap() / self.namespace.format().data
    }

    /// How many of ours there are, 256 MiB at most.
    pub(crate) fn places(&self) -> usize {
        (self.namespace.size() / BLOCK as u64).min(1 << 16) as usize
    }

    /// Reads so many blocks in a random order, 32 commands in flight.
    pub(crate) fn run(&mut self, count: u64) -> Duration {
        let whole = Segment::from(&self.buffer);
        let slots: Vec<Segment> = (0..DEPTH as u64)
            .map(|slot| whole.slice(slot * BLOCK as u64..(slot + 1) * BLOCK as u64).unwrap())
            .collect();
        let (blocks, places) = (self.blocks(), self.places());
        let mut free: Vec<u32> = (0..DEPTH as u32).collect();
        let (mut sent, mut ended, mut random) = (0, 0, 1_u64);
        let begin = Instant::now();
        while ended < count {
            while sent < count
                && let Some(slot) = free.pop()
            {
                random = next(random);
                let first = pick(random, places) as u64 * u64::from(blocks);
                let command = self.namespace.read(first, blocks).unwrap();
                self.queue.submit(&command, Data::from(slots[slot as usize]), slot).unwrap();
                sent += 1;
            }
            self.queue.ring().unwrap();
            let found = self.queue.reap(|completion| {
                black_box(completion.outcome).unwrap();
                free.push(completion.token);
            });
            match found.unwrap() {
                0 => self.clock.relax(),
                found => ended += found as u64,
            }
        }
        begin.elapsed()
    }
}

pub(crate) fn next(random: u64) -> u64 {
    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

pub(crate) fn pick(random: u64, limit: usize) -> usize {
    (random >> 33) as usize % limit
}
