//! The controller's way to memory: over the bus, or straight to its own buffers.

use p2pdma_fabric::{Attributes, Port, TimerId};
use p2pdma_pci::{Instant, Iova};
use p2pdma_spec::nvme::status::Status;

use super::cmb::Cmb;
use super::pmr::Pmr;

/// A run of addresses at which the controller finds one of its own memories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    pub(crate) base: u64,
    /// 0 if there is none.
    pub(crate) len: u64,
}

impl Window {
    pub(crate) const NONE: Self = Self { base: 0, len: 0 };

    /// Whether it ends within the address space.
    pub(crate) fn is_valid(self) -> bool {
        self.base.checked_add(self.len).is_some()
    }

    pub(crate) fn overlaps(self, other: Self) -> bool {
        let (a, b) = (u128::from(self.base), u128::from(other.base));
        self.len > 0
            && other.len > 0
            && a < b + u128::from(other.len)
            && b < a + u128::from(self.len)
    }

    /// The offset of an address in the window.
    #[inline]
    fn offset(self, at: u64) -> Option<u64> {
        let offset = at.wrapping_sub(self.base);
        (offset < self.len).then_some(offset)
    }

    /// How many bytes from `at`, which is outside, until the window begins.
    fn distance(self, at: u64) -> u64 {
        if self.len > 0 && self.base > at { self.base - at } else { u64::MAX }
    }
}

/// The controller's own memories.
#[derive(Debug, Default)]
pub(crate) struct OwnMemory {
    pub(crate) cmb: Option<Cmb>,
    pub(crate) pmr: Option<Pmr>,
    windows: Windows,
}

#[derive(Debug)]
struct Windows {
    cmb: Window,
    pmr: Window,
    /// Both lie between these addresses.
    start: u64,
    end: u64,
}

impl Windows {
    fn new(cmb: Window, pmr: Window) -> Self {
        let used = || [cmb, pmr].into_iter().filter(|window| window.len > 0);
        let start = used().map(|window| window.base).min().unwrap_or(u64::MAX);
        let end = used().map(|window| window.base.saturating_add(window.len)).max().unwrap_or(0);
        Self { cmb, pmr, start, end }
    }

    /// Whether a run of memory may touch one of them; if not, it does not.
    #[inline]
    fn are_near(&self, at: u64, len: u64) -> bool {
        at < self.end && self.start < at.saturating_add(len)
    }
}

impl Default for Windows {
    fn default() -> Self {
        Self::new(Window::NONE, Window::NONE)
    }
}

/// What a run of memory is used for, as CMBSZ tells it apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    SubmissionQueue,
    CompletionQueue,
    List,
    /// Data that the controller produces.
    ReadData,
    /// Data that the controller consumes.
    WriteData,
}

/// Where an address leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Bus,
    Cmb(u64),
    Pmr(u64),
}

impl OwnMemory {
    pub(crate) fn new(cmb: Option<Cmb>, pmr: Option<Pmr>) -> Self {
        Self { cmb, pmr, windows: Windows::default() }
    }

    /// Reads the registers again, after one of them changed.
    pub(crate) fn refresh(&mut self) {
        let cmb = self.cmb.as_ref().map_or(Window::NONE, Cmb::window);
        self.windows = Windows::new(cmb, self.pmr.as_ref().map_or(Window::NONE, Pmr::window));
    }

    pub(crate) fn cmb_window(&self) -> Window {
        self.windows.cmb
    }

    pub(crate) fn pmr_window(&self) -> Window {
        self.windows.pmr
    }

    /// Where an address leads, and for how many of `len` bytes.
    fn locate(&self, at: u64, len: u64) -> (Place, u64) {
        let Windows { cmb, pmr, .. } = &self.windows;
        if let Some(offset) = cmb.offset(at) {
            (Place::Cmb(offset), len.min(cmb.len - offset))
        } else if let Some(offset) = pmr.offset(at) {
            (Place::Pmr(offset), len.min(pmr.len - offset))
        } else {
            (Place::Bus, len.min(cmb.distance(at)).min(pmr.distance(at)))
        }
    }

    /// The offset in the CMB of a run of memory that is wholly there.
    #[inline]
    fn in_cmb(&self, at: u64, len: u64) -> Option<(u64, &Cmb)> {
        let window = self.windows.cmb;
        let offset = window.offset(at).filter(|offset| len <= window.len - offset)?;
        Some((offset, self.cmb.as_ref()?))
    }

    /// Whether a run of memory may be used like this.
    #[inline]
    pub(crate) fn check(&self, at: u64, len: u64, usage: Use) -> Result<(), Status> {
        if self.windows.are_near(at, len) { self.check_mapped(at, len, usage) } else { Ok(()) }
    }

    #[cold]
    fn check_mapped(&self, at: u64, len: u64, usage: Use) -> Result<(), Status> {
        let refused = Status::INVALID_USE_OF_CMB;
        if let Some((_, cmb)) = self.in_cmb(at, len).filter(|_| len > 0) {
            return cmb.is_for(usage).then_some(()).ok_or(refused);
        }
        let (mut at, mut len) = (at, len);
        while len > 0 {
            let (place, run) = self.locate(at, len);
            let allowed = match place {
                Place::Bus => true,
                Place::Cmb(_) => self.cmb.as_ref().is_some_and(|cmb| cmb.is_for(usage)),
                Place::Pmr(_) => self.pmr.as_ref().is_some_and(|pmr| match usage {
                    Use::ReadData => pmr.config().read_data,
                    Use::WriteData => pmr.config().write_data,
                    Use::SubmissionQueue | Use::CompletionQueue | Use::List => false,
                }),
            };
            if !allowed {
                return Err(refused);
            }
            at = at.wrapping_add(run);
            len -= run;
        }
        Ok(())
    }

    /// Whether a run of memory is wholly in one place.
    pub(crate) fn is_whole(&self, at: u64, len: u64) -> bool {
        self.locate(at, len).1 == len
    }
}

/// What a command does to memory, and how long that takes.
#[derive(Debug)]
pub(crate) struct Dma<'a, 'p> {
    port: &'a mut Port<'p>,
    own: &'a OwnMemory,
    now: Instant,
    /// When the last of the reads that had to wait for one another would be done.
    chain: Instant,
    /// When the last of the transfers that run side by side is done.
    done: Instant,
}

impl<'a, 'p> Dma<'a, 'p> {
    #[inline]
    pub(crate) fn new(port: &'a mut Port<'p>, own: &'a OwnMemory) -> Self {
        let now = port.now();
        Self { port, own, now, chain: now, done: now }
    }

    #[inline]
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    #[inline]
    pub(crate) fn own(&self) -> &OwnMemory {
        self.own
    }

    /// Begins to measure anew, for the next command.
    #[inline]
    pub(crate) fn restart(&mut self) {
        (self.chain, self.done) = (self.now, self.now);
    }

    /// When everything since the restart is done.
    #[inline]
    pub(crate) fn done(&self) -> Instant {
        self.done.max(self.chain)
    }

    pub(crate) fn raise(&mut self, vector: u16) {
        self.port.raise(vector);
    }

    #[inline]
    pub(crate) fn wake_at(&mut self, at: Instant, timer: TimerId) {
        self.port.wake_at(at, timer);
    }

    /// Fetches queue entries, descriptors or lists: what follows depends on it.
    #[inline]
    pub(crate) fn read_control(&mut self, at: u64, data: &mut [u8]) -> Result<(), Status> {
        let done = self.read(at, data, Attributes::CONTROL)?;
        self.chain += done.since(self.now);
        Ok(())
    }

    /// Writes queue entries and the like.
    #[inline]
    pub(crate) fn write_control(&mut self, at: u64, data: &[u8]) -> Result<(), Status> {
        let done = self.write(at, data, Attributes::CONTROL)?;
        self.done = self.done.max(done);
        Ok(())
    }

    /// Reads user data.
    #[inline]
    pub(crate) fn read_data(&mut self, at: u64, data: &mut [u8]) -> Result<(), Status> {
        let done = self.read(at, data, Attributes::DATA)?;
        self.done = self.done.max(done);
        Ok(())
    }

    /// Writes user data.
    #[inline]
    pub(crate) fn write_data(&mut self, at: u64, data: &[u8]) -> Result<(), Status> {
        let done = self.write(at, data, Attributes::DATA)?;
        self.done = self.done.max(done);
        Ok(())
    }

    #[inline(always)]
    fn read(
        &mut self,
        at: u64,
        data: &mut [u8],
        attributes: Attributes,
    ) -> Result<Instant, Status> {
        if self.own.windows.are_near(at, data.len() as u64) {
            return self.read_mapped(at, data, attributes);
        }
        self.port.read(Iova(at), data, attributes).map_err(|_| Status::DATA_TRANSFER_ERROR)
    }

    #[inline(always)]
    fn write(&mut self, at: u64, data: &[u8], attributes: Attributes) -> Result<Instant, Status> {
        if self.own.windows.are_near(at, data.len() as u64) {
            return self.write_mapped(at, data, attributes);
        }
        self.port.write(Iova(at), data, attributes).map_err(|_| Status::DATA_TRANSFER_ERROR)
    }

    /// The controller recognises its own addresses, and sends nothing for them.
    #[inline(never)]
    fn read_mapped(
        &mut self,
        at: u64,
        data: &mut [u8],
        attributes: Attributes,
    ) -> Result<Instant, Status> {
        let failed = Status::DATA_TRANSFER_ERROR;
        let (mut at, mut rest, mut done) = (at, data, self.now);
        while !rest.is_empty() {
            let (place, run) = self.own.locate(at, rest.len() as u64);
            let run = usize::try_from(run).unwrap_or(rest.len());
            let (piece, others) = rest.split_at_mut(run);
            match (place, &self.own.cmb, &self.own.pmr) {
                (Place::Cmb(offset), Some(cmb), _) => {
                    cmb.memory.read_inside(offset, piece).map_err(|_| failed)?;
                }
                (Place::Pmr(offset), _, Some(pmr)) => {
                    pmr.memory.read_inside(offset, piece).map_err(|_| failed)?;
                }
                _ => {
                    let there = self.port.read(Iova(at), piece, attributes);
                    done = done.max(there.map_err(|_| failed)?);
                }
            }
            at = at.saturating_add(run as u64);
            rest = others;
        }
        Ok(done)
    }

    #[inline(never)]
    fn write_mapped(
        &mut self,
        at: u64,
        data: &[u8],
        attributes: Attributes,
    ) -> Result<Instant, Status> {
        let failed = Status::DATA_TRANSFER_ERROR;
        if let Some((offset, cmb)) = self.own.in_cmb(at, data.len() as u64) {
            return cmb.memory.write_inside(offset, data).map(|()| self.now).map_err(|_| failed);
        }
        let (mut at, mut rest, mut done) = (at, data, self.now);
        while !rest.is_empty() {
            let (place, run) = self.own.locate(at, rest.len() as u64);
            let run = usize::try_from(run).unwrap_or(rest.len());
            let (piece, others) = rest.split_at(run);
            match (place, &self.own.cmb, &self.own.pmr) {
                (Place::Cmb(offset), Some(cmb), _) => {
                    cmb.memory.write_inside(offset, piece).map_err(|_| failed)?;
                }
                (Place::Pmr(offset), _, Some(pmr)) => {
                    pmr.memory.write_inside(offset, piece).map_err(|_| failed)?;
                }
                _ => {
                    let there = self.port.write(Iova(at), piece, attributes);
                    done = done.max(there.map_err(|_| failed)?);
                }
            }
            at = at.saturating_add(run as u64);
            rest = others;
        }
        Ok(done)
    }
}
