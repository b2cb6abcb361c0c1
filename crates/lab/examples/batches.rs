//! Runs in the guest, under callgrind: reads of 4 KiB in batches of 32, by our driver on vfio. What the driver does is in
//! `submit_batch` and `reap_batch`; two counts of batches differ by commands alone.
//!
//! `batches BDF COUNT`: the device is bound to vfio-pci. It prints `COUNT batches of 32 reads`.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "this is a program")]

use std::error::Error;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use p2pdma_linux::Survey;
use p2pdma_linux::vfio::Vfio;
use p2pdma_nvme::{
    Command, Completion, Controller, Data, Options, QueueOptions, QueuePair, Segment,
};
use p2pdma_pci::Bdf;

const DEPTH: u32 = 32;
/// Of a read.
const BYTES: u32 = 4096;
/// Longer than the controller needs for a batch.
const PAUSE: Duration = Duration::from_millis(20);

/// Submits as many commands as are in flight at once, and rings once.
#[inline(never)]
fn submit_batch(
    queue: &mut QueuePair<u32>,
    commands: &[(Command, Segment)],
) -> Result<(), p2pdma_nvme::Error> {
    for (slot, (command, buffer)) in (0..).zip(commands) {
        queue
            .submit(command, Data::Contiguous(*buffer), slot)
            .map_err(|rejected| rejected.error)?;
    }
    queue.ring()
}

/// Takes what has ended, and rings once.
#[inline(never)]
fn reap_batch(queue: &mut QueuePair<u32>) -> Result<usize, Box<dyn Error>> {
    let mut failed = None;
    let reaped = queue.reap(|completion: Completion<u32>| {
        if let Err(failure) = completion.outcome {
            failed = Some(failure);
        }
    })?;
    match failed {
        Some(failure) => Err(failure.into()),
        None => Ok(reaped),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let bdf: Bdf = words.next().ok_or("which device?")?.parse()?;
    let batches: u32 = words.next().ok_or("how many batches?")?.parse()?;
    let vfio = Vfio::new(&Survey::live()?, Vec::new())?;
    // Each command rings the registers: shadow doorbells would be asked for by some controllers only.
    let options = Options { shadow_doorbells: false, ..Options::default() };
    let controller = Controller::open(Arc::new(vfio.open(bdf)?), options)?;
    let namespace = controller.namespace(1)?;
    let blocks = BYTES / namespace.format().data;
    let pool = controller.alloc_dma((BYTES * DEPTH) as usize)?;
    let whole = Segment::from(&pool);
    let mut commands = Vec::new();
    for slot in 0..DEPTH {
        let at = u64::from(slot * BYTES);
        let buffer = whole.slice(at..at + u64::from(BYTES)).ok_or("beyond the buffer")?;
        commands.push((namespace.read(u64::from(slot * blocks), blocks)?, buffer));
    }
    let mut queue = controller.queue_pair(&QueueOptions::entries(64))?;
    for _ in 0..batches {
        submit_batch(&mut queue, &commands)?;
        let mut done = 0;
        while done < commands.len() {
            // How often the driver looks in vain is the device's doing: it has time to end the whole batch.
            std::thread::sleep(PAUSE);
            done += black_box(reap_batch(&mut queue)?);
        }
    }
    println!("{batches} batches of {DEPTH} reads");
    Ok(())
}
