//! A tree in the file system: the running machine, or a copy of one below a folder.

use std::ffi::OsStr;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::fs::{Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::{Failure, File, Tree};
use crate::Error;

/// The most bytes of a text file that is searched for lines.
const SEARCHED: u64 = 16 << 20;
/// The most names of a folder.
const NAMES: usize = 1 << 20;

/// A tree in the file system. No path leads out of its root, by whatever symbolic links.
#[derive(Debug)]
pub struct LiveTree {
    root: OwnedFd,
    path: PathBuf,
    confined: bool,
}

impl LiveTree {
    /// The running machine.
    ///
    /// # Errors
    /// As [`LiveTree::below`].
    pub fn machine() -> Result<Self, Error> {
        Self::below(Path::new("/"))
    }

    /// The tree below a folder, which has `sys` and `proc` in it.
    ///
    /// # Errors
    /// [`Error::Root`] if the folder cannot be opened, or if it is not `/` and the kernel is older than
    /// 5.6: it cannot confine a search to a folder.
    pub fn below(root: &Path) -> Result<Self, Error> {
        let error = |failure| Error::Root { path: root.to_owned(), failure };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd =
            rustix::fs::open(root, flags, Mode::empty()).map_err(|errno| error(failure(errno)))?;
        let mut tree = Self { root: fd, path: root.to_owned(), confined: true };
        match tree.open(".", flags) {
            Ok(_) => {}
            // ENOSYS; container runtimes of that age say EPERM.
            Err(Errno::NOSYS | Errno::PERM) if root == Path::new("/") => tree.confined = false,
            Err(errno) => return Err(error(failure(errno))),
        }
        Ok(tree)
    }

    /// Its root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.path
    }

    fn open(&self, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        if !self.confined {
            return rustix::fs::openat(&self.root, path, flags, Mode::empty());
        }
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        loop {
            let opened = rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve);
            // EAGAIN: something was renamed meanwhile, and ".." could not be shown to be safe.
            if !matches!(opened, Err(Errno::INTR | Errno::AGAIN)) {
                return opened;
            }
        }
    }

    /// Opens a regular file. Whatever else is there, nothing waits for it or is set off by it.
    fn open_file(&self, path: &str) -> Result<(std::fs::File, u64), Failure> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
        let fd = self.open(path, flags).map_err(failure)?;
        let stat = rustix::fs::fstat(&fd).map_err(failure)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Failure::OtherKind);
        }
        Ok((fd.into(), u64::try_from(stat.st_size).unwrap_or(0)))
    }
}

impl Tree for LiveTree {
    fn read(&self, path: &str, limit: usize) -> Result<File, Failure> {
        let (file, size) = self.open_file(path)?;
        let mut bytes = Vec::with_capacity(limit.min(4096) + 1);
        let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
        file.take(most).read_to_end(&mut bytes).map_err(|error| io_failure(&error))?;
        let more = bytes.len() > limit;
        bytes.truncate(limit);
        Ok(File::new(bytes, more, size))
    }

    fn lines(&self, path: &str, words: &[&str]) -> Result<Vec<String>, Failure> {
        let (file, _) = self.open_file(path)?;
        let mut text = Vec::new();
        let mut limited: Box<dyn std::io::Read> = if path.ends_with(".gz") {
            Box::new(flate2::read::MultiGzDecoder::new(file.take(SEARCHED)).take(SEARCHED + 1))
        } else {
            Box::new(file.take(SEARCHED + 1))
        };
        limited.read_to_end(&mut text).map_err(|error| io_failure(&error))?;
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > SEARCHED {
            return Err(Failure::TooLarge);
        }
        let text = String::from_utf8_lossy(&text);
        Ok(with_words(text.lines(), words))
    }

    fn link(&self, path: &str) -> Result<String, Failure> {
        let fd = self.open(path, OFlags::PATH | OFlags::NOFOLLOW).map_err(failure)?;
        let target = rustix::fs::readlinkat(&fd, "", Vec::new()).map_err(|errno| match errno {
            // The empty path of what is no link (readlinkat(2)).
            Errno::NOENT | Errno::INVAL => Failure::OtherKind,
            errno => failure(errno),
        })?;
        target.into_string().map_err(|_| Failure::Malformed)
    }

    fn list(&self, path: &str) -> Result<Vec<String>, Failure> {
        let fd = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY).map_err(failure)?;
        let mut names = Vec::new();
        for entry in Dir::new(fd).map_err(failure)? {
            let entry = entry.map_err(failure)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            match name.to_str() {
                None | Some("." | "..") => {}
                Some(_) if names.len() == NAMES => return Err(Failure::TooLarge),
                Some(name) => names.push(name.to_owned()),
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn stamp(&self, path: &str) -> Result<u64, Failure> {
        let fd = self.open(path, OFlags::PATH | OFlags::DIRECTORY).map_err(failure)?;
        Ok(rustix::fs::fstat(&fd).map_err(failure)?.st_ino)
    }
}

/// The lines that contain one of these words.
pub(crate) fn with_words<'a>(lines: impl Iterator<Item = &'a str>, words: &[&str]) -> Vec<String> {
    let wanted = |line: &&str| words.iter().any(|word| line.contains(word));
    lines.filter(wanted).map(str::to_owned).collect()
}

fn failure(errno: Errno) -> Failure {
    match errno {
        Errno::NOENT | Errno::NOTDIR => Failure::Missing,
        Errno::NODEV | Errno::NXIO => Failure::Gone,
        Errno::ACCESS | Errno::PERM => Failure::Denied,
        errno => Failure::Errno(errno.raw_os_error()),
    }
}

fn io_failure(error: &std::io::Error) -> Failure {
    match error.raw_os_error() {
        Some(number) => failure(Errno::from_raw_os_error(number)),
        // The decompressor's.
        None => Failure::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, LiveTree) {
        let folder = tempfile::tempdir().unwrap();
        let tree = LiveTree::below(folder.path()).unwrap();
        (folder, tree)
    }

    #[test]
    fn files_links_and_folders_are_read() {
        let (folder, tree) = tree();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a"), "one\ntwo\nthree\n").unwrap();
        std::os::unix::fs::symlink("../x/y", at("l")).unwrap();
        std::fs::create_dir(at("d")).unwrap();
        let file = tree.read("a", 64).unwrap();
        assert_eq!((&file.bytes[..], file.more), (&b"one\ntwo\nthree\n"[..], false));
        let file = tree.read("a", 3).unwrap();
        assert_eq!((&file.bytes[..], file.more), (&b"one"[..], true));
        assert_eq!(tree.lines("a", &["o"]).unwrap(), ["one", "two"]);
        assert_eq!(tree.link("l").unwrap(), "../x/y");
        assert_eq!(tree.list(".").unwrap(), ["a", "d", "l"]);
        assert_eq!(tree.stamp("d"), tree.stamp("d"));
        assert_eq!(tree.read("b", 3).unwrap_err(), Failure::Missing);
        assert_eq!(tree.read("a/b", 3).unwrap_err(), Failure::Missing);
        assert_eq!(tree.read("d", 3).unwrap_err(), Failure::OtherKind);
        assert_eq!(tree.link("a").unwrap_err(), Failure::OtherKind);
        assert_eq!(tree.list("a").unwrap_err(), Failure::Missing);
        assert_eq!(tree.stamp("x").unwrap_err(), Failure::Missing);
    }

    #[test]
    fn nothing_leads_out_and_nothing_waits() {
        let (folder, tree) = tree();
        std::os::unix::fs::symlink("/etc/hostname", folder.path().join("out")).unwrap();
        std::os::unix::fs::symlink("../../../etc/hostname", folder.path().join("up")).unwrap();
        assert_eq!(tree.read("out", 9).unwrap_err(), Failure::Missing);
        assert_eq!(tree.read("up", 9).unwrap_err(), Failure::Missing);
        let fifo = folder.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &fifo, FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(tree.read("fifo", 9).unwrap_err(), Failure::OtherKind);
    }

    #[test]
    fn compressed_files_are_searched_and_bounded() {
        use std::io::Write as _;
        let (folder, tree) = tree();
        let write = |name: &str, text: &[u8]| {
            let file = std::fs::File::create(folder.path().join(name)).unwrap();
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap();
        };
        write("c.gz", b"CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=m\n");
        let lines = tree.lines("c.gz", &["CONFIG_B", "CONFIG_C"]).unwrap();
        assert_eq!(lines, ["# CONFIG_B is not set", "CONFIG_C=m"]);
        write("bomb.gz", &vec![b'a'; 17 << 20]);
        assert_eq!(tree.lines("bomb.gz", &["a"]).unwrap_err(), Failure::TooLarge);
        std::fs::write(folder.path().join("no.gz"), "plain").unwrap();
        assert_eq!(tree.lines("no.gz", &["a"]).unwrap_err(), Failure::Malformed);
    }
}
