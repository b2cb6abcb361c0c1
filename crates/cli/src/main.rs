//! The command `p2pdma`: it parses, calls the library, prints.
//!
//! One file per command in `command/`, what they print in `output/`, what can go wrong in `failure`. It
//! uses the library `p2pdma`, and the lab, and nothing below them.

#![forbid(unsafe_code)]

mod args;
mod command;
mod context;
mod exit;
mod failure;
mod interrupt;
mod operand;
mod output;
mod platform;
mod subject;

use std::process::ExitCode;

fn main() -> ExitCode {
    command::run()
}
