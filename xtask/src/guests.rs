//! The command in guests of other architectures.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::source;

/// Builds the command for each architecture, and runs it in a guest of that.
pub(crate) fn run() -> Result<()> {
    let status = Command::new(env!("CARGO"))
        .args(["test", "--locked", "--package", "p2pdma-cli", "--test", "kernel", "arches::"])
        .args(["--", "--ignored", "--test-threads", "1", "--nocapture"])
        .current_dir(source::root())
        .status()
        .context("cannot run cargo")?;
    if status.success() {
        Ok(())
    } else {
        bail!("a guest of another architecture differs: {status}")
    }
}
