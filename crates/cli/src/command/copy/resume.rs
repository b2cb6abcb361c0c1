//! `--resume`: a copy goes on where an earlier one was broken off, by its journal.

use std::path::{Path, PathBuf};

use p2pdma::{Journal, JournalError, Labels, Parts};

use super::host::HostEnd;
use super::job::{Lengths, Pieces};
use super::side::{Kind, Side};
use super::target::{Partial, Writing};
use crate::failure::{Failure, Result};
use crate::operand::Operand;
use crate::platform::AnyPlatform;

/// A copy that keeps a journal, and goes on if there is one.
#[derive(Debug)]
pub(crate) struct Resume {
    path: PathBuf,
    journal: Option<Journal>,
    /// What names the job.
    labels: Labels,
}

/// The journal's note about the file that the destination is written as: its tag and its inode.
const PARTIAL: &str = "partial";
const DESTINATION: &str = "destination";

impl Resume {
    /// Opens the journal, if there is one.
    pub(crate) fn open(path: &Path, ends: [&Operand; 2]) -> Result<Self> {
        if ends.iter().any(|end| matches!(end, Operand::File(file) if file == path)) {
            let message =
                format!("{} cannot be the journal and an end of the copy", path.display());
            return Err(Failure::usage(message).remedy("name another file after --resume"));
        }
        let journal = Journal::open(path).map_err(p2pdma::Error::from)?;
        if let (Some(journal), Operand::File(file)) = (&journal, ends[1]) {
            // Before that file is looked for beside its place.
            let place = place(&file.display().to_string())?;
            journal.check_label(DESTINATION, &place).map_err(p2pdma::Error::from)?;
        }
        Ok(Self { path: path.to_owned(), journal, labels: Labels::new() })
    }

    /// Whether there is something to go on from.
    pub(crate) fn goes_on(&self) -> bool {
        self.journal.as_ref().is_some_and(|journal| !journal.durable().is_empty())
    }

    /// The file that the destination was written as.
    pub(crate) fn partial(&self) -> Result<Option<Partial>> {
        let Some(note) = self.journal.as_ref().and_then(|journal| journal.note(PARTIAL)) else {
            return Ok(None);
        };
        let partial = note.split_once(' ').and_then(|(tag, inode)| {
            Some(Partial { tag: tag.to_owned(), inode: inode.parse().ok()? })
        });
        let foreign = || JournalError::Foreign { path: self.path.clone() };
        Ok(Some(partial.ok_or_else(|| p2pdma::Error::from(foreign()))?))
    }

    /// Makes sure that the journal is of this copy.
    pub(crate) fn check(&mut self, labels: Labels) -> Result<()> {
        if let Some(journal) = &self.journal {
            journal.check(&labels).map_err(p2pdma::Error::from)?;
        }
        self.labels = labels;
        Ok(())
    }

    /// What need not be moved again.
    pub(crate) fn durable(&self) -> Parts {
        self.journal.as_ref().map_or_else(Parts::default, |journal| journal.durable().clone())
    }

    /// The copy begins: from now on what is written stays, whatever becomes of this process.
    pub(crate) fn begin(&mut self, writing: &mut Writing) -> Result<()> {
        if self.journal.is_none() {
            let partial = writing.partial()?;
            let note = |Partial { tag, inode }| (PARTIAL, format!("{tag} {inode}"));
            let notes = partial.map(note).into_iter().collect();
            let labels = std::mem::take(&mut self.labels);
            let made = Journal::create(&self.path, labels, notes).map_err(p2pdma::Error::from)?;
            self.journal = Some(made);
        }
        writing.keep(true);
        Ok(())
    }

    /// Everything before byte `end` is durable.
    pub(crate) fn tell(&mut self, end: u64) -> std::result::Result<(), p2pdma::Error> {
        match &mut self.journal {
            Some(journal) if end > 0 => Ok(journal.add(0, end)?),
            _ => Ok(()),
        }
    }

    /// The copy is complete: the journal has done its work.
    pub(crate) fn finish(self) -> Result<()> {
        self.journal.map_or(Ok(()), |journal| Ok(journal.remove().map_err(p2pdma::Error::from)?))
    }

    /// The copy ended otherwise. The journal stays if it has anything to go on from; where what was written is
    /// wrong, it has not. Returns what it stays as.
    pub(crate) fn abandon(self, is_wrong: bool, writing: &mut Writing) -> Option<PathBuf> {
        let journal = self.journal?;
        if !is_wrong && !journal.durable().is_empty() {
            return Some(self.path);
        }
        writing.keep(false);
        // Where it cannot be removed it says nothing, or what the same command refuses again.
        journal.remove().ok();
        None
    }
}

/// What names a copy, so that its journal is used for no other.
pub(crate) fn labels(
    platform: &AnyPlatform,
    machine: &str,
    [source, sink]: [&Side; 2],
    pieces: Pieces,
    lengths: Lengths,
) -> Result<Labels> {
    let size = |side: &Side| match side.abilities().size {
        Some(size) => size.to_string(),
        None => "without end".to_owned(),
    };
    let once = match &source.kind {
        Kind::Host(HostEnd::Source(file)) => file.is_spool(),
        Kind::Host(HostEnd::Stdin | HostEnd::Memory { .. }) => true,
        _ => false,
    };
    if once {
        return Err(not_again(source, "cannot be read again"));
    }
    if !sink.keeps() || sink.text == "-" || matches!(sink.kind, Kind::Memory { .. }) {
        return Err(not_again(sink, "keeps nothing that could be gone on with"));
    }
    Ok(vec![
        ("source", identity(platform, machine, source)?),
        ("source-size", size(source)),
        ("source-offset", source.offset.to_string()),
        (DESTINATION, identity(platform, machine, sink)?),
        ("destination-size", size(sink)),
        ("destination-offset", sink.offset.to_string()),
        ("length", lengths.payload.to_string()),
        ("block", pieces.block.to_string()),
    ])
}

fn not_again(side: &Side, what: &str) -> Failure {
    Failure::usage(format!("{} {what}", side.text)).remedy("leave --resume out")
}

/// What tells an end from all others, now and after a restart of the machine.
fn identity(platform: &AnyPlatform, machine: &str, side: &Side) -> Result<String> {
    Ok(match &side.kind {
        Kind::Namespace { at, number, .. } => format!("{machine} {at}/ns{number}"),
        Kind::Volume { grows: true, .. } | Kind::Host(HostEnd::Target) => place(&side.text)?,
        Kind::Volume { volume, .. } => match platform.linux() {
            Some(linux) if volume.file.is_block() => linux.identity(volume),
            _ => format!("{} {}", place(&side.text)?, version(volume.file.file())?),
        },
        Kind::Host(HostEnd::Source(file)) => {
            format!("{} {}", place(&side.text)?, version(&file.file)?)
        }
        Kind::Host(HostEnd::Zero | HostEnd::Pattern { .. }) => side.text.clone(),
        Kind::Memory { .. } | Kind::Host(_) => {
            return Err(not_again(side, "may be another one next time"));
        }
    })
}

/// Where a file is: its folder, and its name there.
fn place(text: &str) -> Result<String> {
    let path = Path::new(text);
    let failed = |error: std::io::Error| Failure::file(path, &error);
    let absolute = std::path::absolute(path).map_err(failed)?;
    Ok(format!("file {}", absolute.display()))
}

/// Which file it is there, and since when.
fn version(file: &std::fs::File) -> Result<String> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = file.metadata()?;
    let (inode, seconds, nanos) = (metadata.ino(), metadata.mtime(), metadata.mtime_nsec());
    Ok(format!("inode {inode} of {seconds}.{nanos:09}"))
}
