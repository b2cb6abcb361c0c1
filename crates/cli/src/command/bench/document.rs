//! What the benchmark reports.

use schemars::JsonSchema;
use serde::Serialize;

use super::blocks::{self, BlocksDocument};
use crate::command::copy::ModelledDocument;
use crate::output::csv::{Csv, optional};
use crate::output::document::ErrorDocument;
use crate::output::style::{LABEL, styled};
use crate::output::table;
use crate::output::units;

/// What `bench` prints as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct BenchDocument {
    /// The machine.
    machine: String,
    /// The namespace that is read.
    source: String,
    /// The namespace that is written.
    destination: String,
    /// Bytes of a round.
    round_bytes: u64,
    /// A row for each size and depth; those that were complete, if it was broken off.
    pub(crate) rows: Vec<RowDocument>,
    /// Why it was broken off.
    pub(crate) error: Option<ErrorDocument>,
}

/// One size and depth, both ways.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RowDocument {
    /// Bytes of one operation.
    pub(super) block_bytes: u64,
    /// Blocks under way at once.
    pub(super) queue_depth: u32,
    /// Bytes of a round.
    round_bytes: u64,
    /// Rounds of each way, in turns.
    rounds: u32,
    /// From SSD to SSD.
    pub(super) peer_to_peer: PathDocument,
    /// Through host memory.
    pub(super) through_host_memory: PathDocument,
    /// The modelled rate of peer to peer, as a multiple of the bounce's.
    modelled_ratio: Option<f64>,
    /// The same of the measured medians.
    pub(super) measured_ratio: Option<f64>,
}

/// One way.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PathDocument {
    /// Payload counted in host memory for each byte that was copied.
    pub(crate) host_memory_bytes_per_byte: Option<f64>,
    /// Payload counted on the links of root ports for each byte that was copied.
    pub(crate) root_port_bytes_per_byte: Option<f64>,
    /// By the fabric's clock; null without a timing model, and for a machine that is none.
    pub(crate) modelled: Option<ModelledDocument>,
    /// By this machine's clock: on the fabric what the simulation costs. The rounds' quartiles.
    pub(crate) measured_gb_per_second: Option<Spread>,
    /// What blocks took and cost; null on the fabric, whose blocks take modelled time.
    pub(crate) measured_blocks: Option<BlocksDocument>,
}

/// The middle half of several figures.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(crate) struct Spread {
    /// A quarter of them are below.
    pub(super) lower_quartile: f64,
    pub(super) median: f64,
    /// A quarter of them are above.
    pub(super) upper_quartile: f64,
}

impl Spread {
    /// Of rates in bytes per second; sorts them. `None` without any.
    pub(crate) fn of(rates: &mut [f64]) -> Option<Self> {
        rates.sort_by(f64::total_cmp);
        let at = |quarter: usize| {
            // Between the two nearest, in proportion.
            let place = (rates.len().checked_sub(1)?) * quarter;
            let (below, part) = (place / 4, place % 4);
            let low = *rates.get(below)?;
            let high = *rates.get(below + 1).unwrap_or(&low);
            Some((low + (high - low) * [0.0, 0.25, 0.5, 0.75][part]) / 1e9)
        };
        Some(Self { lower_quartile: at(1)?, median: at(2)?, upper_quartile: at(3)? })
    }
}

impl RowDocument {
    pub(crate) fn new(
        block_bytes: u64,
        queue_depth: u32,
        round_bytes: u64,
        rounds: u32,
        peer_to_peer: PathDocument,
        through_host_memory: PathDocument,
    ) -> Self {
        let modelled = |path: &PathDocument| Some(path.modelled.as_ref()?.gb_per_second());
        let measured = |path: &PathDocument| Some(path.measured_gb_per_second?.median);
        let ratio = |of: &dyn Fn(&PathDocument) -> Option<f64>| {
            Some(of(&peer_to_peer)? / of(&through_host_memory)?)
        };
        let (modelled_ratio, measured_ratio) = (ratio(&modelled), ratio(&measured));
        Self {
            block_bytes,
            queue_depth,
            round_bytes,
            rounds,
            peer_to_peer,
            through_host_memory,
            modelled_ratio,
            measured_ratio,
        }
    }
}

impl BenchDocument {
    pub(crate) fn new(
        machine: String,
        source: String,
        destination: String,
        round_bytes: u64,
    ) -> Self {
        Self { machine, source, destination, round_bytes, rows: Vec::new(), error: None }
    }

    /// Two tables: time on the fabric, and time on this machine; of this machine, one. Nothing if nothing was measured.
    pub(crate) fn text(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let Self { machine, source, destination, .. } = self;
        let bytes = units::bytes(self.round_bytes);
        if self.rows.iter().all(|row| row.peer_to_peer.measured_blocks.is_some()) {
            let title = format!("{source} to {destination} on {machine}, rounds of {bytes}\n\n");
            return title + &blocks::text(&self.rows);
        }
        let mut text =
            format!("{source} to {destination} on machine '{machine}', rounds of {bytes}\n\n");
        text.push_str(&format!("{} (by the fabric's clock)\n", styled(LABEL, "modelled")));
        text.push_str(&self.modelled());
        text.push_str(&format!(
            "\n{} (by this machine's clock, which carries the simulation): median, quartiles\n",
            styled(LABEL, "measured")
        ));
        text.push_str(&self.measured());
        text
    }

    fn modelled(&self) -> String {
        let header = [
            "block",
            "depth",
            "",
            "GB/s",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "host bytes/byte",
            "ratio",
        ];
        let mut rows = Vec::new();
        for row in &self.rows {
            let ratio = row.modelled_ratio.map_or_else(dash, |ratio| format!("{ratio:.2}"));
            let lead = [units::bytes(row.block_bytes), row.queue_depth.to_string()];
            rows.push(modelled_row(lead, "peer", &row.peer_to_peer, ratio));
            let lead = [String::new(), String::new()];
            rows.push(modelled_row(lead, "bounce", &row.through_host_memory, String::new()));
        }
        table::numbers(&header, rows)
    }

    fn measured(&self) -> String {
        let header = ["block", "depth", "peer GB/s", "", "bounce GB/s", "", "ratio"];
        let rows = self.rows.iter().map(|row| {
            let [peer, bounce] = [&row.peer_to_peer, &row.through_host_memory]
                .map(|path| spread(path.measured_gb_per_second));
            let lead = vec![units::bytes(row.block_bytes), row.queue_depth.to_string()];
            let ratio = row.measured_ratio.map_or_else(dash, |ratio| format!("{ratio:.2}"));
            [lead, peer, bounce, vec![ratio]].concat()
        });
        table::numbers(&header, rows)
    }

    /// One line for each way of each row.
    pub(crate) fn csv(&self) -> Csv {
        let mut csv = Csv::new(&[
            "path",
            "block_bytes",
            "queue_depth",
            "rounds",
            "round_bytes",
            "modelled_gb_per_second",
            "modelled_latency_p50_ns",
            "modelled_latency_p99_ns",
            "modelled_latency_p999_ns",
            "host_memory_bytes_per_byte",
            "measured_gb_per_second_lower_quartile",
            "measured_gb_per_second_median",
            "measured_gb_per_second_upper_quartile",
            "measured_latency_p50_ns",
            "measured_latency_p99_ns",
            "measured_latency_p999_ns",
            "system_calls_per_block",
            "processor_seconds_per_gb",
        ]);
        for row in &self.rows {
            let paths = [
                ("peer-to-peer", &row.peer_to_peer),
                ("through-host-memory", &row.through_host_memory),
            ];
            for (name, path) in paths {
                let modelled = path.modelled.as_ref();
                let latency =
                    |at: usize| optional(modelled.map(|modelled| modelled.latencies()[at]));
                let measured = path.measured_gb_per_second;
                let blocks = path.measured_blocks;
                let mut row = vec![
                    name.to_owned(),
                    row.block_bytes.to_string(),
                    row.queue_depth.to_string(),
                    row.rounds.to_string(),
                    row.round_bytes.to_string(),
                    optional(modelled.map(ModelledDocument::gb_per_second)),
                    latency(0),
                    latency(1),
                    latency(2),
                    optional(path.host_memory_bytes_per_byte),
                    optional(measured.map(|spread| spread.lower_quartile)),
                    optional(measured.map(|spread| spread.median)),
                    optional(measured.map(|spread| spread.upper_quartile)),
                ];
                row.extend(BlocksDocument::cells(blocks.as_ref()));
                csv.row(row);
            }
        }
        csv
    }
}

fn dash() -> String {
    "-".to_owned()
}

fn modelled_row(lead: [String; 2], name: &str, path: &PathDocument, ratio: String) -> Vec<String> {
    let mut row = Vec::from(lead);
    row.push(name.to_owned());
    match &path.modelled {
        None => row.extend(std::iter::repeat_with(dash).take(4)),
        Some(modelled) => {
            row.push(format!("{:.2}", modelled.gb_per_second()));
            row.extend(modelled.latencies().map(|nanoseconds| format!("{:.1}", nanoseconds / 1e3)));
        }
    }
    row.push(path.host_memory_bytes_per_byte.map_or_else(dash, |ratio| format!("{ratio:.2}")));
    row.push(ratio);
    row
}

fn spread(figures: Option<Spread>) -> Vec<String> {
    match figures {
        None => vec![dash(), String::new()],
        Some(Spread { lower_quartile, median, upper_quartile }) => {
            vec![format!("{median:.2}"), format!("({lower_quartile:.2} to {upper_quartile:.2})")]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_are_interpolated() {
        let spread = |rates: &mut [f64]| {
            let Spread { lower_quartile, median, upper_quartile } = Spread::of(rates).unwrap();
            [lower_quartile, median, upper_quartile].map(|rate| rate * 1e9)
        };
        let near = |found: [f64; 3], expected: [f64; 3]| {
            found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 1e-6)
        };
        assert!(near(spread(&mut [5.0, 1.0, 3.0, 2.0, 4.0]), [2.0, 3.0, 4.0]));
        assert!(near(spread(&mut [1.0, 2.0]), [1.25, 1.5, 1.75]));
        assert!(near(spread(&mut [7.0]), [7.0, 7.0, 7.0]));
        assert!(Spread::of(&mut []).is_none());
    }
}
