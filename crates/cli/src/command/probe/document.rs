//! What a probe reports.

use std::io;

use p2pdma::{Bdf, Plan, Probed, ProviderId};
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::Format;
use crate::failure::Result;
use crate::output::Output;
use crate::output::csv::Csv;
use crate::output::document::ErrorDocument;
use crate::output::refusal;
use crate::output::table;
use crate::output::units;

/// What `probe` prints as JSON, whether the path passed or not.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ProbeDocument {
    /// Whether every byte arrived.
    passed: bool,
    /// The SSD, as it was named.
    client: String,
    /// Its address; null for what is on several devices.
    client_bdf: Option<String>,
    /// The memory: `0000:03:00.0/p2pmem`.
    provider: String,
    /// How the SSD gets there, by the verdict.
    path: String,
    /// Transfers into the memory whose bytes were all right.
    fills: u32,
    /// Transfers out of it whose bytes were all right; 0 without --write.
    drains: u32,
    /// Bytes that were compared.
    compared_bytes: u64,
    /// What was wrong.
    error: Option<ErrorDocument>,
}

impl ProbeDocument {
    pub(super) fn new(
        client: &str,
        bdf: Option<Bdf>,
        provider: ProviderId,
        plan: &Plan,
        outcome: &Result<Probed>,
    ) -> Self {
        let probed = outcome.as_ref().copied().unwrap_or_default();
        let reach = plan.legs.first().map(|leg| refusal::reach(&leg.reach));
        Self {
            passed: outcome.is_ok(),
            client: client.to_owned(),
            client_bdf: bdf.map(|bdf| bdf.to_string()),
            provider: provider.to_string(),
            path: reach.unwrap_or_default(),
            fills: probed.fills,
            drains: probed.drains,
            compared_bytes: probed.bytes,
            error: outcome.as_ref().err().map(crate::failure::Failure::document),
        }
    }

    /// Prints it. As a table it says nothing about a failure: that is told on standard error.
    pub(super) fn print(&self, out: &Output) -> io::Result<()> {
        match out.format() {
            Format::Table if self.passed => out.text(&self.text()),
            Format::Table => Ok(()),
            Format::Csv => {
                let mut csv = Csv::new(&["passed", "client", "provider", "fills", "drains"]);
                csv.row([
                    self.passed.to_string(),
                    self.client.clone(),
                    self.provider.clone(),
                    self.fills.to_string(),
                    self.drains.to_string(),
                ]);
                out.text(csv.text())
            }
            Format::Json | Format::Jsonl => out.document("p2pdma/probe", self),
        }
    }

    fn text(&self) -> String {
        let times = |count| units::count(u64::from(count), "transfer");
        let out = match self.drains {
            0 => "not tested: --write does".to_owned(),
            count => format!("{}, every byte right", times(count)),
        };
        table::facts(&[
            ("passed", format!("{} and {}", self.client, self.provider)),
            ("path", self.path.clone()),
            ("into it", format!("{}, every byte right", times(self.fills))),
            ("out of it", out),
        ])
    }
}
