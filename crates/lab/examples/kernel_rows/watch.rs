//! The traps, as our own staging check sees them: it has to notice what the kernel stages.

use std::io;
use std::path::Path;
use std::sync::Arc;

use p2pdma_linux::io::{Access, DirectFile, Means, Watch};
use p2pdma_mem::SharedMemory;

use crate::machine::{Machine, Pairs};
use crate::target::Target;
use crate::{Setup, row};

const PAGE: usize = 4096;

pub(crate) fn rows(
    machine: &Machine,
    target: &Target,
    pairs: &Pairs,
    other: &SharedMemory,
) -> Setup<()> {
    let path = machine.path("ssd")?;
    let host = SharedMemory::anonymous(PAGE)?;
    let vector =
        |parts: &[&SharedMemory]| SharedMemory::read_file_vectored(parts, &target.direct, 0);
    for (means, by) in [(Means::Cachestat, "watch"), (Means::Mincore, "watch-mincore")] {
        for (pair, memory) in pairs.both() {
            let (part, whole) = (memory.slice(0..PAGE)?, 0..PAGE);
            let row = |name: &str, act: &dyn Fn() -> io::Result<usize>| {
                row(&format!("{by}-{name}"), pair, watched(&path, means, act));
            };
            row("preadv-host-first", &|| vector(&[&host, &part]));
            // Of this one nothing is left in the page cache.
            row("pwritev-host-first", &|| {
                SharedMemory::write_file_vectored(&[&host, &part], &target.direct, 0)
            });
            row("buffered-read", &|| part.read_file(whole.clone(), &target.buffered, 0));
            row("buffered-write", &|| part.write_file(whole.clone(), &target.buffered, 0));
        }
        let part = pairs.reachable.slice(0..PAGE)?;
        let row = |name: &str, act: &dyn Fn() -> io::Result<usize>| {
            row(&format!("{by}-{name}"), "P", watched(&path, means, act));
        };
        row("read", &|| part.read_file(0..PAGE, &target.direct, 0));
        row("write", &|| part.write_file(0..PAGE, &target.direct, 0));
        let second = other.slice(0..PAGE)?;
        row("preadv-two-providers", &|| vector(&[&part, &second]));
    }
    target.restore()
}

/// What a watch sees of an act.
fn watched(path: &Path, means: Means, act: &dyn Fn() -> io::Result<usize>) -> io::Result<String> {
    let file = DirectFile::open(path, Access::Read).map_err(io::Error::other)?;
    let watch = Watch::begin_by(&Arc::new(file), means)?;
    let before = watch.look()?;
    act()?;
    Ok(match watch.look()?.staged_since(&before) {
        None => "unseen",
        Some(0) => "clean",
        Some(_) => "staged",
    }
    .to_owned())
}
