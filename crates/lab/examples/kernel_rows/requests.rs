//! Other ways to ask for the same: io_uring, and NVMe commands of one's own.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use p2pdma_linux::io::{
    Access, DirectFile, Direction, Engine, Queue, Request, identify_controller, register,
};
use p2pdma_mem::SharedMemory;

use crate::machine::{Machine, Pairs};
use crate::target::Target;
use crate::{Setup, row};

const SIZE: usize = 1 << 16;

pub(crate) fn rows(machine: &Machine, target: &Target, pairs: &Pairs) -> Setup<()> {
    // Each takes the device while it is open to be written.
    let plain = |pair, part: &SharedMemory| {
        let file = Arc::new(DirectFile::open(&machine.path("ssd")?, Access::Write)?);
        both("uring", pair, Engine::Uring, &file, target, part);
        Ok::<(), Box<dyn std::error::Error>>(())
    };
    for (pair, memory) in pairs.both() {
        let part = memory.slice(0..SIZE)?;
        plain(pair, &part)?;
        row("uring-registered", pair, register(&part).map(|()| "ok".to_owned()));
    }
    let commands = Arc::new(DirectFile::open(&commands(machine)?, Access::Write)?);
    for (pair, memory) in pairs.both() {
        let part = memory.slice(0..SIZE)?;
        both("ng", pair, Engine::Uring, &commands, target, &part);
        both("ng-waiting", pair, Engine::Synchronous, &commands, target, &part);
        // What is aligned to less than the controller's dword is copied by the processor.
        let odd = memory.slice(2..2 + 4096)?;
        let read = || request(Engine::Uring, &commands, Direction::Read, 0, &odd);
        row("ng-misaligned-memory-2", pair, target.check(&[&odd], 0, read));
        let admin = identify_controller(&commands, &part);
        row("ng-admin", pair, admin.map(|()| "ok".to_owned()));
    }
    let beyond = pairs.reachable.slice(0..4096)?;
    let read = request(Engine::Uring, &commands, Direction::Read, commands.size(), &beyond);
    row("ng-beyond-the-end", "P", read.map(|_| "ok".to_owned()));
    Ok(())
}

/// A read and a write.
fn both(
    name: &str,
    pair: &str,
    engine: Engine,
    file: &Arc<DirectFile>,
    target: &Target,
    part: &SharedMemory,
) {
    let read = || request(engine, file, Direction::Read, 0, part);
    row(&format!("{name}-read"), pair, target.check(&[part], 0, read));
    let write = || request(engine, file, Direction::Write, 0, part);
    row(&format!("{name}-write"), pair, target.check_write(part, write));
}

/// The character device of the SSD's namespace.
fn commands(machine: &Machine) -> Setup<PathBuf> {
    let block = machine.path("ssd")?.display().to_string();
    Ok(PathBuf::from(block.replacen("/dev/nvme", "/dev/ng", 1)))
}

/// One request, and its end.
fn request(
    engine: Engine,
    file: &Arc<DirectFile>,
    direction: Direction,
    position: u64,
    memory: &SharedMemory,
) -> io::Result<usize> {
    let mut queue = Queue::new(engine, 1)?;
    let (file, memory) = (Arc::clone(file), memory.clone());
    let request = Request { direction, file, position, memory, token: 0 };
    queue.push(request).map_err(|_| io::Error::other("no room"))?;
    loop {
        queue.wait(Duration::from_secs(10))?;
        if let Some(completion) = queue.pop() {
            return completion.result;
        }
    }
}
