//! The kernel's other interface (include/uapi/linux/iommufd.h of Linux 7.3.4): numbers and structures.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::done;

/// Requests: `_IO(';', n)`, which carry no size.
pub(in crate::vfio) mod request {
    const fn number(n: libc::Ioctl) -> libc::Ioctl {
        (0x3b << 8) | n
    }

    pub(in crate::vfio) const IOAS_ALLOC: libc::Ioctl = number(0x81);
    pub(in crate::vfio) const IOAS_IOVA_RANGES: libc::Ioctl = number(0x84);
    pub(in crate::vfio) const IOAS_MAP: libc::Ioctl = number(0x85);
    pub(in crate::vfio) const IOAS_UNMAP: libc::Ioctl = number(0x86);
    pub(in crate::vfio) const IOAS_MAP_FILE: libc::Ioctl = number(0x8f);
}

/// The address is the caller's (`IOMMU_IOAS_MAP_FIXED_IOVA`).
pub(in crate::vfio) const MAP_FIXED: u32 = 1 << 0;
/// The devices may write what is mapped.
pub(in crate::vfio) const MAP_WRITE: u32 = 1 << 1;
/// They may read it.
pub(in crate::vfio) const MAP_READ: u32 = 1 << 2;

argument!(
    /// `struct iommu_ioas_alloc`
    IoasAlloc { flags: u32, out_ioas_id: u32 }
);
argument!(
    /// `struct iommu_ioas_map`
    IoasMap { flags: u32, ioas_id: u32, reserved: u32, user_va: u64, length: u64, iova: u64 }
);
argument!(
    /// `struct iommu_ioas_map_file`
    IoasMapFile { flags: u32, ioas_id: u32, fd: i32, start: u64, length: u64, iova: u64 }
);
argument!(
    /// `struct iommu_ioas_unmap`
    IoasUnmap { ioas_id: u32, iova: u64, length: u64 }
);
/// `struct iommu_ioas_iova_ranges`. It points to what the kernel writes to, and so is no argument for everybody.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct IoasRanges {
    size: u32,
    ioas_id: u32,
    num_iovas: u32,
    reserved: u32,
    allowed_iovas: u64,
    out_iova_alignment: u64,
}

/// The addresses that all IOMMUs of an address space take, first and last ones, and what mappings are aligned to.
pub(in crate::vfio) fn ranges(
    file: BorrowedFd<'_>,
    ioas_id: u32,
) -> io::Result<(Vec<(u64, u64)>, u64)> {
    let mut ranges = vec![[0_u64; 2]; FEW];
    loop {
        let num_iovas = u32::try_from(ranges.len()).unwrap_or(u32::MAX);
        let at = ranges.as_mut_ptr();
        let size = u32::try_from(size_of::<IoasRanges>()).unwrap_or(0);
        let (allowed_iovas, new) = (at as u64, IoasRanges::default());
        let mut argument = IoasRanges { size, ioas_id, num_iovas, allowed_iovas, ..new };
        let bytes = argument.as_mut_bytes().as_mut_ptr();
        // SAFETY: the structure is as long as its first word says. The kernel writes into the list that it points to no
        // more pairs than `num_iovas` says, which is not above what the vector has; any bytes are valid there.
        let asked = unsafe { libc::ioctl(file.as_raw_fd(), request::IOAS_IOVA_RANGES, bytes) };
        let found = usize::try_from(argument.num_iovas).unwrap_or(usize::MAX);
        match done(asked) {
            Ok(_) => {
                ranges.truncate(found);
                let pairs = ranges.into_iter().map(|[first, last]| (first, last));
                return Ok((pairs.collect(), argument.out_iova_alignment));
            }
            // There are more of them; they may have become more since.
            Err(error)
                if error.raw_os_error() == Some(libc::EMSGSIZE)
                    && (ranges.len()..MOST).contains(&found) =>
            {
                ranges.resize(found + 1, [0; 2]);
            }
            Err(error) => return Err(error),
        }
    }
}

/// As many as an IOMMU usually has, and more: two, around the interrupts' window.
const FEW: usize = 16;
/// No IOMMU has more.
const MOST: usize = 1 << 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structures_are_as_long_as_the_kernel_s() {
        assert_eq!(size_of::<IoasAlloc>(), 12);
        assert_eq!(size_of::<IoasMap>(), 40);
        assert_eq!(size_of::<IoasMapFile>(), 40);
        assert_eq!(size_of::<IoasUnmap>(), 24);
        assert_eq!(size_of::<IoasRanges>(), 32);
        assert_eq!(request::IOAS_MAP_FILE, 0x3b8f);
    }

    #[test]
    fn what_knows_no_address_spaces_says_so() {
        use std::os::fd::AsFd as _;
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(ranges(file.as_fd(), 1).unwrap_err().raw_os_error(), Some(libc::ENOTTY));
    }
}
