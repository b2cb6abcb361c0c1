//! Transfers: planned with reasons, carried out as a pipeline, reported by path.

mod pipeline;
mod plan;
mod policy;
mod report;
mod run;
mod verify;

pub use pipeline::{Next, Pipeline, Shape, Stage, Step, Unexpected};
pub use plan::{Candidate, End, Leg, NoPath, Plan, Reach, Rejected, Via, Why, Wish};
pub use policy::{ParsePolicyError, Policy};
pub use report::Report;
pub use run::{Ends, Failed, Job, Progress, run};
pub use verify::{Mismatch, verify};
