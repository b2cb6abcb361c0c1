//! QEMU's process: it does not outlive its owner.

use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};

use crate::error::Error;

const REMEDY: &str = "give another QEMU with --qemu";

/// A running QEMU.
#[derive(Debug)]
pub(super) struct Process(Child);

impl Process {
    /// Starts it in its folder. One that a person talks to has the terminal; any other one is in a
    /// process group of its own, so that Ctrl-C comes to us alone and we end it in order.
    pub(super) fn start(
        mut command: Command,
        folder: &Path,
        interactive: bool,
    ) -> Result<Self, Error> {
        command.current_dir(folder).stderr(Stdio::piped());
        if !interactive {
            command.stdin(Stdio::null()).stdout(Stdio::null()).process_group(0);
        }
        let program = command.get_program().display().to_string();
        let child =
            command.spawn().map_err(|source| Error::Program { program, source, remedy: REMEDY })?;
        Ok(Self(child))
    }

    /// What it says when something is wrong; once.
    pub(super) fn messages(&mut self) -> Option<ChildStderr> {
        self.0.stderr.take()
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, Error> {
        self.0.try_wait().map_err(|source| Error::Program {
            program: "QEMU".to_owned(),
            source,
            remedy: REMEDY,
        })
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) {
        // Both fail only if it has ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
