//! The driver on a platform and a controller of the tests' own.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail the test")]

mod bring_up;
mod hostile;
mod queues;
mod support;
