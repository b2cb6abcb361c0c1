//! The kernel's newer interface (Documentation/userspace-api/iommufd.rst): devices by their own files, and an address space
//! that maps memory of this process, and BARs by dma-bufs.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};

use p2pdma_mem::SharedMemory;
use p2pdma_pci::{Bdf, Iova};

use super::abi::iommufd::{self as kernel, IoasAlloc, IoasMap, IoasMapFile, IoasUnmap};
use super::abi::{self, DeviceAttach, DeviceBind, request};
use super::addresses::check_page;
use super::error::{IOMMU, open_file, open_shared};
use super::{MapAccess, VfioError, place};

/// An address space. It keeps its mappings when its last device leaves.
pub(super) struct Iommufd {
    file: File,
    /// Its number.
    ioas: u32,
}

impl Iommufd {
    pub(super) fn open() -> Result<Self, VfioError> {
        let file = open_shared(IOMMU)?;
        let mut new = IoasAlloc::sized();
        let made = abi::exchange(file.as_fd(), kernel::request::IOAS_ALLOC, &mut new);
        made.map_err(|source| VfioError::Open { path: IOMMU.into(), source })?;
        Ok(Self { file, ioas: new.out_ioas_id })
    }

    /// Opens a device and puts it into the space, which it leaves when its file is closed.
    pub(super) fn device(&self, bdf: Bdf) -> Result<File, VfioError> {
        let group = place::group(bdf)?;
        let system = |what| move |source| VfioError::System { bdf, what, source };
        let path = place::node(bdf).map_err(system("looking for the file"))?;
        let file = open_file(&path, system("opening the file"))?;
        let iommufd = self.file.as_raw_fd();
        let mut bind = DeviceBind { iommufd, ..DeviceBind::sized() };
        abi::exchange(file.as_fd(), request::DEVICE_BIND_IOMMUFD, &mut bind)
            .map_err(|source| not_bound(bdf, group, source))?;
        let mut attach = DeviceAttach { pt_id: self.ioas, ..DeviceAttach::sized() };
        abi::exchange(file.as_fd(), request::DEVICE_ATTACH_IOMMUFD_PT, &mut attach)
            .map_err(|source| not_attached(bdf, source))?;
        Ok(file)
    }

    /// The addresses that the IOMMUs of all devices take, first and last ones: a device that joins may leave fewer.
    pub(super) fn ranges(&self, bdf: Bdf) -> Result<Vec<(u64, u64)>, VfioError> {
        let what = "asking for the addresses of the IOMMU";
        let asked = kernel::ranges(self.file.as_fd(), self.ioas);
        let (ranges, least) = asked.map_err(|source| VfioError::System { bdf, what, source })?;
        check_page(bdf, least)?;
        Ok(ranges)
    }

    /// Maps host memory of this process.
    pub(super) fn map(
        &self,
        iova: Iova,
        memory: &SharedMemory,
        length: u64,
        access: MapAccess,
    ) -> io::Result<()> {
        let (flags, ioas_id, user_va) = (flags(access), self.ioas, memory.base() as u64);
        let new = IoasMap::sized();
        let mut map = IoasMap { flags, ioas_id, user_va, length, iova: iova.0, ..new };
        abi::exchange(self.file.as_fd(), kernel::request::IOAS_MAP, &mut map).map(drop)
    }

    /// Maps a part of a BAR, by a dma-buf of it: of a BAR's pages in this process's memory the kernel would map none.
    pub(super) fn map_file(&self, iova: Iova, file: &File, length: u64) -> io::Result<()> {
        let (flags, ioas_id, fd) = (flags(MapAccess::ReadWrite), self.ioas, file.as_raw_fd());
        let new = IoasMapFile::sized();
        let mut map = IoasMapFile { flags, ioas_id, fd, length, iova: iova.0, ..new };
        abi::exchange(self.file.as_fd(), kernel::request::IOAS_MAP_FILE, &mut map).map(drop)
    }

    pub(super) fn unmap(&self, iova: Iova, length: u64) -> io::Result<()> {
        let new = IoasUnmap::sized();
        let mut unmap = IoasUnmap { ioas_id: self.ioas, iova: iova.0, length, ..new };
        abi::exchange(self.file.as_fd(), kernel::request::IOAS_UNMAP, &mut unmap).map(drop)
    }
}

fn flags(access: MapAccess) -> u32 {
    let flags = kernel::MAP_FIXED | kernel::MAP_READ;
    match access {
        MapAccess::Read => flags,
        MapAccess::ReadWrite => flags | kernel::MAP_WRITE,
    }
}

/// Why the kernel does not let a device be bound to the space (`vfio_df_ioctl_bind_iommufd()`, drivers/vfio/device_cdev.c;
/// `vfio_df_open()`, drivers/vfio/vfio_main.c; `iommufd_bind_iommu()`, drivers/iommu/iommufd/device.c;
/// `iommu_device_claim_dma_owner()`, drivers/iommu/iommu.c).
fn not_bound(bdf: Bdf, group: u32, source: io::Error) -> VfioError {
    match source.raw_os_error() {
        // Another process has the group in a container, or the device open.
        Some(libc::EBUSY | libc::EINVAL) => VfioError::Busy { bdf, group },
        // The group has an owner: drivers of the kernel's, or a process with another of its devices. Or interrupts are not
        // isolated.
        Some(libc::EPERM) => match place::others(bdf, group) {
            others if !others.is_empty() => VfioError::Shared { bdf, group, others },
            _ if place::has_another(bdf, group) => VfioError::Busy { bdf, group },
            _ => VfioError::Unsafe { bdf },
        },
        _ => VfioError::System { bdf, what: "binding the device to the address space", source },
    }
}

fn not_attached(bdf: Bdf, source: io::Error) -> VfioError {
    match source.raw_os_error() {
        // Memory is mapped where its IOMMU takes none (`iopt_reserve_iova()`, drivers/iommu/iommufd/io_pagetable.c).
        Some(libc::EADDRINUSE) => VfioError::Addresses { bdf, taken: None },
        _ => VfioError::System { bdf, what: "adding the device to the address space", source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a device that nobody shares a group with.
    #[test]
    fn what_the_kernel_refuses_has_its_reason() {
        let bdf: Bdf = "ffff:ff:1f.7".parse().unwrap();
        let bound = |errno| not_bound(bdf, u32::MAX, io::Error::from_raw_os_error(errno));
        for errno in [libc::EBUSY, libc::EINVAL] {
            assert!(matches!(bound(errno), VfioError::Busy { bdf: named, .. } if named == bdf));
        }
        assert!(matches!(bound(libc::EPERM), VfioError::Unsafe { .. }));
        assert!(matches!(bound(libc::ENOMEM), VfioError::System { .. }));
        let attached = |errno| not_attached(bdf, io::Error::from_raw_os_error(errno));
        let taken = attached(libc::EADDRINUSE).to_string();
        assert!(
            taken
                .ends_with("does not take addresses, where memory is mapped for the other devices")
        );
        assert!(matches!(attached(libc::EINVAL), VfioError::System { .. }));
    }
}
