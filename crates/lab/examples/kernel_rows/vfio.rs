//! Devices that vfio has, and what their container maps.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use p2pdma_linux::vfio::{Container, Device, MapAccess};
use p2pdma_mem::SharedMemory;
use p2pdma_pci::{BarIndex, Bdf, Iova};

use crate::machine::{Machine, function};
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
    let container = Container::open()?;
    // Both are below root ports of their own, and so in groups of their own.
    let device = take(&container, machine.bdf("far")?)?;
    let peer = take(&container, machine.bdf("tiny")?)?;
    let map = |memory: &SharedMemory, access| {
        container.map(memory, Iova(FREE), access).map(|_| "ok".to_owned())
    };
    let host = SharedMemory::anonymous(PAGE)?;
    row("vfio-map-host", "P", map(&host, MapAccess::ReadWrite));
    row("vfio-map-p2pmem", "P", map(&lent, MapAccess::ReadWrite));
    row("vfio-map-p2pmem-to-read", "P", map(&lent, MapAccess::Read));
    let cmb = BarIndex::new(CMB).ok_or("no such BAR")?;
    let bar = peer.map_bar(cmb)?;
    row("vfio-map-peer-bar", "N", map(&bar, MapAccess::ReadWrite));
    row("vfio-bar-direct-read", "N", ssd.read(&bar.slice(0..PAGE)?, 0));
    export(&device, cmb);
    Ok(())
}

/// A slice of a BAR as a file, and whether the processor may map it.
fn export(device: &Device, bar: BarIndex) {
    match device.export(bar, 0..PAGE as u64) {
        Ok(file) => {
            row("vfio-export", "P", Ok("ok".to_owned()));
            let mapped = SharedMemory::map_file(&file, PAGE);
            row("vfio-export-map", "P", mapped.map(|_| "ok".to_owned()));
        }
        Err(error) => row("vfio-export", "P", Err(error)),
    }
}

/// Gives a device to vfio, and takes it.
fn take(container: &Container, bdf: &str) -> Setup<Device> {
    let folder = function(bdf);
    fs::write(folder.join("driver/unbind"), bdf)?;
    fs::write(folder.join("driver_override"), "vfio-pci")?;
    fs::write("/sys/bus/pci/drivers_probe", bdf)?;
    let at: Bdf = bdf.parse()?;
    let begin = Instant::now();
    loop {
        match container.add(at) {
            Ok(device) => return Ok(device),
            Err(error) if begin.elapsed() > PATIENCE => return Err(refused(bdf, &error).into()),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

fn refused(bdf: &str, error: &io::Error) -> String {
    let group = fs::read_link(function(bdf).join("iommu_group")).unwrap_or_default();
    let group = group.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let there = Path::new("/dev/vfio").join(&group).exists();
    format!("{bdf} in group '{group}' (there: {there}): {error}")
}
