// The bugs to plant in the verdict and in what the doctor makes of it: one for each rule. Included by
// `planted.rs`.

/// A bug in the topology's verdict.
const fn verdict(
    what: &'static str,
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
    filter: &'static str,
) -> Bug {
    Bug { what, file, right, wrong, package: "p2pdma-pci", tests: "--test=topology", filter }
}

/// A bug in the doctor, or below it in what is read of a machine.
const fn doctor(
    what: &'static str,
    file: &'static str,
    right: &'static str,
    wrong: &'static str,
    filter: &'static str,
) -> Bug {
    Bug { what, file, right, wrong, package: "p2pdma", tests: "--test=p2pdma", filter }
}

const ACS: &str = "crates/pci/src/topology/acs.rs";
const KERNEL: &str = "crates/pci/src/topology/kernel.rs";
const NODE: &str = "crates/pci/src/topology/node.rs";
const LIST: &str = "crates/pci/src/topology/allowlist.rs";
const BUS: &str = "crates/pci/src/topology/bus.rs";
const HAZARD: &str = "crates/pci/src/topology/hazard.rs";
const FIX: &str = "crates/pci/src/topology/fix.rs";
const EVIDENCE: &str = "crates/pci/src/topology/verdict.rs";
const COST: &str = "crates/pci/src/topology/isolation.rs";
const OF_DEVICES: &str = "crates/p2pdma/src/doctor/devices.rs";
const OF_MEMORY: &str = "crates/p2pdma/src/doctor/memory.rs";
const OF_PAIRS: &str = "crates/p2pdma/src/doctor/pair.rs";
const OF_SYSTEM: &str = "crates/p2pdma/src/doctor/system.rs";

const VERDICT_BUGS: &[Bug] = &[
    verdict(
        "verdict: request redirect does not count",
        ACS,
        "REDIRECTING: AcsControl = AcsControl::new()\n    .with_request_redirect(true)",
        "REDIRECTING: AcsControl = AcsControl::new()\n    .with_request_redirect(false)",
        "switch_with_acs",
    ),
    verdict(
        "verdict: completion redirect does not count",
        ACS,
        "    .with_completion_redirect(true)\n    .with_egress_control(true);",
        "    .with_completion_redirect(false)\n    .with_egress_control(true);",
        "switch_with_acs",
    ),
    verdict(
        "verdict: a bit counts that does not redirect",
        ACS,
        "    .with_egress_control(true);",
        "    .with_egress_control(true)\n    .with_upstream_forwarding(true);",
        "bits_that_do_not",
    ),
    verdict(
        "verdict: the client's side below the common bridge is forgotten",
        KERNEL,
        "(of(&client) - of(&common))",
        "(of(&client) - of(&client))",
        "switch_with_acs",
    ),
    verdict(
        "verdict: access control that was not read is taken for off",
        KERNEL,
        "} else if unknown > 0 {",
        "} else if unknown == u16::MAX {",
        "unknown_acs",
    ),
    verdict(
        "verdict: the distance is without the step beyond the root bus",
        KERNEL,
        "distance: depths + 2,",
        "distance: depths,",
        "rp_separate",
    ),
    verdict(
        "verdict: every AMD processor is trusted",
        NODE,
        "const ZEN: u16 = 0x17;",
        "const ZEN: u16 = 0x10;",
        "the_processor_rule",
    ),
    verdict(
        "verdict: the list is searched for any first device",
        KERNEL,
        "then_some(first.kind == Kind::RootPort)",
        "then_some(true)",
        "the_list_goes_by",
    ),
    verdict(
        "verdict: the list is searched for 00.0 only",
        KERNEL,
        "then_some(first.kind == Kind::RootPort)",
        "then_some(false)",
        "the_list_goes_by",
    ),
    verdict(
        "list: one identifier is another",
        LIST,
        "Some(0x2033), false, None)",
        "Some(0x2034), false, None)",
        "list::",
    ),
    verdict(
        "list: one entry is not for pairs below one host bridge only",
        LIST,
        "Some(0x2f01), true, None)",
        "Some(0x2f01), false, None)",
        "list::",
    ),
    verdict(
        "list: one entry is older than it is",
        LIST,
        "(0x1ae0, None, false, Some((7, 1)))",
        "(0x1ae0, None, false, Some((6, 1)))",
        "list::",
    ),
    verdict(
        "list: a kernel lacks what it is the first to have",
        LIST,
        "since.is_none_or(|since| since <= kernel)",
        "since.is_none_or(|since| since < kernel)",
        "list::",
    ),
    verdict(
        "list: a kernel lacks what it is the last to have",
        LIST,
        "until.is_none_or(|until| kernel <= until)",
        "until.is_none_or(|until| kernel < until)",
        "list::",
    ),
    verdict(
        "list: an unknown kernel has every entry",
        LIST,
        "(self.since.is_none() && self.until.is_none()).then_some(true)",
        "Some(true)",
        "list::",
    ),
    verdict(
        "list: a user's entry changes the kernel's answer",
        KERNEL,
        "Lists::Kernel => rule.kernel,",
        "Lists::Kernel => rule.any,",
        "list::",
    ),
    verdict(
        "list: a user's block counts for nothing",
        KERNEL,
        "Lists::WithUsers => self.list_blocks(client, provider),",
        "Lists::WithUsers => Some(false),",
        "list::",
    ),
    verdict(
        "list: of two host bridges both have to be blocked",
        KERNEL,
        "any(near.blocked, far.blocked)",
        "both(near.blocked, far.blocked)",
        "list::",
    ),
    verdict(
        "list: a block for pairs across host bridges is for all",
        LIST,
        "&& !(same_bridge && self.across_only)",
        "&& !(same_bridge && self.across_only && self.device.is_none())",
        "list::",
    ),
    verdict(
        "bus: completions with relaxed ordering are redirected",
        BUS,
        "TlpClass::RelaxedCompletion => Turn::Direct,",
        "TlpClass::RelaxedCompletion if !control.completion_redirect() => Turn::Direct,\n            \
         TlpClass::RelaxedCompletion => Turn::SentUp(AcsBit::CompletionRedirect),",
        "bus::",
    ),
    verdict(
        "bus: egress control is for every peer",
        BUS,
        "Some(false) => Turn::Direct,\n            Some(true) if acs",
        "Some(false) if acs.control.source_validation() => Turn::Direct,\n            \
         Some(false) => Turn::Blocked(AcsBit::EgressControl),\n            Some(true) if acs",
        "bus::",
    ),
    verdict(
        "bus: direct translated is not honoured",
        BUS,
        "TlpClass::Translated if control.direct_translated() => Turn::Direct,",
        "TlpClass::Translated if control.direct_translated() && control.source_validation() => {\n                \
         Turn::Direct\n            }",
        "bus::",
    ),
    verdict(
        "hazard: QEMU's IOMMU is like any other",
        HAZARD,
        "if self.host.qemu { Hazard::DataLost } else { Hazard::IommuBypassed }",
        "Hazard::IommuBypassed",
        "qemu_loses",
    ),
    verdict(
        "hazard: a pair that loses data is like any other in the matrix",
        HAZARD,
        "self.host.qemu && self.passes_by_iommu",
        "!self.host.qemu && self.passes_by_iommu",
        "qemu_loses",
    ),
    verdict(
        "hazard: data through the host bridge are lost, too",
        HAZARD,
        "translates && map_type == Some(MapType::BusAddress) && client != provider",
        "translates && map_type != Some(MapType::NotSupported) && client != provider",
        "qemu_loses",
    ),
    verdict(
        "hazard: every IOMMU's mode loses data",
        HAZARD,
        "self.host.iommu == Known::Value(IommuMode::Translate);",
        "self.host.iommu != Known::Value(IommuMode::Off);",
        "qemu_loses",
    ),
    verdict(
        "hazard: only the address of a CMB has to be aligned",
        HAZARD,
        "let aligned = memory.size.is_multiple_of(SECTION) && address",
        "let aligned = address",
        "hazards_are",
    ),
    verdict(
        "hazard: a link that is down is not told",
        HAZARD,
        "return Some(Hazard::LinkDown { at: node.bdf });",
        "return None;",
        "hazards_are",
    ),
    verdict(
        "hazard: memory beyond the BAR is not told",
        HAZARD,
        "&& behind > memory.size",
        "&& behind < memory.size",
        "hazards_are",
    ),
    verdict(
        "fix: bits that do not redirect are cleared, too",
        FIX,
        "let mask = REDIRECTING.into_bits();",
        "let mask = REDIRECTING.into_bits() | 1;",
        "setpci_names",
    ),
    verdict(
        "fix: functions of the boot parameter are parted by a comma",
        FIX,
        "f.write_str(\";\")?;",
        "f.write_str(\",\")?;",
        "the_designs_example",
    ),
    verdict(
        "fix: the common bridge stays as it is",
        EVIDENCE,
        "[(provider.0, self.place(common).parent), (client.0, common)]",
        "[(provider.0, common), (client.0, common)]",
        "a_fix_fixes",
    ),
    verdict(
        "cost: two groups that are joined are not told",
        COST,
        "(groups.len() > 1).then",
        "(groups.len() > 2).then",
        "opening_both",
    ),
    doctor(
        "doctor: what is wrong with a pair is looked for in nobody's memory",
        OF_PAIRS,
        "if let Some((id, Lending::Withheld(code))) = provider {",
        "if let Some((id, Lending::Withheld(code @ ReasonCode::Md))) = provider {",
        "memory_that_no_driver",
    ),
    doctor(
        "doctor: a remedy is the first that there is",
        OF_PAIRS,
        "find(|found| found.code == Some(code));\n        let of_hazard",
        "find(|found| found.remedy.is_some());\n        let of_hazard",
        "a_remedy",
    ),
    doctor(
        "doctor: boot parameters concern every pair",
        OF_PAIRS,
        "if verdict.code() == Some(ReasonCode::AcsRedirect) {",
        "if verdict.code() != Some(ReasonCode::RootBlocked) {",
        "boot_parameters",
    ),
    doctor(
        "doctor: a path that loses data is one",
        OF_PAIRS,
        "matches!(hazard, Hazard::DataLost)",
        "matches!(hazard, Hazard::LinkDown { .. })",
        "a_hazard_is",
    ),
    doctor(
        "doctor: a ',' between the functions of a boot parameter is nothing",
        OF_SYSTEM,
        "option.parse::<Bdf>().is_ok()",
        "option.is_empty()",
        "boot_parameters",
    ),
    doctor(
        "doctor: what users block is not told on trusted processors",
        OF_SYSTEM,
        "std::iter::once(Finding::good(about, text)).chain(blocked).collect()",
        "std::iter::once(Finding::good(about, text)).chain(blocked.take(0)).collect()",
        "blocked_host_bridges",
    ),
    doctor(
        "doctor: an empty pool lends",
        OF_MEMORY,
        "Known::Value(0) => {",
        "Known::Value(u64::MAX) => {",
        "memory_that_is",
    ),
    doctor(
        "doctor: memory that is not published is not told",
        OF_MEMORY,
        "pool.published == Known::Value(false)",
        "pool.published == Known::Value(true) && pool.size.value().is_none()",
        "memory_that_is",
    ),
    doctor(
        "doctor: the kernel takes a CMB of any alignment",
        OF_MEMORY,
        "!memory.size.is_multiple_of(SECTION) ||",
        "memory.size == 0 ||",
        "a_remedy",
    ),
    doctor(
        "doctor: who may not start requests does",
        OF_DEVICES,
        "if driver.is_some() && !command.bus_master() {",
        "if driver.is_none() && !command.bus_master() {",
        "what_starts",
    ),
    doctor(
        "doctor: memory that is switched off is there",
        OF_DEVICES,
        "&& !command.memory_space() {",
        "&& driver.is_none() {",
        "what_starts",
    ),
    doctor(
        "doctor: bridges start requests",
        OF_DEVICES,
        "    if node.kind.is_bridge() {\n        let text = format!(\"a {}",
        "    if node.kind.is_bridge() && node.name.is_some() {\n        let text = format!(\"a {}",
        "what_starts",
    ),
    doctor(
        "doctor: all storage takes peer memory",
        OF_DEVICES,
        "|| node.class == ClassCode::NVME || !of_kernel {",
        "|| node.class != ClassCode::NVME || !of_kernel {",
        "what_starts",
    ),
    doctor(
        "linux: a pool of unknown size is no pool",
        "crates/linux/src/function.rs",
        "pool.as_ref().and_then(|pool| pool.size.cause())",
        "pool.as_ref().and(None)",
        "a_size_that",
    ),
    doctor(
        "linux: what carries QEMU's identifiers is QEMU",
        "crates/linux/src/assemble/infer.rs",
        "filter(|raw| raw.class == ClassCode::HOST_BRIDGE)",
        "filter(|raw| raw.line.is_none())",
        "qemu_is",
    ),
    doctor(
        "linux: a real board with a chipset that QEMU emulates is QEMU",
        "crates/linux/src/assemble/infer.rs",
        "raw.function.subsystem == Known::Value(Some(EMULATED))",
        "raw.id.vendor == 0x8086",
        "qemu_is",
    ),
    Bug {
        what: "linux: mirrors pass without a remark",
        file: "crates/linux/src/block/stack.rs",
        right: "matches!(&**level, \"raid1\" | \"raid10\"));",
        wrong: "matches!(&**level, \"raid10\"));",
        package: "p2pdma-linux",
        tests: "--test=linux",
        filter: "blocks",
    },
];
