//! Reads and writes of a block device.

use p2pdma_mem::SharedMemory;

use crate::machine::Pairs;
use crate::target::Target;
use crate::{Setup, row};

const PAGE: usize = 4096;

/// What is tried with both kinds of memory.
pub(crate) fn rows(prefix: &str, target: &Target, pairs: &Pairs) -> Setup<()> {
    for (pair, memory) in pairs.both() {
        let row = |name: &str, result| row(&format!("{prefix}{name}"), pair, result);
        for (size, name) in [(512, "512"), (PAGE, "4k"), (1 << 16, "64k")] {
            let part = memory.slice(0..size)?;
            row(&format!("read-{name}"), target.read(&part, 0));
            row(&format!("write-{name}"), target.write(&part));
        }
        let (first, second) = (memory.slice(PAGE..3 * PAGE)?, memory.slice(0..PAGE)?);
        row("preadv", target.read_vectored(&[&first, &second]));
        let host = SharedMemory::anonymous(PAGE)?;
        row("preadv-host-first", target.read_vectored(&[&host, &first]));
        row("buffered-read", target.read_buffered(&second));
        row("buffered-write", target.write_buffered(&second));
    }
    Ok(())
}

/// What is tried with memory that is reached: two providers in one vector, and alignments.
pub(crate) fn alone(target: &Target, memory: &SharedMemory, other: &SharedMemory) -> Setup<()> {
    let (first, second) = (memory.slice(0..PAGE)?, other.slice(0..PAGE)?);
    row("preadv-two-providers", "P", target.read_vectored(&[&first, &second]));
    for (name, start, len, position) in [
        ("aligned-memory-4", 4, 512, 512),
        ("misaligned-memory-2", 2, 512, 512),
        ("misaligned-position-256", 0, 512, 256),
        ("misaligned-length-256", 0, 256, 512),
    ] {
        row(name, "P", target.read(&memory.slice(start..start + len)?, position));
    }
    Ok(())
}
