//! The form of a snapshot's file: its records, and how they are written.

use std::io::{Result, Write};

use serde::{Deserialize, Serialize};

use super::{Selected, Snapshot, VERSION};
use crate::Failure;
use crate::tree::{File, as_text};

/// Bytes in a record of hexadecimal digits.
pub(super) const ROW: usize = 16;

/// One line between header and end.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) folder: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) names: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) bytes: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) more: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hex: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) link: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) lines: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) words: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) found: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fails: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end: Option<u64>,
}

/// An answer, in the order in which they are written.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    List,
    File,
    Link,
    Lines,
}

struct Writer<'a> {
    out: &'a mut dyn Write,
    folder: Option<String>,
    count: u64,
}

pub(super) fn write(snapshot: &Snapshot, out: &mut dyn Write) -> Result<()> {
    let writer = env!("CARGO_PKG_VERSION");
    writeln!(out, "{{\"p2pdma-snapshot\":{VERSION},\"writer\":\"{writer}\"}}")?;
    let mut writer = Writer { out, folder: None, count: 0 };
    let mut keys: Vec<(&str, &str, Kind)> = Vec::with_capacity(snapshot.len());
    let split = |path| str::rsplit_once(path, '/').unwrap_or(("", path));
    let add = |kind| {
        move |path| {
            let (folder, name) = split(path);
            (folder, name, kind)
        }
    };
    keys.extend(snapshot.lists.keys().map(|path| (path.as_str(), "", Kind::List)));
    keys.extend(snapshot.files.keys().map(String::as_str).map(|p| add(Kind::File)(p)));
    keys.extend(snapshot.links.keys().map(String::as_str).map(|p| add(Kind::Link)(p)));
    keys.extend(snapshot.lines.keys().map(String::as_str).map(|p| add(Kind::Lines)(p)));
    keys.sort_unstable();
    for (folder, name, kind) in keys {
        let path = super::path_in(folder, name);
        match kind {
            Kind::List => writer.list(folder, snapshot.lists.get(folder))?,
            Kind::File => writer.file(folder, name, snapshot.files.get(&path))?,
            Kind::Link => writer.link(folder, name, snapshot.links.get(&path))?,
            Kind::Lines => writer.lines(folder, name, snapshot.lines.get(&path))?,
        }
    }
    let count = writer.count;
    writeln!(writer.out, "{{\"end\":{count}}}")
}

impl Writer<'_> {
    fn record(&mut self, record: &Record) -> Result<()> {
        self.count += 1;
        serde_json::to_writer(&mut *self.out, record)?;
        self.out.write_all(b"\n")
    }

    fn enter(&mut self, folder: &str) -> Result<()> {
        if self.folder.as_deref() == Some(folder) {
            return Ok(());
        }
        self.folder = Some(folder.to_owned());
        self.record(&Record { folder: Some(folder.to_owned()), ..Record::default() })
    }

    fn list(
        &mut self,
        path: &str,
        names: Option<&std::result::Result<Vec<String>, Failure>>,
    ) -> Result<()> {
        let Some(names) = names else { return Ok(()) };
        self.folder = Some(path.to_owned());
        self.record(&Record {
            folder: Some(path.to_owned()),
            names: names.as_ref().ok().cloned(),
            fails: names.as_ref().err().map(|&failure| failure_name(failure)),
            ..Record::default()
        })
    }

    fn file(
        &mut self,
        folder: &str,
        name: &str,
        file: Option<&std::result::Result<File, Failure>>,
    ) -> Result<()> {
        let Some(file) = file else { return Ok(()) };
        self.enter(folder)?;
        let mut record = Record { file: Some(name.to_owned()), ..Record::default() };
        let file = match file {
            Ok(file) => file,
            Err(failure) => {
                record.fails = Some(failure_name(*failure));
                return self.record(&record);
            }
        };
        record.more = file.more.then_some(true);
        if let Some(text) = as_text(&file.bytes) {
            record.size = text.is_empty().then_some(file.size);
            record.text = Some(text.to_owned());
            return self.record(&record);
        }
        record.size = Some(file.size);
        record.bytes = Some(file.bytes.len());
        self.record(&record)?;
        for (row, bytes) in file.bytes.chunks(ROW).enumerate() {
            if bytes.iter().any(|&byte| byte != 0) {
                let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
                let at = Some(format!("{:03x}", row * ROW));
                let hex = Some(hex.join(" "));
                self.record(&Record { at, hex, ..Record::default() })?;
            }
        }
        Ok(())
    }

    fn link(
        &mut self,
        folder: &str,
        name: &str,
        target: Option<&std::result::Result<String, Failure>>,
    ) -> Result<()> {
        let Some(target) = target else { return Ok(()) };
        self.enter(folder)?;
        self.record(&Record {
            link: Some(name.to_owned()),
            to: target.as_ref().ok().cloned(),
            fails: target.as_ref().err().map(|&failure| failure_name(failure)),
            ..Record::default()
        })
    }

    fn lines(
        &mut self,
        folder: &str,
        name: &str,
        selected: Option<&std::result::Result<Selected, Failure>>,
    ) -> Result<()> {
        let Some(selected) = selected else { return Ok(()) };
        self.enter(folder)?;
        let found = selected.as_ref().ok();
        self.record(&Record {
            lines: Some(name.to_owned()),
            words: found.map(|selected| selected.words.clone()),
            found: found.map(|selected| selected.found.clone()),
            fails: selected.as_ref().err().map(|&failure| failure_name(failure)),
            ..Record::default()
        })
    }
}

/// The failures that have a name, each with it.
const NAMES: [(&str, Failure); 7] = [
    ("missing", Failure::Missing),
    ("gone", Failure::Gone),
    ("denied", Failure::Denied),
    ("not-captured", Failure::NotCaptured),
    ("other-kind", Failure::OtherKind),
    ("too-large", Failure::TooLarge),
    ("malformed", Failure::Malformed),
];

fn failure_name(failure: Failure) -> String {
    if let Failure::Errno(number) = failure {
        return format!("errno {number}");
    }
    let name = NAMES.iter().find(|(_, own)| *own == failure);
    name.map_or_else(String::new, |(name, _)| (*name).to_owned())
}

/// The failure of a name.
pub(super) fn failure_named(name: &str) -> Option<Failure> {
    if let Some(number) = name.strip_prefix("errno ") {
        return number.parse().ok().map(Failure::Errno);
    }
    NAMES.iter().find(|(own, _)| *own == name).map(|(_, failure)| *failure)
}
