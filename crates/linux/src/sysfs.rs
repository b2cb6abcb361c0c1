//! PCI functions as sysfs shows them (Documentation/ABI/testing/sysfs-bus-pci; drivers/pci/pci-sysfs.c).

mod device;
mod groups;
mod link;
mod memory;
mod place;

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{IommuMode, Known};

pub(crate) use groups::Groups;
pub(crate) use memory::register as bar_address;
pub(crate) use place::last_function;

use crate::assemble::Raw;
use crate::system::System;
use crate::{Error, Failure, Note, NoteKind, Tree};

/// Where every function has a link.
pub(crate) const DEVICES: &str = "sys/bus/pci/devices";

/// Reads all functions. What vanishes meanwhile is left out and noted.
pub(crate) fn read(
    tree: &dyn Tree,
    system: &System,
    notes: &mut Vec<Note>,
) -> Result<Vec<Raw>, Error> {
    let names = match tree.list(DEVICES) {
        Ok(names) => names,
        // A machine may be without PCI, but not without buses.
        Err(Failure::Missing) => match tree.list("sys/bus") {
            Ok(_) => Vec::new(),
            Err(failure) => return Err(Error::NoSystem { path: "sys/bus", failure }),
        },
        Err(failure) => return Err(Error::NoSystem { path: DEVICES, failure }),
    };
    let mut groups = Groups::default();
    let mut raws = Vec::with_capacity(names.len());
    for name in names {
        let Some(bdf) = address(&name) else {
            let path = format!("{DEVICES}/{name}");
            notes.push(NoteKind::Unreadable { path, failure: Failure::Malformed }.into());
            continue;
        };
        match device::read(tree, bdf, system, &mut groups, notes) {
            Ok(raw) => raws.push(raw),
            Err(kind) => notes.push(kind.into()),
        }
    }
    Ok(raws)
}

/// The address in a name of sysfs: with its domain, and as the kernel would write it.
pub(crate) fn address(name: &str) -> Option<Bdf> {
    let bdf: Bdf = name.parse().ok()?;
    (bdf.to_string() == name).then_some(bdf)
}

/// What the IOMMU does for PCI functions as a whole: it translates if it does so for any of them.
pub(crate) fn iommu_mode(raws: &[Raw], system: &System) -> Known<IommuMode> {
    let mut unknown = None;
    let mut groups = false;
    for raw in raws {
        match raw.function.iommu_group {
            Known::Value(None) => {}
            Known::Value(Some(group)) => match group.domain {
                Known::Value(domain) if domain.translates() => {
                    return Known::Value(IommuMode::Translate);
                }
                Known::Value(_) => groups = true,
                Known::Unknown(cause) => unknown = Some(cause),
            },
            Known::Unknown(cause) => unknown = Some(cause),
        }
    }
    match (unknown, groups, &system.iommus) {
        (Some(cause), ..) => Known::Unknown(cause),
        (None, true, _) => Known::Value(IommuMode::Passthrough),
        (None, false, Known::Value(_)) => Known::Value(IommuMode::Off),
        (None, false, Known::Unknown(cause)) => Known::Unknown(*cause),
    }
}
