//! A survey: all that was read of a machine.

use std::io::Read as _;
use std::path::Path;

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{Allowlist, Cause, Host, Known, NodeId, Topology};

use crate::assemble::assemble;
use crate::block::{self, Blocks};
use crate::snapshot::MOST_BYTES;
use crate::system::{self, System};
use crate::vfio::Interface;
use crate::{Error, Function, LiveTree, Note, Snapshot, Tree, lspci, sysfs};

/// Where a survey comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A tree of files: the live machine, or a copy.
    Tree,
    /// The text of `lspci`, which knows the functions only.
    Lspci,
}

/// All that was read of a machine: the topology with its verdicts, and what is beside it.
#[derive(Debug, Clone, PartialEq)]
pub struct Survey {
    /// Where it comes from.
    pub origin: Origin,
    /// The functions in their hierarchy.
    pub topology: Topology,
    /// What else is known of each function, in the order of the topology's nodes.
    pub functions: Vec<Function>,
    /// The system.
    pub system: System,
    /// The block devices.
    pub blocks: Blocks,
    /// How its kernel gives devices that are bound to vfio-pci: looked for if one is.
    pub vfio: Known<Interface>,
    /// What is left out, or not known for a reason worth telling.
    pub notes: Vec<Note>,
}

impl Survey {
    /// Reads the running machine. Without root what only root may read is unknown.
    ///
    /// # Errors
    /// As [`Survey::read`].
    pub fn live() -> Result<Self, Error> {
        Self::read(&LiveTree::machine()?)
    }

    /// Reads a tree, with the kernel's own list of host bridges.
    ///
    /// # Errors
    /// [`Error::NoSystem`] if it is no tree of a Linux system, [`Error::Topology`] if its functions are no
    /// tree.
    pub fn read(tree: &dyn Tree) -> Result<Self, Error> {
        Self::read_with(tree, Allowlist::kernel())
    }

    /// Reads a tree, with a list of host bridges to which users may have added.
    ///
    /// # Errors
    /// As [`Survey::read`].
    pub fn read_with(tree: &dyn Tree, allowlist: Allowlist) -> Result<Self, Error> {
        let mut notes = Vec::new();
        let mut system = system::read(tree, &mut notes);
        let raws = sysfs::read(tree, &system, &mut notes)?;
        let host = Host {
            cpu: system.cpu,
            iommu: sysfs::iommu_mode(&raws, &system),
            kernel: Some(system.kernel),
            allowlist,
            // Found in the functions' identifiers.
            qemu: false,
        };
        let (topology, functions) = assemble(host, raws, &mut notes)?;
        if functions.iter().any(keeps_its_buffer) {
            system.look_at_symbols(tree);
        }
        let blocks = block::read(tree, &mut notes);
        let vfio = match functions.iter().any(is_under_vfio) {
            true => Interface::of(tree),
            false => Known::Unknown(Cause::NotCaptured),
        };
        Ok(Self { origin: Origin::Tree, topology, functions, system, blocks, vfio, notes })
    }

    /// Reads a capture, whichever it is: a snapshot, or the text of `lspci`.
    ///
    /// # Errors
    /// [`Error::NoCapture`] if it is neither; [`Error::Snapshot`] or [`Error::Lspci`] if it is spoilt;
    /// those of [`Survey::read`].
    pub fn from_capture(bytes: &[u8], allowlist: Allowlist) -> Result<Self, Error> {
        if bytes.starts_with(b"{") {
            return Self::read_with(&Snapshot::parse(bytes)?, allowlist);
        }
        if lspci::recognises(bytes) {
            return lspci::read(bytes, allowlist);
        }
        let begin: String = String::from_utf8_lossy(bytes.get(..64).unwrap_or(bytes))
            .chars()
            .take_while(|c| !c.is_control())
            .take(40)
            .collect();
        Err(Error::NoCapture { begin })
    }

    /// Reads the file of a capture.
    ///
    /// # Errors
    /// [`Error::File`], and those of [`Survey::from_capture`].
    pub fn open(path: &Path, allowlist: Allowlist) -> Result<Self, Error> {
        Self::from_capture(&open_capture(path)?, allowlist)
    }

    /// A function by its number in the topology.
    ///
    /// # Panics
    /// If the number is one of another, larger topology.
    #[must_use]
    pub fn function(&self, id: NodeId) -> &Function {
        &self.functions[id.index()]
    }

    /// The function at an address.
    #[must_use]
    pub fn find(&self, bdf: Bdf) -> Option<&Function> {
        self.topology.find(bdf).and_then(|id| self.functions.get(id.index()))
    }
}

/// Whether a function has a controller memory buffer that the kernel does not lend.
fn keeps_its_buffer(function: &Function) -> bool {
    let has = matches!(function.cmb, Known::Value(Some(_)));
    has && !matches!(function.pool, Known::Value(Some(_)))
}

fn is_under_vfio(function: &Function) -> bool {
    matches!(&function.driver, Known::Value(Some(driver)) if &**driver == crate::vfio::DRIVER)
}

/// A capture's bytes. One that is larger than any capture is read one byte too far, which its parser
/// notices. `name` is what an error calls it.
///
/// # Errors
/// [`Error::File`].
pub fn read_capture(reader: impl std::io::Read, name: &Path) -> Result<Vec<u8>, Error> {
    let error = |source| Error::File { what: "read", path: name.to_owned(), source };
    let mut bytes = Vec::new();
    let most = u64::try_from(MOST_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    reader.take(most).read_to_end(&mut bytes).map_err(error)?;
    Ok(bytes)
}

/// The bytes of a capture's file.
pub(crate) fn open_capture(path: &Path) -> Result<Vec<u8>, Error> {
    let error = |source| Error::File { what: "read", path: path.to_owned(), source };
    read_capture(std::fs::File::open(path).map_err(error)?, path)
}
