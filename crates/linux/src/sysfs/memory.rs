//! BARs, the kernel's pool of peer memory, and controller memory buffers.

use p2pdma_pci::topology::{Cause, Known};
use p2pdma_pci::{BarIndex, BusAddr};
use p2pdma_spec::pci::bar::{BarKind, BarRegister};
use p2pdma_spec::pci::config::offset::BAR0;

use crate::attribute::{decimal, hex, known, value};
use crate::tree::join;
use crate::{Bar, CmbRegisters, Config, Failure, Note, NoteKind, Pool, Tree};

/// Flags in `resource` (include/linux/ioport.h).
const IO: u64 = 0x0000_0100;
const MEMORY: u64 = 0x0000_0200;
const PREFETCH: u64 = 0x0000_2000;
const WIDE: u64 = 0x0010_0000;
const UNSET: u64 = 0x2000_0000;

/// The BARs: lines of `start end flags`, the first six of them (`resource_show()` in
/// drivers/pci/pci-sysfs.c).
pub(super) fn bars(tree: &dyn Tree, folder: &str, config: &Config) -> Result<Vec<Bar>, Failure> {
    let file = tree.read(&join(folder, "resource"), crate::attribute::SHORT)?;
    let text = std::str::from_utf8(&file.bytes).map_err(|_| Failure::Malformed)?;
    let mut bars = Vec::new();
    for (index, line) in BarIndex::all().zip(text.lines()) {
        let [start, end, flags] = numbers(line).ok_or(Failure::Malformed)?;
        if flags & (IO | MEMORY) == 0 || flags & UNSET != 0 || end == 0 {
            continue;
        }
        let size = end.checked_sub(start).ok_or(Failure::Malformed)?.checked_add(1);
        let size = size.ok_or(Failure::Malformed)?;
        bars.push(Bar {
            index,
            address: register(config, index).unwrap_or(BusAddr(start)),
            size: Known::Value(size),
            memory: flags & MEMORY != 0,
            prefetchable: flags & PREFETCH != 0,
            wide: flags & WIDE != 0,
        });
    }
    Ok(bars)
}

fn numbers(line: &str) -> Option<[u64; 3]> {
    let mut words = line.split_ascii_whitespace().map(hex);
    let numbers = [words.next()??, words.next()??, words.next()??];
    words.next().is_none().then_some(numbers)
}

/// The address in a BAR's register: that on the bus. Virtual functions have zeroes there.
pub(crate) fn register(config: &Config, index: BarIndex) -> Option<BusAddr> {
    let at = BAR0 + 4 * u16::from(index.get());
    let lower = *config.dword(at).value()?;
    let kind = BarRegister::from_bits(lower).kind()?;
    let upper = match kind {
        BarKind::Memory64 { .. } => *config.dword(at + 4).value()?,
        BarKind::Io | BarKind::Memory32 { .. } => 0,
    };
    let address = kind.address(lower, upper);
    (address != 0).then_some(BusAddr(address))
}

/// The pool of peer memory, if its folder is there. What cannot be read of it is noted.
pub(super) fn pool(
    tree: &dyn Tree,
    folder: &str,
    there: bool,
    notes: &mut Vec<Note>,
) -> Known<Option<Pool>> {
    if !there {
        return Known::Value(None);
    }
    let path = |name: &str| format!("{folder}/p2pmem/{name}");
    let mut note = |name: &str, failure: Failure| {
        notes.push(NoteKind::Unreadable { path: path(name), failure }.into());
        failure
    };
    let mut bytes = |name: &str| {
        known(value(tree, &path(name), decimal).map_err(|failure| note(name, failure)))
    };
    let (size, available) = (bytes("size"), bytes("available"));
    let published = value(tree, &path("published"), |text| match text {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    })
    .map_err(|failure| note("published", failure));
    // It can only be mapped, and not read.
    let allocatable = match tree.list(&format!("{folder}/p2pmem")) {
        Ok(names) => Known::Value(names.iter().any(|name| name == "allocate")),
        Err(failure) => Known::Unknown(failure.cause()),
    };
    Known::Value(Some(Pool { size, available, published: known(published), allocatable }))
}

/// The registers that the NVMe driver shows of a controller that has a controller memory buffer
/// (`nvme_pci_attrs_are_visible()` in drivers/nvme/host/pci.c, Linux 5.16): `cmbloc` and `cmbsz` in decimal;
/// before that both in `cmb`.
pub(super) fn cmb(tree: &dyn Tree, controller: &str) -> Known<Option<CmbRegisters>> {
    let register = |name: &str| {
        value(tree, &join(controller, name), |text| decimal(text).and_then(|n| n.try_into().ok()))
    };
    match (register("cmbloc"), register("cmbsz")) {
        (Ok(location), Ok(size)) => Known::Value(Some(CmbRegisters { location, size })),
        (Err(Failure::Missing), Err(Failure::Missing)) => match old_cmb(tree, controller) {
            Ok(cmb) => Known::Value(Some(cmb)),
            Err(Failure::Missing) => Known::Value(None),
            Err(failure) => Known::Unknown(failure.cause()),
        },
        (Err(failure), _) | (_, Err(failure)) => Known::Unknown(failure.cause()),
    }
}

/// `cmbloc : x00000002` and `cmbsz  : x0004021f` on two lines.
fn old_cmb(tree: &dyn Tree, controller: &str) -> Result<CmbRegisters, Failure> {
    let file = tree.read(&join(controller, "cmb"), crate::attribute::SHORT)?;
    let text = std::str::from_utf8(&file.bytes).map_err(|_| Failure::Malformed)?;
    let register = |name: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(own, _)| own.trim() == name);
        let digits = found.next()?.1.trim().strip_prefix('x')?;
        u32::try_from(hex(digits)?).ok()
    };
    let registers =
        || Some(CmbRegisters { location: register("cmbloc")?, size: register("cmbsz")? });
    registers().ok_or(Failure::Malformed)
}

/// What is unknown of a virtual function's BARs is no reason to call them unreadable.
pub(super) fn known_bars(bars: Result<Vec<Bar>, Failure>) -> Known<Vec<Bar>> {
    match bars {
        Ok(bars) => Known::Value(bars),
        Err(Failure::Missing) => Known::Unknown(Cause::Unreadable),
        Err(failure) => Known::Unknown(failure.cause()),
    }
}
