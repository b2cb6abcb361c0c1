//! Queues at every depth and in every place, doorbells, abort.

use p2pdma_devices::nvme::{MediaTiming, ServiceTime, SubsystemConfig};
use p2pdma_nvme::{Data, Placement, QueueOptions, QueuePair, Segment};
use p2pdma_pci::{Clock as _, Duration};
use p2pdma_spec::nvme::admin::{AsyncErrorInfo, AsyncEventType};
use p2pdma_spec::nvme::registers::submission_doorbell;
use p2pdma_spec::nvme::status::Status;

use crate::support::{Bench, SECOND, plain, status};

/// Fills and empties a queue in batches of every size; every completion is the right one.
fn exercise(bench: &Bench, options: &QueueOptions) -> u64 {
    let buffer = bench.controller.alloc_dma(4096).unwrap();
    let mut queue: QueuePair<u64> = bench.controller.queue_pair(options).unwrap();
    let (mut next, mut done) = (0, std::collections::BTreeSet::new());
    let mut batch = 1;
    while next < 3 * u64::from(options.entries) + 10 {
        for _ in 0..batch {
            let read = bench.namespace.read(next % 1000, 1).unwrap();
            queue.submit(&read, Data::from(&buffer), next).unwrap();
            next += 1;
        }
        queue.ring().unwrap();
        while let Some(completion) = queue.wait(SECOND).unwrap() {
            assert_eq!(completion.outcome, Ok(0));
            assert!(done.insert(completion.token));
        }
        batch = batch % queue.capacity() + 1;
    }
    assert_eq!(done.len() as u64, next);
    next
}

#[test]
fn every_depth_and_place() {
    use Placement::{Cmb, Host};
    let bench = Bench::new(plain());
    let (mut commands, mut queues) = (0, 0);
    for entries in (2..=40).chain([64, 100, 255, 256, 1000, 1024]) {
        commands += exercise(&bench, &QueueOptions::entries(entries));
        queues += 1;
    }
    for entries in [2, 3, 17, 64] {
        for (submission, completion) in [(Cmb, Host), (Host, Cmb), (Cmb, Cmb)] {
            let options = QueueOptions { submission, completion, ..QueueOptions::entries(entries) };
            commands += exercise(&bench, &options);
            queues += 1;
        }
    }
    println!("queues: {queues}, commands: {commands}");
}

/// Every doorbell stride that fits.
#[test]
fn doorbell_strides() {
    for stride in [0, 1, 4, 8, 12] {
        let mut config = plain();
        config.controller.doorbell_stride = stride;
        config.controller.max_io_queues = 3;
        let bench = Bench::new(config);
        exercise(&bench, &QueueOptions::entries(9));
    }
}

/// Media that take a second: what is aborted comes back as aborted, what is not takes its time.
#[test]
fn commands_are_aborted() {
    let slow = ServiceTime { latency: Duration::from_millis(1000), bytes_per_second: 0 };
    let timing = MediaTiming { read: slow, write: slow, units: 1 };
    let mut config = plain();
    config.subsystem = SubsystemConfig { timing: Some(timing), ..config.subsystem };
    let bench = Bench::new(config);
    let mut queue = bench.controller.queue_pair::<u8>(&QueueOptions::default()).unwrap();
    let buffer = bench.controller.alloc_dma(4096 * 4).unwrap();
    let whole = Segment::from(&buffer);
    let mut ids = Vec::new();
    for token in 0..4 {
        let at = u64::from(token) * 4096;
        let read = bench.namespace.read(0, 1).unwrap();
        let part = whole.slice(at..at + 4096).unwrap();
        ids.push(queue.submit(&read, part.into(), token).unwrap());
    }
    queue.ring().unwrap();
    let mut aborted = 0;
    for id in [ids[3], ids[1]] {
        aborted += usize::from(queue.abort(id).unwrap());
    }
    let (mut done, mut failed) = (0, Vec::new());
    while let Some(completion) = queue.wait(Duration::from_millis(5000)).unwrap() {
        match completion.outcome {
            Ok(_) => done += 1,
            Err(failure) => {
                assert_eq!(status(failure), Status::ABORT_REQUESTED);
                failed.push(completion.token);
            }
        }
    }
    println!("aborted at once: {aborted}, failed: {failed:?}, done: {done}");
    assert_eq!(done + failed.len(), 4);
    assert!(failed.len() >= aborted && failed.iter().all(|token| [1, 3].contains(token)));
}

/// A command that takes too long is recovered, and the queue goes on.
#[test]
fn commands_that_take_too_long() {
    let slow = ServiceTime { latency: Duration::from_millis(60_000), bytes_per_second: 0 };
    let fast = ServiceTime { latency: Duration::ZERO, bytes_per_second: 0 };
    let timing = MediaTiming { read: slow, write: fast, units: 4 };
    let mut config = plain();
    config.subsystem = SubsystemConfig { timing: Some(timing), ..config.subsystem };
    let mut bench = Bench::new(config);
    let buffer = bench.controller.alloc_dma(4096).unwrap();
    let read = bench.namespace.read(0, 1).unwrap();
    bench.queue.submit(&read, (&buffer).into(), ()).unwrap();
    let began = bench.stage.fabric.clock().now();
    assert!(bench.queue.wait(Duration::from_millis(2000)).is_err());
    let recovery = bench.queue.recover().unwrap();
    let took = bench.stage.fabric.clock().now().since(began);
    println!("recovered after {took}: {recovery:?}");
    assert!(took < Duration::from_millis(10_000));
    assert!(bench.queue.poll().unwrap().unwrap().outcome.is_err());
    let write = bench.namespace.write(0, 1).unwrap();
    assert_eq!(bench.run(&write, (&buffer).into()), Ok(0));
}

/// A doorbell of a queue that does not exist: the controller says so, as an event.
#[test]
fn a_wrong_doorbell_is_an_event() {
    let bench = Bench::new(plain());
    let bar = bench.controller.function().map_bar(p2pdma_pci::BarIndex::ZERO).unwrap();
    bar.write32(submission_doorbell(60, 0), 1).unwrap();
    bar.write32(submission_doorbell(bench.queue.qid(), 0), 0xffff).unwrap();
    bench.controller.identify().unwrap();
    let mut infos = Vec::new();
    while let Some(event) = bench.controller.next_event().unwrap() {
        assert_eq!(event.event_type(), AsyncEventType::ERROR);
        infos.push(AsyncErrorInfo::from_bits(event.info()));
        bench.controller.error_log().unwrap();
        bench.controller.identify().unwrap();
    }
    assert!(infos.contains(&AsyncErrorInfo::INVALID_DOORBELL_REGISTER), "{infos:?}");
    println!("events: {infos:?}");
}
