//! Every command in README and guide, run as it stands there, and what it prints compared.
//!
//! Commands are lines that begin with `$ ` in a block fenced as `console`; what follows is what they print
//! on both outputs, with `[..]` for what changes within a line and `...` for lines left out. A command
//! exits with 0, or as its comment says: `# exits with 3`. A `<<'END'` reads up to a line `END`. The
//! commands of a page share a folder and the data of namespaces.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use snapbox::{Assert, IntoData as _};

use crate::source;

/// The one that runs this.
const OURSELVES: &str = "cargo xtask ci";

/// Runs the commands of all pages.
pub(crate) fn run() -> Result<()> {
    let root = source::root();
    let mut pages = vec![root.join("README.md")];
    for entry in std::fs::read_dir(root.join("docs/guide"))? {
        pages.push(entry?.path());
    }
    pages.sort();
    let mut count = 0;
    for page in &pages {
        let name = page.strip_prefix(&root).unwrap_or(page).display().to_string();
        let text = std::fs::read_to_string(page).with_context(|| name.clone())?;
        let examples = examples(&text);
        let folder = workplace(&root)?;
        for example in examples.iter().filter(|example| example.command != OURSELVES) {
            example.run(folder.path()).with_context(|| format!("{name}:{}", example.line))?;
        }
        println!("{name}: {} commands print what they should", examples.len());
        count += examples.len();
    }
    println!("{count} commands on {} pages", pages.len());
    Ok(())
}

/// A folder within the project, so that cargo finds it, with what pages name beside it.
fn workplace(root: &Path) -> Result<tempfile::TempDir> {
    let parent = root.join("target");
    std::fs::create_dir_all(&parent)?;
    let folder = tempfile::Builder::new().prefix("docs-").tempdir_in(&parent)?;
    for name in [".ci", "crates", "topologies", "LICENSE-APACHE"] {
        std::os::unix::fs::symlink(root.join(name), folder.path().join(name))?;
    }
    Ok(folder)
}

/// A command and what it prints.
#[derive(Debug, PartialEq, Eq)]
struct Example {
    line: usize,
    command: String,
    output: String,
}

/// Where commands are found: the guide's `p2pdma` is the one that was built for release.
fn path() -> Result<OsString> {
    let built = source::target().join("release");
    let others = std::env::var_os("PATH").unwrap_or_default();
    let all = std::iter::once(built).chain(std::env::split_paths(&others));
    std::env::join_paths(all).context("PATH cannot be extended")
}

fn examples(text: &str) -> Vec<Example> {
    let mut found: Vec<Example> = Vec::new();
    let (mut inside, mut rest) = (false, Rest::Output);
    for (number, line) in (1..).zip(text.lines()) {
        if let Some(kind) = line.strip_prefix("```") {
            (inside, rest) = (kind == "console", Rest::Output);
        } else if !inside {
            continue;
        } else if let (Rest::Output, Some(command)) = (rest, line.strip_prefix("$ ")) {
            rest = Rest::after(command, rest);
            let (command, output) = (command.to_owned(), String::new());
            found.push(Example { line: number, command, output });
        } else if let Some(last) = found.last_mut() {
            match rest {
                Rest::Output => last.output.push_str(&format!("{line}\n")),
                Rest::Line | Rest::Document => last.command.push_str(&format!("\n{line}")),
            }
            rest = Rest::after(line, rest);
        }
    }
    found
}

/// What a line belongs to.
#[derive(Clone, Copy)]
enum Rest {
    Output,
    /// The command, whose last line ended with a backslash.
    Line,
    /// The command, which reads lines up to `END`.
    Document,
}

impl Rest {
    fn after(line: &str, before: Self) -> Self {
        match before {
            Self::Document if line != "END" => Self::Document,
            _ if line.ends_with("<<'END'") => Self::Document,
            Self::Output if !line.ends_with('\\') => Self::Output,
            _ if line.ends_with('\\') => Self::Line,
            _ => Self::Output,
        }
    }
}

impl Example {
    fn run(&self, folder: &Path) -> Result<()> {
        let output = Command::new("sh")
            .arg("-c")
            .arg(format!("exec 2>&1\n{}", self.command))
            .current_dir(folder)
            .env("PATH", path()?)
            .env("XDG_STATE_HOME", folder.join("state"))
            .env("CARGO_TERM_QUIET", "true")
            .env_remove("P2PDMA_STATE")
            .output()
            .context("cannot run sh")?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        let status = output.status.code();
        if status != Some(self.status()) {
            bail!("`{}` ended with {status:?}:\n{printed}", self.command);
        }
        if self.output.is_empty() {
            return Ok(());
        }
        let shown = self.output.as_str().into_data();
        if let Err(difference) = Assert::new().try_eq(None, printed.into_data(), shown) {
            bail!("`{}` prints something else:\n{difference}", self.command);
        }
        Ok(())
    }

    /// The exit status that the command's comment tells.
    fn status(&self) -> i32 {
        let told = self.command.rsplit_once("# exits with ");
        told.and_then(|(_, number)| number.parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_and_outputs_are_told_apart() {
        let text = "\
a
```console
$ one \\
  --two
out
$ cat <<'END'
$ in
END
$ three  # exits with 3
```
```sh
$ no
```
";
        let example = |line, command: &str, output: &str| Example {
            line,
            command: command.to_owned(),
            output: output.to_owned(),
        };
        let expected = [
            example(3, "one \\\n  --two", "out\n"),
            example(6, "cat <<'END'\n$ in\nEND", ""),
            example(9, "three  # exits with 3", ""),
        ];
        assert_eq!(examples(text), expected);
        assert_eq!(expected.map(|example| example.status()), [0, 0, 3]);
    }

    #[test]
    fn another_output_or_status_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let run = |command: &str, output: &str| {
            let (command, output) = (command.to_owned(), output.to_owned());
            Example { line: 1, command, output }.run(folder.path())
        };
        run("echo a; echo b >&2", "a\nb\n").unwrap();
        run("echo took 3 s", "took [..] s\n").unwrap();
        run("exit 3  # exits with 3", "").unwrap();
        assert!(run("echo a", "b\n").is_err());
        assert!(run("false", "").is_err());
        assert!(run("true  # exits with 3", "").is_err());
    }
}
