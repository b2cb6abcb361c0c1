//! Commands per second, with and without data.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::Criterion;
use p2pdma_mem::SharedMemory;
use p2pdma_nvme::{Data, Segment};

use crate::machine::machine;
use crate::pair::{Pair, filled};
use crate::reader::{BLOCK, DEPTH, Reader, next, pick};

/// No data: what driver, routing, IOMMU and controller cost. The limit is the least that two rings in
/// one thread can cost.
pub(crate) fn null(criterion: &mut Criterion) {
    let fabric = machine(2, "null", "translate");
    let mut reader = Reader::new(&fabric, "d0-0");
    let pair = Pair {
        name: "4 KiB reads of a null namespace, depth 32, IOMMU on",
        unit: "commands",
        limit: "the least that two rings can cost",
        goal: None,
    };
    if let Some(figures) = pair.run(criterion, rings, |count| reader.run(count)) {
        figures.print_rate_goal("commands", 15.0);
    }
}

/// Entries of 64 and 16 bytes written and read in rings of 64, 32 at a time.
fn rings(count: u64) -> Duration {
    let submission = SharedMemory::anonymous(64 * 64).unwrap();
    let completion = SharedMemory::anonymous(64 * 16).unwrap();
    let (mut at, mut left) = (0, count);
    let begin = Instant::now();
    while left > 0 {
        let batch = left.min(DEPTH as u64) as usize;
        for slot in 0..batch {
            submission.write((at + slot) % 64 * 64, &[slot as u8; 64]).unwrap();
        }
        for slot in 0..batch {
            let entry: [u8; 64] = submission.read_value((at + slot) % 64 * 64).unwrap();
            completion.write((at + slot) % 64 * 16, &black_box(entry)[..16]).unwrap();
        }
        for slot in 0..batch {
            black_box(completion.read_value::<[u8; 16]>((at + slot) % 64 * 16).unwrap());
        }
        at = (at + batch) % 64;
        left -= batch as u64;
    }
    begin.elapsed()
}

/// Writes every block of a namespace once, so that it costs what it costs.
fn fill(reader: &mut Reader) {
    let blocks = reader.blocks();
    let data = Segment::from(&reader.buffer).slice(0..BLOCK as u64).unwrap();
    for index in 0..reader.places() as u64 {
        let write = reader.namespace.write(index * u64::from(blocks), blocks).unwrap();
        reader.queue.submit(&write, Data::from(data), 0).unwrap();
        let done = reader.queue.wait(p2pdma_pci::Duration::from_millis(1000)).unwrap().unwrap();
        done.outcome.unwrap();
    }
}

/// Random 4 KiB blocks out of 256 MiB. The limit is the same copies by memcpy, one after the other, without anything
/// around them.
pub(crate) fn random(criterion: &mut Criterion) {
    let fabric = machine(2, "memory", "off");
    let mut reader = Reader::new(&fabric, "d0-0");
    fill(&mut reader);
    let (source, mut target) = (filled(256 << 20), filled(BLOCK * DEPTH));
    let pair = Pair {
        name: "4 KiB random reads of 256 MiB, depth 32",
        unit: "reads",
        limit: "memcpy of the same blocks",
        goal: Some(0.85),
    };
    let mut random = 1;
    let copy = |count| {
        let begin = Instant::now();
        for turn in 0..count as usize {
            random = next(random);
            let at = pick(random, source.len() / BLOCK) * BLOCK;
            let slot = turn % DEPTH * BLOCK;
            target[slot..slot + BLOCK].copy_from_slice(black_box(&source[at..at + BLOCK]));
        }
        begin.elapsed()
    };
    pair.run(criterion, copy, |count| reader.run(count));
}
