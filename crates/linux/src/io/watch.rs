//! The staging check: what the page cache and the block layer say about a transfer that was to be direct.
//!
//! A full count proves nothing: the kernel stages what cannot go directly, and reports success. Staged bytes
//! leave pages in the page cache, and bytes that came from no device are missing in its counters.

use std::io;
use std::sync::Arc;

use rustix::fs::Advice;

use super::DirectFile;
use super::residency::{self, Means};

/// What was seen of a file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Of the file, in the page cache now or until it was pushed out lately; `None` if the kernel does not
    /// tell.
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
    /// How the page cache is asked; `None` if it does not tell.
    means: Option<Means>,
}

impl Watch {
    /// Begins to watch: what the page cache has of the file is written back and let go first, so that what is
    /// there later was put there meanwhile.
    ///
    /// # Errors
    /// What writing back says.
    pub fn begin(file: &Arc<DirectFile>) -> io::Result<Self> {
        Self::begin_by(file, Means::Cachestat)
    }

    /// As [`Watch::begin`], by a given system call: mincore(2) is taken anyway where there is no cachestat(2).
    ///
    /// # Errors
    /// As [`Watch::begin`].
    pub fn begin_by(file: &Arc<DirectFile>, means: Means) -> io::Result<Self> {
        file.sync()?;
        rustix::fs::fadvise(file.cached(), 0, None, Advice::DontNeed)?;
        let means = match means {
            Means::Cachestat if residency::cachestat(file.cached())?.is_some() => Some(means),
            _ => tells(file)?.then_some(Means::Mincore),
        };
        Ok(Self { file: Arc::clone(file), means })
    }

    /// How the page cache is asked; `None` if it does not tell: what is staged is not seen.
    #[must_use]
    pub const fn means(&self) -> Option<Means> {
        self.means
    }

    /// The file.
    #[must_use]
    pub fn file(&self) -> &DirectFile {
        &self.file
    }

    /// What is seen now.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn look(&self) -> io::Result<Seen> {
        let (major, minor) = self.file.device();
        let stat = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/stat"));
        let (read, written) = stat.ok().and_then(|text| sectors(&text)).unzip();
        let cached = match self.means {
            None => None,
            Some(Means::Cachestat) => residency::cachestat(self.file.cached())?,
            Some(Means::Mincore) => {
                Some(residency::mincore(self.file.cached(), self.file.size_now()?)?)
            }
        };
        Ok(Seen { cached, read, written })
    }
}

/// Whether mincore(2) tells: what it says is in the page cache in spite of all was not all let go, or it is not
/// for the caller to know.
fn tells(file: &DirectFile) -> io::Result<bool> {
    let size = file.size_now()?;
    Ok(size == 0 || residency::mincore(file.cached(), size)? < size)
}

/// Bytes read and written: the third and seventh number, in sectors of 512 bytes
/// (Documentation/block/stat.rst).
fn sectors(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_ascii_whitespace().map(str::parse::<u64>);
    let read = numbers.nth(2)?.ok()?;
    let written = numbers.nth(3)?.ok()?;
    Some((read.checked_mul(512)?, written.checked_mul(512)?))
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
