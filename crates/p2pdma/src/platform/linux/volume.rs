//! What a file or block device stands on: which devices start its requests, and whether every element in
//! between passes peer-to-peer transfers on.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use p2pdma_linux::Survey;
use p2pdma_linux::block::{BlockDevice, BlockKind, Mount, Passage, Stack};
use p2pdma_linux::io::{Blind, DirectFile, Watch};
use p2pdma_pci::topology::{Cause, Known, ReasonCode};
use rustix::fs::IFlags;

use crate::transfer::{Barrier, End};

/// A file or block device as an end of transfers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footing {
    /// The devices below it; a volume over none if nothing there starts requests to peers.
    pub end: End,
    /// What keeps it from peer-to-peer transfers, if anything does.
    pub barrier: Option<Barrier>,
    /// The block devices below it, itself first: `md0 nvme0n1 nvme1n1`.
    pub devices: Vec<Arc<str>>,
    /// What the NVMe namespaces among them say of themselves (`wwid`): several devices can be one namespace.
    pub namespaces: Vec<Arc<str>>,
    /// The files that loop devices among them are: the file system's device and the inode.
    pub files: Vec<((u32, u32), u64)>,
}

impl Footing {
    /// Whether both stand on one namespace that the kernel shows as several devices, one for each of its controllers, as it
    /// does without NVMe multipath.
    #[must_use]
    pub fn aliases(&self, other: &Self) -> bool {
        let apart = self.devices.iter().all(|device| !other.devices.contains(device));
        apart && self.namespaces.iter().any(|namespace| other.namespaces.contains(namespace))
    }
}

/// Judges the whole stack below an open file.
pub(super) fn footing(survey: &Survey, file: &DirectFile) -> Footing {
    let name = name_of(survey, file.device());
    let stack = name.as_deref().and_then(|name| survey.blocks.stack(name, survey.system.kernel));
    let shown = file.path().display().to_string();
    let barrier = |element: String, code| Some(Barrier { end: shown.clone(), element, code });
    let Some(stack) = stack else {
        let element =
            "what is below it, which is no block device that the kernel shows,".to_owned();
        let barrier = barrier(element, ReasonCode::NotNvmePci);
        let (end, devices) = (End::Volume([].into()), Vec::new());
        return Footing { end, barrier, devices, namespaces: Vec::new(), files: Vec::new() };
    };
    let of_stack = stack_barrier(&stack).and_then(|(element, code)| barrier(element, code));
    let of_file_system = || {
        let (element, code) = file_barrier(survey, file, name.as_deref().unwrap_or_default())?;
        barrier(element, code)
    };
    let end = match *stack.functions.as_slice() {
        [one] => End::Client(one),
        ref all => End::Volume(all.into()),
    };
    let nobody =
        || end.clients().is_empty().then(|| barrier(shown.clone(), ReasonCode::NotNvmePci))?;
    let of_kernel = kernel_barrier(survey).and_then(|(element, code)| barrier(element, code));
    let barrier = of_kernel.or(of_stack).or_else(of_file_system).or_else(nobody);
    let devices = stack.layers.iter().map(|layer| Arc::clone(&layer.device)).collect();
    let layers = || stack.layers.iter().filter_map(|layer| survey.blocks.device(&layer.device));
    let namespaces = layers().filter_map(namespace).collect();
    let files = layers().filter_map(backing).collect();
    Footing { end, barrier, devices, namespaces, files }
}

/// What a device says of itself, if it is an NVMe namespace.
fn namespace(device: &BlockDevice) -> Option<Arc<str>> {
    let is = matches!(device.kind, BlockKind::Namespace { .. } | BlockKind::Head { .. });
    device.identity.value()?.clone().filter(|_| is)
}

/// The file that a loop device is.
fn backing(device: &BlockDevice) -> Option<((u32, u32), u64)> {
    let BlockKind::Loop { file: Known::Value(Some(file)) } = &device.kind else { return None };
    let metadata = std::fs::metadata(&**file).ok()?;
    let number = metadata.dev();
    Some(((rustix::fs::major(number), rustix::fs::minor(number)), metadata.ino()))
}

/// Block devices that are the same namespaces as those of a footing, and are not in it.
pub(super) fn other_names(survey: &Survey, footing: &Footing) -> Vec<PathBuf> {
    let devices = survey.blocks.devices.value().into_iter().flatten();
    let others = devices.filter(|device| {
        let same = namespace(device).is_some_and(|own| footing.namespaces.contains(&own));
        same && !footing.devices.contains(&device.name)
    });
    others.map(|device| Path::new("/dev").join(&*device.name)).collect()
}

/// A file whose staging would not be noticed: no transfer of it can be shown to be peer to peer.
pub(super) fn blind_barrier(watch: &Watch) -> Option<Barrier> {
    let blind = watch.blind()?;
    let code = match blind {
        Blind::Resident | Blind::NotRoot => ReasonCode::UnknownNeedRoot,
        Blind::NoTracepoints => ReasonCode::KernelConfig,
    };
    let element = format!("a page cache that cannot be watched ({blind})");
    Some(Barrier { end: watch.file().path().display().to_string(), element, code })
}

/// The block device of a number.
fn name_of(survey: &Survey, number: (u32, u32)) -> Option<Arc<str>> {
    let mut devices = survey.blocks.devices.value()?.iter();
    let is = |device: &&BlockDevice| device.number.value() == Some(&Some(number));
    devices.find(is).map(|device| Arc::clone(&device.name))
}

/// What tells a block device from all others.
pub(super) fn identity(survey: &Survey, file: &DirectFile) -> String {
    let (major, minor) = file.device();
    let by_number = || format!("device {major}:{minor}");
    let name = name_of(survey, file.device());
    let Some(device) = name.and_then(|name| survey.blocks.device(&name)) else {
        return by_number();
    };
    let own = |device: &BlockDevice| device.identity.value().cloned().flatten();
    let BlockKind::Partition { of } = &device.kind else {
        return own(device).map_or_else(by_number, |own| format!("device {own}"));
    };
    let whole = survey.blocks.device(of).and_then(own);
    let start = std::fs::read_to_string(format!("/sys/class/block/{}/start", device.name));
    match (whole, start) {
        (Some(whole), Ok(start)) => format!("device {whole} from sector {}", start.trim()),
        _ => by_number(),
    }
}

fn kernel_barrier(survey: &Survey) -> Option<(String, ReasonCode)> {
    let without = survey.system.has_p2pdma().value() == Some(&false);
    let element = "this kernel, which was built without CONFIG_PCI_P2PDMA,";
    without.then(|| (element.to_owned(), ReasonCode::KernelConfig))
}

fn stack_barrier(stack: &Stack) -> Option<(String, ReasonCode)> {
    let stops = stack.layers.iter().find_map(|layer| match layer.passage {
        Passage::Stops(code) => Some((layer.device.to_string(), code)),
        _ => None,
    });
    stops.or(match stack.passage {
        Passage::Passes | Passage::Stops(_) => None,
        Passage::Unknown(cause) => Some(("something below it".to_owned(), unknown(cause))),
    })
}

/// What of the file system stands in the way: its type, its journal, what this file is marked with.
fn file_barrier(survey: &Survey, file: &DirectFile, device: &str) -> Option<(String, ReasonCode)> {
    if file.is_block() {
        return None;
    }
    let Some(mount) = mount_of(survey, file.path(), device) else {
        return Some(("its file system, which is not known,".to_owned(), ReasonCode::FileSystem));
    };
    let element = || format!("the file system at {} ({})", mount.point, mount.file_system);
    match survey.blocks.judge_mount(mount) {
        Passage::Passes => {}
        Passage::Stops(code) => return Some((element(), code)),
        Passage::Unknown(Cause::NeedsRoot) => {
            return Some((element(), ReasonCode::UnknownNeedRoot));
        }
        Passage::Unknown(_) => return Some((element(), ReasonCode::FileSystem)),
    }
    let flags = rustix::fs::ioctl_getflags(file.file()).ok()?;
    let staged = STAGED.iter().find(|(flag, _)| flags.bits() & flag != 0)?;
    Some((format!("the file, which is {},", staged.1), ReasonCode::FileSystem))
}

/// Marks of a file whose data the file system copies (include/uapi/linux/fs.h, `FS_*_FL`).
const STAGED: [(u32, &str); 4] = [
    (IFlags::COMPRESSED.bits(), "compressed"),
    (0x0000_0800, "encrypted"),
    (IFlags::JOURNALING.bits(), "journalled with its data"),
    (0x1000_0000, "kept within its inode"),
];

/// The mount that a file is in: of those of its device the one whose point is its longest prefix.
fn mount_of<'a>(survey: &'a Survey, path: &Path, device: &'a str) -> Option<&'a Mount> {
    let path = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mounts: Vec<&Mount> = survey.blocks.mounts_of(device).collect();
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    // A file without a name any more is in one of them all the same.
    above.max_by_key(|mount| mount.point.len()).or(mounts.first()).copied()
}

fn unknown(cause: Cause) -> ReasonCode {
    match cause {
        Cause::NeedsRoot => ReasonCode::UnknownNeedRoot,
        _ => ReasonCode::NotNvmePci,
    }
}
