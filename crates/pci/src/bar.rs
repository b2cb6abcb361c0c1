//! A function's memory as a driver reaches it.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::{BarIndex, Bdf, BusAddr, Error, Iova};

/// How the processor reaches a BAR. Implemented once per platform.
///
/// Accesses are within the BAR. As on hardware there is no failure: a read that nobody answers
/// returns all ones, a write that nobody takes is lost.
pub trait BarAccess: Send + Sync {
    /// Reads `data.len()` bytes at `offset`, in one access if that is 1, 2, 4 or 8.
    fn read(&self, offset: u64, data: &mut [u8]);

    /// Writes `data` at `offset`, in one access if its length is 1, 2, 4 or 8. Posted: it may still be
    /// on its way on return; a read of the same function pushes it.
    fn write(&self, offset: u64, data: &[u8]);

    /// As [`BarAccess::read`], of user data: a platform that counts what its links carry tells them from registers
    /// and queue entries.
    fn read_data(&self, offset: u64, data: &mut [u8]) {
        self.read(offset, data);
    }

    /// As [`BarAccess::write`], of user data.
    fn write_data(&self, offset: u64, data: &[u8]) {
        self.write(offset, data);
    }
}

/// A memory BAR, mapped for the processor.
#[derive(Clone)]
pub struct Bar {
    owner: Bdf,
    index: BarIndex,
    address: BusAddr,
    len: u64,
    access: Arc<dyn BarAccess>,
}

impl Bar {
    /// A BAR of `owner` that decodes `len` bytes at `address`.
    #[must_use]
    pub fn new(
        owner: Bdf,
        index: BarIndex,
        address: BusAddr,
        len: u64,
        access: Arc<dyn BarAccess>,
    ) -> Self {
        Self { owner, index, address, len, access }
    }

    /// The function whose memory this is.
    #[must_use]
    pub fn owner(&self) -> Bdf {
        self.owner
    }

    /// Which of its BARs.
    #[must_use]
    pub fn index(&self) -> BarIndex {
        self.index
    }

    /// The address that it decodes.
    #[must_use]
    pub fn address(&self) -> BusAddr {
        self.address
    }

    /// Its size in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is empty; no mapped BAR is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Reads a 32-bit register.
    ///
    /// # Errors
    /// [`Error::OutsideBar`] if the offset is outside or no multiple of 4.
    pub fn read32(&self, offset: u64) -> Result<u32, Error> {
        let mut data = [0; 4];
        self.access_aligned(offset, 4)?.read(offset, &mut data);
        Ok(u32::from_le_bytes(data))
    }

    /// Reads a 64-bit register.
    ///
    /// # Errors
    /// [`Error::OutsideBar`] if the offset is outside or no multiple of 8.
    pub fn read64(&self, offset: u64) -> Result<u64, Error> {
        let mut data = [0; 8];
        self.access_aligned(offset, 8)?.read(offset, &mut data);
        Ok(u64::from_le_bytes(data))
    }

    /// Writes a 32-bit register.
    ///
    /// # Errors
    /// [`Error::OutsideBar`] if the offset is outside or no multiple of 4.
    #[inline]
    pub fn write32(&self, offset: u64, value: u32) -> Result<(), Error> {
        self.access_aligned(offset, 4)?.write(offset, &value.to_le_bytes());
        Ok(())
    }

    /// Writes a 64-bit register.
    ///
    /// # Errors
    /// [`Error::OutsideBar`] if the offset is outside or no multiple of 8.
    pub fn write64(&self, offset: u64, value: u64) -> Result<(), Error> {
        self.access_aligned(offset, 8)?.write(offset, &value.to_le_bytes());
        Ok(())
    }

    /// Copies bytes out of the BAR, by the processor.
    ///
    /// # Errors
    /// [`Error::OutsideBar`], and nothing is read.
    pub fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), Error> {
        self.check(offset, data.len() as u64)?;
        self.access.read(offset, data);
        Ok(())
    }

    /// Copies bytes into the BAR, by the processor.
    ///
    /// # Errors
    /// [`Error::OutsideBar`], and nothing is written.
    pub fn write(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.check(offset, data.len() as u64)?;
        self.access.write(offset, data);
        Ok(())
    }

    /// Copies user data out of the BAR, by the processor, to be counted as such.
    ///
    /// # Errors
    /// [`Error::OutsideBar`], and nothing is read.
    pub fn read_data(&self, offset: u64, data: &mut [u8]) -> Result<(), Error> {
        self.check(offset, data.len() as u64)?;
        self.access.read_data(offset, data);
        Ok(())
    }

    /// Copies user data into the BAR, by the processor, to be counted as such.
    ///
    /// # Errors
    /// [`Error::OutsideBar`], and nothing is written.
    pub fn write_data(&self, offset: u64, data: &[u8]) -> Result<(), Error> {
        self.check(offset, data.len() as u64)?;
        self.access.write_data(offset, data);
        Ok(())
    }

    /// The bus addresses of part of the BAR.
    ///
    /// # Errors
    /// [`Error::OutsideBar`] if the range is reversed, outside, or its addresses exceed 2^64.
    pub fn addresses(&self, range: &Range<u64>) -> Result<Range<BusAddr>, Error> {
        let len = range.end.checked_sub(range.start).ok_or_else(|| self.outside(range.start, 0))?;
        self.check(range.start, len)?;
        let at = |offset| self.address.checked_add(offset);
        match (at(range.start), at(range.end)) {
            (Some(start), Some(end)) => Ok(start..end),
            _ => Err(self.outside(range.start, len)),
        }
    }

    #[inline]
    fn access_aligned(&self, offset: u64, width: u64) -> Result<&dyn BarAccess, Error> {
        self.check(offset, width)?;
        if offset.is_multiple_of(width) {
            Ok(&*self.access)
        } else {
            Err(self.outside(offset, width))
        }
    }

    #[inline]
    fn check(&self, offset: u64, len: u64) -> Result<(), Error> {
        if offset > self.len || len > self.len - offset {
            return Err(self.outside(offset, len));
        }
        Ok(())
    }

    #[cold]
    fn outside(&self, offset: u64, len: u64) -> Error {
        Error::OutsideBar { bdf: self.owner, bar: self.index, offset, len, size: self.len }
    }
}

impl fmt::Debug for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bar")
            .field("owner", &self.owner)
            .field("index", &self.index)
            .field("address", &self.address)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// What is released when the last holder drops it: a mapping, an allocation.
pub type Lease = Arc<dyn Send + Sync>;

/// Part of another function's BAR, mapped for this function's requests.
///
/// Dropping it unmaps; requests that still use its addresses then fault or are refused.
pub struct PeerWindow {
    owner: Bdf,
    iova: Iova,
    len: u64,
    _lease: Lease,
}

impl PeerWindow {
    /// A window onto memory of `owner`: the client must emit `iova` to reach its first byte.
    #[must_use]
    pub fn new(owner: Bdf, iova: Iova, len: u64, lease: Lease) -> Self {
        Self { owner, iova, len, _lease: lease }
    }

    /// The function whose memory is behind the window.
    #[must_use]
    pub fn owner(&self) -> Bdf {
        self.owner
    }

    /// What the client must emit to reach the first byte.
    #[must_use]
    pub fn iova(&self) -> Iova {
        self.iova
    }

    /// The length in bytes.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl fmt::Debug for PeerWindow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerWindow")
            .field("owner", &self.owner)
            .field("iova", &self.iova)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}
