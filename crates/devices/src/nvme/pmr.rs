//! The Persistent Memory Region (NVMe Base 2.1 §8.2.4): load and store, and it survives a loss of power.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use p2pdma_fabric::{BarMemory, Bell, Closed, MemoryRegion};
use p2pdma_mem::SharedMemory;
use p2pdma_pci::BarIndex;
use p2pdma_pci::topology::MemoryKind;
use p2pdma_spec::nvme::pmr::{HealthStatus, Pmrcap, Pmrctl, Pmrmscl, Pmrsts};

use super::dma::Window;
use super::media::{Chance, FileMedia, Media, MediaError, MemoryMedia};
use crate::Error;
use crate::bar_memory::device_memory;

/// A persistent memory region to be built. It fills a BAR of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four independent bits of a register")]
pub struct PmrConfig {
    /// Its size in bytes: a power of two of at least 4 KiB.
    pub len: u64,
    /// Its BAR: 2 or 4.
    pub bar: BarIndex,
    /// Whether commands may put data there that the controller produces (RDS).
    pub read_data: bool,
    /// Whether commands may take data from there that the controller consumes (WDS).
    pub write_data: bool,
    /// Whether a read from the region makes earlier writes to it persistent (PMRWBM bit 0).
    pub barrier_memory_read: bool,
    /// Whether a read of PMRSTS makes earlier writes to the region persistent (PMRWBM bit 1).
    pub barrier_status_read: bool,
    /// The file that keeps it between runs; without one it lasts as long as the device.
    pub file: Option<PathBuf>,
    /// Decides what a loss of power takes of what no barrier has made persistent.
    pub seed: u64,
}

impl Default for PmrConfig {
    /// 16 MiB in BAR 4 with every use and both barriers.
    fn default() -> Self {
        Self {
            len: 16 << 20,
            bar: BarIndex::all().nth(4).unwrap_or(BarIndex::ZERO),
            read_data: true,
            write_data: true,
            barrier_memory_read: true,
            barrier_status_read: true,
            file: None,
            seed: 1,
        }
    }
}

/// A loss of power keeps or loses this many aligned bytes as a whole.
const LINE: u64 = 64;
/// Lines are tracked by the page: 64 of them, a bit each.
const PAGE: u64 = 64 * LINE;

/// The bytes, and what of them is persistent.
pub(crate) struct PmrMemory {
    bytes: SharedMemory,
    enabled: AtomicBool,
    barrier_memory_read: bool,
    store: Mutex<Store>,
}

/// The persistent image.
#[derive(Debug)]
struct Store {
    media: Box<dyn Media>,
    /// Lines that were written since the last barrier, by page.
    dirty: BTreeMap<u64, u64>,
    chance: Chance,
    failed: bool,
    /// Tells the controller of the first failure.
    bell: Option<Bell>,
}

impl PmrMemory {
    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For the controller itself: no barrier, no permission.
    pub(crate) fn read_inside(&self, offset: u64, data: &mut [u8]) -> Result<(), Closed> {
        BarMemory::read(&self.bytes, offset, data)
    }

    /// The same, inwards.
    pub(crate) fn write_inside(&self, offset: u64, data: &[u8]) -> Result<(), Closed> {
        BarMemory::write(&self.bytes, offset, data)?;
        self.store().mark(offset, data.len() as u64);
        Ok(())
    }

    /// Makes everything that was written persistent.
    pub(crate) fn barrier(&self) {
        let mut store = self.store();
        for (page, lines) in std::mem::take(&mut store.dirty) {
            for (at, len) in runs(page, lines) {
                let done = store.keep(&self.bytes, at, len);
                store.note(done);
            }
        }
        let synced = store.media.flush(0, self.bytes.len() as u64);
        store.note(synced);
    }

    /// From now on the controller is told, by a bell, when something fails.
    pub(crate) fn warn_with(&self, bell: Bell) {
        self.store().bell = Some(bell);
    }

    /// What no barrier has made persistent is kept or lost, line by line.
    fn power_cut(&self) {
        let mut store = self.store();
        for (page, lines) in std::mem::take(&mut store.dirty) {
            for line in (0..64).filter(|line| lines >> line & 1 == 1) {
                let at = page * PAGE + line * LINE;
                let done = if store.chance.flip() {
                    store.keep(&self.bytes, at, LINE)
                } else {
                    store.restore(&self.bytes, at, LINE)
                };
                store.note(done);
            }
        }
        store.media.power_cut();
    }
}

impl Store {
    /// Remembers a failure.
    fn note(&mut self, result: Result<(), MediaError>) {
        if result.is_err()
            && !std::mem::replace(&mut self.failed, true)
            && let Some(bell) = &self.bell
        {
            bell.ring();
        }
    }

    fn mark(&mut self, offset: u64, len: u64) {
        if len == 0 {
            return;
        }
        for line in offset / LINE..=(offset + len - 1) / LINE {
            *self.dirty.entry(line / 64).or_default() |= 1 << (line % 64);
        }
    }

    /// From the bytes to the image.
    fn keep(&mut self, bytes: &SharedMemory, at: u64, len: u64) -> Result<(), MediaError> {
        let mut from = at;
        self.media.write(at, len, &mut |piece| {
            let read = BarMemory::read(bytes, from, piece);
            from += piece.len() as u64;
            if read.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })
    }

    /// From the image to the bytes. Zeroes are not written where there are zeroes.
    fn restore(&mut self, bytes: &SharedMemory, at: u64, len: u64) -> Result<(), MediaError> {
        let mut to = at;
        let mut there = vec![0; 4096];
        self.media.read(at, len, &mut |piece| {
            for part in piece.chunks(4096) {
                let same = BarMemory::read(bytes, to, &mut there[..part.len()]).is_ok()
                    && there[..part.len()] == *part;
                if !same && BarMemory::write(bytes, to, part).is_err() {
                    return ControlFlow::Break(());
                }
                to += part.len() as u64;
            }
            ControlFlow::Continue(())
        })
    }
}

/// The runs of lines in a page: where each begins in the region, and its length in bytes.
fn runs(page: u64, lines: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let rest = lines.checked_shr(next).unwrap_or(0);
        if rest == 0 {
            return None;
        }
        let start = next + rest.trailing_zeros();
        let len = (lines >> start).trailing_ones();
        next = start + len;
        Some((page * PAGE + u64::from(start) * LINE, u64::from(len) * LINE))
    })
}

impl fmt::Debug for PmrMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PmrMemory").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

impl BarMemory for PmrMemory {
    fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), Closed> {
        if !self.enabled.load(Relaxed) {
            return Err(Closed);
        }
        if self.barrier_memory_read {
            self.barrier();
        }
        self.read_inside(offset, data)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), Closed> {
        if self.enabled.load(Relaxed) { self.write_inside(offset, data) } else { Err(Closed) }
    }
}

/// The region with its registers.
#[derive(Debug)]
pub(crate) struct Pmr {
    config: PmrConfig,
    pub(crate) memory: Arc<PmrMemory>,
    control: Pmrctl,
    space: Pmrmscl,
    space_upper: u32,
    base_invalid: bool,
}

impl Pmr {
    pub(crate) fn new(config: PmrConfig) -> Result<Self, Error> {
        let wrong = |what, value, allowed| Err(Error::Value { what, value, allowed });
        if !config.len.is_power_of_two() || config.len < PAGE {
            let allowed = "a power of two of at least 4 KiB";
            return wrong("the PMR's size", config.len, allowed);
        }
        if !matches!(config.bar.get(), 2 | 4) {
            return wrong("the PMR's BAR", u64::from(config.bar.get()), "2 or 4");
        }
        let bytes = device_memory(config.len)?;
        let media: Box<dyn Media> = match &config.file {
            Some(path) => Box::new(FileMedia::open(path, config.len)?),
            None => Box::new(MemoryMedia::new(config.len)),
        };
        let chance = Chance(config.seed);
        let mut store = Store { media, dirty: BTreeMap::new(), chance, failed: false, bell: None };
        if config.file.is_some() {
            store.failed = store.restore(&bytes, 0, config.len).is_err();
        }
        let memory = PmrMemory {
            bytes,
            enabled: AtomicBool::new(false),
            barrier_memory_read: config.barrier_memory_read,
            store: Mutex::new(store),
        };
        Ok(Self {
            config,
            memory: Arc::new(memory),
            control: Pmrctl::new(),
            space: Pmrmscl::new(),
            space_upper: 0,
            base_invalid: false,
        })
    }

    pub(crate) fn config(&self) -> &PmrConfig {
        &self.config
    }

    pub(crate) fn region(&self) -> MemoryRegion {
        MemoryRegion {
            offset: 0,
            len: self.config.len,
            kind: MemoryKind::Pmr,
            behind: None,
            memory: Arc::clone(&self.memory) as Arc<dyn BarMemory>,
        }
    }

    pub(crate) fn capabilities(&self) -> Pmrcap {
        Pmrcap::new()
            .with_rds(self.config.read_data)
            .with_wds(self.config.write_data)
            .with_bir(self.config.bar.get())
            .with_barrier_memory_read(self.config.barrier_memory_read)
            .with_barrier_status_read(self.config.barrier_status_read)
            .with_pmrto(1)
            .with_cmss(true)
    }

    pub(crate) fn control(&self) -> Pmrctl {
        self.control
    }

    pub(crate) fn space(&self) -> (Pmrmscl, u32) {
        (self.space, self.space_upper)
    }

    /// Whether writes may have been lost.
    pub(crate) fn has_failed(&self) -> bool {
        self.memory.store().failed
    }

    /// A read of PMRSTS, which may be the write barrier.
    pub(crate) fn read_status(&self) -> Pmrsts {
        if self.config.barrier_status_read {
            self.memory.barrier();
        }
        let failed = self.has_failed();
        let health = if failed { HealthStatus::UNRELIABLE } else { HealthStatus::NORMAL };
        Pmrsts::new()
            .with_err(u8::from(failed))
            .with_nrdy(!self.control.en())
            .with_hsts(health)
            .with_cbai(self.base_invalid)
    }

    /// A write of PMRCTL. Disabling makes everything persistent.
    pub(crate) fn set_control(&mut self, control: Pmrctl) {
        if self.control.en() && !control.en() {
            self.memory.barrier();
        }
        self.control = Pmrctl::new().with_en(control.en());
        self.memory.enabled.store(control.en(), Relaxed);
    }

    /// A write of PMRMSCL or PMRMSCU. `taken`: the window of the controller memory buffer, with which
    /// this one may not overlap.
    pub(crate) fn set_space(&mut self, lower: Pmrmscl, upper: u32, taken: Window) {
        self.space = Pmrmscl::new().with_cmse(lower.cmse()).with_cba_31_12(lower.cba_31_12());
        self.space_upper = upper;
        let window = self.whole_window();
        self.base_invalid = lower.cmse() && (!window.is_valid() || window.overlaps(taken));
    }

    fn whole_window(&self) -> Window {
        Window { base: self.space.base_address(self.space_upper), len: self.config.len }
    }

    /// The addresses that commands may use for the region now.
    pub(crate) fn window(&self) -> Window {
        let usable = self.control.en() && self.space.cmse() && !self.base_invalid;
        if usable { self.whole_window() } else { Window::NONE }
    }

    /// A reset that takes the registers along, power staying.
    pub(crate) fn disable(&mut self) {
        self.set_control(Pmrctl::new());
        self.set_space(Pmrmscl::new(), 0, Window::NONE);
    }

    /// Power was lost.
    pub(crate) fn power_cut(&mut self) {
        self.memory.power_cut();
        self.disable();
    }
}
