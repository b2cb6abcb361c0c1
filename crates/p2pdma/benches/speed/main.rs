//! How fast the whole stack is, each figure beside its own limit, measured in the same run.
//!
//! `cargo bench -p p2pdma --bench speed` prints a line per goal: ours, the limit, and the median of the
//! ratios of interleaved pairs with its quartiles. Real time on one core; the timing model is off unless
//! the name says otherwise.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]
#![expect(clippy::print_stdout, reason = "figures are what a benchmark is for")]
#![expect(clippy::cast_precision_loss, reason = "figures for people")]
#![expect(clippy::cast_possible_truncation, reason = "sizes that fit this machine")]

mod chains;
mod copier;
mod copies;
mod machine;
mod pair;
mod reader;
mod reads;
mod scale;

use criterion::{Criterion, criterion_group, criterion_main};

fn speed(criterion: &mut Criterion) {
    reads::null(criterion);
    reads::random(criterion);
    copies::large(criterion);
    copies::timed(criterion);
    copies::linear(criterion);
    scale::idle_devices(criterion);
    scale::memory();
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(11).measurement_time(std::time::Duration::from_secs(4));
    targets = speed
}
criterion_main!(benches);
