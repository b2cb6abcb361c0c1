//! A medium in a sparse file, which persists between runs.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;

use super::{Fill, Media, MediaError, Take, ZEROES, length};
use crate::Error;

/// The file is read and written in pieces of this size.
const PIECE: usize = 256 << 10;

/// The file's bytes are the blocks, in order, without any header: a plain image.
#[derive(Debug)]
pub(crate) struct FileMedia {
    file: File,
    scratch: Box<[u8]>,
}

impl FileMedia {
    /// Opens a file, or makes it, with `capacity` bytes. It is locked for as long as it is open.
    pub(crate) fn open(path: &Path, capacity: u64) -> Result<Self, Error> {
        let failed = |source| Error::File { path: path.to_owned(), source };
        let open =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
        let file = open.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::FileInUse { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let len = file.metadata().map_err(failed)?.len();
        if len > capacity {
            let path = path.to_owned();
            return Err(Error::FileTooLong { path, len, expected: capacity });
        }
        if len < capacity {
            file.set_len(capacity).map_err(failed)?;
        }
        Ok(Self { file, scratch: vec![0; PIECE].into() })
    }
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
            let piece = &mut self.scratch[..part];
            self.file.read_exact_at(piece, offset)?;
            if take(piece) == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    fn write(&mut self, at: u64, len: u64, fill: &mut Fill<'_>) -> Result<(), MediaError> {
        for (offset, part) in parts(at, len) {
            let piece = &mut self.scratch[..part];
            if fill(piece) == ControlFlow::Break(()) {
                break;
            }
            self.file.write_all_at(piece, offset)?;
        }
        Ok(())
    }

    /// Punches a hole; where the file system cannot, writes zeroes.
    fn discard(&mut self, at: u64, len: u64) -> Result<(), MediaError> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match fallocate(&self.file, flags, at, len) {
            Ok(()) => Ok(()),
            Err(Errno::OPNOTSUPP) => {
                for (offset, part) in parts(at, len) {
                    for start in (0..part).step_by(ZEROES.len()) {
                        let piece = &ZEROES[..ZEROES.len().min(part - start)];
                        self.file.write_all_at(piece, offset + start as u64)?;
                    }
                }
                Ok(())
            }
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
