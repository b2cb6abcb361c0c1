//! The one owner and accessor of shared bytes.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering};

use memmap2::{MmapOptions, MmapRaw};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use crate::copy;

/// An access beyond the end of a [`SharedMemory`], or a misaligned word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{len} bytes at offset {offset} do not fit a shared memory of {size} bytes, or are not aligned"
)]
pub struct OutOfBounds {
    /// Where the access would have begun, in bytes.
    pub offset: usize,
    /// Its length in bytes.
    pub len: usize,
    /// The size of the memory in bytes.
    pub size: usize,
}

/// A run of bytes that others may read and write at any time.
///
/// Cloning and slicing are cheap and share the bytes; the mapping lives as long as any handle.
#[derive(Clone)]
pub struct SharedMemory {
    pub(crate) mapping: Arc<MmapRaw>,
    pub(crate) start: usize,
    pub(crate) len: usize,
}

impl SharedMemory {
    /// Maps `len` zeroed bytes that cost nothing until they are written.
    ///
    /// The kernel is asked for huge pages, which halves the cost of random access to large memories,
    /// and not to reserve swap, so that a mostly empty terabyte is possible.
    ///
    /// # Errors
    /// What the operating system says, for example when `len` exceeds the address space.
    pub fn anonymous(len: usize) -> std::io::Result<Self> {
        // The kernel refuses empty mappings; an empty memory is still a valid value here.
        let map = MmapOptions::new().len(len.max(1)).no_reserve_swap().map_anon()?;
        #[cfg(target_os = "linux")]
        if len >= HUGE_PAGE {
            // A hint: a kernel without huge pages refuses it, and nothing is lost.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Ok(Self { mapping: Arc::new(map.into()), start: 0, len })
    }

    /// The size in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A handle to part of the same bytes.
    ///
    /// # Errors
    /// [`OutOfBounds`] if the range ends beyond this memory or is reversed.
    pub fn slice(&self, range: Range<usize>) -> Result<Self, OutOfBounds> {
        let len = range.end.checked_sub(range.start).ok_or(self.out(range.start, 0))?;
        self.check(range.start, len)?;
        Ok(Self { mapping: Arc::clone(&self.mapping), start: self.start + range.start, len })
    }

    /// Where these bytes lie in `whole`, if they are part of it: how a platform recognises memory that it
    /// handed out.
    #[must_use]
    pub fn offset_in(&self, whole: &Self) -> Option<usize> {
        let same = Arc::ptr_eq(&self.mapping, &whole.mapping);
        let offset = self.start.checked_sub(whole.start).filter(|_| same)?;
        (offset + self.len <= whole.len).then_some(offset)
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`OutOfBounds`], and nothing is copied.
    #[inline]
    pub fn read(&self, offset: usize, data: &mut [u8]) -> Result<(), OutOfBounds> {
        let source = self.check(offset, data.len())?;
        // SAFETY: `source` is valid for `data.len()` bytes by the check; `data` is exclusively
        // borrowed private memory, so it cannot overlap the mapping.
        unsafe { copy::copy(source, data.as_mut_ptr(), data.len()) };
        Ok(())
    }

    /// Copies bytes in.
    ///
    /// # Errors
    /// [`OutOfBounds`], and nothing is copied.
    #[inline]
    pub fn write(&self, offset: usize, data: &[u8]) -> Result<(), OutOfBounds> {
        let target = self.check(offset, data.len())?;
        // SAFETY: `target` is valid for `data.len()` bytes by the check; `data` is private memory
        // that nobody writes while it is borrowed, so it cannot overlap the mapping.
        unsafe { copy::copy(data.as_ptr(), target, data.len()) };
        Ok(())
    }

    /// Sets `len` bytes to `value`.
    ///
    /// # Errors
    /// [`OutOfBounds`], and nothing is written.
    pub fn fill(&self, offset: usize, len: usize, value: u8) -> Result<(), OutOfBounds> {
        let target = self.check(offset, len)?;
        // SAFETY: `target` is valid for `len` bytes by the check.
        unsafe { copy::fill(target, len, value) };
        Ok(())
    }

    /// Reads a wire structure by value. Its words may be of different ages if another party writes.
    ///
    /// # Errors
    /// [`OutOfBounds`].
    #[inline]
    pub fn read_value<T: FromBytes + IntoBytes>(&self, offset: usize) -> Result<T, OutOfBounds> {
        let mut value = T::new_zeroed();
        self.read(offset, value.as_mut_bytes())?;
        Ok(value)
    }

    /// Writes a wire structure.
    ///
    /// # Errors
    /// [`OutOfBounds`], and nothing is written.
    #[inline]
    pub fn write_value<T: IntoBytes + Immutable>(
        &self,
        offset: usize,
        value: &T,
    ) -> Result<(), OutOfBounds> {
        self.write(offset, value.as_bytes())
    }

    /// Loads one word with an ordering: the tool for phase bits and flags.
    ///
    /// # Errors
    /// [`OutOfBounds`] if the word is outside or not aligned to its size.
    #[inline]
    pub fn load<W: Word>(&self, offset: usize, order: Ordering) -> Result<W, OutOfBounds> {
        let at = self.check_aligned(offset, size_of::<W>())?;
        // SAFETY: `at` is valid for the word and aligned, by the check.
        Ok(unsafe { W::load(at, order) })
    }

    /// Stores one word with an ordering.
    ///
    /// # Errors
    /// [`OutOfBounds`] if the word is outside or not aligned to its size.
    #[inline]
    pub fn store<W: Word>(
        &self,
        offset: usize,
        value: W,
        order: Ordering,
    ) -> Result<(), OutOfBounds> {
        let at = self.check_aligned(offset, size_of::<W>())?;
        // SAFETY: `at` is valid for the word and aligned, by the check.
        unsafe { W::store(at, value, order) };
        Ok(())
    }

    /// The first byte, for the kernel or a device: valid for [`len`](Self::len) bytes as long as any handle
    /// of the same memory lives. Others may access the bytes at any time, so that no reference to them
    /// may be made.
    #[inline]
    #[must_use]
    pub fn base(&self) -> *mut u8 {
        self.mapping.as_mut_ptr().wrapping_add(self.start)
    }

    #[inline]
    fn check(&self, offset: usize, len: usize) -> Result<*mut u8, OutOfBounds> {
        if offset > self.len || len > self.len - offset {
            return Err(self.out(offset, len));
        }
        // `start + len` is within the mapping by construction, so the sum stays inside it too.
        Ok(self.base().wrapping_add(offset))
    }

    #[inline]
    fn check_aligned(&self, offset: usize, size: usize) -> Result<*mut u8, OutOfBounds> {
        let at = self.check(offset, size)?;
        if (at as usize).is_multiple_of(size) { Ok(at) } else { Err(self.out(offset, size)) }
    }

    #[cold]
    pub(crate) fn out(&self, offset: usize, len: usize) -> OutOfBounds {
        OutOfBounds { offset, len, size: self.len }
    }
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory")
            .field("start", &self.start)
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

/// The size from which huge pages can serve.
#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 2 << 20;

pub(crate) mod sealed {
    pub trait Sealed {
        /// # Safety
        /// `at` must be aligned and valid for a shared atomic access of this type.
        unsafe fn load(at: *mut u8, order: std::sync::atomic::Ordering) -> Self;
        /// # Safety
        /// As `load`.
        unsafe fn store(at: *mut u8, value: Self, order: std::sync::atomic::Ordering);
    }
}

/// An integer that can be loaded and stored in one piece: `u8`, `u16`, `u32`, `u64`.
pub trait Word: Copy + sealed::Sealed {}

macro_rules! word {
    ($($word:ty => $atomic:ty),*) => {$(
        impl sealed::Sealed for $word {
            #[inline]
            unsafe fn load(at: *mut u8, order: Ordering) -> Self {
                // SAFETY: the caller promises alignment and validity; all accesses are atomic.
                Self::from_le(unsafe { &*at.cast::<$atomic>() }.load(order))
            }
            #[inline]
            unsafe fn store(at: *mut u8, value: Self, order: Ordering) {
                // SAFETY: the caller promises alignment and validity; all accesses are atomic.
                unsafe { &*at.cast::<$atomic>() }.store(value.to_le(), order);
            }
        }
        impl Word for $word {}
    )*};
}
word!(u8 => AtomicU8, u16 => AtomicU16, u32 => AtomicU32, u64 => AtomicU64);

#[cfg(test)]
#[path = "shared_tests.rs"]
mod tests;
