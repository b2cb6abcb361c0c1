//! The seam that device models implement.

use std::fmt;
use std::sync::Arc;

use p2pdma_mem::{OutOfBounds, SharedMemory};
use p2pdma_pci::BarIndex;
use p2pdma_pci::topology::MemoryKind;
use p2pdma_spec::pci::bar::BarKind;
use p2pdma_spec::pci::class::ClassCode;

use crate::Port;

/// A device model: one PCI function.
///
/// The fabric calls it, one call at a time, and hands it a [`Port`] through which it acts. No call is
/// ever made from within another device's call, except that a register of another function may be read
/// ([`Endpoint::mmio_read`] has no port, so it goes no further). Input is hostile: a model answers any of
/// it with a status, never with a panic, and does a bounded amount of work per call.
pub trait Endpoint: Send {
    /// What the function looks like. Asked once, when it is plugged in.
    fn describe(&self) -> Description;

    /// A read of a register region, at any offset and of any length.
    fn mmio_read(&mut self, bar: BarIndex, offset: u64, data: &mut [u8]);

    /// A write to a register region, at any offset and of any length up to 4 KiB.
    fn mmio_write(&mut self, bar: BarIndex, offset: u64, data: &[u8], port: &mut Port<'_>);

    /// A timer that the model set has come.
    fn wake(&mut self, timer: TimerId, port: &mut Port<'_>);

    /// A reset. Timers and packets of before it do not arrive any more.
    fn reset(&mut self, kind: Reset);
}

/// A number by which a model tells its timers apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId(pub u32);

/// The kinds of reset (PCIe 6.0 §6.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reset {
    /// Power was lost and came back: whatever is volatile is gone.
    Cold,
    /// A conventional reset, over the link: power stays.
    Hot,
    /// A function-level reset.
    FunctionLevel,
}

/// What a function is made of.
#[derive(Debug, Clone, Default)]
pub struct Description {
    /// Vendor ID.
    pub vendor: u16,
    /// Device ID.
    pub device: u16,
    /// Subsystem vendor ID.
    pub subsystem_vendor: u16,
    /// Subsystem ID.
    pub subsystem: u16,
    /// Class code.
    pub class: ClassCode,
    /// Revision ID.
    pub revision: u8,
    /// Its memory BARs. A 64-bit BAR takes its index and the next.
    pub bars: Vec<BarDescription>,
    /// Its MSI-X vectors, if any.
    pub msix: Option<MsixDescription>,
    /// Whether it can be reset alone.
    pub function_level_reset: bool,
    /// Whether it has the address translation services capability.
    pub address_translation: bool,
}

/// One BAR.
#[derive(Debug, Clone)]
pub struct BarDescription {
    /// Its number; of a 64-bit BAR the lower one.
    pub index: BarIndex,
    /// Its size in bytes: a power of two, at least 16.
    pub len: u64,
    /// Whether it decodes 32 or 64 address bits, and whether reading has no side effect.
    pub kind: BarKind,
    /// Parts of it that are memory. What is none of them, and not the MSI-X table, is registers.
    pub memory: Vec<MemoryRegion>,
}

/// Part of a BAR that is memory: packets reach it without the model's help.
#[derive(Clone)]
pub struct MemoryRegion {
    /// Where it begins, in bytes from the BAR's start.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
    /// What it is, in the topology's words.
    pub kind: MemoryKind,
    /// How much memory there is, if the region shows only part of it.
    pub behind: Option<u64>,
    /// The bytes.
    pub memory: Arc<dyn BarMemory>,
}

impl fmt::Debug for MemoryRegion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRegion")
            .field("offset", &self.offset)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// MSI-X: the fabric keeps the table and the pending bits, the model only raises vectors.
#[derive(Debug, Clone, Copy)]
pub struct MsixDescription {
    /// How many vectors, 1 to 2048.
    pub vectors: u16,
    /// The BAR that holds table and pending bits.
    pub bar: BarIndex,
    /// Where the table begins: 16 bytes a vector.
    pub table: u64,
    /// Where the pending bits begin: 8 bytes per 64 vectors.
    pub pending: u64,
}

/// Memory behind a BAR.
///
/// Passive: it acts on nothing, so packets may reach it while another model runs.
pub trait BarMemory: Send + Sync {
    /// Copies bytes out.
    ///
    /// # Errors
    /// [`Closed`] if the memory does not answer at present; the requester gets Unsupported Request.
    fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), Closed>;

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`Closed`] if the memory does not answer at present; the bytes are lost.
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Closed>;
}

/// The memory is switched off, or the access leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the memory does not answer")]
pub struct Closed;

impl From<OutOfBounds> for Closed {
    fn from(_: OutOfBounds) -> Self {
        Self
    }
}

/// Plain memory that always answers.
impl BarMemory for SharedMemory {
    #[inline]
    fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), Closed> {
        Ok(Self::read(self, usize::try_from(offset).map_err(|_| Closed)?, data)?)
    }

    #[inline]
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Closed> {
        Ok(Self::write(self, usize::try_from(offset).map_err(|_| Closed)?, data)?)
    }
}
