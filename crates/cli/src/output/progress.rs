//! How far an activity is, on standard error.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::args::ProgressForm;
use crate::output::document::Envelope;
use crate::output::units::ratio;

/// How much there is to do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Amount {
    Bytes(u64),
    Steps(u64),
}

/// Shows how far an activity is.
#[derive(Debug)]
pub(crate) struct Progress {
    label: &'static str,
    amount: Amount,
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
    activity: &'static str,
    /// How much of it is done: 0 to 1.
    done_share: f64,
    /// Bytes that are done; null if it is not a matter of bytes.
    done_bytes: Option<u64>,
    /// Bytes in all; null if it is not a matter of bytes.
    total_bytes: Option<u64>,
}

/// At most ten objects a second.
const PAUSE: Duration = Duration::from_millis(100);

impl Progress {
    /// An activity.
    pub(crate) fn new(
        form: ProgressForm,
        quiet: bool,
        label: &'static str,
        amount: Amount,
    ) -> Self {
        let form = match form {
            _ if quiet => Form::None,
            ProgressForm::Auto if std::io::stderr().is_terminal() => Form::Bar(bar(label, amount)),
            ProgressForm::Auto | ProgressForm::Never => Form::None,
            ProgressForm::Always => Form::Lines(1),
            ProgressForm::Json => Form::Json(Instant::now()),
        };
        Self { label, amount, form }
    }

    /// So many bytes or steps are done.
    pub(crate) fn at(&mut self, done: u64) {
        let (Amount::Bytes(all) | Amount::Steps(all)) = self.amount;
        match &mut self.form {
            Form::None => {}
            Form::Bar(bar) => bar.set_position(done),
            Form::Lines(next) => {
                let tenths = u128::from(done) * 10 / u128::from(all.max(1));
                while u128::from(*next) <= tenths.min(10) {
                    anstream::eprintln!("{} {} %", self.label, *next * 10);
                    *next += 1;
                }
            }
            Form::Json(last) => {
                if last.elapsed() >= PAUSE || done >= all {
                    *last = Instant::now();
                    let body = ProgressDocument::new(self.label, self.amount, done);
                    let line = serde_json::to_string(&Envelope::new("p2pdma/progress", &body));
                    anstream::eprintln!("{}", line.unwrap_or_default());
                }
            }
        }
    }
}

impl ProgressDocument {
    fn new(activity: &'static str, amount: Amount, done: u64) -> Self {
        let (Amount::Bytes(all) | Amount::Steps(all)) = amount;
        let bytes = matches!(amount, Amount::Bytes(_));
        Self {
            activity,
            done_share: ratio(done, all.max(1)),
            done_bytes: bytes.then_some(done),
            total_bytes: bytes.then_some(all),
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

fn bar(label: &'static str, amount: Amount) -> ProgressBar {
    let (all, template) = match amount {
        Amount::Bytes(all) => (
            all,
            "{msg:>9} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}",
        ),
        Amount::Steps(all) => (all, "{msg:>9} {wide_bar} {pos}/{len}"),
    };
    let bar = ProgressBar::new(all).with_message(label);
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
