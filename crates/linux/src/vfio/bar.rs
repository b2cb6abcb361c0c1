//! Memory behind a BAR, as this process reaches it.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use p2pdma_mem::{SharedMemory, Word};
use p2pdma_pci::BarAccess;

use super::abi::{self, RegionInfo};
use super::device::Device;

/// A BAR: the parts of it that are mapped, and for the rest the device's file. What may not be mapped is
/// where the table of MSI-X is, on kernels before 4.16.
pub(super) struct Region {
    pub(super) len: u64,
    /// Where in the device's file it begins.
    start: u64,
    file: File,
    mapped: Vec<(u64, SharedMemory)>,
}

impl Region {
    pub(super) fn map(file: &File, info: &RegionInfo, bytes: &[u8]) -> io::Result<Self> {
        let areas = match abi::capability(bytes, info.cap_offset, abi::CAP_SPARSE_MMAP) {
            _ if info.flags & abi::REGION_MMAP == 0 => Vec::new(),
            Some(content) => abi::pairs(content),
            None => vec![(0, info.size)],
        };
        let map = |(offset, len): (u64, u64)| {
            let size = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
            Ok((offset, SharedMemory::map_file_at(file, info.offset + offset, size)?))
        };
        let areas = areas.into_iter().filter(|&(offset, len)| {
            len > 0 && offset.checked_add(len).is_some_and(|end| end <= info.size)
        });
        let mapped = areas.map(map).collect::<io::Result<_>>()?;
        Ok(Self { len: info.size, start: info.offset, file: file.try_clone()?, mapped })
    }

    /// The mapped part in which a range lies, and where in the BAR that part begins.
    pub(super) fn around(&self, range: &Range<u64>) -> Option<(u64, SharedMemory)> {
        let len = range.end.checked_sub(range.start)?;
        let (memory, at) = self.find(range.start, len)?;
        Some((range.start - at as u64, memory.clone()))
    }

    fn read(&self, offset: u64, data: &mut [u8]) {
        let done = match self.find(offset, data.len() as u64) {
            Some((memory, at)) => load(memory, at, data),
            None => self.file.read_exact_at(data, self.start + offset).ok(),
        };
        // As on the bus: nobody answers.
        if done.is_none() {
            data.fill(0xff);
        }
    }

    #[inline]
    fn write(&self, offset: u64, data: &[u8]) {
        // What the processor wrote to memory is to be seen by the device before this is.
        before_device_write();
        // As on the bus: what nobody takes is lost.
        let _ = match self.find(offset, data.len() as u64) {
            Some((memory, at)) => store(memory, at, data),
            None => self.file.write_all_at(data, self.start + offset).ok(),
        };
    }

    fn find(&self, offset: u64, len: u64) -> Option<(&SharedMemory, usize)> {
        self.mapped.iter().find_map(|(start, memory)| {
            let at = usize::try_from(offset.checked_sub(*start)?).ok()?;
            let end = at.checked_add(usize::try_from(len).ok()?)?;
            (end <= memory.len()).then_some((memory, at))
        })
    }
}

/// A BAR of a device that stays open as long as it can be reached.
pub(super) struct VfioBar {
    pub(super) region: Arc<Region>,
    pub(super) _device: Arc<Device>,
}

impl BarAccess for VfioBar {
    fn read(&self, offset: u64, data: &mut [u8]) {
        self.region.read(offset, data);
    }

    #[inline]
    fn write(&self, offset: u64, data: &[u8]) {
        self.region.write(offset, data);
    }
}

/// Reads in one access if there is one of that length, else in several.
fn load(memory: &SharedMemory, at: usize, data: &mut [u8]) -> Option<()> {
    fn word<W: Word>(memory: &SharedMemory, at: usize) -> Option<W> {
        memory.load(at, Ordering::Acquire).ok()
    }
    match data.len() {
        2 if at.is_multiple_of(2) => data.copy_from_slice(&word::<u16>(memory, at)?.to_le_bytes()),
        4 if at.is_multiple_of(4) => data.copy_from_slice(&word::<u32>(memory, at)?.to_le_bytes()),
        8 if at.is_multiple_of(8) => data.copy_from_slice(&word::<u64>(memory, at)?.to_le_bytes()),
        _ => memory.read(at, data).ok()?,
    }
    Some(())
}

#[inline]
fn store(memory: &SharedMemory, at: usize, data: &[u8]) -> Option<()> {
    let order = Ordering::Release;
    match *data {
        [a, b] if at.is_multiple_of(2) => memory.store(at, u16::from_le_bytes([a, b]), order).ok(),
        [a, b, c, d] if at.is_multiple_of(4) => {
            memory.store(at, u32::from_le_bytes([a, b, c, d]), order).ok()
        }
        [a, b, c, d, e, f, g, h] if at.is_multiple_of(8) => {
            memory.store(at, u64::from_le_bytes([a, b, c, d, e, f, g, h]), order).ok()
        }
        _ => memory.write(at, data).ok(),
    }
}

/// Orders earlier writes to memory before later ones to a device. On x86-64 the processor does so by itself
/// (Intel SDM volume 3A §8.2.2); on arm64 it takes a barrier of the outer shareable domain, which Linux's
/// `writel()` has too (`__dma_wmb()` in arch/arm64/include/asm/barrier.h); on RISC-V a fence from memory to
/// I/O (`__io_bw()` in arch/riscv/include/asm/mmio.h).
#[inline]
#[cfg_attr(
    any(target_arch = "aarch64", target_arch = "riscv64"),
    expect(unsafe_code, reason = "the language has no barrier for devices")
)]
fn before_device_write() {
    std::sync::atomic::fence(Ordering::Release);
    #[cfg(target_arch = "aarch64")]
    // SAFETY: a barrier changes no memory and no register.
    unsafe {
        std::arch::asm!("dmb oshst", options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "riscv64")]
    // SAFETY: as above.
    unsafe {
        std::arch::asm!("fence w, o", options(nostack, preserves_flags));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    /// A file stands for the device's: what a BAR does with it is the same.
    fn region(flags: u32, bytes: &[u8]) -> (Region, File) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&vec![0; 16384]).unwrap();
        let info =
            RegionInfo { flags, size: 8192, offset: 4096, cap_offset: 32, ..RegionInfo::sized() };
        (Region::map(&file, &info, bytes).unwrap(), file)
    }

    /// Writes and reads at an offset; the file must show the same.
    fn check(region: &Region, file: &File, offset: u64) {
        for len in [1_u8, 2, 3, 4, 8, 64] {
            let data: Vec<u8> = (1..=len).collect();
            region.write(offset, &data);
            let mut back = vec![0; data.len()];
            region.read(offset, &mut back);
            assert_eq!(back, data);
            back.fill(0);
            file.read_exact_at(&mut back, 4096 + offset).unwrap();
            assert_eq!(back, data, "in the file");
        }
    }

    #[test]
    fn a_bar_is_reached_mapped_or_not() {
        for flags in [0, abi::REGION_MMAP] {
            let (region, file) = region(flags, &[]);
            assert_eq!(region.around(&(1..8192)).is_some(), flags != 0);
            for offset in [0, 1, 4100, 8128] {
                check(&region, &file, offset);
            }
        }
    }

    #[test]
    fn where_the_table_of_vectors_is_the_file_serves() {
        // A capability with one area: the second page.
        let mut bytes = vec![0; 32];
        bytes.extend([1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(4096_u64.to_ne_bytes());
        bytes.extend(4096_u64.to_ne_bytes());
        let (region, file) = region(abi::REGION_MMAP, &bytes);
        assert!(region.around(&(0..4096)).is_none());
        assert_eq!(region.around(&(5000..8192)).unwrap().0, 4096);
        for offset in [0, 4032, 4064, 4096, 8128] {
            check(&region, &file, offset);
        }
    }

    #[test]
    fn areas_beyond_the_region_are_left_out_and_beyond_the_end_nobody_answers() {
        let mut bytes = vec![0; 32];
        bytes.extend([1, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        bytes.extend(4096_u64.to_ne_bytes());
        bytes.extend(u64::MAX.to_ne_bytes());
        let (region, _file) = region(abi::REGION_MMAP, &bytes);
        assert!(region.around(&(4096..8192)).is_none());
        let mut data = [0; 4];
        region.read(1 << 20, &mut data);
        assert_eq!(data, [0xff; 4]);
    }
}
