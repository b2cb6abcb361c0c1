//! Which processes have the files of devices open.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::DirEntry;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, StatxFlags, statx};

/// What a file of a device stands for: whether it is a block device's, its major and its minor number.
type Number = (bool, u32, u32);

/// A file of a device, by the name that the kernel gives it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Node {
    name: String,
    number: Number,
}

/// Files of devices that processes have open.
#[derive(Debug)]
pub(super) struct OpenNodes(BTreeMap<Number, BTreeSet<String>>);

impl OpenNodes {
    /// Looks at the processes of a procfs, as far as this user may, `except` one. A file that is mapped into memory and closed
    /// is not seen, nor one that an io_uring alone has.
    pub(super) fn read(proc: &Path, except: u32) -> Self {
        let mut open: BTreeMap<Number, BTreeSet<String>> = BTreeMap::new();
        for process in entries(proc) {
            let pid = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            let Some(pid) = pid.filter(|&pid| pid != except) else { continue };
            for file in entries(&process.path().join("fd")) {
                if let Some(number) = number(&file.path()) {
                    open.entry(number).or_default().insert(named(&process.path(), pid));
                }
            }
        }
        Self(open)
    }

    /// Who has a file open: `nvme0n1 is open in fio (1234)`.
    pub(super) fn said_of(&self, node: &Node) -> Option<String> {
        let processes: Vec<&str> = self.0.get(&node.number)?.iter().map(String::as_str).collect();
        Some(format!("{} is open in {}", node.name, processes.join(", ")))
    }
}

/// A process by its name and number.
fn named(process: &Path, pid: u32) -> String {
    let name = std::fs::read_to_string(process.join("comm")).unwrap_or_default();
    format!("{} ({pid})", name.trim())
}

/// What an open file stands for, if for a device; without asking a file server.
fn number(file: &Path) -> Option<Number> {
    let state = statx(CWD, file, AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE).ok()?;
    let is_block = match FileType::from_raw_mode(state.stx_mode.into()) {
        FileType::BlockDevice => true,
        FileType::CharacterDevice => false,
        _ => return None,
    };
    Some((is_block, state.stx_rdev_major, state.stx_rdev_minor))
}

/// The files of the devices in a folder of sysfs, and in those below it.
pub(super) fn below(folder: &Path) -> BTreeSet<Node> {
    let mut nodes: BTreeSet<Node> = of(folder).into_iter().collect();
    // Links lead elsewhere.
    let is_folder = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    for entry in entries(folder).filter(is_folder) {
        nodes.append(&mut below(&entry.path()));
    }
    nodes
}

/// The file of the device that has this folder of sysfs, if there is one (Documentation/ABI/stable/sysfs-devices: `dev`).
pub(super) fn of(folder: &Path) -> Option<Node> {
    let text = std::fs::read_to_string(folder.join("dev")).ok()?;
    let (major, minor) = text.trim().split_once(':')?;
    let class = std::fs::read_link(folder.join("subsystem")).ok()?;
    let number = (class.ends_with("block"), major.parse().ok()?, minor.parse().ok()?);
    Some(Node { name: folder.file_name()?.to_str()?.to_owned(), number })
}

fn entries(folder: &Path) -> impl Iterator<Item = DirEntry> {
    std::fs::read_dir(folder).into_iter().flatten().flatten()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn node(name: &str, number: Number) -> Node {
        Node { name: name.to_owned(), number }
    }

    /// `/dev/null` is a character device, and 1:3 (Documentation/admin-guide/devices.txt).
    #[test]
    fn a_process_that_has_a_device_open_is_named() {
        let _file = fs::File::open("/dev/null").unwrap();
        let (own, proc) = (std::process::id(), Path::new("/proc"));
        let said = |except, is_block| {
            let said = OpenNodes::read(proc, except).said_of(&node("null", (is_block, 1, 3)));
            said.unwrap_or_default()
        };
        let this = format!("({own})");
        assert!(said(0, false).starts_with("null is open in ") && said(0, false).contains(&this));
        assert!(!said(own, false).contains(&this), "this process is none of the others");
        assert!(!said(0, true).contains(&this), "1:3 of block devices is another one");
    }

    #[test]
    fn the_files_of_a_device_are_all_below_it() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let device = |path: &str, number: &str, class: &str| {
            let folder = root.join(path);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("dev"), format!("{number}\n")).unwrap();
            symlink(format!("../../../class/{class}"), folder.join("subsystem")).unwrap();
        };
        device("03/nvme/nvme0", "245:0", "nvme");
        device("03/nvme/nvme0/ng0n1", "244:0", "nvme-generic");
        device("03/nvme/nvme0/nvme0n1", "259:0", "block");
        device("03/nvme/nvme0/nvme0n1/nvme0n1p1", "259:1", "block");
        device("04/nvme/nvme1", "245:1", "nvme");
        symlink(root.join("04"), root.join("03/another")).unwrap();
        let found: Vec<Node> = below(&root.join("03")).into_iter().collect();
        let wanted = [
            node("ng0n1", (false, 244, 0)),
            node("nvme0", (false, 245, 0)),
            node("nvme0n1", (true, 259, 0)),
            node("nvme0n1p1", (true, 259, 1)),
        ];
        assert_eq!(found, wanted);
        assert_eq!(of(&root.join("03")), None);
    }
}
