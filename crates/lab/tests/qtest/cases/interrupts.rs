//! How completions are announced, and that they are not where nobody wants to hear of them.

use p2pdma_nvme::{Data, QueueOptions, QueuePair};
use p2pdma_pci::{Bar, BarIndex, Interrupt, Width};
use p2pdma_spec::pci::capability::CapabilityId;
use p2pdma_spec::pci::msix::{self, TableLocation, VectorControl};

use super::bench::{Bench, PATIENCE};
use super::queues::{exercise, short};
use crate::machine::Machine;

/// Waits until a message of a vector is there, and takes it.
fn arrives(bench: &Bench, line: &Interrupt) {
    let clock = bench.controller.function().clock();
    let begin = clock.now();
    while line.take() == 0 {
        assert!(clock.now().since(begin) < PATIENCE, "vector {} says nothing", line.vector());
        clock.relax();
    }
}

/// Sends a read and waits until it is over, by looking at the queue.
fn read(bench: &Bench, queue: &mut QueuePair<()>) {
    let buffer = bench.controller.alloc_dma(4096).unwrap();
    let read = bench.namespace.read(0, 1).unwrap();
    queue.submit(&read, Data::from(&buffer), ()).unwrap();
    assert!(queue.wait(PATIENCE).unwrap().unwrap().outcome.is_ok());
}

pub(crate) fn interrupts(machine: &dyn Machine) -> String {
    let bench = Bench::with(machine, "nvme0", 1, short());
    let last = bench.controller.vectors().unwrap() - 1;
    let mut commands = 0;
    for vector in [0, 1, last] {
        let options = QueueOptions { vector: Some(vector), ..QueueOptions::entries(32) };
        commands += exercise(&bench, &options, 200);
        let mut queue: QueuePair<()> = bench.controller.queue_pair(&options).unwrap();
        // The message is seen by whoever opened the vector last.
        let line = bench.controller.function().interrupt(vector).unwrap();
        read(&bench, &mut queue);
        arrives(&bench, &line);
        commands += 1;
    }
    let beyond = QueueOptions { vector: Some(last + 1), ..QueueOptions::default() };
    assert!(bench.controller.queue_pair::<()>(&beyond).is_err());
    format!("3 vectors, {commands} commands")
}

/// Where a vector is masked.
fn control(bench: &Bench, vector: u16) -> (Bar, u64) {
    let function = bench.controller.function();
    let at = function.config().capability(CapabilityId::MSI_X).unwrap().unwrap();
    let table = function.config().read(at + msix::offset::TABLE, Width::Dword).unwrap();
    let table = TableLocation::from_bits(table);
    let bar = function.map_bar(BarIndex::new(table.bir()).unwrap()).unwrap();
    let entry = size_of::<msix::TableEntry>() as u64 * u64::from(vector);
    (bar, u64::from(table.offset()) + entry + 12)
}

/// What happens while its vector is masked is announced when the mask goes (PCIe 6.0 §6.1.4), once, however often
/// it happened; and the queue is as good as any meanwhile.
pub(crate) fn masked(machine: &dyn Machine) -> String {
    const VECTOR: u16 = 2;
    let bench = Bench::with(machine, "nvme0", 1, short());
    let options = QueueOptions { vector: Some(VECTOR), ..QueueOptions::entries(8) };
    let mut queue: QueuePair<()> = bench.controller.queue_pair(&options).unwrap();
    let line = bench.controller.function().interrupt(VECTOR).unwrap();
    let (bar, control) = control(&bench, VECTOR);
    let mask = |mask: bool| {
        bar.write32(control, VectorControl::new().with_mask(mask).into_bits()).unwrap();
        // It has arrived before anything else is done.
        bar.read32(control).unwrap();
    };
    let rounds = 20;
    for round in 1..=rounds {
        mask(true);
        for _ in 0..round {
            read(&bench, &mut queue);
        }
        // An admin command takes the same way: what was to come is there.
        bench.controller.identify().unwrap();
        assert_eq!(line.take(), 0, "a masked vector speaks");
        mask(false);
        arrives(&bench, &line);
        bench.controller.identify().unwrap();
        assert_eq!(line.take(), 0, "what was announced is announced again");
        read(&bench, &mut queue);
        arrives(&bench, &line);
    }
    format!("{rounds} times")
}

/// A queue that is polled sends no message, not even by the vector that the admin queue has.
pub(crate) fn none_of_polled_queues(machine: &dyn Machine) -> String {
    let bench = Bench::with(machine, "nvme0", 1, short());
    let mut queue: QueuePair<()> = bench.controller.queue_pair(&QueueOptions::entries(8)).unwrap();
    let line = bench.controller.function().interrupt(0).unwrap();
    bench.controller.identify().unwrap();
    arrives(&bench, &line);
    for _ in 0..100 {
        read(&bench, &mut queue);
    }
    assert_eq!(line.take(), 0);
    bench.controller.identify().unwrap();
    arrives(&bench, &line);
    "100 commands".to_owned()
}
