//! Reads of a null namespace and nothing else, for counting instructions: `cargo xtask instructions`
//! runs it under callgrind with two counts, and divides the difference.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run should stop")]

#[path = "../speed/machine.rs"]
mod machine;
#[path = "../speed/reader.rs"]
mod reader;

fn main() {
    // What cargo passes to every benchmark is no count: then a few commands show that it runs.
    let count = std::env::args().filter_map(|word| word.parse().ok()).next().unwrap_or(1000);
    let fabric = machine::machine(2, "null", "translate");
    reader::Reader::new(&fabric, "d0-0").run(count);
}
