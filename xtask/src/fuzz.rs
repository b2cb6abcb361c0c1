//! Bounded runs of the fuzz targets, coverage-guided, with the project's own toolchain.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::source;

/// What libFuzzer needs of a build: counters at every edge, and a table of them.
const INSTRUMENTATION: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Clink-dead-code --cfg fuzzing";

/// Named explicitly, so that build scripts are not instrumented.
const TARGET: &str = env!("P2PDMA_HOST");

/// Runs every target for so many seconds.
pub(crate) fn run(seconds: u32) -> Result<()> {
    if Command::new("c++").arg("--version").output().is_err() {
        bail!("libFuzzer needs a C++ compiler: install the package g++");
    }
    let folder = source::root().join("fuzz");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--release", "--bins", "--target", TARGET])
        .args(["--target-dir", "target"])
        .env("RUSTFLAGS", INSTRUMENTATION)
        .current_dir(&folder)
        .status()
        .context("cannot build the fuzz targets")?;
    if !status.success() {
        bail!("the fuzz targets do not build");
    }
    for target in targets(&folder)? {
        fuzz(&folder, &target, seconds)?;
    }
    Ok(())
}

fn targets(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(folder.join("fuzz_targets"))? {
        let path = entry?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

fn fuzz(folder: &Path, target: &str, seconds: u32) -> Result<()> {
    let binary = folder.join("target").join(TARGET).join("release").join(target);
    let corpus = folder.join("corpus").join(target);
    let artifacts = folder.join("artifacts").join(target);
    for folder in [&corpus, &artifacts] {
        std::fs::create_dir_all(folder)?;
    }
    let output = Command::new(binary)
        .arg(corpus)
        .arg(format!("-max_total_time={seconds}"))
        .args(["-max_len=4096", "-timeout=20", "-rss_limit_mb=4096", "-print_final_stats=1"])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .output()
        .with_context(|| format!("cannot run {target}"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        println!("{log}");
        bail!("{target} found something: see {}", artifacts.display());
    }
    let figure = |name: &str| {
        let line = log.lines().find(|line| line.contains(name));
        line.and_then(|line| line.split_whitespace().last()).unwrap_or("?").to_owned()
    };
    let coverage = log.lines().rev().find_map(|line| line.split(" cov: ").nth(1));
    let edges = coverage.and_then(|rest| rest.split_whitespace().next()).unwrap_or("?");
    let runs = figure("number_of_executed_units");
    println!("{target}: {runs} inputs in {seconds} s, {edges} edges, nothing found");
    Ok(())
}
