//! A command for both machines: its addresses are places, which each machine turns into its own.

use std::fmt;

use p2pdma_spec::nvme::admin::AdminOpcode;
use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::queue::SubmissionEntry;

/// Bytes of the memory for data and metadata.
pub(crate) const ARENA: u64 = 256 << 10;
/// Where in it metadata are.
pub(crate) const METADATA: u64 = 192 << 10;
/// Bytes of the memory for lists.
pub(crate) const LISTS: u64 = 16 << 10;

/// Of a command with which nothing is wrong.
const GOOD: &str = "as it should be";

/// An address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the memory for data.
    Arena(u64),
    /// In the memory for lists.
    Lists(u64),
    /// The same on both machines.
    Number(u64),
}

impl Place {
    pub(crate) fn plus(self, offset: u64) -> Self {
        match self {
            Self::Arena(at) => Self::Arena(at + offset),
            Self::Lists(at) => Self::Lists(at + offset),
            Self::Number(at) => Self::Number(at + offset),
        }
    }
}

/// A descriptor of a scatter gather list.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    pub(crate) at: Place,
    pub(crate) len: u32,
    /// Type in the upper half, sub type in the lower.
    pub(crate) identifier: u8,
}

/// A command's data pointer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pointer {
    Prp(Place, Place),
    Sgl(Piece),
}

/// What lies in the memory for lists.
#[derive(Debug, Clone)]
pub(crate) enum List {
    Prp { at: u64, entries: Vec<Place> },
    Sgl { at: u64, pieces: Vec<Piece> },
}

/// Where a command goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Queue {
    Admin,
    Io,
}

/// A command, all of it.
#[derive(Debug, Clone)]
pub(crate) struct Shot {
    pub(crate) queue: Queue,
    /// Data and metadata pointers are not set.
    pub(crate) entry: SubmissionEntry,
    pub(crate) pointer: Pointer,
    pub(crate) metadata: Place,
    pub(crate) lists: Vec<List>,
    /// Bytes for the arena that the command takes.
    pub(crate) bytes: Vec<(u64, Vec<u8>)>,
    /// What is wrong with it, or special; [`GOOD`] if nothing is.
    pub(crate) flaw: String,
    /// Whether memory is the same afterwards: not where controllers tell of themselves.
    pub(crate) compares_data: bool,
    /// Whether it changes blocks.
    pub(crate) writes: bool,
}

impl Shot {
    pub(crate) fn new(queue: Queue, opcode: u8, nsid: u32) -> Self {
        Self {
            queue,
            entry: SubmissionEntry::new(opcode, nsid),
            pointer: Pointer::Prp(Place::Number(0), Place::Number(0)),
            metadata: Place::Number(0),
            lists: Vec::new(),
            bytes: Vec::new(),
            flaw: GOOD.to_owned(),
            compares_data: queue == Queue::Io,
            writes: false,
        }
    }

    /// Its command's name.
    pub(crate) fn name(&self) -> String {
        let opcode = self.entry.opcode();
        match self.queue {
            Queue::Admin => AdminOpcode::from_bits(opcode).to_string(),
            Queue::Io => NvmOpcode::from_bits(opcode).to_string(),
        }
    }

    /// What kind of command it is, in the table's words.
    pub(crate) fn kind(&self) -> String {
        format!("{}: {}", self.name(), self.flaw)
    }
}

impl fmt::Display for Shot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x?} {:x?} {:x?} {:x?}", self.entry, self.pointer, self.metadata, self.lists)
    }
}
