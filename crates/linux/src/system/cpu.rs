//! The processor, from `/proc/cpuinfo`.

use std::fmt;

use p2pdma_pci::topology::{Cause, Cpu, CpuVendor, Known};

use crate::{Failure, Tree};

pub(super) const PATH: &str = "proc/cpuinfo";

/// Enough for what is said of one processor.
const FIRST_PROCESSOR: usize = 4096;

/// The architecture, by the names of `uname -m`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Architecture {
    /// `x86_64`, and 32-bit x86.
    X86,
    /// `aarch64`.
    Arm64,
    /// `riscv64`.
    Riscv,
    /// Any other.
    Other,
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::X86 => "x86",
            Self::Arm64 => "arm64",
            Self::Riscv => "riscv",
            Self::Other => "another architecture",
        })
    }
}

/// The architecture and the first processor, which is the one that the kernel's rule asks
/// (`cpu_supports_p2pdma()` in drivers/pci/p2pdma.c: `cpu_data(0)`, and on x86 only).
pub(super) fn read(tree: &dyn Tree) -> Result<(Known<Architecture>, Known<Cpu>), Failure> {
    let file = tree.read(PATH, FIRST_PROCESSOR)?;
    let text = String::from_utf8_lossy(&file.bytes);
    // Processors are separated by empty lines. What was cut off is no whole line.
    let whole =
        if file.more { text.rsplit_once('\n').map_or("", |(whole, _)| whole) } else { &text };
    Ok(first_processor(whole))
}

fn first_processor(text: &str) -> (Known<Architecture>, Known<Cpu>) {
    let lines = || text.lines().take_while(|line| !line.trim().is_empty());
    let value = |key: &str| {
        lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            (name.trim() == key).then(|| value.trim())
        })
    };
    let unreadable = Known::Unknown(Cause::Unreadable);
    if let Some(vendor) = value("vendor_id")
        && let Some(family) = value("cpu family")
    {
        let vendor = CpuVendor::from_cpuid(vendor);
        let cpu = family.parse().map(|family| Cpu { vendor, family });
        return (Known::Value(Architecture::X86), cpu.map_or(unreadable, Known::Value));
    }
    let other = |architecture| {
        let cpu = Cpu { vendor: CpuVendor::Other, family: 0 };
        (Known::Value(architecture), Known::Value(cpu))
    };
    // The beginning of what an x86 kernel says, cut off.
    let x86 = [CpuVendor::Intel, CpuVendor::Amd, CpuVendor::Hygon];
    if value("vendor_id").is_some_and(|vendor| x86.contains(&CpuVendor::from_cpuid(vendor))) {
        return (Known::Value(Architecture::X86), unreadable);
    }
    // arch/arm64/kernel/cpuinfo.c; arch/riscv/kernel/cpu.c; arch/s390, powerpc, loongarch, mips.
    if value("CPU implementer").is_some() {
        other(Architecture::Arm64)
    } else if value("hart").is_some() && value("isa").is_some() {
        other(Architecture::Riscv)
    } else if ["vendor_id", "cpu", "system type", "cpu model"]
        .iter()
        .any(|key| value(key).is_some())
    {
        other(Architecture::Other)
    } else {
        (Known::Unknown(Cause::Unreadable), unreadable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu(text: &str) -> (Option<Architecture>, Option<(CpuVendor, u16)>) {
        let (architecture, cpu) = first_processor(text);
        (architecture.value().copied(), cpu.value().map(|cpu| (cpu.vendor, cpu.family)))
    }

    #[test]
    fn the_first_processor_counts() {
        let text = "processor\t: 0\nvendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel name: x\n\n\
                    processor\t: 1\nvendor_id\t: GenuineIntel\ncpu family\t: 6\n";
        assert_eq!(cpu(text), (Some(Architecture::X86), Some((CpuVendor::Amd, 25))));
        let hygon = "vendor_id : HygonGenuine\ncpu family : 24\n";
        assert_eq!(cpu(hygon).1, Some((CpuVendor::Hygon, 24)));
        let arm = "processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n";
        assert_eq!(cpu(arm), (Some(Architecture::Arm64), Some((CpuVendor::Other, 0))));
        let riscv = "processor\t: 0\nhart\t\t: 0\nisa\t\t: rv64imafdc\nmmu\t\t: sv57\n";
        assert_eq!(cpu(riscv), (Some(Architecture::Riscv), Some((CpuVendor::Other, 0))));
        let s390 = "vendor_id       : IBM/S390\n# processors    : 2\n";
        assert_eq!(cpu(s390), (Some(Architecture::Other), Some((CpuVendor::Other, 0))));
        let power = "processor\t: 0\ncpu\t\t: POWER9, altivec supported\n";
        assert_eq!(cpu(power), (Some(Architecture::Other), Some((CpuVendor::Other, 0))));
    }

    #[test]
    fn what_is_not_understood_is_not_known() {
        for text in ["", "\n", "garbage", "vendor_id\n", "processor: 0\n", ":::\n"] {
            assert_eq!(cpu(text), (None, None), "{text:?}");
        }
        let family = cpu("vendor_id : AuthenticAMD\ncpu family : many\n");
        assert_eq!(family, (Some(Architecture::X86), None));
        // Only the vendor: an x86 processor of unknown family must not become one of family 0.
        let cut = cpu("vendor_id : AuthenticAMD\n");
        assert_eq!(cut.1, None);
    }
}
