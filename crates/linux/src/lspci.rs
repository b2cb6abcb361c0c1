//! The text of `lspci -xxxx`, `lspci -xxxx -vvv` or `lspci -xxx -vvv`, with or without `-D`, `-n`, `-nn`, and the
//! lines of `lspci -t` before or after it.
//!
//! The registers are read from the digits; the hierarchy from the bus numbers of bridges; drivers, NUMA
//! nodes, IOMMU groups, sizes of BARs and, where the digits end after 256 bytes, ACS from the verbose
//! lines. A dump does not tell the processor, the kernel, what the IOMMU does, or who lends memory:
//! those are unknown, as is what a dump taken without root leaves out.
//!
//! A dump that ends within a function is read as far as it goes, and a note says so. One that is spoilt in
//! its middle is an error with the line.

mod error;
mod facts;
mod place;
mod text;

use std::sync::Arc;

use p2pdma_pci::BarIndex;
use p2pdma_pci::topology::{Allowlist, Cause, Host, Known, PciId};
use p2pdma_spec::pci::class::ClassCode;
use p2pdma_spec::pci::config::{COMPATIBLE_SIZE, HEADER_SIZE, HeaderLayout, SIZE, type0};

pub use error::{LspciError, LspciProblem};

use crate::assemble::{Above, Raw, assemble};
use crate::block::Blocks;
use crate::system::System;
use crate::{Bar, Config, Error, Function, IommuGroup, Note, NoteKind, Origin, Survey};
use place::Found;
use text::{Dump, Record};

const CAUSE: Cause = Cause::NotCaptured;

/// Whether a text seems to be of `lspci`: a line of it begins as that of a function does.
#[must_use]
pub fn recognises(bytes: &[u8]) -> bool {
    String::from_utf8_lossy(bytes).lines().any(|line| text::heading(line).is_some())
}

/// Reads a dump.
///
/// # Errors
/// [`Error::Lspci`] if the text is not that of `lspci` or is spoilt, [`Error::Topology`] if its functions
/// are no tree.
pub fn read(bytes: &[u8], allowlist: Allowlist) -> Result<Survey, Error> {
    let dump = text::parse(bytes)?;
    let mut notes = Vec::new();
    // lspci -xxxx prints as much of each function as there is.
    let is_whole = |record: &Record| record.bytes.len() == usize::from(SIZE);
    let to_the_end = dump.records.iter().any(is_whole);
    let records = dump.records.iter();
    let found: Vec<Found> =
        records.filter_map(|record| find(record, to_the_end, &mut notes)).collect();
    let above = place::places(&found, &dump.roots, &mut notes);
    notes.extend(cut(&dump));
    let mut raws = Vec::with_capacity(found.len());
    for (found, above) in found.iter().zip(above) {
        let Some(above) = above else { continue };
        raws.push(raw(found, above, &mut notes));
    }
    let host = Host {
        cpu: Known::Unknown(CAUSE),
        iommu: Known::Unknown(CAUSE),
        kernel: Some(Known::Unknown(CAUSE)),
        allowlist,
        // Found in the functions' identifiers.
        qemu: false,
    };
    let (topology, functions) = assemble(host, raws, &mut notes)?;
    Ok(Survey {
        origin: Origin::Lspci,
        topology,
        functions,
        system: System::unknown(CAUSE),
        blocks: Blocks::unknown(CAUSE),
        vfio: Known::Unknown(CAUSE),
        notes,
    })
}

/// What a record says of its place, if it has a header at all. `to_the_end` is whether the dump has all
/// registers of every function, as far as they could be read.
fn find<'a>(record: &'a Record, to_the_end: bool, notes: &mut Vec<Note>) -> Option<Found<'a>> {
    if record.bytes.len() < usize::from(HEADER_SIZE) {
        let kind = NoteKind::LeftOut {
            bdf: record.bdf,
            why: "its registers are not in the dump".to_owned(),
        };
        if !record.cut {
            notes.push(Note { line: Some(record.line), kind });
        }
        return None;
    }
    let (all, compatible) = (usize::from(SIZE), usize::from(COMPATIBLE_SIZE));
    let size = match record.bytes.len() {
        len if len == all && is_repeated(&record.bytes) => Known::Value(compatible),
        len if len == all => Known::Value(all),
        len if len == compatible && to_the_end && !record.cut => Known::Value(compatible),
        _ => Known::Unknown(CAUSE),
    };
    let rest = if record.facts.denied { Cause::NeedsRoot } else { CAUSE };
    let config = Config::new(record.bytes.clone(), size, rest);
    let class = match config.class_revision() {
        Known::Value((class, _)) => class,
        Known::Unknown(_) => record.class.unwrap_or_default(),
    };
    let kind = config.kind(class);
    Some(Found { record, config, class, kind })
}

/// Whether the first 256 bytes are what reads everywhere: the extended space is not decoded, and the
/// kernel uses none (`pci_ext_cfg_is_aliased()` in drivers/pci/probe.c).
fn is_repeated(bytes: &[u8]) -> bool {
    let first = bytes.get(..4);
    bytes.chunks(256).all(|chunk| chunk.get(..4) == first)
}

fn raw(found: &Found<'_>, above: Above, notes: &mut Vec<Note>) -> Raw {
    let record = found.record;
    let mut note = |what| {
        let kind = NoteKind::Contradiction { bdf: record.bdf, what };
        notes.push(Note { line: Some(record.line), kind });
    };
    if !found.config.answers() {
        note("it does not answer: its configuration space reads as all ones");
    }
    let id = match (found.config.id(), record.id) {
        (Some((vendor, device)), Some(told)) if (vendor, device) != (told.vendor, told.device) => {
            note("its heading and its registers name different devices");
            PciId { vendor, device }
        }
        (Some((vendor, device)), _) => PciId { vendor, device },
        // A virtual function says it in its heading only, and that only if asked to (-n, -nn).
        (None, told) => told.unwrap_or(PciId { vendor: u16::MAX, device: u16::MAX }),
    };
    let function = function(found);
    let mut raw = Raw::new(function, above, id, found.class);
    raw.line = Some(record.line);
    if let Known::Unknown(_) = raw.acs {
        raw.acs = record.facts.acs(&found.config, raw.acs);
    }
    raw
}

fn function(found: &Found<'_>) -> Function {
    let record = found.record;
    let facts = &record.facts;
    let mut function = Function::unknown(record.bdf, found.config.clone(), CAUSE);
    let config = &found.config;
    function.revision = config.class_revision().map(|(_, revision)| revision);
    function.subsystem = subsystem(config);
    if facts.verbose && !record.cut {
        function.driver = Known::Value(facts.driver.as_deref().map(Arc::from));
    } else if let Some(driver) = &facts.driver {
        function.driver = Known::Value(Some(Arc::from(driver.as_str())));
    }
    if let Some(node) = facts.numa_node {
        function.numa_node = Known::Value(Some(node));
    }
    if let Some(number) = facts.iommu_group {
        let domain = Known::Unknown(CAUSE);
        function.iommu_group = Known::Value(Some(IommuGroup { number, domain }));
    }
    function.bars = bars(found);
    function.physical_function = match found.is_virtual() {
        true => Known::Unknown(CAUSE),
        false => Known::Value(None),
    };
    function
}

fn subsystem(config: &Config) -> Known<Option<PciId>> {
    let header = match config.header_type() {
        Known::Value(header) => header,
        Known::Unknown(cause) => return Known::Unknown(cause),
    };
    if header.layout() != HeaderLayout::TYPE0 {
        return Known::Value(None);
    }
    match (config.word(type0::SUBSYSTEM_VENDOR_ID), config.word(type0::SUBSYSTEM_ID)) {
        (Known::Value(0), _) => Known::Value(None),
        (Known::Value(vendor), Known::Value(device)) => {
            Known::Value(Some(PciId { vendor, device }))
        }
        (Known::Unknown(cause), _) | (_, Known::Unknown(cause)) => Known::Unknown(cause),
    }
}

/// The BARs that have an address, by the registers; their sizes by the verbose lines.
fn bars(found: &Found<'_>) -> Known<Vec<Bar>> {
    let header = match found.config.header_type() {
        Known::Value(header) => header,
        Known::Unknown(cause) => return Known::Unknown(cause),
    };
    let count = match header.layout() {
        HeaderLayout::TYPE0 => 6,
        HeaderLayout::TYPE1 => 2,
        _ => return Known::Unknown(Cause::Unreadable),
    };
    // The registers of a virtual function's BARs are zero; its memory is in the physical function's
    // capability.
    if found.is_virtual() {
        return Known::Unknown(CAUSE);
    }
    let mut bars = Vec::new();
    let mut upper_half = false;
    for index in BarIndex::all().take(count) {
        if std::mem::take(&mut upper_half) {
            continue;
        }
        let Some((bar, wide)) = facts::bar(&found.config, index, &found.record.facts) else {
            continue;
        };
        upper_half = wide;
        bars.extend(bar);
    }
    Known::Value(bars)
}

/// A note if the text ends within a function.
fn cut(dump: &Dump) -> Option<Note> {
    let last = dump.records.last().filter(|record| record.cut)?;
    let left_out = last.bytes.len() < usize::from(HEADER_SIZE);
    Some(Note { line: Some(dump.lines), kind: NoteKind::Cut { bdf: last.bdf, left_out } })
}

/// The class in a heading, of four or six digits.
fn class_from(digits: &str) -> Option<ClassCode> {
    let plain = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    match digits.len() {
        4 if plain => u32::from_str_radix(digits, 16).ok().map(|n| ClassCode::from_bits(n << 8)),
        6 if plain => u32::from_str_radix(digits, 16).ok().map(ClassCode::from_bits),
        _ => None,
    }
}
