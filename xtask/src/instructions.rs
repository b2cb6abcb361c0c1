//! Instructions per command and per verdict, counted by callgrind: what must not grow, on however noisy a
//! machine.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::source;

/// Where the driver's write to a BAR becomes the fabric's work.
const BAR_WRITE: &str = "*FabricBar*write*";

/// What is counted.
struct Figure {
    name: &'static str,
    /// The package whose benchmark `instructions` does it, and which of its tasks.
    package: &'static str,
    task: &'static str,
    /// Two lengths of a run, in steps, and the units of work in a step: what the runs differ by is units
    /// alone.
    steps: [u64; 2],
    units: u64,
    unit: &'static str,
    /// Where it is counted. Each of these functions switches counting on and off: where one is called by
    /// another, its own work is left out.
    functions: &'static [&'static str],
    /// The most that is allowed.
    limit: u64,
}

/// Batches of 32 commands.
const COMMANDS: Figure = Figure {
    name: "",
    package: "p2pdma",
    task: "commands",
    steps: [200, 1200],
    units: 32,
    unit: "4 KiB command at depth 32",
    functions: &[],
    limit: 0,
};

/// Verdicts about the same pair of a machine with 4,096 endpoints.
const VERDICTS: Figure = Figure {
    package: "p2pdma-pci",
    steps: [100, 1100],
    units: 1,
    unit: "verdict",
    functions: &["*explain_pairs*"],
    ..COMMANDS
};

/// Blocks from SSD to SSD through a CMB, the whole library included.
const BLOCKS: Figure = Figure {
    task: "copies",
    steps: [256, 768],
    unit: "4 KiB block at depth 32",
    functions: &["*copy_blocks*"],
    ..COMMANDS
};

const FIGURES: [Figure; 8] = [
    Figure {
        name: "driver (submit, ring, reap)",
        functions: &["*submit_batch*", "*reap_batch*", BAR_WRITE],
        limit: 100,
        ..COMMANDS
    },
    Figure {
        name: "controller, routing, IOMMU, doorbells on their way",
        functions: &["*let_work*", BAR_WRITE],
        limit: 350,
        ..COMMANDS
    },
    Figure { name: "SSD to SSD, timing model on", task: "timed-copies", limit: 5900, ..BLOCKS },
    Figure { name: "SSD to SSD, timing model off", limit: 3150, ..BLOCKS },
    Figure { name: "a path, with its evidence", task: "path", limit: 5400, ..VERDICTS },
    Figure { name: "a refusal by ACS", task: "redirected", limit: 50_500, ..VERDICTS },
    Figure { name: "a refusal between host bridges", task: "across", limit: 7800, ..VERDICTS },
    Figure {
        name: "the matrix of 4,096 endpoints, by its rows",
        task: "matrix",
        steps: [8, 40],
        units: 4096,
        unit: "pair",
        functions: &["*judge_rows*"],
        limit: 465,
        ..VERDICTS
    },
];

/// Counts and compares; fails if a figure is over its limit.
pub(crate) fn run() -> Result<()> {
    count_all(&FIGURES)
}

/// The same of commands alone.
pub(crate) fn driver() -> Result<()> {
    count_all(FIGURES.split_at(2).0)
}

fn count_all(figures: &[Figure]) -> Result<()> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        bail!("instruction counts need callgrind: install the package valgrind");
    }
    let (mut built, mut over) = (BTreeMap::new(), Vec::new());
    for figure in figures {
        let binary = match built.entry(figure.package) {
            Entry::Occupied(built) => built.into_mut(),
            Entry::Vacant(place) => place.insert(build(figure.package)?),
        };
        let [short, long] = figure.steps.map(|steps| count(binary, figure, steps));
        let units = (figure.steps[1] - figure.steps[0]) * figure.units;
        // Rounded up to tenths.
        let tenths = ((long? - short?) * 10).div_ceil(units);
        let &Figure { name, unit, limit, .. } = figure;
        let per_unit = format!("{}.{}", tenths / 10, tenths % 10);
        println!("{name}: {per_unit} instructions per {unit} (limit {limit})");
        if tenths > limit * 10 {
            over.push(name);
        }
    }
    if !over.is_empty() {
        bail!("over the limit: {}", over.join("; "));
    }
    Ok(())
}

/// Builds a benchmark without what valgrind does not know (AVX-512).
fn build(package: &str) -> Result<PathBuf> {
    let output = Command::new(env!("CARGO"))
        .args(["bench", "-p", package, "--bench", "instructions", "--no-run"])
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

/// The instructions in a figure's functions and what they call, in a run of so many steps.
fn count(binary: &PathBuf, figure: &Figure, steps: u64) -> Result<u64> {
    let toggles = figure.functions.iter().map(|name| format!("--toggle-collect={name}"));
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args(toggles)
        .arg(binary)
        .args([&steps.to_string(), figure.task])
        .output()
        .context("cannot run valgrind")?;
    let log = String::from_utf8_lossy(&output.stderr);
    let line = log.lines().find(|line| line.contains("Collected :"));
    let number = line.and_then(|line| line.split_whitespace().last()?.parse().ok());
    number.with_context(|| format!("callgrind counted nothing:\n{log}"))
}
