//! What is wrong with a snapshot's file, and where.

use super::VERSION;

/// A file that is no snapshot, or a spoilt one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("snapshot, line {line}: {problem}")]
pub struct SnapshotError {
    /// The line, from 1.
    pub line: usize,
    /// What.
    pub problem: SnapshotProblem,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotProblem {
    /// It has no header.
    #[error("this is no snapshot: it does not begin with {{\"p2pdma-snapshot\":{VERSION},…}}")]
    NoSnapshot,
    /// It is of a version that this program does not read.
    #[error(
        "the snapshot is of version {found}, and this program reads version {VERSION}; \
         capture again, or use the program that wrote it"
    )]
    Version {
        /// Its version.
        found: u64,
    },
    /// It is larger than any snapshot.
    #[error("the file is larger than {most} bytes")]
    TooLarge {
        /// The most that is read.
        most: usize,
    },
    /// A line is not UTF-8.
    #[error("it is not UTF-8")]
    NotText,
    /// A line is not the JSON of a record.
    #[error("it is no record: {0}")]
    Syntax(String),
    /// A record lacks something or has too much.
    #[error("the record makes no sense: {0}")]
    Senseless(&'static str),
    /// Two records answer one question.
    #[error("'{path}' was described before")]
    Repeated {
        /// What they are about.
        path: String,
    },
    /// The file ends too early.
    #[error("the file is cut off: the record that says its end is missing")]
    Cut,
    /// The file has lost or gained lines.
    #[error("there are {found} records, and the end says {told}")]
    Count {
        /// How many there are.
        found: u64,
        /// How many there should be.
        told: u64,
    },
}
