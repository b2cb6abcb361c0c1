//! Transfers: planned with reasons, carried out as a pipeline, reported by path.

mod pipeline;
mod plan;
mod policy;
mod probe;
mod report;
mod run;
mod verify;
mod wish;

pub use pipeline::{Next, Pipeline, Shape, Stage, Step, Unexpected};
pub use plan::{Candidate, Leg, NoPath, Plan, Reach, Rejected, Via, Why};
pub use policy::{ParsePolicyError, Policy};
pub use probe::{Probe, Probed};
pub use report::Report;
pub use run::{Ends, Failed, Job, Progress, run};
pub use verify::{Mismatch, verify};
pub use wish::{Barrier, End, Wish};
