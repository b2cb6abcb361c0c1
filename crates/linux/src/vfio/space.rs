//! A container of vfio's: one IOMMU address space that all devices of a process share.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex};

use p2pdma_mem::SharedMemory;
use p2pdma_pci::topology::Topology;
use p2pdma_pci::{Bdf, Iova};

use super::abi::{self, DmaMap, DmaUnmap, GroupStatus, IommuInfo, request};
use super::addresses::Addresses;
use super::device::Device;
use super::error::CONTAINER;
use super::mapping::{Mapping, Place};
use super::once::{Once, lock};
use super::{MapAccess, VfioError, place};

/// Mappings are of whole pages.
pub(super) const PAGE: u64 = 4096;

/// The space, with the devices that are in it.
pub(super) struct Space {
    container: File,
    pub(super) topology: Arc<Topology>,
    /// Addresses of BARs and bridges, which no device is given for other memory: below a switch, a request to
    /// such an address would never reach the IOMMU.
    avoid: Vec<Range<u64>>,
    /// Set once the first group is in, and with it an IOMMU.
    addresses: Mutex<Option<Addresses>>,
    groups: Once<u32, Group>,
    pub(super) devices: Once<Bdf, Device>,
    /// BARs that are mapped, for all devices.
    pub(super) peers: Once<Place, Mapping>,
}

/// An IOMMU group in the container. It leaves with its last device.
pub(super) struct Group {
    pub(super) file: File,
    pub(super) space: Arc<Space>,
    /// Dropped last.
    _open: Open,
}

/// The last field of a group, and of a device: when it is dropped, the kernel has that back.
pub(super) struct Open {
    space: Arc<Space>,
    what: What,
}

enum What {
    Group(u32),
    Device(Bdf),
}

impl Open {
    pub(super) fn device(space: &Arc<Space>, bdf: Bdf) -> Self {
        Self { space: Arc::clone(space), what: What::Device(bdf) }
    }

    fn group(space: &Arc<Space>, number: u32) -> Self {
        Self { space: Arc::clone(space), what: What::Group(number) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        match self.what {
            What::Group(number) => self.space.groups.closed(number),
            What::Device(bdf) => self.space.devices.closed(bdf),
        }
    }
}

impl Space {
    pub(super) fn new(topology: Arc<Topology>, avoid: Vec<Range<u64>>) -> Result<Self, VfioError> {
        let path = CONTAINER;
        let opened = OpenOptions::new().read(true).write(true).open(path);
        let container = opened.map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => VfioError::Denied { path: path.into() },
            _ => VfioError::Absent,
        })?;
        let version = abi::call(container.as_fd(), request::GET_API_VERSION, 0);
        if version.ok() != Some(abi::API_VERSION) {
            return Err(VfioError::Absent);
        }
        let has = abi::call(container.as_fd(), request::CHECK_EXTENSION, abi::TYPE1_V2);
        if !has.is_ok_and(|has| has > 0) {
            return Err(VfioError::NoType1);
        }
        let (addresses, groups, devices, peers) = Default::default();
        Ok(Self { container, topology, avoid, addresses, groups, devices, peers })
    }

    /// An open device of which something holds.
    pub(super) fn find(&self, holds: impl Fn(&Device) -> bool) -> Option<Bdf> {
        self.devices.all().iter().find(|device| holds(device)).map(|device| device.bdf)
    }

    /// The group of a device, in this container.
    pub(super) fn group(self: &Arc<Self>, bdf: Bdf) -> Result<Arc<Group>, VfioError> {
        let number = place::group(bdf)?;
        self.groups.get_or(number, || {
            let file = open_group(bdf, number)?;
            self.attach(&file, bdf, number)?;
            Ok(Group { file, space: Arc::clone(self), _open: Open::group(self, number) })
        })
    }

    fn attach(&self, group: &File, bdf: Bdf, number: u32) -> Result<(), VfioError> {
        let system = |what| move |source| VfioError::System { bdf, what, source };
        let mut status = GroupStatus::sized();
        let asked = abi::exchange(group.as_fd(), request::GROUP_GET_STATUS, &mut status);
        asked.map_err(system("asking for the status of the group"))?;
        if status.flags & abi::GROUP_VIABLE == 0 {
            let others = place::others(bdf, number);
            return Err(VfioError::Shared { bdf, group: number, others });
        }
        let mut container = Descriptor::of(&self.container);
        let joined = abi::exchange(group.as_fd(), request::GROUP_SET_CONTAINER, &mut container);
        joined.map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM) => VfioError::Unsafe { bdf },
            _ => VfioError::System { bdf, what: "adding the group", source },
        })?;
        let is_first = self.set_iommu(bdf)?;
        self.set_addresses(bdf, is_first)
    }

    /// Whether that had to be done: for a container's first group.
    fn set_iommu(&self, bdf: Bdf) -> Result<bool, VfioError> {
        // The kernel forgets the IOMMU, and every mapping, with the last group of a container. While it has one it refuses
        // another (`vfio_ioctl_set_iommu()`, drivers/vfio/container.c).
        let set = abi::call(self.container.as_fd(), request::SET_IOMMU, abi::TYPE1_V2);
        let Err(source) = set else { return Ok(true) };
        match source.raw_os_error() {
            Some(libc::EINVAL) => Ok(false),
            Some(libc::EPERM) => Err(VfioError::Unsafe { bdf }),
            _ => Err(VfioError::System { bdf, what: "setting the IOMMU", source }),
        }
    }

    fn set_addresses(&self, bdf: Bdf, is_first: bool) -> Result<(), VfioError> {
        let ranges = self.ranges(bdf)?;
        let mut addresses = lock(&self.addresses);
        match addresses.as_mut().filter(|_| !is_first) {
            Some(addresses) => {
                let kept = addresses.keep_to(&ranges);
                kept.map_err(|taken| VfioError::Addresses { bdf, taken })
            }
            None => {
                let new = Addresses::new(&ranges, &self.avoid).ok_or(VfioError::NoAddresses)?;
                *addresses = Some(new);
                Ok(())
            }
        }
    }

    /// The addresses that the IOMMUs of all groups take, first and last ones: a group that joins may leave fewer
    /// (`vfio_iommu_aper_resize()`, drivers/vfio/vfio_iommu_type1.c).
    fn ranges(&self, bdf: Bdf) -> Result<Vec<(u64, u64)>, VfioError> {
        let asked = abi::exchange_long(
            self.container.as_fd(),
            request::IOMMU_GET_INFO,
            IommuInfo::sized(),
            |info| info.argsz,
        );
        let (info, bytes) = asked.map_err(|source| VfioError::System {
            bdf,
            what: "asking for the addresses of the IOMMU",
            source,
        })?;
        check_pages(bdf, &info)?;
        let ranges = abi::capability(&bytes, info.cap_offset, abi::CAP_IOVA_RANGE).map(abi::pairs);
        // A kernel that does not say (before 5.4, whose commit a717072007e8 brought it) takes all but the interrupts' window.
        Ok(ranges.unwrap_or_else(|| vec![(1 << 32, (1 << 39) - 1)]))
    }

    /// Maps memory of this process for all devices of the space, at an address that is free.
    pub(super) fn map(&self, memory: &SharedMemory) -> io::Result<Iova> {
        let size = (memory.len() as u64).next_multiple_of(PAGE);
        let mut addresses = lock(&self.addresses);
        let addresses = addresses.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let iova = addresses.allocate(size).map(Iova);
        let iova = iova.ok_or(io::ErrorKind::AddrNotAvailable)?;
        let mapped = self.map_at(iova, memory, MapAccess::ReadWrite);
        mapped.map(|()| iova).inspect_err(|_| {
            addresses.release(iova.0, size);
        })
    }

    /// Maps memory of this process at a given address, which is none of those that are given out.
    pub(super) fn map_at(
        &self,
        iova: Iova,
        memory: &SharedMemory,
        access: MapAccess,
    ) -> io::Result<()> {
        let size = (memory.len() as u64).next_multiple_of(PAGE);
        let flags = match access {
            MapAccess::Read => abi::DMA_READ,
            MapAccess::ReadWrite => abi::DMA_READ | abi::DMA_WRITE,
        };
        let (vaddr, iova) = (memory.base() as u64, iova.0);
        let mut argument = DmaMap { flags, vaddr, iova, size, ..DmaMap::sized() };
        abi::exchange(self.container.as_fd(), request::IOMMU_MAP_DMA, &mut argument).map(drop)
    }

    /// Takes a mapping away whose addresses nobody uses any more; `given` says whether [`Space::map`] gave them.
    pub(super) fn unmap(&self, iova: Iova, len: u64, given: bool) {
        let size = len.next_multiple_of(PAGE);
        let mut argument = DmaUnmap { iova: iova.0, size, ..DmaUnmap::sized() };
        let done = abi::exchange(self.container.as_fd(), request::IOMMU_UNMAP_DMA, &mut argument);
        // Addresses that could not be unmapped stay taken: what is behind them may still be reached.
        if done.is_ok()
            && given
            && let Some(addresses) = lock(&self.addresses).as_mut()
        {
            addresses.release(iova.0, size);
        }
    }
}

fn open_group(bdf: Bdf, number: u32) -> Result<File, VfioError> {
    let path = std::path::PathBuf::from(format!("/dev/vfio/{number}"));
    let opened = OpenOptions::new().read(true).write(true).open(&path);
    opened.map_err(|source| match source.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => VfioError::Denied { path },
        Some(libc::EBUSY) => VfioError::Busy { bdf, group: number },
        _ => VfioError::System { bdf, what: "opening the IOMMU group", source },
    })
}

/// A file descriptor as an argument.
#[repr(transparent)]
#[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable)]
struct Descriptor(i32);

impl Descriptor {
    fn of(file: &File) -> Self {
        use std::os::fd::AsRawFd as _;
        Self(file.as_raw_fd())
    }
}

impl abi::Argument for Descriptor {}

/// Refuses an IOMMU that maps no pages as small as these, or a kernel whose own are larger (`vfio_update_pgsize_bitmap()`,
/// drivers/vfio/vfio_iommu_type1.c): what is mapped here begins and ends with pages of the NVMe driver's.
fn check_pages(bdf: Bdf, info: &IommuInfo) -> Result<(), VfioError> {
    let said = info.flags & abi::IOMMU_PAGE_SIZES != 0 && info.iova_pgsizes != 0;
    let least = if said { 1 << info.iova_pgsizes.trailing_zeros() } else { PAGE };
    if least > PAGE { Err(VfioError::Pages { bdf, least }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_iommu_of_larger_pages_is_refused() {
        let bdf: Bdf = "0000:03:00.0".parse().unwrap();
        let least = |flags, iova_pgsizes| {
            let info = IommuInfo { flags, iova_pgsizes, ..IommuInfo::sized() };
            match check_pages(bdf, &info) {
                Ok(()) => None,
                Err(VfioError::Pages { bdf: named, least }) => Some(least).filter(|_| named == bdf),
                Err(other) => panic!("{other}"),
            }
        };
        let said = abi::IOMMU_PAGE_SIZES;
        assert_eq!(least(said, 0x4020_1000), None, "4 KiB, 2 MiB, 1 GiB");
        assert_eq!(least(said, 0x0200_4000), Some(16 << 10));
        assert_eq!(least(said, 0x2001_0000), Some(64 << 10));
        assert_eq!(least(0, 0x0200_4000), None, "a kernel that does not say");
        assert_eq!(least(said, 0), None);
    }
}
