//! Memory that must not be met: a page between two others, all of them filled with what nothing else here has.

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use p2pdma_mem::SharedMemory;
use p2pdma_nvme::Controller;
use p2pdma_pci::{DmaBuffer, Iova};

/// A page, in bytes.
pub(crate) const BYTES: u32 = 4096;
pub(crate) const PAGE: usize = BYTES as usize;
/// What it is filled with.
const BYTE: u8 = 0xc3;

/// The page, with its neighbours.
pub(crate) struct Canary {
    /// All three.
    all: SharedMemory,
    middle: SharedMemory,
    /// Keeps the pages where they are, and mapped at some other address, until they are unmapped.
    buffer: Option<DmaBuffer>,
}

impl Canary {
    pub(crate) fn new(controller: &Controller) -> Result<Self, Box<dyn Error>> {
        let buffer = controller.alloc_dma(3 * PAGE)?;
        let memory = buffer.memory().clone();
        memory.fill(0, memory.len(), BYTE)?;
        let middle = memory.slice(PAGE..2 * PAGE)?;
        Ok(Self { all: memory, middle, buffer: Some(buffer) })
    }

    /// The page in the middle.
    pub(crate) fn memory(&self) -> &SharedMemory {
        &self.middle
    }

    /// Where its controller finds that page.
    pub(crate) fn iova(&self) -> Iova {
        Iova(self.buffer.as_ref().map_or(0, |buffer| buffer.iova().0 + PAGE as u64))
    }

    /// Takes it from its controller; the bytes stay.
    pub(crate) fn unmap(self) -> Self {
        Self { buffer: None, ..self }
    }

    /// Where that page is in the machine's memory (Documentation/admin-guide/mm/pagemap.rst: bit 63, a page is there;
    /// bits 0 to 54, its number).
    pub(crate) fn physical(&self) -> io::Result<Iova> {
        let mut entry = [0; 8];
        let index = self.middle.base() as u64 / PAGE as u64;
        File::open("/proc/self/pagemap")?.read_exact_at(&mut entry, index * 8)?;
        let (entry, number) = (u64::from_le_bytes(entry), (1 << 55) - 1);
        if entry >> 63 == 0 || entry & number == 0 {
            return Err(io::Error::other("the kernel does not say where the page is"));
        }
        Ok(Iova((entry & number) * PAGE as u64))
    }

    /// Whether every byte is as it was.
    pub(crate) fn state(&self) -> Result<String, Box<dyn Error>> {
        let mut bytes = vec![0; self.all.len()];
        self.all.read(0, &mut bytes)?;
        let changed = bytes.iter().position(|&byte| byte != BYTE);
        Ok(changed.map_or_else(
            || "untouched".to_owned(),
            |at| format!("byte {at} is {:#04x}", bytes[at]),
        ))
    }

    /// Whether other memory has got any of its bytes.
    pub(crate) fn leaked_into(&self, other: &SharedMemory) -> Result<String, Box<dyn Error>> {
        let mut bytes = vec![0; other.len()];
        other.read(0, &mut bytes)?;
        let leaked = bytes.iter().filter(|&&byte| byte == BYTE).count();
        Ok(format!("{leaked} bytes leaked, the first is {:#04x}", bytes[0]))
    }
}
