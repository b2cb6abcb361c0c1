//! Reset, shutdown, and the way back.

use p2pdma_nvme::{Data, Error, QueueOptions, QueuePair, Recovery};
use p2pdma_pci::{BarIndex, DmaBuffer};
use p2pdma_spec::nvme::registers::{Cc, Csts, offset};

use super::bench::{Bench, PATIENCE};
use crate::machine::Machine;

/// Controller resets while queues are full: everything comes back, done or lost, and the queues go on.
pub(crate) fn reset_under_load(machine: &dyn Machine) -> String {
    let bench = Bench::new(machine, "nvme0", 1);
    let mut queues: Vec<QueuePair<DmaBuffer>> =
        (0..3).map(|_| bench.controller.queue_pair(&QueueOptions::entries(16)).unwrap()).collect();
    let (mut done, mut lost) = (0, 0);
    let rounds = 20;
    for _ in 0..rounds {
        for queue in &mut queues {
            for block in 0..10 {
                let buffer = bench.controller.alloc_dma(4096).unwrap();
                let read = bench.namespace.read(block, 1).unwrap();
                queue.submit(&read, Data::from(&buffer), buffer).unwrap();
            }
            queue.ring().unwrap();
        }
        bench.controller.reset().unwrap();
        for queue in &mut queues {
            loop {
                match queue.poll() {
                    Ok(Some(completion)) if completion.outcome.is_ok() => done += 1,
                    Ok(Some(_)) => lost += 1,
                    Ok(None) => panic!("the queue should be gone"),
                    Err(error) => {
                        assert!(matches!(error, Error::Reset { .. }), "{error}");
                        break;
                    }
                }
            }
            assert_eq!(queue.recover().unwrap(), Recovery::Reset);
        }
    }
    assert_eq!(done + lost, rounds * 30);
    for queue in &mut queues {
        let buffer = bench.controller.alloc_dma(4096).unwrap();
        let read = bench.namespace.read(0, 1).unwrap();
        queue.submit(&read, Data::from(&buffer), buffer).unwrap();
        while let Some(completion) = queue.wait(PATIENCE).unwrap() {
            let _: DmaBuffer = completion.token;
        }
    }
    format!("{rounds} resets, {done} commands done, {lost} lost")
}

/// A function-level reset behind the driver's back: noticed, and recovered from.
pub(crate) fn function_level_reset(machine: &dyn Machine) -> String {
    let mut bench = Bench::new(machine, "nvme0", 1);
    let data = bench.fill(0, 1, 77);
    let buffer = bench.controller.alloc_dma(4096).unwrap();
    machine.function("nvme0").reset().unwrap();
    let read = bench.namespace.read(0, 1).unwrap();
    bench.queue.submit(&read, (&buffer).into(), ()).unwrap();
    let error = bench.queue.wait(PATIENCE).unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error}");
    assert_eq!(bench.queue.recover().unwrap(), Recovery::Reset);
    assert!(bench.queue.poll().unwrap().unwrap().outcome.is_err());
    assert!(bench.contents(0, 1).unwrap() == data);
    "noticed and recovered".to_owned()
}

/// What was written before a shutdown is there afterwards, and the controller has stopped.
pub(crate) fn shutdown(machine: &dyn Machine) -> String {
    let mut written = Vec::new();
    for round in 0..5 {
        let mut bench = Bench::new(machine, "nvme0", 1);
        for (slba, data) in &written {
            assert!(&bench.contents(*slba, 4).unwrap() == data, "block {slba} in round {round}");
        }
        written.push((4 * round, bench.fill(4 * round, 4, round)));
        drop(bench);
        let bar = machine.function("nvme0").map_bar(BarIndex::ZERO).unwrap();
        assert!(!Cc::from_bits(bar.read32(offset::CC).unwrap()).en());
        assert!(!Csts::from_bits(bar.read32(offset::CSTS).unwrap()).rdy());
    }
    format!("{} shutdowns", written.len())
}
