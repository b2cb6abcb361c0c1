//! Providers and clients that go away, or are reset.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use p2pdma_mem::SharedMemory;

use crate::machine::{Machine, allocate};
use crate::target::{self, Target};
use crate::{Setup, child, row};

const PAGE: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(30);
/// The Command register, and its bit Memory Space Enable (PCIe 6.0 §7.5.1.1.3).
const COMMAND: u64 = 4;
const MEMORY_SPACE: u8 = 2;

pub(crate) fn rows(machine: &Machine, reachable: &SharedMemory) -> Setup<()> {
    let ssd = machine.device("ssd")?;
    resets(machine, &ssd)?;
    row("provider-memory-disabled", "P", Ok(disabled(machine, &ssd)?));
    for (what, name) in [("unbind", "spare"), ("remove", "third")] {
        let bdf = machine.bdf(name)?;
        let file = allocate(bdf)?;
        let memory = SharedMemory::map_file(&file, PAGE)?;
        let row = |then: &str, result| row(&format!("provider-{what}-{then}"), "P", result);
        row("touch", child::touch(what, bdf));
        row("read", memory.read_file(0..PAGE, &ssd.direct, 0).map(|_| "ok".to_owned()));
        row("map", SharedMemory::map_file(&file, PAGE).map(|_| "ok".to_owned()));
    }
    client(machine, &ssd, reachable)
}

/// Resets of the provider between mapping and transfer.
fn resets(machine: &Machine, ssd: &Target) -> Setup<()> {
    let memory = machine.lent("spare", PAGE)?;
    let controller = machine.controller("spare")?;
    for (name, file) in [
        ("provider-reset", controller.join("reset_controller")),
        ("provider-flr", machine.function("spare")?.join("reset")),
    ] {
        fs::write(file, "1")?;
        wait_for_life(&controller)?;
        row(name, "P", ssd.read(&memory, 0));
    }
    Ok(())
}

fn wait_for_life(controller: &Path) -> Setup<()> {
    let begin = Instant::now();
    while fs::read_to_string(controller.join("state"))?.trim() != "live" {
        if begin.elapsed() > PATIENCE {
            return Err("the controller does not come back".into());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// A transfer while the provider does not decode its memory.
fn disabled(machine: &Machine, ssd: &Target) -> Setup<String> {
    let memory = machine.lent("spare", PAGE)?;
    memory.fill(0, PAGE, 1)?;
    let path = machine.function("spare")?.join("config");
    let config = OpenOptions::new().read(true).write(true).open(path)?;
    let mut command = [0];
    config.read_exact_at(&mut command, COMMAND)?;
    config.write_all_at(&[command[0] & !MEMORY_SPACE], COMMAND)?;
    let read = memory.read_file(0..PAGE, &ssd.direct, 0);
    config.write_all_at(&command, COMMAND)?;
    let lost = target::copy(&memory)?.iter().all(|&byte| byte == 1);
    Ok(match (read?, lost) {
        (PAGE, true) => "ok, and the data is lost".to_owned(),
        (count, _) => format!("{count} bytes"),
    })
}

/// The client goes, and the memory stays.
fn client(machine: &Machine, ssd: &Target, memory: &SharedMemory) -> Setup<()> {
    let bdf = machine.bdf("ssd")?;
    let part = memory.slice(0..PAGE)?;
    fs::write(machine.function("ssd")?.join("driver/unbind"), bdf)?;
    let read = part.read_file(0..PAGE, &ssd.direct, 0);
    row("client-unbind-read", "P", read.map(|count| count.to_string()));
    row("client-unbind-touch", "P", touched(&part));
    Ok(())
}

fn touched(memory: &SharedMemory) -> io::Result<String> {
    memory.fill(0, PAGE, 3).map_err(io::Error::other)?;
    let right = target::copy(memory)?.iter().all(|&byte| byte == 3);
    Ok(if right { "ok" } else { "wrong" }.to_owned())
}
