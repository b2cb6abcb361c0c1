//! How often doorbells are written, in registers and with their shadows in host memory.

use std::collections::BTreeSet;
use std::sync::Arc;

use p2pdma_nvme::{Controller, Data, Error, Namespace, Options, QueueOptions, QueuePair, Recovery};
use p2pdma_pci::DmaBuffer;

use super::bench::PATIENCE;
use super::counted::{Counted, Writes};
use crate::machine::Machine;

/// A controller whose doorbells are counted.
struct Bells {
    writes: Arc<Writes>,
    controller: Controller,
    namespace: Namespace,
    buffer: DmaBuffer,
}

impl Bells {
    fn new(machine: &dyn Machine, shadow_doorbells: bool) -> Self {
        let (function, writes) = Counted::new(machine.function("nvme0"));
        let options = Options { shadow_doorbells, max_transfer: 4096, ..Options::default() };
        let controller = Controller::open(Arc::new(function), options).unwrap();
        assert!(controller.identity().oacs.get().dbcs(), "this one offers no shadow doorbells");
        let namespace = controller.namespace(1).unwrap();
        let buffer = controller.alloc_dma(4096).unwrap();
        Self { writes, controller, namespace, buffer }
    }

    fn queue(&self, entries: u32) -> QueuePair<u64> {
        self.controller.queue_pair(&QueueOptions::entries(entries)).unwrap()
    }

    fn submit(&self, queue: &mut QueuePair<u64>, number: u64) {
        let read = self.namespace.read(number % 1000, 1).unwrap();
        queue.submit(&read, Data::from(&self.buffer), number).unwrap();
    }

    /// So many commands, `depth` at a time: all are sent, then all come back. Returns the writes of doorbells.
    fn batches(&self, queue: &mut QueuePair<u64>, depth: u64, count: u64) -> u64 {
        let before = self.writes.count();
        for first in (0..count).step_by(usize::try_from(depth).unwrap()) {
            for number in first..first + depth {
                self.submit(queue, number);
            }
            let mut left: BTreeSet<u64> = (first..first + depth).collect();
            while let Some(completion) = queue.wait(PATIENCE).unwrap() {
                assert!(completion.outcome.is_ok() && left.remove(&completion.token));
            }
            assert!(left.is_empty());
        }
        self.writes.count() - before
    }

    /// So many commands, `depth` of them in flight all the time: as soon as some come back, as many are sent.
    fn stream(&self, queue: &mut QueuePair<u64>, depth: u64, count: u64) -> u64 {
        let before = self.writes.count();
        let (mut sent, mut seen) = (0, BTreeSet::new());
        while (seen.len() as u64) < count {
            while sent < count && sent - (seen.len() as u64) < depth {
                self.submit(queue, sent);
                sent += 1;
            }
            let mut completion = queue.wait(PATIENCE).unwrap();
            while let Some(done) = completion {
                assert!(done.outcome.is_ok() && seen.insert(done.token));
                completion = queue.poll().unwrap();
            }
        }
        self.writes.count() - before
    }
}

/// With 32 commands in flight, there is at most a write of a doorbell for 16 of them: in batches on every controller; in a
/// stream where time does not run on its own, else as few as the controller's pace lets come back together.
pub(crate) fn per_command(machine: &dyn Machine) -> String {
    const DEPTH: u64 = 32;
    const COUNT: u64 = 100 * DEPTH;
    let mut said = Vec::new();
    for shadow in [false, true] {
        let bells = Bells::new(machine, shadow);
        let batches = bells.batches(&mut bells.queue(64), DEPTH, COUNT);
        let stream = bells.stream(&mut bells.queue(1024), DEPTH, COUNT);
        assert!(batches * 16 <= COUNT, "{batches} writes for {COUNT} commands");
        if machine.is_repeatable() {
            assert!(stream * 16 <= COUNT, "{stream} writes for a stream of {COUNT} commands");
        }
        said.push((shadow, batches, stream));
    }
    let lines = said.iter().map(|(shadow, batches, stream)| {
        let way = if *shadow { "shadow doorbells" } else { "registers" };
        format!("{way}: {batches} in batches of {DEPTH}, {stream} in a stream")
    });
    format!("doorbell writes for {COUNT} commands: {}", lines.collect::<Vec<_>>().join("; "))
}

/// Shadow doorbells of queues of many depths, over their ends; after the controller was reset, by queues that were
/// there before, and by one that takes an earlier one's number.
pub(crate) fn shadows(machine: &dyn Machine) -> String {
    let bells = Bells::new(machine, true);
    let mut commands = 0;
    for entries in [2, 3, 5, 33, 64, 1000] {
        let depth = u64::from(entries - 1).min(40);
        let count = (3 * u64::from(entries)).next_multiple_of(depth);
        bells.batches(&mut bells.queue(entries), depth, count);
        bells.stream(&mut bells.queue(entries), depth, count);
        commands += 2 * count;
    }
    let mut queues = [bells.queue(7), bells.queue(64)];
    for _ in 0..3 {
        for queue in &mut queues {
            // Ends where the next ones do not begin.
            bells.batches(queue, 5, 25);
            bells.submit(queue, 0);
            queue.ring().unwrap();
        }
        bells.controller.reset().unwrap();
        for queue in &mut queues {
            // It does not know yet, and writes to its doorbell for the last time.
            bells.submit(queue, 1);
            let _ = queue.ring();
            while queue
                .poll()
                .map_err(|error| assert!(matches!(error, Error::Reset { .. })))
                .is_ok()
            {}
            assert_eq!(queue.recover().unwrap(), Recovery::Reset);
            while let Some(completion) = queue.poll().unwrap() {
                assert!(completion.outcome.is_err() || completion.token == 0);
            }
            bells.batches(queue, 5, 25);
            commands += 50;
        }
    }
    format!("6 depths, 3 resets, {commands} commands, {} writes of doorbells", bells.writes.count())
}
