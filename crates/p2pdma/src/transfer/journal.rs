//! The journal of a copy: which of its bytes are durable, so that it can go on after a crash.
//!
//! A file of lines, each of which begins with a checksum of what follows in it:
//!
//! ```text
//! 4a1f0c6c9ad0b8e3 p2pdma-journal 1
//! 0e5b.. source nvme.1b36-6e766d6530 0 1073741824
//! 77d2.. destination ...
//! 91c3.. note partial k3Xu9Z
//! 6fa0.. begin
//! 52ee.. durable 0 268435456
//! ```
//!
//! It takes its place as a whole up to `begin`, and grows by a line for each flush. A line that a crash has cut
//! off says nothing, and is cut off for good by who goes on. So it never claims more than was durable.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use crc_fast::{CrcAlgorithm, checksum};

use crate::transfer::Parts;

/// What names a job, or belongs to it: words with their values, in order. Whatever is no printable ASCII is
/// written as `%XX`.
pub type Labels = Vec<(&'static str, String)>;

const MAGIC: &str = "p2pdma-journal 1";
const NOTE: &str = "note";
const BEGIN: &str = "begin";
/// The value of a label that is not there.
const UNKNOWN: &str = "unknown";
const DURABLE: &str = "durable";
/// Longer than any journal gets: ten million flushes.
const LONGEST: u64 = 1 << 30;

/// Why a journal is of no use.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The operating system says so.
    #[error("{}: {source}", path.display())]
    System {
        /// The journal.
        path: PathBuf,
        /// What it says.
        source: io::Error,
    },
    /// It is none.
    #[error("{} is no journal of a copy", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// One of its lines, which others follow, is not as it was written.
    #[error("{} is damaged: line {line} is not as it was written", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The first such line, from 1.
        line: usize,
    },
    /// It is the journal of another job.
    #[error(
        "{} is the journal of another copy: its {what} is {its}, this one's is {asked}", path.display()
    )]
    Other {
        /// The journal.
        path: PathBuf,
        /// What differs: `source`, `length`.
        what: String,
        /// What the journal says.
        its: String,
        /// What was asked for.
        asked: String,
    },
    /// Another process has it open.
    #[error("{} is in use by another copy", path.display())]
    InUse {
        /// The journal.
        path: PathBuf,
    },
}

/// A journal, open and locked.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    labels: Vec<(String, String)>,
    notes: Vec<(String, String)>,
    durable: Parts,
    /// The length of its whole lines, if a crash has left something behind them.
    cut: Option<usize>,
}

impl Journal {
    /// Opens a journal; `None` if there is no file of that name.
    ///
    /// # Errors
    /// [`JournalError`]; whatever it is, the file stays as it was.
    pub fn open(path: &Path) -> Result<Option<Self>, JournalError> {
        let system = |source| JournalError::System { path: path.to_owned(), source };
        let foreign = || JournalError::Foreign { path: path.to_owned() };
        // Looked at before it is opened: opening a pipe would wait for its other end.
        match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(system(error)),
            Ok(metadata) if !metadata.is_file() || metadata.len() > LONGEST => {
                return Err(foreign());
            }
            Ok(_) => {}
        }
        let mut file = OpenOptions::new().read(true).append(true).open(path).map_err(system)?;
        lock(&file, path)?;
        let mut text = Vec::new();
        // Where each line begins with its checksum, this much is enough to see that it does not.
        (&mut file).take(256).read_to_end(&mut text).map_err(system)?;
        if !text.starts_with(line(MAGIC).as_bytes()) {
            return Err(foreign());
        }
        file.read_to_end(&mut text).map_err(system)?;
        let read = Content::parse(&text).map_err(|line| match line {
            None => foreign(),
            Some(line) => JournalError::Damaged { path: path.to_owned(), line },
        })?;
        let Content { labels, notes, durable, len } = read;
        let cut = (len < text.len()).then_some(len);
        Ok(Some(Self { path: path.to_owned(), file, labels, notes, durable, cut }))
    }

    /// Makes the journal of a job that begins: a new file, which is durable when this returns. Notes are what
    /// belongs to this attempt, and does not name the job.
    ///
    /// # Errors
    /// [`JournalError::System`]; also if there is such a file already.
    pub fn create(path: &Path, labels: Labels, notes: Labels) -> Result<Self, JournalError> {
        let system = |source| JournalError::System { path: path.to_owned(), source };
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        // What the library below says of a folder that is not there is vague.
        std::fs::metadata(folder).map_err(system)?;
        let mut text = line(MAGIC);
        let owned = |labels: Labels| -> Vec<(String, String)> {
            labels.into_iter().map(|(word, value)| (word.to_owned(), plain(&value))).collect()
        };
        let (labels, notes) = (owned(labels), owned(notes));
        text.extend(labels.iter().map(|(word, value)| line(&format!("{word} {value}"))));
        text.extend(notes.iter().map(|(word, value)| line(&format!("{NOTE} {word} {value}"))));
        text.push_str(&line(BEGIN));
        let bare = |error: io::Error| match error.raw_os_error() {
            Some(code) => io::Error::from_raw_os_error(code),
            None => error.kind().into(),
        };
        let mut new =
            tempfile::NamedTempFile::new_in(folder).map_err(|error| system(bare(error)))?;
        lock(new.as_file(), path)?;
        new.write_all(text.as_bytes()).map_err(system)?;
        new.as_file().sync_all().map_err(system)?;
        let file = new.persist_noclobber(path).map_err(|lost| system(bare(lost.error)))?;
        File::open(folder).and_then(|folder| folder.sync_all()).map_err(system)?;
        let durable = Parts::default();
        Ok(Self { path: path.to_owned(), file, labels, notes, durable, cut: None })
    }

    /// Makes sure that it is this job's.
    ///
    /// # Errors
    /// [`JournalError::Other`] with the first that differs.
    pub fn check(&self, labels: &Labels) -> Result<(), JournalError> {
        for (word, value) in labels {
            self.check_label(word, value)?;
        }
        let more = self.labels.iter().find(|(own, _)| labels.iter().all(|(word, _)| own != word));
        more.map_or(Ok(()), |(word, its)| Err(self.other(word, its, UNKNOWN)))
    }

    /// Makes sure that it is of a job with this label.
    ///
    /// # Errors
    /// [`JournalError::Other`].
    pub fn check_label(&self, word: &str, value: &str) -> Result<(), JournalError> {
        let its = self.labels.iter().find(|(own, _)| own == word);
        let (its, asked) = (its.map_or(UNKNOWN, |(_, its)| its), plain(value));
        if *its == asked { Ok(()) } else { Err(self.other(word, its, &asked)) }
    }

    fn other(&self, what: &str, its: &str, asked: &str) -> JournalError {
        let (what, its, asked) = (what.to_owned(), its.to_owned(), asked.to_owned());
        JournalError::Other { path: self.path.clone(), what, its, asked }
    }

    /// A note.
    #[must_use]
    pub fn note(&self, word: &str) -> Option<&str> {
        self.notes.iter().find(|(own, _)| own == word).map(|(_, value)| value.as_str())
    }

    /// Which bytes from the job's start on are durable.
    #[must_use]
    pub fn durable(&self) -> &Parts {
        &self.durable
    }

    /// Adds that everything from byte `start` to before byte `end` is durable.
    ///
    /// # Errors
    /// [`JournalError::System`].
    pub fn add(&mut self, start: u64, end: u64) -> Result<(), JournalError> {
        let part = Parts::new(Some(start..end));
        if part.without(&self.durable).is_empty() {
            return Ok(());
        }
        let text = line(&format!("{DURABLE} {start} {end}"));
        self.append(&text)
            .map_err(|source| JournalError::System { path: self.path.clone(), source })?;
        self.durable = Parts::new(self.durable.ranges().iter().cloned().chain(Some(start..end)));
        Ok(())
    }

    fn append(&mut self, text: &str) -> io::Result<()> {
        if let Some(len) = self.cut {
            self.file.set_len(len as u64)?;
            self.cut = None;
        }
        self.file.write_all(text.as_bytes())?;
        self.file.sync_data()
    }

    /// Removes it: its job is done, or what it says is worth nothing.
    ///
    /// # Errors
    /// [`JournalError::System`].
    pub fn remove(self) -> Result<(), JournalError> {
        let removed = std::fs::remove_file(&self.path);
        removed.map_err(|source| JournalError::System { path: self.path, source })
    }
}

/// Locked until it is closed; where the file system has no locks, it goes without.
fn lock(file: &File, path: &Path) -> Result<(), JournalError> {
    match file.try_lock() {
        Err(std::fs::TryLockError::WouldBlock) => {
            Err(JournalError::InUse { path: path.to_owned() })
        }
        _ => Ok(()),
    }
}

fn line(text: &str) -> String {
    format!("{:016x} {text}\n", checksum(CrcAlgorithm::Crc64Nvme, text.as_bytes()))
}

/// What was written as a line, if it is whole.
fn of_line(line: &[u8]) -> Option<&str> {
    let line = std::str::from_utf8(line).ok()?;
    let (sum, text) = line.split_at_checked(16)?;
    let text = text.strip_prefix(' ')?;
    let is = format!("{:016x}", checksum(CrcAlgorithm::Crc64Nvme, text.as_bytes()));
    (sum == is).then_some(text)
}

/// A value in printable ASCII.
fn plain(value: &str) -> String {
    let mut plain = String::with_capacity(value.len());
    for byte in value.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => plain.push(char::from(byte)),
            _ => plain.push_str(&format!("%{byte:02X}")),
        }
    }
    plain
}

/// What a journal says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Content {
    labels: Vec<(String, String)>,
    notes: Vec<(String, String)>,
    durable: Parts,
    /// The length of its whole lines in bytes.
    len: usize,
}

impl Content {
    /// The error is the number of a damaged line, or `None` if it is no journal: its head is not whole.
    fn parse(text: &[u8]) -> Result<Self, Option<usize>> {
        let mut content = Self::default();
        let (mut ranges, mut begun, mut cut) = (Vec::new(), false, None);
        for (number, bytes) in (1..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
            let whole = bytes.strip_suffix(b"\n").and_then(of_line);
            match whole {
                // What a crash has left of the last line.
                None => cut = cut.or(Some(number)),
                Some(_) if cut.is_some() => return Err(cut),
                Some(text) => {
                    content.len += bytes.len();
                    match (begun, text) {
                        (_, MAGIC) if number == 1 => {}
                        (false, BEGIN) => begun = true,
                        (false, text) => content.head(text).ok_or(Some(number))?,
                        (true, text) => ranges.push(range(text).ok_or(Some(number))?),
                    }
                }
            }
        }
        content.durable = Parts::new(ranges);
        if begun { Ok(content) } else { Err(cut) }
    }

    fn head(&mut self, text: &str) -> Option<()> {
        let (word, value) = text.split_once(' ')?;
        if word != NOTE {
            self.labels.push((word.to_owned(), value.to_owned()));
            return Some(());
        }
        let (word, value) = value.split_once(' ')?;
        self.notes.push((word.to_owned(), value.to_owned()));
        Some(())
    }
}

fn range(text: &str) -> Option<std::ops::Range<u64>> {
    let mut words = text.strip_prefix(DURABLE)?.strip_prefix(' ')?.split(' ');
    let (start, end) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    (words.next().is_none() && start < end).then_some(start..end)
}

#[cfg(test)]
mod tests;
