//! Instructions per command, counted by callgrind: what must not grow, on however noisy a machine.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::source;

/// Two lengths of a run, in batches of 32 commands: what they differ by is commands alone.
const BATCHES: [u64; 2] = [200, 1200];
const PER_BATCH: u64 = 32;

/// Where the driver's write to a BAR becomes the fabric's work.
const BAR_WRITE: &str = "*FabricBar*write*";

/// A figure: its name, the functions that it is counted in, and the most that is allowed. Each of these
/// functions switches counting on and off: where one is called by another, its own work is left out.
const FIGURES: [(&str, &[&str], u64); 2] = [
    ("driver (submit, ring, reap)", &["*submit_batch*", "*reap_batch*", BAR_WRITE], 100),
    ("controller, routing, IOMMU, doorbells on their way", &["*let_work*", BAR_WRITE], 350),
];

/// Counts and compares; fails if a figure is over its limit.
pub(crate) fn run() -> Result<()> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        bail!("instruction counts need callgrind: install the package valgrind");
    }
    let binary = build()?;
    let mut over = Vec::new();
    for (name, functions, limit) in FIGURES {
        let [short, long] = BATCHES.map(|batches| count(&binary, functions, batches));
        let (counted, commands) = (long? - short?, (BATCHES[1] - BATCHES[0]) * PER_BATCH);
        // Rounded up to tenths.
        let tenths = (counted * 10).div_ceil(commands);
        let per_command = format!("{}.{}", tenths / 10, tenths % 10);
        println!(
            "{name}: {per_command} instructions per 4 KiB command at depth 32 (limit {limit})"
        );
        if tenths > limit * 10 {
            over.push(name);
        }
    }
    if !over.is_empty() {
        bail!("over the limit: {}", over.join("; "));
    }
    Ok(())
}

/// Builds the benchmark without what valgrind does not know (AVX-512).
fn build() -> Result<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["bench", "-p", "p2pdma", "--bench", "instructions", "--no-run"])
        .args(["--message-format", "json"])
        .current_dir(source::root())
        .output()
        .context("cannot build the benchmark")?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let artifacts = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let ours = |message: &Value| message["target"]["name"] == "instructions";
    let found = artifacts
        .filter(ours)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    found.context("the benchmark does not build")
}

/// The instructions in the given functions and what they call, in a run of so many batches.
fn count(binary: &PathBuf, functions: &[&str], batches: u64) -> Result<u64> {
    let toggles = functions.iter().map(|name| format!("--toggle-collect={name}"));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(toggles)
        .arg(binary)
        .arg(batches.to_string())
        .output()
        .context("cannot run valgrind")?;
    let log = String::from_utf8_lossy(&output.stderr);
    let line = log.lines().find(|line| line.contains("Collected :"));
    let number = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
    number.with_context(|| format!("callgrind counted nothing:\n{log}"))
}
