//! How much of the core is ours at the moment.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Steps of a chain: 40 microseconds, long beside the clock's resolution.
const STEPS: u32 = 1 << 16;

/// How many of four independent chains of rotations and additions the core runs in the time of one. That does not
/// depend on its clock, but on how much of it is ours: less of it while another hardware thread of the same core is
/// busy, which may be another virtual machine's, and which nothing else tells.
pub(crate) fn side_by_side() -> f64 {
    let (mut one, mut four) = (Duration::ZERO, Duration::ZERO);
    for _ in 0..5 {
        one += run([1]);
        four += run([1, 2, 3, 4]);
    }
    4.0 * one.as_secs_f64() / four.as_secs_f64()
}

#[inline(never)]
fn run<const N: usize>(chains: [u64; N]) -> Duration {
    let (mut chains, begin) = (black_box(chains), Instant::now());
    for _ in 0..STEPS {
        for chain in &mut chains {
            *chain = chain.rotate_left(7).wrapping_add(0x9e37_79b9);
        }
    }
    black_box(chains);
    begin.elapsed()
}
