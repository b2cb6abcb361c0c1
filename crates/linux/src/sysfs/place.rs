//! Where a function is in the hierarchy, by the path that its link resolves to.

use p2pdma_pci::Bdf;

use super::address;
use crate::assemble::Above;

/// What a function is below, by its folder: `sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0`. Host
/// bridges may be anywhere: below a platform device, or below the function of a volume management device
/// (`…/0000:00:0e.0/pci10000:e0/10000:e0:06.0`).
pub(super) fn above(folder: &str, bdf: Bdf) -> Option<Above> {
    let mut parts = folder.rsplit('/');
    if parts.next().and_then(address) != Some(bdf) {
        return None;
    }
    let parent = parts.next()?;
    if let Some(bridge) = address(parent) {
        return Some(Above::Bridge(bridge));
    }
    let (domain, bus) = host_bridge(parent)?;
    Some(Above::HostBridge { domain, bus })
}

/// The domain and root bus in a name such as `pci0000:00`.
fn host_bridge(name: &str) -> Option<(u32, u8)> {
    let (domain, bus) = name.strip_prefix("pci")?.split_once(':')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !(4..=8).contains(&domain.len()) || bus.len() != 2 || !digits(domain) || !digits(bus) {
        return None;
    }
    Some((u32::from_str_radix(domain, 16).ok()?, u8::from_str_radix(bus, 16).ok()?))
}

/// The function that a folder is in or below: the last one on the path.
pub(crate) fn last_function(folder: &str) -> Option<Bdf> {
    folder.rsplit('/').find_map(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Bdf {
        text.parse().unwrap()
    }

    #[test]
    fn hierarchies_of_every_kind() {
        let of = |folder: &str| above(folder, at(folder.rsplit('/').next().unwrap()));
        let root = |domain, bus| Some(Above::HostBridge { domain, bus });
        assert_eq!(of("sys/devices/pci0000:00/0000:00:01.0"), root(0, 0));
        assert_eq!(of("sys/devices/pci0000:c0/0000:c0:03.1"), root(0, 0xc0));
        assert_eq!(
            of("sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0"),
            Some(Above::Bridge(at("0000:00:01.0")))
        );
        assert_eq!(
            of("sys/devices/pci0000:00/0000:00:0e.0/pci10000:e0/10000:e0:06.0"),
            root(0x10000, 0xe0)
        );
        assert_eq!(
            of("sys/devices/platform/soc/40000000.pcie/pci0001:00/0001:00:00.0"),
            root(1, 0)
        );
        for odd in [
            "0000:00:01.0",
            "sys/devices/0000:00:01.0",
            "sys/devices/pci000:00/0000:00:01.0",
            "sys/devices/pci0000:0/0000:00:01.0",
            "sys/devices/pci+000:00/0000:00:01.0",
            "sys/devices/pci0000:00/pci/0000:00:01.0",
        ] {
            assert_eq!(of(odd), None, "{odd}");
        }
        assert_eq!(above("sys/devices/pci0000:00/0000:00:01.0", at("0000:00:02.0")), None);
    }

    #[test]
    fn the_function_of_a_folder() {
        let nvme = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/nvme/nvme0/nvme0n1";
        assert_eq!(last_function(nvme), Some(at("0000:01:00.0")));
        assert_eq!(last_function("sys/devices/virtual/block/loop0"), None);
    }
}
