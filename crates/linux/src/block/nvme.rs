//! NVMe controllers (`/sys/class/nvme`; drivers/nvme/host/sysfs.c).

use std::fmt;
use std::sync::Arc;

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::Known;

use crate::attribute::{known, text};
use crate::sysfs::last_function;
use crate::tree::{join, resolve};
use crate::{Failure, Note, Tree};

const CLASS: &str = "sys/class/nvme";

/// An NVMe controller.
#[derive(Debug, Clone, PartialEq)]
pub struct Controller {
    /// Its name: `nvme0`.
    pub name: Arc<str>,
    /// The PCI function that it is.
    pub function: Option<Bdf>,
    /// How it is reached.
    pub transport: Known<Transport>,
    /// What state its driver has it in: `live`.
    pub state: Known<Arc<str>>,
    /// Its serial number.
    pub serial: Known<Arc<str>>,
    /// Its model.
    pub model: Known<Arc<str>>,
    /// The revision of its firmware.
    pub firmware: Known<Arc<str>>,
    /// The name of its subsystem.
    pub subsystem: Known<Arc<str>>,
}

/// How a controller is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transport {
    /// `pcie`.
    Pcie,
    /// `rdma`.
    Rdma,
    /// Any other, by its word in sysfs: `tcp`, `fc`, `loop`.
    Other(Arc<str>),
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pcie => f.write_str("pcie"),
            Self::Rdma => f.write_str("rdma"),
            Self::Other(word) => f.write_str(word),
        }
    }
}

pub(super) fn read(tree: &dyn Tree, notes: &mut Vec<Note>) -> Known<Vec<Controller>> {
    // Without the driver there is no such class, and no controller.
    match super::names(tree, CLASS, notes) {
        Known::Value(names) => {
            Known::Value(super::readable(&names, CLASS, notes, |name| controller(tree, name)))
        }
        Known::Unknown(cause) => Known::Unknown(cause),
    }
}

fn controller(tree: &dyn Tree, name: &str) -> Result<Controller, Failure> {
    let entry = join(CLASS, name);
    let folder = resolve(&entry, &tree.link(&entry)?).ok_or(Failure::Malformed)?;
    let stamp = tree.stamp(&folder)?;
    let word = |attribute: &str| {
        known(text(tree, &join(&folder, attribute)).map(|text| Arc::from(text.trim())))
    };
    let transport = match word("transport") {
        Known::Value(word) => Known::Value(match &*word {
            "pcie" => Transport::Pcie,
            "rdma" => Transport::Rdma,
            _ => Transport::Other(word),
        }),
        Known::Unknown(cause) => Known::Unknown(cause),
    };
    let controller = Controller {
        name: Arc::from(name),
        function: last_function(&folder),
        transport,
        state: word("state"),
        serial: word("serial"),
        model: word("model"),
        firmware: word("firmware_rev"),
        subsystem: word("subsysnqn"),
    };
    if tree.stamp(&folder)? != stamp {
        return Err(Failure::Gone);
    }
    Ok(controller)
}
