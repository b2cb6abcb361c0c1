//! A device under vfio as the drivers of this project hold it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use p2pdma_mem::SharedMemory;
use p2pdma_pci::topology::Route;
use p2pdma_pci::{
    Bar, BarIndex, Bdf, BusAddr, Clock, ConfigSpace, DmaBuffer, Error, Function, Interrupt, Iova,
    PeerWindow, Width,
};
use p2pdma_spec::pci::config::offset;

use super::Space;
use super::bar::VfioBar;
use super::device::Device;
use super::interrupt::Line;
use super::mapping::Mapping;
use crate::HostClock;

/// Mappings are of whole pages.
const PAGE: usize = 4096;

/// A function of this machine, in this process's hands.
pub struct VfioFunction {
    device: Arc<Device>,
    config: VfioConfig,
    clock: HostClock,
}

impl VfioFunction {
    pub(super) fn new(device: Arc<Device>) -> Self {
        let config = VfioConfig(Arc::clone(&device));
        Self { device, config, clock: HostClock::new() }
    }

    fn space(&self) -> &Arc<Space> {
        self.device.space()
    }

    /// The memory behind a BAR, as far as it is mapped from its first byte on.
    ///
    /// # Errors
    /// What the operating system says; that there is none.
    pub fn memory(&self, index: BarIndex) -> io::Result<SharedMemory> {
        let region = self.device.bar(index)?.ok_or(io::ErrorKind::NotFound)?;
        let (_, memory) = region.around(&(0..1)).ok_or(io::ErrorKind::Unsupported)?;
        Ok(memory)
    }

    /// A file that stands for a part of the memory behind a BAR (dma-buf): for other drivers to import, not to
    /// be mapped.
    ///
    /// # Errors
    /// ENOTTY before Linux 6.19; what the operating system says.
    pub fn export(&self, index: BarIndex, range: &Range<u64>) -> io::Result<File> {
        self.device.export(index, range)
    }

    /// The address that a BAR decodes, as its register says.
    fn address(&self, index: BarIndex) -> Result<BusAddr, Error> {
        let register = |index: u8| {
            let at = offset::BAR0 + 4 * u16::from(index);
            self.config.read(at, Width::Dword)
        };
        let low = register(index.get())?;
        let high = if low & 0b110 == 0b100 { register(index.get() + 1)? } else { 0 };
        Ok(BusAddr(u64::from(high) << 32 | u64::from(low & !0xf)))
    }
}

impl Function for VfioFunction {
    fn bdf(&self) -> Bdf {
        self.device.bdf
    }

    fn config(&self) -> &dyn ConfigSpace {
        &self.config
    }

    fn map_bar(&self, index: BarIndex) -> Result<Bar, Error> {
        let (bdf, missing) = (self.bdf(), Error::NoBar { bdf: self.bdf(), bar: index });
        let region = self.device.bar(index).map_err(|_| missing.clone())?.ok_or(missing)?;
        let len = region.len;
        let access = VfioBar { region, _device: Arc::clone(&self.device) };
        Ok(Bar::new(bdf, index, self.address(index)?, len, Arc::new(access)))
    }

    fn alloc_dma(&self, len: usize) -> Result<DmaBuffer, Error> {
        let reason = "the operating system maps no memory";
        let no_memory = Error::NoDmaSpace { bdf: self.bdf(), len: len as u64, reason };
        let size = len.max(1).checked_next_multiple_of(PAGE).ok_or(no_memory.clone())?;
        let whole = SharedMemory::anonymous(size).map_err(|_| no_memory.clone())?;
        let mapping = Mapping::of_host(&self.device, &whole)?;
        let iova = mapping.iova();
        let memory = whole.slice(0..len).map_err(|_| no_memory)?;
        Ok(DmaBuffer::new(memory, iova, Arc::new(mapping)))
    }

    /// All devices of the space reach all that is mapped in it, at the same address.
    fn share_dma(&self, buffer: &DmaBuffer) -> Result<DmaBuffer, Error> {
        Ok(DmaBuffer::new(buffer.memory().clone(), buffer.iova(), buffer.lease()))
    }

    /// The kernel checks no path here (`vfio_iommu_type1` maps any device's BAR for any device): the verdict is
    /// the only guard, and is asked first, every time.
    fn map_peer(&self, memory: &Bar, range: Range<u64>) -> Result<PeerWindow, Error> {
        let addresses = memory.addresses(&range)?;
        let (owner, bdf) = (memory.owner(), self.bdf());
        let route = self.space().topology.route(bdf, owner).require().map_err(Error::Refused)?;
        let what = "cannot map memory of a device that this process has not open under vfio";
        let unknown = Error::Unsupported { bdf, what };
        let provider = self.space().device(owner).ok_or(unknown.clone())?;
        let region = provider.bar(memory.index()).map_err(|_| unknown.clone())?.ok_or(unknown)?;
        let what = "cannot map a part of a BAR that the kernel does not let be mapped";
        let (start, whole) = region.around(&range).ok_or(Error::Unsupported { bdf, what })?;
        // All of what is mapped of the BAR: it is reachable by whoever shares this space.
        let in_place = memory.address().0 + start;
        let mapping = self.space().peer(in_place, || {
            Mapping::of_peer_in_place(&self.device, &whole, &provider, Iova(in_place))
        });
        let mapping = match (mapping, route) {
            (Err(_), Route::ThroughHostBridge { .. }) => {
                Arc::new(Mapping::of_peer(&self.device, &whole, &provider)?)
            }
            (mapping, _) => mapping?,
        };
        let iova = Iova(mapping.iova().0 + (range.start - start));
        Ok(PeerWindow::new(owner, iova, addresses.end.0 - addresses.start.0, mapping))
    }

    fn interrupt(&self, vector: u16) -> Result<Interrupt, Error> {
        let bdf = self.bdf();
        let vectors = self.device.vectors().unwrap_or(0);
        let vectors = u16::try_from(vectors).unwrap_or(u16::MAX);
        let missing = Error::NoVector { bdf, vector, vectors };
        if vector >= vectors {
            return Err(missing);
        }
        let line = Line::new().map_err(|_| missing.clone())?;
        let set = self.device.set_vector(vector.into(), line.eventfd());
        let what = "gets no more interrupt vectors from this kernel";
        set.map_err(|_| Error::Unsupported { bdf, what })?;
        Ok(Interrupt::new(vector, Box::new(line)))
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn reset(&self) -> Result<(), Error> {
        let bdf = self.bdf();
        if !self.device.resets() {
            return Err(Error::Unsupported { bdf, what: "cannot be reset alone" });
        }
        self.device.reset().map_err(|_| Error::Gone { bdf })
    }
}

/// Configuration space, as far as the kernel lets it be written.
struct VfioConfig(Arc<Device>);

impl VfioConfig {
    fn error(&self, offset: u16, error: &io::Error) -> Error {
        let reason = match error.kind() {
            io::ErrorKind::InvalidInput => "it is outside, or not aligned",
            _ => "the kernel refuses it",
        };
        Error::Config { bdf: self.0.bdf, offset, reason }
    }

    fn check(&self, offset: u16, width: Width) -> Result<(), Error> {
        let aligned = offset.is_multiple_of(width.bytes());
        let error = io::Error::from(io::ErrorKind::InvalidInput);
        if aligned { Ok(()) } else { Err(self.error(offset, &error)) }
    }
}

impl ConfigSpace for VfioConfig {
    fn read(&self, offset: u16, width: Width) -> Result<u32, Error> {
        self.check(offset, width)?;
        let mut word = [0; 4];
        let part = &mut word[..usize::from(width.bytes())];
        self.0.read_config(offset, part).map_err(|error| self.error(offset, &error))?;
        Ok(u32::from_le_bytes(word))
    }

    fn write(&self, offset: u16, width: Width, value: u32) -> Result<(), Error> {
        self.check(offset, width)?;
        let word = value.to_le_bytes();
        let part = &word[..usize::from(width.bytes())];
        self.0.write_config(offset, part).map_err(|error| self.error(offset, &error))
    }
}

impl std::fmt::Debug for VfioFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VfioFunction").field("bdf", &self.device.bdf).finish_non_exhaustive()
    }
}
