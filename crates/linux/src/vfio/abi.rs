//! The kernel's interface (include/uapi/linux/vfio.h of Linux 7.3.4; iommufd's in its own file): numbers, structures, and the
//! one place that calls it.

#![expect(unsafe_code, reason = "the kernel's vfio is reached by ioctl(2) only")]

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Requests: `_IO(';', 100 + n)`, which carry no size.
pub(super) mod request {
    const fn number(n: libc::Ioctl) -> libc::Ioctl {
        (0x3b << 8) | (100 + n)
    }

    pub(in crate::vfio) const GET_API_VERSION: libc::Ioctl = number(0);
    pub(in crate::vfio) const CHECK_EXTENSION: libc::Ioctl = number(1);
    pub(in crate::vfio) const SET_IOMMU: libc::Ioctl = number(2);
    pub(in crate::vfio) const GROUP_GET_STATUS: libc::Ioctl = number(3);
    pub(in crate::vfio) const GROUP_SET_CONTAINER: libc::Ioctl = number(4);
    pub(in crate::vfio) const GROUP_GET_DEVICE_FD: libc::Ioctl = number(6);
    pub(in crate::vfio) const DEVICE_GET_INFO: libc::Ioctl = number(7);
    pub(in crate::vfio) const DEVICE_GET_REGION_INFO: libc::Ioctl = number(8);
    pub(in crate::vfio) const DEVICE_GET_IRQ_INFO: libc::Ioctl = number(9);
    pub(in crate::vfio) const DEVICE_SET_IRQS: libc::Ioctl = number(10);
    pub(in crate::vfio) const DEVICE_RESET: libc::Ioctl = number(11);
    pub(in crate::vfio) const IOMMU_GET_INFO: libc::Ioctl = number(12);
    pub(in crate::vfio) const IOMMU_MAP_DMA: libc::Ioctl = number(13);
    pub(in crate::vfio) const IOMMU_UNMAP_DMA: libc::Ioctl = number(14);
    pub(in crate::vfio) const DEVICE_FEATURE: libc::Ioctl = number(17);
    pub(in crate::vfio) const DEVICE_BIND_IOMMUFD: libc::Ioctl = number(18);
    pub(in crate::vfio) const DEVICE_ATTACH_IOMMUFD_PT: libc::Ioctl = number(19);
}

/// The version of the interface that this was written to (`VFIO_API_VERSION`).
pub(super) const API_VERSION: i32 = 0;
/// The second version of the type 1 IOMMU, which unmaps exactly what was mapped (`VFIO_TYPE1v2_IOMMU`).
pub(super) const TYPE1_V2: u64 = 3;
/// The region of configuration space (`VFIO_PCI_CONFIG_REGION_INDEX`); those below 6 are the BARs.
pub(super) const CONFIG_REGION: u32 = 7;
/// The interrupts of MSI-X (`VFIO_PCI_MSIX_IRQ_INDEX`).
pub(super) const MSIX: u32 = 2;
/// The event by which the kernel tells of an error on the bus (`VFIO_PCI_ERR_IRQ_INDEX`).
pub(super) const FAILURE: u32 = 3;
/// The event by which the kernel asks for a device back (`VFIO_PCI_REQ_IRQ_INDEX`).
pub(super) const RECALL: u32 = 4;

/// A container sees all devices of the group, each bound to vfio or to no driver.
pub(super) const GROUP_VIABLE: u32 = 1 << 0;
/// The device can be reset alone.
pub(super) const DEVICE_RESETS: u32 = 1 << 0;
/// The region can be mapped.
pub(super) const REGION_MMAP: u32 = 1 << 2;
/// The devices may read what is mapped.
pub(super) const DMA_READ: u32 = 1 << 0;
/// They may write it.
pub(super) const DMA_WRITE: u32 = 1 << 1;
/// A part of a region as a dma-buf is asked for: `VFIO_DEVICE_FEATURE_GET` of
/// `VFIO_DEVICE_FEATURE_DMA_BUF`, Linux 6.19.
pub(super) const GET_DMA_BUF: u32 = (1 << 16) | 11;
/// Interrupts are told by eventfds, and this sets them.
pub(super) const IRQ_EVENTFD_TRIGGER: u32 = (1 << 2) | (1 << 5);
/// The IOMMU says which sizes of pages it maps (`VFIO_IOMMU_INFO_PGSIZES`).
pub(super) const IOMMU_PAGE_SIZES: u32 = 1 << 0;
/// A capability: which parts of a region can be mapped.
pub(super) const CAP_SPARSE_MMAP: u16 = 1;
/// A capability of the IOMMU: which addresses it takes.
pub(super) const CAP_IOVA_RANGE: u16 = 1;

/// A structure that both sides know: its first word is its size.
pub(super) trait Argument: IntoBytes + FromBytes + Immutable {}

macro_rules! argument {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
        pub(in crate::vfio) struct $name {
            /// Its size.
            pub(in crate::vfio) argsz: u32,
            $(pub(in crate::vfio) $field: $type),*
        }
        impl $crate::vfio::abi::Argument for $name {}
        impl $name {
            /// Zeroes, and its own size.
            pub(in crate::vfio) fn sized() -> Self {
                Self { argsz: u32::try_from(size_of::<Self>()).unwrap_or(0), ..Self::default() }
            }
        }
    };
}

pub(super) mod iommufd;

argument!(
    /// `struct vfio_group_status`
    GroupStatus { flags: u32 }
);
argument!(
    /// `struct vfio_device_info`
    DeviceInfo { flags: u32, num_regions: u32, num_irqs: u32, cap_offset: u32, pad: u32 }
);
argument!(
    /// `struct vfio_region_info`
    RegionInfo { flags: u32, index: u32, cap_offset: u32, size: u64, offset: u64 }
);
argument!(
    /// `struct vfio_irq_info`
    IrqInfo { flags: u32, index: u32, count: u32 }
);
argument!(
    /// `struct vfio_iommu_type1_info`
    IommuInfo { flags: u32, iova_pgsizes: u64, cap_offset: u32, pad: u32 }
);
argument!(
    /// `struct vfio_iommu_type1_dma_map`
    DmaMap { flags: u32, vaddr: u64, iova: u64, size: u64 }
);
argument!(
    /// `struct vfio_iommu_type1_dma_unmap`
    DmaUnmap { flags: u32, iova: u64, size: u64 }
);

argument!(
    /// `struct vfio_device_feature`, with a `struct vfio_device_feature_dma_buf` of one range behind it
    DmaBuf { flags: u32, region: u32, open_flags: u32, reserved: u32, ranges: u32, offset: u64, len: u64 }
);

argument!(
    /// `struct vfio_device_bind_iommufd`, as of Linux 6.6: without a token.
    DeviceBind { flags: u32, iommufd: i32, out_devid: u32 }
);
argument!(
    /// `struct vfio_device_attach_iommufd_pt`, as of Linux 6.6: without a PASID.
    DeviceAttach { flags: u32, pt_id: u32 }
);

/// `struct vfio_irq_set`: its size, flags, index, first vector and count, and then the eventfds.
impl Argument for [u32] {}

/// A request that takes a number, and may answer with one.
pub(super) fn call(file: BorrowedFd<'_>, request: libc::Ioctl, number: u64) -> io::Result<i32> {
    // SAFETY: these requests take a plain number (or nothing, and ignore it); no memory is passed.
    done(unsafe { libc::ioctl(file.as_raw_fd(), request, number) })
}

/// A request that takes a structure and fills it in.
pub(super) fn exchange<T: Argument + ?Sized>(
    file: BorrowedFd<'_>,
    request: libc::Ioctl,
    argument: &mut T,
) -> io::Result<i32> {
    let at = argument.as_mut_bytes().as_mut_ptr();
    // SAFETY: the structure is as long as its first word says, or as the request has fixed; the kernel reads and
    // writes no more of it than that, and any bytes are a valid value of it.
    done(unsafe { libc::ioctl(file.as_raw_fd(), request, at) })
}

/// The same for a structure with capabilities behind it: as many bytes as the kernel says that there are.
pub(super) fn exchange_long<T: Argument + KnownLayout>(
    file: BorrowedFd<'_>,
    request: libc::Ioctl,
    mut argument: T,
    size: impl Fn(&T) -> u32,
) -> io::Result<(T, Vec<u8>)> {
    exchange(file, request, &mut argument)?;
    let wanted = usize::try_from(size(&argument)).unwrap_or(0).clamp(size_of::<T>(), LONGEST);
    // The kernel wants words.
    let mut words = vec![0_u64; wanted.div_ceil(8)];
    let bytes = words.as_mut_bytes();
    bytes[..size_of::<T>()].copy_from_slice(argument.as_bytes());
    bytes[..4].copy_from_slice(&u32::try_from(wanted).unwrap_or(0).to_ne_bytes());
    let at = bytes.as_mut_ptr();
    // SAFETY: the buffer has at least the `wanted` bytes that its first word says, and is aligned to words.
    done(unsafe { libc::ioctl(file.as_raw_fd(), request, at) })?;
    let bytes = words.as_bytes();
    let whole = T::read_from_prefix(bytes).map(|(value, _)| value).unwrap_or(argument);
    Ok((whole, bytes.to_vec()))
}

/// A request that takes a structure and answers with a file descriptor.
pub(super) fn exchange_for_file<T: Argument>(
    file: BorrowedFd<'_>,
    request: libc::Ioctl,
    argument: &mut T,
) -> io::Result<OwnedFd> {
    let fd = exchange(file, request, argument)?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A request that takes a name and answers with a file descriptor.
pub(super) fn call_with_name(
    file: BorrowedFd<'_>,
    request: libc::Ioctl,
    name: &CStr,
) -> io::Result<OwnedFd> {
    // SAFETY: the name ends with a zero, and the kernel reads it up to there.
    let fd = done(unsafe { libc::ioctl(file.as_raw_fd(), request, name.as_ptr()) })?;
    // SAFETY: the kernel has just made this descriptor for us; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// No list of capabilities is longer.
const LONGEST: usize = 64 << 10;

fn done(result: libc::c_int) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// The content of a capability, behind its header, in a structure that came with some.
pub(super) fn capability(bytes: &[u8], first: u32, id: u16) -> Option<&[u8]> {
    const HEADER: usize = 8;
    let mut at = usize::try_from(first).ok()?;
    // Each is at another place, so that there are fewer of them than bytes.
    for _ in 0..bytes.len() {
        let header = bytes.get(at..at.checked_add(HEADER)?).filter(|_| at != 0)?;
        if header[..2] == id.to_ne_bytes() {
            return bytes.get(at + HEADER..);
        }
        at = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]) as usize;
    }
    None
}

/// The pairs of a capability that is a count and that many pairs.
pub(super) fn pairs(content: &[u8]) -> Vec<(u64, u64)> {
    let word = |at: usize| {
        let bytes = content.get(at..at + 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    };
    let count =
        content.get(..4).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes);
    (0..count as usize).map_while(|n| Some((word(8 + 16 * n)?, word(16 + 16 * n)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_as_long_as_the_kernel_s() {
        assert_eq!(size_of::<GroupStatus>(), 8);
        assert_eq!(size_of::<DeviceInfo>(), 24);
        assert_eq!(size_of::<RegionInfo>(), 32);
        assert_eq!(size_of::<IrqInfo>(), 16);
        assert_eq!(size_of::<IommuInfo>(), 24);
        assert_eq!(size_of::<DmaMap>(), 32);
        assert_eq!(size_of::<DmaUnmap>(), 24);
        assert_eq!(size_of::<DmaBuf>(), 40);
        assert_eq!(size_of::<DeviceBind>(), 16);
        assert_eq!(size_of::<DeviceAttach>(), 12);
        assert_eq!(request::IOMMU_MAP_DMA, 0x3b71);
    }

    /// Two capabilities behind a structure of 24 bytes: the second has two ranges.
    fn chain(second: u32, next: u32) -> Vec<u8> {
        let mut bytes = vec![0; 24];
        bytes.extend([3, 0, 1, 0]);
        bytes.extend(second.to_ne_bytes());
        bytes.extend([9; 8]);
        bytes.extend([1, 0, 1, 0]);
        bytes.extend(next.to_ne_bytes());
        bytes.extend(2_u32.to_ne_bytes());
        bytes.extend([0; 4]);
        for word in [0_u64, 0xfedf_ffff, 0xfef0_0000, 0x7f_ffff_ffff] {
            bytes.extend(word.to_ne_bytes());
        }
        bytes
    }

    #[test]
    fn capabilities_are_found_and_their_ranges_read() {
        let bytes = chain(40, 0);
        let found = capability(&bytes, 24, CAP_IOVA_RANGE).unwrap();
        assert_eq!(pairs(found), [(0, 0xfedf_ffff), (0xfef0_0000, 0x7f_ffff_ffff)]);
        assert!(capability(&bytes, 24, 7).is_none());
        assert!(capability(&bytes, 0, CAP_IOVA_RANGE).is_none());
    }

    #[test]
    fn a_list_that_loops_or_leaves_the_buffer_ends() {
        for (second, next) in [(24, 0), (40, 24), (1 << 20, 0), (u32::MAX, 0), (70, 0)] {
            let bytes = chain(second, next);
            assert!(capability(&bytes, 24, 9).is_none());
        }
        assert!(pairs(&[9, 0, 0, 0, 0, 0, 0, 0, 1]).is_empty());
        assert!(pairs(&[]).is_empty());
    }
}
