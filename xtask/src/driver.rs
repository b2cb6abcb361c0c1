//! The driver's speed in one table: what docs/performance.md shows of it.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::{instructions, source};

/// A test, and what the lines have in them that belong to the table.
struct Part {
    package: &'static str,
    test: &'static str,
    filter: &'static str,
    lines: &'static [&'static str],
}

const PARTS: [Part; 3] = [
    Part { package: "p2pdma-nvme", test: "threads", filter: "commands", lines: &["allocations"] },
    Part {
        package: "p2pdma-lab",
        test: "qtest",
        filter: "conforms",
        lines: &["doorbells for each command"],
    },
    Part {
        package: "p2pdma-cli",
        test: "kernel",
        filter: "the_driver_s_table",
        lines: &["turns, GB/s", "  ", "model with time"],
    },
];

/// Counts, runs, and prints.
pub(crate) fn run() -> Result<()> {
    instructions::driver()?;
    PARTS.iter().try_for_each(Part::run)
}

impl Part {
    fn run(&self) -> Result<()> {
        let Self { package, test, filter, lines } = self;
        let output = Command::new(env!("CARGO"))
            .args(["test", "--locked", "--package", package, "--test", test, filter])
            .args(["--", "--include-ignored", "--nocapture"])
            .current_dir(source::root())
            .stderr(Stdio::inherit())
            .output()
            .context("cannot run cargo")?;
        let said = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            bail!("{said}\n{filter} failed: {}", output.status);
        }
        let wanted = |line: &&str| lines.iter().any(|words| line.contains(words));
        said.lines().filter(wanted).for_each(|line| println!("{line}"));
        Ok(())
    }
}
