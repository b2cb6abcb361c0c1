//! The kernel's rules, row by row, in three boots.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::source;

/// Boots a real kernel and compares what it does with memory that devices lend with what every row says.
pub(crate) fn run() -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(["test", "--locked", "--package", "p2pdma-lab", "--test", "rows"])
        .args(["--", "--include-ignored", "--test-threads", "1", "--nocapture"])
        .current_dir(source::root())
        .status()
        .context("cannot run cargo")?;
    if status.success() { Ok(()) } else { bail!("the kernel and our rows differ: {status}") }
}
