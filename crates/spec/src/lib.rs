//! The words of PCI Express and NVM Express: registers, structures that lie in memory, codes.
//!
//! - [`pci`]: configuration space, BARs, capabilities.
//! - [`nvme`]: controller registers, queue entries, commands, status codes, Identify structures, log pages,
//!   features, PRPs and SGLs.
//! - [`text`], [`le`], [`opaque`]: the field types that both are made of.
//!
//! It is **not** a driver and no device: nothing here reads, writes, decides or waits. There is no error type,
//! as no value is wrong: what a specification does not name is kept bit for bit, and prints as a number.
//! Nothing of this project is below this crate.
//!
//! **Revisions.** Sections are cited from one revision of each specification:
//!
//! | cited as | specification |
//! |---|---|
//! | `PCIe 6.0` | PCI Express Base Specification, Revision 6.0 |
//! | `NVMe Base 2.1` | NVM Express Base Specification, Revision 2.1 |
//! | `NVM Command Set 1.1` | NVM Express NVM Command Set Specification, Revision 1.1 |
//! | `NVMe over PCIe Transport 1.1` | NVMe over PCIe Transport Specification, Revision 1.1 |
//!
//! **Forms.**
//!
//! - A *register* or *dword* is an integer with accessors that have the specification's names; a name that
//!   ends in `_z` holds a number minus 1. `from_bits` and `into_bits` keep reserved bits. A `with_` method
//!   panics if the value exceeds its field: it is for values that the program chose; its `_checked` twin is
//!   for those that came from elsewhere.
//! - A *code* is an integer of which some values have names.
//! - A *structure* is made of bytes: it has the size and the offsets of the specification, which the compiler
//!   checks, and needs no alignment. Numbers in it are little-endian unless their type says otherwise.
//! - All of them print in the specification's words, as `lspci` and `nvme` show them.
//!
//! ```
//! use p2pdma_spec::nvme::{nvm::{DisplayNvm, NvmOpcode, ReadWriteCdw12}, queue::SubmissionEntry};
//! let mut read = SubmissionEntry::new(NvmOpcode::READ, 1);
//! read.set_cdw10_11(0x800);
//! read.cdw12 = ReadWriteCdw12::new().with_nlb_z(7).with_fua(true).into();
//! assert!(DisplayNvm(&read).to_string().starts_with("Read CID=0 NSID=0x1 SLBA=2048 NLB=7"));
//! ```

#![forbid(unsafe_code)]

#[macro_use]
mod open_enum;
#[macro_use]
mod words;

pub mod le;
pub mod nvme;
pub mod opaque;
pub mod pci;
pub mod text;
