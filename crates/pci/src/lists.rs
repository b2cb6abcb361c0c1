//! Users' lists of host bridges: a TOML text that adds to the kernel's list, or blocks.
//!
//! ```
//! use p2pdma_pci::lists::UserLists;
//! use p2pdma_pci::topology::Allowlist;
//!
//! let text = r#"
//!     [[allow]]
//!     vendor = "8086"
//!     device = "4c43"
//!     flags = ["same-bridge-only"]
//!     source = "probe of 2026-11-20: 64 GiB compared"
//!
//!     [[block]]
//!     vendor = "1022"
//!     device = "any"
//!     flags = ["across-only"]
//!     since = "6.2"
//!     source = "ticket 4711: writes between sockets are lost"
//! "#;
//! let mut list = Allowlist::kernel();
//! UserLists::parse(text, "site.toml")?.add_to(&mut list);
//! let added = list.entries().last().map(|entry| entry.source.to_string());
//! let source = "user file site.toml:2 (probe of 2026-11-20: 64 GiB compared)";
//! assert_eq!(added.as_deref(), Some(source));
//! # Ok::<(), p2pdma_pci::lists::ListError>(())
//! ```
//!
//! # Keys
//!
//! | key | in | means |
//! |---|---|---|
//! | `vendor` | both, needed | of the first device of the root bus, by which the kernel knows a host bridge: four hexadecimal digits as text, or a number |
//! | `device` | both, needed | that device's ID, or `"any"` for all of the vendor |
//! | `flags` | both | `allow`: `"same-bridge-only"`, pairs below this one host bridge. `block`: `"across-only"`, pairs below two |
//! | `since`, `until` | both | the first and the last kernel release for which the entry holds, as `"7.3"`; without them every one |
//! | `source` | both, needed | where this is known from, in words: it is shown wherever the entry counts |

use std::fmt;
use std::sync::Arc;

use toml::de::DeTable;

use crate::machine::reader::{self, Field, Form, Table};
use crate::machine::{MachineError, Position, Problem};
use crate::topology::{AllowEntry, Allowlist, BlockEntry, KernelRange, KernelVersion, Source};

const ROOT: Form = Form { place: "the list of host bridges", keys: &["allow", "block"] };
const KEYS: &[&str] = &["vendor", "device", "flags", "since", "until", "source"];
const ALLOW: Form = Form { place: "[[allow]]", keys: KEYS };
const BLOCK: Form = Form { place: "[[block]]", keys: KEYS };
const ID: &str = "four hexadecimal digits such as \"8086\", or a number such as 0x8086";

/// A list of host bridges that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListError {
    /// The file, as it was named.
    pub file: String,
    /// Where in it.
    pub position: Position,
    /// What.
    pub problem: Box<Problem>,
}

impl fmt::Display for ListError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { line, column } = self.position;
        write!(f, "{}:{line}:{column}: {}", self.file, self.problem)
    }
}

impl std::error::Error for ListError {}

impl From<MachineError> for ListError {
    fn from(error: MachineError) -> Self {
        let MachineError { file, position, problem } = error;
        Self { file, position, problem }
    }
}

/// What a user's file adds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserLists {
    /// Host bridges that may carry peer-to-peer traffic.
    pub allow: Vec<AllowEntry>,
    /// Host bridges that must not.
    pub block: Vec<BlockEntry>,
}

impl UserLists {
    /// Reads a list. `file` is what messages, and the source of each entry, call it.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and column.
    pub fn parse(text: &str, file: &str) -> Result<Self, ListError> {
        let source = reader::Source { file, text };
        let document = DeTable::parse(text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            source.error(at, Problem::Syntax(error.message().to_owned()))
        })?;
        let root = Table::open(source, &ROOT, &document.span(), document.get_ref())?;
        let allow = root.tables("allow", &ALLOW)?;
        let block = root.tables("block", &BLOCK)?;
        let allow: Result<_, MachineError> =
            allow.iter().map(|table| allowed(source, table)).collect();
        let block: Result<_, MachineError> =
            block.iter().map(|table| blocked(source, table)).collect();
        Ok(Self { allow: allow?, block: block? })
    }

    /// Adds all entries to a list.
    pub fn add_to(self, list: &mut Allowlist) {
        self.allow.into_iter().for_each(|entry| list.add(entry));
        self.block.into_iter().for_each(|entry| list.block(entry));
    }
}

fn allowed(source: reader::Source<'_>, table: &Table<'_>) -> Result<AllowEntry, MachineError> {
    Ok(AllowEntry {
        vendor: vendor(&table.need("vendor")?)?,
        device: device(&table.need("device")?)?,
        same_bridge_only: flag(table, "same-bridge-only")?,
        kernels: kernels(table)?,
        source: origin(source, table)?,
    })
}

fn blocked(source: reader::Source<'_>, table: &Table<'_>) -> Result<BlockEntry, MachineError> {
    Ok(BlockEntry {
        vendor: vendor(&table.need("vendor")?)?,
        device: device(&table.need("device")?)?,
        across_only: flag(table, "across-only")?,
        kernels: kernels(table)?,
        source: origin(source, table)?,
    })
}

fn vendor(field: &Field<'_>) -> Result<u16, MachineError> {
    let id = id(field)?;
    // What reads where no function is, and what no vendor has.
    if id == u16::MAX || id == 0 {
        return Err(field.bad_value(&format!("{id:04x}"), "a vendor: 0001 to fffe"));
    }
    Ok(id)
}

fn device(field: &Field<'_>) -> Result<Option<u16>, MachineError> {
    if field.value().as_str() == Some("any") {
        return Ok(None);
    }
    id(field).map(Some)
}

fn id(field: &Field<'_>) -> Result<u16, MachineError> {
    if field.value().is_integer() {
        let value = field.integer(0..=u64::from(u16::MAX))?;
        // The range has excluded everything above.
        return Ok(u16::try_from(value).unwrap_or(u16::MAX));
    }
    let text = field.text(ID)?;
    let plain = text.len() == 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    plain
        .then(|| u16::from_str_radix(text, 16).ok())
        .flatten()
        .ok_or_else(|| field.bad_value(text, ID))
}

/// Whether the one flag that such an entry can have is there.
fn flag(table: &Table<'_>, name: &'static str) -> Result<bool, MachineError> {
    let Some(field) = table.get("flags") else { return Ok(false) };
    let items = field.list("a list of flags")?;
    for item in &items {
        item.choice(&[(name, ())])?;
    }
    Ok(!items.is_empty())
}

fn kernels(table: &Table<'_>) -> Result<KernelRange, MachineError> {
    let range =
        KernelRange { since: table.read("since", version)?, until: table.read("until", version)? };
    if let (Some(since), Some(until)) = (range.since, range.until)
        && since > until
    {
        let problem = Problem::Contradiction("'until' is an older kernel than 'since'");
        return Err(table.need("until")?.error(problem));
    }
    Ok(range)
}

fn version(field: &Field<'_>) -> Result<KernelVersion, MachineError> {
    const EXPECTED: &str = "a kernel version such as \"7.3\"";
    let text = field.text(EXPECTED)?;
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let version = text.parse().ok().filter(|version: &KernelVersion| {
        // No third number: list entries are tied to releases.
        plain && version.to_string() == text
    });
    version.ok_or_else(|| field.bad_value(text, EXPECTED))
}

fn origin(source: reader::Source<'_>, table: &Table<'_>) -> Result<Source, MachineError> {
    let field = table.need("source")?;
    let words = field.text("a string")?.trim();
    if words.is_empty() {
        return Err(field.bad_value(words, "where this is known from, in words"));
    }
    let words: String = words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let line = source.position(table.at()).line;
    Ok(Source::User(Arc::from(format!("{}:{line} ({words})", source.file))))
}

#[cfg(test)]
mod tests;
