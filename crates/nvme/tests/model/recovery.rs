//! Reset, removal and faults at every place of a short job.

use std::sync::Arc;

use p2pdma_fabric::{Fault, FaultKind, Reset, Site};
use p2pdma_nvme::{Controller, Data, Error, Options, QueueOptions, QueuePair, Recovery};
use p2pdma_pci::{Clock as _, DmaBuffer, Duration};

use crate::support::{Bench, SECOND, Stage, pattern, plain};

fn short() -> Options {
    Options {
        admin_timeout: Duration::from_millis(500),
        shutdown_timeout: Duration::from_millis(500),
        abort_timeout: Duration::from_millis(100),
        io_queues: 2,
        max_transfer: 64 << 10,
        ..Options::default()
    }
}

#[test]
fn reset_under_load() {
    let bench = Bench::new(plain());
    let mut queues: Vec<QueuePair<DmaBuffer>> =
        (0..3).map(|_| bench.controller.queue_pair(&QueueOptions::entries(16)).unwrap()).collect();
    let (mut done, mut lost) = (0, 0);
    for round in 0..30 {
        for queue in &mut queues {
            for block in 0..10 {
                let buffer = bench.controller.alloc_dma(4096).unwrap();
                let read = bench.namespace.read(block, 1).unwrap();
                queue.submit(&read, Data::from(&buffer), buffer).unwrap();
            }
            queue.ring().unwrap();
        }
        for _ in 0..round {
            bench.stage.fabric.step();
        }
        bench.controller.reset().unwrap();
        for queue in &mut queues {
            loop {
                match queue.poll() {
                    Ok(Some(completion)) if completion.outcome.is_ok() => done += 1,
                    Ok(Some(_)) => lost += 1,
                    Ok(None) => unreachable!("the queue is gone"),
                    Err(error) => {
                        assert!(matches!(error, Error::Reset { .. }), "{error}");
                        break;
                    }
                }
            }
            assert_eq!(queue.recover().unwrap(), Recovery::Reset);
        }
    }
    println!("done: {done}, lost in 30 resets: {lost}");
    assert_eq!(done + lost, 900);
}

#[test]
fn a_function_level_reset_behind_the_drivers_back() {
    let mut bench = Bench::new(plain());
    let buffer = bench.controller.alloc_dma(4096).unwrap();
    bench.stage.function("nvme0").reset().unwrap();
    let read = bench.namespace.read(0, 1).unwrap();
    bench.queue.submit(&read, (&buffer).into(), ()).unwrap();
    let error = bench.queue.wait(SECOND).unwrap_err();
    assert!(matches!(error, Error::Failed { .. }), "{error}");
    assert_eq!(bench.queue.recover().unwrap(), Recovery::Reset);
    assert!(bench.queue.poll().unwrap().unwrap().outcome.is_err());
    assert_eq!(bench.run(&read, (&buffer).into()), Ok(0));
}

#[test]
fn pulled_out() {
    let mut bench = Bench::new(plain());
    let buffer = bench.controller.alloc_dma(4096).unwrap();
    let read = bench.namespace.read(0, 1).unwrap();
    bench.queue.submit(&read, (&buffer).into(), ()).unwrap();
    let bdf = bench.controller.bdf();
    bench.stage.fabric.remove(bdf).unwrap();
    let began = bench.stage.fabric.clock().now();
    let error = bench.queue.wait(SECOND).unwrap_err();
    assert!(matches!(error, Error::Gone { .. }), "{error}");
    assert!(bench.queue.recover().is_err());
    assert!(bench.controller.check().is_err());
    assert!(bench.controller.cmb().is_err());
    let fabric = bench.stage.fabric.clone();
    drop(bench);
    let took = fabric.clock().now().since(began);
    assert!(took < Duration::from_millis(60_000), "{took}");
}

/// A short job: opening, a write and a read with lists, and the end. What it says at last.
fn job(stage: &Stage) -> Result<(), Error> {
    let controller = Controller::open(stage.function("nvme0"), short())?;
    let namespace = controller.namespace(1)?;
    let mut queue = controller.queue_pair(&QueueOptions::entries(4))?;
    let data = pattern(77, 12_288);
    let buffer = Arc::new(controller.alloc_dma(12_288)?);
    buffer.memory().write(0, &data)?;
    for command in [namespace.write(5, 3)?, namespace.read(5, 3)?] {
        queue.submit(&command, Data::from(&*buffer), Arc::clone(&buffer))?;
        let completion = match queue.wait(SECOND) {
            Ok(completion) => completion,
            Err(error) => {
                // Either it comes back to work, or it says why not.
                queue.recover()?;
                return Err(error);
            }
        };
        completion.map(|completion| completion.outcome).unwrap_or(Ok(0))?;
        buffer.memory().read(0, &mut vec![0; 12_288])?;
    }
    let mut back = vec![0; 12_288];
    buffer.memory().read(0, &mut back)?;
    assert!(back == data, "data reported good are not");
    Ok(())
}

/// What strikes, and whether a controller that was told success may hold wrong data for it: what a bus
/// loses or changes without a word is for end-to-end protection to find.
const KINDS: [FaultKind; 9] = [
    FaultKind::UnsupportedRequest,
    FaultKind::CompleterAbort,
    FaultKind::CompletionTimeout,
    FaultKind::Poison,
    FaultKind::Delay(Duration::from_millis(3)),
    FaultKind::LinkDown,
    FaultKind::Unplug,
    FaultKind::Reset(Reset::FunctionLevel),
    FaultKind::Reset(Reset::Hot),
];

/// Every kind of fault at every read that the controller sends, and at every event: an error with a name
/// or the right data, in bounded time.
#[test]
fn a_fault_at_every_place() {
    let mut results = std::collections::BTreeMap::<&str, u64>::new();
    let mut longest = Duration::ZERO;
    for at_events in [false, true] {
        for kind in KINDS {
            for index in 0.. {
                let stage = Stage::one(plain());
                let bdf = stage.fabric.find("nvme0").unwrap();
                let site = if at_events { Site::Event(bdf) } else { Site::Read(bdf, None) };
                stage.fabric.inject(Fault { site, index, kind });
                let result = job(&stage);
                if stage.fabric.faults()[0].fired.is_none() {
                    assert!(result.is_ok(), "{result:?}");
                    break;
                }
                *results.entry(if result.is_ok() { "right" } else { "error" }).or_default() += 1;
                longest = longest.max(stage.fabric.clock().now().since(p2pdma_pci::Instant::ZERO));
            }
        }
    }
    println!("single faults: {results:?}, longest {longest} of virtual time");
    assert!(longest < Duration::from_millis(120_000));
    assert!(results.values().sum::<u64>() > 100);
}
