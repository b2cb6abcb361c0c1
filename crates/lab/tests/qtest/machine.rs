//! The two machines that a case runs on, made from one machine file.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use p2pdma::{FabricPlatform, Storage};
use p2pdma_nvme::{Controller, Options};
use p2pdma_pci::Function;
use p2pdma_pci::machine::Machine as Description;
use p2pdma_pci::topology::Allowlist;

use crate::support::QtestMachine;

/// Something with NVMe controllers in it.
pub(crate) trait Machine {
    /// The function that the machine file calls so.
    fn function(&self, name: &str) -> Arc<dyn Function>;

    /// What went wrong on the way to the machine that no access could tell.
    fn fault(&self) -> Option<String>;

    /// The file behind a controller's persistent memory region, if that is what is behind it.
    fn region_file(&self, name: &str) -> Option<PathBuf>;

    /// Whether time passes by what the driver does alone, so that the same calls find the same.
    fn is_repeatable(&self) -> bool;

    /// Its controller, opened.
    fn open(&self, name: &str) -> Controller {
        self.open_with(name, Options::default())
    }

    fn open_with(&self, name: &str, options: Options) -> Controller {
        Controller::open(self.function(name), options).unwrap_or_else(|error| panic!("{error}"))
    }
}

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Our models, in the software fabric.
    Model,
    /// QEMU's controllers, by qtest.
    Qemu,
    /// The same in a QEMU without qtest's accelerator.
    Stopped,
}

impl Kind {
    /// The machine that the file describes.
    pub(crate) fn build(self, file: &str) -> Box<dyn Machine> {
        let machine = Description::parse(file, "machine.toml").unwrap();
        match self {
            Self::Model => Box::new(Model(
                FabricPlatform::new(&machine, &Storage::Ephemeral, Allowlist::kernel()).unwrap(),
            )),
            Self::Qemu => Box::new(QtestMachine::new(&machine)),
            Self::Stopped => Box::new(QtestMachine::stopped(&machine)),
        }
    }
}

struct Model(FabricPlatform);

impl Machine for Model {
    fn function(&self, name: &str) -> Arc<dyn Function> {
        let fabric = self.0.fabric();
        Arc::new(fabric.open(fabric.find(name).unwrap()).unwrap())
    }

    fn fault(&self) -> Option<String> {
        None
    }

    fn is_repeatable(&self) -> bool {
        true
    }

    fn region_file(&self, _: &str) -> Option<PathBuf> {
        None
    }
}

impl Machine for QtestMachine {
    fn function(&self, name: &str) -> Arc<dyn Function> {
        Self::function(self, name)
    }

    fn fault(&self) -> Option<String> {
        Self::fault(self)
    }

    fn is_repeatable(&self) -> bool {
        false
    }

    fn region_file(&self, name: &str) -> Option<PathBuf> {
        Some(self.folder().join(format!("{name}-memory.img")))
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Model => "model",
            Self::Qemu => "QEMU",
            Self::Stopped => "QEMU with stopped processors",
        })
    }
}
