//! Snapshots: what was read of a machine, in one file.
//!
//! A snapshot holds the answer to every question that the reader asked, failures included, and nothing
//! else; read again, it gives the same survey. What was not asked is [`Failure::NotCaptured`].
//!
//! # The file
//!
//! JSON lines in UTF-8, so that two of them can be compared line by line. The first one is a header, the
//! last one a count; in between a `folder` record opens a folder, and the records after it are about names
//! in it:
//!
//! ```text
//! {"p2pdma-snapshot":1,"writer":"0.1.0"}
//! {"folder":"sys/devices/pci0000:00/0000:00:01.0","names":["config","driver","vendor"]}
//! {"file":"config","size":4096,"bytes":4096}
//! {"at":"000","hex":"36 1b 0c 00 07 05 10 00 00 00 04 06 00 00 01 00"}
//! {"link":"driver","to":"../../../bus/pci/drivers/pcieport"}
//! {"file":"p2pmem/size","fails":"missing"}
//! {"file":"vendor","text":"0x1b36\n"}
//! {"folder":"boot"}
//! {"lines":"config-7.3.4","words":["CONFIG_PCI_P2PDMA"],"found":["CONFIG_PCI_P2PDMA=y"]}
//! {"end":9}
//! ```
//!
//! | record | says |
//! |---|---|
//! | `folder` | records up to the next one are about names in it; `names`: all that is in it |
//! | `file`, `text` | a file's content, if it is plain text |
//! | `file`, `size`, `bytes` | a file's size as it claims, and how many bytes were read; they follow as `at`, `hex`, 16 to a record; records of zeroes are left out |
//! | `more` | beside `file`: there is more of it than was read |
//! | `link`, `to` | a symbolic link |
//! | `lines`, `words`, `found` | the lines of a file that contain one of the words |
//! | `fails` | instead of an answer: `missing`, `gone`, `denied`, `other-kind`, `too-large`, `malformed`, `errno N` |
//! | `end` | the number of records between header and this one |

mod error;
mod format;
mod parse;

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;

pub use error::{SnapshotError, SnapshotProblem};

use crate::tree::{File, Recorder, join};
use crate::{Error, Failure, NoteKind, Survey, Tree};

/// The version of the file's form.
pub const VERSION: u64 = 1;
/// The most bytes of a snapshot's file.
pub const MOST_BYTES: usize = 256 << 20;

/// The lines that were looked for in a file, and found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Selected {
    words: Vec<String>,
    found: Vec<String>,
}

impl Selected {
    /// What was looked for later: its lines come behind.
    fn add(&mut self, later: Self) {
        for (own, new) in [(&mut self.words, later.words), (&mut self.found, later.found)] {
            for line in new {
                if !own.contains(&line) {
                    own.push(line);
                }
            }
        }
    }
}

/// What was read of a machine: a tree in memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Snapshot {
    files: HashMap<String, Result<File, Failure>>,
    links: HashMap<String, Result<String, Failure>>,
    lists: HashMap<String, Result<Vec<String>, Failure>>,
    lines: HashMap<String, Result<Selected, Failure>>,
}

impl Snapshot {
    /// Reads a machine and keeps every answer. A device that vanished meanwhile is kept as vanished, not
    /// by halves.
    ///
    /// # Errors
    /// As [`Survey::read`].
    pub fn capture(tree: &dyn Tree) -> Result<Self, Error> {
        let recorder = Recorder::new(tree);
        let survey = Survey::read(&recorder)?;
        let mut snapshot = recorder.into_snapshot();
        for note in &survey.notes {
            if let NoteKind::Vanished { bdf, folder } = &note.kind {
                let link = format!("{}/{bdf}", crate::sysfs::DEVICES);
                snapshot.links.insert(link, Err(Failure::Missing));
                if let Some(folder) = folder {
                    snapshot.forget(folder);
                }
            }
        }
        Ok(snapshot)
    }

    /// Reads a snapshot's file.
    ///
    /// # Errors
    /// [`Error::File`] or [`Error::Snapshot`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self::parse(&crate::open_capture(path)?)?)
    }

    /// Writes a snapshot's file: first another one beside it, which then takes its name, so that
    /// there is never half a file.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn save(&self, path: &Path) -> Result<(), Error> {
        let error = |source| Error::File { what: "write", path: path.to_owned(), source };
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let part = path.with_file_name(name);
        let write = || {
            let file = std::fs::File::create_new(&part)?;
            let mut buffer = std::io::BufWriter::new(file);
            self.write(&mut buffer)?;
            buffer.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
            std::fs::rename(&part, path)
        };
        write().map_err(|source| {
            // The part is of no use, and what is wrong with removing it is not what went wrong.
            drop(std::fs::remove_file(&part));
            error(source)
        })
    }

    /// Writes a snapshot in its form.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn write(&self, writer: &mut dyn Write) -> std::io::Result<()> {
        format::write(self, writer)
    }

    /// Reads a snapshot in its form.
    ///
    /// # Errors
    /// [`SnapshotError`], with the line, if it is of another version, cut off, or spoilt.
    pub fn parse(bytes: &[u8]) -> Result<Self, SnapshotError> {
        parse::parse(bytes)
    }

    /// How many answers it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.files.len() + self.links.len() + self.lists.len() + self.lines.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets all that is known of a folder and below.
    fn forget(&mut self, folder: &str) {
        let below = |path: &str| {
            path.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        self.files.retain(|path, _| !below(path));
        self.links.retain(|path, _| !below(path));
        self.lists.retain(|path, _| !below(path));
        self.lines.retain(|path, _| !below(path));
    }

    pub(crate) fn put_file(&mut self, path: &str, answer: Result<File, Failure>) {
        if answer == Err(Failure::Missing) && self.shows_missing(path) {
            return;
        }
        let longest = |old: &Result<File, Failure>| match (old, &answer) {
            (Ok(old), Ok(new)) => old.bytes.len() > new.bytes.len(),
            (old, _) => old.is_ok(),
        };
        if answer != Err(Failure::NotCaptured) && !self.files.get(path).is_some_and(longest) {
            self.files.insert(path.to_owned(), answer);
        }
    }

    pub(crate) fn put_link(&mut self, path: &str, answer: Result<String, Failure>) {
        let shown = answer == Err(Failure::Missing) && self.shows_missing(path);
        if answer != Err(Failure::NotCaptured) && !shown {
            self.links.insert(path.to_owned(), answer);
        }
    }

    pub(crate) fn is_listed(&self, path: &str) -> bool {
        matches!(self.lists.get(path), Some(Ok(_)))
    }

    pub(crate) fn put_list(&mut self, path: &str, answer: Result<Vec<String>, Failure>) {
        let shown = answer == Err(Failure::Missing) && self.shows_missing(path);
        if answer != Err(Failure::NotCaptured) && !shown {
            self.lists.insert(path.to_owned(), answer);
        }
    }

    pub(crate) fn put_lines(
        &mut self,
        path: &str,
        words: &[&str],
        answer: Result<Vec<String>, Failure>,
    ) {
        let shown = answer == Err(Failure::Missing) && self.shows_missing(path);
        if answer == Err(Failure::NotCaptured) || shown {
            return;
        }
        let words = words.iter().map(|&word| word.to_owned()).collect();
        let asked = answer.map(|found| Selected { words, found });
        match (self.lines.get_mut(path), asked) {
            (Some(Ok(before)), Ok(asked)) => before.add(asked),
            (_, asked) => drop(self.lines.insert(path.to_owned(), asked)),
        }
    }

    /// Whether the folder of a path was listed, and does not have it.
    fn shows_missing(&self, path: &str) -> bool {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.lists.get(folder) {
            Some(Ok(names)) => names.binary_search_by(|own| own.as_str().cmp(name)).is_err(),
            Some(Err(failure)) => *failure == Failure::Missing,
            None => !folder.is_empty() && self.shows_missing(folder),
        }
    }

    /// The failure of what is not there, or was not asked for.
    fn absent(&self, path: &str) -> Failure {
        if self.shows_missing(path) { Failure::Missing } else { Failure::NotCaptured }
    }
}

impl Tree for Snapshot {
    fn read(&self, path: &str, limit: usize) -> Result<File, Failure> {
        let file = self.files.get(path).ok_or_else(|| self.absent(path))?;
        let file = file.as_ref().map_err(|&failure| failure)?;
        if file.more && file.bytes.len() < limit {
            return Err(Failure::NotCaptured);
        }
        let more = file.more || file.bytes.len() > limit;
        let bytes = file.bytes.get(..limit).unwrap_or(&file.bytes).to_vec();
        Ok(File { bytes, more, size: file.size })
    }

    fn lines(&self, path: &str, words: &[&str]) -> Result<Vec<String>, Failure> {
        let selected = self.lines.get(path).ok_or_else(|| self.absent(path))?;
        let selected = selected.as_ref().map_err(|&failure| failure)?;
        let asked = |word: &&str| selected.words.iter().any(|own| own == word);
        if !words.iter().all(asked) {
            return Err(Failure::NotCaptured);
        }
        Ok(crate::tree::with_words(selected.found.iter().map(String::as_str), words))
    }

    fn link(&self, path: &str) -> Result<String, Failure> {
        self.links.get(path).cloned().unwrap_or_else(|| Err(self.absent(path)))
    }

    fn list(&self, path: &str) -> Result<Vec<String>, Failure> {
        self.lists.get(path).cloned().unwrap_or_else(|| Err(self.absent(path)))
    }

    /// Nothing is made again in a snapshot.
    fn stamp(&self, path: &str) -> Result<u64, Failure> {
        match self.lists.get(path) {
            Some(Ok(_)) => Ok(0),
            Some(Err(failure)) => Err(*failure),
            None => Err(self.absent(path)),
        }
    }
}

/// The path of a name in a folder, which may be the root.
fn path_in(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { join(folder, name) }
}
