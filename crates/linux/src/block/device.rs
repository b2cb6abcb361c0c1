//! Block devices in sysfs.

use std::sync::Arc;

use p2pdma_pci::topology::{Cause, Known};

use super::{BlockDevice, BlockKind};
use crate::attribute::{decimal, known, optional, text, value};
use crate::sysfs::last_function;
use crate::tree::{join, resolve};
use crate::{Failure, Note, Tree};

const CLASS: &str = "sys/class/block";
/// Sizes in sysfs are in units of 512 bytes, whatever the device's blocks are.
const SECTOR: u64 = 512;

pub(super) fn read(tree: &dyn Tree, notes: &mut Vec<Note>) -> Known<Vec<BlockDevice>> {
    let names = match super::names(tree, CLASS, notes) {
        Known::Value(names) => names,
        Known::Unknown(cause) => return Known::Unknown(cause),
    };
    let paths: Vec<(&str, NvmeName)> =
        names.iter().filter_map(|name| Some((name.as_str(), nvme_name(name)?))).collect();
    let mut devices = super::readable(&names, CLASS, notes, |name| device(tree, name, &paths));
    devices.sort_by(|a, b| a.name.cmp(&b.name));
    Known::Value(devices)
}

fn device(tree: &dyn Tree, name: &str, nvme: &[(&str, NvmeName)]) -> Result<BlockDevice, Failure> {
    let entry = join(CLASS, name);
    let folder = resolve(&entry, &tree.link(&entry)?).ok_or(Failure::Malformed)?;
    let stamp = tree.stamp(&folder)?;
    let path = |attribute: &str| join(&folder, attribute);
    let names = |list: &str| match tree.list(&path(list)) {
        Ok(names) => Known::Value(names.iter().map(|name| Arc::from(name.as_str())).collect()),
        Err(Failure::Missing) => Known::Value(Vec::new()),
        Err(failure) => Known::Unknown(failure.cause()),
    };
    let flag = |attribute: &str| {
        value(tree, &path(attribute), |text| match text {
            "0" => Some(false),
            "1" => Some(true),
            _ => None,
        })
    };
    let kind = kind(tree, name, &folder, nvme)?;
    let partition = matches!(kind, BlockKind::Partition { .. });
    let stable = if partition { "../queue/stable_writes" } else { "queue/stable_writes" };
    let stable = resolve(&path("x"), stable).ok_or(Failure::Malformed)?;
    let device = BlockDevice {
        name: Arc::from(name),
        number: optional(value(tree, &path("dev"), number)),
        size: known(value(tree, &path("size"), |text| decimal(text)?.checked_mul(SECTOR))),
        read_only: known(flag("ro")),
        function: last_function(&folder),
        holders: names("holders"),
        slaves: names("slaves"),
        stable_writes: match value(tree, &stable, |text| Some(text != "0")) {
            Err(Failure::Missing) => Known::Unknown(Cause::Unreadable),
            answer => known(answer),
        },
        identity: identity(tree, &folder, name),
        kind,
    };
    if tree.stamp(&folder)? != stamp {
        return Err(Failure::Gone);
    }
    Ok(device)
}

/// What a device says of itself. An array has the name that stands on its members.
fn identity(tree: &dyn Tree, folder: &str, name: &str) -> Known<Option<Arc<str>>> {
    let attributes = if name.starts_with("md") { &["md/uuid"][..] } else { &IDENTITIES };
    for attribute in attributes {
        match text(tree, &join(folder, attribute)) {
            // One without metadata has no name: drivers/md/md.c shows zeroes.
            Ok(text) if text.bytes().all(|byte| matches!(byte, b'0' | b'-')) => {}
            Ok(text) => return Known::Value(Some(Arc::from(text))),
            // Many virtual devices have an empty one.
            Err(Failure::Missing | Failure::Malformed) => {}
            Err(failure) => return Known::Unknown(failure.cause()),
        }
    }
    Known::Value(None)
}

const IDENTITIES: [&str; 3] = ["wwid", "device/wwid", "serial"];

fn kind(
    tree: &dyn Tree,
    name: &str,
    folder: &str,
    nvme: &[(&str, NvmeName)],
) -> Result<BlockKind, Failure> {
    let path = |attribute: &str| join(folder, attribute);
    let mut above = folder.rsplit('/').skip(1);
    let parent = above.next().unwrap_or_default();
    match tree.read(&path("partition"), crate::attribute::SHORT) {
        Ok(_) => return Ok(BlockKind::Partition { of: Arc::from(parent) }),
        Err(Failure::Missing) => {}
        Err(failure) => return Err(failure),
    }
    let word = |attribute: &str| text(tree, &path(attribute)).map(Arc::<str>::from);
    if let Some(own) = nvme_name(name) {
        return Ok(match own.controller {
            Some(controller) => BlockKind::Path { controller: format!("nvme{controller}").into() },
            None if folder.contains("/nvme-subsystem/") => BlockKind::Head {
                paths: nvme
                    .iter()
                    .filter(|(_, other)| other.is_path_of(&own))
                    .map(|(name, _)| Arc::from(*name))
                    .collect(),
            },
            None => BlockKind::Namespace { controller: Arc::from(parent) },
        });
    }
    if name.starts_with("md") && tree.list(&path("md")).is_ok() {
        return Ok(BlockKind::Md { level: known(word("md/level")) });
    }
    if name.starts_with("dm-") {
        let uuid = match word("dm/uuid") {
            // An empty one is none.
            Err(Failure::Malformed | Failure::Missing) => Known::Value(None),
            other => known(other.map(Some)),
        };
        return Ok(BlockKind::Dm { name: known(word("dm/name")), uuid });
    }
    if name.starts_with("loop") {
        let file = optional(word("loop/backing_file"));
        return Ok(BlockKind::Loop { file });
    }
    Ok(BlockKind::Other)
}

/// `259:3`.
fn number(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.split_once(':')?;
    Some((decimal(major)?.try_into().ok()?, decimal(minor)?.try_into().ok()?))
}

/// The numbers in the name of an NVMe namespace: `nvme0n1` of a controller or of a subsystem, `nvme0c1n1`
/// of a path (`nvme_set_disk_name()`, drivers/nvme/host/core.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct NvmeName {
    instance: u32,
    controller: Option<u32>,
    namespace: u32,
}

impl NvmeName {
    fn is_path_of(&self, head: &Self) -> bool {
        self.controller.is_some()
            && (self.instance, self.namespace) == (head.instance, head.namespace)
    }
}

fn nvme_name(name: &str) -> Option<NvmeName> {
    let number = |text: &str| decimal(text).and_then(|n| u32::try_from(n).ok());
    let (before, namespace) = name.strip_prefix("nvme")?.split_once('n')?;
    let (instance, controller) = match before.split_once('c') {
        Some((instance, controller)) => (instance, Some(number(controller)?)),
        None => (before, None),
    };
    Some(NvmeName { instance: number(instance)?, controller, namespace: number(namespace)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_namespaces() {
        let name = |text| nvme_name(text).map(|n| (n.instance, n.controller, n.namespace));
        assert_eq!(name("nvme0n1"), Some((0, None, 1)));
        assert_eq!(name("nvme12c3n45"), Some((12, Some(3), 45)));
        for other in ["nvme0", "nvme0n1p1", "nvmen1", "nvme0c0", "sda", "nvme0cn1", "nvme-1n1"] {
            assert_eq!(name(other), None, "{other}");
        }
        assert!(nvme_name("nvme1c0n2").unwrap().is_path_of(&nvme_name("nvme1n2").unwrap()));
        assert_eq!(number("259:3"), Some((259, 3)));
        assert_eq!(number("259"), None);
    }
}
