//! What is read and written: a block device or a file, with content that is known.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use p2pdma_mem::SharedMemory;
use rustix::fs::OFlags;

use crate::Setup;

/// How much of it has known content.
pub(crate) const KNOWN: usize = 1 << 17;
const POISON: u8 = 0xa5;
const PAGE: u64 = 4096;

/// A block device or file, open twice.
pub(crate) struct Target {
    pub(crate) direct: File,
    pub(crate) buffered: File,
}

impl Target {
    /// A block device, its beginning written over.
    pub(crate) fn device(path: &Path) -> Setup<Self> {
        let target = Self::open(path, false)?;
        target.restore()?;
        Ok(target)
    }

    /// A new file, empty.
    pub(crate) fn file(path: &Path) -> Setup<Self> {
        Ok(Self::open(path, true)?)
    }

    fn open(path: &Path, create: bool) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(create);
        let buffered = options.open(path)?;
        let direct = options.create_new(false).custom_flags(OFlags::DIRECT.bits().cast_signed());
        Ok(Self { direct: direct.open(path)?, buffered })
    }

    /// Writes the known content, by way of host memory.
    pub(crate) fn restore(&self) -> Setup<()> {
        let memory = SharedMemory::anonymous(KNOWN)?;
        memory.write(0, &content(0, KNOWN))?;
        match memory.write_file(0..KNOWN, &self.direct, 0)? {
            KNOWN => Ok(()),
            count => Err(format!("{count} bytes were written").into()),
        }
    }

    /// Reads what is known there into all of a memory.
    pub(crate) fn read(&self, memory: &SharedMemory, position: u64) -> io::Result<String> {
        self.check(&[memory], position, || {
            memory.read_file(0..memory.len(), &self.direct, position)
        })
    }

    /// Reads with one call into several memories.
    pub(crate) fn read_vectored(&self, parts: &[&SharedMemory]) -> io::Result<String> {
        self.check(parts, 0, || SharedMemory::read_file_vectored(parts, &self.direct, 0))
    }

    /// Reads without direct I/O.
    pub(crate) fn read_buffered(&self, memory: &SharedMemory) -> io::Result<String> {
        self.check(&[memory], 0, || memory.read_file(0..memory.len(), &self.buffered, 0))
    }

    /// Lets a read happen, and looks at the bytes.
    pub(crate) fn check(
        &self,
        parts: &[&SharedMemory],
        position: u64,
        read: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<String> {
        let mut wanted = 0;
        for memory in parts {
            memory.fill(0, memory.len(), POISON).map_err(io::Error::other)?;
            wanted += memory.len();
        }
        drop_caches()?;
        let count = read()?;
        let staged = self.is_staged(position / PAGE * PAGE + last_page(wanted))?;
        let mut bytes = Vec::new();
        for memory in parts {
            bytes.extend(copy(memory)?);
        }
        Ok(result(count == wanted, bytes == content(position, wanted), staged))
    }

    /// Writes all of a memory to the beginning, and looks at what is there then.
    pub(crate) fn write(&self, memory: &SharedMemory) -> io::Result<String> {
        self.check_write(memory, || memory.write_file(0..memory.len(), &self.direct, 0))
    }

    /// Writes without direct I/O.
    pub(crate) fn write_buffered(&self, memory: &SharedMemory) -> io::Result<String> {
        self.check_write(memory, || memory.write_file(0..memory.len(), &self.buffered, 0))
    }

    /// Lets a write of all of a memory happen, and looks at what is there then.
    pub(crate) fn check_write(
        &self,
        memory: &SharedMemory,
        write: impl FnOnce() -> io::Result<usize>,
    ) -> io::Result<String> {
        let new: Vec<u8> = content(0, memory.len()).iter().map(|byte| !byte).collect();
        memory.write(0, &new).map_err(io::Error::other)?;
        drop_caches()?;
        let count = write()?;
        let staged = self.is_staged(0)?;
        self.buffered.sync_all()?;
        let back = SharedMemory::anonymous(memory.len())?;
        back.read_file(0..memory.len(), &self.direct, 0)?;
        let found = copy(&back)?;
        let lost = count == memory.len() && found == content(0, count);
        self.restore().map_err(|error| io::Error::other(error.to_string()))?;
        if lost {
            return Ok("lost".to_owned());
        }
        Ok(result(count == memory.len(), found == new, staged))
    }

    /// Whether the page cache has the bytes at a position.
    fn is_staged(&self, position: u64) -> io::Result<bool> {
        let mapping = SharedMemory::map_file_at(&self.buffered, position, 1)?;
        Ok(mapping.resident(0..1)?.contains(&true))
    }
}

fn result(complete: bool, right: bool, staged: bool) -> String {
    let word = match (complete, right) {
        (false, _) => "short",
        (true, true) => "ok",
        (true, false) => "wrong",
    };
    format!("{word}{}", if staged { " staged" } else { "" })
}

/// The known content.
pub(crate) fn content(position: u64, len: usize) -> Vec<u8> {
    let byte = |at: u64| (at.wrapping_mul(0x9e37_79b9) >> 13).to_le_bytes()[0];
    (position..).take(len).map(byte).collect()
}

pub(crate) fn copy(memory: &SharedMemory) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; memory.len()];
    memory.read(0, &mut bytes).map_err(io::Error::other)?;
    Ok(bytes)
}

/// Where the last page of a read begins.
fn last_page(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(0).saturating_sub(1) / PAGE * PAGE
}

fn drop_caches() -> io::Result<()> {
    fs::write("/proc/sys/vm/drop_caches", "1")
}
