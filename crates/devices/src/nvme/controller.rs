//! The controller as an endpoint of the fabric.

use p2pdma_fabric::{BarDescription, Description, Endpoint, MsixDescription, Port, Reset, TimerId};
use p2pdma_pci::{BarIndex, Duration};
use p2pdma_spec::nvme::registers::{
    Cc, Doorbell, ShutdownNotification, ShutdownStatus, doorbell_stride, offset,
};
use p2pdma_spec::pci::bar::BarKind;
use p2pdma_spec::pci::class::ClassCode;

use super::cmb::Cmb;
use super::config::{ControllerConfig, NvmeConfig};
use super::dma::{Dma, OwnMemory};
use super::engine::{Activity, Engine, NEWS, READY, WARNING};
use super::nvm::Env;
use super::pmr::Pmr;
use super::registers::{Effect, Registers};
use super::subsystem::{Access, Subsystem};
use crate::Error;

/// An NVMe controller, to be plugged into a fabric.
#[derive(Debug)]
pub struct NvmeController {
    config: ControllerConfig,
    subsystem: Access,
    registers: Registers,
    own: OwnMemory,
    engine: Engine,
    /// How many resets of the subsystem this controller has seen.
    resets: u32,
}

/// Where the MSI-X table begins is a multiple of this.
const TABLE_ALIGNMENT: u64 = 4096;
/// A BAR of registers is at most this long.
const MOST_REGISTERS: u64 = 1 << 30;
/// The BARs: of registers, and of memory.
const BARS: [BarIndex; 3] = match (BarIndex::new(2), BarIndex::new(4)) {
    (Some(second), Some(third)) => [BarIndex::ZERO, second, third],
    _ => [BarIndex::ZERO; 3],
};

impl NvmeController {
    /// A controller in a subsystem of its own.
    ///
    /// # Errors
    /// What is wrong with the description, or with a file under a namespace.
    pub fn new(config: NvmeConfig) -> Result<Self, Error> {
        let mut controller = Subsystem::new(config.subsystem)?.controller(config.controller)?;
        controller.subsystem = controller.subsystem.alone();
        Ok(controller)
    }

    /// A controller with an identifier, in a subsystem.
    pub(crate) fn with(
        subsystem: Subsystem,
        id: u16,
        mut config: ControllerConfig,
    ) -> Result<Self, Error> {
        let cmb = config.cmb.map(Cmb::new).transpose()?;
        let registers = Registers::new(&config);
        let pmr = config.pmr.take();
        if let (Some(cmb), Some(pmr)) = (&cmb, &pmr)
            && cmb.config().bar == pmr.bar
        {
            return Err(Error::BarTaken {
                first: "the CMB",
                second: "the PMR",
                bar: pmr.bar.get(),
            });
        }
        let pmr = pmr.map(Pmr::new).transpose()?;
        let engine = Engine::new(id, &config);
        let subsystem = Access::Shared(subsystem);
        let resets = subsystem.signals().resets();
        let own = OwnMemory::new(cmb, pmr);
        let controller = Self { config, subsystem, registers, own, engine, resets };
        controller.check_layout()?;
        Ok(controller)
    }

    /// Where the MSI-X table, the pending bits and the free space behind them begin in BAR 0.
    fn layout(&self) -> (u64, u64, u64) {
        let queues = u64::from(self.config.max_io_queues) + 1;
        let doorbells = 2 * queues * doorbell_stride(self.config.doorbell_stride);
        let table = (offset::DOORBELLS + doorbells).next_multiple_of(TABLE_ALIGNMENT);
        let pending =
            (table + u64::from(self.config.vectors) * 16).next_multiple_of(TABLE_ALIGNMENT);
        let end = pending + u64::from(self.config.vectors).div_ceil(64) * 8;
        (table, pending, end.next_multiple_of(TABLE_ALIGNMENT))
    }

    fn check_layout(&self) -> Result<(), Error> {
        let (_, _, end) = self.layout();
        if end > MOST_REGISTERS {
            let allowed = "at most 1 GiB, with fewer queues or a smaller doorbell stride";
            return Err(Error::Value { what: "the register BAR", value: end, allowed });
        }
        match &self.own.cmb {
            Some(cmb) if cmb.config().bar == BarIndex::ZERO && cmb.config().offset < end => {
                let allowed = "behind the registers and the MSI-X table";
                let value = cmb.config().offset;
                Err(Error::Value { what: "the CMB's offset in BAR 0", value, allowed })
            }
            _ => Ok(()),
        }
    }

    fn bar(&self, index: BarIndex) -> Option<BarDescription> {
        let registers = if index == BarIndex::ZERO { self.layout().2 } else { 0 };
        let cmb = self.own.cmb.as_ref().filter(|cmb| cmb.config().bar == index);
        let pmr = self.own.pmr.as_ref().filter(|pmr| pmr.config().bar == index);
        let regions = cmb.map(Cmb::region).into_iter().chain(pmr.map(Pmr::region));
        let memory: Vec<_> = regions.collect();
        let end = memory.iter().map(|region| region.offset + region.len).max().unwrap_or(0);
        let asked = cmb.map_or(0, |cmb| cmb.config().bar_len);
        let len = end.max(registers).max(asked);
        let prefetchable = index != BarIndex::ZERO;
        (len > 0).then(|| BarDescription {
            index,
            len: len.next_power_of_two(),
            kind: BarKind::Memory64 { prefetchable },
            memory,
        })
    }

    /// Runs the engine with all that a command acts on.
    fn act(&mut self, port: &mut Port<'_>, action: impl FnOnce(&mut Engine, &mut Env<'_, '_>)) {
        let dma = Dma::new(port, &self.own);
        let mut env = Env { dma, subsystem: self.subsystem.open() };
        action(&mut self.engine, &mut env);
        if self.engine.activity == Activity::Fatal {
            self.registers.csts.set_cfs(true);
        }
    }

    #[inline]
    fn ring(&mut self, at: u64, value: u32, port: &mut Port<'_>) {
        if self.engine.activity != Activity::Running || !self.registers.csts.rdy() {
            return;
        }
        let doorbell = Doorbell::at(at, self.config.doorbell_stride);
        self.act(port, |engine, env| {
            match doorbell {
                Some(Doorbell::SubmissionTail { qid }) => engine.ring_tail(env, qid, value),
                Some(Doorbell::CompletionHead { qid }) => engine.ring_head(env, qid, value),
                None => {}
            }
            engine.go_on(env);
        });
    }

    fn write_register(&mut self, at: u64, value: u32, port: &mut Port<'_>) {
        match self.registers.write(&mut self.own, at, value) {
            Effect::Nothing => {}
            Effect::Configured(before) => self.configure(before, port),
            Effect::SubsystemReset => {
                self.subsystem.signals().reset_all();
                self.notice_reset();
            }
        }
    }

    /// CC was written: enable, reset, shut down (NVMe Base 2.1 §3.1.4.5).
    fn configure(&mut self, before: Cc, port: &mut Port<'_>) {
        let cc = self.registers.cc;
        let sizes = cc.iosqes() == 6 && cc.iocqes() == 4;
        self.engine.entry_sizes_set = sizes;
        match (before.en(), cc.en()) {
            (false, true) => self.enable(port),
            (true, false) => {
                self.engine.reset();
                let kept = cc;
                self.registers.reset();
                self.registers.cc = kept;
            }
            _ => {}
        }
        let (old, new) = (before.shn(), cc.shn());
        let asked = matches!(new, ShutdownNotification::NORMAL | ShutdownNotification::ABRUPT);
        if asked && old != new && (cc.en() || !before.en()) {
            self.shut_down();
        }
    }

    fn enable(&mut self, port: &mut Port<'_>) {
        let (asq, acq) = (self.registers.asq, self.registers.acq);
        let sizes = self.registers.admin_sizes();
        let fits = |base: u64, entries: u32, size: u64| {
            base.checked_add(u64::from(entries) * size).is_some()
        };
        let reachable = fits(asq, sizes.0, 64) && fits(acq, sizes.1, 16);
        if !self.registers.is_startable() || !reachable {
            self.registers.csts.set_cfs(true);
            return;
        }
        self.engine.start(self.registers.cc, asq, acq, sizes, port.now());
        self.subsystem.open().enabled(self.engine.limits.controller, port.bell(NEWS));
        if let Some(pmr) = &self.own.pmr {
            pmr.memory.warn_with(port.bell(WARNING));
        }
        if self.config.ready_after == Duration::ZERO {
            self.registers.csts.set_rdy(true);
        } else {
            let at = port.now() + self.config.ready_after;
            self.engine.ready_at = Some(at);
            port.wake_at(at, READY);
        }
    }

    /// Makes everything durable, and stops (NVMe Base 2.1 §3.6).
    fn shut_down(&mut self) {
        let mut subsystem = self.subsystem.open();
        let failed = subsystem.flush(self.engine.limits.attached).is_err();
        subsystem.shut_down(self.engine.limits.controller);
        self.engine.activity = Activity::Stopped;
        self.registers.csts.set_cfs(self.registers.csts.cfs() || failed);
        self.registers.csts.set_shst(ShutdownStatus::COMPLETE);
    }

    /// A reset of the subsystem that another controller, or this one, was told to do.
    #[inline]
    fn notice_reset(&mut self) {
        let resets = self.subsystem.signals().resets();
        if self.resets != resets {
            self.resets = resets;
            self.reset_with_others();
        }
    }

    #[cold]
    fn reset_with_others(&mut self) {
        self.engine.reset();
        self.registers.reset();
        self.registers.reset_admin_queues();
        self.registers.csts.set_nssro(true);
        self.disable_memories();
    }

    fn disable_memories(&mut self) {
        if let Some(cmb) = &mut self.own.cmb {
            cmb.disable();
        }
        if let Some(pmr) = &mut self.own.pmr {
            pmr.disable();
        }
        self.own.refresh();
    }

    fn become_ready(&mut self, port: &Port<'_>) {
        if self.engine.ready_at.is_some_and(|at| at <= port.now()) {
            self.engine.ready_at = None;
            self.registers.csts.set_rdy(true);
        }
    }
}

impl Endpoint for NvmeController {
    fn describe(&self) -> Description {
        let (table, pending, _) = self.layout();
        Description {
            vendor: self.config.vendor,
            device: self.config.device,
            subsystem_vendor: self.config.subsystem_vendor,
            subsystem: self.config.subsystem_device,
            class: ClassCode::NVME,
            revision: 0,
            bars: BARS.into_iter().filter_map(|index| self.bar(index)).collect(),
            msix: Some(MsixDescription {
                vectors: self.config.vectors,
                bar: BarIndex::ZERO,
                table,
                pending,
            }),
            function_level_reset: true,
            address_translation: false,
        }
    }

    fn mmio_read(&mut self, bar: BarIndex, offset: u64, data: &mut [u8]) {
        self.notice_reset();
        if bar == BarIndex::ZERO {
            self.registers.read(&self.own, offset, data);
        } else {
            data.fill(0);
        }
    }

    /// Registers take aligned writes of 4 or 8 bytes, doorbells of 4; any other is ignored.
    fn mmio_write(&mut self, bar: BarIndex, offset: u64, data: &[u8], port: &mut Port<'_>) {
        self.notice_reset();
        if bar != BarIndex::ZERO || !offset.is_multiple_of(4) {
            return;
        }
        if let Ok(bytes) = <[u8; 4]>::try_from(data) {
            let value = u32::from_le_bytes(bytes);
            if offset >= offset::DOORBELLS {
                self.ring(offset, value, port);
            } else {
                self.write_register(offset, value, port);
            }
        } else if let Ok([a, b, c, d, e, f, g, h]) = <[u8; 8]>::try_from(data)
            && offset.is_multiple_of(8)
            && offset < offset::DOORBELLS
        {
            self.write_register(offset, u32::from_le_bytes([a, b, c, d]), port);
            self.write_register(offset + 4, u32::from_le_bytes([e, f, g, h]), port);
        }
    }

    fn wake(&mut self, timer: TimerId, port: &mut Port<'_>) {
        self.notice_reset();
        self.become_ready(port);
        if self.engine.activity == Activity::Running && self.registers.csts.rdy() {
            self.act(port, |engine, env| engine.wake(env, timer));
        }
    }

    fn reset(&mut self, kind: Reset) {
        self.notice_reset();
        self.engine.reset();
        self.registers.reset();
        self.registers.reset_admin_queues();
        match kind {
            // CMBMSC and the PMR's registers stay (NVMe Base 2.1 §3.7.2).
            Reset::FunctionLevel => {}
            Reset::Hot => self.disable_memories(),
            Reset::Cold => {
                self.registers.csts.set_nssro(false);
                self.engine.power_cut();
                self.subsystem.open().power_cut(self.engine.limits.controller);
                if let Some(cmb) = &mut self.own.cmb {
                    cmb.power_cut();
                }
                if let Some(pmr) = &mut self.own.pmr {
                    pmr.power_cut();
                }
                self.own.refresh();
            }
        }
    }
}
