//! `explain`: what a reason code means.

use clap::Args;
use p2pdma::topology::ReasonCode;
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::Format;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::output::csv::Csv;
use crate::output::style::{LABEL, styled};
use crate::output::table;

/// Explains a reason code; without one, lists them all.
#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// The code, with or without P2P-, in any case
    code: Option<String>,
}

/// What `explain` prints as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ExplainDocument {
    /// The codes: the one that was asked for, or all.
    codes: Vec<CodeDocument>,
}

/// A reason code.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CodeDocument {
    /// The code, with `P2P-`.
    code: String,
    /// What it means, in a line.
    summary: &'static str,
    /// What it means, how it is found, and what helps.
    explanation: &'static str,
}

impl Explain {
    /// Runs the command.
    pub(crate) fn run(&self, context: &mut Context) -> Result<()> {
        let codes = match &self.code {
            None => ReasonCode::ALL.to_vec(),
            Some(text) => vec![parse(text)?],
        };
        let documents: Vec<CodeDocument> = codes.into_iter().map(document).collect();
        let out = &context.out;
        match out.format() {
            Format::Table => out.text(&self.text(&documents))?,
            Format::Csv => {
                let mut csv = Csv::new(&["code", "summary", "explanation"]);
                for code in &documents {
                    csv.row([&code.code, code.summary, code.explanation]);
                }
                out.text(csv.text())?;
            }
            Format::Json => {
                out.document("p2pdma/explain", &ExplainDocument { codes: documents })?
            }
            Format::Jsonl => {
                for code in &documents {
                    out.document("p2pdma/explain-code", code)?;
                }
            }
        }
        Ok(())
    }

    fn text(&self, codes: &[CodeDocument]) -> String {
        let whole = |code: &CodeDocument| {
            let head = styled(LABEL, &code.code);
            format!("{head}: {}\n\n{}\n", code.summary, code.explanation)
        };
        match (&self.code, codes) {
            (Some(_), [code]) => whole(code),
            _ => table::rows(
                codes.iter().map(|code| vec![code.code.clone(), code.summary.to_owned()]),
            ),
        }
    }
}

fn parse(text: &str) -> Result<ReasonCode> {
    text.parse::<ReasonCode>().map_err(|error| {
        let failure = Failure::usage(format!("'{text}' is no reason code"));
        match error.suggestion {
            Some(code) => failure.remedy(format!("did you mean {code}?")),
            None => failure.remedy("'p2pdma explain' without a code lists them all"),
        }
    })
}

fn document(code: ReasonCode) -> CodeDocument {
    CodeDocument {
        code: code.to_string(),
        summary: code.summary(),
        explanation: code.explanation(),
    }
}
