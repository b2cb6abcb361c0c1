//! The lab: a real Linux kernel in QEMU, on the machine that a machine file describes.
//!
//! - [`machine`] turns a parsed [`p2pdma_pci::machine::Machine`] into a QEMU command line, or says which
//!   part QEMU cannot build and why.
//!
//! What the software fabric is for quickly, this is for truly: the verdicts, drivers and messages are
//! those of a released kernel. It does not model time, and devices are as far from hardware as QEMU's
//! are. Below it are `p2pdma-spec` (words) and `p2pdma-pci` (the machine file and the verdict); it knows
//! no fabric.
//!
//! ```
//! use p2pdma_lab::Arch;
//! use p2pdma_lab::machine::Plan;
//! use p2pdma_pci::machine::Machine;
//!
//! let text = r#"
//!     name = "one-ssd"
//!     [[host-bridge]]
//!     name = "host0"
//!     id = "8086:29c0"
//!     p2p = "forward"
//!     [[root-port]]
//!     name = "rp0"
//!     on = "host0"
//!     [[nvme]]
//!     name = "nvme0"
//!     below = "rp0"
//!     cmb = "64M"
//! "#;
//! let machine = Machine::parse(text, "one-ssd.toml")?;
//! let plan = Plan::new(&machine, Arch::X86_64)?;
//! assert_eq!(plan.find("nvme0").map(|placed| placed.bdf.to_string()).as_deref(), Some("0000:01:00.0"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

mod arch;
mod error;
mod guest;
pub mod machine;
mod observe;
pub mod provide;
mod run;

pub use arch::Arch;
pub use error::{Error, Stage};
pub use guest::{GuestFile, Job, Program};
pub use observe::{Observer, Step, Stream};
pub use provide::{Options, Provisions, Toolchain};
pub use run::{Accelerator, Outcome, Settings, run};
