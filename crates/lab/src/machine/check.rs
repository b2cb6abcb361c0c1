//! Which parts QEMU can build.

use p2pdma_pci::machine::{
    AcsSetting, BarMemory, Below, Cmb, Function, HostBridge, Machine, Model, Nvme, PeerPolicy,
    Port, TimingModel,
};
use p2pdma_pci::topology::{Allowlist, CpuVendor, IommuMode, PciId};
use p2pdma_spec::pci::acs::AcsControl;

use super::refusal::{Difference, Note, Reason, Refusal};
use crate::Arch;

/// Looks at every part.
pub(super) fn check(machine: &Machine, arch: Arch) -> (Vec<Refusal>, Vec<Note>) {
    let mut check = Check { machine, arch, refusals: Vec::new(), notes: Vec::new() };
    check.whole();
    for (index, bridge) in machine.host_bridges.iter().enumerate() {
        check.host_bridge(index, bridge);
        for port in &bridge.ports {
            check.root_port(port);
            check.below(port);
        }
    }
    (check.refusals, check.notes)
}

/// What the first device of a root bus is in QEMU: `q35` (include/hw/pci/pci_ids.h) or `virt`
/// (docs/specs/pci-ids.rst).
pub(super) const fn host_bridge_id(arch: Arch) -> PciId {
    match arch {
        Arch::X86_64 => PciId { vendor: 0x8086, device: 0x29c0 },
        Arch::Aarch64 | Arch::Riscv64 => PciId { vendor: 0x1b36, device: 0x0008 },
    }
}

/// The most bytes of a command that QEMU's controller lets itself be limited to: `IOV_MAX` pages are too many
/// (`nvme_check_params` in hw/nvme/ctrl.c).
const MAX_TRANSFER: u64 = 2 << 20;

/// QEMU's root port (docs/specs/pci-ids.rst).
pub(super) const ROOT_PORT_ID: PciId = PciId { vendor: 0x1b36, device: 0x000c };

struct Check<'a> {
    machine: &'a Machine,
    arch: Arch,
    refusals: Vec<Refusal>,
    notes: Vec<Note>,
}

impl Check<'_> {
    fn refuse(&mut self, part: &str, reason: Reason) {
        self.refusals.push(Refusal { part: part.to_owned(), reason });
    }

    fn note(&mut self, part: &str, difference: Difference) {
        self.notes.push(Note { part: part.to_owned(), difference });
    }

    fn trusted_cpu(&self) -> bool {
        self.machine.host.cpu.carries_peer_traffic()
    }

    fn whole(&mut self) {
        let (machine, arch) = (self.machine, self.arch);
        if machine.host.cpu.vendor == CpuVendor::Other {
            self.refuse("[host]", Reason::CpuVendor);
        }
        if arch != Arch::X86_64 {
            if self.trusted_cpu() {
                self.refuse("[host]", Reason::CpuArch { arch });
            }
            if let Some(bridge) = machine.host_bridges.get(1) {
                self.refuse(&bridge.name, Reason::HostBridges { arch });
            }
        }
        if arch == Arch::Riscv64 && machine.iommu != IommuMode::Off {
            self.refuse("[iommu]", Reason::Iommu { arch });
        }
        if machine.timing.model == TimingModel::Pcie {
            self.note(&machine.name, Difference::NoTiming);
        }
    }

    fn host_bridge(&mut self, index: usize, bridge: &HostBridge) {
        // A further host bridge has no device 00.0: the kernel looks its first root port up instead.
        let qemu = if index == 0 { host_bridge_id(self.arch) } else { ROOT_PORT_ID };
        let list = Allowlist::kernel();
        let listed = list.entry(bridge.id, None, false).is_some()
            || list.entry(bridge.id, None, true).is_some();
        if listed && !self.trusted_cpu() {
            self.refuse(&bridge.name, Reason::HostBridgeListed { id: bridge.id, qemu });
        } else if bridge.id != qemu {
            self.note(&bridge.name, Difference::HostBridge { id: bridge.id, qemu });
        }
        match bridge.peer_to_peer {
            PeerPolicy::Forward => {}
            PeerPolicy::Lose => self.refuse(&bridge.name, Reason::LossyRoot),
            PeerPolicy::Refuse if self.trusted_cpu() => {
                self.refuse(&bridge.name, Reason::RefusingRoot);
            }
            PeerPolicy::Refuse => self.note(&bridge.name, Difference::ForwardingRoot),
        }
    }

    fn root_port(&mut self, port: &Port) {
        match &port.acs {
            None => self.note(&port.name, Difference::IdleAcs),
            Some(acs) if acs.control.egress_control() || !acs.egress.registers().is_empty() => {
                self.refuse(&port.name, Reason::EgressControl);
            }
            Some(_) => {}
        }
    }

    /// What is below a port, of whatever kind.
    fn below(&mut self, port: &Port) {
        match &port.below {
            Below::Nothing => {}
            Below::Switch(switch) => {
                if self.machine.iommu == IommuMode::Translate && switch.ports.len() > 1 {
                    self.note(&switch.name, Difference::SwitchUnderIommu);
                }
                for port in &switch.ports {
                    let reason = |control| Reason::SwitchAcs { control };
                    self.no_acs(&port.name, port.acs.as_ref(), reason);
                    self.below(port);
                }
            }
            Below::Device(functions) => {
                for function in functions {
                    self.function(port, function);
                }
            }
        }
    }

    fn no_acs(
        &mut self,
        part: &str,
        acs: Option<&AcsSetting>,
        reason: impl Fn(AcsControl) -> Reason,
    ) {
        match acs {
            None => {}
            Some(acs) if acs.control.into_bits() == 0 => self.note(part, Difference::NoAcs),
            Some(acs) => self.refuse(part, reason(acs.control)),
        }
    }

    fn function(&mut self, port: &Port, function: &Function) {
        let name = &function.name;
        let reason = |control| Reason::FunctionAcs { control };
        self.no_acs(name, function.acs.as_ref(), reason);
        let could = function.link.max.common_with(port.link.max);
        if let Some(trained) = function.link.current.filter(|&trained| trained != could) {
            self.refuse(name, Reason::DownTrained { trained, max: could });
        }
        match &function.model {
            Model::Nvme(nvme) => self.nvme(name, nvme),
            Model::BarMemory(memory) => self.bar_memory(name, memory),
            Model::DataMover => self.refuse(name, Reason::DataMover),
        }
    }

    fn nvme(&mut self, name: &str, nvme: &Nvme) {
        if let Some(cmb) = &nvme.cmb {
            self.cmb(name, cmb);
        }
        if let Some(pmr) = &nvme.pmr
            && pmr.bar.get() != 4
        {
            self.refuse(name, Reason::PmrBar { bar: pmr.bar.get() });
        }
        if let Some(size) = nvme.max_transfer.filter(|&size| size > MAX_TRANSFER) {
            self.refuse(name, Reason::MaxTransfer { size });
        }
    }

    fn cmb(&mut self, name: &str, cmb: &Cmb) {
        const MIB: u64 = 1 << 20;
        let mut wrong = Vec::new();
        if !cmb.size.is_power_of_two() || cmb.size < MIB {
            wrong.push(format!("{:#x} bytes", cmb.size));
        }
        if cmb.bar.get() != 2 {
            wrong.push(cmb.bar.to_string());
        }
        if cmb.offset != 0 || cmb.bar_size != cmb.size {
            wrong.push(format!("{:#x} bytes from {:#x} in it", cmb.bar_size, cmb.offset));
        }
        if !wrong.is_empty() {
            self.refuse(name, Reason::Cmb { what: wrong.join(", ") });
        }
        let uses = cmb.uses;
        let needed = [
            (uses.submission_queues, "sqs"),
            (uses.lists, "lists"),
            (uses.read_data, "rds"),
            (uses.write_data, "wds"),
        ];
        for (_, without) in needed.into_iter().filter(|(used, _)| !used) {
            self.refuse(name, Reason::CmbUses { without });
        }
        if uses.completion_queues {
            self.note(name, Difference::NoCompletionQueues);
        }
    }

    fn bar_memory(&mut self, name: &str, memory: &BarMemory) {
        if memory.window != memory.size {
            self.refuse(name, Reason::Window);
        } else if !memory.size.is_power_of_two() {
            self.refuse(name, Reason::MemorySize { size: memory.size });
        }
    }
}
