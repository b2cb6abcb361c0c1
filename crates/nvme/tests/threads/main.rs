//! A queue pair for each thread: what its commands must not need, which are locks and allocations. A program of its
//! own, for its allocator counts.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]

#[path = "../model/support.rs"]
#[expect(dead_code, reason = "shared with the tests on the model")]
mod support;

use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, Condvar, Mutex};
use std::thread;

use p2pdma_nvme::{
    Command, Completion, Controller, Data, Options, QueueOptions, QueuePair, Segment,
};
use p2pdma_pci::{
    Bar, BarIndex, Bdf, Clock, ConfigSpace, DmaBuffer, Error, Function, Instant, Interrupt,
    PeerWindow,
};

use support::{SECOND, Stage, plain};

const THREADS: usize = 4;
const DEPTH: u64 = 32;

/// A function by whose clock one thread can be made to wait for ever: in the middle of what it does.
struct Gated {
    inner: Arc<dyn Function>,
    gate: Arc<Gate>,
}

#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    moved: Condvar,
    /// Somebody waits.
    held: AtomicBool,
}

/// The thread that waits while the gate is closed.
const ADMIN: &str = "admin";

impl Gate {
    fn pass(&self) {
        if thread::current().name() != Some(ADMIN) {
            return;
        }
        let mut closed = self.closed.lock().unwrap();
        while *closed {
            self.held.store(true, Ordering::Release);
            closed = self.moved.wait(closed).unwrap();
        }
        self.held.store(false, Ordering::Release);
    }

    fn set(&self, closed: bool) {
        *self.closed.lock().unwrap() = closed;
        self.moved.notify_all();
    }
}

impl Clock for Gated {
    fn now(&self) -> Instant {
        self.inner.clock().now()
    }

    fn relax(&self) {
        self.gate.pass();
        self.inner.clock().relax();
    }
}

impl Function for Gated {
    fn bdf(&self) -> Bdf {
        self.inner.bdf()
    }

    fn config(&self) -> &dyn ConfigSpace {
        self.inner.config()
    }

    fn map_bar(&self, index: BarIndex) -> Result<Bar, Error> {
        self.inner.map_bar(index)
    }

    fn alloc_dma(&self, len: usize) -> Result<DmaBuffer, Error> {
        self.inner.alloc_dma(len)
    }

    fn share_dma(&self, buffer: &DmaBuffer) -> Result<DmaBuffer, Error> {
        self.inner.share_dma(buffer)
    }

    fn map_peer(&self, memory: &Bar, range: Range<u64>) -> Result<PeerWindow, Error> {
        self.inner.map_peer(memory, range)
    }

    fn interrupt(&self, vector: u16) -> Result<Interrupt, Error> {
        self.inner.interrupt(vector)
    }

    fn clock(&self) -> &dyn Clock {
        self
    }

    fn reset(&self) -> Result<(), Error> {
        self.inner.reset()
    }
}

/// What a thread has.
struct Worker {
    queue: QueuePair<u32>,
    commands: Vec<Command>,
    buffer: DmaBuffer,
    clock: Arc<dyn Function>,
}

impl Worker {
    fn new(controller: &Controller, function: &Arc<dyn Function>, vector: Option<u16>) -> Self {
        let options = QueueOptions { vector, ..QueueOptions::entries(64) };
        let queue = controller.queue_pair(&options).unwrap();
        let namespace = controller.namespace(1).unwrap();
        let commands = (0..DEPTH).map(|block| namespace.read(block, 1).unwrap()).collect();
        let buffer = controller.alloc_dma(4096).unwrap();
        Self { queue, commands, buffer, clock: Arc::clone(function) }
    }

    /// So many batches of commands; returns how many ended.
    fn run(&mut self, batches: u64) -> u64 {
        let segment = Segment::from(&self.buffer);
        let mut ended = 0;
        for _ in 0..batches {
            for (token, command) in (0..).zip(&self.commands) {
                self.queue.submit(command, Data::Contiguous(segment), token).unwrap();
            }
            self.queue.ring().unwrap();
            let goal = ended + DEPTH;
            while ended < goal {
                let check = |completion: Completion<u32>| assert!(completion.outcome.is_ok());
                match self.queue.reap(check).unwrap() {
                    0 => self.clock.clock().relax(),
                    found => ended += found as u64,
                }
            }
        }
        ended
    }

    /// The same by waiting, which a queue with a vector does until an interrupt comes.
    fn wait(&mut self, batches: u64) -> u64 {
        let segment = Segment::from(&self.buffer);
        let mut ended = 0;
        for _ in 0..batches {
            for (token, command) in (0..).zip(&self.commands) {
                self.queue.submit(command, Data::Contiguous(segment), token).unwrap();
            }
            while let Some(completion) = self.queue.wait(SECOND).unwrap() {
                assert!(completion.outcome.is_ok());
                ended += 1;
            }
        }
        ended
    }
}

/// Runs a worker in each thread, all at once, after a turn that does not count; returns the commands that ended and
/// the allocations of all threads.
fn together(workers: &mut [Worker], work: impl Fn(&mut Worker, u64) -> u64 + Sync) -> (u64, u64) {
    const BATCHES: u64 = 500;
    let start = Barrier::new(workers.len());
    let one = |worker: &mut Worker| {
        work(worker, 10);
        start.wait();
        let mut ended = 0;
        let counted = allocation_counter::measure(|| ended = work(worker, BATCHES));
        assert_eq!(ended, BATCHES * DEPTH);
        (ended, counted.count_total)
    };
    thread::scope(|scope| {
        let threads: Vec<_> =
            workers.iter_mut().map(|worker| scope.spawn(|| one(worker))).collect();
        let ended = threads.into_iter().map(|thread| thread.join().unwrap());
        ended.fold((0, 0), |(commands, count), one| (commands + one.0, count + one.1))
    })
}

/// The only lock of the driver is that of the admin queue. Here a thread has it all the time, in the middle of a
/// command that does not end; and other threads' commands go on, polled and by interrupts, without an allocation.
#[test]
fn commands_need_no_lock_and_no_allocation() {
    let stage = Stage::one(plain());
    let gate = Arc::new(Gate::default());
    let inner = stage.function("nvme0");
    let function: Arc<dyn Function> = Arc::new(Gated { inner, gate: Arc::clone(&gate) });
    let controller = Controller::open(Arc::clone(&function), Options::default()).unwrap();
    let workers = |interrupts: bool| -> Vec<Worker> {
        let vector = |index: usize| interrupts.then(|| u16::try_from(index + 1).unwrap());
        (0..THREADS).map(|index| Worker::new(&controller, &function, vector(index))).collect()
    };
    let [mut polled, mut announced] = [workers(false), workers(true)];
    gate.set(true);
    let (name, other) = (ADMIN.to_owned(), controller.clone());
    let admin =
        thread::Builder::new().name(name).spawn(move || other.identify().map(drop)).unwrap();
    while !gate.held.load(Ordering::Acquire) {
        thread::yield_now();
    }
    let counts = [together(&mut polled, Worker::run), together(&mut announced, Worker::wait)];
    assert!(gate.held.load(Ordering::Acquire), "the admin queue was free");
    gate.set(false);
    admin.join().unwrap().unwrap();
    // Deleting queues takes the lock, and comes after that.
    drop((polled, announced));
    for (way, (commands, allocations)) in ["polled", "by interrupt"].into_iter().zip(counts) {
        println!("{way}: {THREADS} threads, {commands} commands, {allocations} allocations");
        assert_eq!(allocations, 0);
    }
}
