//! Configuration space, through the memory-mapped window of q35.

use std::sync::Arc;

use p2pdma_pci::{Bdf, ConfigSpace, Error, Width};
use p2pdma_spec::pci::config;

use super::qemu::Qemu;

/// Where the window is put: 256 MiB, one for each of 256 buses.
const WINDOW: u64 = 0xB000_0000;
/// The register of q35's host bridge that puts it there, and its enable bit (PCIEXBAR in the datasheet of
/// Intel's 82Q35, §5.1.18).
const PCIEXBAR: u32 = 0x60;
const ENABLE: u64 = 1;
/// The ports through which a PC's first 256 bytes of configuration space are reached (PCI Local Bus 3.0
/// §3.2.2.3.2).
const CONFIG_ADDRESS: u16 = 0xCF8;
const CONFIG_DATA: u16 = 0xCFC;

/// Opens the window.
pub(super) fn open_window(qemu: &Qemu) {
    let value = WINDOW | ENABLE;
    for (register, half) in [(PCIEXBAR + 4, value >> 32), (PCIEXBAR, value & 0xFFFF_FFFF)] {
        qemu.on_wire(|wire| {
            wire.ask(format!("outl {CONFIG_ADDRESS:#x} {:#x}", 0x8000_0000 | register))?;
            wire.ask(format!("outl {CONFIG_DATA:#x} {half:#x}"))
        });
    }
}

/// A function's configuration space.
pub(crate) struct Config {
    qemu: Arc<Qemu>,
    bdf: Bdf,
}

impl Config {
    pub(super) fn new(qemu: Arc<Qemu>, bdf: Bdf) -> Self {
        Self { qemu, bdf }
    }

    fn address(&self, offset: u16, width: Width) -> Result<u64, Error> {
        let bytes = width.bytes();
        if !offset.is_multiple_of(bytes) || offset > config::SIZE - bytes {
            let reason = "there is no such register";
            return Err(Error::Config { bdf: self.bdf, offset, reason });
        }
        Ok(WINDOW + (u64::from(self.bdf.requester()) << 12) + u64::from(offset))
    }
}

impl ConfigSpace for Config {
    fn read(&self, offset: u16, width: Width) -> Result<u32, Error> {
        let at = self.address(offset, width)?;
        let mut value = [0xFF; 4];
        let here = &mut value[..usize::from(width.bytes())];
        let answered = self.qemu.on_wire(|wire| wire.read(at, here)).is_some();
        if answered {
            value[usize::from(width.bytes())..].fill(0);
        }
        Ok(u32::from_le_bytes(value))
    }

    fn write(&self, offset: u16, width: Width, value: u32) -> Result<(), Error> {
        let at = self.address(offset, width)?;
        let value = value.to_le_bytes();
        // Whether it took effect is seen when it is read.
        self.qemu.on_wire(|wire| wire.write(at, &value[..usize::from(width.bytes())]));
        Ok(())
    }
}
