//! A folder to run the command in, and what it answers.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// The binary.
pub(crate) const P2PDMA: &str = env!("CARGO_BIN_EXE_p2pdma");

/// A folder of its own, with state of its own, in which commands run.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Self {
        Self(tempfile::Builder::new().prefix("p2pdma-cli-").tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), content).unwrap();
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        std::fs::symlink_metadata(self.path(name)).is_ok()
    }

    /// The names in the folder, or one in it, in order.
    pub(crate) fn names(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// How long a file is.
    pub(crate) fn len_of(&self, name: &str) -> u64 {
        std::fs::metadata(self.path(name)).unwrap().len()
    }

    /// How many bytes a file costs on the disk.
    pub(crate) fn cost(&self, name: &str) -> u64 {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(self.path(name)).unwrap().blocks() * 512
    }

    /// Writes a machine file like a preset's, with texts replaced.
    pub(crate) fn machine(&self, name: &str, preset: &str, changes: &[(&str, &str)]) {
        let mut text = preset_text(preset);
        for (from, to) in changes {
            assert!(text.contains(from), "{preset} has no {from}");
            text = text.replace(from, to);
        }
        self.write(name, text);
    }

    /// The default machine with namespaces of 16 MiB, as `small.toml`.
    pub(crate) fn small(self) -> Self {
        self.machine(
            "small.toml",
            "default",
            &[("\"default\"", "\"small\""), ("size = \"1G\"", "size = \"16M\"")],
        );
        self
    }

    /// A command to run here, which sees nothing of the caller's settings.
    pub(crate) fn prepare(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        for name in
            ["P2PDMA_OUTPUT", "P2PDMA_FABRIC", "P2PDMA_PLATFORM", "P2PDMA_STATE", "NO_COLOR"]
        {
            command.env_remove(name);
        }
        for name in ["CLICOLOR", "CLICOLOR_FORCE", "COLUMNS"] {
            command.env_remove(name);
        }
        command.env("XDG_STATE_HOME", self.path("xdg"));
        command.current_dir(self.0.path()).stdin(Stdio::null());
        command
    }

    /// The command with these arguments, separated by spaces.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = self.prepare(P2PDMA);
        command.args(line.split_whitespace());
        command
    }

    /// Runs the command with these arguments.
    pub(crate) fn run(&self, line: &str) -> Ran {
        Ran::of(line, self.command(line).output().unwrap())
    }

    /// Runs a script of the shell, in which `$P` is the command.
    pub(crate) fn shell(&self, script: &str) -> Ran {
        let mut shell = self.prepare("sh");
        shell.args(["-c", script]).env("P", P2PDMA);
        Ran::of(script, shell.output().unwrap())
    }
}

/// Somebody who may not do everything: another user if this one is root.
pub(crate) struct Nobody {
    program: Vec<std::ffi::OsString>,
}

impl Nobody {
    /// `None`, and a word about it, if there is no way to become one.
    pub(crate) fn new(place: &Place) -> Option<Self> {
        use std::os::unix::fs::PermissionsExt as _;

        if !is_root() {
            return Some(Self { program: vec![P2PDMA.into()] });
        }
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(place.path(""), open).unwrap();
        let other_user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
        // The binary may lie where only root gets.
        for binary in [PathBuf::from(P2PDMA), place.path("p2pdma")] {
            if !binary.exists() {
                std::fs::copy(P2PDMA, &binary).unwrap();
            }
            let mut program: Vec<_> = other_user.map(Into::into).into();
            program.push(binary.into());
            let tried = place.prepare(&program[0]).args(&program[1..]).arg("--version").output();
            if tried.is_ok_and(|output| output.status.success()) {
                return Some(Self { program });
            }
        }
        println!("skipped: root can do everything, and setpriv does not work here");
        None
    }

    pub(crate) fn run(&self, place: &Place, line: &str) -> Ran {
        let mut command = place.prepare(&self.program[0]);
        command.args(&self.program[1..]).args(line.split_whitespace());
        Ran::of(line, command.output().unwrap())
    }
}

/// What a run answered.
pub(crate) struct Ran {
    line: String,
    pub(crate) status: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) fn of(line: &str, output: Output) -> Self {
        let ran = Self {
            line: line.to_owned(),
            status: output.status.code(),
            stdout: output.stdout,
            stderr: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!ran.stderr.contains("panicked"), "{line}: {}", ran.stderr);
        ran
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).unwrap()
    }

    /// It ended with a status.
    #[track_caller]
    pub(crate) fn ends(self, status: i32) -> Self {
        assert_eq!(
            self.status,
            Some(status),
            "{}\n{}{}",
            self.line,
            String::from_utf8_lossy(&self.stdout),
            self.stderr
        );
        self
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.ends(0)
    }

    /// Standard error has all of these texts.
    #[track_caller]
    pub(crate) fn complains(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "{}: no '{text}' in:\n{}", self.line, self.stderr);
        }
        self
    }

    /// Standard output has all of these texts.
    #[track_caller]
    pub(crate) fn prints(self, texts: &[&str]) -> Self {
        for text in texts {
            let printed = self.text();
            assert!(printed.contains(text), "{}: no '{text}' in:\n{printed}", self.line);
        }
        self
    }

    /// Standard output is empty.
    #[track_caller]
    pub(crate) fn prints_nothing(self) -> Self {
        assert!(self.stdout.is_empty(), "{}: {}", self.line, self.text());
        self
    }

    /// Standard output is one JSON document.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(self.text())
            .unwrap_or_else(|error| panic!("{}: {error}\n{}", self.line, self.text()))
    }
}

impl Ran {
    /// The error of the JSON document on standard output.
    #[track_caller]
    pub(crate) fn json_error(&self) -> Value {
        let document = self.json();
        let error = document["error"].clone();
        assert!(error.is_object(), "{}: {document}", self.line);
        error
    }
}

/// A preset's machine file.
pub(crate) fn preset_text(name: &str) -> String {
    let path = topologies().join(format!("{name}.toml"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The folder of the presets.
pub(crate) fn topologies() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topologies")
}

/// Bytes that no two seeds have in common (xorshift64*).
pub(crate) fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes()
    };
    let mut bytes: Vec<u8> =
        std::iter::repeat_with(&mut next).take(len.div_ceil(8)).flatten().collect();
    bytes.truncate(len);
    bytes
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether this process is root, who may do what others may not.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    uids.is_some_and(|uids| uids.split_whitespace().nth(1) == Some("0"))
}
