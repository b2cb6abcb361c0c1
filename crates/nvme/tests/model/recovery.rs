//! Reset, removal and faults at every place of a short job.

use std::sync::Arc;

use p2pdma_devices::nvme::{MediaTiming, ServiceTime};
use p2pdma_fabric::{Fault, FaultKind, PayloadClass, Reset, Site, Timing, TimingModel};
use p2pdma_nvme::{Controller, Data, Error, Options, QueueOptions, QueuePair, Recovery};
use p2pdma_pci::{Bdf, Clock as _, DmaBuffer, Duration, Instant};

use crate::support::{Bench, Plan, SECOND, Stage, pattern, plain};

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

/// A short job: opening, a write and a read with lists, and the end; with interrupts. Says at last whether the
/// data are right that were reported good.
fn job(stage: &Stage) -> Result<bool, Error> {
    let controller = Controller::open(stage.function("nvme0"), short())?;
    let namespace = controller.namespace(1)?;
    let options = QueueOptions { vector: Some(1), ..QueueOptions::entries(4) };
    let mut queue = controller.queue_pair(&options)?;
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
        buffer.memory().fill(0, 12_288, 0)?;
    }
    let mut back = vec![0; 12_288];
    let read = namespace.read(5, 3)?;
    queue.submit(&read, Data::from(&*buffer), Arc::clone(&buffer))?;
    let completion = queue.wait(SECOND)?;
    completion.map(|completion| completion.outcome).unwrap_or(Ok(0))?;
    buffer.memory().read(0, &mut back)?;
    Ok(back == data)
}

/// Faults that somebody notices: wherever they strike, data that are reported good are.
const NOTICED: [FaultKind; 11] = [
    FaultKind::UnsupportedRequest,
    FaultKind::CompleterAbort,
    FaultKind::CompletionTimeout,
    FaultKind::Delay(Duration::from_millis(3)),
    FaultKind::Duplicate,
    FaultKind::LinkDown,
    FaultKind::Unplug,
    FaultKind::Reset(Reset::FunctionLevel),
    FaultKind::Reset(Reset::Hot),
    FaultKind::Reset(Reset::Cold),
    FaultKind::PowerCut,
];

/// What a bus loses or changes without a word. Of data it is for end-to-end protection to find; of queue
/// entries, which say how a command ended, the driver finds it.
const SILENT: [FaultKind; 9] = [
    FaultKind::Drop,
    FaultKind::Poison,
    FaultKind::FlipBit(3),
    FaultKind::FlipBit(96),
    FaultKind::FlipBit(112),
    FaultKind::FlipBit(119),
    FaultKind::Misdirect(4096),
    FaultKind::Misdirect(-16),
    FaultKind::Tear(7),
];

/// One SSD in a machine where links, memory and media take time, so that there are events between a command's
/// fetch, its data and its completion.
fn timed() -> Stage {
    let micros = Duration::from_micros;
    let service = |latency| ServiceTime { latency, bytes_per_second: 4_000_000_000 };
    let timing = MediaTiming { read: service(micros(5)), write: service(micros(8)), units: 2 };
    let mut config = plain();
    config.subsystem.timing = Some(timing);
    let timing = Timing::Modelled(TimingModel::default());
    Stage::new(Plan { timing, ..Plan::default() }, vec![config])
}

/// What became of jobs.
#[derive(Debug, Default)]
struct Tally {
    right: u64,
    wrong: u64,
    errors: u64,
    longest: Duration,
}

impl Tally {
    /// One fault at every occurrence of a site in turn, where nothing takes time, and where all does. Data that are
    /// wrong though they were reported good may only be `excused`.
    fn strike(&mut self, site: impl Fn(Bdf) -> Site, kind: FaultKind, excused: bool) {
        self.strike_on(|| Stage::one(plain()), &site, kind, excused);
        self.strike_on(timed, &site, kind, excused);
    }

    fn strike_on(
        &mut self,
        stage: fn() -> Stage,
        site: impl Fn(Bdf) -> Site,
        kind: FaultKind,
        excused: bool,
    ) {
        for index in 0.. {
            let stage = stage();
            let site = site(stage.fabric.find("nvme0").unwrap());
            stage.fabric.inject(Fault { site, index, kind });
            let result = job(&stage);
            if stage.fabric.faults()[0].fired.is_none() {
                assert_eq!(result.ok(), Some(true));
                assert!(index > 2, "{site:?} occurs {index} times");
                return;
            }
            match result {
                Ok(true) => self.right += 1,
                Ok(false) => {
                    assert!(excused, "{kind:?} at {site:?} {index}: wrong data reported good");
                    self.wrong += 1;
                }
                Err(_) => self.errors += 1,
            }
            self.longest = self.longest.max(stage.fabric.clock().now().since(Instant::ZERO));
        }
    }

    /// What it came to, in words; after checking that it came to anything.
    fn report(&self) -> String {
        let Self { right, wrong, errors, longest } = self;
        assert!(*longest < Duration::from_millis(120_000));
        assert!(right + errors > 30);
        format!(
            "{right} jobs right, {errors} errors, {wrong} silently wrong; the longest {longest} of \
             virtual time"
        )
    }
}

/// Every kind of fault at every read, every write and every interrupt that the controller sends, and at every
/// event: an error with a name or the right data, in bounded time. Only where data themselves are changed on
/// their way without anybody's knowing may they be wrong.
#[test]
fn a_fault_at_every_place() {
    let (control, data) = (Some(PayloadClass::Control), Some(PayloadClass::Data));
    let mut reads = Tally::default();
    let mut writes = Tally::default();
    let mut interrupts = Tally::default();
    let mut events = Tally::default();
    for kind in NOTICED.into_iter().chain([FaultKind::Drop, FaultKind::Poison]) {
        reads.strike(|bdf| Site::Read(bdf, None), kind, false);
    }
    for kind in NOTICED {
        writes.strike(|bdf| Site::Write(bdf, None), kind, false);
        events.strike(Site::Event, kind, false);
    }
    for kind in NOTICED.into_iter().chain([FaultKind::Drop]) {
        interrupts.strike(Site::Interrupt, kind, false);
    }
    let mut silent = Tally::default();
    for kind in SILENT {
        // A completion that lands elsewhere may land in data.
        let elsewhere = matches!(kind, FaultKind::Misdirect(_));
        writes.strike(|bdf| Site::Write(bdf, control), kind, elsewhere);
        silent.strike(|bdf| Site::Write(bdf, data), kind, true);
    }
    println!("faults of reads: {}", reads.report());
    println!("faults of writes: {}", writes.report());
    println!("faults of interrupts: {}", interrupts.report());
    println!("faults at events: {}", events.report());
    println!("data changed without a word: {}", silent.report());
    assert!(silent.wrong > 0, "nothing was changed at all");
}
