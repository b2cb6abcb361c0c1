//! Devices that vfio has, and what their container maps.

use std::time::{Duration, Instant};

use p2pdma_linux::Survey;
use p2pdma_linux::bind::Binding;
use p2pdma_linux::vfio::{MapAccess, Vfio, VfioFunction};
use p2pdma_mem::SharedMemory;
use p2pdma_pci::{BarIndex, Bdf, Iova};

use crate::machine::Machine;
use crate::{Setup, row};

const PAGE: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(20);
/// The BAR of the controller memory buffer of QEMU's NVMe controller (hw/nvme/nvme.h of QEMU).
const CMB: u8 = 2;
/// Away from everything that is mapped.
const FREE: u64 = 1 << 32;

pub(crate) fn rows(machine: &Machine) -> Setup<()> {
    let ssd = machine.device("ssd")?;
    let lent = machine.lent("near", PAGE)?;
    let vfio = Vfio::new(&Survey::live()?, Vec::new())?;
    // Both are below root ports of their own, and so in groups of their own.
    let device = take(&vfio, machine.bdf("far")?)?;
    let peer = take(&vfio, machine.bdf("tiny")?)?;
    let map = |memory: &SharedMemory, access| {
        vfio.map(memory, Iova(FREE), access).map(|_| "ok".to_owned())
    };
    let host = SharedMemory::anonymous(PAGE)?;
    row("vfio-map-host", "P", map(&host, MapAccess::ReadWrite));
    row("vfio-map-p2pmem", "P", map(&lent, MapAccess::ReadWrite));
    row("vfio-map-p2pmem-to-read", "P", map(&lent, MapAccess::Read));
    let cmb = BarIndex::new(CMB).ok_or("no such BAR")?;
    let bar = peer.memory(cmb)?;
    row("vfio-map-peer-bar", "N", map(&bar, MapAccess::ReadWrite));
    row("vfio-bar-direct-read", "N", ssd.read(&bar.slice(0..PAGE)?, 0));
    export(&device, cmb);
    Ok(())
}

/// A slice of a BAR as a file, and whether the processor may map it.
fn export(device: &VfioFunction, bar: BarIndex) {
    match device.export(bar, &(0..PAGE as u64)) {
        Ok(file) => {
            row("vfio-export", "P", Ok("ok".to_owned()));
            let mapped = SharedMemory::map_file(&file, PAGE);
            row("vfio-export-map", "P", mapped.map(|_| "ok".to_owned()));
        }
        Err(error) => row("vfio-export", "P", Err(error)),
    }
}

/// Gives a device to vfio, and takes it.
fn take(vfio: &Vfio, bdf: &str) -> Setup<VfioFunction> {
    let at: Bdf = bdf.parse()?;
    let binding = Binding::of(at).ok_or("there is no such device")?;
    for step in binding.take() {
        step.run()?;
    }
    // The file of the group appears a moment later.
    let begin = Instant::now();
    loop {
        match vfio.open(at) {
            Ok(device) => return Ok(device),
            Err(error) if begin.elapsed() > PATIENCE => return Err(error.into()),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
