//! What can be wrong with a device's description.

use std::io;
use std::path::PathBuf;

/// Why a device cannot be as described.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value of the description is impossible.
    #[error("{what} is {value}, but must be {allowed}")]
    Value {
        /// Which value.
        what: &'static str,
        /// What was asked for.
        value: u64,
        /// What is possible.
        allowed: &'static str,
    },
    /// A text does not fit its field of printable ASCII.
    #[error("{what} {text:?} is longer than {max} bytes or not printable ASCII")]
    Text {
        /// Which text.
        what: &'static str,
        /// What was asked for.
        text: String,
        /// The longest that fits, in bytes.
        max: usize,
    },
    /// Two memories of one controller claim the same BAR.
    #[error("{first} and {second} both want BAR {bar}")]
    BarTaken {
        /// Who has it.
        first: &'static str,
        /// Who wants it too.
        second: &'static str,
        /// The BAR.
        bar: u8,
    },
    /// The subsystem has as many controllers as it can have.
    #[error("an NVM subsystem has at most {max} controllers")]
    TooManyControllers {
        /// The most there can be.
        max: u16,
    },
    /// A file under a namespace cannot be opened, sized or read.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// Another process, or another device of this one, has the file open.
    #[error("{} is in use by another device", path.display())]
    FileInUse {
        /// The file.
        path: PathBuf,
    },
    /// A file is longer than the namespace that is to be on it; using it would hide its end.
    #[error("{} has {len} bytes, but its namespace only {expected}", path.display())]
    FileTooLong {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
        /// The namespace's size in bytes.
        expected: u64,
    },
    /// What is to be under a namespace is no regular file.
    #[error("{} is {kind}", path.display())]
    FileKind {
        /// Where it is.
        path: PathBuf,
        /// What it is.
        kind: &'static str,
    },
    /// Nothing says that a file was made for a namespace, and it does not have the size of one: using it
    /// would change somebody else's file.
    #[error(
        "{} has {len} bytes instead of {expected}, and nothing beside it says that it was made for this",
        path.display()
    )]
    FileForeign {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
        /// The namespace's size in bytes.
        expected: u64,
    },
    /// A namespace's file has lost its end.
    #[error("{} has {len} bytes, but had {before} when it was made: its end is lost", path.display())]
    FileCut {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        len: u64,
        /// The length that its label states, in bytes.
        before: u64,
    },
    /// A file was made for a namespace of another format than is described now: its blocks would be misread.
    #[error(
        "{} was made for {made}, and has {formatted} now; described are {described}",
        path.display()
    )]
    FileFormat {
        /// The file.
        path: PathBuf,
        /// For what it was made.
        made: String,
        /// As what it was formatted last.
        formatted: String,
        /// What it is to be used as.
        described: String,
    },
    /// The file beside a namespace's file, which says how that is formatted, cannot be understood.
    #[error("{}, line {line}: {what}", path.display())]
    Label {
        /// The label's file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// Memory for a device's BAR cannot be had.
    #[error("{len} bytes of device memory: {source}")]
    Memory {
        /// How much was asked for.
        len: u64,
        /// What the operating system says.
        source: io::Error,
    },
}
