//! The system: kernel, processor, host bridges, IOMMU, boot parameters.

use p2pdma_linux::Survey;
use p2pdma_linux::system::{BootParameters, System};
use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{
    Cause, Hazard, IommuMode, KernelVersion, Known, ReasonCode, Source, Topology,
};

use super::Finding;

/// The first kernel that lends peer memory to user space (`p2pmem/allocate`).
const LENDS: KernelVersion = KernelVersion { major: 6, minor: 2 };

/// Judges what holds for all devices of a machine. `survey` is what Linux told, where it runs Linux.
#[must_use]
pub fn system(topology: &Topology, survey: Option<&Survey>) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(survey.into_iter().flat_map(kernel));
    findings.extend(processor(topology));
    findings.extend(iommu(topology));
    findings.extend(survey.into_iter().flat_map(boot));
    findings.extend(unread(topology));
    findings
}

/// Judges the kernel. One that lends memory has what it takes, whatever is known of its configuration.
pub(super) fn kernel(survey: &Survey) -> Vec<Finding> {
    let lends =
        survey.functions.iter().any(|function| matches!(function.pool, Known::Value(Some(_))));
    vec![release(&survey.system), configuration(&survey.system, lends)]
}

fn release(system: &System) -> Finding {
    let about = "kernel";
    match (&system.release, system.kernel) {
        (Known::Value(release), Known::Value(version)) if version < LENDS => {
            let text = format!("Linux {release} does not lend peer memory to user space");
            Finding::hinders(ReasonCode::KernelVersion, about, text)
                .remedy(format!("run Linux {LENDS} or later"))
        }
        (Known::Value(release), _) => Finding::good(about, format!("Linux {release}")),
        (Known::Unknown(cause), _) => Finding::unknown(*cause, about, "its release"),
    }
}

fn configuration(system: &System, lends: bool) -> Finding {
    let about = "kernel";
    match system.has_p2pdma() {
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
    }
}

/// The rule of the processor, and what users block; where the rule does not hold, all host bridges one by
/// one.
fn processor(topology: &Topology) -> Vec<Finding> {
    let about = "processor";
    let bridges = 0..topology.host_bridges().len();
    let blocked = bridges.clone().filter_map(|index| blocked(topology, index));
    let rule = match topology.host().cpu {
        Known::Value(cpu) if cpu.carries_peer_traffic() => {
            let text = "AMD of the Zen family or later: the kernel lets peer traffic pass its root complex";
            return std::iter::once(Finding::good(about, text)).chain(blocked).collect();
        }
        Known::Value(_) => Finding::note(about, "the kernel goes by its list of host bridges"),
        Known::Unknown(cause) => Finding::unknown(cause, about, "whether the kernel trusts it"),
    };
    let listed = bridges.filter_map(|index| host_bridge(topology, index));
    std::iter::once(rule).chain(blocked).chain(listed).collect()
}

/// A host bridge that a user's entry blocks, for pairs below it or for those with another.
fn blocked(topology: &Topology, index: usize) -> Option<Finding> {
    let [same, across] = [true, false].map(|same| topology.judge_host_bridge(index, same));
    let about = same.to_string();
    let (block, which) = match (same.block, across.block) {
        (Some(block), _) => (block, ""),
        (None, Some(block)) => (block, ", for pairs with another host bridge"),
        (None, None) => return None,
    };
    let text = format!("{} blocks it{which}", block.source);
    let remedy = "take the entry out of the list, if it is out of date";
    Some(Finding::hinders(ReasonCode::RootBlocked, about, text).remedy(remedy))
}

/// What the list says of a host bridge that is not blocked for pairs below it.
fn host_bridge(topology: &Topology, index: usize) -> Option<Finding> {
    let evidence = topology.judge_host_bridge(index, true);
    let across = topology.judge_host_bridge(index, false).allows;
    let about = evidence.to_string();
    let by = |source: &Source| match source {
        Source::Kernel => "the kernel's list".to_owned(),
        other => other.to_string(),
    };
    if evidence.block.is_some() {
        return None;
    }
    Some(match &evidence.entry {
        Some(entry) if evidence.allows => {
            let which = if across { "" } else { ", for pairs below it alone" };
            Finding::good(about, format!("{} allows it{which}", by(&entry.source)))
        }
        Some(_) => Finding::note(about, "whether this kernel's list has it is not known"),
        None => {
            let text = "not on the kernel's list: pairs below different root ports have no path";
            Finding::note(about, text)
                .code(ReasonCode::RootNotAllowed)
                .remedy("put the devices below one switch")
        }
    })
}

fn iommu(topology: &Topology) -> Option<Finding> {
    let about = "IOMMU";
    Some(match topology.host().iommu {
        Known::Value(IommuMode::Off) => Finding::good(about, "off: it switches no ACS on"),
        Known::Value(IommuMode::Passthrough) => {
            Finding::note(about, "on, addresses pass as they are; it switched ACS on at boot")
        }
        Known::Value(IommuMode::Translate) if topology.host().qemu => {
            let hazard = Hazard::DataLost;
            let text =
                "it translates, and this is QEMU: data by bus address go astray, with status OK";
            Finding::hinders(hazard.code(), about, text).remedies(hazard.remedy())
        }
        Known::Value(IommuMode::Translate) => {
            Finding::note(about, "it translates; it switched ACS on at boot")
                .code(ReasonCode::Iommu)
        }
        Known::Unknown(cause) => Finding::unknown(cause, about, "what it does"),
    })
}

/// Judges the boot parameters, if they are known.
pub(super) fn boot(survey: &Survey) -> Vec<Finding> {
    survey.system.boot.value().map(boot_parameters).unwrap_or_default()
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
