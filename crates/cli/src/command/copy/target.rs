//! A file as destination: written beside its place, moved there when it is complete.

use std::ffi::OsString;
use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempPath};

use super::host::SourceFile;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::operand::Operand;
use crate::output::units;

/// Where the bytes of a copy to the host end up, checked before anything is done.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    /// Not in a file.
    Elsewhere,
    /// On standard output.
    Stdout,
    /// In a file.
    File {
        path: PathBuf,
        /// Device and inode of what is there already, and is to be replaced.
        replaces: Option<(u64, u64)>,
    },
}

/// A target being written.
#[derive(Debug)]
pub(crate) enum Writing {
    Elsewhere,
    /// Into a file that nobody else sees: order does not matter there.
    Stdout(File),
    File {
        file: NamedTempFile,
        path: PathBuf,
        replace: bool,
        /// Whether it stays where it is, whatever becomes of the copy.
        kept: bool,
    },
}

/// Which file beside its place the destination is written as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Partial {
    /// The part of its name that no other has.
    pub(crate) tag: String,
    pub(crate) inode: u64,
}

impl Target {
    /// Checks the target; `yes` allows to replace a file.
    pub(crate) fn check(operand: &Operand, yes: bool) -> Result<Self> {
        match operand {
            Operand::Stdio => Ok(Self::Stdout),
            Operand::File(path) => Self::check_file(path, yes),
            _ => Ok(Self::Elsewhere),
        }
    }

    fn check_file(path: &Path, yes: bool) -> Result<Self> {
        let shown = path.display();
        let Some(_) =
            path.file_name().filter(|_| !path.as_os_str().as_encoded_bytes().ends_with(b"/"))
        else {
            let failure = Failure::usage(format!("{shown} is no name of a file"));
            return Err(failure.remedy("name a file, such as ./out"));
        };
        let metadata = match std::fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                check_folder(path)?;
                return Ok(Self::File { path: path.to_owned(), replaces: None });
            }
            Err(error) => {
                let failure = Failure::file(path, &error);
                return Err(failure.or_remedy("name a file in a folder that is there"));
            }
        };
        if metadata.is_symlink() {
            return Err(Failure::usage(format!("{shown} is a symbolic link"))
                .remedy("name the file that it leads to"));
        }
        if metadata.is_dir() {
            return Err(Failure::usage(format!("{shown} is a folder"))
                .remedy(format!("name a file in it, such as {shown}/out")));
        }
        if !metadata.is_file() {
            return Err(Failure::usage(format!("{shown} is a device, pipe or socket"))
                .remedy("a stream can leave through '-', standard output"));
        }
        if !yes {
            return Err(Failure::refused("EXISTS", format!("{shown} exists; nothing was written"))
                .remedy("--yes replaces it"));
        }
        Ok(Self::File { path: path.to_owned(), replaces: Some((metadata.dev(), metadata.ino())) })
    }

    /// A file is no source of its own replacement.
    pub(crate) fn check_other_than(&self, source: Option<&SourceFile>) -> Result<()> {
        match (self, source) {
            (Self::File { path, replaces: Some(identity) }, Some(source))
                if *identity == source.identity =>
            {
                let message =
                    format!("{} is source and destination; nothing was written", path.display());
                Err(Failure::refused("SAME", message).remedy("name another destination"))
            }
            _ => Ok(()),
        }
    }

    /// Makes the file, beside its place; or takes the one up again that an earlier copy has left there.
    pub(crate) fn begin(self, partial: Option<Partial>) -> Result<Writing> {
        match self {
            Self::Elsewhere => Ok(Writing::Elsewhere),
            Self::Stdout => {
                let file = tempfile::tempfile();
                file.map(Writing::Stdout)
                    .map_err(|error| Failure::file(Path::new(SPOOL), &bare(error)))
            }
            Self::File { path, replaces } => {
                let failed = |error| Failure::file(folder(&path), &bare(error));
                let kept = partial.is_some();
                let file = match partial {
                    Some(partial) => take_up(&path, &partial)?,
                    None => beside(&path, replaces.is_some()).map_err(failed)?,
                };
                Ok(Writing::File { file, path, replace: replaces.is_some(), kept })
            }
        }
    }
}

/// What standard output will get waits here: blocks come in any order.
const SPOOL: &str = "a temporary file for standard output";

/// Without the temporary name that the library adds, which nobody will ever see.
fn bare(error: io::Error) -> io::Error {
    if error.raw_os_error().is_some() { error } else { error.kind().into() }
}

/// The name of a file beside the target, as the user named the target.
fn like(target: &Path, beside: &Path) -> PathBuf {
    beside.file_name().map_or_else(|| beside.to_owned(), |name| target.with_file_name(name))
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn check_folder(path: &Path) -> Result<()> {
    let folder = folder(path);
    match std::fs::metadata(folder) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(Failure::usage(format!("{} is no folder", folder.display()))
            .remedy("name a file in a folder that is there")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let failure = Failure::file(folder, &error);
            Err(failure.remedy(format!("make the folder first: mkdir -p {}", folder.display())))
        }
        Err(error) => Err(Failure::file(folder, &error)),
    }
}

/// A new file in the same folder, named so that it tells what it is if it is left behind.
fn beside(path: &Path, replaces: bool) -> io::Result<NamedTempFile> {
    // As any program makes a file: what the user's mask takes away is taken away. What replaces another is its
    // maker's alone until it has the other's owner and mode.
    let mode = if replaces { 0o600 } else { 0o666 };
    tempfile::Builder::new()
        .prefix(&prefix(path))
        .suffix(SUFFIX)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder(path))
}

/// Gives a file the owner and the mode of the one that it replaces. Who may not give files away keeps it, and nobody
/// else gets at it.
fn become_like(file: &File, replaced: &Path) -> io::Result<()> {
    let (own, other) = (file.metadata()?, std::fs::symlink_metadata(replaced)?);
    let same = (own.uid(), own.gid()) == (other.uid(), other.gid());
    let given = same || fchown(file, Some(other.uid()), Some(other.gid())).is_ok();
    let kept = if given { 0o7777 } else { 0o700 };
    file.set_permissions(Permissions::from_mode(other.mode() & kept))
}

/// What the name of a file that is written begins with, before a tag that no other has.
fn prefix(path: &Path) -> OsString {
    // A name may have 255 bytes; the tag and the suffix are added.
    const LONGEST: usize = 200;
    let name = path.file_name().filter(|name| name.len() <= LONGEST);
    let mut prefix = name.map_or_else(|| OsString::from("p2pdma"), OsString::from);
    prefix.push(".");
    prefix
}

const SUFFIX: &str = ".partial";

/// Opens the file that an earlier copy has left, if it is still the same.
fn take_up(path: &Path, partial: &Partial) -> Result<NamedTempFile> {
    let mut name = prefix(path);
    name.push(&partial.tag);
    name.push(SUFFIX);
    let left = path.with_file_name(name);
    let gone = || {
        let message = format!("{}, which was to be gone on with, is not there", left.display());
        Failure::refused("JOURNAL", message).remedy("remove the journal to begin anew")
    };
    let is_it = |metadata: std::fs::Metadata| metadata.is_file() && metadata.ino() == partial.inode;
    if partial.tag.contains('/') || !std::fs::symlink_metadata(&left).is_ok_and(is_it) {
        return Err(gone());
    }
    let opened = File::options().read(true).write(true).open(&left);
    let file = opened.map_err(|error| Failure::file(&left, &error))?;
    if !file.metadata().is_ok_and(is_it) {
        return Err(gone());
    }
    let mut place = TempPath::try_from_path(&left).map_err(|error| Failure::file(&left, &error))?;
    place.disable_cleanup(true);
    Ok(NamedTempFile::from_parts(file, place))
}

/// Pours a file out on standard output, in pieces between which it can be broken off.
fn pour(mut file: File, interrupt: &Interrupt) -> Result<()> {
    const PIECE: u64 = 1 << 20;
    let failed =
        |error: io::Error| Failure::new(Exit::Io, "IO", format!("standard output: {error}"));
    file.rewind().map_err(failed)?;
    let (mut stdout, mut poured) = (io::stdout().lock(), 0);
    loop {
        let piece = io::copy(&mut (&mut file).take(PIECE), &mut stdout).map_err(failed)?;
        if piece == 0 {
            return stdout.flush().map_err(failed);
        }
        poured += piece;
        if interrupt.raised() {
            let done = format!("; standard output got {}", units::exact_bytes(poured));
            return Err(Failure::interrupted().append(&done));
        }
    }
}

impl Writing {
    /// The file to write, and its name for messages.
    pub(crate) fn file(&self) -> Result<Option<(File, String)>> {
        let named = |file: &File, name: &Path| {
            let copy = file.try_clone().map_err(|error| Failure::file(name, &error))?;
            Ok(Some((copy, name.display().to_string())))
        };
        match self {
            Self::Elsewhere => Ok(None),
            Self::Stdout(file) => named(file, Path::new(SPOOL)),
            Self::File { file, path, .. } => named(file.as_file(), &like(path, file.path())),
        }
    }

    /// Which file it is that is written beside its place.
    pub(crate) fn partial(&self) -> Result<Option<Partial>> {
        let Self::File { file, path, .. } = self else { return Ok(None) };
        let inode = file.as_file().metadata().map_err(|error| Failure::file(path, &error))?.ino();
        let name = file.path().file_name().unwrap_or_default().to_string_lossy();
        let tag = name.strip_suffix(SUFFIX).and_then(|name| name.rsplit('.').next());
        Ok(tag.map(|tag| Partial { tag: tag.to_owned(), inode }))
    }

    /// Whether the file stays beside its place, even if this process is killed.
    pub(crate) fn keep(&mut self, stays: bool) {
        if let Self::File { file, kept, .. } = self {
            file.disable_cleanup(stays);
            *kept = stays;
        }
    }

    /// Makes the file so long.
    pub(crate) fn set_len(&self, len: u64) -> Result<()> {
        let Self::File { file, path, .. } = self else { return Ok(()) };
        file.as_file().set_len(len).map_err(|error| Failure::file(path, &error))
    }

    /// Everything is there: makes it durable, and moves it to its place.
    pub(crate) fn finish(self, interrupt: &Interrupt) -> Result<()> {
        match self {
            Self::Elsewhere => Ok(()),
            Self::Stdout(file) => pour(file, interrupt),
            Self::File { file, path, replace, .. } => {
                let failed = |error: io::Error| Failure::file(&path, &error);
                if replace {
                    become_like(file.as_file(), &path).or_else(|error| match error.kind() {
                        // There is nothing to replace any more.
                        io::ErrorKind::NotFound => Ok(()),
                        _ => Err(failed(error)),
                    })?;
                }
                file.as_file().sync_all().map_err(failed)?;
                let moved = match replace {
                    true => file.persist(&path),
                    false => file.persist_noclobber(&path),
                };
                moved.map_err(|lost| {
                    let kept = lost.file.keep().ok();
                    let place = kept.map_or_else(String::new, |(_, partial)| {
                        format!("; the complete copy is {}", like(&path, &partial).display())
                    });
                    match lost.error.kind() {
                        io::ErrorKind::AlreadyExists => Failure::refused(
                            "EXISTS",
                            format!("{} appeared meanwhile{place}", path.display()),
                        ),
                        _ => Failure::file(&path, &lost.error).append(&place),
                    }
                })?;
                File::open(folder(&path)).and_then(|folder| folder.sync_all()).map_err(failed)
            }
        }
    }

    /// It did not become complete: keeps what there is, under a name that says so, and returns that name;
    /// with nothing to keep, removes it.
    pub(crate) fn abandon(self, complete: u64) -> Option<String> {
        match self {
            Self::File { file, path, kept, .. } if kept || complete > 0 => {
                file.keep().ok().map(|(_, kept)| like(&path, &kept).display().to_string())
            }
            _ => None,
        }
    }
}
