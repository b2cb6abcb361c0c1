//! Host memory: where it lies in the address map, and who has which part of it.

use p2pdma_mem::{RangeAllocator, SharedMemory};

/// Host memory below this address; the rest of it begins at 4 GiB, as on every PC. Between the two
/// are the 32-bit BARs.
pub(crate) const LOW_END: u64 = 0x8000_0000;
const HIGH_START: u64 = 1 << 32;

/// The first MiB is never handed out: address zero, and what a PC keeps there.
const RESERVED: u64 = 1 << 20;

/// The memory of the host.
#[derive(Debug)]
pub(crate) struct HostMemory {
    bytes: SharedMemory,
    low_end: u64,
    high_end: u64,
    free: RangeAllocator,
}

impl HostMemory {
    pub(crate) fn new(len: u64) -> std::io::Result<Self> {
        let low_end = len.min(LOW_END);
        let high_end = HIGH_START
            .checked_add(len - low_end)
            .ok_or_else(|| std::io::Error::other("more memory than 64 bits can name"))?;
        let size = usize::try_from(len).map_err(std::io::Error::other)?;
        let mut free = RangeAllocator::default();
        for (start, end) in [(RESERVED.min(low_end), low_end), (HIGH_START, high_end)] {
            free.release(start, end - start);
        }
        Ok(Self { bytes: SharedMemory::anonymous(size)?, low_end, high_end, free })
    }

    #[inline]
    pub(crate) fn contains(&self, address: u64) -> bool {
        address < self.low_end || (HIGH_START..self.high_end).contains(&address)
    }

    /// First and one past the last address of each run.
    pub(crate) fn runs(&self) -> [(u64, u64); 2] {
        [(0, self.low_end), (HIGH_START, self.high_end)]
    }

    /// The first address above all host memory.
    pub(crate) fn end(&self) -> u64 {
        self.high_end
    }

    #[inline]
    fn offset(&self, address: u64) -> usize {
        let offset =
            if address < self.low_end { address } else { address - HIGH_START + self.low_end };
        // An offset that does not fit is outside, and is refused by the access.
        usize::try_from(offset).unwrap_or(usize::MAX)
    }

    /// Reads within one run; false if the range leaves it.
    #[inline]
    pub(crate) fn read(&self, address: u64, data: &mut [u8]) -> bool {
        self.bytes.read(self.offset(address), data).is_ok()
    }

    /// Writes within one run; false if the range leaves it.
    #[inline]
    pub(crate) fn write(&self, address: u64, data: &[u8]) -> bool {
        self.bytes.write(self.offset(address), data).is_ok()
    }

    /// The address of bytes that were handed out; none if they were not.
    pub(crate) fn address_of(&self, memory: &SharedMemory) -> Option<u64> {
        let offset = memory.offset_in(&self.bytes)? as u64;
        Some(if offset < self.low_end { offset } else { offset - self.low_end + HIGH_START })
    }

    /// Takes a zeroed run: its address and a handle to its bytes.
    pub(crate) fn allocate(&mut self, len: u64, align: u64) -> Option<(u64, SharedMemory)> {
        let address = self.free.allocate(len, align)?;
        let start = self.offset(address);
        let size = usize::try_from(len).ok()?;
        let memory = self.bytes.slice(start..start.checked_add(size)?).ok()?;
        memory.fill(0, size, 0).ok()?;
        Some((address, memory))
    }

    pub(crate) fn release(&mut self, address: u64, len: u64) {
        self.free.release(address, len);
    }
}
