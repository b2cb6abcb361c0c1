//! Every machine of the project, with every IOMMU.

use p2pdma::topology::{Allowlist, IommuMode};
use p2pdma::{FabricPlatform, Platform, Storage, presets};

#[test]
fn every_preset_runs_with_every_iommu() {
    let mut built = 0;
    for (name, _) in presets::ALL {
        for iommu in [IommuMode::Off, IommuMode::Passthrough, IommuMode::Translate] {
            let machine = presets::machine(name, Some(iommu)).unwrap();
            let platform =
                FabricPlatform::new(&machine, &Storage::Ephemeral, Allowlist::kernel()).unwrap();
            let bdf = platform.find("nvme0").unwrap();
            assert_eq!(platform.namespace(bdf, 1).unwrap().capabilities().size, 1 << 30, "{name}");
            built += 1;
        }
    }
    println!("{built} machines came up");
    assert_eq!(built, presets::ALL.len() * 3);
}
