//! What a namespace's blocks are kept on.

mod cache;
mod file;
mod memory;
mod null;
mod timing;

use std::fmt;
use std::io;
use std::ops::ControlFlow;

pub(crate) use cache::{CachedMedia, Chance};
pub(crate) use file::FileMedia;
pub(crate) use memory::{MOST_MEMORY, MemoryMedia};
pub(crate) use null::NullMedia;
pub(crate) use timing::{Direction, MediaClock};
pub use timing::{MediaTiming, ServiceTime};

/// Takes a piece of what is read; breaks off if it cannot go on.
pub type Take<'a> = dyn FnMut(&[u8]) -> ControlFlow<()> + 'a;
/// Fills a piece of what is to be written; breaks off if it cannot go on.
pub type Fill<'a> = dyn FnMut(&mut [u8]) -> ControlFlow<()> + 'a;

/// The medium below a namespace: bytes that survive what their kind survives.
///
/// Data are handed over as slices of the medium's own memory where it has any, so that they are
/// copied once on their way to or from the bus. A range comes in order, in one piece or several; a
/// piece begins and ends at a multiple of 4096 bytes or at an end of the range. Every range lies
/// within the capacity: the caller has checked it against the namespace.
pub trait Media: Send + fmt::Debug {
    /// Whether there are bytes at all. If not, reads and writes are not even asked for: such a medium
    /// measures everything but the copying.
    fn holds_data(&self) -> bool;

    /// Hands out `len` bytes from `at` on.
    ///
    /// # Errors
    /// What went wrong; then some pieces may have been handed out.
    fn read(&mut self, at: u64, len: u64, take: &mut Take<'_>) -> Result<(), MediaError>;

    /// Hears what is read next, while it does something else: a hint, which may be wrong.
    fn expect(&self, _at: u64, _len: u64) {}

    /// Takes `len` bytes from `at` on. A piece that breaks off may be left half written in memory, but
    /// whole pieces before it stay.
    ///
    /// # Errors
    /// What went wrong; then the range holds old and new bytes.
    fn write(&mut self, at: u64, len: u64, fill: &mut Fill<'_>) -> Result<(), MediaError>;

    /// Makes a range read as zeroes, and gives back what it cost where possible.
    ///
    /// # Errors
    /// What went wrong; then part of the range may be zeroes.
    fn discard(&mut self, at: u64, len: u64) -> Result<(), MediaError>;

    /// Makes everything in a range that was written survive a loss of power.
    ///
    /// # Errors
    /// What went wrong; then nothing is known about the range.
    fn flush(&mut self, at: u64, len: u64) -> Result<(), MediaError>;

    /// Power was lost: whatever is volatile is gone.
    fn power_cut(&mut self);
}

/// How a medium fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MediaError {
    /// There is no room for what was to be written: a full disk under a file.
    #[error("no room is left on the medium")]
    Full,
    /// The operating system refused.
    #[error("the medium failed: {0}")]
    Failed(io::ErrorKind),
}

impl From<io::Error> for MediaError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull
            | io::ErrorKind::QuotaExceeded
            | io::ErrorKind::FileTooLarge => Self::Full,
            kind => Self::Failed(kind),
        }
    }
}

/// Zeroes to hand out where nothing was ever written.
pub(crate) static ZEROES: [u8; 64 << 10] = [0; 64 << 10];

/// Hands out `len` zeroes.
pub(crate) fn take_zeroes(mut len: u64, take: &mut Take<'_>) -> ControlFlow<()> {
    while len > 0 {
        let piece = length(len).min(ZEROES.len());
        take(&ZEROES[..piece])?;
        len -= piece as u64;
    }
    ControlFlow::Continue(())
}

/// A length as the language wants it. What exceeds the address space is cut to it; every caller takes
/// the minimum with a smaller length afterwards, or has memory of that length.
#[inline]
pub(crate) fn length(len: u64) -> usize {
    usize::try_from(len).unwrap_or(usize::MAX)
}
