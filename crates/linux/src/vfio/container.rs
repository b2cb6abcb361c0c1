//! vfio's own interface: groups of devices in a container, whose type 1 IOMMU maps memory of this process.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::sync::Arc;

use p2pdma_mem::SharedMemory;
use p2pdma_pci::{Bdf, Iova};

use super::abi::{self, DmaMap, DmaUnmap, GroupStatus, IommuInfo, request};
use super::addresses::{PAGE, check_page};
use super::error::{CONTAINER, open_file, open_shared};
use super::once::Once;
use super::{MapAccess, VfioError, place};

/// A container, with the groups that are in it.
pub(super) struct Container {
    file: File,
    groups: Once<u32, Group>,
}

/// An IOMMU group in the container. It leaves with its last device.
pub(super) struct Group {
    file: File,
    /// Dropped last.
    _open: Open,
}

/// When this is dropped, the kernel has the group back.
struct Open {
    container: Arc<Container>,
    number: u32,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.container.groups.closed(self.number);
    }
}

impl Container {
    pub(super) fn open() -> Result<Self, VfioError> {
        let file = open_shared(CONTAINER)?;
        let version = abi::call(file.as_fd(), request::GET_API_VERSION, 0);
        if version.ok() != Some(abi::API_VERSION) {
            return Err(VfioError::Absent);
        }
        let has = abi::call(file.as_fd(), request::CHECK_EXTENSION, abi::TYPE1_V2);
        if !has.is_ok_and(|has| has > 0) {
            return Err(VfioError::NoType1);
        }
        Ok(Self { file, groups: Once::default() })
    }

    /// The group of a device, in this container. `joined` is called when one has joined, and says whether it may stay; it is
    /// told whether the container had forgotten its mappings before.
    pub(super) fn group(
        self: &Arc<Self>,
        bdf: Bdf,
        joined: impl FnOnce(bool) -> Result<(), VfioError>,
    ) -> Result<Arc<Group>, VfioError> {
        let number = place::group(bdf)?;
        self.groups.get_or(number, || {
            let file = open_group(bdf, number)?;
            // The kernel forgets the IOMMU, and every mapping, with the last group of a container.
            let is_first = self.groups.all().is_empty();
            self.attach(&file, bdf, number, is_first)?;
            joined(is_first)?;
            let container = Arc::clone(self);
            Ok(Group { file, _open: Open { container, number } })
        })
    }

    fn attach(&self, group: &File, bdf: Bdf, number: u32, is_first: bool) -> Result<(), VfioError> {
        let system = |what| move |source| VfioError::System { bdf, what, source };
        let mut status = GroupStatus::sized();
        let asked = abi::exchange(group.as_fd(), request::GROUP_GET_STATUS, &mut status);
        asked.map_err(system("asking for the status of the group"))?;
        if status.flags & abi::GROUP_VIABLE == 0 {
            let others = place::others(bdf, number);
            return Err(VfioError::Shared { bdf, group: number, others });
        }
        let mut container = Descriptor::of(&self.file);
        let joined = abi::exchange(group.as_fd(), request::GROUP_SET_CONTAINER, &mut container);
        joined.map_err(|source| match source.raw_os_error() {
            Some(libc::EPERM) => VfioError::Unsafe { bdf },
            // Memory is mapped where its IOMMU takes none (`vfio_iommu_type1_attach_group()`,
            // drivers/vfio/vfio_iommu_type1.c).
            Some(libc::EINVAL) if !is_first => VfioError::Addresses { bdf, taken: None },
            _ => VfioError::System { bdf, what: "adding the group", source },
        })?;
        self.set_iommu(bdf)
    }

    fn set_iommu(&self, bdf: Bdf) -> Result<(), VfioError> {
        let set = abi::call(self.file.as_fd(), request::SET_IOMMU, abi::TYPE1_V2);
        let Err(source) = set else { return Ok(()) };
        match source.raw_os_error() {
            // A container that has one refuses another (`vfio_ioctl_set_iommu()`, drivers/vfio/container.c).
            Some(libc::EINVAL) => Ok(()),
            Some(libc::EPERM) => Err(VfioError::Unsafe { bdf }),
            _ => Err(VfioError::System { bdf, what: "setting the IOMMU", source }),
        }
    }

    /// The addresses that the IOMMUs of all groups take, first and last ones: a group that joins may leave fewer
    /// (`vfio_iommu_aper_resize()`, drivers/vfio/vfio_iommu_type1.c).
    pub(super) fn ranges(&self, bdf: Bdf) -> Result<Vec<(u64, u64)>, VfioError> {
        let asked = abi::exchange_long(
            self.file.as_fd(),
            request::IOMMU_GET_INFO,
            IommuInfo::sized(),
            |info| info.argsz,
        );
        let (info, bytes) = asked.map_err(|source| VfioError::System {
            bdf,
            what: "asking for the addresses of the IOMMU",
            source,
        })?;
        check_page(bdf, least_page(&info))?;
        let ranges = abi::capability(&bytes, info.cap_offset, abi::CAP_IOVA_RANGE).map(abi::pairs);
        // A kernel that does not say (before 5.4, whose commit a717072007e8 brought it) takes all but the interrupts' window.
        Ok(ranges.unwrap_or_else(|| vec![(1 << 32, (1 << 39) - 1)]))
    }

    /// Maps memory of this process, BARs included.
    pub(super) fn map(
        &self,
        iova: Iova,
        memory: &SharedMemory,
        size: u64,
        access: MapAccess,
    ) -> io::Result<()> {
        let flags = match access {
            MapAccess::Read => abi::DMA_READ,
            MapAccess::ReadWrite => abi::DMA_READ | abi::DMA_WRITE,
        };
        let (vaddr, iova) = (memory.base() as u64, iova.0);
        let mut argument = DmaMap { flags, vaddr, iova, size, ..DmaMap::sized() };
        abi::exchange(self.file.as_fd(), request::IOMMU_MAP_DMA, &mut argument).map(drop)
    }

    pub(super) fn unmap(&self, iova: Iova, size: u64) -> io::Result<()> {
        let mut argument = DmaUnmap { iova: iova.0, size, ..DmaUnmap::sized() };
        abi::exchange(self.file.as_fd(), request::IOMMU_UNMAP_DMA, &mut argument).map(drop)
    }
}

impl Group {
    /// Opens a device of the group.
    pub(super) fn device(&self, bdf: Bdf) -> Result<File, VfioError> {
        let name = CString::new(bdf.to_string()).unwrap_or_default();
        let fd = abi::call_with_name(self.file.as_fd(), request::GROUP_GET_DEVICE_FD, &name);
        let what = "opening the device";
        fd.map(File::from).map_err(|source| VfioError::System { bdf, what, source })
    }
}

fn open_group(bdf: Bdf, number: u32) -> Result<File, VfioError> {
    let path = PathBuf::from(format!("/dev/vfio/{number}"));
    open_file(&path, |source| match source.raw_os_error() {
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

/// The smallest pages that the IOMMU says it maps (`vfio_update_pgsize_bitmap()`, drivers/vfio/vfio_iommu_type1.c).
fn least_page(info: &IommuInfo) -> u64 {
    let said = info.flags & abi::IOMMU_PAGE_SIZES != 0 && info.iova_pgsizes != 0;
    if said { 1 << info.iova_pgsizes.trailing_zeros() } else { PAGE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_pages_are_the_lowest_bit() {
        let least = |flags, iova_pgsizes| {
            least_page(&IommuInfo { flags, iova_pgsizes, ..IommuInfo::sized() })
        };
        let said = abi::IOMMU_PAGE_SIZES;
        assert_eq!(least(said, 0x4020_1000), 4 << 10, "4 KiB, 2 MiB, 1 GiB");
        assert_eq!(least(said, 0x0200_4000), 16 << 10);
        assert_eq!(least(said, 0x2001_0000), 64 << 10);
        assert_eq!(least(0, 0x0200_4000), PAGE, "a kernel that does not say");
        assert_eq!(least(said, 0), PAGE);
    }
}
