//! Ends on the host: files, standard input, memory, patterns.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use p2pdma::{HostClient, Platform};

use crate::failure::{Failure, Result};
use crate::operand::Operand;

/// A file to read, open.
#[derive(Debug)]
pub(crate) struct SourceFile {
    pub(crate) file: File,
    name: String,
    len: u64,
    /// Device and inode: what it is, whatever it is called.
    pub(crate) identity: (u64, u64),
}

impl SourceFile {
    /// Whether it holds what came from standard input.
    pub(crate) fn is_spool(&self) -> bool {
        self.identity == (0, 0)
    }
}

/// An end on the host.
#[derive(Debug)]
pub(crate) enum HostEnd {
    /// A file to read.
    Source(SourceFile),
    /// Standard input, which has to be read to its end before its length is known.
    Stdin,
    /// A file or standard output, to be made when everything else is sure.
    Target,
    Memory {
        len: u64,
    },
    Null,
    Zero,
    Pattern {
        seed: u64,
    },
}

/// Opens the file that an operand names, if it names one.
pub(crate) fn open(operand: &Operand) -> Result<Option<SourceFile>> {
    let Operand::File(path) = operand else { return Ok(None) };
    let failed = |error: io::Error| Failure::file(path, &error);
    // Looked at before it is opened: opening a pipe would wait for its other end.
    let metadata = std::fs::metadata(path).map_err(|error| {
        failed(error).or_remedy("SRC is a file that is there, or a device: fabric:nvme0/ns1")
    })?;
    check_kind(path, &metadata)?;
    let file = File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    check_kind(path, &metadata)?;
    let (name, len) = (path.display().to_string(), metadata.len());
    let identity = (metadata.dev(), metadata.ino());
    Ok(Some(SourceFile { file, name, len, identity }))
}

fn check_kind(path: &Path, metadata: &std::fs::Metadata) -> Result<()> {
    if metadata.is_file() {
        return Ok(());
    }
    let kind = if metadata.is_dir() { "a folder" } else { "a device, pipe or socket" };
    let failure = Failure::usage(format!("{} is {kind}, and no file", path.display()));
    Err(failure.remedy("a stream can come through '-', standard input"))
}

impl HostEnd {
    /// An end that gives bytes.
    pub(crate) fn source(operand: &Operand, file: Option<SourceFile>) -> Self {
        match (operand, file) {
            (_, Some(file)) => Self::Source(file),
            (Operand::Stdio, None) => Self::Stdin,
            (operand, None) => Self::sink(operand),
        }
    }

    /// An end that takes bytes.
    pub(crate) fn sink(operand: &Operand) -> Self {
        match *operand {
            Operand::Memory { len } => Self::Memory { len },
            Operand::Zero => Self::Zero,
            Operand::Pattern { seed } => Self::Pattern { seed },
            Operand::Null => Self::Null,
            Operand::File(_) | Operand::Stdio | Operand::Device(_) | Operand::Block(_) => {
                Self::Target
            }
        }
    }

    /// Whether what is written there stays.
    pub(crate) fn keeps(&self) -> bool {
        matches!(self, Self::Target)
    }

    /// Its size; `None` for one without end.
    pub(crate) fn size(&self) -> Option<u64> {
        match self {
            Self::Source(file) => Some(file.len),
            Self::Memory { len } => Some(*len),
            Self::Stdin | Self::Target | Self::Null | Self::Zero | Self::Pattern { .. } => None,
        }
    }

    /// Reads standard input to its end, into a file that nobody else sees.
    pub(crate) fn spool(&mut self) -> Result<()> {
        if !matches!(self, Self::Stdin) {
            return Ok(());
        }
        let name = PathBuf::from("standard input");
        let failed = |error: io::Error| Failure::file(&name, &error);
        let mut file = tempfile::tempfile().map_err(failed)?;
        let len = io::copy(&mut io::stdin().lock(), &mut file).map_err(failed)?;
        let name = name.display().to_string();
        *self = Self::Source(SourceFile { file, name, len, identity: (0, 0) });
        Ok(())
    }

    /// A client for the bytes up to `end`. `target` is the file to write, if it is one.
    pub(crate) fn client(
        &self,
        platform: &dyn Platform,
        target: Option<(File, String)>,
        end: u64,
    ) -> Result<HostClient> {
        let client = match self {
            Self::Source(SourceFile { file, name, len, .. }) => {
                let file =
                    file.try_clone().map_err(|error| Failure::file(Path::new(name), &error))?;
                HostClient::file(file, name, *len)
            }
            Self::Target | Self::Stdin => {
                let (file, name) = target.ok_or(p2pdma::Error::Internal("no target to write"))?;
                HostClient::file(file, &name, end)
            }
            Self::Memory { len } => {
                HostClient::memory(Arc::new(platform.host_memory()?.alloc(*len)?))
            }
            Self::Null => HostClient::null(),
            Self::Zero => HostClient::zero(),
            Self::Pattern { seed } => HostClient::pattern(*seed),
        };
        Ok(client.ending_at(end))
    }
}
