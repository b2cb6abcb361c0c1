//! Queues of every depth and in every place, and how they say that something is done.

use std::collections::BTreeSet;

use p2pdma_nvme::{Data, Error, Options, Placement, QueueOptions, QueuePair};

use super::bench::{Bench, PATIENCE};
use crate::machine::Machine;

/// Fills and empties a queue in growing batches until `count` commands went through; every completion is
/// the right one, once.
pub(super) fn exercise(bench: &Bench, options: &QueueOptions, count: u64) -> u64 {
    let buffer = bench.controller.alloc_dma(4096).unwrap();
    let mut queue: QueuePair<u64> = bench.controller.queue_pair(options).unwrap();
    let (mut next, mut done) = (0, BTreeSet::new());
    let mut batch = 1;
    while next < count {
        for _ in 0..batch {
            let read = bench.namespace.read(next % 1000, 1).unwrap();
            queue.submit(&read, Data::from(&buffer), next).unwrap();
            next += 1;
        }
        queue.ring().unwrap();
        while let Some(completion) = queue.wait(PATIENCE).unwrap() {
            assert_eq!(completion.outcome, Ok(0));
            assert!(done.insert(completion.token));
        }
        batch = (2 * batch + 1).min(queue.capacity());
    }
    assert_eq!(done.len() as u64, next);
    next
}

/// Lists take memory that these queues do not need.
pub(super) fn short() -> Options {
    Options { max_transfer: 4096, ..Options::default() }
}

/// Every depth is created, filled to the last entry and beyond the end; wrapped three times where that is
/// not too much.
pub(crate) fn every_depth(machine: &dyn Machine) -> String {
    let bench = Bench::with(machine, "nvme0", 1, short());
    let most = bench.controller.max_queue_entries();
    let mut commands = 0;
    for entries in 2..=most {
        let special = entries <= 40 || [64, 255, 256, 257, 1000, most].contains(&entries);
        let count = if special { 3 * u64::from(entries) + 10 } else { 3 };
        commands += exercise(&bench, &QueueOptions::entries(entries), count);
    }
    for entries in [0, 1, most + 1, u32::MAX] {
        let refused = bench.controller.queue_pair::<()>(&QueueOptions::entries(entries));
        assert!(matches!(refused, Err(Error::QueueSize { .. })));
    }
    format!("{} depths, {commands} commands", most - 1)
}

pub(crate) fn in_the_memory_buffer(machine: &dyn Machine) -> String {
    let bench = Bench::with(machine, "nvme0", 1, short());
    assert!(bench.controller.cmb().unwrap().uses().sqs());
    let mut commands = 0;
    let depths = [2, 3, 17, 64, 300, 1024];
    for entries in depths {
        let submission = Placement::Cmb;
        let options = QueueOptions { submission, ..QueueOptions::entries(entries) };
        commands += exercise(&bench, &options, 3 * u64::from(entries) + 10);
    }
    // Neither controller of this machine has room for completion queues there.
    let options = QueueOptions { completion: Placement::Cmb, ..QueueOptions::entries(16) };
    let refused = bench.controller.queue_pair::<()>(&options);
    assert!(matches!(refused, Err(Error::Unsupported { .. })));
    format!("{} depths, {commands} commands", depths.len())
}

pub(crate) fn all_at_once(machine: &dyn Machine) -> String {
    let controller = machine.open("nvme0");
    let namespace = controller.namespace(1).unwrap();
    let count = controller.queue_count().unwrap();
    let options = QueueOptions::entries(16);
    let mut queues: Vec<QueuePair<u16>> =
        (0..count).map(|_| controller.queue_pair(&options).unwrap()).collect();
    let refused = controller.queue_pair::<()>(&options);
    assert!(matches!(refused, Err(Error::NoQueue { .. })));
    let buffer = controller.alloc_dma(4096).unwrap();
    let mut commands = 0;
    for _ in 0..20 {
        for queue in &mut queues {
            for token in 0..15 {
                let read = namespace.read(token.into(), 1).unwrap();
                queue.submit(&read, Data::from(&buffer), token).unwrap();
            }
            queue.ring().unwrap();
        }
        for queue in &mut queues {
            let mut seen = BTreeSet::new();
            while let Some(completion) = queue.wait(PATIENCE).unwrap() {
                assert!(completion.outcome.is_ok() && seen.insert(completion.token));
            }
            assert_eq!(seen.len(), 15);
            commands += seen.len();
        }
    }
    // What is given back can be had again.
    queues.truncate(1);
    controller.queue_pair::<()>(&options).unwrap();
    format!("{count} queues, {commands} commands")
}
