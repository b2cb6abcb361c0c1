//! Transfers: planned with reasons, carried out as a pipeline, reported by path.

mod extents;
mod journal;
mod parts;
mod patience;
mod pipeline;
mod plan;
mod policy;
mod portion;
mod probe;
mod report;
mod run;
mod verify;
mod wish;

pub use journal::{Journal, JournalError, Labels};
pub use parts::Parts;
pub(crate) use patience::GRACE;
pub use pipeline::{Next, Pipeline, Shape, Stage, Step, Unexpected};
pub use plan::{Candidate, Leg, NoPath, Plan, Reach, Rejected, Via, Why};
pub use policy::{ParsePolicyError, Policy};
pub use portion::{Durable, Portion};
pub use probe::{Probe, Probed, read_by_host};
pub use report::Report;
pub use run::{Ends, Failed, Job, Progress, run};
pub use verify::{Mismatch, verify};
pub use wish::{Barrier, End, Wish};
