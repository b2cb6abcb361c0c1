//! The staging check: what the page cache says about a transfer that was to be direct.
//!
//! A full count proves nothing: the kernel stages what cannot go directly, and reports success. Staged bytes
//! pass through pages of the page cache. Some stay there and are seen afterwards; the rest was counted as it
//! came in. What block devices and the machine as a whole count (`/sys/block/*/stat`, `/proc/vmstat`) is no
//! proof: the former do not tell the two ways apart, and the latter has everybody's in it.

use std::io;
use std::sync::Arc;

use rustix::fs::Advice;

use super::DirectFile;
use super::insertions::Insertions;
use super::residency::{self, Means};

/// What was seen of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Bytes of it in the page cache now, or until they were pushed out lately; `None` if the kernel does not
    /// tell.
    pub cached: Option<u64>,
    /// Bytes of it that this process has put into the page cache since the watch began, at least so many;
    /// `None` if that is not counted.
    pub inserted: Option<u64>,
}

impl Seen {
    /// How much more is in the page cache than `before`, or was put there meanwhile if that is counted: so much
    /// at least. `None` if the page cache does not tell.
    #[must_use]
    pub fn staged_since(&self, before: &Self) -> Option<u64> {
        let cached = self.cached?.saturating_sub(before.cached?);
        let inserted = self.inserted.zip(before.inserted);
        Some(inserted.map_or(cached, |(now, before)| cached.max(now.saturating_sub(before))))
    }
}

/// Why what is staged of a file may not be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blind {
    /// The page cache does not tell what it has of the file: it is somebody else's.
    Resident,
    /// Only root may have counted what goes into the page cache.
    NotRoot,
    /// This kernel does not count that: it has no tracepoints.
    NoTracepoints,
}

impl std::fmt::Display for Blind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Resident => {
                "the page cache does not tell what it has of a file of somebody else's"
            }
            Self::NotRoot => "only root may have counted what goes into the page cache",
            Self::NoTracepoints => "this kernel does not count what goes into its page cache",
        })
    }
}

/// Looks at a file.
#[derive(Debug)]
pub struct Watch {
    file: Arc<DirectFile>,
    /// How the page cache is asked; `None` if it does not tell.
    means: Option<Means>,
    insertions: Result<Insertions, Blind>,
}

impl Watch {
    /// Begins to watch: what the page cache has of the file is written back and let go first, so that what is
    /// there later was put there meanwhile. What would stay could serve a read that was to be direct, and no trace
    /// of that would be left.
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
        let insertions = Insertions::of(file.cached()).map_err(|error| match error.kind() {
            io::ErrorKind::PermissionDenied => Blind::NotRoot,
            _ => Blind::NoTracepoints,
        });
        Ok(Self { file: Arc::clone(file), means, insertions })
    }

    /// How the page cache is asked; `None` if it does not tell: what is staged is not seen.
    #[must_use]
    pub const fn means(&self) -> Option<Means> {
        self.means
    }

    /// Why something that is staged may not be seen; `None` if all is.
    #[must_use]
    pub fn blind(&self) -> Option<Blind> {
        match (self.means, &self.insertions) {
            (None, _) => Some(Blind::Resident),
            (_, Err(blind)) => Some(*blind),
            (Some(_), Ok(_)) => None,
        }
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
        let cached = match self.means {
            None => None,
            Some(Means::Cachestat) => residency::cachestat(self.file.cached())?,
            Some(Means::Mincore) => {
                Some(residency::mincore(self.file.cached(), self.file.size_now()?)?)
            }
        };
        let pages = self.insertions.as_ref().ok().map(Insertions::count).transpose()?;
        let inserted = pages.map(|pages| pages.saturating_mul(residency::page()));
        Ok(Seen { cached, inserted })
    }
}

/// Whether mincore(2) tells: what it says is in the page cache in spite of all was not all let go, or it is not
/// for the caller to know.
fn tells(file: &DirectFile) -> io::Result<bool> {
    let size = file.size_now()?;
    Ok(size == 0 || residency::mincore(file.cached(), size)? < size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_went_counts_as_what_stayed_does() {
        let seen = |cached, inserted| Seen { cached, inserted };
        let before = seen(Some(4096), Some(4096));
        assert_eq!(seen(Some(4096), Some(4096)).staged_since(&before), Some(0));
        assert_eq!(seen(Some(8192), Some(4096)).staged_since(&before), Some(4096));
        assert_eq!(seen(Some(0), Some(12288)).staged_since(&before), Some(8192));
        assert_eq!(seen(Some(8192), None).staged_since(&before), Some(4096));
        assert_eq!(seen(None, Some(4096)).staged_since(&before), None);
    }
}
