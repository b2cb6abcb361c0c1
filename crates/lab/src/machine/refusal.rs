//! What QEMU cannot build, and what it builds otherwise.

use std::fmt;

use p2pdma_pci::topology::{AcsBit, Link, PciId};
use p2pdma_spec::pci::acs::AcsControl;

/// A machine that QEMU cannot build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("QEMU cannot build the machine '{machine}': {}", joined(refusals))]
pub struct NotBuildable {
    /// The machine's name.
    pub machine: String,
    /// Everything that is in the way; at least one.
    pub refusals: Vec<Refusal>,
}

fn joined(refusals: &[Refusal]) -> String {
    let lines: Vec<String> = refusals.iter().map(ToString::to_string).collect();
    lines.join("; ")
}

/// A part that QEMU cannot build.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{part}: {reason}")]
pub struct Refusal {
    /// The part, by its name in the file.
    pub part: String,
    /// Why not, and what to change.
    pub reason: Reason,
}

/// Why QEMU cannot build a part. QEMU's files are those of version 11.1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// Controls of ACS on a switch's port (hw/pci-bridge/xio3130_downstream.c has no such capability).
    #[error("QEMU's switch ports have no ACS, and {} on here; set acs = \"none\"", are(*control))]
    SwitchAcs {
        /// What the file has switched on.
        control: AcsControl,
    },
    /// Controls of ACS on a device's function (hw/nvme/ctrl.c has no such capability).
    #[error("QEMU's devices have no ACS, and {} on here; leave acs out", are(*control))]
    FunctionAcs {
        /// What the file has switched on.
        control: AcsControl,
    },
    /// A control that QEMU's root ports lack (`pcie_acs_init` in hw/pci/pcie.c).
    #[error("QEMU's root ports have no ACS Egress Control; leave EC and 'egress' out")]
    EgressControl,
    /// The kernel trusts the file's host bridge, and not QEMU's.
    #[error(
        "host bridge {id} is on the kernel's list, and QEMU's {qemu} is not; \
         only an AMD Zen processor in [host] makes the kernel trust it"
    )]
    HostBridgeListed {
        /// The file's.
        id: PciId,
        /// QEMU's.
        qemu: PciId,
    },
    /// A root complex that loses data.
    #[error("QEMU's root complex forwards what it is sent, and cannot lose it (p2p = \"lose\")")]
    LossyRoot,
    /// A root complex that refuses what the kernel would send it.
    #[error(
        "QEMU's root complex forwards, and the kernel would use it on this processor; \
         p2p = \"refuse\" needs another processor in [host]"
    )]
    RefusingRoot,
    /// A link that runs below what both ends can do.
    #[error("QEMU's links do not train: it cannot run a {max} device at {trained}")]
    DownTrained {
        /// What it runs at.
        trained: Link,
        /// What it could run at.
        max: Link,
    },
    /// A DMA engine.
    #[error("QEMU has no such DMA engine; leave the data mover out")]
    DataMover,
    /// A controller memory buffer that QEMU's controller cannot have (`nvme_init_cmb` in
    /// hw/nvme/ctrl.c: BAR2, from its start, in MiB, and a BAR is a power of two).
    #[error("QEMU's CMB fills BAR2 and has 1, 2, 4, … MiB; not {what}")]
    Cmb {
        /// What is otherwise.
        what: String,
    },
    /// A controller memory buffer whose uses are fewer than QEMU's (SQS, LISTS, RDS, WDS).
    #[error("QEMU's CMB can be used for sqs, lists, rds and wds; it cannot be without {without}")]
    CmbUses {
        /// What the file leaves out.
        without: &'static str,
    },
    /// A persistent memory region elsewhere (`nvme_init_pmr` in hw/nvme/ctrl.c).
    #[error("QEMU's PMR is in BAR4, not BAR{bar}")]
    PmrBar {
        /// The file's BAR.
        bar: u8,
    },
    /// Transfers of more pages than QEMU's controller takes in one.
    #[error("QEMU's controller can be limited to 2 MiB a command, not to {} MiB; lower mdts", size >> 20)]
    MaxTransfer {
        /// The file's limit in bytes.
        size: u64,
    },
    /// A BAR that shows part of its memory.
    #[error("QEMU's memory BAR shows all of its memory: 'window' cannot be less than 'size'")]
    Window,
    /// A size that no BAR has.
    #[error("a BAR is a power of two; {size:#x} bytes of memory are not")]
    MemorySize {
        /// The file's size.
        size: u64,
    },
    /// A processor whose vendor string is not known.
    #[error("only the vendors GenuineIntel, AuthenticAMD and HygonGenuine can be given to QEMU")]
    CpuVendor,
    /// A processor of another architecture.
    #[error("the processor is an x86 of AMD; a guest of {arch} has none")]
    CpuArch {
        /// The guest's architecture.
        arch: crate::Arch,
    },
    /// An IOMMU that the lab does not have for this architecture.
    #[error("the lab has no IOMMU for {arch}; set [iommu] mode = \"off\"")]
    Iommu {
        /// The guest's architecture.
        arch: crate::Arch,
    },
    /// Further host bridges, which need firmware that describes them to the kernel.
    #[error("the lab builds a second host bridge on x86_64 only; {arch} has one")]
    HostBridges {
        /// The guest's architecture.
        arch: crate::Arch,
    },
    /// The first root bus is bus 0, and the others are not.
    #[error("QEMU's first host bridge has bus 0, and further ones later buses; not {bus:#04x}")]
    FirstBus {
        /// The file's bus.
        bus: u8,
    },
    /// More root ports than there is room for.
    #[error("{count} root ports, and there is room for {most} beside QEMU's own devices")]
    RootPorts {
        /// The file's number.
        count: usize,
        /// The most.
        most: usize,
    },
    /// There are no bus numbers left.
    #[error("there are no bus numbers left for it")]
    Buses,
}

/// Something that QEMU builds otherwise, in a way that changes no verdict of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The part, by its name in the file; the machine's own for the whole.
    pub part: String,
    /// What is otherwise.
    pub difference: Difference,
}

/// What QEMU builds otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Difference {
    /// Another host bridge that is not on the kernel's list either, or on a processor that is trusted
    /// without one.
    HostBridge {
        /// The file's.
        id: PciId,
        /// QEMU's.
        qemu: PciId,
    },
    /// No ACS capability, where the file has one with nothing switched on.
    NoAcs,
    /// An ACS capability with nothing switched on, where the file has none.
    IdleAcs,
    /// A root complex that forwards, where the file's refuses: nobody asks it.
    ForwardingRoot,
    /// A CMB that cannot hold completion queues; Linux puts none there.
    NoCompletionQueues,
    /// Nothing takes the time that the file says.
    NoTiming,
    /// Two devices meet in a switch below a translating IOMMU. QEMU sends their bus addresses through
    /// the IOMMU, which a switch would not: commands succeed, and data goes astray.
    SwitchUnderIommu,
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.difference)
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::HostBridge { id, qemu } => {
                write!(f, "host bridge {qemu} instead of {id}; the kernel treats both alike")
            }
            Self::NoAcs => f.write_str("no ACS capability instead of one with nothing on"),
            Self::IdleAcs => f.write_str("an ACS capability with nothing on instead of none"),
            Self::ForwardingRoot => f.write_str("a root complex that forwards; nobody asks it"),
            Self::NoCompletionQueues => {
                f.write_str("a CMB without completion queues; Linux puts none there")
            }
            Self::NoTiming => {
                f.write_str("links, media and memory take QEMU's time, not the file's")
            }
            Self::SwitchUnderIommu => f.write_str(
                "QEMU sends what a switch would turn round through the translating IOMMU: \
                 commands succeed and data goes astray",
            ),
        }
    }
}

/// `RR, CR are`
fn are(control: AcsControl) -> String {
    let bits: Vec<&str> = AcsBit::of(control).map(AcsBit::mnemonic).collect();
    let verb = if bits.len() == 1 { "is" } else { "are" };
    format!("{} {verb}", bits.join(", "))
}
