//! Archives that the kernel unpacks into its first file system
//! (Documentation/driver-api/early-userspace/buffer-format.rst of Linux).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::Path;

use cpio::newc::{Builder, ModeFileType, trailer};

const FOLDER: u32 = 0o755;

/// An archive that is being written.
pub(super) struct Archive<W: Write> {
    out: W,
    folders: BTreeSet<String>,
    next_inode: u32,
}

impl<W: Write + Seek> Archive<W> {
    /// An archive that begins where `out` stands.
    pub(super) const fn new(out: W) -> Self {
        // Files of one inode would be links to each other, even across archives.
        Self { out, folders: BTreeSet::new(), next_inode: 1 }
    }

    /// Adds a folder with those above it. Paths begin with a slash.
    pub(super) fn folder(&mut self, path: &str) -> io::Result<()> {
        let path = path.trim_matches('/');
        if path.is_empty() || !self.folders.insert(path.to_owned()) {
            return Ok(());
        }
        if let Some((above, _)) = path.rsplit_once('/') {
            self.folder(above)?;
        }
        self.entry(path, ModeFileType::Directory, FOLDER, 0, &mut io::empty())
    }

    /// Adds a file with this content.
    pub(super) fn bytes(&mut self, path: &str, mode: u32, bytes: &[u8]) -> io::Result<()> {
        self.above(path)?;
        let len = u32::try_from(bytes.len()).map_err(too_large)?;
        self.entry(path, ModeFileType::Regular, mode, len, &mut &*bytes)
    }

    /// Adds a copy of a file.
    pub(super) fn copy(&mut self, path: &str, mode: u32, source: &Path) -> io::Result<()> {
        self.above(path)?;
        let file = File::open(source)?;
        let len = u32::try_from(file.metadata()?.len()).map_err(too_large)?;
        self.entry(path, ModeFileType::Regular, mode, len, &mut file.take(u64::from(len)))
    }

    /// Ends the archive, at a multiple of four bytes, so that another may follow.
    pub(super) fn end(self) -> io::Result<W> {
        let mut out = trailer(self.out)?;
        let len = out.stream_position()?;
        let padding = len.next_multiple_of(4) - len;
        out.write_all(&[0; 4][..usize::try_from(padding).unwrap_or(0)])?;
        Ok(out)
    }

    fn above(&mut self, path: &str) -> io::Result<()> {
        match path.rsplit_once('/') {
            Some((above, _)) => self.folder(above),
            None => Ok(()),
        }
    }

    fn entry(
        &mut self,
        path: &str,
        kind: ModeFileType,
        mode: u32,
        len: u32,
        content: &mut dyn Read,
    ) -> io::Result<()> {
        let inode = self.next_inode;
        self.next_inode += 1;
        let builder = Builder::new(path.trim_start_matches('/')).ino(inode).nlink(1);
        let builder = builder.mode(mode).set_mode_file_type(kind);
        let mut writer = builder.write(&mut self.out, len);
        let copied = io::copy(content, &mut writer)?;
        if copied != u64::from(len) {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter"));
        }
        writer.finish()?;
        Ok(())
    }
}

fn too_large(_: std::num::TryFromIntError) -> io::Error {
    io::Error::new(io::ErrorKind::FileTooLarge, "more than 4 GiB")
}
