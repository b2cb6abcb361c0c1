//! The staging check: what the page cache and the block layer say about a transfer that was to be direct.
//!
//! A full count proves nothing: the kernel stages what cannot go directly, and reports success. Staged bytes
//! leave pages in the page cache, and bytes that came from no device are missing in its counters.

use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use rustix::fs::Advice;

use super::DirectFile;

/// What was seen of a file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Of the file, in the page cache now or until it was pushed out lately; `None` before Linux 6.5.
    pub cached: Option<u64>,
    /// Read from its block device so far, by anybody.
    pub read: Option<u64>,
    /// Written to its block device so far, by anybody.
    pub written: Option<u64>,
}

impl Seen {
    /// How much more is in the page cache than `before`; `None` if that is not known.
    #[must_use]
    pub fn staged_since(&self, before: &Self) -> Option<u64> {
        Some(self.cached?.saturating_sub(before.cached?))
    }
}

/// Looks at a file.
#[derive(Debug, Clone)]
pub struct Watch {
    file: Arc<DirectFile>,
}

impl Watch {
    /// Begins to watch: what the page cache has of the file is written back and let go first, so that what is
    /// there later was put there meanwhile.
    ///
    /// # Errors
    /// What writing back says.
    pub fn begin(file: &Arc<DirectFile>) -> io::Result<Self> {
        file.sync()?;
        rustix::fs::fadvise(file.file(), 0, None, Advice::DontNeed)?;
        Ok(Self { file: Arc::clone(file) })
    }

    /// What is seen now.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn look(&self) -> io::Result<Seen> {
        let (major, minor) = self.file.device();
        let stat = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat"));
        let (read, written) = stat.ok().and_then(|text| sectors(&text)).unzip();
        Ok(Seen { cached: cached(&self.file)?, read, written })
    }
}

/// Bytes read and written: the third and seventh number, in sectors of 512 bytes
/// (Documentation/block/stat.rst).
fn sectors(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    let read = numbers.nth(2)?.ok()?;
    let written = numbers.nth(3)?.ok()?;
    Some((read.checked_mul(512)?, written.checked_mul(512)?))
}

/// cachestat(2), Linux 6.5: which bytes it is asked about.
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

/// Bytes of a whole file that are in the page cache, or were pushed out of it.
#[expect(unsafe_code, reason = "a system call that no library wraps")]
fn cached(file: &DirectFile) -> io::Result<Option<u64>> {
    // A length of 0 is: to the end.
    let (range, mut answer) = (Range { offset: 0, len: 0 }, Cachestat::default());
    // SAFETY: both structures have the layout that the kernel knows (`repr(C)`, eight-byte numbers), and live
    // longer than the call; it writes to `answer` only.
    let result = unsafe {
        libc::syscall(CACHESTAT, file.file().as_raw_fd(), &raw const range, &raw mut answer, 0)
    };
    if result == 0 {
        let pages = answer.cache.saturating_add(answer.evicted);
        return Ok(Some(pages.saturating_mul(rustix::param::page_size() as u64)));
    }
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        // Of a file system without a page cache nothing is in it.
        Some(libc::EOPNOTSUPP) => Ok(Some(0)),
        Some(libc::ENOSYS) => Ok(None),
        _ => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sectors_are_counted_in_bytes() {
        let text = "     100        3     2048       17      200       4     4096       9   0  1  2 0 0 0 0 0 0\n";
        assert_eq!(sectors(text), Some((2048 * 512, 4096 * 512)));
        assert_eq!(sectors("1 2 3"), None);
        assert_eq!(sectors(""), None);
    }
}
