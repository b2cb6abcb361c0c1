//! A plain endpoint with memory behind a BAR, like an accelerator's.

use std::sync::Arc;

use p2pdma_fabric::{BarDescription, Description, Endpoint, MemoryRegion, Port, Reset, TimerId};
use p2pdma_mem::SharedMemory;
use p2pdma_pci::BarIndex;
use p2pdma_pci::topology::MemoryKind;
use p2pdma_spec::pci::bar::BarKind;
use p2pdma_spec::pci::class::ClassCode;

use crate::Error;

/// Such a device, to be built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BarMemoryConfig {
    /// PCI vendor ID.
    pub vendor: u16,
    /// PCI device ID.
    pub device: u16,
    /// What it says that it is.
    pub class: ClassCode,
    /// The BAR with the memory: 0, 2 or 4. It has 64 address bits and is prefetchable.
    pub bar: BarIndex,
    /// How much of the memory the BAR shows, in bytes: a power of two of at least 4096.
    pub len: u64,
    /// How much memory there is, if that is more.
    pub behind: Option<u64>,
}

impl Default for BarMemoryConfig {
    /// 256 MiB behind BAR 0 of a processing accelerator.
    fn default() -> Self {
        Self {
            vendor: 0x1b36,
            device: 0x00a0,
            class: ClassCode::PROCESSING_ACCELERATOR,
            bar: BarIndex::ZERO,
            len: 256 << 20,
            behind: None,
        }
    }
}

/// Memory on the bus, and nothing else: it never acts by itself.
#[derive(Debug)]
pub struct BarMemoryDevice {
    config: BarMemoryConfig,
    memory: SharedMemory,
}

impl BarMemoryDevice {
    /// Builds the device, its memory zeroed. Only what is written costs anything.
    ///
    /// # Errors
    /// [`Error::Value`] for an impossible size or BAR, [`Error::Memory`] if there is not enough.
    pub fn new(config: BarMemoryConfig) -> Result<Self, Error> {
        let wrong = |what, value, allowed| Err(Error::Value { what, value, allowed });
        if !config.len.is_power_of_two() || config.len < 4096 {
            return wrong("the memory's size", config.len, "a power of two of at least 4096");
        }
        if !matches!(config.bar.get(), 0 | 2 | 4) {
            return wrong("the memory's BAR", u64::from(config.bar.get()), "0, 2 or 4");
        }
        let memory = device_memory(config.len)?;
        Ok(Self { config, memory })
    }

    /// A handle to its bytes, to look at them from the side.
    #[must_use]
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }
}

impl Endpoint for BarMemoryDevice {
    fn describe(&self) -> Description {
        let region = MemoryRegion {
            offset: 0,
            len: self.config.len,
            kind: MemoryKind::Bar(self.config.bar),
            behind: self.config.behind,
            memory: Arc::new(self.memory.clone()),
        };
        let bar = BarDescription {
            index: self.config.bar,
            len: self.config.len,
            kind: BarKind::Memory64 { prefetchable: true },
            memory: vec![region],
        };
        Description {
            vendor: self.config.vendor,
            device: self.config.device,
            class: self.config.class,
            bars: vec![bar],
            function_level_reset: true,
            ..Description::default()
        }
    }

    /// There are no registers.
    fn mmio_read(&mut self, _: BarIndex, _: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn mmio_write(&mut self, _: BarIndex, _: u64, _: &[u8], _: &mut Port<'_>) {}

    fn wake(&mut self, _: TimerId, _: &mut Port<'_>) {}

    fn reset(&mut self, kind: Reset) {
        if kind == Reset::Cold {
            wipe(&self.memory);
        }
    }
}

/// Zeroed memory of a device.
pub(crate) fn device_memory(len: u64) -> Result<SharedMemory, Error> {
    let failed = |source| Error::Memory { len, source };
    let size = usize::try_from(len).map_err(|_| failed(std::io::ErrorKind::OutOfMemory.into()))?;
    SharedMemory::anonymous(size).map_err(failed)
}

/// Zeroes what is not zero. Reading what was never written allocates nothing; writing zeroes would.
pub(crate) fn wipe(bytes: &SharedMemory) {
    let mut piece = [0; 4096];
    for start in (0..bytes.len()).step_by(piece.len()) {
        let len = piece.len().min(bytes.len() - start);
        let read = bytes.read(start, &mut piece[..len]);
        if read.is_ok() && piece[..len].iter().any(|byte| *byte != 0) {
            let _ = bytes.fill(start, len, 0);
        }
    }
}
