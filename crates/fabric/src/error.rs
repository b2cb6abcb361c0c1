//! What can go wrong in building, enumerating and changing a fabric.

use p2pdma_pci::topology::TopologyError;
use p2pdma_pci::{BarIndex, Bdf, Iova, Size};

/// Why a machine cannot be as described, or cannot do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two functions want one place.
    #[error("{second} cannot be function {number} below {port}: {first} is")]
    SlotTaken {
        /// The port above.
        port: String,
        /// The function number.
        number: u8,
        /// Who has it.
        first: String,
        /// Who wants it.
        second: String,
    },
    /// Devices and a switch, or two switches, below one port.
    #[error("{second} cannot be below {port}: the link leads to {first}")]
    LinkTaken {
        /// The port above.
        port: String,
        /// Who is there.
        first: String,
        /// Who wants to be.
        second: String,
    },
    /// A part refers to one that does not exist, or is of the wrong kind.
    #[error("{name}: {reason}")]
    Structure {
        /// The part.
        name: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A model describes a BAR that cannot be.
    #[error("{name} {bar}: {reason}")]
    Bar {
        /// The function.
        name: String,
        /// Its BAR.
        bar: BarIndex,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The bus numbers of a host bridge are used up.
    #[error("no bus number is left for what is below {port}: the last one is {last:#04x}")]
    NoBus {
        /// The bridge that needs one.
        port: Bdf,
        /// The host bridge's last bus number.
        last: u8,
    },
    /// Addresses do not suffice.
    #[error(
        "{name} ({function}) needs {} of {}prefetchable address space, and no window has so much left",
        Size(*.len),
        if *.prefetchable { "" } else { "non-" }
    )]
    NoWindow {
        /// Who needs them, as the machine's description says.
        name: String,
        /// Where that is.
        function: Bdf,
        /// How many bytes.
        len: u64,
        /// Of which kind.
        prefetchable: bool,
    },
    /// No function is there.
    #[error("there is no endpoint function at {bdf}")]
    NoFunction {
        /// The place.
        bdf: Bdf,
    },
    /// No mapping begins there.
    #[error("{bdf} has no mapping that begins at {iova}")]
    NoMapping {
        /// The function.
        bdf: Bdf,
        /// The address.
        iova: Iova,
    },
    /// No part has this name.
    #[error("the machine has no part named '{name}'")]
    NoSuchName {
        /// The name.
        name: String,
    },
    /// The machine's functions form no topology: it is not enumerated.
    #[error("the machine is not enumerated: {0}")]
    Topology(#[from] TopologyError),
    /// The operating system gave no memory for the host's.
    #[error("no memory for the modelled host's {}: {reason}", Size(*.len))]
    HostMemory {
        /// How many bytes.
        len: u64,
        /// What the operating system said.
        reason: String,
    },
}
