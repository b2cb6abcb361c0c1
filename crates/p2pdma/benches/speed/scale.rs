//! What size costs: idle devices, a thousand endpoints, an empty terabyte.

use std::time::Instant;

use criterion::Criterion;

use crate::machine::{machine, platform};
use crate::pair::Pair;
use crate::reader::Reader;

/// Cost grows with commands, not with devices that do nothing.
pub(crate) fn idle_devices(criterion: &mut Criterion) {
    let few = machine(2, "null", "off");
    let mut base = Reader::new(&few, "d0-0");
    for endpoints in [32, 1024] {
        let many = machine(endpoints, "null", "off");
        let mut reader = Reader::new(&many, "d0-0");
        let name =
            format!("4 KiB reads of a null namespace beside {} idle controllers", endpoints - 1);
        let pair = Pair {
            name: &name,
            unit: "commands",
            limit: "beside one idle controller",
            goal: Some(0.9),
        };
        pair.run(criterion, |count| base.run(count), |count| reader.run(count));
    }
}

/// Building 1,024 endpoints, and a namespace of a terabyte.
pub(crate) fn memory() {
    let before = resident();
    let begin = Instant::now();
    let machine = platform(1024, "1T", "memory", "off");
    let (took, cost) = (begin.elapsed(), resident().saturating_sub(before));
    let verdict = |good| if good { "met" } else { "MISSED" };
    println!(
        "1,024 endpoints of 1 TiB each: {:.0} ms (goal 100: {}), {:.1} MiB resident (goal 64: {})",
        took.as_secs_f64() * 1e3,
        verdict(took.as_millis() < 100),
        cost as f64 / 1048576.0,
        verdict(cost < 64 << 20),
    );
    drop(machine);
}

/// Resident memory of this process in bytes (Linux: /proc/self/statm, in pages).
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = text.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}
