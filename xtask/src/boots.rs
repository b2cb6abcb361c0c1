//! Tests that boot guests, and are asked for by name: what takes too long for every change, or needs what not everybody has.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::source;

/// The command in guests of other architectures, for each of which it is built.
pub(crate) fn guests() -> Result<()> {
    let tests = ["--package", "p2pdma-cli", "--test", "kernel", "arches::"];
    run(cargo(&tests, "--ignored"), "a guest of another architecture differs")
}

/// What a real kernel does with memory that devices lend, beside what every row says.
pub(crate) fn rows() -> Result<()> {
    let tests = ["--package", "p2pdma-lab", "--test", "rows"];
    run(cargo(&tests, "--include-ignored"), "the kernel and our rows differ")
}

/// The verdict on every pair of devices of many machines, beside what real kernels do: every boot of the matrix. Records what
/// the kernels did, if asked to.
pub(crate) fn oracle(word: Option<&str>) -> Result<()> {
    let mut command = cargo(&["--package", "p2pdma-lab", "--test", "oracle"], "--include-ignored");
    match word {
        None => {}
        Some("record") => drop(command.env("P2PDMA_ORACLE_RECORD", "1")),
        Some(word) => bail!("'{word}' is not 'record'"),
    }
    run(command, "the kernel and our verdict differ")
}

/// Devices under vfio on a kernel that has iommufd, which Debian's do not.
pub(crate) fn iommufd(kernel: Option<&str>) -> Result<()> {
    let kernel =
        kernel.context("which kernel? docs/decisions/0012-iommufd.md says how one is made")?;
    let kernel = Path::new(kernel).canonicalize().with_context(|| format!("no kernel {kernel}"))?;
    let tests = ["--package", "p2pdma-cli", "--test", "kernel", "vfio"];
    let mut command = cargo(&tests, "--include-ignored");
    // Their answers are those of a kernel whose modules can be taken out.
    command.args(["--skip", "vfio_answers"]).env("P2PDMA_IOMMUFD_KERNEL", kernel);
    run(command, "devices opened by iommufd differ")
}

/// Tests that `which` picks, one at a time.
fn cargo(tests: &[&str], which: &str) -> Command {
    let mut command = Command::new(env!("CARGO"));
    command.args(["test", "--locked"]).args(tests);
    command.args(["--", which, "--test-threads", "1", "--nocapture"]).current_dir(source::root());
    command
}

fn run(mut command: Command, failed: &str) -> Result<()> {
    let status = command.status().context("cannot run cargo")?;
    if status.success() { Ok(()) } else { bail!("{failed}: {status}") }
}
