//! The system: kernel, processor, host bridges, IOMMU, boot parameters.

use p2pdma_linux::Survey;
use p2pdma_linux::system::{BootParameters, System};
use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{
    Cause, IommuMode, KernelVersion, Known, PciId, ReasonCode, Source, Topology,
};

use super::Finding;

/// The first kernel that lends peer memory to user space (`p2pmem/allocate`).
const LENDS: KernelVersion = KernelVersion { major: 6, minor: 2 };

/// Judges what holds for all devices of a machine. `survey` is what Linux told, where it runs Linux.
#[must_use]
pub fn system(topology: &Topology, survey: Option<&Survey>) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(survey) = survey {
        let lends =
            survey.functions.iter().any(|function| matches!(function.pool, Known::Value(Some(_))));
        findings.extend(kernel(&survey.system, lends));
    }
    findings.extend(processor(topology));
    findings.extend(iommu(topology));
    if let Some(Known::Value(boot)) = survey.map(|survey| &survey.system.boot) {
        findings.extend(boot_parameters(boot));
    }
    findings.extend(unread(topology));
    findings
}

/// Judges the kernel. One that `lends` has what it takes, whatever is known of its configuration.
fn kernel(system: &System, lends: bool) -> Vec<Finding> {
    let about = "kernel";
    let mut findings = Vec::new();
    match (&system.release, system.kernel) {
        (Known::Value(release), Known::Value(version)) if version < LENDS => findings.push(
            Finding::hinders(
                ReasonCode::KernelVersion,
                about,
                format!("Linux {release} does not lend peer memory to user space"),
            )
            .remedy(format!("run Linux {LENDS} or later")),
        ),
        (Known::Value(release), _) => {
            findings.push(Finding::good(about, format!("Linux {release}")))
        }
        (Known::Unknown(cause), _) => findings.push(Finding::unknown(*cause, about, "its release")),
    }
    findings.push(match system.has_p2pdma() {
        Known::Value(true) => Finding::good(about, "built with CONFIG_PCI_P2PDMA"),
        Known::Unknown(_) if lends => {
            Finding::good(about, "lends memory, and so was built with CONFIG_PCI_P2PDMA")
        }
        Known::Value(false) => {
            let text = "built without CONFIG_PCI_P2PDMA: no memory can be lent";
            Finding::hinders(ReasonCode::KernelConfig, about, text)
                .remedy("run a kernel with CONFIG_PCI_P2PDMA=y")
        }
        Known::Unknown(cause) => {
            let finding = Finding::unknown(cause, about, "whether it has CONFIG_PCI_P2PDMA");
            match cause {
                Cause::Unreadable => finding.remedy(
                    "look at /boot/config-$(uname -r), or modprobe configs for /proc/config.gz",
                ),
                Cause::NeedsRoot | Cause::NotCaptured => finding,
            }
        }
    });
    findings
}

/// The rule of the processor; where it does not hold, the host bridges one by one.
fn processor(topology: &Topology) -> Vec<Finding> {
    let about = "processor";
    let mut findings = Vec::new();
    match topology.host().cpu {
        Known::Value(cpu) if cpu.carries_peer_traffic() => {
            let text = "AMD of the Zen family or later: the kernel lets peer traffic pass its root complex";
            return vec![Finding::good(about, text)];
        }
        Known::Value(_) => {
            findings.push(Finding::note(about, "the kernel goes by its list of host bridges"));
        }
        Known::Unknown(cause) => {
            findings.push(Finding::unknown(cause, about, "whether the kernel trusts it"));
        }
    }
    findings.extend((0..topology.host_bridges().len()).map(|index| host_bridge(topology, index)));
    findings
}

fn host_bridge(topology: &Topology, index: usize) -> Finding {
    let evidence = topology.judge_host_bridge(index, true);
    let across = topology.judge_host_bridge(index, false).allows;
    let about = evidence.to_string();
    let by = |source: &Source| match source {
        Source::Kernel => "the kernel's list".to_owned(),
        other => other.to_string(),
    };
    match (&evidence.entry, &evidence.block) {
        (_, Some(block)) => Finding::hinders(
            ReasonCode::RootBlocked,
            about,
            format!("{} blocks it", by(&block.source)),
        ),
        (Some(entry), None) if evidence.allows => {
            let which = if across { "" } else { ", for pairs below it alone" };
            Finding::good(about, format!("{} allows it{which}", by(&entry.source)))
        }
        (Some(_), None) => Finding::note(about, "whether this kernel's list has it is not known"),
        (None, None) => {
            let text = "not on the kernel's list: pairs below different root ports have no path";
            Finding::note(about, text)
                .code(ReasonCode::RootNotAllowed)
                .remedy("put the devices below one switch")
        }
    }
}

fn iommu(topology: &Topology) -> Option<Finding> {
    let about = "IOMMU";
    Some(match topology.host().iommu {
        Known::Value(IommuMode::Off) => Finding::good(about, "off: it switches no ACS on"),
        Known::Value(IommuMode::Passthrough) => {
            Finding::note(about, "on, addresses pass as they are; it switched ACS on at boot")
        }
        Known::Value(IommuMode::Translate) if is_qemu(topology) => Finding::hinders(
            ReasonCode::Iommu,
            about,
            "it translates, and this is QEMU: peer-to-peer data go astray with status OK",
        )
        .remedy("boot with iommu=pt"),
        Known::Value(IommuMode::Translate) => {
            Finding::note(about, "it translates; it switched ACS on at boot")
                .code(ReasonCode::Iommu)
        }
        Known::Unknown(cause) => Finding::unknown(cause, about, "what it does"),
    })
}

/// Whether a machine is one of QEMU's: its host bridges or its generic ports say so.
fn is_qemu(topology: &Topology) -> bool {
    const QEMU: u16 = 0x1b36;
    const Q35: PciId = PciId { vendor: 0x8086, device: 0x29c0 };
    let on_root_bus = topology.ids().filter(|id| topology.parent(*id).is_none());
    on_root_bus.map(|id| topology.node(id).id).any(|id| id.vendor == QEMU || id == Q35)
}

fn boot_parameters(boot: &BootParameters) -> Vec<Finding> {
    let about = "boot parameters";
    let mut findings = Vec::new();
    // An address as an option of its own: what follows a ',' in a list.
    if boot.options("pci").any(|option| option.parse::<Bdf>().is_ok()) {
        let text = "pci= has an address after a ',': only the functions before it are in the list";
        findings.push(
            Finding::hinders(ReasonCode::AcsRedirect, about, text)
                .remedy("separate the functions of disable_acs_redir by ';'"),
        );
    }
    let lists =
        [("disable_acs_redir", boot.disable_acs_redir()), ("config_acs", boot.config_acs())];
    for (option, functions) in lists.into_iter().filter(|(_, functions)| !functions.is_empty()) {
        findings.push(Finding::note(about, format!("pci={option}={}", functions.join(";"))));
    }
    findings
}

/// How many functions have access control that could not be read.
fn unread(topology: &Topology) -> Option<Finding> {
    let mut causes = topology.nodes().iter().filter_map(|node| node.acs.cause());
    let cause = causes.next()?;
    let of = match causes.count() + 1 {
        1 => "ACS of one function".to_owned(),
        count => format!("ACS of {count} functions"),
    };
    Some(Finding::unknown(cause, "access control", &of))
}
