//! What a run of the lab shows while it goes on.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use p2pdma_lab::{Observer, Step, Stream};

use crate::failure::{Failure, Result};
use crate::output::Output;
use crate::output::progress::{Amount, Progress};

/// Shows steps on standard error, and passes on what the job writes.
pub(crate) struct Watcher<'a> {
    out: &'a Output,
    /// Whether the job's output goes to ours.
    pass_on: bool,
    /// Raised when nobody reads any more.
    stop: &'a AtomicBool,
    progress: Option<(String, Progress)>,
    /// Where the guest's console goes, as it comes: it is wanted most where the guest does not end well.
    serial: Option<File>,
    /// The kernel's version, once it is up.
    pub(crate) kernel: Option<String>,
}

impl<'a> Watcher<'a> {
    pub(crate) fn new(out: &'a Output, pass_on: bool, stop: &'a AtomicBool) -> Self {
        Self { out, pass_on, stop, progress: None, serial: None, kernel: None }
    }

    /// The same, with a file for the guest's console.
    pub(crate) fn serial(mut self, path: Option<&Path>) -> Result<Self> {
        let create = |path| File::create(path).map_err(|error| Failure::file(path, &error));
        self.serial = path.map(create).transpose()?;
        Ok(self)
    }

    fn download(&mut self, what: &str, done: u64, total: u64) {
        if self.progress.as_ref().is_none_or(|(shown, _)| *shown != what) {
            self.out.note(&format!("fetching {what}, {} MB", total / 1_000_000));
            let progress = self.out.progress("fetching", Amount::Bytes(total));
            self.progress = Some((what.to_owned(), progress));
        }
        if let Some((_, progress)) = &mut self.progress {
            progress.at(done);
        }
    }
}

impl Observer for Watcher<'_> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Download { what, done, total } => return self.download(what, *done, *total),
            Step::Started { kernel, .. } => self.kernel = Some(kernel.clone()),
            _ => {}
        }
        self.progress = None;
        match step {
            Step::Boot { .. } | Step::Started { .. } | Step::Ended { .. } => {
                self.out.detail(&step.to_string());
            }
            _ => self.out.note(&step.to_string()),
        }
    }

    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let written = match (stream, &mut self.serial) {
            (Stream::Serial, Some(file)) => file.write_all(bytes),
            (Stream::Out, _) if self.pass_on => self.out.pass_on(bytes),
            (Stream::Err, _) if self.pass_on => self.out.pass_on_error(bytes),
            _ => Ok(()),
        };
        if written.is_err() {
            self.stop.store(true, Ordering::Relaxed);
        }
    }
}
