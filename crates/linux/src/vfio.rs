//! Devices in the hands of a program: vfio's groups and containers, with its type 1 IOMMU (Documentation/driver-api/vfio.rst;
//! include/uapi/linux/vfio.h).
//!
//! There is no verdict here: the kernel maps what it is told to, a peer's BAR included, whether it is reached or
//! not.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd as _, FromRawFd as _};
use std::path::Path;
use std::sync::Arc;

use p2pdma_mem::SharedMemory;
use p2pdma_pci::{BarIndex, Bdf, Iova};

/// A container: the address space that the devices in it share.
#[derive(Debug, Clone)]
pub struct Container(Arc<File>);

/// A device in a container.
#[derive(Debug)]
pub struct Device {
    file: File,
    /// What it is in, which must outlive it.
    _group: File,
    _container: Container,
}

/// What devices may do with mapped memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MapAccess {
    /// Read it.
    Read,
    /// Read and write it.
    ReadWrite,
}

/// Memory that is mapped for all devices of a container, until it is dropped.
#[derive(Debug)]
pub struct Mapping {
    container: Container,
    iova: Iova,
    memory: SharedMemory,
}

/// The requests of ioctl(2): `_IO(';', 100 + number)`.
const SET_IOMMU: u32 = 0x3b66;
const GROUP_GET_STATUS: u32 = 0x3b67;
const GROUP_SET_CONTAINER: u32 = 0x3b68;
const GROUP_GET_DEVICE: u32 = 0x3b6a;
const REGION_INFO: u32 = 0x3b6c;
const MAP_DMA: u32 = 0x3b71;
const UNMAP_DMA: u32 = 0x3b72;
const FEATURE: u32 = 0x3b75;

/// `VFIO_TYPE1v2_IOMMU`.
const TYPE1: libc::c_ulong = 3;
/// `VFIO_GROUP_FLAGS_VIABLE`: every device of the group is vfio's, or nobody's.
const VIABLE: u32 = 1;
const MAP_READ: u32 = 1;
const MAP_WRITE: u32 = 2;
/// `VFIO_DEVICE_FEATURE_GET` of `VFIO_DEVICE_FEATURE_DMA_BUF`, Linux 6.19.
const GET_DMA_BUF: u32 = 1 << 16 | 11;

#[repr(C)]
struct GroupStatus {
    size: u32,
    flags: u32,
}

#[repr(C)]
struct RegionInfo {
    size_of_this: u32,
    flags: u32,
    index: u32,
    capabilities: u32,
    size: u64,
    offset: u64,
}

#[repr(C)]
struct MapDma {
    size_of_this: u32,
    flags: u32,
    address: u64,
    iova: u64,
    size: u64,
}

#[repr(C)]
struct UnmapDma {
    size_of_this: u32,
    flags: u32,
    iova: u64,
    size: u64,
}

/// A request for a file that stands for one range of a region.
#[repr(C)]
struct DmaBuf {
    size_of_this: u32,
    flags: u32,
    region: u32,
    open_flags: u32,
    reserved: u32,
    ranges: u32,
    offset: u64,
    len: u64,
}

/// Asks for something with a structure.
#[expect(unsafe_code, reason = "an ioctl that no library wraps")]
fn ask<T>(file: &File, request: u32, argument: &mut T) -> io::Result<libc::c_int> {
    // SAFETY: every caller passes the structure that the kernel has for the request (`repr(C)`, with its size
    // in it); it lives longer than the call. Addresses in it are looked up by the kernel, which reports EFAULT.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), request.into(), &raw mut *argument) };
    if answer < 0 { Err(io::Error::last_os_error()) } else { Ok(answer) }
}

/// The size of a structure, as it is said in it.
#[expect(clippy::cast_possible_truncation, reason = "the size of a structure of this file")]
const fn size_of_structure<T>() -> u32 {
    size_of::<T>() as u32
}

impl Container {
    /// A container without devices.
    ///
    /// # Errors
    /// ENOENT without the module `vfio_iommu_type1`, EACCES without root.
    pub fn open() -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open("/dev/vfio/vfio")?;
        Ok(Self(Arc::new(file)))
    }

    /// Takes a device, which its driver `vfio-pci` has, into the container, with its group.
    ///
    /// # Errors
    /// EBUSY if its group is not vfio's as a whole; what the operating system says.
    #[expect(unsafe_code, reason = "ioctls that no library wraps")]
    pub fn add(&self, bdf: Bdf) -> io::Result<Device> {
        let group = std::fs::read_link(format!("/sys/bus/pci/devices/{bdf}/iommu_group"))?;
        let path = Path::new("/dev/vfio").join(group.file_name().unwrap_or_default());
        let group = OpenOptions::new().read(true).write(true).open(path)?;
        let mut status = GroupStatus { size: size_of_structure::<GroupStatus>(), flags: 0 };
        ask(&group, GROUP_GET_STATUS, &mut status)?;
        if status.flags & VIABLE == 0 {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        ask(&group, GROUP_SET_CONTAINER, &mut self.0.as_raw_fd())?;
        // SAFETY: this request takes a number. A container that has its IOMMU already refuses (EBUSY or
        // EINVAL), which changes nothing.
        unsafe { libc::ioctl(self.0.as_raw_fd(), SET_IOMMU.into(), TYPE1) };
        let name = std::ffi::CString::new(bdf.to_string()).map_err(io::Error::other)?;
        // SAFETY: this request takes a string that ends with a zero byte.
        let fd = unsafe { libc::ioctl(group.as_raw_fd(), GROUP_GET_DEVICE.into(), name.as_ptr()) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor, for nobody else.
        let file = unsafe { File::from_raw_fd(fd) };
        Ok(Device { file, _group: group, _container: self.clone() })
    }

    /// Maps memory for the devices of the container, at an address that they emit. A peer's BAR is mapped as
    /// any memory; what the kernel lends (p2pmem) is not.
    ///
    /// # Errors
    /// EFAULT or EREMOTEIO of lent memory; EEXIST if something is mapped there.
    pub fn map(&self, memory: &SharedMemory, iova: Iova, access: MapAccess) -> io::Result<Mapping> {
        let write = if access == MapAccess::ReadWrite { MAP_WRITE } else { 0 };
        let mut map = MapDma {
            size_of_this: size_of_structure::<MapDma>(),
            flags: MAP_READ | write,
            address: memory.base() as u64,
            iova: iova.0,
            size: memory.len() as u64,
        };
        ask(&self.0, MAP_DMA, &mut map)?;
        Ok(Mapping { container: self.clone(), iova, memory: memory.clone() })
    }
}

impl Mapping {
    /// What devices call its first byte.
    #[must_use]
    pub const fn iova(&self) -> Iova {
        self.iova
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let mut unmap = UnmapDma {
            size_of_this: size_of_structure::<UnmapDma>(),
            flags: 0,
            iova: self.iova.0,
            size: self.memory.len() as u64,
        };
        if ask(&self.container.0, UNMAP_DMA, &mut unmap).is_err() {
            // Devices may still write to it: it is not given back.
            std::mem::forget(self.memory.clone());
        }
    }
}

impl Device {
    /// Maps the memory behind a BAR.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn map_bar(&self, bar: BarIndex) -> io::Result<SharedMemory> {
        let mut info = RegionInfo {
            size_of_this: size_of_structure::<RegionInfo>(),
            flags: 0,
            index: bar.get().into(),
            capabilities: 0,
            size: 0,
            offset: 0,
        };
        ask(&self.file, REGION_INFO, &mut info)?;
        let len = usize::try_from(info.size).unwrap_or(usize::MAX);
        SharedMemory::map_file_at(&self.file, info.offset, len)
    }

    /// A file that stands for a part of the memory behind a BAR (dma-buf): for other drivers to import, not to
    /// be mapped.
    ///
    /// # Errors
    /// ENOTTY before Linux 6.19; what the operating system says.
    #[expect(unsafe_code, reason = "the kernel makes a descriptor")]
    pub fn export(&self, bar: BarIndex, range: Range<u64>) -> io::Result<File> {
        let mut export = DmaBuf {
            size_of_this: size_of_structure::<DmaBuf>(),
            flags: GET_DMA_BUF,
            region: bar.get().into(),
            open_flags: (libc::O_RDWR | libc::O_CLOEXEC).cast_unsigned(),
            reserved: 0,
            ranges: 1,
            offset: range.start,
            len: range.end.saturating_sub(range.start),
        };
        let fd = ask(&self.file, FEATURE, &mut export)?;
        // SAFETY: the kernel has just made this descriptor, for nobody else.
        Ok(unsafe { File::from_raw_fd(fd) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_are_the_kernel_s() {
        let sizes = (size_of::<RegionInfo>(), size_of::<MapDma>(), size_of::<UnmapDma>());
        assert_eq!((sizes, size_of::<DmaBuf>()), ((32, 32, 24), 40));
    }

    #[test]
    fn a_file_that_is_no_container_refuses() {
        let container = Container(Arc::new(tempfile::tempfile().unwrap()));
        let memory = SharedMemory::anonymous(4096).unwrap();
        assert!(container.map(&memory, Iova(0), MapAccess::Read).is_err());
    }
}
