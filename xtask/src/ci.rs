//! Everything that has to hold, fast checks first.

use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, bail};

use crate::{boots, docs, edges, fuzz, instructions, planted, sizes, source, suite};

/// The steps that are commands: name and arguments to cargo.
const COMMANDS: [(&str, &[&str]); 4] = [
    ("format", &["fmt", "--all", "--check"]),
    ("lints", &["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"]),
    ("build", &["build", "--release", "--locked"]),
    ("API docs", &["doc", "--workspace", "--no-deps", "--locked"]),
];

/// How long each fuzz target runs, in seconds.
const FUZZ_SECONDS: u32 = 20;

/// Runs all steps; stops at the first that fails. What needs a program that is missing is left out,
/// and said; on a machine where `CI` is set that is a failure.
pub(crate) fn run() -> Result<()> {
    let begin = Instant::now();
    println!("== edges\n{}", edges::check()?);
    println!("== sizes\n{}", sizes::check()?);
    for (name, arguments) in COMMANDS {
        command(name, arguments)?;
    }
    step("tests", suite::run)?;
    step("the kernel's rules", boots::rows)?;
    step("README and guide", docs::run)?;
    step("planted bugs", || planted::run(""))?;
    if has("valgrind", "instruction counts")? {
        step("instructions", instructions::run)?;
    }
    if has("c++", "fuzzing")? {
        step("fuzzing", || fuzz::run(FUZZ_SECONDS))?;
    }
    println!("== all good in {} s", begin.elapsed().as_secs());
    Ok(())
}

fn command(name: &str, arguments: &[&str]) -> Result<()> {
    step(&format!("{name}: cargo {}", arguments.join(" ")), || {
        let status = Command::new(env!("CARGO"))
            .args(arguments)
            .current_dir(source::root())
            .env("RUSTDOCFLAGS", "-D warnings")
            .status()
            .context("cannot run cargo")?;
        if status.success() { Ok(()) } else { bail!("{name} failed: {status}") }
    })
}

fn step(name: &str, work: impl FnOnce() -> Result<()>) -> Result<()> {
    println!("== {name}");
    let begin = Instant::now();
    work()?;
    println!("== good, {} s", begin.elapsed().as_secs());
    Ok(())
}

/// Whether a program is there that a step needs.
fn has(program: &str, what: &str) -> Result<bool> {
    let there = Command::new(program).arg("--version").output().is_ok();
    if there {
        return Ok(true);
    }
    let package = if program == "c++" { "g++" } else { program };
    let message = format!("{what} left out: {program} is missing (install the package {package})");
    if std::env::var_os("CI").is_some() {
        bail!("{message}");
    }
    println!("== {message}");
    Ok(false)
}
