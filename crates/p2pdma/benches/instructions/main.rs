//! What a 4 KiB command costs at queue depth 32, in instructions: the driver in `submit_batch` and
//! `reap_batch`; the controller with routing and IOMMU in `let_work`. `cargo xtask instructions` runs it
//! under callgrind with two counts, and divides the differences.

#![expect(clippy::print_stdout, reason = "figures are what a benchmark is for")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]
#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]
#![expect(clippy::cast_possible_truncation, reason = "sizes that fit this machine")]

#[path = "../speed/copier.rs"]
mod copier;
#[path = "../speed/machine.rs"]
mod machine;

use std::hint::black_box;
use std::sync::Arc;

use p2pdma::fabric::VirtualClock;
use p2pdma_nvme::{
    Command, Completion, Controller, Data, Options, QueueOptions, QueuePair, Segment,
};
use p2pdma_pci::{Clock as _, Function};

use copier::Copier;

const DEPTH: u64 = 32;

/// Submits as many commands as are in flight at once, and rings once.
#[inline(never)]
fn submit_batch(queue: &mut QueuePair<u32>, commands: &[(Command, Segment)]) {
    for (slot, (command, buffer)) in (0..).zip(commands) {
        queue.submit(command, Data::Contiguous(*buffer), slot).unwrap();
    }
    queue.ring().unwrap();
}

/// Lets the fabric work until nothing is left to do.
#[inline(never)]
fn let_work(clock: &VirtualClock, events: usize) {
    for _ in 0..events {
        clock.relax();
    }
}

/// Takes all completions, and rings once.
#[inline(never)]
fn reap_batch(queue: &mut QueuePair<u32>) -> usize {
    let check = |completion: Completion<u32>| {
        completion.outcome.unwrap();
    };
    queue.reap(check).unwrap()
}

/// Copies blocks from SSD to SSD; what a block costs in all shows in the whole of it.
#[inline(never)]
fn copy_blocks(copier: &mut Copier, blocks: u64) {
    black_box(copier.run(blocks));
}

fn main() {
    // What cargo passes to every benchmark is no count: then a few commands show that it runs.
    let batches: u64 = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(10);
    match std::env::args().nth(2).as_deref() {
        Some("copies") => copies("", batches),
        Some("timed-copies") => copies("[timing]\nmodel = \"pcie\"", batches),
        _ => commands(batches),
    }
}

fn copies(timing: &str, batches: u64) {
    let kib: u64 = std::env::args().nth(3).and_then(|word| word.parse().ok()).unwrap_or(4096);
    let mut copier = Copier::new(timing, kib << 10, 4096, 32);
    let clock = copier.platform.fabric().clock();
    let (before, began) = (copier.platform.fabric().events(), clock.now());
    copy_blocks(&mut copier, batches * DEPTH);
    let blocks = (batches * DEPTH) as f64;
    let events = copier.platform.fabric().events() - before;
    println!("events per block: {:.2}", events as f64 / blocks);
    let took = clock.now().since(began).picos() as f64 / 1000.0;
    println!("modelled time per block: {:.1} ns", took / blocks);
}

fn commands(batches: u64) {
    let fabric = machine::machine(2, "null", "translate");
    let function: Arc<dyn Function> = Arc::new(fabric.open(fabric.find("d0-0").unwrap()).unwrap());
    // As hardware does it, which hardly ever offers shadow doorbells; a last word has them used.
    let shadow_doorbells = std::env::args().any(|word| word == "shadow");
    let options = Options { shadow_doorbells, ..Options::default() };
    let controller = Controller::open(function, options).unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue_pair(&QueueOptions::entries(64)).unwrap();
    let pool = controller.alloc_dma(4096 * DEPTH as usize).unwrap();
    let whole = Segment::from(&pool);
    let command = |slot| {
        let buffer = whole.slice(slot * 4096..(slot + 1) * 4096).unwrap();
        (namespace.read(slot, 1).unwrap(), buffer)
    };
    let commands: Vec<_> = (0..DEPTH).map(command).collect();
    let clock = fabric.clock();
    for _ in 0..batches {
        submit_batch(&mut queue, &commands);
        let mut done = 0;
        while done < commands.len() {
            let_work(&clock, 1);
            done += black_box(reap_batch(&mut queue));
        }
    }
}
