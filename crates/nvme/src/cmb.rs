//! The controller memory buffer: memory of the controller's own, for its queues and for anybody's data
//! (NVMe Base 2.1 §3.1.4.11 to §3.1.4.19 and §8.2.1).

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use p2pdma_mem::RangeAllocator;
use p2pdma_pci::{Bar, BarIndex, Bdf, Function, Iova, PeerWindow};
use p2pdma_spec::nvme::cmb::{BASE_ADDRESS_ALIGNMENT, Cmbloc, Cmbmsc, Cmbsts, Cmbsz};
use p2pdma_spec::nvme::registers::{Cap, offset};

use crate::registers::Registers;
use crate::shared::Shared;
use crate::{Error, PAGE, Segment, Unbroken};

/// The buffer, enabled.
#[derive(Debug)]
pub(crate) struct CmbMemory {
    bdf: Bdf,
    bar: Bar,
    /// Where in the BAR it begins.
    start: u64,
    len: u64,
    /// The address by which the controller's own commands reach it.
    base: Iova,
    /// Whether the controller has CMBMSC, or is of a revision before it.
    controlled: bool,
    pub(crate) size: Cmbsz,
    pub(crate) location: Cmbloc,
    free: Mutex<RangeAllocator>,
}

impl CmbMemory {
    /// Enables the buffer in the order that keeps it from ever decoding addresses that are not its own:
    /// let the registers show, *read back*, find and map the BAR, then set the address.
    pub(crate) fn enable(
        function: &dyn Function,
        registers: &Registers,
        cap: Cap,
    ) -> Result<Self, Error> {
        let bdf = registers.bdf;
        let controlled = cap.cmbs();
        if controlled {
            show_registers(registers)?;
        }
        let size = Cmbsz::from_bits(registers.read(offset::CMBSZ)?);
        let location = Cmbloc::from_bits(registers.read(offset::CMBLOC)?);
        if size.into_bits() == u32::MAX {
            return Err(registers.gone());
        }
        if size.sz() == 0 {
            return Err(Error::Unsupported { bdf, what: "has no controller memory buffer" });
        }
        let (index, start, claimed) = place(bdf, size, location)?;
        let bar = function.map_bar(index)?;
        let room = bar.len().checked_sub(start).filter(|room| *room > 0);
        let beyond = "it lies outside its BAR";
        let refuse = |field, value: u32, reason| Error::Implausible {
            bdf,
            field,
            value: value.into(),
            reason,
        };
        let room = room.ok_or(refuse("CMBLOC.OFST", location.ofst(), beyond))?;
        // The BAR may be smaller than the buffer (NVMe Base 2.1 §3.1.4.12).
        let len = claimed.min(room);
        let base = bar.address().checked_add(start);
        let base = base.filter(|base| {
            base.0.is_multiple_of(BASE_ADDRESS_ALIGNMENT) && base.checked_add(len).is_some()
        });
        let unusable = "the address that it gives the buffer cannot be a controller base address";
        let base = base.ok_or(refuse("CMBLOC.OFST", location.ofst(), unusable))?;
        let free = Mutex::new(RangeAllocator::new(0..len));
        let base = Iova(base.0);
        let memory = Self { bdf, bar, start, len, base, controlled, size, location, free };
        memory.set_address(registers)?;
        Ok(memory)
    }

    /// Gives the buffer its address, as after every reset that took it away.
    ///
    /// The address is the one that the BAR decodes: no platform gives a function an address for host
    /// memory or for a peer that is a BAR's.
    pub(crate) fn set_address(&self, registers: &Registers) -> Result<(), Error> {
        if !self.controlled {
            return Ok(());
        }
        show_registers(registers)?;
        // The address first, then that it counts: a bus or a hypervisor may carry a write in halves, the
        // lower one first, and what that one enables would be at half an address.
        let address = Cmbmsc::new().with_cre(true).with_base_address(self.base.0);
        registers.write64(offset::CMBMSC, address.into_bits())?;
        registers.write64(offset::CMBMSC, address.with_cmse(true).into_bits())?;
        let status = Cmbsts::from_bits(registers.read(offset::CMBSTS)?);
        if status.into_bits() == u32::MAX {
            return Err(registers.gone());
        }
        if status.cbai() {
            let (field, value) = ("CMBMSC.CBA", self.base.0);
            let reason = "the controller calls the address invalid (CMBSTS.CBAI)";
            return Err(Error::Implausible { bdf: self.bdf, field, value, reason });
        }
        Ok(())
    }

    /// Takes the address away again.
    pub(crate) fn disable(&self, registers: &Registers) -> Result<(), Error> {
        if self.controlled {
            registers.write64(offset::CMBMSC, 0)?;
        }
        Ok(())
    }

    fn free(&self) -> MutexGuard<'_, RangeAllocator> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sets CMBMSC.CRE and reads it back: the write must have arrived before CMBLOC and CMBSZ are read.
fn show_registers(registers: &Registers) -> Result<(), Error> {
    let control = Cmbmsc::from_bits(registers.bar.read64(offset::CMBMSC)?);
    if control.into_bits() == u64::MAX {
        return Err(registers.gone());
    }
    registers.write64(offset::CMBMSC, control.with_cre(true).into_bits())?;
    let control = Cmbmsc::from_bits(registers.bar.read64(offset::CMBMSC)?);
    if !control.cre() {
        let (field, value) = ("CMBMSC.CRE", control.into_bits());
        let reason = "it cannot be set, although CAP.CMBS is";
        return Err(Error::Implausible { bdf: registers.bdf, field, value, reason });
    }
    Ok(())
}

/// The BAR, the offset in it, and the claimed length.
fn place(bdf: Bdf, size: Cmbsz, location: Cmbloc) -> Result<(BarIndex, u64, u64), Error> {
    let refuse =
        |field, value: u32, reason| Error::Implausible { bdf, field, value: value.into(), reason };
    let reserved = "the value is reserved";
    let units = size.szu();
    let unit = u32::from(units.into_bits());
    let len = size.size_bytes().ok_or(refuse("CMBSZ.SZU", unit, reserved))?;
    let start = location.offset_bytes(units).ok_or(refuse("CMBSZ.SZU", unit, reserved))?;
    // BAR 1 is the upper half of BAR 0 (NVMe Base 2.1 §3.1.4.11).
    let bir = location.bir();
    let index = BarIndex::new(bir).filter(|index| index.get() != 1);
    let index = index.ok_or(refuse("CMBLOC.BIR", bir.into(), reserved))?;
    if start.checked_add(len).is_none() {
        return Err(refuse("CMBLOC.OFST", location.ofst(), "offset and size exceed 64 bits"));
    }
    Ok((index, start, len))
}

/// Part of the buffer, held by a queue or by a [`CmbBuffer`]. Zero when it is handed out.
#[derive(Debug)]
pub(crate) struct CmbRange {
    memory: Arc<CmbMemory>,
    at: u64,
    len: u64,
}

impl CmbRange {
    /// Takes a part of the buffer and clears it.
    pub(crate) fn allocate(memory: &Arc<CmbMemory>, len: u64, align: u64) -> Result<Self, Error> {
        let range = Self::allocate_as_is(memory, len, align)?;
        range.clear()?;
        Ok(range)
    }

    fn allocate_as_is(memory: &Arc<CmbMemory>, len: u64, align: u64) -> Result<Self, Error> {
        let mut free = memory.free();
        let Some(at) = free.allocate(len, align) else {
            let (bdf, what) = (memory.bdf, "controller memory buffer");
            return Err(Error::NoRoom { bdf, what, len, align, largest: free.largest() });
        };
        drop(free);
        Ok(Self { memory: Arc::clone(memory), at, len })
    }

    pub(crate) fn iova(&self) -> Iova {
        // Within the buffer, whose end was checked when it was enabled.
        Iova(self.memory.base.0.saturating_add(self.at))
    }

    /// Where a byte of the range is in the BAR.
    fn in_bar(&self, offset: u64, len: u64) -> Result<u64, Error> {
        if offset > self.len || len > self.len - offset {
            return Err(Error::TooLong { len: offset.saturating_add(len), most: self.len });
        }
        Ok(self.memory.start + self.at + offset)
    }

    pub(crate) fn write(&self, offset: usize, data: &[u8]) -> Result<(), Error> {
        let at = self.in_bar(offset as u64, data.len() as u64)?;
        Ok(self.memory.bar.write(at, data)?)
    }

    pub(crate) fn load(&self, offset: usize) -> Result<u64, Error> {
        let at = self.in_bar(offset as u64, 8)?;
        Ok(self.memory.bar.read64(at)?)
    }

    pub(crate) fn clear(&self) -> Result<(), Error> {
        const ZEROES: [u8; 4096] = [0; 4096];
        let mut at = 0;
        while at < self.len {
            let piece = usize::try_from(self.len - at).unwrap_or(usize::MAX).min(ZEROES.len());
            self.memory.bar.write(self.in_bar(at, piece as u64)?, &ZEROES[..piece])?;
            at += piece as u64;
        }
        // The zeroes are posted writes, and a peer's come another way: what was read back is behind them
        // all (PCIe 6.0 §2.4.1).
        self.memory.bar.read(self.in_bar(self.len.saturating_sub(1), 1)?, &mut [0])?;
        Ok(())
    }
}

impl Drop for CmbRange {
    fn drop(&mut self) {
        self.memory.free().release(self.at, self.len);
    }
}

/// The controller memory buffer of a controller, from [`Controller::cmb`](crate::Controller::cmb).
#[derive(Debug, Clone)]
pub struct Cmb {
    memory: Arc<CmbMemory>,
    shared: Arc<Shared>,
}

impl Cmb {
    pub(crate) fn new(memory: Arc<CmbMemory>, shared: Arc<Shared>) -> Self {
        Self { memory, shared }
    }

    /// What the buffer may be used for, and its claimed size (CMBSZ).
    #[must_use]
    pub fn uses(&self) -> Cmbsz {
        self.memory.size
    }

    /// Where it is, and which uses may be mixed (CMBLOC).
    #[must_use]
    pub fn location(&self) -> Cmbloc {
        self.memory.location
    }

    /// Its usable size in bytes: what of it lies within its BAR.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a buffer that exists is not empty")]
    pub fn len(&self) -> u64 {
        self.memory.len
    }

    /// Tells later whether the controller was reset since now.
    #[must_use]
    pub fn unbroken(&self) -> Unbroken {
        Unbroken::since_now(&self.shared)
    }

    /// Bytes that are free, in whatever pieces.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.memory.free().available()
    }

    /// Bytes of the longest free piece.
    #[must_use]
    pub fn largest(&self) -> u64 {
        self.memory.free().largest()
    }

    /// The BAR that decodes it.
    #[must_use]
    pub fn bar(&self) -> &Bar {
        &self.memory.bar
    }

    /// Which part of the BAR it is.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.memory.start..self.memory.start + self.memory.len
    }

    /// The address by which the controller's own commands reach its first byte.
    #[must_use]
    pub fn iova(&self) -> Iova {
        self.memory.base
    }

    /// Takes `len` bytes at a multiple of `align`, a power of two, and clears them.
    ///
    /// # Errors
    /// [`Error::NoRoom`].
    pub fn allocate(&self, len: u64, align: u64) -> Result<CmbBuffer, Error> {
        let range = CmbRange::allocate(&self.memory, len, align)?;
        Ok(self.buffer(range, false))
    }

    /// The same without clearing them, now or when they are given back. What others left there can be
    /// read, and what is left there can be read by others.
    ///
    /// # Errors
    /// [`Error::NoRoom`].
    pub fn allocate_as_is(&self, len: u64, align: u64) -> Result<CmbBuffer, Error> {
        let range = CmbRange::allocate_as_is(&self.memory, len, align)?;
        Ok(self.buffer(range, true))
    }

    fn buffer(&self, range: CmbRange, keep: bool) -> CmbBuffer {
        let lease = CmbLease { range, keep, _shared: Arc::clone(&self.shared) };
        CmbBuffer { lease: Arc::new(lease) }
    }
}

/// Part of a controller memory buffer. Cloning gives another handle; the last one gives the bytes back.
///
/// It keeps the controller running.
#[derive(Debug, Clone)]
pub struct CmbBuffer {
    lease: Arc<CmbLease>,
}

#[derive(Debug)]
struct CmbLease {
    range: CmbRange,
    keep: bool,
    _shared: Arc<Shared>,
}

impl Drop for CmbLease {
    fn drop(&mut self) {
        if !self.keep {
            // A controller that is gone takes no bytes, and shows none to anybody either.
            let _ = self.range.clear();
        }
    }
}

impl CmbBuffer {
    /// Its length in bytes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "no empty part is ever handed out")]
    pub fn len(&self) -> u64 {
        self.lease.range.len
    }

    /// How commands of its own controller name it.
    #[must_use]
    pub fn segment(&self) -> Segment {
        Segment::new(self.lease.range.iova(), self.len())
    }

    /// Copies bytes out, by the processor.
    ///
    /// # Errors
    /// [`Error::TooLong`] beyond its end.
    pub fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), Error> {
        let at = self.lease.range.in_bar(offset, data.len() as u64)?;
        Ok(self.lease.range.memory.bar.read_data(at, data)?)
    }

    /// Copies bytes in, by the processor.
    ///
    /// # Errors
    /// [`Error::TooLong`] beyond its end.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        let at = self.lease.range.in_bar(offset, data.len() as u64)?;
        Ok(self.lease.range.memory.bar.write_data(at, data)?)
    }

    /// Maps it for another function, so that its commands can name it.
    ///
    /// # Errors
    /// The topology's refusal, if there is no peer-to-peer path.
    pub fn map_peer(&self, client: &dyn Function) -> Result<CmbWindow, Error> {
        let range = &self.lease.range;
        let start = range.in_bar(0, range.len)?;
        // Whole pages are mapped: what shares a page with the buffer becomes reachable too.
        let window = client.map_peer(&range.memory.bar, start..start + range.len)?;
        Ok(CmbWindow { window, _buffer: self.clone() })
    }
}

/// Part of a controller memory buffer as another function reaches it. The bytes stay allocated as long
/// as the window exists.
#[derive(Debug)]
pub struct CmbWindow {
    window: PeerWindow,
    _buffer: CmbBuffer,
}

impl CmbWindow {
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

/// The alignment of a queue's first byte in the buffer (NVMe Base 2.1 §5.2.1: PRP1 has no offset).
pub(crate) const QUEUE_ALIGN: u64 = PAGE;
