//! Where sysfs says that a device is: its driver, its IOMMU group, and who else is in that.

use std::path::{Path, PathBuf};

use p2pdma_pci::Bdf;

use super::VfioError;

/// The driver through which this process may have a device.
pub const VFIO_PCI: &str = "vfio-pci";

pub(crate) fn folder(bdf: Bdf) -> PathBuf {
    PathBuf::from(format!("/sys/bus/pci/devices/{bdf}"))
}

/// The driver that a device is bound to.
pub(crate) fn driver(bdf: Bdf) -> Option<String> {
    last_of_link(folder(bdf).join("driver"))
}

/// The driver that alone may have a device; the kernel shows none as "(null)".
pub(crate) fn named(bdf: Bdf) -> Option<String> {
    let name = std::fs::read_to_string(folder(bdf).join("driver_override")).ok()?;
    Some(name.trim()).filter(|name| !matches!(*name, "" | "(null)")).map(str::to_owned)
}

/// The number of a device's IOMMU group.
pub(crate) fn group(bdf: Bdf) -> Result<u32, VfioError> {
    let number = last_of_link(folder(bdf).join("iommu_group")).and_then(|name| name.parse().ok());
    number.filter(|&number| !is_invented(number)).ok_or(VfioError::NoGroup { bdf })
}

/// Whether vfio has made a group for a device that no IOMMU is in charge of (`vfio_noiommu_group_alloc()`,
/// drivers/vfio/group.c): what the device is told are addresses of the machine's memory then.
fn is_invented(group: u32) -> bool {
    let name = std::fs::read_to_string(format!("/sys/kernel/iommu_groups/{group}/name"));
    name.is_ok_and(|name| name.trim() == "vfio-noiommu")
}

/// Where a BAR of a device is, as the processor knows it; `None` of one that has no address.
pub(crate) fn resource(bdf: Bdf, index: u8) -> Option<u64> {
    address_in(&std::fs::read_to_string(folder(bdf).join("resource")).ok()?, index)
}

/// The same in the text of `resource`: a line for each, with its first and last address and its flags
/// (Documentation/PCI/sysfs-pci.rst).
fn address_in(text: &str, index: u8) -> Option<u64> {
    let first = text.lines().nth(index.into())?.split(' ').next()?;
    u64::from_str_radix(first.strip_prefix("0x")?, 16).ok().filter(|&first| first != 0)
}

/// Whether the driver is loaded.
pub(crate) fn has_vfio() -> bool {
    Path::new("/sys/bus/pci/drivers").join(VFIO_PCI).exists()
}

/// The devices of a group.
pub(crate) fn members(group: u32) -> Vec<Bdf> {
    let folder = std::fs::read_dir(format!("/sys/kernel/iommu_groups/{group}/devices"));
    let names = folder.into_iter().flatten().flatten().map(|entry| entry.file_name());
    let mut members: Vec<Bdf> = names.filter_map(|name| name.to_str()?.parse().ok()).collect();
    members.sort_unstable();
    members
}

/// The others of a group that drivers of the kernel's use, with those drivers: `0000:03:00.0 (nvme)`.
pub(crate) fn others(bdf: Bdf, group: u32) -> String {
    let others = members(group).into_iter().filter(|&member| member != bdf);
    let used = others.filter_map(|member| Some((member, driver(member)?)));
    let used = used.filter(|(_, driver)| !harmless(driver));
    used.map(|(member, driver)| format!("{member} ({driver})")).collect::<Vec<_>>().join(", ")
}

/// Whether another device of a group is bound to vfio-pci.
pub(super) fn has_another(bdf: Bdf, group: u32) -> bool {
    let is_vfio = |&member: &Bdf| member != bdf && driver(member).as_deref() == Some(VFIO_PCI);
    members(group).iter().any(is_vfio)
}

/// The file by which a device is opened without its group.
pub(super) fn node(bdf: Bdf) -> std::io::Result<PathBuf> {
    let mut names = std::fs::read_dir(folder(bdf).join("vfio-dev"))?;
    let name = names.next().ok_or(std::io::ErrorKind::NotFound)??.file_name();
    Ok(Path::new(NODES).join(name))
}

/// The folder of those files.
const NODES: &str = "/dev/vfio/devices";

/// Drivers that may keep their devices in a group that vfio hands out: its own, and those that start no
/// requests (`vfio_dev_viable()` of old, `driver_managed_dma` in drivers/pci/pcie/portdrv.c).
pub(crate) fn harmless(driver: &str) -> bool {
    matches!(driver, VFIO_PCI | "pcieport" | "pci-stub")
}

fn last_of_link(path: PathBuf) -> Option<String> {
    let target = std::fs::read_link(path).ok()?;
    Some(target.file_name()?.to_str()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_without_an_address_has_none() {
        let text = "0x00000000fe000000 0x00000000fe003fff 0x0000000000140204\n\
                    0x0000000000000000 0x0000000000000000 0x0000000000000000\n\
                    0x0000383800000000 0x0000383803ffffff 0x000000000014220c\n";
        let found = [0, 1, 2, 3].map(|index| address_in(text, index));
        assert_eq!(found, [Some(0xfe00_0000), None, Some(0x3838_0000_0000), None]);
        assert_eq!(address_in("what?\n", 0), None);
    }
}
