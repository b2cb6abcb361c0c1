//! A device, open: its regions, its reset, its interrupts.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use p2pdma_pci::{BarIndex, Bdf};

use super::abi::{self, DeviceInfo, DmaBuf, IrqInfo, RegionInfo, request};
use super::bar::Region;
use super::container::Group;
use super::interrupt::{Line, Notice};
use super::space::Open;
use super::{Space, VfioError, place};

/// An open device. The kernel resets it when the last handle is dropped.
pub(super) struct Device {
    pub(super) bdf: Bdf,
    file: File,
    can_reset: bool,
    /// Grows whenever this process does.
    resets: AtomicU64,
    /// Where in the file configuration space begins, and how long it is.
    config: (u64, u64),
    /// Mapped when they are first asked for.
    regions: Mutex<[Option<Arc<Region>>; 6]>,
    /// Whether vectors of MSI-X were enabled.
    vectors: Mutex<bool>,
    /// Where the kernel asks for the device back; `None` where it has no such event.
    recall: Option<Notice>,
    /// Where it tells of an error on the bus; `None` of a device that is not PCIe.
    failure: Option<Notice>,
    /// Dropped after the file: the group leaves its container when its devices are closed.
    _group: Option<Arc<Group>>,
    /// Dropped last: until then whoever opens this device waits.
    open: Open,
}

impl Device {
    /// Opens a device that is bound to vfio-pci; the same one if it is open already.
    pub(super) fn open(space: &Arc<Space>, bdf: Bdf) -> Result<Arc<Self>, VfioError> {
        space.devices.get_or(bdf, || Self::open_first(space, bdf))
    }

    fn open_first(space: &Arc<Space>, bdf: Bdf) -> Result<Self, VfioError> {
        if !place::folder(bdf).exists() {
            return Err(VfioError::NoDevice { bdf });
        }
        let driver = place::driver(bdf);
        if driver.as_deref() != Some(place::VFIO_PCI) {
            return Err(VfioError::NotBound { bdf, driver });
        }
        // On an early return the file, which comes later, is dropped first.
        let (group, file) = space.open(bdf)?;
        let system = |what| move |source| VfioError::System { bdf, what, source };
        let mut info = DeviceInfo::sized();
        abi::exchange(file.as_fd(), request::DEVICE_GET_INFO, &mut info)
            .map_err(system("asking for the regions"))?;
        let (config, _) =
            region(&file, abi::CONFIG_REGION).map_err(system("asking for configuration space"))?;
        let [recall, failure] = [abi::RECALL, abi::FAILURE].map(|event| notice(&file, event));
        Ok(Self {
            bdf,
            file,
            recall,
            failure,
            can_reset: info.flags & abi::DEVICE_RESETS != 0,
            resets: AtomicU64::new(0),
            config: (config.offset, config.size),
            regions: Mutex::default(),
            vectors: Mutex::default(),
            _group: group,
            open: Open { space: Arc::clone(space), bdf },
        })
    }

    pub(super) fn space(&self) -> &Arc<Space> {
        &self.open.space
    }

    /// The memory behind a BAR, mapped; `None` if there is none.
    pub(super) fn bar(self: &Arc<Self>, index: BarIndex) -> io::Result<Option<Arc<Region>>> {
        let mut regions = self.regions.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(slot) = regions.get_mut(usize::from(index.get())) else { return Ok(None) };
        if slot.is_none() {
            let (info, bytes) = region(&self.file, index.get().into())?;
            if info.size == 0 {
                return Ok(None);
            }
            *slot = Some(Arc::new(Region::map(&self.file, &info, &bytes)?));
        }
        Ok(slot.clone())
    }

    /// A part of a region as a file (dma-buf).
    pub(super) fn export(&self, index: BarIndex, range: &Range<u64>) -> io::Result<File> {
        let mut export = DmaBuf {
            flags: abi::GET_DMA_BUF,
            region: index.get().into(),
            open_flags: (libc::O_RDWR | libc::O_CLOEXEC).cast_unsigned(),
            ranges: 1,
            offset: range.start,
            len: range.end.saturating_sub(range.start),
            ..DmaBuf::sized()
        };
        let fd = abi::exchange_for_file(self.file.as_fd(), request::DEVICE_FEATURE, &mut export)?;
        Ok(fd.into())
    }

    /// Reads configuration space.
    pub(super) fn read_config(&self, offset: u16, data: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(data, self.register(offset, data.len())?)
    }

    /// Writes configuration space. The kernel lets through what is harmless, and drops the rest.
    pub(super) fn write_config(&self, offset: u16, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(data, self.register(offset, data.len())?)
    }

    fn register(&self, offset: u16, len: usize) -> io::Result<u64> {
        let (start, size) = self.config;
        let offset = u64::from(offset);
        if offset + len as u64 > size {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(start + offset)
    }

    /// Whether the kernel knows how to reset it alone.
    pub(super) fn can_reset(&self) -> bool {
        self.can_reset
    }

    pub(super) fn reset(&self) -> io::Result<()> {
        // Counted before and after, and also if it fails: what is counted is when mappings may have gone, those too that are
        // made meanwhile.
        self.resets.fetch_add(1, Ordering::AcqRel);
        let done = abi::call(self.file.as_fd(), request::DEVICE_RESET, 0).map(drop);
        self.resets.fetch_add(1, Ordering::AcqRel);
        done
    }

    /// A number that grows whenever this process resets it.
    pub(super) fn resets(&self) -> u64 {
        self.resets.load(Ordering::Acquire)
    }

    /// How many vectors of MSI-X it has.
    pub(super) fn vectors(&self) -> io::Result<u32> {
        let mut info = IrqInfo { index: abi::MSIX, ..IrqInfo::sized() };
        abi::exchange(self.file.as_fd(), request::DEVICE_GET_IRQ_INFO, &mut info)?;
        Ok(info.count)
    }

    /// Lets a vector count in an eventfd.
    pub(super) fn set_vector(&self, vector: u32, eventfd: &OwnedFd) -> io::Result<()> {
        let mut enabled = self.vectors.lock().unwrap_or_else(PoisonError::into_inner);
        if !*enabled {
            // The kernel allocates as many as the first call names, and before 6.5 no more of them later.
            let none = vec![NONE; self.vectors()?.min(MOST_VECTORS) as usize];
            self.set_vectors(0, &none)?;
            *enabled = true;
        }
        let eventfd = u32::try_from(eventfd.as_raw_fd()).unwrap_or(NONE);
        self.set_vectors(vector, &[eventfd])
    }

    fn set_vectors(&self, start: u32, eventfds: &[u32]) -> io::Result<()> {
        set_events(&self.file, abi::MSIX, start, eventfds)
    }

    /// Whether the kernel has asked for the device back: it is being removed, or unbound from vfio-pci. It waits until
    /// this process has closed it (`vfio_unregister_group_dev()`, drivers/vfio/vfio_main.c).
    pub(super) fn is_recalled(&self) -> bool {
        self.recall.as_ref().is_some_and(Notice::came)
    }

    /// Whether the device, or the link to it, has had an error that was not corrected
    /// (`vfio_pci_core_aer_err_detected()`, drivers/vfio/pci/vfio_pci_core.c).
    pub(super) fn has_failed(&self) -> bool {
        self.failure.as_ref().is_some_and(Notice::came)
    }
}

/// Lets the kernel tell of something by an eventfd (`vfio_pci_core_request()` and `vfio_pci_core_aer_err_detected()`,
/// drivers/vfio/pci/vfio_pci_core.c).
fn notice(file: &File, event: u32) -> Option<Notice> {
    let line = Line::new().ok()?;
    let eventfd = u32::try_from(line.eventfd().as_raw_fd()).ok()?;
    set_events(file, event, 0, &[eventfd]).ok()?;
    Some(Notice::new(line))
}

fn set_events(file: &File, index: u32, start: u32, eventfds: &[u32]) -> io::Result<()> {
    let count = u32::try_from(eventfds.len()).unwrap_or(u32::MAX);
    let argsz = count.saturating_add(5).saturating_mul(4);
    let mut set = vec![argsz, abi::IRQ_EVENTFD_TRIGGER, index, start, count];
    set.extend(eventfds);
    abi::exchange(file.as_fd(), request::DEVICE_SET_IRQS, set.as_mut_slice()).map(drop)
}

/// No eventfd: -1.
const NONE: u32 = u32::MAX;
/// Vectors that are enabled at once: more than the queues that a process here has.
const MOST_VECTORS: u32 = 32;

fn region(file: &File, index: u32) -> io::Result<(RegionInfo, Vec<u8>)> {
    let argument = RegionInfo { index, ..RegionInfo::sized() };
    abi::exchange_long(file.as_fd(), request::DEVICE_GET_REGION_INFO, argument, |info| info.argsz)
}
