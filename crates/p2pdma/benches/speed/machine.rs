//! Machines with many controllers.

use std::fmt::Write as _;

use p2pdma::machine::Machine;
use p2pdma::topology::Allowlist;
use p2pdma::{FabricPlatform, Storage};

/// A machine with so many controllers: eight functions a device, 32 devices a switch. Their
/// namespaces have 256 MiB of that medium.
pub(crate) fn machine(endpoints: usize, media: &str, iommu: &str) -> p2pdma::fabric::Fabric {
    platform(endpoints, "256M", media, iommu).fabric().clone()
}

pub(crate) fn platform(endpoints: usize, size: &str, media: &str, iommu: &str) -> FabricPlatform {
    let mut text = format!(
        "name = \"scale\"\n[iommu]\nmode = \"{iommu}\"\n\
         [[host-bridge]]\nname = \"host0\"\nid = \"8086:2020\"\np2p = \"forward\"\n"
    );
    let functions = endpoints.min(8);
    let devices = endpoints.div_ceil(8);
    for switch in 0..devices.div_ceil(32) {
        let ports = (devices - switch * 32).min(32);
        let _ = write!(
            text,
            "[[root-port]]\nname = \"rp{switch}\"\non = \"host0\"\n\
             [[switch]]\nname = \"sw{switch}\"\nbelow = \"rp{switch}\"\nports = {ports}\n"
        );
    }
    for device in 0..devices {
        for function in 0..functions {
            let (switch, port) = (device / 32, device % 32);
            let _ = write!(
                text,
                "[[nvme]]\nname = \"d{device}-{function}\"\nbelow = \"sw{switch}.{port}\"\n\
                 function = {function}\n[[nvme.namespace]]\nsize = \"{size}\"\nblock = 4096\n\
                 media = \"{media}\"\n"
            );
        }
    }
    let machine = Machine::parse(&text, "scale.toml").unwrap();
    FabricPlatform::new(&machine, &Storage::Ephemeral, Allowlist::kernel()).unwrap()
}
