//! The architectures that the lab boots.

use std::fmt;

/// An architecture of guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// x86-64, on QEMU's `q35`.
    X86_64,
    /// 64-bit Arm, on QEMU's `virt`.
    Aarch64,
    /// 64-bit RISC-V, on QEMU's `virt`. Debian's kernels for it have no P2PDMA: the negative case.
    Riscv64,
}

impl Arch {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::X86_64, Self::Aarch64, Self::Riscv64];

    /// What this program runs on, if the lab knows it.
    #[must_use]
    pub fn of_host() -> Option<Self> {
        Self::from_name(std::env::consts::ARCH)
    }

    /// The architecture of a name, as Rust and QEMU have it or as Debian does.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|arch| arch.name() == name || arch.debian() == name)
    }

    /// Its name in Rust and QEMU: `x86_64`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
            Self::Riscv64 => "riscv64",
        }
    }

    /// Its name in Debian: `amd64`.
    #[must_use]
    pub const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
            Self::Riscv64 => "riscv64",
        }
    }

    /// The program that emulates it.
    #[must_use]
    pub const fn qemu(self) -> &'static str {
        match self {
            Self::X86_64 => "qemu-system-x86_64",
            Self::Aarch64 => "qemu-system-aarch64",
            Self::Riscv64 => "qemu-system-riscv64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_names_are_known() {
        for arch in Arch::ALL {
            assert_eq!(Arch::from_name(arch.name()), Some(arch));
            assert_eq!(Arch::from_name(arch.debian()), Some(arch));
        }
        assert_eq!(Arch::from_name("mips"), None);
    }
}
