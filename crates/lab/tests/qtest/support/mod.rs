//! The lower seam over qtest: functions of a QEMU that runs no guest, for a driver to hold.

mod config;
mod enumerate;
mod function;
mod qemu;
mod wire;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use p2pdma_lab::machine::Plan;
use p2pdma_lab::{Arch, Options, Provisions};
use p2pdma_pci::machine::Machine;
use p2pdma_pci::topology::Topology;
use p2pdma_pci::{Bdf, Function};

use enumerate::Found;
use function::QtestFunction;
use qemu::{Processors, Qemu};

/// A machine in QEMU, enumerated. QEMU ends with it.
pub(crate) struct QtestMachine {
    qemu: Arc<Qemu>,
    plan: Plan,
    topology: Arc<Topology>,
    found: Vec<Found>,
}

impl QtestMachine {
    /// Starts a machine and enumerates it.
    pub(crate) fn new(machine: &Machine) -> Self {
        Self::started(machine, Qemu::start)
    }

    /// The same, with processors that are stopped.
    pub(crate) fn stopped(machine: &Machine) -> Self {
        Self::started(machine, |provisions, plan| {
            Qemu::start_with(provisions, plan, Processors::Stopped)
        })
    }

    fn started(
        machine: &Machine,
        start: impl FnOnce(&Provisions, &Plan) -> Result<Qemu, qemu::Error>,
    ) -> Self {
        let plan = Plan::new(machine, Arch::X86_64).unwrap();
        let topology = Arc::new(plan.topology().unwrap());
        let qemu = start(provisions(), &plan).unwrap_or_else(|error| panic!("{error}"));
        let qemu = Arc::new(qemu);
        let found = enumerate::enumerate(&qemu).unwrap();
        if let Some(fault) = qemu.fault() {
            panic!("{fault}");
        }
        Self { qemu, plan, topology, found }
    }

    /// The function that the file calls so.
    pub(crate) fn function(&self, name: &str) -> Arc<dyn Function> {
        let bdf = self.bdf(name);
        let found = self.found.iter().find(|found| found.bdf == bdf);
        let found = found.unwrap_or_else(|| panic!("nothing at {bdf}, where {name} should be"));
        let (qemu, topology) = (Arc::clone(&self.qemu), Arc::clone(&self.topology));
        Arc::new(QtestFunction::new(qemu, topology, found.clone()))
    }

    pub(crate) fn bdf(&self, name: &str) -> Bdf {
        self.plan.find(name).unwrap_or_else(|| panic!("no {name} in the machine file")).bdf
    }

    /// What went wrong on the wire, where accesses cannot say so.
    pub(crate) fn fault(&self) -> Option<String> {
        self.qemu.fault()
    }

    /// The folder with the files that stand for media and memory.
    pub(crate) fn folder(&self) -> &Path {
        self.qemu.folder()
    }
}

impl Drop for QtestMachine {
    fn drop(&mut self) {
        self.qemu.stop();
    }
}

/// Found once: every file of it is checked.
fn provisions() -> &'static Provisions {
    static FOUND: OnceLock<Provisions> = OnceLock::new();
    let provide = || Options::new(Arch::X86_64).provide(&mut ());
    FOUND.get_or_init(|| provide().unwrap_or_else(|error| panic!("{error}")))
}
