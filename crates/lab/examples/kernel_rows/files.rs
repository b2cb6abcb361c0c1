//! Files on ext4.

use std::path::Path;
use std::process::Command;

use crate::machine::{Machine, Pairs};
use crate::target::{self, Target};
use crate::{Setup, row};

const ROOT: &str = "/mnt";
const SIZE: usize = 1 << 14;

pub(crate) fn rows(machine: &Machine, pairs: &Pairs) -> Setup<()> {
    let device = machine.path("files")?;
    run(Command::new("mkfs.ext4").arg("-q").arg(&device))?;
    run(Command::new("mount").args(["-t", "ext4"]).arg(&device).arg(ROOT))?;
    let file = Target::file(&Path::new(ROOT).join("file"))?;
    file.restore()?;
    for (pair, memory) in pairs.both() {
        let part = memory.slice(0..SIZE)?;
        row("ext4-read", pair, file.read(&part, 0));
        row("ext4-write", pair, file.write(&part));
        let empty = Target::file(&Path::new(ROOT).join(format!("empty-{pair}")))?;
        row("ext4-extend", pair, empty.write(&part));
        let hole = Target::file(&Path::new(ROOT).join(format!("hole-{pair}")))?;
        hole.direct.set_len(target::KNOWN as u64)?;
        part.fill(0, SIZE, 1)?;
        let read = part.read_file(0..SIZE, &hole.direct, 0);
        let zeros = target::copy(&part)?.iter().all(|&byte| byte == 0);
        row("ext4-hole", pair, read.map(|_| if zeros { "zeros" } else { "wrong" }.to_owned()));
    }
    Ok(())
}

/// Runs a program that has to succeed; what it says goes to standard error.
pub(crate) fn run(command: &mut Command) -> Setup<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    Err(format!("{command:?}: {}: {said}", output.status).into())
}
