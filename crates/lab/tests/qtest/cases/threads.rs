//! Threads, each with a queue pair of its own.

use std::collections::BTreeSet;
use std::thread;

use p2pdma_nvme::{Controller, Data, Namespace, QueueOptions, QueuePair};

use super::bench::{PATIENCE, pattern};
use super::queues::short;
use crate::machine::Machine;

const THREADS: u64 = 4;
const ROUNDS: u64 = 60;
const DEPTH: u64 = 8;

/// Writes blocks that no other thread writes, reads them again, and compares.
fn work(controller: &Controller, namespace: &Namespace, mut queue: QueuePair<u64>, thread: u64) {
    let buffers: Vec<_> = (0..DEPTH).map(|_| controller.alloc_dma(4096).unwrap()).collect();
    for round in 0..ROUNDS {
        let block = |slot: u64| (thread * ROUNDS + round) * DEPTH + slot;
        for reads in [false, true] {
            for (slot, buffer) in (0..).zip(&buffers) {
                let command = match reads {
                    true => namespace.read(block(slot), 1).unwrap(),
                    false => namespace.write(block(slot), 1).unwrap(),
                };
                let data = if reads { vec![0; 4096] } else { pattern(block(slot), 4096) };
                buffer.memory().write(0, &data).unwrap();
                queue.submit(&command, Data::from(buffer), slot).unwrap();
            }
            let mut seen = BTreeSet::new();
            while let Some(completion) = queue.wait(PATIENCE).unwrap() {
                assert!(completion.outcome.is_ok() && seen.insert(completion.token));
            }
            assert_eq!(seen.len() as u64, DEPTH);
        }
        for (slot, buffer) in (0..).zip(&buffers) {
            let mut data = vec![0; 4096];
            buffer.memory().read(0, &mut data).unwrap();
            assert!(data == pattern(block(slot), 4096), "block {} is another", block(slot));
        }
    }
}

/// Queue pairs of one controller go to a thread each, polled or with a vector each, and all work at once.
pub(crate) fn a_queue_for_each(machine: &dyn Machine) -> String {
    let controller = machine.open_with("nvme0", short());
    let namespace = controller.namespace(1).unwrap();
    for interrupts in [false, true] {
        thread::scope(|scope| {
            for (thread, vector) in (0..THREADS).zip(1..) {
                let vector = interrupts.then_some(vector);
                let options = QueueOptions { vector, ..QueueOptions::entries(16) };
                let queue = controller.queue_pair(&options).unwrap();
                let (controller, namespace) = (&controller, &namespace);
                scope.spawn(move || work(controller, namespace, queue, thread));
            }
        });
    }
    format!("{THREADS} threads, {} commands", 2 * 2 * THREADS * ROUNDS * DEPTH)
}
