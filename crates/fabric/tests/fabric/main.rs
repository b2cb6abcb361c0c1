//! The fabric as its users see it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]

mod access_control;
mod changes;
mod enumeration;
mod errors;
mod faults;
mod interrupts;
mod machine;
mod payload;
mod routing;
mod support;
mod time;
mod verdict;
