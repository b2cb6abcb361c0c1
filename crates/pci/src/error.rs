//! What can go wrong between a driver and its function.

use std::io;

use crate::topology::Refusal;
use crate::{BarIndex, Bdf};

/// Why a function could not do what was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The function has no memory at this BAR: unimplemented, I/O space, or not assigned an address.
    #[error("{bdf} has no memory behind {bar}")]
    NoBar {
        /// The function.
        bdf: Bdf,
        /// The BAR asked for.
        bar: BarIndex,
    },
    /// An access beyond the end of a BAR or window, or one that is not aligned to its width.
    #[error(
        "{len} bytes at offset {offset:#x} of {bdf} {bar} ({size:#x} bytes) are outside or not aligned"
    )]
    OutsideBar {
        /// The function.
        bdf: Bdf,
        /// The BAR.
        bar: BarIndex,
        /// Where the access begins, in bytes.
        offset: u64,
        /// Its length in bytes.
        len: u64,
        /// The size of the BAR in bytes.
        size: u64,
    },
    /// A configuration register that does not exist, is not aligned, or may not be accessed.
    #[error("configuration register {offset:#05x} of {bdf} is not accessible: {reason}")]
    Config {
        /// The function.
        bdf: Bdf,
        /// The register's offset in bytes.
        offset: u16,
        /// Why.
        reason: &'static str,
    },
    /// No memory or no address space was left for a DMA buffer or mapping.
    #[error("no room for a DMA mapping of {len} bytes for {bdf}: {reason}")]
    NoDmaSpace {
        /// The function that was to use it.
        bdf: Bdf,
        /// The length asked for, in bytes.
        len: u64,
        /// What ran out.
        reason: &'static str,
    },
    /// The function has no such interrupt vector.
    #[error("{bdf} has {vectors} interrupt vectors, vector {vector} was asked for")]
    NoVector {
        /// The function.
        bdf: Bdf,
        /// The vector asked for.
        vector: u16,
        /// How many there are.
        vectors: u16,
    },
    /// The function lacks something that the operation needs.
    #[error("{bdf} {what}")]
    Unsupported {
        /// The function.
        bdf: Bdf,
        /// What it lacks, as a predicate: "has no function-level reset".
        what: &'static str,
    },
    /// The operating system refuses.
    #[error("{bdf} {what}: {}", io::Error::from_raw_os_error(*errno))]
    System {
        /// The function.
        bdf: Bdf,
        /// What it does not get, as a predicate: "cannot be reset".
        what: &'static str,
        /// What the operating system says.
        errno: i32,
    },
    /// No peer-to-peer path.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The function is gone: unplugged, or its link is down.
    #[error("{bdf} is gone")]
    Gone {
        /// Where it was.
        bdf: Bdf,
    },
}
