//! What QEMU builds of the machines in `topologies/`, and what it refuses, and why.

use std::path::PathBuf;

use p2pdma_lab::Arch;
use p2pdma_lab::machine::{NotBuildable, Plan};
use p2pdma_pci::machine::Machine;

/// A machine of `topologies/`.
fn named(name: &str) -> Machine {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../topologies"));
    let text = std::fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
    Machine::parse(&text, name).unwrap()
}

fn refused(name: &str) -> NotBuildable {
    Plan::new(&named(name), Arch::X86_64).unwrap_err()
}

#[test]
fn machines_without_switch_acs_are_built() {
    for name in ["default", "no-cmb", "root-ports", "two-switches", "vfio"] {
        let plan = Plan::new(&named(name), Arch::X86_64);
        assert!(plan.is_ok(), "{name}: {plan:?}");
    }
}

#[test]
fn only_x86_has_what_needs_its_firmware_or_processor() {
    let text = "name = \"two\"\n[host]\ncpu = \"AuthenticAMD/0x17\"\n\
                [[host-bridge]]\nname = \"h0\"\nid = \"8086:29c0\"\np2p = \"forward\"\n\
                [[host-bridge]]\nname = \"h1\"\nid = \"1b36:000c\"\np2p = \"forward\"\n";
    let machine = Machine::parse(text, "two.toml").unwrap();
    assert!(Plan::new(&machine, Arch::X86_64).is_ok());
    for arch in [Arch::Aarch64, Arch::Riscv64] {
        let error = Plan::new(&machine, arch).unwrap_err().to_string();
        assert!(
            error.contains("h1: the lab builds a second host bridge on x86_64 only"),
            "{error}"
        );
        assert!(error.contains("[host]: the processor is an x86 of AMD"), "{error}");
    }
}

#[test]
fn what_qemu_cannot_build_is_refused_by_part_and_reason() {
    let expected = [
        ("acs-redirect", "sw0.0", "switch ports have no ACS"),
        ("iommu", "sw0.1", "switch ports have no ACS"),
        ("iommu-open", "sw0.1", "switch ports have no ACS"),
        ("multi-function", "nvme0", "devices have no ACS"),
        ("down-trained", "nvme", "links do not train"),
        ("root-ports-allowed", "host0", "on the kernel's list"),
        ("root-ports-lossy", "host0", "cannot lose it"),
        ("eight-ssds", "mover0", "no such DMA engine"),
    ];
    for (name, part, reason) in expected {
        let refusals = refused(name).refusals;
        let fits = |text: &str| text.starts_with(part) && text.contains(reason);
        let said: Vec<String> = refusals.iter().map(ToString::to_string).collect();
        assert!(said.iter().any(|text| fits(text)), "{name}: {said:#?}");
    }
}

#[test]
fn a_limit_of_transfers_that_qemu_does_not_start_with_is_refused() {
    for (mdts, built) in [("2M", true), ("4M", false), ("256M", false), ("none", true)] {
        let text = format!(
            "name = \"one\"\n[[host-bridge]]\nname = \"h0\"\nid = \"8086:29c0\"\np2p = \"forward\"\n\
             [[root-port]]\nname = \"rp0\"\non = \"h0\"\n\
             [[nvme]]\nname = \"nvme0\"\nbelow = \"rp0\"\nmdts = \"{mdts}\"\n"
        );
        let machine = Machine::parse(&text, "one.toml").unwrap();
        match Plan::new(&machine, Arch::X86_64) {
            Ok(_) => assert!(built, "{mdts}"),
            Err(error) => assert!(!built && error.to_string().contains("lower mdts"), "{error}"),
        }
    }
}
