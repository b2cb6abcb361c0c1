//! What can go wrong as a whole. What is wrong with a part only is a [`Note`](crate::Note).

use std::path::PathBuf;

use p2pdma_pci::topology::TopologyError;

use crate::{Failure, LspciError, SnapshotError};

/// Why a machine cannot be read at all.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The root of a tree cannot be opened.
    #[error("cannot open {}: {failure}", path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// Why.
        failure: Failure,
    },
    /// Neither PCI devices nor what would hold them is there: this is no root of a Linux system.
    #[error("no Linux system: {path} cannot be read: {failure}")]
    NoSystem {
        /// What was looked for.
        path: &'static str,
        /// Why it cannot be read.
        failure: Failure,
    },
    /// What was read is no tree.
    #[error("the PCI functions form no tree: {0}")]
    Topology(#[from] TopologyError),
    /// A file is no snapshot, or a spoilt one.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A text is not what `lspci` prints, or spoilt.
    #[error(transparent)]
    Lspci(#[from] LspciError),
    /// A capture is neither: its first line is none of either.
    #[error(
        "neither a snapshot nor the text of lspci: it begins with {begin:?}; \
         capture with 'p2pdma topo --save FILE', or with 'lspci -xxxx -vvv' as root"
    )]
    NoCapture {
        /// The first characters.
        begin: String,
    },
    /// A file cannot be read or written.
    #[error("cannot {what} {}: {source}", path.display())]
    File {
        /// "read" or "write".
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}
