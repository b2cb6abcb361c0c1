//! Which parts of a file have data. A hole has none: reading it yields zeroes that no device has sent.

use std::io;

use rustix::fs::SeekFrom;
use rustix::io::Errno;

use super::DirectFile;

/// A part of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Its first byte.
    pub start: u64,
    /// Its length in bytes.
    pub len: u64,
    /// Whether it has data; if not, it is a hole, or space that was reserved and never written.
    pub data: bool,
}

/// The parts of a range of a file, in order and without gaps (lseek(2), `SEEK_DATA`). A block device has
/// data everywhere.
///
/// # Errors
/// What the operating system says.
pub fn extents(file: &DirectFile, range: std::ops::Range<u64>) -> io::Result<Vec<Extent>> {
    let whole =
        Extent { start: range.start, len: range.end.saturating_sub(range.start), data: true };
    if file.is_block() || whole.len == 0 {
        return Ok(vec![whole]);
    }
    let mut parts: Vec<Extent> = Vec::new();
    let mut at = range.start;
    while at < range.end {
        let begin = seek(file, SeekFrom::Data(at))?.unwrap_or(range.end).min(range.end);
        push(&mut parts, at, begin, false);
        if begin == range.end {
            break;
        }
        let end = seek(file, SeekFrom::Hole(begin))?.unwrap_or(range.end).min(range.end);
        push(&mut parts, begin, end, true);
        if end <= at {
            break;
        }
        at = end;
    }
    Ok(parts)
}

fn push(parts: &mut Vec<Extent>, start: u64, end: u64, data: bool) {
    if end > start {
        parts.push(Extent { start, len: end - start, data });
    }
}

/// `None` if there is no such place up to the end of the file.
fn seek(file: &DirectFile, to: SeekFrom) -> io::Result<Option<u64>> {
    match rustix::fs::seek(file.file(), to) {
        Ok(at) => Ok(Some(at)),
        Err(Errno::NXIO) => Ok(None),
        // The file system does not tell: all of it counts as data.
        Err(Errno::INVAL) => Ok(match to {
            SeekFrom::Data(at) => Some(at),
            _ => None,
        }),
        Err(errno) => Err(errno.into()),
    }
}
