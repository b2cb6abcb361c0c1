//! The kernel's arguments for a machine (Documentation/admin-guide/kernel-parameters.txt of Linux 7.3).

use p2pdma_pci::machine::{AcsSetting, Machine};
use p2pdma_pci::topology::{ISOLATING, IommuMode, REDIRECTING};
use p2pdma_spec::pci::acs::AcsControl;

use super::place::Placed;
use crate::Arch;

/// The arguments.
pub(super) fn arguments(machine: &Machine, arch: Arch, placed: &[Placed]) -> Vec<String> {
    let mut arguments = Vec::new();
    match (arch, machine.iommu) {
        (_, IommuMode::Off) => {}
        (Arch::X86_64, IommuMode::Passthrough) => arguments.extend(["intel_iommu=on", "iommu=pt"]),
        (Arch::X86_64, IommuMode::Translate) => arguments.extend(["intel_iommu=on", "iommu=nopt"]),
        (_, IommuMode::Passthrough) => arguments.push("iommu.passthrough=1"),
        (_, IommuMode::Translate) => arguments.push("iommu.passthrough=0"),
    }
    let mut arguments: Vec<String> = arguments.into_iter().map(str::to_owned).collect();
    let pci = access_control(machine, arch, placed);
    if !pci.is_empty() {
        arguments.push(format!("pci={}", pci.join(",")));
    }
    arguments
}

/// What root ports have by themselves once the kernel is up: `pci_enable_acs` in drivers/pci/pci.c sets
/// it on every port if an IOMMU driver asks for it. Where a device tree describes the machine that happens
/// without an IOMMU, too: seen on arm64 (7.3.4) and riscv64 (7.2.13).
const fn by_itself(arch: Arch, iommu: IommuMode) -> AcsControl {
    match (arch, iommu) {
        (Arch::X86_64, IommuMode::Off) => AcsControl::new(),
        _ => ISOLATING,
    }
}

/// What a root port has once the kernel is up that is told no more than not to redirect: the kernel then
/// leaves every other control as firmware had it, which is off in QEMU (`__pci_config_acs` in
/// drivers/pci/pci.c).
const NOT_REDIRECTING: AcsControl = AcsControl::new();

/// The setting of a root port, which has the capability in any case.
fn setting(port: Option<&AcsSetting>) -> (AcsControl, bool) {
    port.map_or((AcsControl::new(), false), |acs| (acs.control, acs.redirection_disabled))
}

/// Whether not to redirect is all that the file wants of a port.
fn only_disabled(machine: &Machine, arch: Arch, port: Option<&AcsSetting>) -> bool {
    let (control, disabled) = setting(port);
    let rest = by_itself(arch, machine.iommu).into_bits() & !REDIRECTING.into_bits();
    disabled && control.into_bits() == rest
}

/// The control register that a root port has once the kernel is up.
pub(super) fn control(machine: &Machine, arch: Arch, port: Option<&AcsSetting>) -> AcsControl {
    match only_disabled(machine, arch, port) {
        true => NOT_REDIRECTING,
        false => setting(port).0,
    }
}

/// `config_acs=` and `disable_acs_redir=` for the root ports that need them.
fn access_control(machine: &Machine, arch: Arch, placed: &[Placed]) -> Vec<String> {
    let by_itself = by_itself(arch, machine.iommu).into_bits();
    let (mut disabled, mut set) = (Vec::new(), Vec::new());
    for port in machine.host_bridges.iter().flat_map(|bridge| &bridge.ports) {
        let Some(placed) = placed.iter().find(|placed| placed.name == port.name) else {
            continue;
        };
        let (control, redirection_disabled) = setting(port.acs.as_ref());
        if redirection_disabled {
            disabled.push(placed.bdf.to_string());
        }
        let as_is = match redirection_disabled {
            true => only_disabled(machine, arch, port.acs.as_ref()),
            false => control.into_bits() == by_itself,
        };
        if !as_is {
            set.push(format!("{:07b}@{}", control.into_bits(), placed.bdf));
        }
    }
    let option = |name: &str, list: Vec<String>| {
        (!list.is_empty()).then(|| format!("{name}={}", list.join(";")))
    };
    option("disable_acs_redir", disabled).into_iter().chain(option("config_acs", set)).collect()
}
