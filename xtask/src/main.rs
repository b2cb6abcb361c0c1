//! The project's tasks: what a contributor runs is what CI runs.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "these are commands")]

mod boots;
mod ci;
mod docs;
mod driver;
mod edges;
mod fuzz;
#[cfg(test)]
mod historical;
mod instructions;
mod planted;
mod sizes;
mod source;
mod suite;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask TASK

 ci       everything that has to hold: format, lints, edges, sizes, tests, docs, fuzzing
 fuzz [N] every fuzz target for N seconds (10)
 guests   the command in guests of other architectures, for which it is built
 iommufd KERNEL   devices under vfio on a kernel that has iommufd
 instructions   what a command costs, counted under callgrind
 docs     every command in README and guide, and what it prints
 driver   the driver's speed in one table: minutes
 edges    the dependency edges between crates, and where unsafe may be
 oracle [record]   the verdict on every pair of devices, compared with real kernels; and recorded
 planted [NAME] bugs that the tests must notice, planted one by one in a copy
 rows     the kernel's rules for memory that devices lend, row by row, with a real kernel
 sizes    the size budget of files and functions
 tests    all tests, and how many cases they tried";

fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    let result = match task.as_str() {
        "ci" => ci::run(),
        "docs" => docs::run(),
        "driver" => driver::run(),
        "edges" => edges::check().map(|report| println!("{report}")),
        "fuzz" => fuzz_seconds().and_then(fuzz::run),
        "guests" => boots::guests(),
        "instructions" => instructions::run(),
        "iommufd" => boots::iommufd(std::env::args().nth(2).as_deref()),
        "oracle" => boots::oracle(std::env::args().nth(2).as_deref()),
        "planted" => planted::run(&std::env::args().nth(2).unwrap_or_default()),
        "rows" => boots::rows(),
        "tests" => suite::run(),
        "sizes" => sizes::check().map(|report| println!("{report}")),
        _ => {
            println!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn fuzz_seconds() -> anyhow::Result<u32> {
    Ok(std::env::args().nth(2).map_or(Ok(10), |word| word.parse())?)
}
