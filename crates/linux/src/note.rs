//! What was odd while a machine was read: parts that are left out, or not known, and why.

use std::fmt;

use p2pdma_pci::Bdf;

use crate::Failure;

/// Something that a survey does not hold although the machine, or the dump, seems to have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The line of a dump that it is about.
    pub line: Option<usize>,
    /// What.
    pub kind: NoteKind,
}

/// What is missing from a survey.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoteKind {
    /// A function vanished while it was read: it is left out.
    Vanished {
        /// The function.
        bdf: Bdf,
        /// Its folder in the tree, as far as it was known.
        folder: Option<String>,
    },
    /// A function is left out because it cannot be told what it is, or what it is below.
    LeftOut {
        /// The function.
        bdf: Bdf,
        /// Why.
        why: String,
    },
    /// A function is left out because the bridge above it is.
    Orphan {
        /// The function.
        bdf: Bdf,
        /// The bridge.
        bridge: Bdf,
    },
    /// The function's registers contradict themselves or one another; what they say is taken as unknown.
    Contradiction {
        /// The function.
        bdf: Bdf,
        /// What.
        what: &'static str,
    },
    /// Something cannot be read; what it would say is unknown.
    Unreadable {
        /// What.
        path: String,
        /// Why.
        failure: Failure,
    },
    /// A dump ends within a function, which is left out or known in part only.
    Cut {
        /// The function.
        bdf: Bdf,
        /// Whether it is left out.
        left_out: bool,
    },
}

impl From<NoteKind> for Note {
    fn from(kind: NoteKind) -> Self {
        Self { line: None, kind }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(line) = self.line {
            write!(f, "line {line}: ")?;
        }
        self.kind.fmt(f)
    }
}

impl fmt::Display for NoteKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vanished { bdf, .. } => {
                write!(f, "{bdf} vanished while it was read, and is left out")
            }
            Self::LeftOut { bdf, why } => write!(f, "{bdf} is left out: {why}"),
            Self::Orphan { bdf, bridge } => {
                write!(f, "{bdf} is left out: the bridge above it, {bridge}, is not there")
            }
            Self::Contradiction { bdf, what } => write!(f, "{bdf}: {what}"),
            Self::Unreadable { path, failure } => write!(f, "/{path} is not known: {failure}"),
            Self::Cut { bdf, left_out: true } => {
                write!(f, "the text ends within {bdf}, which is left out")
            }
            Self::Cut { bdf, left_out: false } => {
                write!(f, "the text ends within {bdf}, of which the rest is not known")
            }
        }
    }
}
