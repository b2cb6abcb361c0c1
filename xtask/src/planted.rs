//! Planted bugs: each is put into a copy of the project, and the tests must fail there. A suite that
//! does not notice them proves nothing.

use std::collections::BTreeSet;
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
    /// Which of its test programs, as cargo is told.
    tests: &'static str,
    /// Which of the tests in it; all, if empty.
    filter: &'static str,
}

include!("planted_list.rs");
include!("planted_verdict.rs");
include!("planted_driver.rs");

/// All of them.
fn bugs() -> impl Iterator<Item = &'static Bug> {
    BUGS.iter().chain(VERDICT_BUGS).chain(DRIVER_BUGS)
}

/// Plants every bug whose description contains `only`, one after the other.
pub(crate) fn run(only: &str) -> Result<()> {
    let copy = copy_project()?;
    let (mut caught, mut missed) = (0, Vec::new());
    for bug in bugs().filter(|bug| bug.what.contains(only)) {
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
    let names = String::from_utf8_lossy(&listed.stdout);
    remove_others(&copy, &names.lines().map(|name| copy.join(name)).collect())?;
    for name in names.lines() {
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

/// Removes the files of a folder that are not among those to keep.
fn remove_others(folder: &Path, keep: &BTreeSet<PathBuf>) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            remove_others(&path, keep)?;
        } else if !keep.contains(&path) {
            std::fs::remove_file(path)?;
        }
    }
    Ok(())
}

/// Builds and runs the tests that must notice.
fn test(copy: &Path, bug: &Bug) -> Result<Verdict> {
    let cargo = |extra: &[&str]| {
        Command::new(env!("CARGO"))
            .args(["test", "-q", "--locked", "-p", bug.package, bug.tests])
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bug_can_be_planted() {
        let mut names = BTreeSet::new();
        for Bug { what, file, right, wrong, .. } in bugs() {
            let text = std::fs::read_to_string(source::root().join(file)).unwrap();
            assert_eq!(text.matches(right).count(), 1, "{what}: {right}");
            assert!(right != wrong && names.insert(what), "{what}");
        }
        println!("planted bugs: {}", names.len());
    }
}
