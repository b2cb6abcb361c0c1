//! Every machine of the project, with every IOMMU.

use p2pdma::machine::Machine;
use p2pdma::topology::{Allowlist, IommuMode, ReasonCode};
use p2pdma::{Error, FabricPlatform, Platform, Storage, presets};

use crate::support::machine;

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

const PARTS: &str = "name = \"m\"\n[[host-bridge]]\nname = \"h\"\nid = \"8086:2020\"\np2p = \"refuse\"\n\
    [[root-port]]\nname = \"rp0\"\non = \"h\"\n[[root-port]]\nname = \"rp1\"\non = \"h\"\n";

/// What the file says of BARs is what the machine has.
#[test]
fn bars_are_as_large_as_the_file_says() {
    let platform = machine(&format!(
        "{PARTS}[[nvme]]\nname = \"nvme0\"\nbelow = \"rp0\"\n\
         cmb = {{ size = \"4M\", bar-size = \"16M\" }}\n\
         [[bar-memory]]\nname = \"gpu0\"\nbelow = \"rp1\"\nsize = \"3G\"\nwindow = \"256M\"\n"
    ));
    let [ssd, gpu] = ["nvme0", "gpu0"].map(|name| platform.find(name).unwrap());
    let bar = |bdf, index| {
        use p2pdma_pci::Function as _;
        let index = p2pdma::BarIndex::new(index).unwrap();
        platform.fabric().open(bdf).unwrap().map_bar(index).unwrap().len()
    };
    assert_eq!((bar(ssd, 2), bar(gpu, 0)), (16 << 20, 256 << 20));
    let topology = platform.topology().unwrap();
    let verdict = topology.explain(ssd, gpu);
    let small = verdict.hazards.iter().find(|hazard| hazard.code() == ReasonCode::BarSmall);
    let text = small.map(ToString::to_string).unwrap_or_default();
    assert!(text.contains("268435456") && text.contains("3221225472"), "{text}");
    let memory = |bdf| topology.node(topology.find(bdf).unwrap()).memory[0];
    assert_eq!((memory(ssd).size, memory(gpu).behind), (4 << 20, Some(3 << 30)));
}

/// Every value that a file may have at its bounds makes a machine that comes up, or is refused with its
/// place.
#[test]
fn values_at_their_bounds_come_up() {
    let mut built = 0;
    for line in [
        "queues = 1",
        "queues = 4095",
        "queue-entries = 2",
        "queue-entries = 65536",
        "mdts = \"8k\"",
        "mdts = \"256M\"",
        "mdts = \"none\"",
        "cmb = \"4k\"",
        "cmb = { size = \"1M\", bar = 4, bar-size = \"1G\", offset = \"64k\" }",
        "pmr = \"4k\"",
        "[[nvme.namespace]]\nsize = \"1024T\"\nmedia = \"null\"",
        "[[nvme.namespace]]\nsize = 512\nmetadata = 64\nprotection = 3",
    ] {
        let nvme = "[[nvme]]\nname = \"a-device-of-20-bytes\"\nbelow = \"rp0\"";
        let platform = machine(&format!("{PARTS}{nvme}\n{line}\n"));
        let bdf = platform.find("a-device-of-20-bytes").unwrap();
        let present = platform.controller(bdf).unwrap().namespaces().contains(&1);
        assert_eq!(present, line.starts_with("[["), "{line}");
        match platform.namespace(bdf, 1) {
            Ok(_) => assert!(present && !line.contains("metadata"), "{line}"),
            Err(Error::NoNamespace { .. }) => assert!(!present, "{line}"),
            Err(Error::Metadata { bytes: 64, .. }) => assert!(line.contains("metadata"), "{line}"),
            Err(other) => panic!("{line}: {other}"),
        }
        built += 1;
    }
    for (line, place) in [("queues = 4096", "15:10"), ("mdts = \"4k\"", "15:8")] {
        let text = format!("{PARTS}[[nvme]]\nname = \"x\"\nbelow = \"rp0\"\n{line}\n");
        let error = Machine::parse(&text, "m").unwrap_err().to_string();
        assert!(error.starts_with(&format!("m:{place}")), "{error}");
    }
    println!("{built} machines at bounds came up");
}

/// What the fabric has no model of is said, and not built otherwise.
#[test]
fn a_subsystem_that_controllers_share_is_refused() {
    let nvme = "[[nvme]]\nname = \"nvme0\"\nbelow = \"rp0\"\nsubsystem = \"pair\"";
    let machine = Machine::parse(&format!("{PARTS}{nvme}\n"), "m").unwrap();
    let refused = FabricPlatform::new(&machine, &Storage::Ephemeral, Allowlist::default());
    let error = refused.unwrap_err();
    assert!(
        matches!(&error, p2pdma::Error::SharedSubsystem { name } if name == "nvme0"),
        "{error}"
    );
}
