//! How far a transfer is, on standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::args::ProgressForm;
use crate::output::document::Envelope;

/// Shows how far a transfer is.
#[derive(Debug)]
pub(crate) struct Progress {
    label: &'static str,
    len: u64,
    form: Form,
}

#[derive(Debug)]
enum Form {
    None,
    Bar(ProgressBar),
    /// The next tenth to be told.
    Lines(u64),
    /// When the last object was written.
    Json(Instant),
}

/// One line of `--progress json`.
#[derive(Debug, Serialize, schemars::JsonSchema)]
pub(crate) struct ProgressDocument {
    /// What is going on: copying, verifying, measuring.
    activity: String,
    /// Bytes that are done.
    done_bytes: u64,
    /// Bytes in all.
    total_bytes: u64,
}

/// At most ten objects a second.
const PAUSE: Duration = Duration::from_millis(100);

impl Progress {
    /// An activity on `len` bytes.
    pub(crate) fn new(form: ProgressForm, quiet: bool, label: &'static str, len: u64) -> Self {
        let form = match form {
            _ if quiet => Form::None,
            ProgressForm::Auto if std::io::stderr().is_terminal() => Form::Bar(bar(label, len)),
            ProgressForm::Auto | ProgressForm::Never => Form::None,
            ProgressForm::Always => Form::Lines(1),
            ProgressForm::Json => Form::Json(Instant::now()),
        };
        Self { label, len, form }
    }

    /// So many bytes are done.
    pub(crate) fn at(&mut self, done: u64) {
        match &mut self.form {
            Form::None => {}
            Form::Bar(bar) => bar.set_position(done),
            Form::Lines(next) => {
                while self.len > 0 && done.saturating_mul(10) >= self.len.saturating_mul(*next) {
                    anstream::eprintln!("{} {} %", self.label, *next * 10);
                    *next += 1;
                }
            }
            Form::Json(last) => {
                if last.elapsed() >= PAUSE || done >= self.len {
                    *last = Instant::now();
                    let body = ProgressDocument {
                        activity: self.label.to_owned(),
                        done_bytes: done,
                        total_bytes: self.len,
                    };
                    let line = serde_json::to_string(&Envelope::new("p2pdma/progress", &body));
                    anstream::eprintln!("{}", line.unwrap_or_default());
                }
            }
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Form::Bar(bar) = &self.form {
            bar.finish_and_clear();
        }
    }
}

fn bar(label: &'static str, len: u64) -> ProgressBar {
    let template =
        "{msg:>9} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";
    let bar = ProgressBar::new(len).with_message(label);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
