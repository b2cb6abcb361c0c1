//! Boots of real kernels.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use p2pdma_lab::machine::{Plan, Role};
use p2pdma_lab::{Arch, Job, Options, Settings, run};
use p2pdma_pci::machine::Machine;

const MACHINE: &str = include_str!("machine.toml");
const EXAMPLE: &str = "kernel_rows";

/// What vfio needs: an IOMMU, which the kernel's own drivers pass by.
const IOMMU: &str = "\n[iommu]\nmode = \"passthrough\"\n";

/// Boots, and lets the example print the rows of a kind.
pub(crate) fn rows(kind: &str, kernel_arguments: &[&str]) -> String {
    let iommu = if kind == "vfio" { IOMMU } else { "" };
    let machine = format!("{MACHINE}{iommu}");
    let machine = Machine::parse(&machine, "rows/machine.toml").unwrap();
    let plan = Plan::new(&machine, Arch::X86_64).unwrap_or_else(|error| panic!("{error}"));
    let ssds = plan.placed().iter().filter(|placed| placed.role == Role::Function);
    let places = ssds.map(|ssd| format!("{}={}", ssd.name, ssd.bdf));
    let mut job = Job::host(example()).arguments([kind]).arguments(places);
    for package in ["e2fsprogs", "mdadm", "dmsetup"] {
        job = job.package(package);
    }
    for module in
        ["raid0", "raid1", "raid10", "dm-mod", "loop", "virtio_blk", "vfio-pci", "vfio_iommu_type1"]
    {
        job = job.module(module);
    }
    let provisions = Options::new(plan.arch()).provide(&mut ());
    let provisions = provisions.unwrap_or_else(|error| panic!("{error}"));
    let settings = Settings {
        limit: Duration::from_secs(900),
        virtio_disk: Some(1 << 20),
        kernel_arguments: kernel_arguments.iter().map(|&word| word.to_owned()).collect(),
        ..Settings::default()
    };
    let outcome = run(&provisions, &plan, &job, &settings, &mut ());
    let outcome = outcome.unwrap_or_else(|error| panic!("{error}"));
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (out, err) = (text(&outcome.out), text(&outcome.err));
    let log = text(&outcome.log);
    let last: Vec<&str> = log.lines().rev().take(20).collect();
    assert_eq!(outcome.status, 0, "{out}{err}the kernel, last line first: {last:#?}");
    println!(
        "{kind}: up after {:.1} s, off after {:.1} s",
        outcome.boot.as_secs_f32(),
        outcome.total.as_secs_f32()
    );
    out
}

/// The program that tries the rows, built if it is not.
fn example() -> PathBuf {
    let mut command = Command::new(env!("CARGO"));
    command.args(["build", "--locked", "--package", "p2pdma-lab", "--example", EXAMPLE]);
    command.args(["--message-format", "json-render-diagnostics"]);
    let cargo = command.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let messages = String::from_utf8(cargo.stdout).unwrap();
    let artifacts =
        messages.lines().map(|line| -> serde_json::Value { serde_json::from_str(line).unwrap() });
    let mut programs = artifacts.filter(|artifact| artifact["target"]["name"] == EXAMPLE);
    PathBuf::from(programs.next().unwrap()["executable"].as_str().unwrap())
}
