//! The command from end to end: the built binary, run as people and scripts run it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test's helpers may fail the test")]
#![expect(clippy::print_stdout, reason = "counts are printed")]

mod bad_files;
mod bad_machines;
mod bad_operands;
mod bad_state;
mod captured;
mod doctor;
mod done_when;
mod ends;
mod interrupt;
mod lab;
mod output;
mod pages;
mod persistence;
mod pipes;
mod presets;
mod refusals;
mod resume;
mod schemas;
mod support;
