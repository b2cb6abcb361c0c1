//! Controllers that break every rule: each session ends in success or a typed error, in bounded time.

use std::collections::BTreeMap;
use std::sync::Arc;

use p2pdma_nvme::{
    Cause, Command, Completion, Controller, Data, Error, Options, Placement, QueueOptions,
    QueuePair, Recovery, Violation,
};
use p2pdma_pci::{Clock as _, DmaBuffer, Duration};
use p2pdma_spec::nvme::admin::{AdminOpcode, FormatNvmCdw10, LogPageRequest, Select};
use p2pdma_spec::nvme::cmb::Cmbloc;
use p2pdma_spec::nvme::feature::FeatureId;
use p2pdma_spec::nvme::log::LogPageId;
use p2pdma_spec::nvme::namespace::NamespaceCreation;
use p2pdma_spec::nvme::pmr::Pmrsts;
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::registers::{Cap, Csts};
use p2pdma_spec::nvme::status::Status;

use crate::support::controller::{Facade, FakeController};
use crate::support::mischief::{DEEDS, Deed, Mischief};
use crate::support::platform::Machine;
use crate::support::random::Random;

const LIMIT: Duration = Duration::from_millis(200);
/// A turn of a polling loop takes no longer.
const TURN: Duration = Duration::from_millis(20);
/// How long a session waits for a completion at most.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

fn short() -> Options {
    Options {
        io_queues: 4,
        max_transfer: 64 << 10,
        admin_timeout: Duration::from_millis(1000),
        format_timeout: Duration::from_millis(2000),
        abort_timeout: Duration::from_millis(100),
        shutdown_timeout: Duration::from_millis(500),
        ready_timeout: Duration::from_millis(5000),
        ..Options::default()
    }
}

/// A controller that is honest until it is told otherwise, and a queue with one read in flight.
fn one_read(deed: Deed) -> (Machine, Controller, QueuePair<DmaBuffer>) {
    let machine = Machine::new(Box::default(), 4 << 20);
    let controller = Controller::open(Arc::new(machine.clone()), short()).unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue_pair(&QueueOptions::entries(8)).unwrap();
    let read = namespace.read(0, 1).unwrap();
    // A good one first: from then on completions are looked at in the short way.
    let buffer = controller.alloc_dma(512).unwrap();
    queue.submit(&read, Data::from(&buffer), buffer).unwrap();
    assert_eq!(outcome(&mut queue).unwrap(), Ok(0));
    machine.device(|device| device.mischief = Mischief::always(deed, 0));
    let buffer = controller.alloc_dma(512).unwrap();
    queue.submit(&read, Data::from(&buffer), buffer).unwrap();
    queue.ring().unwrap();
    machine.work();
    (machine, controller, queue)
}

/// The next completion, or why there is none.
type Outcome = Result<Result<u64, Cause>, Error>;

fn outcome(queue: &mut QueuePair<DmaBuffer>) -> Outcome {
    let completion: Completion<DmaBuffer> = queue.wait(LIMIT)?.unwrap();
    Ok(completion.outcome.map_err(|failure| failure.cause))
}

fn violation(outcome: &Outcome) -> Violation {
    match outcome {
        Err(Error::Broken { violation, .. }) => *violation,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_deed_has_its_name() {
    let first = |deed| outcome(&mut one_read(deed).2);
    let unknown = violation(&first(Deed::WrongCommand));
    assert!(matches!(unknown, Violation::UnknownCommand { .. }), "{unknown}");
    let wrong = violation(&first(Deed::WrongQueue));
    assert!(matches!(wrong, Violation::WrongQueue { .. }), "{wrong}");
    let beyond = violation(&first(Deed::HeadOutOfRange));
    assert!(matches!(beyond, Violation::HeadOutOfRange { entries: 8, .. }), "{beyond}");
    assert!(matches!(first(Deed::WrongPhase), Err(Error::Timeout { in_flight: 1, .. })));
    assert!(matches!(first(Deed::Lost), Err(Error::Timeout { .. })));
    assert!(matches!(first(Deed::Fatal), Err(Error::Failed { .. })));
    assert!(matches!(first(Deed::Unready), Err(Error::Failed { .. })));
    assert!(matches!(first(Deed::Gone), Err(Error::Gone { .. })));
    assert!(matches!(first(Deed::Status), Ok(Err(Cause::Status(_)))));
    for harmless in [Deed::Honest, Deed::Late, Deed::WrongHead, Deed::EventStorm] {
        assert!(matches!(first(harmless), Ok(Ok(_))), "{harmless:?}");
    }
    let (_, _, mut queue) = one_read(Deed::Duplicate);
    assert!(matches!(outcome(&mut queue), Ok(Ok(0))));
    let again = violation(&queue.poll().map(|_| Ok(0)));
    assert!(matches!(again, Violation::Duplicate { .. }), "{again}");
    let (_, _, mut queue) = one_read(Deed::Flood);
    let flood = (0..8).find_map(|_| outcome(&mut queue).err()).unwrap();
    assert!(matches!(flood, Error::Broken { .. }), "{flood}");
}

/// A broken queue gives nothing more, takes nothing more, and comes back when it is recovered.
#[test]
fn a_broken_queue_stays_so_until_it_is_recovered() {
    for deed in [Deed::WrongCommand, Deed::WrongQueue, Deed::HeadOutOfRange, Deed::Garbage] {
        let (machine, controller, mut queue) = one_read(deed);
        violation(&outcome(&mut queue));
        violation(&outcome(&mut queue));
        machine.device(|device| device.mischief = Mischief::none());
        let buffer = controller.alloc_dma(512).unwrap();
        let read = controller.namespace(1).unwrap().read(0, 1).unwrap();
        let rejected = queue.submit(&read, Data::from(&buffer), buffer).unwrap_err();
        assert!(matches!(rejected.error, Error::Broken { .. }));
        let recovery = queue.recover().unwrap();
        assert_eq!(recovery, Recovery::Recreated);
        assert_eq!(outcome(&mut queue).unwrap(), Err(Cause::Lost));
        queue.submit(&read, Data::from(&rejected.token), rejected.token).unwrap();
        assert_eq!(outcome(&mut queue).unwrap(), Ok(0));
    }
}

/// A completion before the doorbell: the identifier is right, and still it cannot be.
#[test]
fn a_completion_before_the_doorbell_is_noticed() {
    let (machine, controller, mut queue) = one_read(Deed::Honest);
    assert_eq!(outcome(&mut queue).unwrap(), Ok(0));
    let buffer = controller.alloc_dma(512).unwrap();
    let read = controller.namespace(1).unwrap().read(0, 1).unwrap();
    let id = queue.submit(&read, Data::from(&buffer), buffer).unwrap();
    machine.device(|device| device.forge_completion(1, id.0));
    machine.work();
    let early = violation(&queue.poll().map(|_| Ok(0)));
    assert_eq!(early, Violation::NotSubmitted { cid: id.0 });
}

/// A device's word for a command identifier is looked up, never trusted: of those that it could say one is in
/// flight, and any other breaks the queue, whether it is a slot's, a command's of before or beyond all slots.
#[test]
fn a_command_identifier_from_the_device_is_not_trusted() {
    let mut refused = 0;
    let edges = [0xFF, 0x100, 0x101, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF];
    for forged in (0..40_u16).chain(edges) {
        let (machine, controller, mut queue) = one_read(Deed::Lost);
        machine.device(|device| device.mischief = Mischief::none());
        machine.device(|device| device.forge_completion(1, forged));
        machine.work();
        let outcome = outcome(&mut queue);
        if outcome == Ok(Ok(0)) {
            // The one of the read.
            continue;
        }
        let violation = violation(&outcome);
        assert!(
            matches!(violation, Violation::UnknownCommand { cid, .. } if cid == forged)
                || matches!(violation, Violation::NotSubmitted { cid } if cid == forged)
                || matches!(violation, Violation::Duplicate { cid } if cid == forged),
            "{forged}: {violation}"
        );
        assert_eq!((machine.strays(), machine.broken_canaries()), (0, 0));
        assert_eq!(queue.in_flight(), 1, "the read is nobody's to give back yet");
        drop((queue, controller));
        refused += 1;
    }
    println!("forged command identifiers: {refused}");
    assert_eq!(refused, 46, "all but one");
}

/// A device that writes more than it was asked to: the memory around every buffer shows it, from the first
/// byte on. That the other tests find all of it untouched means something only if it can be touched.
#[test]
fn canaries_show_a_device_that_writes_more_than_asked() {
    let mut overruns = 0;
    for longest in [1, 2, 64, 4096] {
        for turn in 1..=10 {
            let (machine, controller, mut queue) = one_read(Deed::Honest);
            assert_eq!(outcome(&mut queue).unwrap(), Ok(0));
            assert_eq!(machine.broken_canaries(), 0);
            machine.device(|device| {
                device.longest_overrun = longest;
                device.mischief = Mischief::always(Deed::Overrun, 0);
                device.mischief.random = Random::new(turn);
            });
            let namespace = controller.namespace(1).unwrap();
            let buffer = controller.alloc_dma(512).unwrap();
            queue.submit(&namespace.read(0, 1).unwrap(), Data::from(&buffer), buffer).unwrap();
            let completion = queue.wait(LIMIT).unwrap().unwrap();
            assert!(completion.outcome.is_ok());
            assert!(machine.broken_canaries() > 0, "up to {longest} bytes, turn {turn}");
            // It is noticed when the buffer is given back, too.
            drop(completion);
            assert!(machine.broken_canaries() > 0);
            overruns += 1;
        }
    }
    println!("overruns noticed: {overruns}");
}

#[test]
fn what_is_lost_is_aborted_recreated_or_reset() {
    // The controller knows the command and aborts it.
    let (machine, _controller, mut queue) = one_read(Deed::Held);
    assert!(matches!(outcome(&mut queue), Err(Error::Timeout { .. })));
    machine.device(|device| device.mischief = Mischief::none());
    assert_eq!(queue.recover().unwrap(), Recovery::Aborted);
    let aborted = outcome(&mut queue).unwrap().unwrap_err();
    assert!(matches!(aborted, Cause::Status(status) if status.status() == Status::ABORT_REQUESTED));
    // It does not know it any more, but deletes the queue.
    let (machine, _controller, mut queue) = one_read(Deed::Lost);
    assert!(matches!(outcome(&mut queue), Err(Error::Timeout { .. })));
    machine.device(|device| device.mischief = Mischief::none());
    assert_eq!(queue.recover().unwrap(), Recovery::Recreated);
    assert_eq!(outcome(&mut queue).unwrap(), Err(Cause::Lost));
    // It does not answer at all: a reset helps, after which it is honest again.
    let (machine, controller, mut queue) = one_read(Deed::Lost);
    assert!(matches!(outcome(&mut queue), Err(Error::Timeout { .. })));
    machine.device(|device| device.honest_after_reset = true);
    assert_eq!(queue.recover().unwrap(), Recovery::Reset);
    assert_eq!(outcome(&mut queue).unwrap(), Err(Cause::Lost));
    assert!(controller.queue_pair::<u8>(&QueueOptions::entries(4)).is_ok());
    // Not even that helps: it is given up, its bus mastering is off.
    let (machine, controller, mut queue) = one_read(Deed::Lost);
    assert!(matches!(queue.recover(), Err(Error::AdminTimeout { .. })));
    assert!(matches!(controller.check(), Err(Error::Dead { .. })));
    assert!(!machine.bus_master());
    // It was stopped, though, so what was in flight comes back.
    assert_eq!(outcome(&mut queue).unwrap(), Err(Cause::Lost));
    assert!(matches!(queue.recover(), Err(Error::Dead { .. })));
    drop((queue, controller));
    assert_eq!(machine.held(), 0);
}

/// A session with everything in it: what it did, and how it ended.
struct Session {
    random: Random,
    machine: Machine,
    controller: Option<Controller>,
    queues: Vec<QueuePair<(u64, DmaBuffer)>>,
    /// Tokens in flight.
    flying: BTreeMap<u64, ()>,
    next: u64,
    errors: BTreeMap<String, u64>,
    successes: u64,
    /// The longest step of each kind.
    longest: BTreeMap<Step, Duration>,
}

/// The kinds of steps that take time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Open,
    Create,
    Submit,
    Collect,
    Recover,
    Administer,
    UseMemory,
    Reset,
    /// A queue goes, and with the last one its controller.
    Drop,
    /// What waits for nothing.
    Look,
}

impl Session {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let fake = FakeController::new(facade(&mut random), mischief(&mut random));
        // Below the size of a huge page, whose clearing would take most of the time.
        let machine = Machine::new(Box::new(fake), (2 << 20) - 4096);
        Self {
            random,
            machine,
            controller: None,
            queues: Vec::new(),
            flying: BTreeMap::new(),
            next: 0,
            errors: BTreeMap::new(),
            successes: 0,
            longest: BTreeMap::new(),
        }
    }

    fn count<T>(&mut self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => {
                self.successes += 1;
                Some(value)
            }
            Err(error) => {
                check_wait(&error);
                // The variant alone.
                let text = format!("{error:?}");
                let name = text.split([' ', '(', '{']).next().unwrap().to_owned();
                *self.errors.entry(name).or_default() += 1;
                None
            }
        }
    }

    /// Runs to the end; every step takes bounded time and a bounded number of turns.
    fn run(&mut self) {
        let opened = self.bounded(Step::Open, |this| {
            let opened = Controller::open(Arc::new(this.machine.clone()), short());
            this.count(opened)
        });
        self.controller = opened;
        if self.controller.is_some() {
            for _ in 0..self.random.below(80) {
                self.step();
            }
        }
        // What is left goes in random order.
        while !self.queues.is_empty() {
            let index = usize::try_from(self.random.below(self.queues.len() as u64)).unwrap();
            if self.random.one_in(4) {
                self.bounded(Step::Drop, |this| this.controller = None);
            }
            self.bounded(Step::Drop, |this| drop(this.queues.swap_remove(index)));
        }
        self.bounded(Step::Drop, |this| this.controller = None);
    }

    fn bounded<T>(&mut self, kind: Step, step: impl FnOnce(&mut Self) -> T) -> T {
        let (began, turns) = (self.machine.now(), self.machine.relaxed());
        let result = step(self);
        let took = self.machine.now().since(began);
        let turns = self.machine.relaxed() - turns;
        assert!(took < kind.limit(), "{kind:?}: {took}");
        assert!(turns < 20_000, "{turns}");
        let longest = self.longest.entry(kind).or_default();
        *longest = took.max(*longest);
        result
    }

    fn step(&mut self) {
        let Some(controller) = self.controller.clone() else { return };
        let controller = &controller;
        match self.random.below(22) {
            0 | 1 => self.bounded(Step::Create, |this| this.create(controller)),
            2..=6 => self.bounded(Step::Submit, |this| this.submit(controller)),
            7..=11 => self.bounded(Step::Collect, Self::collect),
            12 => self.bounded(Step::Recover, Self::recover),
            13 => self.bounded(Step::Administer, |this| this.administer(controller)),
            15 => self.bounded(Step::UseMemory, |this| this.use_memory(controller)),
            16 if self.random.one_in(3) => self.bounded(Step::Reset, |this| {
                let reset = controller.reset();
                this.count(reset);
            }),
            17 if !self.queues.is_empty() => {
                self.bounded(Step::Drop, |this| drop(this.queues.swap_remove(0)));
            }
            _ => self.bounded(Step::Look, |this| this.look(controller)),
        }
    }

    /// Steps that wait for nothing.
    fn look(&mut self, controller: &Controller) {
        match self.random.below(6) {
            0 => {
                let event = controller.next_event();
                self.count(event);
            }
            1 => {
                let limit = Duration::from_millis(self.random.below(100));
                self.queues.iter_mut().for_each(|queue| drop(queue.overdue(limit)));
            }
            2 => {
                let event = random_bits(&mut self.random);
                self.machine.device(|device| device.raise_event(event));
                self.machine.work();
            }
            _ => self.machine.work(),
        }
    }

    fn create(&mut self, controller: &Controller) {
        let place = [Placement::Host, Placement::Host, Placement::Cmb];
        let options = QueueOptions {
            entries: u32::try_from(self.random.pick(&[0, 2, 3, 4, 7, 16, 33, 300])).unwrap(),
            submission: self.random.pick(&place),
            completion: self.random.pick(&place),
            vector: self.random.pick(&[None, None, Some(1), Some(5)]),
        };
        let queue = controller.queue_pair(&options);
        if let Some(queue) = self.count(queue) {
            self.queues.push(queue);
        }
    }

    fn submit(&mut self, controller: &Controller) {
        let namespace = controller.namespace(1);
        let Some(namespace) = self.count(namespace) else { return };
        for index in 0..self.queues.len() {
            for _ in 0..self.random.below(4) {
                let blocks = u32::try_from(1 + self.random.below(20)).unwrap();
                let slba = self.random.pick(&[0, 1, 4095, 4096, u64::MAX]);
                let command = match self.random.below(5) {
                    0 => namespace.write(slba, blocks),
                    1 => Ok(namespace.flush()),
                    2 => Ok(Command::raw(SubmissionEntry::new(0xff_u8, 7), 512)),
                    _ => namespace.read(slba, blocks),
                };
                let Some(command) = self.count(command) else { continue };
                let len = usize::try_from(command.data_len().clamp(1, 64 << 10)).unwrap();
                let buffer = controller.alloc_dma(len).map(|buffer| (self.next, buffer));
                let Some(token) = self.count(buffer) else { continue };
                let none = command.data_len() == 0;
                let data = if none { Data::None } else { Data::from(&token.1) };
                self.flying.insert(self.next, ());
                self.next += 1;
                let submitted = self.queues[index].submit(&command, data, token);
                if let Err(rejected) = submitted {
                    self.flying.remove(&rejected.token.0).unwrap();
                    self.count::<()>(Err(rejected.error));
                }
            }
            let rung = self.queues[index].ring();
            self.count(rung);
        }
    }

    /// Every token comes back once at most.
    fn collect(&mut self) {
        for index in 0..self.queues.len() {
            let mut back = Vec::new();
            let queue = &mut self.queues[index];
            let result = match self.random.below(3) {
                0 => queue.reap(|completion| back.push(completion.token.0)).map(drop),
                1 => queue
                    .poll()
                    .map(|found| back.extend(found.map(|completion| completion.token.0))),
                _ => queue
                    .wait(Duration::from_millis(self.random.below(50)))
                    .map(|found| back.extend(found.map(|completion| completion.token.0))),
            };
            self.count(result);
            for token in back {
                self.flying.remove(&token).unwrap();
            }
        }
    }

    fn recover(&mut self) {
        for index in 0..self.queues.len() {
            let recovered = self.queues[index].recover();
            let recovered = self.count(recovered).is_some();
            if recovered && self.random.one_in(2) {
                // Whatever was in flight is out of it now.
                let mut back = Vec::new();
                let reaped = self.queues[index].reap(|completion| back.push(completion.token.0));
                // Unless the controller breaks the rules again.
                assert!(matches!(reaped, Ok(_) | Err(Error::Broken { .. })), "{reaped:?}");
                assert!(reaped.is_err() || self.queues[index].in_flight() == 0);
                for token in back {
                    self.flying.remove(&token).unwrap();
                }
            }
        }
    }

    fn administer(&mut self, controller: &Controller) {
        let result = match self.random.below(9) {
            0 => controller.identify().map(drop),
            1 => controller.smart_log().map(drop),
            2 => controller.error_log().map(drop),
            3 => {
                let fid = FeatureId::VOLATILE_WRITE_CACHE;
                controller.feature(fid, Select::CURRENT, 0, 0, 0).map(drop)
            }
            4 => controller.format(1, FormatNvmCdw10::new()),
            5 => controller.create_namespace(&NamespaceCreation::default()).map(drop),
            6 => controller.attach_namespace(1, &[0]),
            7 => {
                let request = LogPageRequest::new(LogPageId::TELEMETRY_HOST, 1);
                controller.log_page(request, 0, 20_000).map(drop)
            }
            _ => controller.active_namespaces().map(drop),
        };
        self.count(result);
    }

    fn use_memory(&mut self, controller: &Controller) {
        let len = self.random.pick(&[1, 4096, 100_000, 1 << 21]);
        let used = controller.cmb().and_then(|cmb| {
            let buffer = cmb.allocate(len, 4096)?;
            buffer.write(0, &[1])?;
            let mut back = [0];
            buffer.read(len - 1, &mut back)
        });
        self.count(used);
        let persisted = controller.pmr().and_then(|pmr| {
            pmr.write(0, &[1, 2, 3])?;
            pmr.persist()
        });
        self.count(persisted);
    }
}

fn facade(random: &mut Random) -> Facade {
    let mut facade = Facade::default();
    let odd = |random: &mut Random| random.one_in(12);
    if odd(random) {
        facade.cap = Cap::from_bits(random.next());
    }
    if odd(random) {
        facade.cap = facade.cap.with_css_io_command_sets(true);
    }
    if odd(random) {
        facade.cap = facade.cap.with_dstrd(random.bytes()[0] & 0xf);
    }
    if odd(random) {
        facade.cmbsz = random_bits(random).into();
    }
    if odd(random) {
        facade.cmbloc = Cmbloc::from_bits(random_bits(random));
    }
    if odd(random) {
        facade.pmrcap = random_bits(random).into();
    }
    if odd(random) {
        facade.pmrsts = Pmrsts::from_bits(random_bits(random) & 0x1f01);
    }
    if odd(random) {
        facade.queues = Some(random_bits(random));
    }
    if odd(random) {
        facade.started = random.pick(&[
            Csts::new(),
            Csts::GONE,
            Csts::new().with_cfs(true),
            Csts::new().with_rdy(true).with_cfs(true),
        ]);
    }
    facade.cmb_invalid = odd(random);
    facade.becomes_ready = !odd(random);
    facade.becomes_idle = !odd(random);
    facade.resettable = !odd(random);
    facade.shuts_down = !odd(random);
    facade
}

fn random_bits(random: &mut Random) -> u32 {
    let [a, b, c, d, ..] = random.bytes();
    u32::from_le_bytes([a, b, c, d])
}

fn mischief(random: &mut Random) -> Mischief {
    let mut deeds = DEEDS.to_vec();
    if random.one_in(2) {
        // One kind only, so that it is met in every state.
        deeds = vec![random.pick(&DEEDS)];
    }
    Mischief {
        random: Random::new(random.next()),
        odds: random.pick(&[0, 1, 1, 2, 3, 5, 10, 30]),
        deeds,
        io_only: random.one_in(2),
        patience: random.below(30),
        done: 0,
        identify_odds: random.pick(&[0, 0, 1, 3, 10]),
    }
}

/// What many sessions came to.
#[derive(Default)]
struct Tally {
    opened: u64,
    deeds: u64,
    successes: u64,
    leaked: u64,
    longest: BTreeMap<Step, Duration>,
    errors: BTreeMap<String, u64>,
}

impl Tally {
    /// Runs the session of a seed.
    fn run(&mut self, seed: u64) {
        let mut session = Session::new(seed);
        let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| session.run()));
        assert!(run.is_ok(), "session {seed}");
        let machine = &session.machine;
        assert_eq!(machine.strays(), 0, "session {seed}: access to memory given back");
        assert_eq!(machine.broken_canaries(), 0, "session {seed}: canaries");
        let (fenceable, done) =
            machine.device(|device| (device.is_fenceable(), device.mischief.done));
        assert!(machine.held() == 0 || !fenceable, "session {seed}: {} leaked", machine.held());
        assert!(!machine.bus_master() || !fenceable, "session {seed}: bus mastering is on");
        self.opened += u64::from(session.next > 0 || session.successes > 1);
        self.leaked += u64::from(machine.held() > 0);
        self.successes += session.successes;
        self.deeds += done;
        self.add_longest(session.longest);
        self.add_errors(session.errors);
    }

    fn add(&mut self, other: Self) {
        self.opened += other.opened;
        self.deeds += other.deeds;
        self.successes += other.successes;
        self.leaked += other.leaked;
        self.add_longest(other.longest);
        self.add_errors(other.errors);
    }

    fn add_longest(&mut self, steps: BTreeMap<Step, Duration>) {
        for (kind, took) in steps {
            let longest = self.longest.entry(kind).or_default();
            *longest = took.max(*longest);
        }
    }

    fn add_errors(&mut self, errors: BTreeMap<String, u64>) {
        for (name, count) in errors {
            *self.errors.entry(name).or_default() += count;
        }
    }
}

impl Step {
    /// What no step of its kind takes, by the clock of the function: the longest waits that it may have to sit out
    /// before it gives up, and a little for those that end. Twice any of these is more.
    fn limit(self) -> Duration {
        let Options { ready_timeout: ready, admin_timeout: admin, format_timeout, .. } = short();
        let more = Duration::from_millis(500);
        match self {
            Self::Open => ready * 2 + more,
            Self::Create | Self::Recover => ready + admin * 2,
            Self::Submit => admin + more,
            Self::Collect => LONGEST_WAIT * 5,
            Self::Administer => format_timeout + more,
            Self::UseMemory | Self::Reset => ready + more,
            // The longest that a controller can claim for its shutdown.
            Self::Drop => Duration::from_millis(60_000) + ready,
            Self::Look => Duration::from_millis(1),
        }
    }
}

/// A wait that ended without what was waited for ended when its time was up, or within two turns of the loop.
fn check_wait(error: &Error) {
    let limits = short();
    let (waited, limit) = match error {
        Error::NotReady { waited, .. } => (waited, limits.ready_timeout),
        Error::AdminTimeout { opcode: AdminOpcode::FORMAT_NVM, waited, .. } => {
            (waited, limits.format_timeout)
        }
        Error::AdminTimeout { waited, .. } => (waited, limits.admin_timeout),
        Error::Timeout { waited, .. } => (waited, LONGEST_WAIT),
        _ => return,
    };
    assert!(*waited <= limit + TURN * 2, "{error}");
}

/// Runs so many sessions on all processors.
fn run_sessions(first: u64, sessions: u64) -> Tally {
    let workers = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = |worker: u64| {
        let mut tally = Tally::default();
        (first + worker..first + sessions).step_by(workers).for_each(|seed| tally.run(seed));
        tally
    };
    std::thread::scope(|scope| {
        let handles: Vec<_> =
            (0..workers as u64).map(|worker| scope.spawn(move || work(worker))).collect();
        let mut all = Tally::default();
        for handle in handles {
            all.add(handle.join().unwrap());
        }
        all
    })
}

/// Thousands of controllers, each with its own lies. The seed of a failure is in its message.
#[test]
fn thousands_of_hostile_sessions() {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let (first, sessions) = (number("SEED").unwrap_or(1), number("SESSIONS").unwrap_or(20_000));
    let Tally { opened, deeds, successes, leaked, longest, errors } = run_sessions(first, sessions);
    println!("sessions: {sessions}, opened and used: {opened}, misdeeds: {deeds}");
    println!("calls that succeeded: {successes}, sessions that had to leak: {leaked}");
    let longest: Vec<String> =
        longest.iter().map(|(kind, took)| format!("{kind:?} {took}")).collect();
    println!("longest steps, in virtual time: {}; errors by kind: {errors:?}", longest.join(", "));
    assert!(opened > sessions / 3 && deeds > sessions / 2);
}
