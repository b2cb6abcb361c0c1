//! Copies from SSD to SSD, beside their limits.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use memmap2::MmapMut;

use crate::copier::Copier;
use crate::pair::{Figures, Pair, filled};

const SIZE: u64 = 256 << 20;

/// Two copies by memcpy are the least that it takes: into the buffer and out of it.
struct TwoCopies {
    source: MmapMut,
    sink: MmapMut,
    buffer: MmapMut,
    block: usize,
}

impl TwoCopies {
    fn new(size: u64, block: usize, depth: usize) -> Self {
        let [source, sink] = [filled(size as usize), filled(size as usize)];
        Self { source, sink, buffer: filled(depth * block), block }
    }

    /// Copies so many blocks, wrapping around.
    fn run(&mut self, blocks: u64) -> Duration {
        let begin = Instant::now();
        for turn in 0..blocks as usize {
            let (at, slot) = (turn * self.block, turn * self.block % self.buffer.len());
            let at = at % self.source.len();
            let slot = &mut self.buffer[slot..slot + self.block];
            slot.copy_from_slice(black_box(&self.source[at..at + self.block]));
            self.sink[at..at + self.block].copy_from_slice(black_box(slot));
        }
        begin.elapsed()
    }
}

/// 128 KiB blocks at depth 8.
pub(crate) fn large(criterion: &mut Criterion) {
    const BLOCK: usize = 128 << 10;
    let mut copier = Copier::new("", SIZE, BLOCK as u64, 8);
    let mut copies = TwoCopies::new(SIZE, BLOCK, 8);
    let pair = Pair {
        name: "SSD to SSD through a CMB, 128 KiB, depth 8",
        unit: "blocks",
        limit: "two memcpys of the same blocks",
        goal: Some(0.8),
    };
    if let Some(figures) = pair.run(criterion, |count| copies.run(count), |count| copier.run(count))
    {
        println!("  {:.1} GB/s end to end", BLOCK as f64 * 1e-9 / figures.ours[1]);
    }
}

/// 4 KiB blocks with links, hops and memory taking modelled time, beside the same without. With 256 KiB in each
/// namespace all stays in the second-level cache of a processor that has 1 MiB of it, and what the engine
/// costs shows; with 8 MiB it stays in one that others use too; with 256 MiB memory itself is most of it.
pub(crate) fn timed(criterion: &mut Criterion) {
    for (size, named) in
        [(256 << 10, "256 KiB"), (1 << 20, "1 MiB"), (8 << 20, "8 MiB"), (SIZE, "256 MiB")]
    {
        let name =
            format!("SSD to SSD through a CMB, 4 KiB, depth 32, timing model on, {named} each");
        if let Some(figures) = beside_ideal(criterion, &name, size) {
            figures.print_rate_goal("blocks", 1.5);
            print_copies_alone(size);
        }
    }
}

/// What memory alone allows.
fn print_copies_alone(size: u64) {
    const BLOCKS: u64 = 1 << 18;
    let mut copies = TwoCopies::new(size, 4096, 32);
    let mut took: Vec<_> = (0..5).map(|_| copies.run(BLOCKS)).collect();
    took.sort();
    let rate = BLOCKS as f64 * 1e-6 / took[2].as_secs_f64();
    println!("  two memcpys of the same blocks alone: {rate:.2} M blocks/s");
}

fn beside_ideal(criterion: &mut Criterion, name: &str, size: u64) -> Option<Figures> {
    let mut ideal = Copier::new("", size, 4096, 32);
    let mut timed = Copier::new("[timing]\nmodel = \"pcie\"", size, 4096, 32);
    let pair =
        Pair { name, unit: "blocks", limit: "the same, timing model off", goal: Some(1.0 / 2.5) };
    pair.run(criterion, |count| ideal.run(count), |count| timed.run(count))
}

/// What a byte costs does not depend on how many there are. Both are beyond most caches.
pub(crate) fn linear(criterion: &mut Criterion) {
    const BLOCK: u64 = 128 << 10;
    let mut few = Copier::new("", 512 << 20, BLOCK, 8);
    let mut many = Copier::new("", 2 << 30, BLOCK, 8);
    let pair = Pair {
        name: "SSD to SSD through a CMB, 128 KiB, depth 8, 2 GiB in a job",
        unit: "blocks",
        limit: "512 MiB in a job",
        goal: Some(0.9),
    };
    pair.run(criterion, |count| few.run(count), |count| many.run(count));
}
