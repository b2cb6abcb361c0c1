//! What is printed as data, apart from the commands' own documents. Units are in the keys; `null` is
//! "not known".

use schemars::JsonSchema;
use serde::Serialize;

use super::bus::BusPathDocument;
use crate::exit::Exit;

/// A document with its schema's name and version.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Envelope<T> {
    /// The document's schema: `p2pdma schema` prints it.
    pub(crate) schema: &'static str,
    /// The schema's version: keys are only ever added to one.
    pub(crate) version: u32,
    #[serde(flatten)]
    pub(crate) body: T,
}

/// The version of every schema so far.
pub(crate) const VERSION: u32 = 1;

impl<T> Envelope<T> {
    pub(crate) const fn new(schema: &'static str, body: T) -> Self {
        Self { schema, version: VERSION, body }
    }
}

/// A command that failed and has nothing else to show.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FailureDocument {
    /// Why.
    pub(crate) error: ErrorDocument,
}

/// What went wrong.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ErrorDocument {
    /// A stable code: a reason code such as P2P-ACS-REDIR, or USAGE, EXISTS, IN-USE, MISMATCH and others.
    pub(crate) code: String,
    /// What happened.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) remedy: Option<String>,
    /// The process's exit status.
    pub(crate) exit_status: Exit,
    /// The evidence, if a path was refused.
    pub(crate) refusal: Option<RefusalDocument>,
}

/// Why there is no peer-to-peer path.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct RefusalDocument {
    /// Each memory that could have been used, the nearest first, and why it was not.
    pub(crate) candidates: Vec<CandidateDocument>,
    /// What led to the answer about the nearest, if that was a matter of paths.
    pub(crate) verdict: Option<VerdictDocument>,
}

/// Memory that could have been used.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct CandidateDocument {
    /// Its address and kind: `0000:03:00.0/cmb`.
    pub(crate) provider: String,
    /// Why it was not.
    pub(crate) why: String,
}

/// All that led to an answer about a pair.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct VerdictDocument {
    /// The address of who starts requests.
    pub(crate) client: String,
    /// The address of whose memory it is.
    pub(crate) provider: String,
    /// What the kernel calls it; null if it depends on something that is not known.
    pub(crate) kernel_map_type: Option<String>,
    /// The kernel's distance.
    pub(crate) distance: Option<u32>,
    /// The functions that the kernel looks at: the provider's side, the common bridge, the client's.
    pub(crate) path: Vec<StepDocument>,
    /// Where the bus itself sends the pair's packets, class by class. The kernel does not ask this.
    pub(crate) bus: Vec<BusPathDocument>,
    /// The host bridges on the way.
    pub(crate) host_bridges: Vec<HostBridgeDocument>,
    /// What would make a path, where access control alone prevents it.
    pub(crate) fix: Option<FixDocument>,
    /// What may go wrong all the same.
    pub(crate) hazards: Vec<String>,
    /// What is not known.
    pub(crate) gaps: Vec<String>,
}

/// A function on the way.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct StepDocument {
    /// Where it is.
    pub(crate) bdf: String,
    /// Whose side it is on: provider, client, or common for the bridge, or function, that both share.
    /// Each side begins with the function itself and ends below the common bridge.
    pub(crate) side: &'static str,
    /// What people call it.
    pub(crate) name: Option<String>,
    /// What it is.
    pub(crate) kind: String,
    /// The redirecting bits that are set, by their names in lspci; null if they could not be read.
    pub(crate) redirecting: Option<Vec<String>>,
    /// Those of them that the bus itself looks at for this pair.
    pub(crate) acting: Vec<String>,
}

/// A host bridge on the way.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct HostBridgeDocument {
    /// Vendor and device by which the kernel's list knows it.
    pub(crate) id: Option<String>,
    /// Whether it may carry this pair's traffic.
    pub(crate) allows: bool,
}

/// What would make a path.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct FixDocument {
    /// Commands that change it until the next boot.
    pub(crate) commands: Vec<String>,
    /// The kernel parameter that changes it at every boot.
    pub(crate) kernel_parameter: String,
    /// The table `[os]` of a machine file that does the same on the fabric.
    pub(crate) machine_file: String,
    /// The cost: functions that would no longer be isolated from one another.
    pub(crate) joins: Vec<Vec<String>>,
}
