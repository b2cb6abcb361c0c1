//! Block devices: what is on an SSD, and what is on that.
//!
//! The kernel's peer-to-peer I/O goes through a stack: a file system, device mapper or md, a partition, an
//! NVMe multipath head, a namespace. One element that does not pass it stops it. [`Blocks::stack`] judges
//! each.

mod device;
mod mounts;
mod nvme;
mod stack;

use std::collections::HashMap;
use std::sync::Arc;

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{Cause, Known};

pub use mounts::{Mount, SwapArea};
pub use nvme::{Controller, Transport};
pub use stack::{Layer, Passage, Stack};

use crate::tree::join;
use crate::{Failure, Note, NoteKind, Tree};

/// All block devices, and who uses them.
#[derive(Debug, Clone, PartialEq)]
pub struct Blocks {
    /// By name.
    pub devices: Known<Vec<BlockDevice>>,
    /// NVMe controllers, those behind a network included, by name.
    pub controllers: Known<Vec<Controller>>,
    /// Mounted file systems that are on block devices.
    pub mounts: Known<Vec<Mount>>,
    /// Swap areas that are on block devices.
    pub swap: Known<Vec<SwapArea>>,
}

/// A block device (`/sys/class/block`; Documentation/ABI/stable/sysfs-block).
#[derive(Debug, Clone, PartialEq)]
pub struct BlockDevice {
    /// Its name: `nvme0n1p2`.
    pub name: Arc<str>,
    /// Its major and minor number; hidden ones have none.
    pub number: Known<Option<(u32, u32)>>,
    /// Its size in bytes.
    pub size: Known<u64>,
    /// Whether nothing can be written to it.
    pub read_only: Known<bool>,
    /// What it is.
    pub kind: BlockKind,
    /// The PCI function that it is behind, if it is directly behind one.
    pub function: Option<Bdf>,
    /// Block devices that are made of it.
    pub holders: Known<Vec<Arc<str>>>,
    /// Block devices that it is made of.
    pub slaves: Known<Vec<Arc<str>>>,
    /// Whether data must not change while it is written (`queue/stable_writes`), as for protection
    /// information.
    pub stable_writes: Known<bool>,
    /// What tells it from all others: `wwid`, or `serial` of virtio devices.
    pub identity: Known<Option<Arc<str>>>,
}

/// What a block device is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum BlockKind {
    /// A namespace of one NVMe controller.
    Namespace {
        /// The controller.
        controller: Arc<str>,
    },
    /// One path to a namespace with several (`nvme0c1n1`): hidden, and below a head.
    Path {
        /// The controller.
        controller: Arc<str>,
    },
    /// An NVMe multipath head: a namespace with several paths.
    Head {
        /// The paths.
        paths: Vec<Arc<str>>,
    },
    /// A partition.
    Partition {
        /// The device that it is a part of.
        of: Arc<str>,
    },
    /// An md array.
    Md {
        /// Its level: `raid1`.
        level: Known<Arc<str>>,
    },
    /// Made by device mapper.
    Dm {
        /// Its name: that in `/dev/mapper`.
        name: Known<Arc<str>>,
        /// Its identity, which begins with what made it: `LVM-`, `CRYPT-`, `mpath-`.
        uuid: Known<Option<Arc<str>>>,
    },
    /// A file as a block device.
    Loop {
        /// The file; `None` if there is none at present.
        file: Known<Option<Arc<str>>>,
    },
    /// Any other: SCSI, virtio, memory.
    Other,
}

impl Blocks {
    /// Block devices of which nothing is known; `cause` is why.
    #[must_use]
    pub const fn unknown(cause: Cause) -> Self {
        Self {
            devices: Known::Unknown(cause),
            controllers: Known::Unknown(cause),
            mounts: Known::Unknown(cause),
            swap: Known::Unknown(cause),
        }
    }

    /// The device of a name: `nvme0n1`, `/dev/nvme0n1`, or `/dev/mapper/NAME`.
    #[must_use]
    pub fn device(&self, name: &str) -> Option<&BlockDevice> {
        let devices = self.devices.value()?;
        if let Some(mapped) = name.strip_prefix("/dev/mapper/") {
            let is = |device: &&BlockDevice| match &device.kind {
                BlockKind::Dm { name: Known::Value(name), .. } => &**name == mapped,
                _ => false,
            };
            return devices.iter().find(is);
        }
        let bare = name.strip_prefix("/dev/").unwrap_or(name);
        // A '/' in a device's name is written as '!' in sysfs.
        let bare = bare.replace('/', "!");
        let at = devices.binary_search_by(|device| (*device.name).cmp(bare.as_str())).ok()?;
        devices.get(at)
    }

    /// The controller of a name.
    #[must_use]
    pub fn controller(&self, name: &str) -> Option<&Controller> {
        self.controllers.value()?.iter().find(|controller| &*controller.name == name)
    }

    /// Where a device is mounted.
    pub fn mounts_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Mount> {
        let mounts = self.mounts.value().into_iter().flatten();
        mounts.filter(move |mount| &*mount.device == name)
    }

    /// The devices that a device is directly made of.
    #[must_use]
    pub fn below(&self, device: &BlockDevice) -> Known<Vec<Arc<str>>> {
        match &device.kind {
            BlockKind::Partition { of } => Known::Value(vec![Arc::clone(of)]),
            BlockKind::Head { paths } => Known::Value(paths.clone()),
            _ => device.slaves.clone(),
        }
    }
}

/// Reads all block devices.
pub(crate) fn read(tree: &dyn Tree, notes: &mut Vec<Note>) -> Blocks {
    let controllers = nvme::read(tree, notes);
    let devices = device::read(tree, notes);
    let named: HashMap<(u32, u32), Arc<str>> = devices
        .value()
        .into_iter()
        .flatten()
        .filter_map(|device| Some(((*device.number.value()?)?, Arc::clone(&device.name))))
        .collect();
    let mut blocks = Blocks {
        devices,
        controllers,
        mounts: Known::Unknown(Cause::Unreadable),
        swap: Known::Unknown(Cause::Unreadable),
    };
    if blocks.devices.value().is_some() {
        blocks.mounts = mounts::read(tree, &blocks, &named);
        blocks.swap = mounts::read_swap(tree, &blocks);
    }
    blocks
}

/// The names in a class of sysfs: none if the kernel has no such class.
fn names(tree: &dyn Tree, class: &str, notes: &mut Vec<Note>) -> Known<Vec<String>> {
    match tree.list(class) {
        Ok(names) => Known::Value(names),
        Err(Failure::Missing) => Known::Value(Vec::new()),
        Err(failure) => {
            notes.push(NoteKind::Unreadable { path: class.to_owned(), failure }.into());
            Known::Unknown(failure.cause())
        }
    }
}

/// What can be read of the members of a class; one that has vanished is not there.
fn readable<T>(
    names: &[String],
    class: &str,
    notes: &mut Vec<Note>,
    read: impl Fn(&str) -> Result<T, Failure>,
) -> Vec<T> {
    let mut members = Vec::with_capacity(names.len());
    for name in names {
        match read(name) {
            Ok(member) => members.push(member),
            Err(failure) if failure.is_gone() => {}
            Err(failure) => {
                notes.push(NoteKind::Unreadable { path: join(class, name), failure }.into());
            }
        }
    }
    members
}
