//! How much of a file the page cache has: by cachestat(2), and by mincore(2) where that is missing.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

/// By which system call the page cache is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Means {
    /// cachestat(2), Linux 6.5 and later: counts pages that were pushed out lately, too.
    Cachestat,
    /// mincore(2) on a mapping: counts what is there at the moment. Of files that the caller neither owns nor
    /// may write, the kernel says that all of it is there (`can_do_mincore()`, mm/mincore.c).
    Mincore,
}

/// cachestat(2): which bytes it is asked about.
#[repr(C)]
struct Range {
    offset: u64,
    len: u64,
}

/// What it answers, in pages (include/uapi/linux/mman.h).
#[repr(C)]
#[derive(Default)]
struct Cachestat {
    cache: u64,
    dirty: u64,
    writeback: u64,
    evicted: u64,
    recently_evicted: u64,
}

/// Its number is the same on all architectures that came after it was unified (asm-generic/unistd.h).
const CACHESTAT: libc::c_long = 451;

/// Bytes of a whole file that are in the page cache, or were pushed out of it; `None` before Linux 6.5, and
/// for a file of somebody else's.
#[expect(unsafe_code, reason = "a system call that no library wraps")]
pub(super) fn cachestat(file: &File) -> io::Result<Option<u64>> {
    // A length of 0 is: to the end.
    let (range, mut answer) = (Range { offset: 0, len: 0 }, Cachestat::default());
    // SAFETY: both structures have the layout that the kernel knows (`repr(C)`, eight-byte numbers), and live
    // longer than the call; it writes to `answer` only.
    let result =
        unsafe { libc::syscall(CACHESTAT, file.as_raw_fd(), &raw const range, &raw mut answer, 0) };
    if result == 0 {
        let pages = answer.cache.saturating_add(answer.evicted);
        return Ok(Some(pages.saturating_mul(page())));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Of a file system without a page cache nothing is in it.
        Some(libc::EOPNOTSUPP) => Ok(Some(0)),
        // Since Linux 6.14 it asks for a file that the caller owns or may write (`can_do_cachestat()`, mm/filemap.c).
        Some(libc::ENOSYS | libc::EPERM) => Ok(None),
        _ => Err(error),
    }
}

/// A file is looked at in windows of this size: a byte of answers for each page.
const WINDOW: u64 = 1 << 30;

/// Bytes of the first `len` of a file that are in the page cache.
pub(super) fn mincore(file: &File, len: u64) -> io::Result<u64> {
    let mut pages = 0;
    let mut start = 0;
    while start < len {
        let size = WINDOW.min(len - start);
        pages += Window::map(file, start, size)?.resident()?;
        start += size;
    }
    Ok(pages.saturating_mul(page()))
}

pub(super) fn page() -> u64 {
    rustix::param::page_size() as u64
}

/// A part of a file, mapped and never touched.
struct Window {
    at: *mut libc::c_void,
    len: usize,
}

impl Window {
    #[expect(unsafe_code, reason = "a mapping")]
    fn map(file: &File, start: u64, len: u64) -> io::Result<Self> {
        let beyond = |_| io::Error::from(io::ErrorKind::InvalidInput);
        let (len, start) = (usize::try_from(len).map_err(beyond)?, i64::try_from(start));
        let (fd, start) = (file.as_raw_fd(), start.map_err(beyond)?);
        // SAFETY: a new mapping, at a place that the kernel chooses; nobody can access it (PROT_NONE).
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), len, libc::PROT_NONE, libc::MAP_SHARED, fd, start)
        };
        if at == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self { at, len }) }
    }

    /// How many of its pages are in the page cache.
    #[expect(unsafe_code, reason = "a system call that no library wraps")]
    fn resident(&self) -> io::Result<u64> {
        let mut pages = vec![0_u8; self.len.div_ceil(rustix::param::page_size())];
        // SAFETY: the mapping lives as long as `self`, and there is a byte for each of its pages.
        if unsafe { libc::mincore(self.at, self.len, pages.as_mut_ptr()) } != 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(pages.iter().map(|page| u64::from(page & 1)).sum())
    }
}

impl Drop for Window {
    #[expect(unsafe_code, reason = "a mapping")]
    fn drop(&mut self) {
        // SAFETY: it is this mapping, whole, and nobody has its address.
        unsafe { libc::munmap(self.at, self.len) };
    }
}
