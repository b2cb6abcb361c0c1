//! All that talks to Linux: its topology, read from sysfs and procfs, from a snapshot of them, or from the
//! text of `lspci`; and its data path.
//!
//! - [`Survey`]: what was read of a machine. Its [`Topology`](p2pdma_pci::topology::Topology) gives the
//!   verdicts; beside it are the drivers, IOMMU groups, BARs and pools of each [`Function`], the
//!   [`system`], the [`block`] devices, and [`Note`]s on what is left out.
//! - [`Tree`]: the one rooted reader behind it. [`LiveTree`] is the machine or a copied tree, [`Snapshot`]
//!   a captured one in a file; both are read by the same code.
//! - [`io`]: direct I/O between files and memory that devices lend, and what shows whether it was direct.
//! - [`vfio`]: devices in this process's own hands; [`bind`] moves them from driver to driver.
//! - [`lspci`]: the text of `lspci -xxxx`, with what such a dump cannot know marked unknown.
//!
//! It is **not** a judge: `p2pdma-pci` is, and this crate hands it facts. It changes nothing on a machine but the
//! files that it is told to write, and what [`bind`] says.
//! Nothing is guessed: what was not read is [`Known::Unknown`](p2pdma_pci::topology::Known), with the
//! cause. Below it are `p2pdma-pci`, `p2pdma-mem` and `p2pdma-spec`.
//!
//! Facts about the kernel name the file of Linux 7.3.4 that they are from.
//!
//! ```
//! use p2pdma_linux::Survey;
//! use p2pdma_pci::topology::Allowlist;
//!
//! let dump = "\
//! 00:00.0 Host bridge: Intel Corporation 82G33/G31/P35/P31 Express DRAM Controller
//! 00: 86 80 c0 29 03 00 00 00 00 00 00 06 00 00 00 00
//! 10: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
//! 20: 00 00 00 00 00 00 00 00 00 00 00 00 f4 1a 00 11
//! 30: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
//! ";
//! let survey = Survey::from_capture(dump.as_bytes(), Allowlist::kernel())?;
//! assert_eq!(survey.topology.nodes()[0].id.to_string(), "8086:29c0");
//! # Ok::<(), p2pdma_linux::Error>(())
//! ```

mod assemble;
mod attribute;
pub mod bind;
pub mod block;
mod config;
mod error;
mod function;
mod host_clock;
pub mod io;
mod iommu;
pub mod lspci;
mod note;
mod snapshot;
mod survey;
mod sysfs;
pub mod system;
mod tree;
pub mod vfio;

pub use config::{Config, Express};
pub use error::Error;
pub use function::{Bar, CmbRegisters, DomainType, Function, IommuGroup, Pool};
pub use host_clock::HostClock;
pub use iommu::{FaultLog, IommuFault};
pub use lspci::LspciError;
pub use note::{Note, NoteKind};
pub use snapshot::{MOST_BYTES, Snapshot, SnapshotError, SnapshotProblem, VERSION};
pub(crate) use survey::open_capture;
pub use survey::{Origin, Survey, read_capture};
pub(crate) use sysfs::bar_address as sysfs_register;
pub use tree::{Failure, File, LiveTree, Tree};
