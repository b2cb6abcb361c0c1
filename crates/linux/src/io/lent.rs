//! Memory of a device that the kernel lends: `p2pmem/allocate` (drivers/pci/p2pdma.c).
//!
//! - Every mapping is a fresh run of the pool, contiguous on the device, and goes back when it is unmapped.
//! - It is not cleared: whoever had it before left bytes in it.
//! - When the provider's driver is unbound, the pages are gone. The processor's access to them would end the
//!   process with SIGBUS; here it goes through the kernel's own copy, which reports EFAULT.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use p2pdma_mem::SharedMemory;
use p2pdma_pci::Bdf;
use rustix::fs::MemfdFlags;

use super::{Fate, Resets};

/// Why the kernel lends no memory.
#[derive(Debug, thiserror::Error)]
pub enum LendError {
    /// The function has no pool that user space may allocate from: there is no `p2pmem/allocate`.
    #[error("the kernel lends no memory of {bdf}")]
    NoPool {
        /// The function.
        bdf: Bdf,
    },
    /// Only root may open the file.
    #[error("the kernel lends memory of {bdf} to root only")]
    Denied {
        /// The function.
        bdf: Bdf,
    },
    /// No free run is long enough: allocations are contiguous, so that a pool can be free and in pieces.
    #[error(
        "the pool of {bdf} has no run of {wanted} bytes: {available} are free, not necessarily in one piece"
    )]
    Exhausted {
        /// The function.
        bdf: Bdf,
        /// How many bytes were asked for.
        wanted: u64,
        /// How many are free in all.
        available: u64,
    },
    /// The provider's driver was unbound, or the device is gone.
    #[error("the memory of {bdf} is gone: its driver was unbound, or the device was removed")]
    Gone {
        /// The function.
        bdf: Bdf,
    },
    /// The device was reset while the memory was lent.
    #[error("{bdf} was reset while its memory was lent: what was under way there may be lost")]
    Reset {
        /// The function.
        bdf: Bdf,
    },
    /// Anything else.
    #[error("the kernel does not lend memory of {bdf}: {source}")]
    System {
        /// The function.
        bdf: Bdf,
        /// What it says.
        source: io::Error,
    },
}

/// The pool of a function's memory.
#[derive(Debug, Clone)]
pub struct Pool {
    bdf: Bdf,
    folder: PathBuf,
}

impl Pool {
    /// The pool of a function of the running machine, whether there is one or not.
    #[must_use]
    pub fn of(bdf: Bdf) -> Self {
        Self { bdf, folder: PathBuf::from(format!("/sys/bus/pci/devices/{bdf}/p2pmem")) }
    }

    /// Whose memory.
    #[must_use]
    pub const fn bdf(&self) -> Bdf {
        self.bdf
    }

    /// How many bytes are free; not necessarily in one piece.
    ///
    /// # Errors
    /// [`LendError`].
    pub fn available(&self) -> Result<u64, LendError> {
        let text = std::fs::read_to_string(self.folder.join("available"));
        let text = text.map_err(|error| self.error(error, 0))?;
        text.trim().parse().map_err(|_| self.error(io::ErrorKind::InvalidData.into(), 0))
    }

    /// Lends a contiguous run of `len` bytes, whole pages.
    ///
    /// # Errors
    /// [`LendError`].
    pub fn lend(&self, len: usize) -> Result<LentMemory, LendError> {
        let resets = Resets::begin(self.bdf).map_err(|error| self.error(error, len))?;
        let path = self.folder.join("allocate");
        let opened = OpenOptions::new().read(true).write(true).open(&path);
        let file = opened.map_err(|error| self.error(error, len))?;
        let memory = SharedMemory::map_file(&file, len).map_err(|error| self.error(error, len))?;
        LentMemory::new(self.bdf, memory, resets).map_err(|error| self.error(error, len))
    }

    fn error(&self, error: io::Error, wanted: usize) -> LendError {
        let bdf = self.bdf;
        match error.raw_os_error() {
            Some(libc::ENOENT) if self.is_there() => LendError::NoPool { bdf },
            Some(libc::ENOENT | libc::ENODEV | libc::ENXIO) => LendError::Gone { bdf },
            Some(libc::EACCES | libc::EPERM) => LendError::Denied { bdf },
            Some(libc::ENOMEM) => LendError::Exhausted {
                bdf,
                wanted: wanted as u64,
                available: self.available().unwrap_or(0),
            },
            _ => LendError::System { bdf, source: error },
        }
    }

    fn is_there(&self) -> bool {
        self.folder.parent().is_some_and(Path::is_dir)
    }
}

/// A run of lent memory.
pub struct LentMemory {
    bdf: Bdf,
    memory: SharedMemory,
    /// A file in host memory, between which and the device's the kernel copies.
    scratch: Mutex<File>,
    /// `None` if its device is no NVMe controller: whether that was reset is not known then.
    resets: Option<Mutex<Resets>>,
}

impl LentMemory {
    fn new(bdf: Bdf, memory: SharedMemory, resets: Option<Resets>) -> io::Result<Self> {
        let file = rustix::fs::memfd_create("p2pdma-scratch", MemfdFlags::CLOEXEC)?;
        let (scratch, resets) = (Mutex::new(File::from(file)), resets.map(Mutex::new));
        Ok(Self { bdf, memory, scratch, resets })
    }

    /// Makes sure that what has ended up to now was in memory that was there all the time: a request that ends while
    /// its device is reset succeeds, and its bytes are lost.
    ///
    /// # Errors
    /// [`LendError::Reset`]; [`LendError::Gone`]; [`LendError::System`] if it cannot be known.
    pub fn check_kept(&self) -> Result<(), LendError> {
        let Some(resets) = &self.resets else { return Ok(()) };
        let mut resets = resets.lock().unwrap_or_else(PoisonError::into_inner);
        match resets.look() {
            Ok(Fate::Kept) => Ok(()),
            Ok(Fate::Reset) => Err(LendError::Reset { bdf: self.bdf }),
            Ok(Fate::Gone) => Err(LendError::Gone { bdf: self.bdf }),
            Err(error) => Err(self.error(error)),
        }
    }

    /// Whose it is.
    #[must_use]
    pub const fn bdf(&self) -> Bdf {
        self.bdf
    }

    /// Its bytes, for requests. The processor must not touch them but by [`LentMemory::read`] and
    /// [`LentMemory::write`].
    #[must_use]
    pub fn memory(&self) -> &SharedMemory {
        &self.memory
    }

    /// Copies bytes out, by the processor: slow, the memory is not cached.
    ///
    /// # Errors
    /// [`LendError::Gone`], and no signal; [`LendError::System`] if the range leaves the memory.
    pub fn read(&self, offset: usize, data: &mut [u8]) -> Result<(), LendError> {
        let scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, part) in pieces(offset, data.len()) {
            let range = at..at.saturating_add(part.len());
            let count = self.memory.write_file(range, &scratch, 0);
            self.check(count, part.len())?;
            let data = data.get_mut(part).unwrap_or_default();
            scratch.read_exact_at(data, 0).map_err(|source| self.error(source))?;
        }
        Ok(())
    }

    /// Copies bytes in, by the processor.
    ///
    /// # Errors
    /// As [`LentMemory::read`].
    pub fn write(&self, offset: usize, data: &[u8]) -> Result<(), LendError> {
        let scratch = self.scratch.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, part) in pieces(offset, data.len()) {
            let range = at..at.saturating_add(part.len());
            let len = part.len();
            let data = data.get(part).unwrap_or_default();
            scratch.write_all_at(data, 0).map_err(|source| self.error(source))?;
            self.check(self.memory.read_file(range, &scratch, 0), len)?;
        }
        Ok(())
    }

    /// The kernel's copy stops where memory is gone: with EFAULT, or short before.
    fn check(&self, count: io::Result<usize>, len: usize) -> Result<(), LendError> {
        match count {
            Ok(count) if count == len => Ok(()),
            Ok(_) => Err(LendError::Gone { bdf: self.bdf }),
            Err(error) => Err(self.error(error)),
        }
    }

    fn error(&self, source: io::Error) -> LendError {
        let bdf = self.bdf;
        match source.raw_os_error() {
            Some(libc::EFAULT) => LendError::Gone { bdf },
            _ => LendError::System { bdf, source },
        }
    }
}

impl std::fmt::Debug for LentMemory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LentMemory")
            .field("bdf", &self.bdf)
            .field("memory", &self.memory)
            .finish_non_exhaustive()
    }
}

/// The scratch file grows to this size at most.
const PIECE: usize = 1 << 20;

/// A run in pieces: where each begins in the memory, and which part of the data it is.
fn pieces(offset: usize, len: usize) -> impl Iterator<Item = (usize, std::ops::Range<usize>)> {
    (0..len).step_by(PIECE).map(move |at| (offset.saturating_add(at), at..len.min(at + PIECE)))
}
