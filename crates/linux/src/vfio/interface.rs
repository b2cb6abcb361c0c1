//! Which of the kernel's two interfaces this process uses.

use std::fmt;

use p2pdma_pci::topology::Known;

use super::VfioError;
use super::error::{CONTAINER, IOMMU, open_shared};
use crate::attribute::{if_there, known, text};
use crate::system::SYMBOLS;
use crate::{Failure, LiveTree, Tree};

/// How the kernel gives devices that are bound to vfio-pci.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Interface {
    /// By their IOMMU groups, in a container whose type 1 IOMMU maps memory of this process, BARs included.
    Container,
    /// Each by itself, in an address space of iommufd's, which maps BARs by dma-bufs.
    Iommufd,
}

impl Interface {
    /// Which one the kernel of a tree offers. iommufd is taken where it maps BARs, too, and where there is no container.
    ///
    /// No file says whether it maps them, and to try would take an open, and so a reset, device: it does if the kernel has the
    /// function by which iommufd asks for them (drivers/vfio/pci/vfio_pci_dmabuf.c).
    pub fn of(tree: &dyn Tree) -> Known<Self> {
        known(offered(tree))
    }

    /// Which one this process uses on this machine, whose kernel offers that; it is looked at if that is unknown. It is the
    /// container if this process may open that alone: a user may have been given a group.
    #[must_use]
    pub fn here(offered: Known<Self>) -> Self {
        let look = || Self::of(&LiveTree::machine().ok()?).value().copied();
        let offered = offered.value().copied().or_else(look).unwrap_or(Self::Container);
        let may_not = || matches!(open_shared(IOMMU), Err(VfioError::Denied { .. }));
        match offered {
            Self::Iommufd if may_not() && open_shared(CONTAINER).is_ok() => Self::Container,
            offered => offered,
        }
    }
}

fn offered(tree: &dyn Tree) -> Result<Interface, Failure> {
    let whole = || Ok(has_nodes(tree)? && maps_bars(tree)?);
    let is_taken = has(tree, IOMMUFD)? && (!has(tree, OLDER)? || whole()?);
    Ok(if is_taken { Interface::Iommufd } else { Interface::Container })
}

impl fmt::Display for Interface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Container => "container (type 1)",
            Self::Iommufd => "iommufd",
        })
    }
}

/// iommufd's file, as sysfs knows it, and the container's.
const IOMMUFD: &str = "sys/class/misc/iommu/dev";
const OLDER: &str = "sys/class/misc/vfio/dev";
/// The devices under vfio. They have a number, and so a file, where they can be opened by themselves
/// (`vfio_init_device_cdev()`, drivers/vfio/device_cdev.c).
const DEVICES: &str = "sys/class/vfio-dev";
/// The function by which iommufd asks for a BAR behind a dma-buf.
const MAPS_BARS: &str = " vfio_pci_dma_buf_iommufd_map";

fn has(tree: &dyn Tree, path: &str) -> Result<bool, Failure> {
    if_there(text(tree, path)).map(|text| text.is_some())
}

fn has_nodes(tree: &dyn Tree) -> Result<bool, Failure> {
    let names = if_there(tree.list(DEVICES))?.unwrap_or_default();
    names.first().map_or(Ok(false), |name| has(tree, &format!("{DEVICES}/{name}/dev")))
}

fn maps_bars(tree: &dyn Tree) -> Result<bool, Failure> {
    Ok(if_there(tree.lines(SYMBOLS, &[MAPS_BARS]))?.is_some_and(|lines| !lines.is_empty()))
}

#[cfg(test)]
mod tests {
    use p2pdma_pci::topology::Cause;

    use super::*;

    const ALL: [(&str, &str); 4] = [
        (IOMMUFD, "10:124\n"),
        ("sys/class/vfio-dev/vfio0/dev", "511:0\n"),
        (SYMBOLS, "0 T vfio_pci_dma_buf_iommufd_map\t[vfio_pci_core]\n"),
        (OLDER, "10:196\n"),
    ];

    fn folder_of<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    /// What is chosen where these are missing.
    fn without(missing: &[usize]) -> Interface {
        let files = ALL.into_iter().enumerate().filter(|(n, _)| !missing.contains(n));
        let folder = folder_of(files.map(|(_, file)| file));
        *Interface::of(&LiveTree::below(folder.path()).unwrap()).value().unwrap()
    }

    #[test]
    fn iommufd_is_taken_where_it_maps_bars_or_is_all_there_is() {
        assert_eq!(without(&[]), Interface::Iommufd);
        assert_eq!(without(&[2]), Interface::Container, "Linux 6.6: it maps no BARs");
        assert_eq!(without(&[2, 3]), Interface::Iommufd, "and no container either");
        assert_eq!(without(&[1, 2, 3]), Interface::Iommufd, "before anything is bound, too");
        assert_eq!(without(&[0]), Interface::Container);
        assert_eq!(without(&[1]), Interface::Container, "devices have no files of their own");
        assert_eq!(without(&[0, 1, 2, 3]), Interface::Container);
    }

    /// Whoever looks for two things among the symbols finds both in the snapshot.
    #[test]
    fn a_snapshot_keeps_the_symbols_for_both_who_look_at_them() {
        let both = format!("0 T pci_enable_device\n{}", ALL[2].1);
        let files = ALL.map(|(path, text)| (path, if path == SYMBOLS { &both } else { text }));
        let folder = folder_of(files.into_iter());
        let tree = LiveTree::below(folder.path()).unwrap();
        let recorder = crate::tree::Recorder::new(&tree);
        let look = |tree: &dyn Tree| {
            let words = [" pci_enable_device", " pci_p2pdma_add_resource"];
            (tree.lines(SYMBOLS, &words).unwrap().len(), Interface::of(tree))
        };
        let both = (1, Known::Value(Interface::Iommufd));
        assert_eq!(look(&recorder), both);
        assert_eq!(look(&recorder.into_snapshot()), both);
        let older = crate::Snapshot::default();
        assert_eq!(Interface::of(&older).cause(), Some(Cause::NotCaptured));
    }
}
