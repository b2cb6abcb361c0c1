//! A function of the fabric as a driver holds it.

use std::ops::Range;
use std::sync::Arc;

use p2pdma_pci::topology::{IommuMode, Route};
use p2pdma_pci::{
    Bar, BarAccess, BarIndex, Bdf, BusAddr, Clock, ConfigSpace, DmaBuffer, Duration, Error,
    Function, Interrupt, Iova, PeerWindow, Width,
};
use p2pdma_spec::pci::config::{Command, offset};
use p2pdma_spec::pci::express::{self, DeviceControl};
use p2pdma_spec::pci::msix::{self, MessageControl};

use crate::fabric::{Fabric, FabricConfig, VirtualClock};
use crate::host::interrupt::MESSAGE_ADDRESS;
use crate::iommu::{PAGE, Permission};
use crate::msix::ENTRY;
use crate::state::State;
use crate::tlp::Attributes;

/// Addresses that are given to devices where the IOMMU translates: above all memory and BARs, so that
/// none of them is ever mistaken for another (Linux reserves the BARs' addresses for the same reason:
/// `iova_reserve_pci_windows()`).
pub(crate) const DEVICE_ADDRESSES: Range<u64> = 1 << 46..1 << 47;

/// How long software waits after a function-level reset (PCIe 6.0 §6.6.2).
const AFTER_RESET: Duration = Duration::from_millis(100);

/// A function of a [`Fabric`], opened for a driver.
#[derive(Debug)]
pub struct FabricFunction {
    fabric: Fabric,
    index: usize,
    bdf: Bdf,
    config: FabricConfig,
    clock: VirtualClock,
}

impl FabricFunction {
    pub(crate) fn new(fabric: Fabric, bdf: Bdf, index: usize) -> Self {
        let (config, clock) = (fabric.config(bdf), fabric.clock());
        Self { fabric, index, bdf, config, clock }
    }

    fn is_gone(&self) -> bool {
        !self.fabric.lock().machine.tree.functions[self.index].present
    }

    /// Maps for this function: a mapping in its domain where the IOMMU translates, else the address
    /// itself. Says whether there is something to unmap.
    fn map(&self, state: &mut State, address: u64, len: u64) -> Result<(Iova, bool), Error> {
        if state.machine.iommu_mode != IommuMode::Translate {
            return Ok((Iova(address), false));
        }
        let slot = &mut state.machine.tree.functions[self.index];
        let reason = "the IOMMU domain has no addresses left";
        let no_space = Error::NoDmaSpace { bdf: self.bdf, len, reason };
        let iova = slot.addresses.allocate(len, PAGE).map(Iova).ok_or(no_space.clone())?;
        if slot.domain.map(iova, len, BusAddr(address), Permission::READ_WRITE).is_err() {
            slot.addresses.release(iova.0, len);
            return Err(no_space);
        }
        state.remapped();
        Ok((iova, true))
    }

    fn lease(&self, iova: Iova, len: u64, mapped: bool, host: Option<u64>) -> Mapping {
        Mapping { fabric: self.fabric.clone(), function: self.index, iova, len, mapped, host }
    }
}

impl Function for FabricFunction {
    fn bdf(&self) -> Bdf {
        self.bdf
    }

    fn config(&self) -> &dyn ConfigSpace {
        &self.config
    }

    fn map_bar(&self, index: BarIndex) -> Result<Bar, Error> {
        let state = self.fabric.lock();
        let bars = &state.machine.tree.functions[self.index].bars;
        let found = bars.iter().find(|bar| bar.index == index);
        let missing = Error::NoBar { bdf: self.bdf, bar: index };
        let (bar, (start, _)) = found.and_then(|bar| Some((bar, bar.range()?))).ok_or(missing)?;
        let access = Arc::new(FabricBar { fabric: self.fabric.clone(), start });
        Ok(Bar::new(self.bdf, index, BusAddr(start), bar.len, access))
    }

    fn alloc_dma(&self, len: usize) -> Result<DmaBuffer, Error> {
        let mut state = self.fabric.lock();
        let reason = "the host's memory is used up or fragmented";
        let no_memory = Error::NoDmaSpace { bdf: self.bdf, len: len as u64, reason };
        let size = (len as u64).max(1).checked_next_multiple_of(PAGE);
        let size = size.ok_or(no_memory.clone())?;
        let found = state.machine.host_memory.allocate(size, PAGE);
        let (address, memory) = found.ok_or(no_memory.clone())?;
        let mapping = self.map(&mut state, address, size);
        if mapping.is_err() {
            state.machine.host_memory.release(address, size);
        }
        // Dropping a lease takes the lock.
        drop(state);
        let (iova, mapped) = mapping?;
        let lease = self.lease(iova, size, mapped, Some(address));
        let memory = memory.slice(0..len).map_err(|_| no_memory)?;
        Ok(DmaBuffer::new(memory, iova, Arc::new(lease)))
    }

    fn share_dma(&self, buffer: &DmaBuffer) -> Result<DmaBuffer, Error> {
        let mut state = self.fabric.lock();
        let size = (buffer.len() as u64).max(1).next_multiple_of(PAGE);
        let reason = "it is not this machine's memory";
        let foreign = Error::NoDmaSpace { bdf: self.bdf, len: size, reason };
        let address = state.machine.host_memory.address_of(buffer.memory()).ok_or(foreign)?;
        let (iova, mapped) = self.map(&mut state, address, size)?;
        drop(state);
        let lease = (self.lease(iova, size, mapped, None), buffer.lease());
        Ok(DmaBuffer::new(buffer.memory().clone(), iova, Arc::new(lease)))
    }

    fn map_peer(&self, memory: &Bar, range: Range<u64>) -> Result<PeerWindow, Error> {
        let addresses = memory.addresses(&range)?;
        let len = range.end - range.start;
        let what = "is part of a machine that is not enumerated";
        let topology = self.fabric.topology();
        let topology = topology.map_err(|_| Error::Unsupported { bdf: self.bdf, what })?;
        let route = topology.route(self.bdf, memory.owner()).require().map_err(Error::Refused)?;
        // Whole pages are mapped, so what shares a page with the window is reachable too.
        let first = addresses.start.0 / PAGE * PAGE;
        let before = addresses.start.0 - first;
        let pages = (before + len).next_multiple_of(PAGE);
        let (iova, mapped) = match route {
            // The BAR's own address: an IOMMU would never see it.
            Route::BusAddress { .. } => (Iova(first), false),
            _ => self.map(&mut self.fabric.lock(), first, pages)?,
        };
        let lease = self.lease(iova, pages, mapped, None);
        Ok(PeerWindow::new(memory.owner(), Iova(iova.0 + before), len, Arc::new(lease)))
    }

    fn interrupt(&self, vector: u16) -> Result<Interrupt, Error> {
        let mut state = self.fabric.lock();
        let slot = &state.machine.tree.functions[self.index];
        let vectors = slot.msix.as_ref().map_or(0, crate::msix::Msix::vectors);
        if vector >= vectors {
            return Err(Error::NoVector { bdf: self.bdf, vector, vectors });
        }
        let capability = slot.config.offsets.msix;
        let (data, line) = state.interrupts.open(self.index);
        if let Some(msix) = &mut state.machine.tree.functions[self.index].msix {
            let at = u64::from(vector) * ENTRY;
            msix.write_table(at, &MESSAGE_ADDRESS.to_le_bytes());
            msix.write_table(at + 8, &u64::from(data).to_le_bytes());
        }
        let register = capability + msix::offset::MESSAGE_CONTROL;
        let bits = state.config_read(self.bdf, register, Width::Word).to_le_bytes();
        let control = MessageControl::from_bits(u16::from_le_bytes([bits[0], bits[1]]));
        let control = control.with_enable(true).with_function_mask(false).into_bits();
        state.config_write(self.bdf, register, Width::Word, u32::from(control));
        state.send_pending(self.index);
        Ok(Interrupt::new(vector, Box::new(line)))
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    /// BARs, Device Control and memory decode are as before, as Linux restores them; bus mastering and MSI-X are off until a
    /// driver asks for them again.
    fn reset(&self) -> Result<(), Error> {
        if self.is_gone() {
            return Err(Error::Gone { bdf: self.bdf });
        }
        let what = "has no function-level reset";
        let express = self.fabric.lock().machine.tree.functions[self.index].config.offsets.express;
        let capabilities =
            self.config.read(express + express::offset::DEVICE_CAPABILITIES, Width::Dword)?;
        if !express::DeviceCapabilities::from_bits(capabilities).function_level_reset() {
            return Err(Error::Unsupported { bdf: self.bdf, what });
        }
        let bars = (0..6).map(|index| offset::BAR0 + 4 * index);
        let saved: Result<Vec<_>, Error> =
            bars.map(|at| Ok((at, self.config.read(at, Width::Dword)?))).collect();
        let register = express + express::offset::DEVICE_CONTROL;
        let control = self.config.read(register, Width::Word)?;
        let initiate = DeviceControl::new().with_initiate_function_level_reset(true).into_bits();
        self.config.write(register, Width::Word, control | u32::from(initiate))?;
        self.fabric.lock().wait(AFTER_RESET);
        self.config.write(register, Width::Word, control)?;
        for (at, value) in saved? {
            self.config.write(at, Width::Dword, value)?;
        }
        let command = Command::new().with_memory_space(true).into_bits();
        self.config.write(offset::COMMAND, Width::Word, u32::from(command))?;
        if self.is_gone() { Err(Error::Gone { bdf: self.bdf }) } else { Ok(()) }
    }
}

/// A BAR as the processor reaches it: by requests from the root.
struct FabricBar {
    fabric: Fabric,
    start: u64,
}

impl BarAccess for FabricBar {
    fn read(&self, offset: u64, data: &mut [u8]) {
        self.fabric.lock().host_read(self.start + offset, data, &Attributes::CONTROL);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        self.fabric.lock().host_write(self.start + offset, data);
    }

    fn read_data(&self, offset: u64, data: &mut [u8]) {
        self.fabric.lock().host_read(self.start + offset, data, &Attributes::DATA);
    }

    fn write_data(&self, offset: u64, data: &[u8]) {
        self.fabric.lock().host_write_data(self.start + offset, data);
    }
}

/// What a DMA buffer or peer window holds, and gives back.
struct Mapping {
    fabric: Fabric,
    function: usize,
    iova: Iova,
    len: u64,
    mapped: bool,
    /// Where in host memory it is, if it is.
    host: Option<u64>,
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let mut state = self.fabric.lock();
        if self.mapped {
            let slot = &mut state.machine.tree.functions[self.function];
            slot.domain.unmap(self.iova);
            slot.addresses.release(self.iova.0, self.len);
            state.remapped();
        }
        if let Some(address) = self.host {
            state.machine.host_memory.release(address, self.len);
        }
    }
}
