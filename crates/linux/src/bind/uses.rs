//! What of this machine stands on a device.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use p2pdma_pci::Bdf;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use super::files::{self, Node, OpenNodes};
use crate::Survey;
use crate::block::BlockDevice;
use crate::vfio::place;

/// What stands on the devices of this machine: file systems, swap areas, volumes that are made of them, network interfaces
/// that are up, processes that have them open.
#[derive(Debug)]
pub struct Uses<'a> {
    survey: &'a Survey,
    open: OpenNodes,
}

impl<'a> Uses<'a> {
    /// Looks at all processes, but this one.
    #[must_use]
    pub fn read(survey: &'a Survey) -> Self {
        Self { survey, open: OpenNodes::read(Path::new("/proc"), std::process::id()) }
    }

    /// What stands on a device.
    #[must_use]
    pub fn of(&self, bdf: Bdf) -> Vec<String> {
        let blocks = &self.survey.blocks;
        let mut uses = interfaces(Path::new("/sys/class/net"), bdf);
        if blocks.devices.value().and(blocks.mounts.value()).and(blocks.swap.value()).is_none() {
            uses.push("what stands on it cannot be read".to_owned());
        }
        let devices: Vec<&BlockDevice> = self.blocks(bdf).collect();
        uses.extend(devices.iter().flat_map(|device| self.stands_on(device)));
        uses.extend(nodes(bdf, &devices).iter().filter_map(|node| self.open.said_of(node)));
        // Nothing else tells who.
        if uses.is_empty() {
            let claimed = devices.iter().filter(|device| is_claimed(&device.name));
            let said =
                |name: &str| format!("{name} is claimed by the kernel, or by another process");
            uses.extend(claimed.map(|device| said(&device.name)));
        }
        uses
    }

    /// The block devices that are behind a function, in part at least.
    fn blocks(&self, bdf: Bdf) -> impl Iterator<Item = &'a BlockDevice> {
        let (blocks, kernel) = (&self.survey.blocks, self.survey.system.kernel);
        let devices = blocks.devices.value().into_iter().flatten();
        devices.filter(move |device| {
            let stack = blocks.stack(&device.name, kernel);
            stack.is_some_and(|stack| stack.functions.contains(&bdf))
        })
    }

    fn stands_on(&self, device: &BlockDevice) -> Vec<String> {
        let (blocks, name) = (&self.survey.blocks, &device.name);
        let mut uses: Vec<String> = Vec::new();
        uses.extend(
            blocks.mounts_of(name).map(|mount| format!("{name} is mounted at {}", mount.point)),
        );
        let mut swap = blocks.swap.value().into_iter().flatten();
        uses.extend(
            swap.any(|area| area.device == *name).then(|| format!("{name} is a swap area")),
        );
        let holders = device.holders.value().into_iter().flatten();
        uses.extend(holders.map(|holder| format!("{holder} is made of {name}")));
        uses
    }
}

/// The files by which a device is reached: those of its own folder, and those of its block devices, which may be in another
/// one (the heads of NVMe multipath, volumes).
fn nodes(bdf: Bdf, devices: &[&BlockDevice]) -> BTreeSet<Node> {
    let mut nodes = files::below(&place::folder(bdf));
    for device in devices {
        let class = |class: &str, name: &str| Path::new("/sys/class").join(class).join(name);
        nodes.extend(files::of(&class("block", &device.name)));
        if let Some(rest) = device.name.strip_prefix("nvme") {
            nodes.extend(files::of(&class("nvme-generic", &format!("ng{rest}"))));
        }
    }
    nodes
}

/// The network interfaces of a device that are up, or may be. Those of other network namespaces are not shown.
fn interfaces(class: &Path, bdf: Bdf) -> Vec<String> {
    let entries = std::fs::read_dir(class).into_iter().flatten().flatten();
    let said = entries.filter_map(|entry| {
        // Virtual ones have no device; that of a virtio interface is below the PCI function.
        let device = entry.path().join("device").canonicalize().ok()?;
        let mut names = device.iter().rev().filter_map(|name| name.to_str()?.parse::<Bdf>().ok());
        let name = entry.file_name().into_string().ok()?;
        match names.next() == Some(bdf) {
            true => said_of(&name, std::fs::read_to_string(entry.path().join("flags"))),
            false => None,
        }
    });
    said.collect()
}

/// What is in the way of taking an interface away, by its `flags` (`IFF_UP`, include/uapi/linux/if.h).
fn said_of(name: &str, flags: io::Result<String>) -> Option<String> {
    const UP: u32 = 1;
    let number = |text: String| u32::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok();
    match flags.ok().and_then(number) {
        Some(flags) => (flags & UP != 0).then(|| format!("{name} is up")),
        None => Some(format!("whether {name} is up cannot be read")),
    }
}

/// Whether somebody has a block device for himself: what no list of the kernel's shows, such as the second device of a
/// file system, a mount in another namespace, a pool, a copy.
fn is_claimed(name: &str) -> bool {
    let flags = OFlags::RDONLY | OFlags::EXCL | OFlags::CLOEXEC;
    let opened = rustix::fs::open(format!("/dev/{}", name.replace('!', "/")), flags, Mode::empty());
    opened.is_err_and(|errno| errno == Errno::BUSY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_that_are_up_are_in_use() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let interface = |name: &str, device: &str, flags: Option<&str>| {
            let (device, own) = (root.join("devices").join(device), root.join("net").join(name));
            std::fs::create_dir_all(&device).unwrap();
            std::fs::create_dir_all(&own).unwrap();
            std::os::unix::fs::symlink(device, own.join("device")).unwrap();
            flags.into_iter().for_each(|flags| std::fs::write(own.join("flags"), flags).unwrap());
        };
        let below = |rest: &str| format!("pci0000:00/0000:00:01.0/{rest}");
        interface("eth0", &below("0000:03:00.0"), Some("0x1003\n"));
        interface("eth1", &below("0000:03:00.1"), Some("0x1002\n"));
        interface("eth2", &below("0000:03:00.2/virtio0"), Some("0x1003\n"));
        interface("eth3", &below("0000:03:00.3"), None);
        std::fs::create_dir_all(root.join("net/lo")).unwrap();
        std::fs::write(root.join("net/lo/flags"), "0x9\n").unwrap();
        let said = |bdf: &str| interfaces(&root.join("net"), bdf.parse().unwrap());
        assert_eq!(said("0000:03:00.0"), ["eth0 is up"]);
        assert_eq!(said("0000:03:00.1"), [""; 0]);
        assert_eq!(said("0000:03:00.2"), ["eth2 is up"]);
        assert_eq!(said("0000:03:00.3"), ["whether eth3 is up cannot be read"]);
        assert_eq!(said("0000:00:01.0"), [""; 0], "the bridge above has no interface itself");
    }
}
