//! The persistent memory region: memory of the controller that survives a loss of power
//! (NVMe Base 2.1 §3.1.4.22 to §3.1.4.28 and §8.2.4).

use std::ops::Range;
use std::sync::Arc;

use p2pdma_pci::{Bar, BarIndex, Bdf, Clock, Duration, Function, Iova, PeerWindow};
use p2pdma_spec::nvme::pmr::{HealthStatus, Pmrcap, Pmrctl, Pmrmscl, Pmrsts};
use p2pdma_spec::nvme::registers::{Cap, offset};

use crate::registers::Registers;
use crate::shared::Shared;
use crate::time::Deadline;
use crate::{Error, Segment, Unbroken};

/// The region, enabled: all of its BAR.
#[derive(Debug)]
pub(crate) struct PmrMemory {
    bdf: Bdf,
    bar: Bar,
    capabilities: Pmrcap,
    /// How long it may take to become ready.
    limit: Duration,
}

impl PmrMemory {
    /// Finds the region, enables it, and waits until it is ready.
    pub(crate) fn enable(
        function: &dyn Function,
        registers: &Registers,
        cap: Cap,
        most: Duration,
    ) -> Result<Self, Error> {
        let bdf = registers.bdf;
        if !cap.pmrs() {
            return Err(Error::Unsupported { bdf, what: "has no persistent memory region" });
        }
        let capabilities = Pmrcap::from_bits(registers.read(offset::PMRCAP)?);
        if capabilities.into_bits() == u32::MAX {
            return Err(registers.gone());
        }
        let reserved = "the value is reserved";
        let refuse = |field, value: u8| Error::Implausible {
            bdf,
            field,
            value: value.into(),
            reason: reserved,
        };
        let bir = capabilities.bir();
        let index = BarIndex::new(bir).filter(|index| index.get() >= 2);
        let index = index.ok_or(refuse("PMRCAP.BIR", bir))?;
        let claimed = capabilities.timeout_ms();
        let unit = capabilities.pmrtu().into_bits();
        let claimed = claimed.ok_or(refuse("PMRCAP.PMRTU", unit))?;
        let limit = Duration::from_millis(claimed.into());
        let limit = limit.max(Duration::from_millis(500)).min(most);
        let memory = Self { bdf, bar: function.map_bar(index)?, capabilities, limit };
        let started = memory.start(registers, function.clock());
        if started.is_err() {
            // What nobody gets is not left enabled.
            let _ = memory.stop(registers);
        }
        started.map(|()| memory)
    }

    /// Enables the region, as after every reset that disabled it.
    pub(crate) fn start(&self, registers: &Registers, clock: &dyn Clock) -> Result<(), Error> {
        registers.write(offset::PMRCTL, Pmrctl::new().with_en(true).into_bits())?;
        let deadline = Deadline::after(clock, self.limit);
        loop {
            let late = deadline.is_over();
            let status = status(registers)?;
            if !status.nrdy() {
                self.check(status)?;
                break;
            }
            if late {
                return Err(Error::NotPersistent { bdf: self.bdf, status });
            }
            deadline.relax();
        }
        if !self.capabilities.cmss() {
            return Ok(());
        }
        // The upper half first: setting CMSE takes both (NVMe Base 2.1 §3.1.4.27).
        let (lower, upper) = Pmrmscl::enabled_at(self.bar.address().0);
        registers.write(offset::PMRMSCU, upper)?;
        registers.write(offset::PMRMSCL, lower.into_bits())?;
        if status(registers)?.cbai() {
            let (field, value) = ("PMRMSC.CBA", self.bar.address().0);
            let reason = "the controller calls the address invalid (PMRSTS.CBAI)";
            return Err(Error::Implausible { bdf: self.bdf, field, value, reason });
        }
        Ok(())
    }

    /// Disables the region and takes its address away.
    pub(crate) fn stop(&self, registers: &Registers) -> Result<(), Error> {
        if self.capabilities.cmss() {
            registers.write(offset::PMRMSCL, 0)?;
        }
        registers.write(offset::PMRCTL, 0)
    }

    /// Whether what was written can be relied on.
    fn check(&self, status: Pmrsts) -> Result<(), Error> {
        if status.nrdy() || status.err() != 0 || status.hsts() != HealthStatus::NORMAL {
            return Err(Error::NotPersistent { bdf: self.bdf, status });
        }
        Ok(())
    }
}

fn status(registers: &Registers) -> Result<Pmrsts, Error> {
    let status = Pmrsts::from_bits(registers.read(offset::PMRSTS)?);
    if status.into_bits() == u32::MAX { Err(registers.gone()) } else { Ok(status) }
}

/// The persistent memory region of a controller, from [`Controller::pmr`](crate::Controller::pmr).
///
/// Who uses which part of it is up to its users: what is there outlives them all.
#[derive(Debug, Clone)]
pub struct Pmr {
    memory: Arc<PmrMemory>,
    shared: Arc<Shared>,
}

impl Pmr {
    pub(crate) fn new(memory: Arc<PmrMemory>, shared: Arc<Shared>) -> Self {
        Self { memory, shared }
    }

    /// What the region can do (PMRCAP).
    #[must_use]
    pub fn capabilities(&self) -> Pmrcap {
        self.memory.capabilities
    }

    /// How the region is (PMRSTS).
    ///
    /// # Errors
    /// [`Error::Gone`].
    pub fn status(&self) -> Result<Pmrsts, Error> {
        status(&self.shared.registers)
    }

    /// Tells later whether the controller was reset since now.
    #[must_use]
    pub fn unbroken(&self) -> Unbroken {
        Unbroken::since_now(&self.shared)
    }

    /// Its size in bytes: that of its BAR.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no mapped BAR is empty")]
    pub fn len(&self) -> u64 {
        self.memory.bar.len()
    }

    /// The BAR that is the region.
    #[must_use]
    pub fn bar(&self) -> &Bar {
        &self.memory.bar
    }

    /// How commands of its own controller name part of it; `None` if the range is outside, or the
    /// controller's commands cannot reach it (PMRCAP.CMSS).
    #[must_use]
    pub fn segment(&self, range: Range<u64>) -> Option<Segment> {
        let whole = Segment::new(Iova(self.memory.bar.address().0), self.len());
        self.memory.capabilities.cmss().then(|| whole.slice(range))?
    }

    /// Copies bytes out, by the processor.
    ///
    /// # Errors
    /// [`p2pdma_pci::Error::OutsideBar`].
    pub fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), Error> {
        Ok(self.memory.bar.read_data(offset, data)?)
    }

    /// Copies bytes in, by the processor. They are persistent after [`Pmr::persist`].
    ///
    /// # Errors
    /// [`p2pdma_pci::Error::OutsideBar`].
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        Ok(self.memory.bar.write_data(offset, data)?)
    }

    /// Maps part of it for another function, so that its commands can name it.
    ///
    /// # Errors
    /// The topology's refusal, if there is no peer-to-peer path.
    pub fn map_peer(&self, client: &dyn Function, range: Range<u64>) -> Result<PmrWindow, Error> {
        let window = client.map_peer(&self.memory.bar, range)?;
        Ok(PmrWindow { window, _pmr: self.clone() })
    }

    /// Returns when everything that was written to the region is persistent: writes of the processor
    /// before the call, and those of other functions whose commands were completed before it.
    ///
    /// The barrier is the one that the controller advertises (PMRCAP.PMRWBM): a read of PMRSTS, or else
    /// a read of the region itself. A peer's writes are pushed too, since the read takes the same last
    /// hop behind them: whatever their attributes, no read passes them unless it is itself marked as
    /// ordered by ID (IDO; PCIe 6.0 §2.4.1, table 2-42).
    ///
    /// # Errors
    /// [`Error::Unsupported`] if the controller advertises no barrier: nothing can be promised then.
    /// [`Error::NotPersistent`] if it reports that writes may be lost.
    pub fn persist(&self) -> Result<(), Error> {
        let memory = &self.memory;
        if memory.capabilities.barrier_status_read() {
            return memory.check(self.status()?);
        }
        if !memory.capabilities.barrier_memory_read() {
            let what = "advertises no write barrier for its persistent memory region";
            return Err(Error::Unsupported { bdf: memory.bdf, what });
        }
        // What is read does not matter; that it was read does.
        memory.bar.read32(0)?;
        memory.check(self.status()?)
    }
}

/// Part of a persistent memory region as another function reaches it.
#[derive(Debug)]
pub struct PmrWindow {
    window: PeerWindow,
    _pmr: Pmr,
}

impl PmrWindow {
    /// How the other function's commands name it.
    #[must_use]
    pub fn segment(&self) -> Segment {
        (&self.window).into()
    }

    /// The mapping.
    #[must_use]
    pub fn window(&self) -> &PeerWindow {
        &self.window
    }
}
