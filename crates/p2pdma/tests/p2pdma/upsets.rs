//! Resets, removals and power cuts at every single event of a short job: it ends in time, with success
//! or a typed error, the source keeps every byte, and what was flushed is there.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use p2pdma::fabric::{
    Builder, Endpoint, Fabric, Fault, FaultKind, FunctionConfig, HostBridgeConfig, PortConfig,
    Reset, Site, Timing, TimingModel,
};
use p2pdma::topology::{CpuVendor, Host, Link, LinkStatus, MemoryKind, Topology};
use p2pdma::{
    Attachment, Bdf, Capabilities, Client, Clock, Done, Durable, Duration, End, Ends, Error,
    FabricPlatform, Failed, HostClient, Instant, Job, Op, Parts, PeerMemory, Platform, Policy,
    Portion, Provider, ProviderId, Ticket, Traffic, Wish, run, verify,
};
use p2pdma_devices::nvme::{
    CacheConfig, CmbConfig, ControllerConfig, MediaTiming, NamespaceConfig, NvmeConfig,
    NvmeController, ServiceTime, SubsystemConfig,
};
use p2pdma_spec::pci::express::{LinkSpeed, LinkWidth};

use crate::support::{GO_ON, bytes, client, has_pattern, job, plan, transfer, write_pattern};

const SIZE: u64 = 256 << 10;
const LEN: u64 = 64 << 10;

/// What takes time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    /// Nothing: a whole batch of commands is one event.
    Ideal,
    /// Links, memory and media, so that there are events between a command's fetch, its data and its completion.
    Timed,
}

const PACES: [Pace; 2] = [Pace::Ideal, Pace::Timed];

/// Each of these at each pace.
fn at_each_pace<T: Copy, const N: usize>(these: [T; N]) -> impl Iterator<Item = (Pace, T)> {
    PACES.into_iter().flat_map(move |pace| these.map(|it| (pace, it)))
}

/// Two SSDs with volatile write caches below one switch; the first has a buffer.
fn machine(pace: Pace, seed: u64) -> Fabric {
    machine_of(&["nvme0", "nvme1"], pace, seed)
}

/// SSDs below one switch, as [`ssd`] makes them.
fn machine_of(names: &[&str], pace: Pace, seed: u64) -> Fabric {
    let mut builder = Builder::new(Host::new(CpuVendor::Intel, 6), 64 << 20);
    if pace == Pace::Timed {
        builder.timing(Timing::Modelled(TimingModel::default()));
    }
    let port = |name: &str| PortConfig { name: name.to_owned(), link: link(), acs: None };
    let bridge = builder.host_bridge(HostBridgeConfig::default());
    let root = builder.root_port(bridge, port("rp0")).unwrap();
    let ports = builder.switch(root, "sw0", ["sw0.0", "sw0.1", "sw0.2"].map(port).into()).unwrap();
    for (port, name) in ports.into_iter().zip(names) {
        let (config, model) = ssd(name, pace, seed);
        builder.endpoint(port, config, model);
    }
    builder.build().unwrap()
}

fn link() -> LinkStatus {
    let link = Link { speed: LinkSpeed::GEN4, width: LinkWidth::X4 };
    LinkStatus { current: Some(link), max: link }
}

/// An SSD with a volatile write cache; one that is not `nvme1` has a buffer.
fn ssd(name: &str, pace: Pace, seed: u64) -> (FunctionConfig, Box<dyn Endpoint>) {
    let service = |micros| ServiceTime {
        latency: Duration::from_micros(micros),
        bytes_per_second: 4_000_000_000,
    };
    let timing = MediaTiming { read: service(5), write: service(8), units: 2 };
    let timing = (pace == Pace::Timed).then_some(timing);
    let namespace = NamespaceConfig {
        blocks: SIZE / 4096,
        cache: Some(CacheConfig { len: SIZE, seed }),
        ..NamespaceConfig::default()
    };
    let cmb = (name != "nvme1").then(|| CmbConfig { len: 1 << 20, ..CmbConfig::default() });
    let config = NvmeConfig {
        subsystem: SubsystemConfig { namespaces: vec![namespace], timing, ..Default::default() },
        controller: ControllerConfig { cmb, ..Default::default() },
    };
    let model: Box<dyn Endpoint> = Box::new(NvmeController::new(config).unwrap());
    (FunctionConfig { name: name.to_owned(), number: 0, link: link(), acs: None }, model)
}

/// The job: a quarter of the first namespace to the middle of the second, flushed.
fn short_job() -> Job {
    Job { block: 16 << 10, depth: 2, ..job(0, LEN, LEN) }
}

/// Runs the job with a fault at event `index`. Whether it fired; whether the job ended well.
fn strike(fabric: &Fabric, victim: &str, index: u64, kind: FaultKind) -> (bool, bool) {
    let platform = FabricPlatform::over(fabric.clone());
    let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
    let victim = fabric.find(victim).unwrap();
    fabric.inject(Fault { site: Site::Event(victim), index, kind });
    let begin = platform.clock().now();
    let moved = transfer(&platform, &mut *source, &mut *sink, short_job(), Policy::Require);
    let good = moved.is_ok() && sink.flush().is_ok();
    drop((source, sink, platform));
    let took = p2pdma::Clock::now(&fabric.clock()).since(begin);
    assert!(took < Duration::from_millis(120_000), "event {index}: {took}");
    (fabric.faults().iter().all(|fault| fault.fired.is_some()), good)
}

/// The machine with a pattern on each namespace, durable.
fn prepared(pace: Pace, seed: u64) -> Fabric {
    with_patterns(machine(pace, seed))
}

fn with_patterns(fabric: Fabric) -> Fabric {
    let platform = FabricPlatform::over(fabric.clone());
    for (name, seed) in [("nvme0", 10), ("nvme1", 11)] {
        write_pattern(&platform, name, seed, SIZE);
        client(&platform, name).flush().unwrap();
    }
    fabric
}

#[test]
fn resets_at_every_event_end_in_success_or_a_typed_error() {
    let mut struck = 0;
    let kinds = [FaultKind::Reset(Reset::FunctionLevel), FaultKind::Reset(Reset::Hot)];
    for (pace, kind) in at_each_pace(kinds) {
        for victim in ["nvme0", "nvme1"] {
            for index in 0.. {
                let fabric = prepared(pace, 1);
                let (fired, good) = strike(&fabric, victim, index, kind);
                if !fired {
                    assert!(good, "without a fault all is well");
                    break;
                }
                struck += 1;
                // The BARs must be assigned again.
                fabric.power_cut();
                fabric.enumerate().unwrap();
                let platform = FabricPlatform::over(fabric.clone());
                assert!(has_pattern(&platform, "nvme0", 10, SIZE), "event {index}");
                outside_is_untouched(&platform, index);
            }
        }
    }
    println!("{struck} resets, one at every event of the job");
    assert!(struck > 60);
}

/// The job through the memory of a third SSD, which is reset at event `index`: whether it was, and how the job ended.
fn strike_lender(fabric: &Fabric, index: u64, kind: Reset) -> (bool, Result<(), Failed>) {
    let platform = FabricPlatform::over(fabric.clone());
    let lender = fabric.find("nvme2").unwrap();
    let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
    let job = Job { block: 4096, ..short_job() };
    let via = Some(ProviderId { bdf: lender, kind: MemoryKind::Cmb });
    let wish = Wish { via, ..wish(&*source, &*sink, job.block) };
    let (plan, memory) = plan(&platform, wish, &job).unwrap();
    fabric.inject(Fault { site: Site::Event(lender), index, kind: FaultKind::Reset(kind) });
    let ends = Ends { source: Some(&mut *source), sink: Some(&mut *sink) };
    let moved = run(&platform, plan, ends, &memory, job, &mut |_| ControlFlow::Continue(()));
    (fabric.faults().iter().all(|fault| fault.fired.is_some()), moved.map(drop))
}

/// A lender that is reset behind the back of its driver loses what was on its way, and no status says so.
#[test]
fn a_reset_of_a_lender_at_every_event_is_noticed() {
    let (mut struck, mut silent, mut late) = (0, 0, 0);
    let kinds = [Reset::FunctionLevel, Reset::Hot];
    for (pace, kind) in at_each_pace(kinds) {
        for index in 0.. {
            let fabric = with_patterns(machine_of(&["nvme0", "nvme1", "nvme2"], pace, 14));
            let lender = fabric.find("nvme2").unwrap();
            let (fired, moved) = strike_lender(&fabric, index, kind);
            if !fired {
                moved.unwrap();
                break;
            }
            struck += 1;
            let failed = match moved {
                Err(failed) => failed,
                // While the answer to the last look at the lender is on its way, all has arrived, and nobody
                // looks again. Only where that takes time is there such a while.
                Ok(()) => {
                    assert_eq!(pace, Pace::Timed, "event {index}: not to be relied on");
                    assert_eq!(old_or_new(&FabricPlatform::over(fabric)), LEN / 4096);
                    late += 1;
                    continue;
                }
            };
            let (Error::Reset { provider } | Error::Revoked { provider }) = failed.error else {
                panic!("event {index}: {failed:?}");
            };
            assert_eq!(provider, lender);
            silent += u64::from(failed.moved == LEN);
        }
    }
    println!(
        "{struck} resets of a lender; in {silent} of them every operation had succeeded, {late} came after all"
    );
    assert!(struck > 40 && silent > 3 && late <= kinds.len(), "{struck} {silent} {late}");
}

#[test]
fn removal_at_every_event_ends_in_success_or_a_typed_error() {
    let mut struck = 0;
    let kinds = [FaultKind::Unplug, FaultKind::LinkDown];
    for (pace, kind) in at_each_pace(kinds) {
        for victim in ["nvme0", "nvme1"] {
            for index in 0.. {
                let fabric = prepared(pace, 2);
                let (fired, good) = strike(&fabric, victim, index, kind);
                if !fired {
                    assert!(good);
                    break;
                }
                struck += 1;
                let survivor = if victim == "nvme0" { "nvme1" } else { "nvme0" };
                let platform = FabricPlatform::over(fabric);
                let seed = if survivor == "nvme0" { 10 } else { 11 };
                assert!(has_pattern(&platform, survivor, seed, LEN), "event {index}: {survivor}");
                if survivor == "nvme1" {
                    outside_is_untouched(&platform, index);
                }
            }
        }
    }
    println!("{struck} removals, one at every event of the job");
    assert!(struck > 60);
}

#[test]
fn a_power_cut_at_every_event_keeps_what_was_flushed() {
    let (mut cuts, mut kept) = (0, 0);
    for (pace, seed) in at_each_pace([3, 4, 5]) {
        for index in 0.. {
            let fabric = prepared(pace, seed);
            let (fired, good) = strike(&fabric, "nvme1", index, FaultKind::PowerCut);
            if !fired {
                break;
            }
            cuts += 1;
            fabric.enumerate().unwrap();
            let platform = FabricPlatform::over(fabric.clone());
            assert!(has_pattern(&platform, "nvme0", 10, SIZE), "the source, event {index}");
            assert!(has_pattern(&platform, "nvme1", 11, LEN), "flushed before, event {index}");
            let blocks = old_or_new(&platform);
            assert!(!good || blocks == LEN / 4096, "acknowledged after a flush, event {index}");
            kept += blocks;
        }
    }
    println!(
        "{cuts} power cuts, one at every event of the job with each of 3 seeds; {kept} new blocks kept"
    );
    assert!(cuts > 60);
}

/// The job with a flush after every other block, in two parts with a gap that nobody writes, and power cut at
/// event `index`: up to where it said that all is durable.
fn told_durable(fabric: &Fabric, index: u64) -> u64 {
    let platform = FabricPlatform::over(fabric.clone());
    let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
    let victim = fabric.find("nvme1").unwrap();
    fabric.inject(Fault { site: Site::Event(victim), index, kind: FaultKind::PowerCut });
    let job = Job { block: 4096, ..short_job() };
    let wish = wish(&*source, &*sink, job.block);
    let Ok((plan, memory)) = plan(&platform, wish, &job) else { return 0 };
    let ends = Ends { source: Some(&mut *source), sink: Some(&mut *sink) };
    let parts = Some(Parts::new([0..GAP.start, GAP.end..LEN]));
    let mut told = 0;
    let mut tell = |durable| {
        assert!(durable >= told, "{durable} after {told}");
        told = durable;
        Ok(())
    };
    let durable = Some(Durable { every: 8192, tell: &mut tell });
    let portion = Portion { job, parts, durable };
    let go_on = &mut |_| ControlFlow::Continue(());
    let report = run(&platform, plan, ends, &memory, portion, go_on);
    assert!(report.is_err() || told == LEN, "all is durable at the end");
    told
}

/// A client whose flush fails once, and then says that all is well.
struct FlushFails {
    client: Box<dyn Client>,
    before: u32,
}

impl Client for FlushFails {
    fn bdf(&self) -> Option<Bdf> {
        self.client.bdf()
    }

    fn capabilities(&self) -> Capabilities {
        self.client.capabilities()
    }

    fn attach(&mut self, memory: &Arc<PeerMemory>) -> Result<Attachment, Error> {
        self.client.attach(memory)
    }

    fn submit(
        &mut self,
        op: Op,
        memory: &Attachment,
        range: std::ops::Range<u64>,
        ticket: Ticket,
    ) -> Result<(), Error> {
        self.client.submit(op, memory, range, ticket)
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        self.client.poll(done)
    }

    fn flush(&mut self) -> Result<(), Error> {
        match self.before.checked_sub(1) {
            Some(before) => {
                self.before = before;
                self.client.flush()
            }
            None => {
                self.before = u32::MAX;
                let kind = std::io::ErrorKind::Other;
                Err(Error::File { name: "sink".to_owned(), reason: "lost".to_owned(), kind })
            }
        }
    }
}

#[test]
fn after_a_flush_that_failed_nothing_more_is_told_to_be_durable() {
    for before in 0..4 {
        let platform = FabricPlatform::over(prepared(Pace::Ideal, 8));
        let mut source = client(&platform, "nvme0");
        let mut sink = FlushFails { client: client(&platform, "nvme1"), before };
        let job = Job { block: 4096, ..short_job() };
        let (plan, memory) = plan(&platform, wish(&*source, &sink, job.block), &job).unwrap();
        let ends = Ends { source: Some(&mut *source), sink: Some(&mut sink) };
        let mut told = Vec::new();
        let mut tell = |durable| {
            told.push(durable);
            Ok(())
        };
        let durable = Some(Durable { every: 8192, tell: &mut tell });
        let portion = Portion { job, parts: None, durable };
        let go_on = &mut |_| ControlFlow::Continue(());
        let failed = run(&platform, plan, ends, &memory, portion, go_on).unwrap_err();
        assert!(matches!(failed.error, Error::File { .. }), "{failed:?}");
        assert_eq!(told.len(), before as usize, "{told:?}");
        assert!(told.iter().all(|told| *told <= failed.complete), "{told:?} {failed:?}");
    }
}

fn wish(source: &dyn Client, sink: &dyn Client, block: u64) -> Wish {
    let end = |client: &dyn Client| End::Client(client.bdf().unwrap());
    let (source, sink) = (end(source), end(sink));
    Wish { source, sink, via: None, block, policy: Policy::Require, barrier: None }
}

const GAP: std::ops::Range<u64> = 8192..16384;

#[test]
fn what_was_told_to_be_durable_survives_a_power_cut_at_every_event() {
    let (mut cuts, mut promised) = (0, 0);
    for pace in PACES {
        for index in 0.. {
            let fabric = prepared(pace, 7);
            let told = told_durable(&fabric, index);
            let fired = fabric.faults().iter().all(|fault| fault.fired.is_some());
            if !fired {
                assert_eq!(told, LEN);
                break;
            }
            cuts += 1;
            promised += u64::from(told > 0 && told < LEN);
            fabric.enumerate().unwrap();
            let platform = FabricPlatform::over(fabric.clone());
            let mut sink = client(&platform, "nvme1");
            for at in (0..told).step_by(4096) {
                let there = bytes(&platform, &mut *sink, LEN + at, 4096);
                let (seed, from) = if GAP.contains(&at) { (11, LEN + at) } else { (10, at) };
                let right = bytes(&platform, &mut HostClient::pattern(seed), from, 4096);
                assert!(there == right, "event {index}, {told} durable, the block at {at}");
            }
        }
    }
    println!("{cuts} power cuts, {promised} of them after a part was said to be durable");
    assert!(cuts > 40 && promised > 20, "{cuts} {promised}");
}

/// How many blocks of the sink's range have the new data; all others have the old.
fn old_or_new(platform: &FabricPlatform) -> u64 {
    let mut sink = client(platform, "nvme1");
    let pattern = |seed, at| bytes(platform, &mut HostClient::pattern(seed), at, 4096);
    let mut new = 0;
    for block in 0..LEN / 4096 {
        let there = bytes(platform, &mut *sink, LEN + block * 4096, 4096);
        let old = there == pattern(11, LEN + block * 4096);
        let copied = there == pattern(10, block * 4096);
        assert!(old != copied, "block {block} is torn");
        new += u64::from(copied);
    }
    new
}

/// What the job was not about has kept its bytes.
fn outside_is_untouched(platform: &FabricPlatform, index: u64) {
    let mut sink = client(platform, "nvme1");
    let there = bytes(platform, &mut *sink, 0, SIZE);
    let was = bytes(platform, &mut HostClient::pattern(11), 0, SIZE);
    let (start, end) = (LEN as usize, 2 * LEN as usize);
    assert!(there[..start] == was[..start] && there[end..] == was[end..], "event {index}");
}

/// The platform of a fabric to which something happens at one turn of a wait.
struct Upset<'a> {
    platform: &'a FabricPlatform,
    clock: UpsetClock<'a>,
    /// Whom it knows at the end to be asked back.
    recalled: Option<Bdf>,
}

struct UpsetClock<'a> {
    clock: &'a dyn Clock,
    turns: AtomicU64,
    at: u64,
    what: &'a (dyn Fn() + Sync),
}

impl Clock for UpsetClock<'_> {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn relax(&self) {
        if self.turns.fetch_add(1, Relaxed) == self.at {
            (self.what)();
        }
        self.clock.relax();
    }
}

impl Platform for Upset<'_> {
    fn topology(&self) -> Result<Arc<Topology>, Error> {
        self.platform.topology()
    }

    fn find(&self, name: &str) -> Option<Bdf> {
        self.platform.find(name)
    }

    fn providers(&self) -> Result<Vec<Arc<dyn Provider>>, Error> {
        self.platform.providers()
    }

    fn host_memory(&self) -> Result<Arc<dyn Provider>, Error> {
        self.platform.host_memory()
    }

    fn namespace(&self, at: Bdf, namespace: u32) -> Result<Box<dyn Client>, Error> {
        self.platform.namespace(at, namespace)
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn is_modelled(&self) -> bool {
        self.platform.is_modelled()
    }

    fn traffic(&self) -> Option<Traffic> {
        self.platform.traffic()
    }

    fn check(&self) -> Result<(), Error> {
        self.recalled.map_or(Ok(()), |bdf| Err(Error::Recalled { bdf }))
    }
}

/// What no status tells is asked for at the end, of whoever moved the bytes and of whoever compared them.
#[test]
fn what_the_platform_knows_at_the_end_fails_a_transfer_and_its_verification() {
    let platform = FabricPlatform::over(prepared(Pace::Ideal, 9));
    let clock =
        UpsetClock { clock: platform.clock(), turns: AtomicU64::new(0), at: 0, what: &|| {} };
    let mut upset = Upset { platform: &platform, clock, recalled: None };
    let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
    let job = short_job();
    for recalled in [None, sink.bdf()] {
        upset.recalled = recalled;
        let (plan, memory) = plan(&platform, wish(&*source, &*sink, job.block), &job).unwrap();
        let ends = Ends { source: Some(&mut *source), sink: Some(&mut *sink) };
        let moved = run(&upset, plan, ends, &memory, job, &mut |_| ControlFlow::Continue(()));
        let verified = verify(&upset, &mut *source, &mut *sink, job, GO_ON);
        match recalled {
            None => assert!(moved.is_ok() && matches!(verified, Ok(None))),
            Some(_) => {
                assert!(matches!(moved.unwrap_err().error, Error::Recalled { .. }));
                assert!(matches!(verified, Err(Error::Recalled { .. })));
            }
        }
    }
}

/// A controller that is gone gives no proof that it has stopped: what its last commands name is lent to nobody any more.
#[test]
fn memory_of_a_client_that_cannot_be_fenced_is_not_lent_again() {
    for pulled in [false, true] {
        let fabric = prepared(Pace::Ideal, 10);
        let platform = FabricPlatform::over(fabric.clone());
        let source = platform.find("nvme0");
        let lender = platform.providers().unwrap().into_iter().find(|pool| pool.bdf() == source);
        let lender = lender.unwrap();
        let before = lender.capacity();
        let mut sink = client(&platform, "nvme1");
        let memory = Arc::new(lender.alloc(4096).unwrap());
        let attachment = sink.attach(&memory).unwrap();
        sink.submit(Op::Drain { to: 0, len: 4096 }, &attachment, 0..4096, Ticket(0)).unwrap();
        if pulled {
            fabric.remove(sink.bdf().unwrap()).unwrap();
        }
        drop((attachment, memory));
        assert!(lender.capacity() < before, "the client keeps it");
        drop(sink);
        assert_eq!(lender.capacity() < before, pulled);
    }
}

/// A flush needs room in the queue as any command does, and loses none that ends meanwhile.
#[test]
fn a_client_with_a_full_queue_can_be_flushed() {
    let platform = FabricPlatform::over(prepared(Pace::Ideal, 11));
    let mut sink = client(&platform, "nvme1");
    let memory = Arc::new(platform.host_memory().unwrap().alloc(4096).unwrap());
    let attachment = sink.attach(&memory).unwrap();
    let depth = u32::try_from(sink.capabilities().depth).unwrap();
    for ticket in 0..depth {
        let to = u64::from(ticket) * 4096 % SIZE;
        sink.submit(Op::Drain { to, len: 4096 }, &attachment, 0..4096, Ticket(ticket)).unwrap();
    }
    let one_more = sink.submit(Op::Drain { to: 0, len: 4096 }, &attachment, 0..4096, Ticket(depth));
    assert!(matches!(one_more, Err(Error::Busy)), "{one_more:?}");
    sink.flush().unwrap();
    let mut done = Vec::new();
    while done.len() < depth as usize {
        sink.poll(&mut done).unwrap();
        platform.clock().relax();
    }
    let mut tickets: Vec<u32> = done.iter().map(|done| done.ticket.0).collect();
    tickets.sort_unstable();
    assert!(done.iter().all(|done| done.result.is_ok()) && tickets.into_iter().eq(0..depth));
}

/// A third SSD is plugged in at any turn of the job, which is not disturbed; then it takes the place of
/// the one that lent the memory, and the platform has views of the new one.
#[test]
fn insertion_at_every_turn_disturbs_nothing() {
    let job = Job { block: 4096, depth: 1, ..short_job() };
    let mut inserted = 0;
    for at in 0.. {
        let fabric = prepared(Pace::Ideal, 7);
        let platform = FabricPlatform::over(fabric.clone());
        let (mut source, mut sink) = (client(&platform, "nvme0"), client(&platform, "nvme1"));
        let plug = |port: &str, name: &str| {
            let (config, model) = ssd(name, Pace::Ideal, 8);
            fabric.insert(port, vec![(config, model)]).unwrap();
        };
        let what = || plug("sw0.2", "nvme2");
        let (clock, turns) = (platform.clock(), AtomicU64::new(0));
        let clock = UpsetClock { clock, turns, at, what: &what };
        let upset = Upset { platform: &platform, clock, recalled: None };
        let (from, to) = (source.bdf().unwrap(), sink.bdf().unwrap());
        let wish = Wish {
            source: End::Client(from),
            sink: End::Client(to),
            via: None,
            block: job.block,
            policy: Policy::Require,
            barrier: None,
        };
        let (plan, memory) = plan(&platform, wish, &job).unwrap();
        let ends = Ends { source: Some(&mut *source), sink: Some(&mut *sink) };
        let go_on = &mut |_| ControlFlow::Continue(());
        let report = run(&upset, plan, ends, &memory, job, go_on).unwrap();
        assert_eq!(report.bytes, LEN);
        assert!(verify(&platform, &mut *source, &mut *sink, job, GO_ON).unwrap().is_none());
        outside_is_untouched(&platform, at);
        if upset.clock.turns.load(Relaxed) <= at {
            break;
        }
        inserted += 1;
        write_pattern(&platform, "nvme2", 9, SIZE);
        // Another SSD in the place of the first: nothing of that one is left.
        drop((source, memory));
        fabric.remove(from).unwrap();
        plug("sw0.0", "other");
        assert_eq!(platform.find("other"), Some(from));
        assert!(!has_pattern(&platform, "other", 10, SIZE));
        write_pattern(&platform, "other", 12, SIZE);
        let mut other = client(&platform, "other");
        transfer(&platform, &mut *other, &mut *sink, job, Policy::Require).unwrap();
        assert!(verify(&platform, &mut *other, &mut *sink, job, GO_ON).unwrap().is_none());
    }
    println!("{inserted} insertions, one at every turn of the job");
    // A turn for each block, which is filled while the one before is drained, and the last one's drain.
    assert!(inserted > LEN / job.block);
}
