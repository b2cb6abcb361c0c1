//! The library as its users see it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]

mod machines;
mod planning;
mod transfers;
