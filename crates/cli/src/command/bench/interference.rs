//! What a copy takes from a program that uses host memory: such a program runs beside it, and its own
//! bandwidth and latency are measured.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::Serialize;

use super::document::RowDocument;
use super::spread::Spread;
use crate::output::table;
use crate::output::units::{self, per_second};

/// An application, by turns alone, beside the copy from peer to peer, and beside the bounce.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ApplicationDocument {
    /// While nothing is copied.
    pub(super) alone: AccessDocument,
    /// Beside the copy from peer to peer.
    pub(super) beside_peer_to_peer: AccessDocument,
    /// Beside the copy through host memory.
    pub(super) beside_host_memory: AccessDocument,
}

/// How an application reached host memory, round by round.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(crate) struct AccessDocument {
    /// What it copied from one part of memory into another, read and written bytes together.
    pub(super) gb_per_second: Spread,
    /// How long a read took whose place the one before it had told.
    pub(super) latency_ns: Spread,
}

/// The figures of all rounds beside one thing.
#[derive(Debug, Default)]
pub(super) struct Beside {
    gb_per_second: Vec<f64>,
    latency_ns: Vec<f64>,
}

impl Beside {
    pub(super) fn add(&mut self, done: Done) {
        self.gb_per_second.extend(per_second(done.bytes, seconds(done.streaming)).map(|r| r / 1e9));
        let reads = per_second(done.reads, seconds(done.chasing));
        self.latency_ns.extend(reads.filter(|reads| *reads > 0.0).map(|reads| 1e9 / reads));
    }

    fn document(mut self) -> Option<AccessDocument> {
        Some(AccessDocument {
            gb_per_second: Spread::of(&mut self.gb_per_second)?,
            latency_ns: Spread::of(&mut self.latency_ns)?,
        })
    }
}

/// `None` if a round was too short for the application to get anywhere.
pub(super) fn document(alone: Beside, [peer, bounce]: [Beside; 2]) -> Option<ApplicationDocument> {
    Some(ApplicationDocument {
        alone: alone.document()?,
        beside_peer_to_peer: peer.document()?,
        beside_host_memory: bounce.document()?,
    })
}

fn seconds(nanoseconds: u64) -> f64 {
    Duration::from_nanos(nanoseconds).as_secs_f64()
}

/// What it has done so far. Time in which it had no processor counts: that is taken from it, too.
#[derive(Debug, Default)]
struct Counters {
    bytes: AtomicU64,
    streaming: AtomicU64,
    reads: AtomicU64,
    chasing: AtomicU64,
    stop: AtomicBool,
}

/// What was done in a while; times in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Done {
    bytes: u64,
    streaming: u64,
    reads: u64,
    chasing: u64,
}

impl Counters {
    fn now(&self) -> Done {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Done {
            bytes: of(&self.bytes),
            streaming: of(&self.streaming),
            reads: of(&self.reads),
            chasing: of(&self.chasing),
        }
    }

    fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Ordering::Relaxed);
    }
}

/// A thread that does nothing but use host memory, until it is dropped.
#[derive(Debug)]
pub(super) struct Application {
    counters: Arc<Counters>,
    thread: Option<JoinHandle<()>>,
}

/// The memory that it uses, far more than caches have: half of it is copied into the other half, by and by.
const MEMORY: usize = 128 << 20;
/// How much it copies before it looks at the clock.
const PIECE: usize = 256 << 10;
/// Reads after that, each of which depends on the one before it.
const READS: u64 = 256;

impl Application {
    pub(super) fn start() -> Self {
        let counters = Arc::new(Counters::default());
        let own = Arc::clone(&counters);
        let thread = Some(thread::spawn(move || work(&own)));
        // It begins when all of its memory is there.
        while counters.now().reads == 0 && thread.as_ref().is_some_and(|it| !it.is_finished()) {
            thread::sleep(Duration::from_millis(1));
        }
        Self { counters, thread }
    }

    /// What it does while something else goes on.
    pub(super) fn during<T>(&self, work: impl FnOnce() -> T) -> (T, Done) {
        let before = self.counters.now();
        let result = work();
        let now = self.counters.now();
        let done = Done {
            bytes: now.bytes - before.bytes,
            streaming: now.streaming - before.streaming,
            reads: now.reads - before.reads,
            chasing: now.chasing - before.chasing,
        };
        (result, done)
    }
}

impl Drop for Application {
    fn drop(&mut self) {
        self.counters.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It has nothing to say.
            let _ended = thread.join();
        }
    }
}

fn work(counters: &Counters) {
    let mut memory = vec![1_u64; MEMORY / 8];
    let (from, to) = memory.split_at_mut(MEMORY / 16);
    let (piece, mut at, mut place) = (PIECE / 8, 0, 1);
    while !counters.stop.load(Ordering::Relaxed) {
        let begin = Instant::now();
        to[at..at + piece].copy_from_slice(black_box(&from[at..at + piece]));
        at = (at + piece) % to.len();
        let copied = Instant::now();
        place = black_box(chase(from, place));
        let read = Instant::now();
        let nanoseconds = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        Counters::add(&counters.bytes, 2 * PIECE as u64);
        Counters::add(&counters.streaming, nanoseconds(copied - begin));
        Counters::add(&counters.reads, READS);
        Counters::add(&counters.chasing, nanoseconds(read - copied));
    }
}

/// Reads here and there; where next depends on what was read, though all of it is the same.
fn chase(memory: &[u64], mut place: u64) -> u64 {
    for _ in 0..READS {
        let index = usize::try_from(place >> 20).unwrap_or(0) % memory.len();
        // Knuth's MMIX generator, of which the upper bits are good.
        place =
            place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_406);
        place = place.wrapping_add(memory[index] - 1);
    }
    place
}

/// A table with three lines for each row.
pub(super) fn text(rows: &[RowDocument]) -> String {
    let header = ["block", "depth", "application", "GB/s", "interval", "latency ns", "interval"];
    let lines = rows.iter().filter_map(|row| Some((row, row.application.as_ref()?)));
    let lines = lines.flat_map(|(row, application)| {
        let lead = [units::bytes(row.block_bytes), row.queue_depth.to_string()];
        let none = || [String::new(), String::new()];
        [
            line(lead, "alone", &application.alone),
            line(none(), "beside peer", &application.beside_peer_to_peer),
            line(none(), "beside bounce", &application.beside_host_memory),
        ]
    });
    table::numbers(&header, lines)
}

fn line(lead: [String; 2], name: &str, access: &AccessDocument) -> Vec<String> {
    let (rate, latency) = (access.gb_per_second, access.latency_ns);
    let mut line = Vec::from(lead);
    line.extend([name.to_owned(), format!("{:.3}", rate.median), rate.interval.text(3)]);
    line.extend([format!("{:.1}", latency.median), latency.interval.text(1)]);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_gets_something_done_and_ends() {
        let application = Application::start();
        let mut beside = Beside::default();
        for _ in 0..3 {
            let pause = || thread::sleep(Duration::from_millis(50));
            beside.add(application.during(pause).1);
        }
        let AccessDocument { gb_per_second, latency_ns } = beside.document().unwrap();
        assert!(gb_per_second.median > 0.0 && latency_ns.median > 0.0);
        drop(application);
    }

    #[test]
    fn reads_go_everywhere() {
        let memory = vec![1; 1 << 12];
        let mut last = 1;
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            last = chase(&memory, last);
            seen.insert(last);
        }
        assert_eq!(seen.len(), 100);
    }
}
