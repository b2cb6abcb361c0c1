//! The lines of a dump.

use std::collections::{BTreeSet, HashMap};

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::PciId;
use p2pdma_spec::pci::class::ClassCode;
use p2pdma_spec::pci::config::SIZE;

use super::facts::Facts;
use super::{LspciError, LspciProblem, class_from};

/// The most bytes of a dump.
const MOST_BYTES: usize = 256 << 20;
const ROW: usize = 16;
/// How many registers lspci prints: the header (of a CardBus bridge too), 256 bytes, all.
const LENGTHS: [usize; 4] = [64, 128, 256, SIZE as usize];

/// A dump, taken apart.
pub(super) struct Dump {
    pub(super) records: Vec<Record>,
    /// Root buses that the lines of `lspci -t` name.
    pub(super) roots: BTreeSet<(u32, u8)>,
    /// How many lines there are.
    pub(super) lines: usize,
}

/// A function's part of a dump.
pub(super) struct Record {
    pub(super) bdf: Bdf,
    /// The line of its heading.
    pub(super) line: usize,
    pub(super) id: Option<PciId>,
    pub(super) class: Option<ClassCode>,
    pub(super) bytes: Vec<u8>,
    pub(super) facts: Facts,
    /// Whether the text ends within it.
    pub(super) cut: bool,
}

type Result<T> = std::result::Result<T, LspciError>;

pub(super) fn parse(bytes: &[u8]) -> Result<Dump> {
    if bytes.len() > MOST_BYTES {
        return Err(LspciError { line: 1, problem: LspciProblem::TooLarge { most: MOST_BYTES } });
    }
    // Names of devices may be in any encoding.
    let text = String::from_utf8_lossy(bytes);
    let ends_whole = text.ends_with('\n');
    let lines: Vec<&str> = text.lines().collect();
    let mut parser = Parser::default();
    for (number, line) in (1..).zip(&lines) {
        let last = number == lines.len();
        parser.line(number, line.trim_end(), last, last && !ends_whole)?;
    }
    parser.finish(lines.len())
}

#[derive(Default)]
struct Parser {
    records: Vec<Record>,
    firsts: HashMap<Bdf, usize>,
    roots: BTreeSet<(u32, u8)>,
    /// Whether the last record was ended by an empty line.
    ended: bool,
    /// Whether the text ends within a line of digits.
    cut_row: bool,
}

impl Parser {
    fn line(&mut self, number: usize, line: &str, last: bool, unended: bool) -> Result<()> {
        if let Some((bdf, rest)) = heading(line) {
            return self.open(number, bdf, rest);
        }
        if line.is_empty() {
            self.ended = true;
            return Ok(());
        }
        if let Some(root) = tree_root(line) {
            self.roots.insert(root);
            return Ok(());
        }
        let Some(record) = self.records.last_mut().filter(|_| !self.ended) else {
            return Ok(());
        };
        match row(line, record.bytes.len()) {
            Row::Bytes(_, bytes) if unended && bytes.len() < ROW => self.cut_row = true,
            Row::Bytes(at, bytes) if bytes.len() == ROW => {
                let (bdf, expected) = (record.bdf, record.bytes.len());
                if at != expected || at >= usize::from(SIZE) {
                    let problem = LspciProblem::Order { bdf, found: at, expected };
                    return Err(LspciError { line: number, problem });
                }
                record.bytes.extend(bytes);
            }
            Row::Bytes(..) | Row::Bad if last => self.cut_row = true,
            Row::Bytes(..) | Row::Bad => {
                let problem = LspciProblem::BadRow { bdf: record.bdf };
                return Err(LspciError { line: number, problem });
            }
            // Verbose lines come before the digits.
            Row::None if record.bytes.is_empty() && !unended => record.facts.line(line),
            Row::None => {}
        }
        Ok(())
    }

    fn open(&mut self, number: usize, bdf: Bdf, rest: &str) -> Result<()> {
        self.check_length(number)?;
        if let Some(&first) = self.firsts.get(&bdf) {
            let problem = LspciProblem::Repeated { bdf, first };
            return Err(LspciError { line: number, problem });
        }
        self.firsts.insert(bdf, number);
        self.ended = false;
        let (id, class) = identifiers(rest);
        let (bytes, facts) = (Vec::new(), Facts::default());
        self.records.push(Record { bdf, line: number, id, class, bytes, facts, cut: false });
        Ok(())
    }

    /// Checks that the last record, which another one follows, is whole.
    fn check_length(&self, number: usize) -> Result<()> {
        match self.records.last() {
            Some(record) if !record.bytes.is_empty() && !LENGTHS.contains(&record.bytes.len()) => {
                let (bdf, bytes) = (record.bdf, record.bytes.len());
                Err(LspciError { line: number, problem: LspciProblem::Missing { bdf, bytes } })
            }
            _ => Ok(()),
        }
    }

    fn finish(mut self, lines: usize) -> Result<Dump> {
        let error = |line: usize, problem| Err(LspciError { line: line.max(1), problem });
        let longest = self.records.iter().map(|record| record.bytes.len()).max();
        let Some(longest) = longest else {
            return error(lines, LspciProblem::NoFunctions);
        };
        if longest == 0 && !self.cut_row {
            return error(lines, LspciProblem::NoRegisters);
        }
        let (ended, cut_row) = (self.ended, self.cut_row);
        if let Some(last) = self.records.last_mut() {
            let len = last.bytes.len();
            let odd = !LENGTHS.contains(&len);
            // An empty line ends every function. Where it is missing, and there are fewer registers
            // than elsewhere, some may have been lost.
            last.cut = cut_row || odd || !ended && len < longest;
        }
        Ok(Dump { records: self.records, roots: self.roots, lines })
    }
}

/// A function's address at the beginning of a line, and the rest of the line.
pub(super) fn heading(line: &str) -> Option<(Bdf, &str)> {
    let first = line.as_bytes().first()?;
    if !first.is_ascii_hexdigit() {
        return None;
    }
    let (address, rest) = line.split_once(' ')?;
    Some((address.parse().ok()?, rest))
}

/// What a line of digits may be.
enum Row {
    Bytes(usize, Vec<u8>),
    Bad,
    None,
}

/// A line of digits: `1f0: 00 11 22 …`. One that is indented counts only if it is whole and the next.
fn row(line: &str, expected: usize) -> Row {
    let indented = line.starts_with([' ', '\t']);
    let line = line.trim_start();
    let Some((at, digits)) = line.split_once(':') else {
        // Cut off within the place.
        return Row::None;
    };
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !(2..=3).contains(&at.len()) || !plain(at) {
        return Row::None;
    }
    let Ok(at) = usize::from_str_radix(at, 16) else { return Row::None };
    let mut bytes = Vec::with_capacity(ROW);
    let mut bad = false;
    for pair in digits.split_ascii_whitespace() {
        match u8::from_str_radix(pair, 16) {
            Ok(byte) if pair.len() == 2 && plain(pair) && bytes.len() < ROW => bytes.push(byte),
            _ => bad = true,
        }
    }
    match (indented, bad) {
        (true, false) if at == expected && bytes.len() == ROW => Row::Bytes(at, bytes),
        (true, _) => Row::None,
        (false, true) => Row::Bad,
        (false, false) => Row::Bytes(at, bytes),
    }
}

/// A root bus in a line of `lspci -t`: `-[0000:00]-+-00.0`, ` +-[0000:80]---01.0-[81]----00.0`.
fn tree_root(line: &str) -> Option<(u32, u8)> {
    let (before, rest) = line.split_once('[')?;
    if !matches!(before, "-" | "-+-" | " +-" | " \\-") {
        return None;
    }
    let (root, after) = rest.split_once(']')?;
    let (domain, bus) = root.split_once(':')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let form = (4..=8).contains(&domain.len()) && bus.len() == 2 && after.starts_with('-');
    if !form || !digits(domain) || !digits(bus) {
        return None;
    }
    Some((u32::from_str_radix(domain, 16).ok()?, u8::from_str_radix(bus, 16).ok()?))
}

/// The identifiers in a heading: `0108: 144d:a824 (rev 01)` with -n, `… [0108]: … [144d:a824] (rev 01)`
/// with -nn.
fn identifiers(rest: &str) -> (Option<PciId>, Option<ClassCode>) {
    if let Some((class, id)) = rest.split_once(": ")
        && let Some(class) = class_from(class)
    {
        let id = id.split(' ').next().and_then(|id| id.parse().ok());
        return (id, Some(class));
    }
    let brackets = || rest.split('[').skip(1).filter_map(|part| Some(part.split_once(']')?.0));
    (brackets().filter_map(|text| text.parse().ok()).last(), brackets().find_map(class_from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_of_all_forms() {
        let is = |line: &str| heading(line).map(|(bdf, _)| bdf.to_string());
        assert_eq!(is("00:1f.3 Audio").unwrap(), "0000:00:1f.3");
        assert_eq!(is("10000:e1:00.0 NVMe").unwrap(), "10000:e1:00.0");
        for other in ["", "\t00:1f.3 x", "00: 86 80", "00:1f.3", "00:1f.9 x", "lspci", "é"] {
            assert_eq!(is(other), None, "{other}");
        }
        let ids = |rest: &str| {
            let (id, class) = identifiers(rest);
            (id.map(|id| id.to_string()), class.map(ClassCode::into_bits))
        };
        assert_eq!(ids("0108: 144d:a824 (rev 01)"), (Some("144d:a824".into()), Some(0x010800)));
        assert_eq!(
            ids("Class [0c03]: Intel [x] Device [8086:a36d] (rev 10)"),
            (Some("8086:a36d".into()), Some(0x0c0300))
        );
        assert_eq!(ids("Host bridge: Intel Corporation"), (None, None));
    }

    #[test]
    fn roots_of_the_tree() {
        assert_eq!(tree_root("-[0000:00]-+-00.0"), Some((0, 0)));
        assert_eq!(tree_root("-+-[10000:e0]-+-02.0"), Some((0x10000, 0xe0)));
        assert_eq!(tree_root(" +-[0000:80]---01.0-[81]----00.0"), Some((0, 0x80)));
        assert_eq!(tree_root(" \\-[0000:00]-+-00.0"), Some((0, 0)));
        for other in
            [" |           +-1c.0-[01]--", "+-00.0  Intel [8086:29c0]", "[0000:00]-", "-[00]-"]
        {
            assert_eq!(tree_root(other), None, "{other}");
        }
    }
}
