//! What helps and what hinders peer-to-peer DMA on a machine: findings, each with what to do about it.
//! Nothing is changed.
//!
//! The verdict about paths is the topology's. What is judged here is the rest: the kernel and how it was
//! built, who lends memory, whether drivers and block devices take part, and known hazards. A fact that
//! could not be read makes a finding that says so, and is never taken for a "no".
//!
//! ```
//! use p2pdma::doctor::{self, Level};
//! use p2pdma::linux::Survey;
//! use p2pdma::topology::Allowlist;
//!
//! # let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../topologies/captures/no-cmb.snapshot");
//! # let capture = std::fs::read(path)?;
//! let survey = Survey::from_capture(&capture, Allowlist::kernel())?;
//! let findings = doctor::memory(&survey.topology, Some(&survey));
//! assert_eq!(findings[0].level, Level::Hinders);
//! assert_eq!(findings[0].code.map(|code| code.code()), Some("NO-P2PMEM"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod devices;
mod memory;
mod pair;
mod system;
mod volumes;

use p2pdma_pci::topology::{Cause, Node, ReasonCode};

pub use devices::{client, devices, starts};
pub use memory::{Lending, lender, lending, memory};
pub use pair::{Obstacle, PairFindings, pair};
pub use system::system;
pub use volumes::{Best, Volume, volumes};

/// How a finding counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// It is as it should be.
    Good,
    /// It is worth knowing.
    Note,
    /// It could not be read.
    Unknown,
    /// It hinders peer-to-peer DMA, or spoils its data.
    Hinders,
}

/// Something that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How it counts.
    pub level: Level,
    /// The code that explains it.
    pub code: Option<ReasonCode>,
    /// What it is about: a function, `kernel`, `processor`.
    pub about: String,
    /// What was found.
    pub text: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Finding {
    fn new(level: Level, about: impl Into<String>, text: impl Into<String>) -> Self {
        let (about, text) = (about.into(), text.into());
        Self { level, code: None, about, text, remedy: None }
    }

    fn good(about: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Level::Good, about, text)
    }

    fn note(about: impl Into<String>, text: impl Into<String>) -> Self {
        Self::new(Level::Note, about, text)
    }

    fn hinders(code: ReasonCode, about: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code: Some(code), ..Self::new(Level::Hinders, about, text) }
    }

    fn unknown(cause: Cause, about: impl Into<String>, what: &str) -> Self {
        let finding = Self::new(Level::Unknown, about, format!("{what} is not known: {cause}"));
        finding.remedy(cause.remedy())
    }

    fn code(self, code: ReasonCode) -> Self {
        Self { code: Some(code), ..self }
    }

    fn remedy(self, remedy: impl Into<String>) -> Self {
        self.remedies(Some(remedy))
    }

    fn remedies(self, remedy: Option<impl Into<String>>) -> Self {
        Self { remedy: remedy.map(Into::into), ..self }
    }
}

/// What people call a function, its address included.
fn called(node: &Node) -> String {
    match &node.name {
        Some(name) => format!("{} ({name})", node.bdf),
        None => node.bdf.to_string(),
    }
}
