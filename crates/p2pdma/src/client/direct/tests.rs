//! Copies between files in which requests fail: every way of failing at every request. The kernel carries
//! requests out; what stands before it lets one fail, or shortens it.

use std::collections::VecDeque;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use p2pdma_linux::io::{Access, Engine, Queue};
use p2pdma_pci::Clock;
use p2pdma_pci::topology::Allowlist;
use proptest::prelude::*;
use rustix::io::Errno;

use super::*;
use crate::platform::{Platform, ProcessPool, Provider, Requests};
use crate::transfer::{End, Ends, Failed, Job, Plan, Policy, Report, Wish, run};
use crate::{FabricPlatform, Storage, presets};

const BLOCK: u64 = 16 << 10;
const BLOCKS: u64 = 12;
/// The last block is a part of one.
const LEN: u64 = BLOCKS * BLOCK - 5000;

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// It ends with an error, and moves nothing.
    Fails(Errno),
    /// It and all after it do.
    AllFail(Errno),
    /// It moves a part, in whole blocks of the file system.
    Short,
    /// It says that it has moved no whole blocks.
    Odd,
    /// It moves nothing, without an error.
    Nothing,
    /// There is no room for it at first.
    NoRoom,
    /// The next wait fails.
    WaitFails,
    /// It does not end.
    Stalls,
}

const FAULTS: [Fault; 12] = [
    Fault::Fails(Errno::IO),
    Fault::Fails(Errno::NOSPC),
    Fault::Fails(Errno::INTR),
    Fault::Fails(Errno::AGAIN),
    Fault::Fails(Errno::NODEV),
    Fault::AllFail(Errno::INTR),
    Fault::AllFail(Errno::AGAIN),
    Fault::Short,
    Fault::Odd,
    Fault::Nothing,
    Fault::NoRoom,
    Fault::WaitFails,
];

impl Fault {
    /// Whether a copy gets over it.
    fn is_for_now(self) -> bool {
        match self {
            Self::Fails(errno) => errno == Errno::INTR || errno == Errno::AGAIN,
            Self::Short | Self::Odd | Self::NoRoom => true,
            Self::AllFail(_) | Self::Nothing | Self::WaitFails | Self::Stalls => false,
        }
    }

    /// Whether an error is the one that it has to end with.
    fn explains(self, error: &Error) -> bool {
        match (self, error) {
            (Self::Fails(Errno::NODEV) | Self::Nothing, Error::Vanished { .. }) => true,
            // A source that is a file has become shorter.
            (Self::Nothing, Error::File { name, kind, .. }) => {
                name.ends_with("source") && *kind == io::ErrorKind::UnexpectedEof
            }
            (Self::Fails(errno) | Self::AllFail(errno), Error::File { name, kind, .. }) => {
                name.ends_with("source") | name.ends_with("sink")
                    && *kind == io::Error::from(errno).kind()
            }
            (Self::WaitFails, Error::Engine { .. }) => true,
            _ => false,
        }
    }
}

/// The kernel's queue, with faults by the number of the request.
struct Faulty {
    queue: Queue,
    faults: Vec<(u64, Fault)>,
    pushed: u64,
    ended: VecDeque<Completion>,
    /// Tokens of requests whose count is made odd.
    odd: Vec<u64>,
    wait_fails: bool,
    stalled: Vec<Request>,
    /// Turns that are left before a copy is taken to hang.
    turns: u32,
}

impl Faulty {
    fn new(engine: Engine, faults: &[(u64, Fault)]) -> Self {
        let queue = Queue::new(engine, 64).unwrap();
        let (faults, ended, odd) = (faults.to_vec(), VecDeque::new(), Vec::new());
        let (pushed, wait_fails, stalled, turns) = (0, false, Vec::new(), 100_000);
        Self { queue, faults, pushed, ended, odd, wait_fails, stalled, turns }
    }

    /// What becomes of the next request.
    fn next(&mut self) -> Option<Fault> {
        let number = self.pushed;
        self.pushed += 1;
        let all = |&&(at, fault): &&(u64, Fault)| match fault {
            Fault::AllFail(_) => at <= number,
            _ => at == number,
        };
        self.faults.iter().find(all).map(|&(_, fault)| fault)
    }
}

impl Requests for Faulty {
    fn push(&mut self, mut request: Request) -> Result<(), Request> {
        match self.next() {
            None => {}
            Some(Fault::NoRoom) => return Err(request),
            Some(Fault::WaitFails) => self.wait_fails = true,
            Some(Fault::Fails(errno) | Fault::AllFail(errno)) => {
                let result = Err(errno.into());
                self.ended.push_back(Completion { token: request.token, result });
                return Ok(());
            }
            Some(Fault::Nothing) => {
                self.ended.push_back(Completion { token: request.token, result: Ok(0) });
                return Ok(());
            }
            Some(Fault::Stalls) => {
                self.stalled.push(request);
                return Ok(());
            }
            Some(Fault::Odd) => self.odd.push(request.token),
            Some(Fault::Short) => request.memory = request.memory.slice(0..4096).unwrap(),
        }
        self.queue.push(request)
    }

    fn pop(&mut self) -> Option<Completion> {
        let mut completion = self.ended.pop_front().or_else(|| self.queue.pop())?;
        if let Some(at) = self.odd.iter().position(|token| *token == completion.token) {
            self.odd.swap_remove(at);
            completion.result = completion.result.map(|count| count.saturating_sub(4000));
        }
        Some(completion)
    }

    fn wait(&mut self, patience: Duration) -> io::Result<()> {
        self.turns = self.turns.checked_sub(1).expect("the copy hangs");
        if std::mem::take(&mut self.wait_fails) {
            return Err(Errno::IO.into());
        }
        if !self.stalled.is_empty() && self.ended.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let patience = if self.ended.is_empty() { patience } else { Duration::ZERO };
        self.queue.wait(patience)
    }

    fn calls(&self) -> u64 {
        self.queue.calls()
    }

    fn engine(&self) -> Engine {
        self.queue.engine()
    }
}

/// A machine that has files and its own memory, and nothing else.
struct Files(Arc<SharedQueue>);

impl Platform for Files {
    fn topology(&self) -> Result<Arc<Topology>, Error> {
        Err(Error::Internal("a machine without devices"))
    }

    fn find(&self, _: &str) -> Option<Bdf> {
        None
    }

    fn providers(&self) -> Result<Vec<Arc<dyn Provider>>, Error> {
        Ok(Vec::new())
    }

    fn host_memory(&self) -> Result<Arc<dyn Provider>, Error> {
        Ok(Arc::new(ProcessPool))
    }

    fn namespace(&self, _: Bdf, _: u32) -> Result<Box<dyn Client>, Error> {
        Err(Error::Internal("a machine without devices"))
    }

    fn clock(&self) -> &dyn Clock {
        &*self.0
    }

    fn is_modelled(&self) -> bool {
        false
    }

    fn traffic(&self) -> Option<Traffic> {
        None
    }
}

/// Two files, a plan between them, and what they have.
struct Bench {
    folder: tempfile::TempDir,
    topology: Arc<Topology>,
    plan: Plan,
    source: Vec<u8>,
    before: Vec<u8>,
}

impl Bench {
    fn new() -> Self {
        // Where direct I/O is possible: beside this program.
        let program = std::env::current_exe().unwrap();
        let folder = tempfile::tempdir_in(program.parent().unwrap()).unwrap();
        let machine = presets::machine("default", None).unwrap();
        let fabric =
            FabricPlatform::new(&machine, &Storage::Ephemeral, Allowlist::kernel()).unwrap();
        let end = || End::Volume([].into());
        let (policy, via, barrier) = (Policy::Off, None, None);
        let wish = Wish { source: end(), sink: end(), via, block: BLOCK, policy, barrier };
        let plan = Plan::on(&fabric, wish).unwrap();
        let topology = fabric.topology().unwrap();
        let bytes = |seed: u64| {
            let mut bytes = vec![0; usize::try_from(LEN).unwrap()];
            crate::pattern::fill(seed, 0, &mut bytes);
            bytes
        };
        Self { folder, topology, plan, source: bytes(1), before: bytes(2) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn client(&self, name: &str, access: Access, queue: &Arc<SharedQueue>) -> DirectClient {
        let file = Arc::new(DirectFile::open(&self.path(name), access).unwrap());
        let (topology, moved) = (Arc::clone(&self.topology), Arc::default());
        DirectClient::new(file, Vec::new(), topology, Arc::clone(queue), moved)
    }

    /// Copies with faults, and checks what has to hold whatever happens.
    fn copy(&self, engine: Engine, faults: &[(u64, Fault)]) -> Result<Report, Failed> {
        std::fs::write(self.path("source"), &self.source).unwrap();
        std::fs::write(self.path("sink"), &self.before).unwrap();
        let queue = Arc::new(SharedQueue::over(Box::new(Faulty::new(engine, faults))));
        let platform = Files(Arc::clone(&queue));
        let mut source = self.client("source", Access::Read, &queue);
        let mut sink = self.client("sink", Access::Write, &queue);
        let memory = Arc::new(platform.host_memory().unwrap().alloc(4 * BLOCK).unwrap());
        let job = Job { from: 0, to: 0, len: BLOCKS * BLOCK, block: BLOCK, depth: 4 };
        let ends = Ends { source: Some(&mut source), sink: Some(&mut sink) };
        let go_on = &mut |_| ControlFlow::Continue(());
        let outcome = run(&platform, self.plan.clone(), ends, &memory, job, go_on);
        drop((source, sink, platform, queue));
        self.check(faults, &outcome);
        outcome
    }

    fn check(&self, faults: &[(u64, Fault)], outcome: &Result<Report, Failed>) {
        let read = |path: &Path| std::fs::read(path).unwrap();
        assert!(read(&self.path("source")) == self.source, "{faults:?}: the source was written");
        let there = read(&self.path("sink"));
        let complete = match outcome {
            Ok(report) => {
                assert_eq!(report.bytes, BLOCKS * BLOCK, "{faults:?}");
                LEN
            }
            Err(failed) => {
                assert!(failed.complete <= failed.moved, "{faults:?}: {failed:?}");
                failed.complete
            }
        };
        let complete = usize::try_from(complete.min(LEN)).unwrap();
        assert!(there[..complete] == self.source[..complete], "{faults:?}: {complete} are right");
    }
}

#[test]
fn every_fault_at_every_request_is_got_over_or_told() {
    let bench = Bench::new();
    let (mut over, mut told) = (0, 0);
    for engine in [Engine::Uring, Engine::Synchronous] {
        // One request at a time is never waited for.
        let waits = |fault: &Fault| engine == Engine::Uring || *fault != Fault::WaitFails;
        for fault in FAULTS.into_iter().filter(waits) {
            for at in 0..2 * BLOCKS {
                match bench.copy(engine, &[(at, fault)]) {
                    Ok(_) => {
                        assert!(fault.is_for_now(), "{fault:?} of request {at} was not told");
                        over += 1;
                    }
                    Err(failed) => {
                        assert!(!fault.is_for_now(), "{fault:?} of request {at}: {failed}");
                        assert!(fault.explains(&failed.error), "{fault:?}: {:?}", failed.error);
                        told += 1;
                    }
                }
            }
        }
        bench.copy(engine, &[]).unwrap();
    }
    println!("{} faults: {over} were got over, {told} were told", over + told);
    assert_eq!((over, told), (240, 312));
}

#[test]
fn an_interrupt_ends_a_copy_whose_device_does_not_answer_and_its_memory_is_not_lent_again() {
    let bench = Bench::new();
    for at in [0, 5, 2 * BLOCKS - 1] {
        std::fs::write(bench.path("source"), &bench.source).unwrap();
        std::fs::write(bench.path("sink"), &bench.before).unwrap();
        let faulty = Faulty::new(Engine::Uring, &[(at, Fault::Stalls)]);
        let queue = Arc::new(SharedQueue::over(Box::new(faulty)));
        let platform = Files(Arc::clone(&queue));
        let mut source = bench.client("source", Access::Read, &queue);
        let mut sink = bench.client("sink", Access::Write, &queue);
        let memory = Arc::new(platform.host_memory().unwrap().alloc(4 * BLOCK).unwrap());
        let job = Job { from: 0, to: 0, len: BLOCKS * BLOCK, block: BLOCK, depth: 4 };
        let ends = Ends { source: Some(&mut source), sink: Some(&mut sink) };
        let began = std::time::Instant::now();
        // A signal comes when the copy has stood still for a while.
        let watch = &mut |_| match began.elapsed() > Duration::from_millis(300) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let failed = run(&platform, bench.plan.clone(), ends, &memory, job, watch).unwrap_err();
        assert!(matches!(failed.error, Error::Interrupted), "{failed}");
        assert!(began.elapsed() < Duration::from_millis(1300), "{:?}", began.elapsed());
        assert!(failed.complete <= failed.moved && failed.moved < BLOCKS * BLOCK, "{failed:?}");
        assert_eq!(Arc::strong_count(&memory), 2, "one request has it");
        drop((source, sink));
        assert_eq!(Arc::strong_count(&memory), 2, "and keeps it when nobody waits any more");
    }
}

fn faults() -> impl Strategy<Value = Vec<(u64, Fault)>> {
    let fault = (0..60_u64, proptest::sample::select(&FAULTS[..]));
    proptest::collection::vec(fault, 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Several of them: none is forgotten over another.
    #[test]
    fn several_faults_are_got_over_or_one_is_told(faults in faults()) {
        let bench = Bench::new();
        match bench.copy(Engine::Uring, &faults) {
            Ok(_) => {
                // What was to be fatal came after the last request.
                let fatal = |(at, fault): &&(u64, Fault)| !fault.is_for_now() && *at < 2 * BLOCKS;
                prop_assert!(faults.iter().all(|fault| !fatal(&fault)) || shadowed(&faults));
            }
            Err(failed) => {
                let explains = |(_, fault): &(u64, Fault)| fault.explains(&failed.error);
                prop_assert!(faults.iter().any(explains), "{:?}", failed.error);
            }
        }
    }
}

/// Whether several are of one request, of which the first counts.
fn shadowed(faults: &[(u64, Fault)]) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    faults.iter().any(|(at, _)| !seen.insert(at))
}
