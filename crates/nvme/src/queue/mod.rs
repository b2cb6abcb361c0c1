//! Queues: rings of entries, doorbells, and the commands in flight (NVMe Base 2.1 §3.3.1).

mod completion;
mod create;
mod doorbell;
mod pair;
mod raw;
mod recover;
mod slots;
mod submission;

pub use pair::{CommandId, Completion, QueuePair};
pub use recover::Recovery;

pub(crate) use completion::CompletionQueue;
pub(crate) use doorbell::{Doorbell, Shadow, ShadowBuffers};
use pair::Presence;
pub(crate) use raw::RawPair;
pub(crate) use submission::SubmissionQueue;
