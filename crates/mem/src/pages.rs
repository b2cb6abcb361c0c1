//! What may be asked of the operating system about the pages behind shared memory.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;

use crate::{OutOfBounds, SharedMemory};

impl SharedMemory {
    /// Gives the pages of a range back (`MADV_DONTNEED` of madvise(2)). Anonymous memory is zero after
    /// that; a mapped file is as the file is; with memory that a device lends, a later access ends the
    /// process with SIGBUS. The range begins at a page.
    ///
    /// # Errors
    /// What the operating system says; [`OutOfBounds`], in an error of the kind `InvalidInput`.
    pub fn discard(&self, range: Range<usize>) -> io::Result<()> {
        let part = self.part(range)?;
        // SAFETY: the range is within the mapping, of which nobody holds references: other content, or a
        // fault that ends the process, is what every party has to expect of such memory.
        done(unsafe { libc::madvise(part.base().cast(), part.len(), libc::MADV_DONTNEED) })
    }

    /// Keeps the pages of a range in memory for as long as they are mapped (mlock(2)).
    ///
    /// # Errors
    /// As [`SharedMemory::discard`].
    pub fn lock(&self, range: Range<usize>) -> io::Result<()> {
        let part = self.part(range)?;
        // SAFETY: the range is within the mapping; no byte of it changes.
        done(unsafe { libc::mlock(part.base().cast(), part.len()) })
    }

    /// Puts the pages of a range themselves into a pipe, without a copy (vmsplice(2)). Returns how many
    /// bytes went.
    ///
    /// # Errors
    /// As [`SharedMemory::discard`].
    pub fn splice(&self, range: Range<usize>, pipe: &File) -> io::Result<usize> {
        let part = self.part(range)?;
        let vector = libc::iovec { iov_base: part.base().cast(), iov_len: part.len() };
        // SAFETY: the vector is within the mapping. The kernel holds the pages for as long as the pipe
        // has them; whoever reads them from it sees what is in them then, as every other party does.
        let count = unsafe { libc::vmsplice(pipe.as_raw_fd(), &raw const vector, 1, 0) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Which pages of a range are in memory (mincore(2)): of a mapped file, those that the page cache has.
    /// The range begins at a page.
    ///
    /// # Errors
    /// As [`SharedMemory::discard`].
    pub fn resident(&self, range: Range<usize>) -> io::Result<Vec<bool>> {
        let part = self.part(range)?;
        let mut pages = vec![0_u8; part.len().div_ceil(page_size())];
        // SAFETY: the range is within the mapping, and there is a byte for each of its pages.
        done(unsafe { libc::mincore(part.base().cast(), part.len(), pages.as_mut_ptr()) })?;
        Ok(pages.into_iter().map(|page| page & 1 == 1).collect())
    }

    fn part(&self, range: Range<usize>) -> io::Result<Self> {
        let outside = |error: OutOfBounds| io::Error::new(io::ErrorKind::InvalidInput, error);
        self.slice(range).map_err(outside)
    }
}

/// The size of a page in bytes.
fn page_size() -> usize {
    // SAFETY: this has no preconditions.
    let size = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    // It is known everywhere; the smallest one that there is makes room for too many answers.
    usize::try_from(size).unwrap_or(4096)
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn pages_are_given_back_and_stay_locked() {
        let memory = SharedMemory::anonymous(8192).unwrap();
        memory.fill(0, 8192, 7).unwrap();
        memory.discard(4096..8192).unwrap();
        let mut back = [1; 2];
        memory.read(4095, &mut back).unwrap();
        assert_eq!(back, [7, 0]);
        memory.lock(0..4096).unwrap();
        for range in [0..8193, 1..usize::MAX] {
            assert_eq!(memory.lock(range.clone()).unwrap_err().kind(), io::ErrorKind::InvalidInput);
            assert!(memory.discard(range).is_err());
        }
        assert!(memory.discard(1..2).unwrap_err().raw_os_error().is_some());
    }

    #[test]
    fn what_was_touched_is_in_memory() {
        let page = page_size();
        let memory = SharedMemory::anonymous(3 * page).unwrap();
        memory.fill(page, 1, 7).unwrap();
        assert_eq!(memory.resident(0..3 * page).unwrap(), [false, true, false]);
        assert_eq!(memory.resident(page..page + 1).unwrap(), [true]);
        assert!(memory.resident(1..2).unwrap_err().raw_os_error().is_some());
    }

    #[test]
    fn a_pipe_gets_the_bytes_and_other_files_do_not() {
        let memory = SharedMemory::anonymous(100).unwrap();
        memory.write(90, b"peer").unwrap();
        let (mut reader, writer) = io::pipe().unwrap();
        let writer = File::from(std::os::fd::OwnedFd::from(writer));
        assert_eq!(memory.splice(90..94, &writer).unwrap(), 4);
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "peer");
        let file = tempfile::tempfile().unwrap();
        assert!(memory.splice(0..1, &file).unwrap_err().raw_os_error().is_some());
    }
}
