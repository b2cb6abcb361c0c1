//! What else can be done with pages, and with what looks like them.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::OwnedFd;

use p2pdma_mem::SharedMemory;

use crate::machine::Machine;
use crate::target::Target;
use crate::{Setup, row};

const PAGE: usize = 4096;
/// The BAR of the controller memory buffer of QEMU's NVMe controller (hw/nvme/nvme.h of QEMU).
const CMB: &str = "resource2";

pub(crate) fn rows(machine: &Machine, ssd: &Target, memory: &SharedMemory) -> Setup<()> {
    row("mlock", "P", memory.lock(0..PAGE).map(|()| "ok".to_owned()));
    let (_reader, writer) = io::pipe()?;
    let pipe = File::from(OwnedFd::from(writer));
    row("vmsplice", "P", memory.splice(0..PAGE, &pipe).map(|_| "ok".to_owned()));
    // A driver keeps what it has for itself.
    fs::write(machine.function("tiny")?.join("driver/unbind"), machine.bdf("tiny")?)?;
    let bar = machine.function("tiny")?.join(CMB);
    let file = OpenOptions::new().read(true).write(true).open(bar)?;
    row("resource-mapping", "P", resource(&file, ssd));
    Ok(())
}

fn resource(file: &File, ssd: &Target) -> io::Result<String> {
    ssd.read(&SharedMemory::map_file(file, PAGE)?, 0)
}
