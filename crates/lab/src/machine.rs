//! From a machine file to QEMU's command line.
//!
//! [`Plan::new`] either builds the machine or refuses it with every part that QEMU cannot build. Where
//! QEMU has something else that the kernel's verdict cannot tell apart, it is built all the same, and a
//! [`Note`] says what differs.

mod check;
mod devices;
mod kernel;
mod place;
mod refusal;
mod topology;

pub(crate) use place::OWN_DEVICE;
pub use place::{Placed, Role};
pub use refusal::{NotBuildable, Note, Reason, Refusal};

use p2pdma_pci::Bdf;
use p2pdma_pci::machine::Machine;
use p2pdma_pci::topology::{Topology, TopologyError};

use crate::Arch;

/// A file that stands in for a device's medium or memory: made sparse, in the folder that QEMU runs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backing {
    /// Its name, without folder.
    pub file: String,
    /// Its size in bytes.
    pub size: u64,
}

/// How QEMU builds a machine, and what the guest then finds where.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    machine: Machine,
    arch: Arch,
    placed: Vec<Placed>,
    notes: Vec<Note>,
    extras: Extras,
}

/// What a plan adds to the machine that it is of.
#[derive(Debug, Clone, Default, PartialEq)]
struct Extras {
    bad: Vec<BadBlock>,
    /// Controllers have room for all of their transfers with other devices' memory.
    roomy: bool,
}

/// A place of a medium that can neither be read nor written: EIO of QEMU's file (blkdebug).
#[derive(Debug, Clone, PartialEq, Eq)]
struct BadBlock {
    /// The medium's file.
    file: String,
    /// In sectors of 512 bytes.
    sector: u64,
}

impl Plan {
    /// Plans a machine.
    ///
    /// # Errors
    /// [`NotBuildable`] with everything that QEMU cannot build.
    pub fn new(machine: &Machine, arch: Arch) -> Result<Self, NotBuildable> {
        let (mut refusals, notes) = check::check(machine, arch);
        match place::place(machine, arch) {
            Ok(placed) if refusals.is_empty() => {
                let (machine, extras) = (machine.clone(), Extras::default());
                return Ok(Self { machine, arch, placed, notes, extras });
            }
            Ok(_) => {}
            Err(refusal) => refusals.push(refusal),
        }
        Err(NotBuildable { machine: machine.name.clone(), refusals })
    }

    /// The same with a byte of a medium, of a function's `namespace`th namespace, that can neither be read nor
    /// written.
    #[must_use]
    pub fn bad_at(mut self, function: &str, namespace: u32, at: u64) -> Self {
        let file = devices::namespace_file(function, namespace);
        self.extras.bad.push(BadBlock { file, sector: at / 512 });
        self
    }

    /// The same with room for as many transfers with other devices' memory as controllers have under way. By default QEMU has
    /// 4096 bytes for all of a controller, and one waits for another; when a queue is deleted that has one which waits,
    /// as in a reset or a removal, QEMU stops for ever: nothing ends that one (`dma_aio_cancel` in system/dma-helpers.c).
    /// Transfers overlap in another way then.
    #[must_use]
    pub fn roomy(mut self) -> Self {
        self.extras.roomy = true;
        self
    }

    /// The machine's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.machine.name
    }

    /// What it is built for.
    #[must_use]
    pub const fn arch(&self) -> Arch {
        self.arch
    }

    /// Everything that the file names, with the place that it has in the guest.
    #[must_use]
    pub fn placed(&self) -> &[Placed] {
        &self.placed
    }

    /// What the file calls so: `nvme0`, `rp0`, `sw0.1`.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&Placed> {
        self.placed.iter().find(|placed| placed.name == name)
    }

    /// What is at a place.
    #[must_use]
    pub fn at(&self, bdf: Bdf) -> Option<&Placed> {
        self.placed.iter().find(|placed| placed.bdf == bdf)
    }

    /// What differs from the file, harmlessly for the kernel's verdict.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// QEMU's arguments for the machine: processor, memory, IOMMU, buses and devices. Names of files are
    /// relative to the folder that QEMU runs in.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        devices::arguments(&self.machine, self.arch, &self.extras)
    }

    /// The kernel's arguments: IOMMU mode and access control.
    #[must_use]
    pub fn kernel_arguments(&self) -> Vec<String> {
        kernel::arguments(&self.machine, self.arch, &self.placed)
    }

    /// The files that must be there before QEMU starts.
    #[must_use]
    pub fn backings(&self) -> Vec<Backing> {
        devices::backings(&self.machine)
    }

    /// The topology that the kernel will see, for its verdicts: QEMU's own identifiers where they differ
    /// from the file's.
    ///
    /// # Errors
    /// [`TopologyError`] if the file's host bridges share a bus.
    pub fn topology(&self) -> Result<Topology, TopologyError> {
        topology::topology(&self.machine, self.arch, &self.placed)
    }
}

/// QEMU's identifier of what the file calls so, for QMP commands: a letter comes first.
#[must_use]
pub fn device_id(name: &str) -> String {
    // qemu/util/id.c: a letter, then letters, digits, '-', '.' and '_'.
    format!("dev-{name}")
}
