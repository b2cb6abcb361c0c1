//! A medium in a sparse file, which persists between runs.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::ops::{ControlFlow, Range};
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, SeekFrom, fallocate, seek};
use rustix::io::Errno;

use super::{Fill, Media, MediaError, Take, ZEROES, length, take_zeroes};
use crate::Error;

/// The file is read and written in pieces of this size.
const PIECE: usize = 256 << 10;

/// The file's bytes are the blocks, in order, without any header: a plain image.
///
/// Zeroes that are written to a hole leave it one, so that a copy of a sparse namespace is sparse. Other
/// data pay nothing for that: only zeroes make the file be asked for its holes.
#[derive(Debug)]
pub(crate) struct FileMedia {
    file: File,
    scratch: Box<[u8]>,
    /// A hole, found when something within it was last looked at. The file is locked: nobody else fills it.
    hole: Range<u64>,
    /// Its length in bytes when it was opened; `None` if it was made then.
    found: Option<u64>,
}

impl FileMedia {
    /// Opens a file that has `capacity` bytes, or makes it. It is locked for as long as it is open.
    pub(crate) fn open(path: &Path, capacity: u64) -> Result<Self, Error> {
        let media = Self::lock(path, capacity)?;
        media.check_whole(path, capacity)?;
        media.extend(path, capacity)?;
        Ok(media)
    }

    /// The first half: a file that is not too long, or new, and nothing is changed.
    pub(crate) fn lock(path: &Path, capacity: u64) -> Result<Self, Error> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let (file, is_new) = open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::FileInUse { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(Error::FileKind { path: path.to_owned(), kind: "no regular file" });
        }
        let len = metadata.len();
        if len > capacity {
            let path = path.to_owned();
            return Err(Error::FileTooLong { path, len, expected: capacity });
        }
        // Whoever else made use of it first, before it was locked here, found it made.
        let found = (!is_new || len > 0).then_some(len);
        Ok(Self { file, scratch: vec![0; PIECE].into(), hole: 0..0, found })
    }

    /// Without a note beside it, a file that has bytes is taken only if it has all of them: it may be
    /// somebody else's.
    pub(crate) fn check_whole(&self, path: &Path, capacity: u64) -> Result<(), Error> {
        match self.found {
            Some(len) if len > 0 && len != capacity => {
                Err(Error::FileForeign { path: path.to_owned(), len, expected: capacity })
            }
            _ => Ok(()),
        }
    }

    /// The second half: the file gets its length, by a hole at its end.
    pub(crate) fn extend(&self, path: &Path, capacity: u64) -> Result<(), Error> {
        self.file.set_len(capacity).map_err(|source| Error::File { path: path.to_owned(), source })
    }

    /// How many bytes the file had when it was opened; `None` if it was made then.
    pub(crate) fn found(&self) -> Option<u64> {
        self.found
    }

    /// Whether a range is known to lie in a hole.
    fn in_hole(&self, at: u64, len: usize) -> bool {
        self.hole.start <= at && at + len as u64 <= self.hole.end
    }

    /// Whether a range lies in a hole; remembers how far that goes. A file system that cannot tell says
    /// that there are data.
    fn find_hole(&mut self, at: u64, len: usize) -> bool {
        if !self.in_hole(at, len) {
            match seek(&self.file, SeekFrom::Data(at)) {
                Ok(data) => self.hole = at..data,
                // Nothing but a hole up to the end of the file.
                Err(Errno::NXIO) => self.hole = at..u64::MAX,
                Err(_) => return false,
            }
        }
        self.in_hole(at, len)
    }

    /// A range is about to be filled: the longer rest of the hole remains.
    fn fill_hole(&mut self, at: u64, len: usize) {
        let Range { start, end } = self.hole;
        let after = at + len as u64;
        if at < end && start < after {
            let (before, behind) = (start..at.max(start), after.min(end)..end);
            let longer = before.end - before.start > behind.end - behind.start;
            self.hole = if longer { before } else { behind };
        }
    }

    /// Makes a range zero without holes, where the file system has none: all of the file by cutting it.
    fn zero(&mut self, at: u64, len: u64) -> io::Result<()> {
        if at == 0 && len == self.file.metadata()?.len() {
            self.file.set_len(0)?;
            return self.file.set_len(len);
        }
        for (offset, part) in parts(at, len) {
            for start in (0..part).step_by(ZEROES.len()) {
                let piece = &ZEROES[..ZEROES.len().min(part - start)];
                self.file.write_all_at(piece, offset + start as u64)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, at: u64, len: usize) -> io::Result<()> {
        if is_zero(&self.scratch[..len]) && self.find_hole(at, len) {
            return Ok(());
        }
        self.fill_hole(at, len);
        self.file.write_all_at(&self.scratch[..len], at)
    }
}

/// Opens a file, or makes it, and says whether it did.
fn open(path: &Path) -> io::Result<(File, bool)> {
    let mut options = OpenOptions::new();
    options.read(true).write(true);
    match options.clone().create_new(true).open(path) {
        Ok(file) => Ok((file, true)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Ok((options.open(path)?, false))
        }
        Err(error) => Err(error),
    }
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.chunks(ZEROES.len()).all(|chunk| *chunk == ZEROES[..chunk.len()])
}

/// The parts of a range: offset and length, each at most a scratch buffer long.
fn parts(at: u64, len: u64) -> impl Iterator<Item = (u64, usize)> {
    let end = at + len;
    let part = move |start: u64| (start, length(end - start).min(PIECE));
    (at..end).step_by(PIECE).map(part)
}

impl Media for FileMedia {
    fn holds_data(&self) -> bool {
        true
    }

    fn read(&mut self, at: u64, len: u64, take: &mut Take<'_>) -> Result<(), MediaError> {
        for (offset, part) in parts(at, len) {
            let flow = if self.in_hole(offset, part) {
                take_zeroes(part as u64, take)
            } else {
                let piece = &mut self.scratch[..part];
                self.file.read_exact_at(piece, offset)?;
                let flow = take(piece);
                if is_zero(piece) {
                    self.find_hole(offset, part);
                }
                flow
            };
            if flow == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn write(&mut self, at: u64, len: u64, fill: &mut Fill<'_>) -> Result<(), MediaError> {
        for (offset, part) in parts(at, len) {
            if fill(&mut self.scratch[..part]) == ControlFlow::Break(()) {
                break;
            }
            self.put(offset, part)?;
        }
        Ok(())
    }

    /// Punches a hole; where the file system cannot, writes zeroes.
    fn discard(&mut self, at: u64, len: u64) -> Result<(), MediaError> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&self.file, flags, at, len) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP) => Ok(self.zero(at, len)?),
            Err(error) => Err(io::Error::from(error).into()),
        }
    }

    /// A file is made durable as a whole.
    fn flush(&mut self, _: u64, _: u64) -> Result<(), MediaError> {
        Ok(self.file.sync_data()?)
    }

    /// The fabric's loss of power is not the machine's: the file stays as it is.
    fn power_cut(&mut self) {}
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::super::Chance;
    use super::*;

    const CAPACITY: u64 = 8 << 20;

    fn write(media: &mut FileMedia, at: u64, data: &[u8]) {
        let mut rest = data;
        let written = media.write(at, data.len() as u64, &mut |piece| {
            let (now, later) = rest.split_at(piece.len());
            piece.copy_from_slice(now);
            rest = later;
            ControlFlow::Continue(())
        });
        written.unwrap();
    }

    fn read(media: &mut FileMedia, at: u64, len: usize) -> Vec<u8> {
        let mut data = Vec::new();
        let mut take = |piece: &[u8]| {
            data.extend_from_slice(piece);
            ControlFlow::Continue(())
        };
        media.read(at, len as u64, &mut take).unwrap();
        data
    }

    #[test]
    fn zeroes_in_a_hole_cost_nothing_and_over_data_they_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ns");
        let mut media = FileMedia::open(&path, CAPACITY).unwrap();
        write(&mut media, 0, &vec![0; length(CAPACITY)]);
        assert_eq!(media.file.metadata().unwrap().blocks(), 0);
        write(&mut media, 1 << 20, &[7; 8192]);
        write(&mut media, 1 << 20, &[0; 4096]);
        assert_eq!(read(&mut media, 1 << 20, 8192), [[0; 4096], [7; 4096]].concat());
        assert!(media.file.metadata().unwrap().blocks() * 512 <= 64 << 10);
    }

    #[test]
    fn zeroes_without_holes() {
        let folder = tempfile::tempdir().unwrap();
        let mut media = FileMedia::open(&folder.path().join("ns"), CAPACITY).unwrap();
        write(&mut media, 0, &vec![7; length(CAPACITY)]);
        media.zero(4096, CAPACITY - 8192).unwrap();
        let mut expected = vec![0; length(CAPACITY)];
        expected[..4096].fill(7);
        expected[length(CAPACITY) - 4096..].fill(7);
        assert!(read(&mut media, 0, expected.len()) == expected);
        media.zero(0, CAPACITY).unwrap();
        expected.fill(0);
        assert!(read(&mut media, 0, expected.len()) == expected);
    }

    /// Blocks of zeroes and of data, discards and reads against a copy in memory.
    #[test]
    fn holes_and_data_in_any_order_read_as_written() {
        const BLOCK: usize = 4096;
        let folder = tempfile::tempdir().unwrap();
        let mut media = FileMedia::open(&folder.path().join("ns"), CAPACITY).unwrap();
        let mut shadow = vec![0; length(CAPACITY)];
        let mut chance = Chance(1);
        let mut number = |bits: u32| (0..bits).fold(0, |n, _| n << 1 | usize::from(chance.flip()));
        let steps = 4000;
        for step in 0..steps {
            let first = number(11);
            let count = (number(7) + 1).min(length(CAPACITY) / BLOCK - first);
            let (at, len) = (first * BLOCK, count * BLOCK);
            let range = at..at + len;
            match number(2) {
                0 => media.discard(at as u64, len as u64).unwrap(),
                1 => write(&mut media, at as u64, &vec![0; len]),
                2 => {
                    let byte = u8::try_from(step % 255).unwrap() + 1;
                    shadow[range].fill(byte);
                    write(&mut media, at as u64, &vec![byte; len]);
                    continue;
                }
                _ => {
                    assert!(read(&mut media, at as u64, len) == shadow[range], "step {step}");
                    continue;
                }
            }
            shadow[range].fill(0);
        }
        assert!(read(&mut media, 0, shadow.len()) == shadow);
        println!("cases: {steps}");
    }
}
