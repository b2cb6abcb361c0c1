//! What a command costs the driver: run it under callgrind at two lengths, and divide the difference of
//! the instructions in `submit_batch` and `reap_batch` by the difference of the commands.
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='*submit_batch*' --toggle-collect='*reap_batch*' \
//!     target/release/examples/instructions 1000
//! ```

#![expect(clippy::unwrap_used, reason = "the test's support, and a tool that may fail loudly")]
#![expect(clippy::print_stdout, reason = "a tool prints its result")]

#[path = "../tests/nvme/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::hint::black_box;

use p2pdma_nvme::{Data, Error, Namespace, QueueOptions, QueuePair, Segment};
use p2pdma_pci::DmaBuffer;

const DEPTH: u32 = 32;

/// Builds and submits as many commands as fit, and rings once.
#[inline(never)]
fn submit_batch(
    queue: &mut QueuePair<u32>,
    namespace: &Namespace,
    buffers: &[Segment],
) -> Result<(), Error> {
    for (slot, buffer) in (0..).zip(buffers) {
        let command = namespace.read(u64::from(slot) * 8, 8)?;
        queue.submit(&command, Data::Contiguous(*buffer), slot)?;
    }
    queue.ring()
}

/// Takes all completions, one at a time; the doorbell is rung once, when there are no more.
#[inline(never)]
fn poll_batch(queue: &mut QueuePair<u32>) -> Result<u64, Error> {
    let mut sum = 0;
    while let Some(completion) = queue.poll()? {
        completion.outcome?;
        sum += u64::from(completion.token);
    }
    Ok(sum)
}

/// Takes all completions at once.
#[inline(never)]
fn reap_batch(queue: &mut QueuePair<u32>) -> Result<u64, Error> {
    let (mut sum, mut failed) = (0, None);
    queue.reap(|completion| match completion.outcome {
        Ok(_) => sum += u64::from(completion.token),
        Err(failure) => failed = Some(failure),
    })?;
    failed.map_or(Ok(sum), |failure| Err(failure.into()))
}

fn main() {
    let batches: u64 = std::env::args().nth(1).map_or(Ok(1000), |text| text.parse()).unwrap();
    let (machine, controller) = support::open(support::controller::FakeController::default());
    let controller = controller.unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue_pair(&QueueOptions::entries(DEPTH + 1)).unwrap();
    let pool: DmaBuffer = controller.alloc_dma(DEPTH as usize * 4096).unwrap();
    let buffer = |slot| Segment::from(&pool).slice(slot * 4096..(slot + 1) * 4096).unwrap();
    let buffers: Vec<Segment> = (0..u64::from(DEPTH)).map(buffer).collect();
    let mut sum = 0;
    for _ in 0..batches {
        submit_batch(&mut queue, &namespace, &buffers).unwrap();
        machine.work();
        sum += black_box(reap_batch(&mut queue).unwrap());
        submit_batch(&mut queue, &namespace, &buffers).unwrap();
        machine.work();
        sum += black_box(poll_batch(&mut queue).unwrap());
    }
    let commands = 2 * batches * u64::from(DEPTH);
    assert_eq!(sum, batches * u64::from(DEPTH * (DEPTH - 1)));
    let bells = machine.device(|device| device.doorbells);
    println!("commands: {commands}, doorbells: {bells}");
}
