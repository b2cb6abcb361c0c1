//! Whether this machine's KVM can be used. A `/dev/kvm` that is there may still not work: nested
//! virtualization that lost its other half hangs or dies at the first instruction. So it is tried out.

use std::fs::{self, OpenOptions};
use std::path::Path;
use std::time::Duration;

use p2pdma_pci::machine::Machine;

use super::{Settings, run};
use crate::Arch;
use crate::guest::Job;
use crate::machine::Plan;
use crate::observe::{Observer, Step};
use crate::provide::Provisions;

/// What carries a guest out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accelerator {
    /// Emulation: works everywhere, slowly.
    Tcg,
    /// The processor's virtualization.
    Kvm,
}

/// Longer than a boot under KVM takes anywhere.
const LIMIT: Duration = Duration::from_secs(15);
const MACHINE: &str = "name = \"kvm-test\"\n\
                       [[host-bridge]]\nname = \"host0\"\nid = \"8086:29c0\"\np2p = \"forward\"\n";

impl Accelerator {
    /// Its name: `tcg`, `kvm`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcg => "tcg",
            Self::Kvm => "kvm",
        }
    }

    /// The fastest one that works for these guests. KVM is tried out with a boot; what came of it is
    /// kept in the cache until this machine boots again.
    pub fn best(provisions: &Provisions, observer: &mut dyn Observer) -> Self {
        let usable = Arch::of_host() == Some(provisions.arch())
            && OpenOptions::new().read(true).write(true).open("/dev/kvm").is_ok();
        if !usable {
            return Self::Tcg;
        }
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let note = provisions.cache().join(format!("kvm-{}", provisions.arch()));
        let tried = format!("{} {}", boot.trim(), provisions.qemu().version());
        if let Some(works) = recall(&note, &tried) {
            return if works { Self::Kvm } else { Self::Tcg };
        }
        observer.step(&Step::KvmTest);
        let works = try_out(provisions);
        // If it cannot be kept it is tried out again.
        let _ = fs::write(&note, format!("{tried} {works}"));
        if works { Self::Kvm } else { Self::Tcg }
    }
}

/// What came of an earlier trial, if it was this one.
fn recall(note: &Path, tried: &str) -> Option<bool> {
    fs::read_to_string(note).ok()?.strip_prefix(tried)?.trim().parse().ok()
}

fn try_out(provisions: &Provisions) -> bool {
    let settings = Settings { limit: LIMIT, accelerator: Accelerator::Kvm, ..Settings::default() };
    let Ok(machine) = Machine::parse(MACHINE, "kvm-test.toml") else { return false };
    let Ok(plan) = Plan::new(&machine, provisions.arch()) else { return false };
    let job = Job::script("exit 7");
    run(provisions, &plan, &job, &settings, &mut ()).is_ok_and(|outcome| outcome.status == 7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_is_recalled_only_for_the_boot_and_qemu_that_it_was_of() {
        let folder = tempfile::tempdir().unwrap();
        let note = folder.path().join("kvm");
        assert_eq!(recall(&note, "boot 11.1"), None);
        fs::write(&note, "boot 11.1 false").unwrap();
        assert_eq!(recall(&note, "boot 11.1"), Some(false));
        assert_eq!(recall(&note, "other 11.1"), None);
    }

    #[test]
    fn the_trial_s_machine_can_be_built() {
        let machine = Machine::parse(MACHINE, "kvm-test.toml").unwrap();
        assert!(Plan::new(&machine, Arch::X86_64).is_ok());
    }
}
