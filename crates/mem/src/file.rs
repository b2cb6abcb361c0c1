//! Shared memory and files: memory that a file stands for, and transfers between files and memory with
//! no copy in between.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use memmap2::MmapOptions;

use crate::{OutOfBounds, SharedMemory};

impl SharedMemory {
    /// Maps the first `len` bytes of a file that is open for reading and writing: of a device's
    /// `p2pmem/allocate`, for instance, where every mapping is memory of its own.
    ///
    /// If what is behind the file goes away (it is truncated, the device is unbound), a later access
    /// ends the process with SIGBUS.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn map_file(file: &File, len: usize) -> io::Result<Self> {
        Self::map_file_at(file, 0, len)
    }

    /// As [`SharedMemory::map_file`], from byte `position` of the file on.
    ///
    /// # Errors
    /// What the operating system says.
    pub fn map_file_at(file: &File, position: u64, len: usize) -> io::Result<Self> {
        let mapping = MmapOptions::new().offset(position).len(len).map_raw(file)?;
        Ok(Self { mapping: Arc::new(mapping), start: 0, len })
    }

    /// Reads a file from byte `position` on, straight into these bytes: with a file that is open for
    /// direct I/O that is one transfer of its device into this memory (pread(2)). Returns how many bytes
    /// came.
    ///
    /// # Errors
    /// What the operating system says; [`OutOfBounds`], in an error of the kind `InvalidInput`.
    pub fn read_file(&self, range: Range<usize>, file: &File, position: u64) -> io::Result<usize> {
        let (at, len, position) = self.transfer(range, position)?;
        // SAFETY: `at` is valid for `len` bytes by the check, as long as `self` lives. The kernel writes
        // to them as any other party may.
        let count = unsafe { libc::pread(file.as_raw_fd(), at.cast(), len, position) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Writes these bytes to a file from byte `position` on, straight from here (pwrite(2)). Returns how
    /// many bytes went.
    ///
    /// # Errors
    /// As [`SharedMemory::read_file`].
    pub fn write_file(&self, range: Range<usize>, file: &File, position: u64) -> io::Result<usize> {
        let (at, len, position) = self.transfer(range, position)?;
        // SAFETY: `at` is valid for `len` bytes by the check, as long as `self` lives. The kernel reads
        // them as any other party may.
        let count = unsafe { libc::pwrite(file.as_raw_fd(), at.cast(), len, position) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Reads a file from byte `position` on into all of these memories, one after the other, with one
    /// call (preadv(2)). Returns how many bytes came.
    ///
    /// # Errors
    /// What the operating system says; it takes 1024 memories at most.
    pub fn read_file_vectored(parts: &[&Self], file: &File, position: u64) -> io::Result<usize> {
        let (vectors, count, position) = vectored(parts, position)?;
        // SAFETY: each vector is a memory that its handle in `parts` keeps mapped during the call. The
        // kernel writes to them as any other party may.
        let count = unsafe { libc::preadv(file.as_raw_fd(), vectors.as_ptr(), count, position) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    /// Writes all of these memories to a file from byte `position` on, one after the other, with one call
    /// (pwritev(2)). Returns how many bytes went.
    ///
    /// # Errors
    /// As [`SharedMemory::read_file_vectored`].
    pub fn write_file_vectored(parts: &[&Self], file: &File, position: u64) -> io::Result<usize> {
        let (vectors, count, position) = vectored(parts, position)?;
        // SAFETY: each vector is a memory that its handle in `parts` keeps mapped during the call. The
        // kernel reads them as any other party may.
        let count = unsafe { libc::pwritev(file.as_raw_fd(), vectors.as_ptr(), count, position) };
        usize::try_from(count).map_err(|_| io::Error::last_os_error())
    }

    fn transfer(&self, range: Range<usize>, position: u64) -> io::Result<(*mut u8, usize, i64)> {
        let outside = |error: OutOfBounds| io::Error::new(io::ErrorKind::InvalidInput, error);
        let part = self.slice(range).map_err(outside)?;
        Ok((part.base(), part.len(), offset(position)?))
    }
}

/// Memories as the kernel is told of them, how many there are, and where in the file they begin.
fn vectored(
    parts: &[&SharedMemory],
    position: u64,
) -> io::Result<(Vec<libc::iovec>, libc::c_int, i64)> {
    let vector =
        |part: &&SharedMemory| libc::iovec { iov_base: part.base().cast(), iov_len: part.len() };
    let vectors: Vec<libc::iovec> = parts.iter().map(vector).collect();
    let count = libc::c_int::try_from(vectors.len())
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    Ok((vectors, count, offset(position)?))
}

fn offset(position: u64) -> io::Result<i64> {
    i64::try_from(position)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a position beyond any file"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn a_mapping_and_its_file_are_the_same_bytes() {
        let file = file(&[0; 8192]);
        let memory = SharedMemory::map_file(&file, 8192).unwrap();
        memory.write(5000, b"peer").unwrap();
        let copy = SharedMemory::anonymous(8192).unwrap();
        assert_eq!(copy.read_file(4096..8192, &file, 4096).unwrap(), 4096);
        let mut back = [0; 4];
        copy.read(5000, &mut back).unwrap();
        assert_eq!(&back, b"peer");
    }

    #[test]
    fn bytes_go_to_a_file_and_come_back_as_far_as_it_is_long() {
        let file = file(b"");
        let memory = SharedMemory::anonymous(100).unwrap();
        memory.write(10, b"hello").unwrap();
        assert_eq!(memory.write_file(10..15, &file, 3).unwrap(), 5);
        assert_eq!(memory.read_file(50..100, &file, 4).unwrap(), 4);
        let mut back = [0; 5];
        memory.read(50, &mut back).unwrap();
        assert_eq!(&back, b"ello\0");
        assert_eq!(memory.read_file(0..100, &file, 8).unwrap(), 0);
    }

    #[test]
    fn one_call_fills_several_memories_and_a_mapping_may_begin_anywhere() {
        let mut content = vec![7; 4096];
        content.extend(b"one, two");
        let file = file(&content);
        let (first, second) = (SharedMemory::anonymous(3), SharedMemory::anonymous(100));
        let (first, second) = (first.unwrap(), second.unwrap());
        let count = SharedMemory::read_file_vectored(&[&first, &second], &file, 4096).unwrap();
        let mut back = [0; 5];
        second.read(0, &mut back).unwrap();
        assert_eq!((count, &back), (8, b", two"));
        assert!(SharedMemory::read_file_vectored(&[&first], &file, u64::MAX).is_err());
        let count = SharedMemory::write_file_vectored(&[&second, &first], &file, 5000).unwrap();
        let again = SharedMemory::anonymous(103).unwrap();
        assert_eq!((count, again.read_file(0..103, &file, 5000).unwrap()), (103, 103));
        again.read(0, &mut back).unwrap();
        assert_eq!(&back, b", two");
        assert!(SharedMemory::write_file_vectored(&[&first], &file, u64::MAX).is_err());
        let tail = SharedMemory::map_file_at(&file, 4096, 8).unwrap();
        tail.read(3, &mut back).unwrap();
        assert_eq!(&back, b", two");
    }

    #[test]
    fn what_does_not_fit_is_refused_and_errors_of_the_system_are_passed_on() {
        let file = file(b"x");
        let memory = SharedMemory::anonymous(100).unwrap();
        for (range, position) in [(0..101, 0), (90..usize::MAX, 0), (0..1, u64::MAX)] {
            let error = memory.read_file(range.clone(), &file, position).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            assert!(memory.write_file(range, &file, position).is_err());
        }
        let only_to_read = File::open("/proc/self/stat").unwrap();
        assert!(memory.write_file(0..1, &only_to_read, 0).unwrap_err().raw_os_error().is_some());
        assert!(SharedMemory::map_file(&only_to_read, 4096).is_err());
    }
}
