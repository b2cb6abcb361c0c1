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

use super::addresses::PAGE;
use super::bar::VfioBar;
use super::device::Device;
use super::interrupt::Line;
use super::mapping::{Mapping, Part, Place, refused};
use super::{Space, place};
use crate::HostClock;

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

    /// The address that a BAR decodes, as its register says. Those of virtual functions are zero, in hardware and here
    /// (`vfio_config_init()`, drivers/vfio/pci/vfio_pci_config.c): sysfs has the address then, as the processor knows it, which
    /// below host bridges that translate is another one.
    fn address(&self, index: BarIndex) -> Result<BusAddr, Error> {
        let register = |index: u8| {
            let at = offset::BAR0 + 4 * u16::from(index);
            self.config.read(at, Width::Dword)
        };
        let low = register(index.get())?;
        let high = if low & 0b110 == 0b100 { register(index.get() + 1)? } else { 0 };
        let said = u64::from(high) << 32 | u64::from(low & !0xf);
        let bdf = self.bdf();
        let at = if said == 0 { place::resource(bdf, index.get()) } else { Some(said) };
        // Where all BARs without an address would be one and the same.
        at.map(BusAddr).ok_or(Error::NoBar { bdf, bar: index })
    }

    /// What the operating system says when this function is refused something.
    fn system(&self, what: &'static str) -> impl Fn(io::Error) -> Error {
        let bdf = self.bdf();
        move |error| match error.raw_os_error() {
            Some(libc::ENODEV | libc::ENXIO) => Error::Gone { bdf },
            Some(errno) => Error::System { bdf, what, errno },
            None => Error::Unsupported { bdf, what },
        }
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
        let region = self.device.bar(index).map_err(self.system("gets no mapping of a BAR"))?;
        let region = region.ok_or(missing)?;
        let len = region.len;
        let access = VfioBar { region, _device: Arc::clone(&self.device) };
        Ok(Bar::new(bdf, index, self.address(index)?, len, Arc::new(access)))
    }

    fn alloc_dma(&self, len: usize) -> Result<DmaBuffer, Error> {
        let reason = "the operating system maps no memory";
        let no_memory = Error::NoDmaSpace { bdf: self.bdf(), len: len as u64, reason };
        let size = (len.max(1) as u64).checked_next_multiple_of(PAGE);
        let size = size.and_then(|size| usize::try_from(size).ok()).ok_or(no_memory.clone())?;
        let whole = SharedMemory::anonymous(size).map_err(|_| no_memory.clone())?;
        let mapping = Mapping::of_host(&self.device, &whole);
        let mapping = mapping.map_err(|error| refused(&self.device, &whole, &error))?;
        let iova = mapping.iova();
        let memory = whole.slice(0..len).map_err(|_| no_memory)?;
        Ok(DmaBuffer::new(memory, iova, Arc::new(mapping)))
    }

    /// All devices of the space reach all that is mapped in it, at the same address.
    fn share_dma(&self, buffer: &DmaBuffer) -> Result<DmaBuffer, Error> {
        Ok(DmaBuffer::new(buffer.memory().clone(), buffer.iova(), buffer.lease()))
    }

    /// The kernel checks no path here (`vfio_iommu_type1` maps any device's BAR for any device, and so does iommufd):
    /// the verdict is the only guard, and is asked first, every time.
    fn map_peer(&self, memory: &Bar, range: Range<u64>) -> Result<PeerWindow, Error> {
        let addresses = memory.addresses(&range)?;
        let (owner, bdf) = (memory.owner(), self.bdf());
        let route = self.space().topology.route(bdf, owner).require().map_err(Error::Refused)?;
        let what = "cannot map memory of a device that this process has not open under vfio";
        let unknown = Error::Unsupported { bdf, what };
        let provider = self.space().devices.get(owner).ok_or(unknown.clone())?;
        let region = provider.bar(memory.index());
        let region = region.map_err(self.system("gets no mapping of a peer's BAR"))?;
        let region = region.ok_or(unknown)?;
        let what = "cannot map a part of a BAR that the kernel does not let be mapped";
        let (start, whole) = region.around(&range).ok_or(Error::Unsupported { bdf, what })?;
        // All of what is mapped of the BAR: it is reachable by whoever shares this space.
        let at = memory.address().0 + start;
        let map = |place| {
            let part = Part::new(&provider, memory.index(), start, &whole);
            let new = || Mapping::of_peer(&self.device, part, place);
            self.space().peers.get_or(place, new)
        };
        // It may lie beyond the IOMMU's width.
        let is_beyond = |error: &io::Error| error.raw_os_error() == Some(libc::EINVAL);
        let mapping = map(Place::OnBus(at)).or_else(|error| match route {
            Route::ThroughHostBridge { .. } if is_beyond(&error) => map(Place::Anywhere(at)),
            _ => Err(error),
        });
        let mapping = mapping.map_err(|error| refused(&self.device, &whole, &error))?;
        if mapping.is_revoked() {
            let what =
                "cannot map memory of a device that was reset while it is mapped for another use";
            return Err(Error::Unsupported { bdf, what });
        }
        let iova = Iova(mapping.iova().0 + (range.start - start));
        Ok(PeerWindow::new(owner, iova, addresses.end.0 - addresses.start.0, mapping))
    }

    fn interrupt(&self, vector: u16) -> Result<Interrupt, Error> {
        let bdf = self.bdf();
        let system = self.system("gets no interrupt vectors from this kernel");
        let vectors = self.device.vectors().map_err(&system)?;
        let vectors = u16::try_from(vectors).unwrap_or(u16::MAX);
        if vector >= vectors {
            return Err(Error::NoVector { bdf, vector, vectors });
        }
        let line = Line::new().map_err(&system)?;
        self.device.set_vector(vector.into(), line.eventfd()).map_err(&system)?;
        Ok(Interrupt::new(vector, Box::new(line)))
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn reset(&self) -> Result<(), Error> {
        let bdf = self.bdf();
        if !self.device.can_reset() {
            return Err(Error::Unsupported { bdf, what: "cannot be reset alone" });
        }
        retried(|| self.device.reset()).map_err(self.system("cannot be reset"))
    }
}

/// Tries again what the kernel has no leisure for: a reset, while somebody else has the device's lock
/// (`pci_try_reset_function()`, drivers/pci/pci.c).
fn retried(mut attempt: impl FnMut() -> io::Result<()>) -> io::Result<()> {
    for _ in 1..ATTEMPTS {
        match attempt() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(PAUSE),
            done => return done,
        }
    }
    attempt()
}

const ATTEMPTS: u32 = 50;
const PAUSE: std::time::Duration = std::time::Duration::from_millis(10);

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_that_has_to_wait_is_tried_again_and_others_are_not() {
        let tries = |errors: &[i32]| {
            let (mut errors, mut tries) = (errors.iter(), 0);
            let done = retried(|| {
                tries += 1;
                errors.next().map_or(Ok(()), |&errno| Err(io::Error::from_raw_os_error(errno)))
            });
            (done.map_err(|error| error.raw_os_error().unwrap()), tries)
        };
        assert_eq!(tries(&[]), (Ok(()), 1));
        assert_eq!(tries(&[libc::EAGAIN, libc::EAGAIN]), (Ok(()), 3));
        assert_eq!(tries(&[libc::EAGAIN, libc::EIO]), (Err(libc::EIO), 2));
        assert_eq!(tries(&[libc::EAGAIN; 100]), (Err(libc::EAGAIN), ATTEMPTS));
    }
}
