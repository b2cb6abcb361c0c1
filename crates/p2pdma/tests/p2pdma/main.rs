//! The library as its users see it.

#![expect(clippy::unwrap_used, reason = "a test's helpers may fail the test")]
#![expect(clippy::cast_possible_truncation, reason = "the tests' numbers are small")]

mod captures;
mod doctor;
mod examples;
mod machines;
mod persistence;
mod planning;
mod probing;
mod support;
mod transfers;
mod upsets;
