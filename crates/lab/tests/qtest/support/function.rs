//! A function of a QEMU that is driven by qtest, as a driver holds it.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;

use p2pdma_pci::topology::Topology;
use p2pdma_pci::{
    Bar, BarAccess, BarIndex, Bdf, BusAddr, Clock, ConfigSpace, DmaBuffer, Duration, Error,
    Function, Instant, Interrupt, InterruptLine, Iova, PeerWindow, Width,
};
use p2pdma_spec::pci::capability::CapabilityId;
use p2pdma_spec::pci::config::{Command, offset};
use p2pdma_spec::pci::express::{self, DeviceCapabilities, DeviceControl};
use p2pdma_spec::pci::msix::{self, MessageControl, TableLocation, VectorControl};
use zerocopy::IntoBytes as _;

use super::config::Config;
use super::enumerate::Found;
use super::qemu::{PAGE, Qemu};

/// How long software waits after a function-level reset (PCIe 6.0 §6.6.2).
const AFTER_RESET: std::time::Duration = std::time::Duration::from_millis(100);

/// A function, opened for a driver. There is no IOMMU: devices emit the machine's own addresses.
pub(crate) struct QtestFunction {
    qemu: Arc<Qemu>,
    topology: Arc<Topology>,
    found: Found,
    config: Config,
    clock: WallClock,
}

impl QtestFunction {
    pub(super) fn new(qemu: Arc<Qemu>, topology: Arc<Topology>, found: Found) -> Self {
        let config = Config::new(Arc::clone(&qemu), found.bdf);
        Self { qemu, topology, found, config, clock: WallClock(std::time::Instant::now()) }
    }

    fn config_dyn(&self) -> &dyn ConfigSpace {
        &self.config
    }

    /// Where the MSI-X capability is, and how many vectors it has.
    fn msix(&self) -> Result<Option<(u16, MessageControl)>, Error> {
        let Some(at) = self.config_dyn().capability(CapabilityId::MSI_X)? else { return Ok(None) };
        let bits = self.config.read(at + msix::offset::MESSAGE_CONTROL, Width::Word)?;
        Ok(Some((at, MessageControl::from_bits(low_word(bits)))))
    }
}

impl Function for QtestFunction {
    fn bdf(&self) -> Bdf {
        self.found.bdf
    }

    fn config(&self) -> &dyn ConfigSpace {
        &self.config
    }

    fn map_bar(&self, index: BarIndex) -> Result<Bar, Error> {
        let bar = self.found.bars.iter().find(|bar| bar.0 == index);
        let &(_, start, len) = bar.ok_or(Error::NoBar { bdf: self.bdf(), bar: index })?;
        let access = Arc::new(QtestBar { qemu: Arc::clone(&self.qemu), start });
        Ok(Bar::new(self.bdf(), index, BusAddr(start), len, access))
    }

    fn alloc_dma(&self, len: usize) -> Result<DmaBuffer, Error> {
        let size = (len as u64).max(1).next_multiple_of(PAGE);
        let reason = "the machine's memory is used up or fragmented";
        let full = || Error::NoDmaSpace { bdf: self.bdf(), len: size, reason };
        let (memory, address) = self.qemu.allocate(size).ok_or_else(full)?;
        let lease = Allocation { qemu: Arc::clone(&self.qemu), address, size };
        let memory = memory.slice(0..len).map_err(|_| full())?;
        Ok(DmaBuffer::new(memory, Iova(address), Arc::new(lease)))
    }

    fn share_dma(&self, buffer: &DmaBuffer) -> Result<DmaBuffer, Error> {
        let reason = "it is not this machine's memory";
        let foreign = Error::NoDmaSpace { bdf: self.bdf(), len: buffer.len() as u64, reason };
        let address = self.qemu.address_of(buffer.memory()).ok_or(foreign)?;
        Ok(DmaBuffer::new(buffer.memory().clone(), Iova(address), buffer.lease()))
    }

    fn map_peer(&self, memory: &Bar, range: Range<u64>) -> Result<PeerWindow, Error> {
        let addresses = memory.addresses(&range)?;
        let route = self.topology.route(self.bdf(), memory.owner());
        route.require().map_err(Error::Refused)?;
        let lease = Arc::clone(&self.qemu);
        let (start, len) = (Iova(addresses.start.0), range.end - range.start);
        Ok(PeerWindow::new(memory.owner(), start, len, lease))
    }

    /// The message of the vector goes to a word of memory of its own, where it is seen.
    fn interrupt(&self, vector: u16) -> Result<Interrupt, Error> {
        let missing = |vectors| Error::NoVector { bdf: self.bdf(), vector, vectors };
        let (at, control) = self.msix()?.ok_or_else(|| missing(0))?;
        if vector >= control.entries() {
            return Err(missing(control.entries()));
        }
        let word = self.alloc_dma(4)?;
        let table = self.config.read(at + msix::offset::TABLE, Width::Dword)?;
        let table = TableLocation::from_bits(table);
        let bar = self.map_bar(BarIndex::new(table.bir()).ok_or_else(|| missing(0))?)?;
        let entry = msix::TableEntry {
            address: word.iova().0.into(),
            data: MESSAGE.into(),
            ..msix::TableEntry::default()
        };
        let place = u64::from(table.offset()) + u64::from(vector) * size_of_val(&entry) as u64;
        for (at, dword) in (place..).step_by(4).zip(entry.as_bytes().chunks(4)) {
            bar.write(at, dword)?;
        }
        let control = control.with_enable(true).with_function_mask(false).into_bits();
        self.config.write(at + msix::offset::MESSAGE_CONTROL, Width::Word, control.into())?;
        Ok(Interrupt::new(vector, Box::new(Line { word, bar, control: place + 12 })))
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    /// BARs and memory decode are as before; bus mastering and MSI-X are off.
    fn reset(&self) -> Result<(), Error> {
        let what = "has no function-level reset";
        let unsupported = Error::Unsupported { bdf: self.bdf(), what };
        let express = self.config_dyn().capability(CapabilityId::PCI_EXPRESS)?;
        let express = express.ok_or(unsupported.clone())?;
        let bits =
            self.config.read(express + express::offset::DEVICE_CAPABILITIES, Width::Dword)?;
        if !DeviceCapabilities::from_bits(bits).function_level_reset() {
            return Err(unsupported);
        }
        let bars = (0..6).map(|index| offset::BAR0 + 4 * index);
        let saved: Result<Vec<_>, Error> =
            bars.map(|at| Ok((at, self.config.read(at, Width::Dword)?))).collect();
        let register = express + express::offset::DEVICE_CONTROL;
        let control = self.config.read(register, Width::Word)?;
        let initiate = DeviceControl::new().with_initiate_function_level_reset(true).into_bits();
        self.config.write(register, Width::Word, control | u32::from(initiate))?;
        thread::sleep(AFTER_RESET);
        self.config.write(register, Width::Word, control)?;
        for (at, value) in saved? {
            self.config.write(at, Width::Dword, value)?;
        }
        let command = Command::new().with_memory_space(true).into_bits();
        self.config.write(offset::COMMAND, Width::Word, command.into())
    }
}

fn low_word(bits: u32) -> u16 {
    let [low, high, ..] = bits.to_le_bytes();
    u16::from_le_bytes([low, high])
}

/// A BAR as the processor reaches it.
struct QtestBar {
    qemu: Arc<Qemu>,
    start: u64,
}

impl BarAccess for QtestBar {
    fn read(&self, offset: u64, data: &mut [u8]) {
        if self.qemu.on_wire(|wire| wire.read(self.start + offset, data)).is_none() {
            data.fill(0xFF);
        }
    }

    fn write(&self, offset: u64, data: &[u8]) {
        // What QEMU does not take is lost, as on hardware; the machine remembers why.
        self.qemu.on_wire(|wire| wire.write(self.start + offset, data));
    }
}

/// The data of every interrupt message.
const MESSAGE: u32 = 1;

/// Where the messages of a vector arrive. Several that come before anybody looks are one.
struct Line {
    word: DmaBuffer,
    /// The table, and where in it the vector's control is.
    bar: Bar,
    control: u64,
}

impl InterruptLine for Line {
    fn take(&self) -> u64 {
        let memory = self.word.memory();
        let came = memory.load::<u32>(0, Ordering::Acquire).is_ok_and(|word| word == MESSAGE);
        if came {
            // Whoever takes one looks at the queue after this, and so sees what came in between.
            let _ = memory.store::<u32>(0, 0, Ordering::Release);
        }
        u64::from(came)
    }
}

impl Drop for Line {
    /// The word may have another owner soon: the vector is masked, and the mask has arrived.
    fn drop(&mut self) {
        let _ = self.bar.write32(self.control, VectorControl::new().with_mask(true).into_bits());
        let _ = self.bar.read32(self.control);
    }
}

/// Memory of the machine, given back on drop.
struct Allocation {
    qemu: Arc<Qemu>,
    address: u64,
    size: u64,
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.qemu.release(self.address, self.size);
    }
}

/// Time as it passes for QEMU, too.
struct WallClock(std::time::Instant);

impl Clock for WallClock {
    fn now(&self) -> Instant {
        let nanos = u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant::ZERO + Duration::from_nanos(nanos)
    }

    fn relax(&self) {
        thread::yield_now();
    }
}
