//! Everything that has to hold, fast checks first.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::{edges, sizes, source};

/// A step that is a command: its name, program and arguments.
const STEPS: [(&str, &str, &[&str]); 5] = [
    ("format", "cargo", &["fmt", "--all", "--check"]),
    (
        "lints",
        "cargo",
        &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"],
    ),
    ("tests", "cargo", &["test", "--workspace", "--locked"]),
    ("docs", "cargo", &["doc", "--workspace", "--no-deps", "--locked"]),
    ("build", "cargo", &["build", "--release", "--locked"]),
];

/// Runs all steps; stops at the first that fails.
pub(crate) fn run() -> Result<()> {
    let begin = Instant::now();
    println!("== edges\n{}", edges::check()?);
    println!("== sizes\n{}", sizes::check()?);
    for (name, program, arguments) in STEPS {
        step(name, program, arguments)?;
    }
    println!("== all good in {} s", begin.elapsed().as_secs());
    Ok(())
}

fn step(name: &str, program: &str, arguments: &[&str]) -> Result<()> {
    println!("== {name}: {program} {}", arguments.join(" "));
    let begin = Instant::now();
    let status = Command::new(program)
        .args(arguments)
        .current_dir(source::root())
        .env("RUSTDOCFLAGS", "-D warnings")
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{name} failed: {status}");
    }
    println!("== {name}: good, {} s", begin.elapsed().as_secs());
    Ok(())
}
