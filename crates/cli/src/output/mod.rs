//! Everything that is printed. Data go to standard output, all else to standard error.

pub(crate) mod bus;
pub(crate) mod csv;
pub(crate) mod document;
pub(crate) mod matrix;
pub(crate) mod progress;
pub(crate) mod refusal;
pub(crate) mod style;
pub(crate) mod svg;
pub(crate) mod table;
pub(crate) mod tree;
pub(crate) mod units;

use std::io::{self, Write};

use anstream::{AutoStream, ColorChoice};
use serde::Serialize;

use crate::args::{Format, Global, ProgressForm, When};
use crate::exit::Exit;
use crate::failure::Failure;
use document::{Envelope, FailureDocument};
use progress::{Amount, Progress};
use style::{ERROR, LABEL, styled};

/// Where and how to print.
#[derive(Debug)]
pub(crate) struct Output {
    format: Format,
    color: ColorChoice,
    progress: ProgressForm,
    quiet: bool,
    verbose: bool,
    /// Standard output carries the copied bytes themselves.
    to_stderr: bool,
}

impl Output {
    /// As the global options say.
    pub(crate) fn new(global: &Global) -> Self {
        let color = match global.color {
            When::Auto => ColorChoice::Auto,
            When::Always => ColorChoice::Always,
            When::Never => ColorChoice::Never,
        };
        Self {
            color,
            progress: global.progress,
            quiet: global.quiet,
            verbose: global.verbose > 0,
            ..Self::plain(global.output)
        }
    }

    /// In a format, without options.
    pub(crate) fn plain(format: Format) -> Self {
        Self {
            format,
            color: ColorChoice::Auto,
            progress: ProgressForm::Never,
            quiet: false,
            verbose: false,
            to_stderr: false,
        }
    }

    /// The format that was asked for.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// From now on data go to standard error: standard output is taken.
    pub(crate) fn leave_stdout(&mut self) {
        self.to_stderr = true;
    }

    /// Prints text that is data.
    pub(crate) fn text(&self, text: &str) -> io::Result<()> {
        if self.to_stderr {
            AutoStream::new(io::stderr().lock(), self.color).write_all(text.as_bytes())
        } else {
            let mut stdout = AutoStream::new(io::stdout().lock(), self.color);
            stdout.write_all(text.as_bytes())?;
            stdout.flush()
        }
    }

    /// Writes bytes that are somebody else's output, as they are.
    pub(crate) fn pass_on(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes)?;
        stdout.flush()
    }

    /// The same for its standard error.
    pub(crate) fn pass_on_error(&self, bytes: &[u8]) -> io::Result<()> {
        io::stderr().lock().write_all(bytes)
    }

    /// Prints a document: on one line as JSON lines, else over several.
    pub(crate) fn document<T: Serialize>(&self, schema: &'static str, body: &T) -> io::Result<()> {
        let envelope = Envelope::new(schema, body);
        let text = match self.format {
            Format::Jsonl => serde_json::to_string(&envelope),
            _ => serde_json::to_string_pretty(&envelope),
        };
        self.text(&format!("{}\n", text.map_err(io::Error::other)?))
    }

    /// Tells people something that is not data.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            self.complain(&format!("{text}\n"));
        }
    }

    /// Tells people something that only the curious want to know.
    pub(crate) fn detail(&self, text: &str) {
        if self.verbose && !text.is_empty() {
            self.complain(&format!("{text}\n"));
        }
    }

    /// Shows how far an activity is.
    pub(crate) fn progress(&self, label: &'static str, amount: Amount) -> Progress {
        Progress::new(self.progress, self.quiet, label, amount)
    }

    /// Says why a command failed, to people and, where data were asked for, as data.
    pub(crate) fn failure(&self, failure: &Failure) -> Exit {
        if !failure.is_silent() {
            self.complain(&failure_text(failure));
            if !failure.is_documented() {
                self.error_document(failure);
            }
        }
        failure.exit()
    }

    /// A failure as data, if data were asked for.
    pub(crate) fn error_document(&self, failure: &Failure) {
        if matches!(self.format, Format::Json | Format::Jsonl) {
            let body = FailureDocument { error: failure.document() };
            // If nobody reads it, the status still tells.
            let _ = self.document("p2pdma/error", &body);
        }
    }

    fn complain(&self, text: &str) {
        // Standard error is the last resort: there is nobody to tell that it failed.
        let _ = AutoStream::new(io::stderr().lock(), self.color).write_all(text.as_bytes());
    }
}

fn failure_text(failure: &Failure) -> String {
    let (code, message, details, remedy) = failure.parts();
    let head = match code.starts_with("P2P-") {
        true => format!("error[{code}]"),
        false => "error".to_owned(),
    };
    let mut text = format!("{}: {message}\n{details}", styled(ERROR, head));
    if let Some(remedy) = remedy {
        text.push_str(&format!("{}: {remedy}\n", styled(LABEL, "help")));
    }
    text
}
