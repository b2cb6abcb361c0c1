//! The driver on a platform and a controller of the tests' own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]

mod admin;
mod bring_up;
mod hostile;
mod memories;
mod queues;
mod recovery;
mod support;
