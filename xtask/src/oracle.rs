//! The kernel as oracle: every boot of the matrix, which CI runs a part of.

use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::source;

/// Boots real kernels on many machines and compares the verdict on every pair of devices. Records what
/// the kernels did, if asked to.
pub(crate) fn run(word: Option<&str>) -> Result<()> {
    let mut command = Command::new(env!("CARGO"));
    match word {
        None => {}
        Some("record") => drop(command.env("P2PDMA_ORACLE_RECORD", "1")),
        Some(word) => bail!("'{word}' is not 'record'"),
    }
    let status = command
        .args(["test", "--locked", "--package", "p2pdma-lab", "--test", "oracle"])
        .args(["--", "--include-ignored", "--test-threads", "1", "--nocapture"])
        .current_dir(source::root())
        .status()
        .context("cannot run cargo")?;
    if status.success() { Ok(()) } else { bail!("the kernel and our verdict differ: {status}") }
}
