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

impl Bug {
    /// Whether the code that it spoils is compiled, and used, on this machine.
    fn is_compiled(&self) -> bool {
        #[cfg(target_arch = "x86_64")]
        let has_wide_moves = std::arch::is_x86_feature_detected!("avx");
        #[cfg(not(target_arch = "x86_64"))]
        let has_wide_moves = false;
        has_wide_moves || !self.file.ends_with("/x86.rs")
    }
}

include!("planted_list.rs");
include!("planted_verdict.rs");
include!("planted_driver.rs");

/// All of them.
fn bugs() -> impl Iterator<Item = &'static Bug> {
    BUGS.iter().chain(VERDICT_BUGS).chain(DRIVER_BUGS)
}

/// Plants every bug whose description contains `only`: on each processor one after the other, in a copy of the project
/// and a build of its own.
pub(crate) fn run(only: &str) -> Result<()> {
    let (chosen, left_out): (Vec<&Bug>, Vec<&Bug>) =
        bugs().filter(|bug| bug.what.contains(only)).partition(|bug| bug.is_compiled());
    for bug in left_out {
        println!(
            "left out, since this processor has no use for the code: {} ({})",
            bug.what, bug.file
        );
    }
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    // Neighbours in the list are of the same crates, which are built again anyway.
    let share = chosen.len().div_ceil(workers).max(1);
    let missed = std::thread::scope(|scope| {
        let begin = |(place, share): (usize, &[&'static Bug])| {
            let (place, share) = (place.to_string(), share.to_vec());
            scope.spawn(move || Place::make(&place)?.plant(&share))
        };
        let workers: Vec<_> = chosen.chunks(share).enumerate().map(begin).collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, Result<Vec<&'static str>>>| {
            worker.join().unwrap_or_else(|_| bail!("a worker panicked"))
        };
        workers.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    let missed = missed.concat();
    println!("{} planted bugs caught, {} missed", chosen.len() - missed.len(), missed.len());
    if !missed.is_empty() {
        bail!("not caught: {}", missed.join("; "));
    }
    Ok(())
}

/// A copy of the project, and where it is built.
struct Place {
    project: PathBuf,
    build: PathBuf,
}

impl Place {
    /// Plants bugs, one after the other; returns those that nobody noticed.
    fn plant(&self, bugs: &[&'static Bug]) -> Result<Vec<&'static str>> {
        let mut missed = Vec::new();
        for bug in bugs {
            let path = self.project.join(bug.file);
            let text = std::fs::read_to_string(&path).with_context(|| bug.file.to_owned())?;
            if text.matches(bug.right).count() != 1 {
                bail!("{}: the code to spoil is not there once: {}", bug.file, bug.right);
            }
            std::fs::write(&path, text.replace(bug.right, bug.wrong))?;
            let verdict = self.test(bug)?;
            std::fs::write(&path, text)?;
            println!("{verdict}: {} ({})", bug.what, bug.file);
            if !matches!(verdict, Verdict::Caught) {
                missed.push(bug.what);
            }
        }
        Ok(missed)
    }

    /// Copies what git knows of to a folder below `target`, where builds are shared from run to run.
    fn make(name: &str) -> Result<Self> {
        let root = source::root();
        let folder = root.join("target/planted").join(name);
        let place = Self { project: folder.join("project"), build: folder.join("build") };
        let copy = &place.project;
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(&root)
            .output()
            .context("cannot run git")?;
        let names = String::from_utf8_lossy(&listed.stdout);
        remove_others(copy, &names.lines().map(|name| copy.join(name)).collect())?;
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
        if !place.build.exists() {
            place.seed()?;
        }
        Ok(place)
    }

    /// Begins with what the project's own build has of other people's crates: their builds do not depend on where the
    /// project is. Times count, but for those of fingerprints, which cargo writes where they stand.
    fn seed(&self) -> Result<()> {
        let (from, to) = (source::target().join("debug"), self.build.join("debug"));
        let link = |from: &Path, to: &Path| std::fs::hard_link(from, to);
        let copy = |from: &Path, to: &Path| std::fs::copy(from, to).map(drop);
        for_each_file(&from.join("deps"), &to.join("deps"), &link)?;
        for_each_file(&from.join("build"), &to.join("build"), &link)?;
        for_each_file(&from.join(".fingerprint"), &to.join(".fingerprint"), &copy)
    }

    /// Builds and runs the tests that must notice.
    fn test(&self, bug: &Bug) -> Result<Verdict> {
        let cargo = |extra: &[&str]| {
            Command::new(env!("CARGO"))
                .args(["test", "-q", "--locked", "-p", bug.package, bug.tests])
                .args(extra)
                .env("CARGO_TARGET_DIR", &self.build)
                // Nobody debugs these; without it they link in half the time.
                .env("CARGO_PROFILE_DEV_DEBUG", "0")
                .env("RUST_BACKTRACE", "0")
                .env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1")
                .current_dir(&self.project)
                .output()
                .context("cannot run cargo")
        };
        if !cargo(&["--no-run"])?.status.success() {
            return Ok(Verdict::DoesNotBuild);
        }
        let passed = cargo(&[bug.filter])?.status.success();
        Ok(if passed { Verdict::Missed } else { Verdict::Caught })
    }
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

/// Does something with every file of a folder, if there is one, and the same place in another one.
fn for_each_file(
    from: &Path,
    to: &Path,
    act: &dyn Fn(&Path, &Path) -> std::io::Result<()>,
) -> Result<()> {
    let Ok(entries) = std::fs::read_dir(from) else { return Ok(()) };
    std::fs::create_dir_all(to)?;
    for entry in entries {
        let entry = entry?;
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            for_each_file(&from, &to, act)?;
        } else {
            act(&from, &to).with_context(|| from.display().to_string())?;
        }
    }
    Ok(())
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
