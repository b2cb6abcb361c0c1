//! What is varied from boot to boot.

use p2pdma_lab::Arch;
use p2pdma_lab::machine::Plan;
use p2pdma_pci::machine::Machine;
use p2pdma_pci::topology::IommuMode;

const MACHINE: &str = include_str!("machine.toml");
const SECOND_BRIDGE: &str = include_str!("second-bridge.toml");

/// A boot of the machine.
pub(crate) struct Scenario {
    name: &'static str,
    arch: Arch,
    /// Vendor and family.
    cpu: &'static str,
    iommu: IommuMode,
    /// The access control of the root ports above multi-function devices: `pair`, `triple`, `far-pair`.
    acs: [&'static str; 3],
    /// Ports at which the kernel is told not to redirect.
    disable: &'static str,
}

const NONE: [&str; 3] = ["[]", "[]", "[]"];
const OF_IOMMU: [&str; 3] = [ISOLATED, ISOLATED, ISOLATED];
const ISOLATED: &str = r#"["SV", "RR", "CR", "UF"]"#;
const INTEL: &str = "GenuineIntel/6";
const ZEN: &str = "AuthenticAMD/0x17";

/// The first two are enough for every map type and every message.
pub(crate) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "intel-redirecting",
        arch: Arch::X86_64,
        cpu: INTEL,
        iommu: IommuMode::Off,
        acs: [r#"["RR"]"#, "[]", r#"["CR"]"#],
        disable: "[]",
    },
    Scenario {
        name: "zen-translating",
        arch: Arch::X86_64,
        cpu: ZEN,
        iommu: IommuMode::Translate,
        acs: OF_IOMMU,
        disable: "[]",
    },
    Scenario {
        name: "intel",
        arch: Arch::X86_64,
        cpu: INTEL,
        iommu: IommuMode::Off,
        acs: NONE,
        disable: "[]",
    },
    Scenario {
        name: "intel-other-controls",
        arch: Arch::X86_64,
        cpu: INTEL,
        iommu: IommuMode::Off,
        acs: [r#"["SV", "UF"]"#, r#"["TB"]"#, r#"["SV", "TB", "RR", "CR", "UF"]"#],
        disable: "[]",
    },
    Scenario {
        name: "intel-translating",
        arch: Arch::X86_64,
        cpu: INTEL,
        iommu: IommuMode::Translate,
        acs: OF_IOMMU,
        disable: "[]",
    },
    Scenario {
        name: "intel-passthrough",
        arch: Arch::X86_64,
        cpu: INTEL,
        iommu: IommuMode::Passthrough,
        acs: OF_IOMMU,
        disable: "[]",
    },
    Scenario {
        name: "intel-disabled",
        arch: Arch::X86_64,
        cpu: INTEL,
        iommu: IommuMode::Translate,
        acs: OF_IOMMU,
        disable: r#"["pair", "far-pair"]"#,
    },
    Scenario {
        name: "zen",
        arch: Arch::X86_64,
        cpu: ZEN,
        iommu: IommuMode::Off,
        acs: NONE,
        disable: "[]",
    },
    Scenario {
        name: "zen-passthrough",
        arch: Arch::X86_64,
        cpu: "AuthenticAMD/0x1a",
        iommu: IommuMode::Passthrough,
        acs: ["[]", r#"["CR"]"#, ISOLATED],
        disable: "[]",
    },
    Scenario {
        name: "before-zen",
        arch: Arch::X86_64,
        cpu: "AuthenticAMD/0x15",
        iommu: IommuMode::Off,
        acs: ["[]", r#"["RR", "CR"]"#, "[]"],
        disable: "[]",
    },
    Scenario {
        name: "hygon",
        arch: Arch::X86_64,
        cpu: "HygonGenuine/0x18",
        iommu: IommuMode::Off,
        acs: NONE,
        disable: "[]",
    },
];

/// Only what shares a bridge passes there: no processor is trusted, and QEMU's host bridge is not listed.
pub(crate) const ARM: &[Scenario] = &[
    Scenario {
        name: "arm-redirecting",
        arch: Arch::Aarch64,
        cpu: INTEL,
        iommu: IommuMode::Off,
        acs: ["[]", r#"["RR", "CR"]"#, ""],
        disable: "[]",
    },
    Scenario {
        name: "arm-translating",
        arch: Arch::Aarch64,
        cpu: INTEL,
        iommu: IommuMode::Translate,
        acs: OF_IOMMU,
        disable: "[]",
    },
    Scenario {
        name: "arm-disabled",
        arch: Arch::Aarch64,
        cpu: INTEL,
        iommu: IommuMode::Passthrough,
        acs: OF_IOMMU,
        disable: r#"["pair"]"#,
    },
];

/// Debian's kernels for it have no P2PDMA.
pub(crate) const RISCV: Scenario = Scenario {
    name: "riscv",
    arch: Arch::Riscv64,
    cpu: INTEL,
    iommu: IommuMode::Off,
    acs: NONE,
    disable: "[]",
};

/// The machines of `topologies/` that QEMU can build.
const PRESETS: [(&str, &str); 4] = [
    ("default", include_str!("../../../../topologies/default.toml")),
    ("no-cmb", include_str!("../../../../topologies/no-cmb.toml")),
    ("root-ports", include_str!("../../../../topologies/root-ports.toml")),
    ("two-switches", include_str!("../../../../topologies/two-switches.toml")),
];

/// A machine to boot.
pub(crate) struct Case {
    /// Its name, which is that of its record, too.
    pub(crate) name: &'static str,
    pub(crate) iommu: IommuMode,
    /// What QEMU builds of it.
    pub(crate) plan: Plan,
}

impl Case {
    fn new(name: &'static str, text: &str, iommu: IommuMode, arch: Arch) -> Self {
        let machine = Machine::parse_with(text, name, Some(iommu)).unwrap();
        let plan = Plan::new(&machine, arch).unwrap_or_else(|error| panic!("{error}"));
        Self { name, iommu, plan }
    }
}

pub(crate) fn cases(scenarios: &[Scenario]) -> Vec<Case> {
    scenarios.iter().map(Scenario::case).collect()
}

/// All scenarios of x86-64, and the machines that come along.
pub(crate) fn all() -> Vec<Case> {
    let mut all = cases(SCENARIOS);
    let preset = |(name, text)| Case::new(name, text, IommuMode::Off, Arch::X86_64);
    all.extend(PRESETS.map(preset));
    all
}

impl Scenario {
    pub(crate) fn case(&self) -> Case {
        let mut text = MACHINE.replace("\"CPU\"", &format!("\"{}\"", self.cpu));
        if self.arch == Arch::X86_64 {
            text.push_str(SECOND_BRIDGE);
        }
        for (word, acs) in ["ACS-OF-PAIR", "ACS-OF-TRIPLE", "ACS-OF-FAR"].iter().zip(self.acs) {
            text = text.replace(word, acs);
        }
        text.push_str(&format!("[os]\ndisable-acs-redir = {}\n", self.disable));
        Case::new(self.name, &text, self.iommu, self.arch)
    }
}
