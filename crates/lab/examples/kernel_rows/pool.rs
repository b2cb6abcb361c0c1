//! The pool, and what `allocate` gives.

use std::fs;
use std::io;

use p2pdma_mem::SharedMemory;

use crate::machine::{Machine, allocate};
use crate::{Setup, child, row};

const PAGE: usize = 4096;
const MEGABYTE: usize = 1 << 20;

pub(crate) fn rows(machine: &Machine) -> Setup<()> {
    // `near` lends 64 MiB less what the queues take, and `tiny` would lend 1 MiB.
    row("cmb-64m", "P", Ok(available(machine, "near")?.to_string()));
    let tiny = machine.function("tiny")?.join("p2pmem");
    row("cmb-1m", "P", Ok(if tiny.exists() { "lent" } else { "not lent" }.to_owned()));
    let bdf = machine.bdf("spare")?;
    let at = SharedMemory::map_file_at(&allocate(bdf)?, 4096, PAGE);
    row("allocate-at-4096", "P", at.map(|_| "ok".to_owned()));
    row("allocate-apart", "P", apart(machine));
    row("allocate-in-pieces", "P", in_pieces(machine)?);
    row("discard-frees", "P", Ok(discard(machine)?));
    row("discard-touch", "P", child::touch("discard", bdf));
    Ok(())
}

fn available(machine: &Machine, name: &str) -> Setup<usize> {
    let path = machine.function(name)?.join("p2pmem/available");
    Ok(fs::read_to_string(path)?.trim().parse()?)
}

/// Whether two mappings of one file are memory of their own.
fn apart(machine: &Machine) -> io::Result<String> {
    let file =
        allocate(machine.bdf("spare").map_err(|error| io::Error::other(error.to_string()))?)?;
    let (one, other) = (SharedMemory::map_file(&file, PAGE)?, SharedMemory::map_file(&file, PAGE)?);
    let mut byte = [0];
    one.write(0, b"1").and_then(|()| other.write(0, b"2")).map_err(io::Error::other)?;
    one.read(0, &mut byte).map_err(io::Error::other)?;
    Ok(if &byte == b"1" { "ok" } else { "the same" }.to_owned())
}

/// Whether memory comes together from pieces: half as much again is wanted as is free in one piece, and
/// less than is free.
fn in_pieces(machine: &Machine) -> Setup<io::Result<String>> {
    let file = allocate(machine.bdf("spare")?)?;
    let mut parts = Vec::new();
    for _ in 0..3 {
        parts.push(SharedMemory::map_file(&file, MEGABYTE)?);
    }
    drop(parts.remove(1));
    let wanted = 3 * MEGABYTE / 2;
    if available(machine, "spare")? < wanted {
        return Err("too little is free".into());
    }
    Ok(SharedMemory::map_file(&file, wanted).map(|_| "ok".to_owned()))
}

/// How much of two pages is free again when one is given back.
fn discard(machine: &Machine) -> Setup<String> {
    let before = available(machine, "spare")?;
    let memory = machine.lent("spare", 2 * PAGE)?;
    memory.discard(0..PAGE)?;
    Ok((before - available(machine, "spare")?).to_string())
}
