//! Reading a snapshot's file.

use serde_json::Value;

use super::format::{ROW, Record, failure_named};
use super::{MOST_BYTES, Selected, Snapshot, SnapshotError, SnapshotProblem, VERSION, path_in};
use crate::Failure;
use crate::tree::{File, as_text};

/// The most bytes of a file that is no text.
const MOST_BINARY: usize = 1 << 20;

type Result<T> = std::result::Result<T, SnapshotProblem>;

pub(super) fn parse(bytes: &[u8]) -> std::result::Result<Snapshot, SnapshotError> {
    let at = |line, problem| SnapshotError { line, problem };
    if bytes.len() > MOST_BYTES {
        return Err(at(1, SnapshotProblem::TooLarge { most: MOST_BYTES }));
    }
    let mut reader = Reader::default();
    let mut last = 0;
    for (number, line) in (1..).zip(bytes.split(|&byte| byte == b'\n')) {
        last = number;
        let line = std::str::from_utf8(line).map_err(|_| at(number, SnapshotProblem::NotText))?;
        let line = line.strip_suffix('\r').unwrap_or(line);
        if number == 1 {
            header(line).map_err(|problem| at(number, problem))?;
        } else {
            reader.line(line).map_err(|problem| at(number, problem))?;
        }
    }
    if !reader.ended {
        return Err(at(last, SnapshotProblem::Cut));
    }
    Ok(reader.snapshot)
}

fn header(line: &str) -> Result<()> {
    let header: Value = serde_json::from_str(line).map_err(|_| SnapshotProblem::NoSnapshot)?;
    match header.get("p2pdma-snapshot").and_then(Value::as_u64) {
        Some(VERSION) => Ok(()),
        Some(found) => Err(SnapshotProblem::Version { found }),
        None => Err(SnapshotProblem::NoSnapshot),
    }
}

/// A file of bytes whose records of digits are being read.
struct Binary {
    path: String,
    file: File,
    /// Where the next row may begin.
    next: usize,
}

#[derive(Default)]
struct Reader {
    snapshot: Snapshot,
    folder: String,
    binary: Option<Binary>,
    count: u64,
    ended: bool,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<()> {
        if line.is_empty() && self.ended {
            return Ok(());
        }
        if self.ended {
            return Err(SnapshotProblem::Senseless("it is after the end"));
        }
        let record: Record = serde_json::from_str(line)
            .map_err(|error| SnapshotProblem::Syntax(describe(&error)))?;
        match record {
            Record { at: Some(at), hex: Some(hex), .. } => self.row(&at, &hex)?,
            Record { end: Some(told), .. } => {
                self.finish_binary()?;
                if told != self.count {
                    return Err(SnapshotProblem::Count { found: self.count, told });
                }
                self.ended = true;
                return Ok(());
            }
            record => {
                self.finish_binary()?;
                self.answer(record)?;
            }
        }
        self.count += 1;
        Ok(())
    }

    fn answer(&mut self, record: Record) -> Result<()> {
        let fails = match record.fails.as_deref().map(failure_named) {
            Some(None) => return Err(SnapshotProblem::Senseless("'fails' names no failure")),
            Some(failure) => failure,
            None => None,
        };
        match record {
            Record { folder: Some(folder), names, .. } => self.list(folder, names, fails),
            Record { file: Some(name), text, size, bytes, more, .. } => {
                let path = path_in(&self.folder, &name);
                if let Some(failure) = fails {
                    return insert(&mut self.snapshot.files, path, Err(failure));
                }
                self.file(path, text, size, bytes, more.unwrap_or(false))
            }
            Record { link: Some(name), to, .. } => {
                let answer = one(to, fails, "'link' needs 'to' or 'fails'")?;
                insert(&mut self.snapshot.links, path_in(&self.folder, &name), answer)
            }
            Record { lines: Some(name), words, found, .. } => {
                let selected = words.zip(found).map(|(words, found)| Selected { words, found });
                let missing = "'lines' needs 'words' and 'found', or 'fails'";
                let answer = one(selected, fails, missing)?;
                insert(&mut self.snapshot.lines, path_in(&self.folder, &name), answer)
            }
            _ => Err(SnapshotProblem::Senseless("it is about nothing")),
        }
    }

    fn list(
        &mut self,
        folder: String,
        names: Option<Vec<String>>,
        fails: Option<Failure>,
    ) -> Result<()> {
        self.folder.clone_from(&folder);
        let answer = match (names, fails) {
            (Some(mut names), None) => {
                // Looked up by halving.
                names.sort_unstable();
                Ok(names)
            }
            (None, Some(failure)) => Err(failure),
            (None, None) => return Ok(()),
            (Some(_), Some(_)) => {
                return Err(SnapshotProblem::Senseless("'names' and 'fails' exclude each other"));
            }
        };
        insert(&mut self.snapshot.lists, folder, answer)
    }

    fn file(
        &mut self,
        path: String,
        text: Option<String>,
        size: Option<u64>,
        bytes: Option<usize>,
        more: bool,
    ) -> Result<()> {
        match (text, bytes) {
            (Some(text), None) => {
                if as_text(text.as_bytes()).is_none() {
                    return Err(SnapshotProblem::Senseless("'text' has control characters"));
                }
                let file = File::new(text.into_bytes(), more, size.unwrap_or(0));
                insert(&mut self.snapshot.files, path, Ok(file))
            }
            (None, Some(len)) if len <= MOST_BINARY => {
                let size = size.ok_or(SnapshotProblem::Senseless("'bytes' needs 'size'"))?;
                let file = File { bytes: vec![0; len], more, size };
                self.binary = Some(Binary { path, file, next: 0 });
                Ok(())
            }
            (None, Some(_)) => Err(SnapshotProblem::Senseless("'bytes' is too large")),
            _ => Err(SnapshotProblem::Senseless("'file' needs 'text', 'bytes' or 'fails'")),
        }
    }

    fn row(&mut self, at: &str, hex: &str) -> Result<()> {
        let binary = self.binary.as_mut();
        let binary = binary.ok_or(SnapshotProblem::Senseless("digits without a file"))?;
        let at = usize::from_str_radix(at, 16).ok().filter(|at| *at >= binary.next);
        let at = at.ok_or(SnapshotProblem::Senseless("'at' is no place after the last one"))?;
        let bytes = digits(hex).ok_or(SnapshotProblem::Senseless("'hex' is not 1 to 16 bytes"))?;
        let end = at.saturating_add(bytes.len());
        let place = binary.file.bytes.get_mut(at..end);
        place
            .ok_or(SnapshotProblem::Senseless("the digits end beyond the file"))?
            .copy_from_slice(&bytes);
        binary.next = end;
        Ok(())
    }

    /// Keeps a file of bytes, all of its rows read.
    fn finish_binary(&mut self) -> Result<()> {
        match self.binary.take() {
            Some(Binary { path, file, .. }) if as_text(&file.bytes).is_some() => {
                let _ = path;
                Err(SnapshotProblem::Senseless("the bytes before it are text"))
            }
            Some(Binary { path, file, .. }) => insert(&mut self.snapshot.files, path, Ok(file)),
            None => Ok(()),
        }
    }
}

fn one<T>(
    answer: Option<T>,
    fails: Option<Failure>,
    missing: &'static str,
) -> Result<std::result::Result<T, Failure>> {
    match (answer, fails) {
        (Some(answer), None) => Ok(Ok(answer)),
        (None, Some(failure)) => Ok(Err(failure)),
        _ => Err(SnapshotProblem::Senseless(missing)),
    }
}

fn insert<T>(
    answers: &mut std::collections::HashMap<String, T>,
    path: String,
    answer: T,
) -> Result<()> {
    match answers.entry(path) {
        std::collections::hash_map::Entry::Occupied(there) => {
            Err(SnapshotProblem::Repeated { path: there.key().clone() })
        }
        std::collections::hash_map::Entry::Vacant(free) => {
            free.insert(answer);
            Ok(())
        }
    }
}

/// Two digits for each byte, separated by blanks.
fn digits(hex: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(ROW);
    for pair in hex.split(' ') {
        let plain = pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !plain || bytes.len() == ROW {
            return None;
        }
        bytes.push(u8::from_str_radix(pair, 16).ok()?);
    }
    Some(bytes)
}

/// The parser's words without its own count of lines, which is always 1.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{what} at column {}", error.column()),
        None => text,
    }
}
