//! The Controller Memory Buffer (NVMe Base 2.1 §8.2.1): memory of the controller that the host, peers
//! and the controller's own commands use.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use p2pdma_fabric::{BarMemory, Closed, MemoryRegion};
use p2pdma_mem::SharedMemory;
use p2pdma_pci::BarIndex;
use p2pdma_pci::topology::MemoryKind;
use p2pdma_spec::nvme::cmb::{Cmbloc, Cmbmsc, Cmbsts, Cmbsz};

use super::dma::{Use, Window};
use crate::Error;
use crate::bar_memory::{device_memory, wipe};

/// A controller memory buffer to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CmbConfig {
    /// Its size in bytes: a positive multiple of 4 KiB.
    pub len: u64,
    /// The BAR that holds it: 2 or 4, or 0 to share that of the registers.
    pub bar: BarIndex,
    /// Where it begins in the BAR, in bytes: a multiple of the smallest unit that can express its
    /// size; in BAR 0, behind doorbells and MSI-X table.
    pub offset: u64,
    /// The size of its BAR, if that is larger than what is in it: a power of two. Not for BAR 0.
    pub bar_len: u64,
    /// What it may be used for.
    pub uses: CmbUses,
}

/// The five uses of a controller memory buffer (CMBSZ bits 4 to 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "five independent bits of a register")]
pub struct CmbUses {
    /// Submission queues (SQS).
    pub submission_queues: bool,
    /// Completion queues (CQS).
    pub completion_queues: bool,
    /// PRP lists and SGL segments (LISTS).
    pub lists: bool,
    /// Data that the controller produces: reads (RDS).
    pub read_data: bool,
    /// Data that the controller consumes: writes (WDS).
    pub write_data: bool,
}

impl CmbUses {
    /// All five.
    pub const ALL: Self = Self {
        submission_queues: true,
        completion_queues: true,
        lists: true,
        read_data: true,
        write_data: true,
    };
}

impl Default for CmbConfig {
    /// 64 MiB at the start of BAR 2, for everything.
    fn default() -> Self {
        let bar = BarIndex::all().nth(2).unwrap_or(BarIndex::ZERO);
        Self { len: 64 << 20, bar, offset: 0, bar_len: 0, uses: CmbUses::ALL }
    }
}

/// The bytes, which answer only while the host has the buffer enabled.
pub(crate) struct CmbMemory {
    bytes: SharedMemory,
    enabled: AtomicBool,
}

impl CmbMemory {
    /// For the controller itself, which needs no permission. The range was found to lie within.
    #[inline]
    pub(crate) fn read_inside(&self, offset: u64, data: &mut [u8]) -> Result<(), Closed> {
        BarMemory::read(&self.bytes, offset, data)
    }

    /// The same, inwards.
    #[inline]
    pub(crate) fn write_inside(&self, offset: u64, data: &[u8]) -> Result<(), Closed> {
        BarMemory::write(&self.bytes, offset, data)
    }
}

impl fmt::Debug for CmbMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CmbMemory").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

impl BarMemory for CmbMemory {
    #[inline]
    fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), Closed> {
        // Only the fabric's one running call changes or reads the flag.
        if self.enabled.load(Relaxed) { self.read_inside(offset, data) } else { Err(Closed) }
    }

    #[inline]
    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Closed> {
        if self.enabled.load(Relaxed) { self.write_inside(offset, data) } else { Err(Closed) }
    }
}

/// The buffer with its registers.
#[derive(Debug)]
pub(crate) struct Cmb {
    config: CmbConfig,
    location: Cmbloc,
    size: Cmbsz,
    pub(crate) memory: Arc<CmbMemory>,
    pub(crate) control: Cmbmsc,
    pub(crate) status: Cmbsts,
}

impl Cmb {
    pub(crate) fn new(config: CmbConfig) -> Result<Self, Error> {
        let wrong = |what, value, allowed| Err(Error::Value { what, value, allowed });
        let Some(size) = Cmbsz::from_size(config.len).filter(|_| config.len > 0) else {
            let allowed = "a positive multiple of 4 KiB that SZ and SZU can express";
            return wrong("the CMB's size", config.len, allowed);
        };
        let unit = size.szu().bytes().unwrap_or(1);
        let units = config.offset / unit;
        let Some(ofst) = u32::try_from(units).ok().filter(|&units| units < 1 << 20) else {
            return wrong("the CMB's offset", config.offset, "at most 2^20 - 1 size units");
        };
        if !config.offset.is_multiple_of(unit) {
            let allowed = "a multiple of the CMB's size unit";
            return wrong("the CMB's offset", config.offset, allowed);
        }
        if !matches!(config.bar.get(), 0 | 2 | 4) {
            return wrong("the CMB's BAR", u64::from(config.bar.get()), "0, 2 or 4");
        }
        let fits = config.bar_len.is_power_of_two() && config.bar.get() != 0;
        if config.bar_len != 0 && !fits {
            let allowed = "0 or a power of two, and 0 for BAR 0";
            return wrong("the size of the CMB's BAR", config.bar_len, allowed);
        }
        let uses = config.uses;
        let size = size
            .with_sqs(uses.submission_queues)
            .with_cqs(uses.completion_queues)
            .with_lists(uses.lists)
            .with_rds(uses.read_data)
            .with_wds(uses.write_data);
        // Addresses are looked at one by one, so data, metadata and lists may be mixed at will. A
        // queue is one run of memory and lies in the buffer or outside.
        let location = Cmbloc::new()
            .with_bir(config.bar.get())
            .with_ofst(ofst)
            .with_cdpmls(true)
            .with_cdpcils(true)
            .with_cdmmms(true);
        let bytes = device_memory(config.len)?;
        let memory = Arc::new(CmbMemory { bytes, enabled: AtomicBool::new(false) });
        let (control, status) = (Cmbmsc::new(), Cmbsts::new());
        Ok(Self { config, location, size, memory, control, status })
    }

    pub(crate) fn config(&self) -> &CmbConfig {
        &self.config
    }

    /// Whether it may be used like this.
    #[inline]
    pub(crate) fn is_for(&self, usage: Use) -> bool {
        let uses = &self.config.uses;
        match usage {
            Use::SubmissionQueue => uses.submission_queues,
            Use::CompletionQueue => uses.completion_queues,
            Use::List => uses.lists,
            Use::ReadData => uses.read_data,
            Use::WriteData => uses.write_data,
        }
    }

    pub(crate) fn region(&self) -> MemoryRegion {
        MemoryRegion {
            offset: self.config.offset,
            len: self.config.len,
            kind: MemoryKind::Cmb,
            behind: None,
            memory: Arc::clone(&self.memory) as Arc<dyn BarMemory>,
        }
    }

    /// CMBLOC and CMBSZ, which show their values only while CMBMSC.CRE is set.
    pub(crate) fn capabilities(&self) -> (Cmbloc, Cmbsz) {
        if self.control.cre() { (self.location, self.size) } else { (Cmbloc::new(), Cmbsz::new()) }
    }

    /// A write of CMBMSC. `taken`: the window of the persistent memory region, with which this one may
    /// not overlap.
    pub(crate) fn set_control(&mut self, control: Cmbmsc, taken: Window) {
        let known = Cmbmsc::new()
            .with_cre(control.cre())
            .with_cmse(control.cmse())
            .with_base_address(control.base_address());
        let window = Window { base: known.base_address(), len: self.config.len };
        let valid = window.is_valid() && !window.overlaps(taken);
        self.control = known;
        self.status = Cmbsts::new().with_cbai(known.cmse() && !valid);
        self.memory.enabled.store(known.cre(), Relaxed);
    }

    /// The addresses that commands may use for the buffer now.
    pub(crate) fn window(&self) -> Window {
        if self.control.cmse() && !self.status.cbai() {
            Window { base: self.control.base_address(), len: self.config.len }
        } else {
            Window::NONE
        }
    }

    /// A reset that takes the register and the contents along.
    pub(crate) fn power_cut(&mut self) {
        self.set_control(Cmbmsc::new(), Window::NONE);
        wipe(&self.memory.bytes);
    }

    /// A reset that takes the register along.
    pub(crate) fn disable(&mut self) {
        self.set_control(Cmbmsc::new(), Window::NONE);
    }
}
