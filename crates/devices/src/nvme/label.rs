//! The label of a namespace's file: what hosts changed about the namespace, in a text file beside it.
//!
//! The file itself has nothing but blocks, so that it can be used by other programs. Without the label the
//! next process would read them in the format of the description, whatever a host made of them.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::str::SplitWhitespace;

use p2pdma_spec::nvme::protection::ProtectionType;

use super::bad_blocks::BadBlocks;
use super::media::{FileMedia, MediaError};
use super::namespace::Format;
use crate::Error;

/// The first line.
const TITLE: &str = "p2pdma-namespace 1";
/// The last line: without it the label is not whole.
const END: &str = "end";
/// A label with as many runs of bad blocks as there can be is shorter than this.
const LONGEST: u64 = 64 << 20;

/// Where a label is, and for what its namespace was made.
#[derive(Debug)]
pub(crate) struct Label {
    path: PathBuf,
    made: Format,
}

/// What a label says.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) format: Format,
    pub(crate) write_protected: bool,
    pub(crate) bad: BadBlocks,
}

/// All that is written in a label.
struct Contents {
    capacity: u64,
    made: Format,
    kept: Kept,
}

impl Label {
    /// The label of a namespace's file. A file that is new, or as long as the namespace and without a
    /// label, gets its length and a label.
    pub(crate) fn open(
        file: &Path,
        media: &FileMedia,
        format: Format,
        capacity: u64,
    ) -> Result<(Self, Kept), Error> {
        let path = with_suffix(file, ".label");
        let failed = |source| Error::File { path: path.clone(), source };
        // A label beside a file that has just been made is what is left of another one.
        let text = media.found().map(|len| Ok((len, read(&path)?))).transpose().map_err(failed)?;
        let Some((len, Some(text))) = text else {
            media.check_whole(file, capacity)?;
            media.extend(file, capacity)?;
            let kept = Kept { format, write_protected: false, bad: BadBlocks::default() };
            let label = Self { path: path.clone(), made: format };
            // Nothing is lost with it yet: it need not be durable, and costs a start next to no time.
            let first = self::text(capacity, &format, &kept.format, false, &kept.bad);
            label.write(&first, false).map_err(failed)?;
            return Ok((label, kept));
        };
        let parsed = parse(&text).map_err(|(line, what)| Error::Label {
            path: path.clone(),
            line: if line == 0 { text.lines().count() + 1 } else { line },
            what,
        });
        let Contents { capacity: before, made, kept } = parsed?;
        // The description may have followed what a host did. A namespace that grew keeps its blocks.
        if (made != format && kept.format != format) || before > capacity {
            return Err(Error::FileFormat {
                path: file.to_owned(),
                made: described(&made, before),
                formatted: kept.format.to_string(),
                described: described(&format, capacity),
            });
        }
        if len < before {
            return Err(Error::FileCut { path: file.to_owned(), len, before });
        }
        media.extend(file, capacity)?;
        Ok((Self { path, made: format }, kept))
    }

    /// Writes down what is so now: all of it, or nothing.
    pub(crate) fn save(
        &self,
        capacity: u64,
        format: &Format,
        write_protected: bool,
        bad: &BadBlocks,
    ) -> Result<(), MediaError> {
        Ok(self.write(&text(capacity, &self.made, format, write_protected, bad), true)?)
    }

    /// The namespace is no more.
    pub(crate) fn remove(&self) -> Result<(), MediaError> {
        Ok(fs::remove_file(&self.path)?)
    }

    fn write(&self, text: &str, durable: bool) -> io::Result<()> {
        let fresh = with_suffix(&self.path, ".new");
        let mut file = File::create(&fresh)?;
        file.write_all(text.as_bytes())?;
        if durable {
            file.sync_all()?;
        }
        fs::rename(&fresh, &self.path)?;
        // The new name itself is durable when its folder is (fsync(2)).
        match self.path.parent() {
            Some(folder) if durable => File::open(folder)?.sync_all(),
            _ => Ok(()),
        }
    }
}

fn described(format: &Format, capacity: u64) -> String {
    format!("{} {format}", capacity / u64::from(format.stride()))
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}

/// A label's text, if there is one.
fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(metadata) if metadata.len() > LONGEST => Err(io::ErrorKind::FileTooLarge.into()),
        Ok(_) => fs::read_to_string(path).map(Some),
    }
}

fn text(
    capacity: u64,
    made: &Format,
    format: &Format,
    write_protected: bool,
    bad: &BadBlocks,
) -> String {
    let mut text = format!("{TITLE}\n");
    let mut line = |words: std::fmt::Arguments<'_>| {
        // Writing into a string does not fail.
        let _ = writeln!(text, "{words}");
    };
    line(format_args!("capacity {capacity}"));
    for (name, format) in [("made", made), ("format", format)] {
        let place = if format.extended { "extended" } else { "separate" };
        let end = if format.information_first { "first" } else { "last" };
        let (data, metadata) = (format.data, format.metadata);
        let protection = format.protection.into_bits();
        line(format_args!("{name} {data} {metadata} {place} {protection} {end}"));
    }
    line(format_args!("write-protected {}", if write_protected { "yes" } else { "no" }));
    for (start, end) in bad.runs() {
        line(format_args!("bad {start} {end}"));
    }
    line(format_args!("{END}"));
    text
}

/// In which line, and what is wrong; line 0 is the one that is missing.
type Wrong = (usize, &'static str);

fn parse(text: &str) -> Result<Contents, Wrong> {
    let mut lines = (1..).zip(text.lines());
    if lines.next().is_none_or(|(_, line)| line != TITLE) {
        return Err((1, "it must begin with 'p2pdma-namespace 1'"));
    }
    let capacity = word(&mut lines, "capacity", |words| words.next()?.parse().ok())?;
    let made = word(&mut lines, "made", format)?;
    let format = word(&mut lines, "format", format)?;
    let write_protected = word(&mut lines, "write-protected", |words| match words.next()? {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    })?;
    let bad = bad_blocks(&mut lines, capacity / u64::from(format.stride()))?;
    Ok(Contents { capacity, made, kept: Kept { format, write_protected, bad } })
}

/// A line with a name and what is behind it.
fn word<'a, T>(
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
    name: &str,
    value: impl FnOnce(&mut SplitWhitespace<'a>) -> Option<T>,
) -> Result<T, Wrong> {
    let (number, line) = lines.next().ok_or((0, "it ends too early"))?;
    let mut words = line.split_whitespace();
    let named = words.next() == Some(name);
    let value = value(&mut words).filter(|_| named && words.next().is_none());
    value.ok_or((number, "it is none of the lines that are expected here"))
}

fn format(words: &mut SplitWhitespace<'_>) -> Option<Format> {
    let index = Format::index_of(words.next()?.parse().ok()?, words.next()?.parse().ok()?)?;
    let extended = match words.next()? {
        "extended" => true,
        "separate" => false,
        _ => return None,
    };
    let protection = ProtectionType::from_bits(words.next()?.parse().ok()?);
    let first = match words.next()? {
        "first" => true,
        "last" => false,
        _ => return None,
    };
    Format::of(index, extended, protection, first)
}

/// The lines about bad blocks, and the last one.
fn bad_blocks<'a>(
    lines: &mut impl Iterator<Item = (usize, &'a str)>,
    blocks: u64,
) -> Result<BadBlocks, Wrong> {
    let mut bad = BadBlocks::default();
    let mut from = 0;
    while let Some((number, line)) = lines.next() {
        if line == END {
            bad.changed = false;
            let more = lines.next().map(|(number, _)| (number, "nothing may stand after its end"));
            return more.map_or(Ok(bad), Err);
        }
        let mut words = line.split_whitespace();
        let mut run = || {
            let named = words.next()? == "bad";
            let (start, end) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
            (named && words.next().is_none()).then_some((start, end))
        };
        let (start, end): (u64, u64) =
            run().ok_or((number, "it is neither a run of bad blocks nor the end"))?;
        if start < from || end <= start || end > blocks {
            return Err((number, "bad blocks are not in order, or beyond the end"));
        }
        bad.mark(start, end - start).map_err(|_| (number, "there are too many bad blocks"))?;
        from = end;
    }
    Err((0, "its end is missing"))
}
