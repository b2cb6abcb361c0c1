//! Planted bugs: each is put into a copy of the project, and the tests must fail there. A suite that
//! does not notice them proves nothing.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::source;

/// A bug to plant.
struct Bug {
    /// What is wrong.
    what: &'static str,
    /// Where, from the project's root.
    file: &'static str,
    /// The code that is right; it stands there once.
    right: &'static str,
    /// The code that is wrong.
    wrong: &'static str,
    /// The package whose tests must notice.
    package: &'static str,
    /// Which of them are run; all, if empty.
    filter: &'static str,
}

include!("planted_list.rs");

/// Plants every bug whose description contains `only`, one after the other.
pub(crate) fn run(only: &str) -> Result<()> {
    let copy = copy_project()?;
    let (mut caught, mut missed) = (0, Vec::new());
    for bug in BUGS.iter().filter(|bug| bug.what.contains(only)) {
        let path = copy.join(bug.file);
        let text = std::fs::read_to_string(&path).with_context(|| bug.file.to_owned())?;
        if text.matches(bug.right).count() != 1 {
            bail!("{}: the code to spoil is not there once: {}", bug.file, bug.right);
        }
        std::fs::write(&path, text.replace(bug.right, bug.wrong))?;
        let verdict = test(&copy, bug)?;
        std::fs::write(&path, text)?;
        println!("{verdict}: {} ({})", bug.what, bug.file);
        match verdict {
            Verdict::Caught => caught += 1,
            Verdict::Missed | Verdict::DoesNotBuild => missed.push(bug.what),
        }
    }
    println!("{caught} planted bugs caught, {} missed", missed.len());
    if !missed.is_empty() {
        bail!("not caught: {}", missed.join("; "));
    }
    Ok(())
}

enum Verdict {
    Caught,
    Missed,
    DoesNotBuild,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Caught => "caught",
            Self::Missed => "MISSED",
            Self::DoesNotBuild => "DOES NOT BUILD",
        })
    }
}

/// Copies what git knows of to a folder below `target`, where builds are shared from run to run.
fn copy_project() -> Result<PathBuf> {
    let root = source::root();
    let copy = root.join("target/planted/project");
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(&root)
        .output()
        .context("cannot run git")?;
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        let (from, to) = (root.join(name), copy.join(name));
        let Ok(wanted) = std::fs::read(&from) else { continue };
        // An unchanged file keeps its time, and so its build.
        if std::fs::read(&to).is_ok_and(|there| there == wanted) {
            continue;
        }
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&to, wanted)?;
    }
    Ok(copy)
}

/// Builds and runs the tests that must notice.
fn test(copy: &Path, bug: &Bug) -> Result<Verdict> {
    let cargo = |extra: &[&str]| {
        Command::new(env!("CARGO"))
            .args(["test", "-q", "-p", bug.package, "--lib", "--tests"])
            .args(extra)
            .env("CARGO_TARGET_DIR", source::root().join("target/planted/build"))
            .env("RUST_BACKTRACE", "0")
            .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
            .current_dir(copy)
            .output()
            .context("cannot run cargo")
    };
    if !cargo(&["--no-run"])?.status.success() {
        return Ok(Verdict::DoesNotBuild);
    }
    let passed = cargo(&[bug.filter])?.status.success();
    Ok(if passed { Verdict::Missed } else { Verdict::Caught })
}
