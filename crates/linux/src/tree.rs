//! The one rooted reader: everything that is read of a machine is read through a [`Tree`].

mod live;
mod record;

pub use live::LiveTree;
pub(crate) use live::with_words;
pub(crate) use record::Recorder;

use p2pdma_pci::topology::Cause;

/// A tree of files as Linux shows them: `proc`, `sys` and `boot` below a root. The live machine and a
/// captured one are read by the same code.
///
/// Paths are relative to the root and have no `.` or `..`: `sys/bus/pci/devices`.
pub trait Tree {
    /// The first `limit` bytes of a file.
    ///
    /// # Errors
    /// Why there are none.
    fn read(&self, path: &str, limit: usize) -> Result<File, Failure>;

    /// The lines of a text file that contain one of these words, in its order. A file whose name ends in
    /// `.gz` is decompressed.
    ///
    /// # Errors
    /// Why it cannot be read. One over 16 MiB, decompressed, is [`Failure::TooLarge`].
    fn lines(&self, path: &str, words: &[&str]) -> Result<Vec<String>, Failure>;

    /// Where a symbolic link points, as it says.
    ///
    /// # Errors
    /// Why that cannot be read; [`Failure::OtherKind`] if it is no link.
    fn link(&self, path: &str) -> Result<String, Failure>;

    /// The names in a folder, sorted. Those that are not UTF-8 are left out.
    ///
    /// # Errors
    /// Why there are none. More than 2^20 names are [`Failure::TooLarge`].
    fn list(&self, path: &str) -> Result<Vec<String>, Failure>;

    /// A number that changes when a folder is removed and made again.
    ///
    /// # Errors
    /// Why there is none: the folder is gone.
    fn stamp(&self, path: &str) -> Result<u64, Failure>;
}

/// What was read of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its first bytes.
    pub bytes: Vec<u8>,
    /// Whether there is more than was asked for.
    pub more: bool,
    /// The size that the file claims, in bytes: that of the registers behind it, of which an
    /// unprivileged reader gets the first only. Text claims its length, whatever Linux says of it.
    pub size: u64,
}

impl File {
    /// Makes the claimed size of text its length, so that it need not be recorded.
    pub(crate) fn new(bytes: Vec<u8>, more: bool, size: u64) -> Self {
        let size = if bytes.is_empty() || as_text(&bytes).is_none() {
            size
        } else {
            u64::try_from(bytes.len()).unwrap_or(u64::MAX)
        };
        Self { bytes, more, size }
    }
}

/// The bytes as text, if they are text without control characters other than line ends and tabs.
pub(crate) fn as_text(bytes: &[u8]) -> Option<&str> {
    let control = |&byte: &u8| byte < 0x20 && byte != b'\n' && byte != b'\t' || byte == 0x7f;
    if bytes.iter().any(control) {
        return None;
    }
    std::str::from_utf8(bytes).ok()
}

/// Why something cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, thiserror::Error)]
pub enum Failure {
    /// It is not there (ENOENT, ENOTDIR).
    #[error("it is not there")]
    Missing,
    /// The device behind it has gone (ENODEV, ENXIO).
    #[error("the device behind it is gone")]
    Gone,
    /// This process may not read it (EACCES, EPERM).
    #[error("permission denied")]
    Denied,
    /// The snapshot does not contain it: neither that it is there nor that it is not.
    #[error("the snapshot does not contain it")]
    NotCaptured,
    /// It is no file, link or folder, as was expected.
    #[error("it is of another kind")]
    OtherKind,
    /// It has more bytes or names than anything of its kind.
    #[error("it is too large")]
    TooLarge,
    /// It is not text, or not of the form that Linux gives it.
    #[error("it is not of the expected form")]
    Malformed,
    /// Another error, by its number (`errno`).
    #[error("error {0} of the operating system")]
    Errno(i32),
}

impl Failure {
    /// Why a fact that was to be read there is not known.
    #[must_use]
    pub const fn cause(self) -> Cause {
        match self {
            Self::Denied => Cause::NeedsRoot,
            Self::NotCaptured => Cause::NotCaptured,
            Self::Missing
            | Self::Gone
            | Self::OtherKind
            | Self::TooLarge
            | Self::Malformed
            | Self::Errno(_) => Cause::Unreadable,
        }
    }

    /// Whether a device that has this answer has gone.
    #[must_use]
    pub const fn is_gone(self) -> bool {
        matches!(self, Self::Missing | Self::Gone)
    }
}

/// A path below another.
pub(crate) fn join(folder: &str, name: &str) -> String {
    let mut path = String::with_capacity(folder.len() + 1 + name.len());
    path.push_str(folder);
    path.push('/');
    path.push_str(name);
    path
}

/// What a link says, made a path from the root: `..` and `.` are resolved by their words alone, as they
/// are in sysfs. `None` if it leads out of the tree.
pub(crate) fn resolve(link_path: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = link_path.split('/').collect();
    parts.pop();
    if target.starts_with('/') {
        parts.clear();
    }
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_by_their_words() {
        let link = "sys/bus/pci/devices/0000:00:01.0";
        let target = "../../../devices/pci0000:00/0000:00:01.0";
        assert_eq!(resolve(link, target).unwrap(), "sys/devices/pci0000:00/0000:00:01.0");
        assert_eq!(resolve("a/b", "/c//d/."), Some("c/d".to_owned()));
        assert_eq!(resolve("a/b", "../../c"), None);
        assert_eq!(resolve("a", "../../../../etc/passwd"), None);
    }

    #[test]
    fn text_is_told_from_registers() {
        assert_eq!(as_text(b"0x8086\n"), Some("0x8086\n"));
        assert_eq!(as_text(b"a\tb"), Some("a\tb"));
        assert_eq!(as_text(&[0; 64]), None);
        assert_eq!(as_text(&[0xff; 64]), None);
        assert_eq!(File::new(b"0x8086\n".to_vec(), false, 4096).size, 7);
        assert_eq!(File::new(vec![0; 64], false, 4096).size, 4096);
        assert_eq!(File::new(Vec::new(), false, 256).size, 256);
    }
}
