//! Runs in the guest: does with memory that the kernel lends (p2pmem) what programs may do with a buffer,
//! and prints what came of it. The kernel's rules by deed, a row each.
//!
//! `kernel_rows all NAME=BDF…` tries everything, `kernel_rows heads NAME=BDF…` block devices that are
//! heads of a multipath, `kernel_rows vfio NAME=BDF…` what vfio maps, behind an IOMMU. The names are those of the machine file beside the test
//! (`tests/rows/machine.toml`). It prints `kernel VERSION`, and then a line each: `row NAME PAIR RESULT`.
//! PAIR is `P` with memory that the SSD reaches, `N` with memory that it does not. RESULT is `ok` (every
//! byte is right), `wrong`, `short`, `lost` (a write succeeded, and what was there before is there still), or
//! the name of an error; `staged` beside it says that the page cache has the bytes now: they did not go
//! from device to device.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "this is a program")]

mod block;
mod child;
mod files;
mod machine;
mod memory;
mod pool;
mod requests;
mod revocation;
mod stacks;
mod target;
mod vfio;
mod watch;

use std::error::Error;
use std::{env, fs, io};

use machine::Machine;

/// What went wrong with the surroundings of a row, rather than in it.
type Setup<T> = Result<T, Box<dyn Error>>;

fn main() -> Setup<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let Some((word, rest)) = arguments.split_first() else { return Err("what?".into()) };
    if word == child::WORD {
        return child::run(rest);
    }
    println!("kernel {}", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim());
    let machine = Machine::find(rest)?;
    match word.as_str() {
        "all" => all(&machine),
        "heads" => block::rows("head-", &machine.head("ssd")?, &machine.pairs()?),
        "vfio" => vfio::rows(&machine),
        _ => Err(format!("'{word}' is none of 'all', 'heads' and 'vfio'").into()),
    }
}

fn all(machine: &Machine) -> Setup<()> {
    // Before anybody has any of the memory.
    pool::rows(machine)?;
    let pairs = machine.pairs()?;
    let ssd = machine.device("ssd")?;
    block::rows("", &ssd, &pairs)?;
    let third = machine.lent("third", 1 << 16)?;
    block::alone(&ssd, &pairs.reachable, &third)?;
    watch::rows(machine, &ssd, &pairs, &third)?;
    drop(third);
    requests::rows(machine, &ssd, &pairs)?;
    memory::rows(machine, &ssd, &pairs.reachable)?;
    files::rows(machine, &pairs)?;
    stacks::rows(machine, &pairs)?;
    drop(ssd);
    // What comes last takes the machine apart.
    revocation::rows(machine, &pairs.reachable)
}

/// Prints a row.
fn row(name: &str, pair: &str, result: io::Result<String>) {
    println!("row {name} {pair} {}", result.unwrap_or_else(|error| errno(&error)));
}

/// The name of an error, if it is one that is expected anywhere.
fn errno(error: &io::Error) -> String {
    let name = match error.raw_os_error() {
        Some(5) => "EIO",
        Some(12) => "ENOMEM",
        Some(14) => "EFAULT",
        Some(19) => "ENODEV",
        Some(22) => "EINVAL",
        Some(121) => "EREMOTEIO",
        _ => return format!("{error}"),
    };
    name.to_owned()
}
