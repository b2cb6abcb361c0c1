//! The tests, all of them, and what they counted.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::source;

/// Runs every test, whichever fail; prints failures in full, and of those that passed what they printed:
/// how many cases they tried.
pub(crate) fn run() -> Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["test", "--workspace", "--locked", "--no-fail-fast", "--", "--show-output"])
        .current_dir(source::root())
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        println!("{text}");
        bail!("tests failed: {}", output.status);
    }
    let outcome = Outcome::of(&text);
    for (test, line) in &outcome.counts {
        println!("  {test}: {line}");
    }
    println!("{} tests passed, {} of them with counts", outcome.passed, outcome.counted());
    Ok(())
}

/// What a run of the tests printed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome<'a> {
    passed: u64,
    /// Each line that a test printed, with the test's name.
    counts: Vec<(&'a str, &'a str)>,
}

impl<'a> Outcome<'a> {
    fn of(text: &'a str) -> Self {
        let mut outcome = Self::default();
        let mut test = None;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("---- ") {
                test = name.strip_suffix(" stdout ----");
            } else if line.is_empty() || line == "successes:" {
                test = None;
            } else if let Some(test) = test {
                outcome.counts.push((test, line));
            } else if let Some(result) = line.strip_prefix("test result: ok. ") {
                let passed = result.split_whitespace().next().and_then(|word| word.parse().ok());
                outcome.passed += passed.unwrap_or(0);
            }
        }
        outcome
    }

    fn counted(&self) -> usize {
        let mut names: Vec<&str> = self.counts.iter().map(|(test, _)| *test).collect();
        names.dedup();
        names.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_what_tests_printed() {
        let text = "\
running 2 tests
test a ... ok

successes:

---- a stdout ----
cases: 7
seed 1

---- b stdout ----
cases: 2


successes:
    a

test result: ok. 2 passed; 0 failed; 0 ignored

test result: ok. 3 passed; 0 failed; 0 ignored
";
        let counts = vec![("a", "cases: 7"), ("a", "seed 1"), ("b", "cases: 2")];
        let outcome = Outcome::of(text);
        assert_eq!(outcome, Outcome { passed: 5, counts });
        assert_eq!(outcome.counted(), 2);
    }
}
