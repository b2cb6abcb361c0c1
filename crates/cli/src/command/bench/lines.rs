//! The rows as comma-separated values.

use super::baseline::ChangeDocument;
use super::blocks::BlocksDocument;
use super::document::{PathDocument, RowDocument};
use super::interference::AccessDocument;
use crate::command::copy::ModelledDocument;
use crate::output::csv::{Csv, optional};

const COLUMNS: [&str; 31] = [
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
    "threads",
    "measured_gb_per_second_interval_lower",
    "measured_gb_per_second_interval_upper",
    "measured_gb_per_second_interval_confidence",
    "context_switches_per_gb",
    "application_gb_per_second_median",
    "application_latency_ns_median",
    "application_alone_gb_per_second_median",
    "application_alone_latency_ns_median",
    "baseline_ratio",
    "baseline_ratio_interval_lower",
    "baseline_ratio_interval_upper",
    "memory_controller_bytes_per_byte",
];

/// One line for each way of each row.
pub(super) fn csv(rows: &[RowDocument]) -> Csv {
    let mut csv = Csv::new(&COLUMNS);
    for row in rows {
        let application = row.application.as_ref();
        let (peer, bounce) = (&row.peer_to_peer, &row.through_host_memory);
        let beside = application.map(|it| it.beside_peer_to_peer);
        csv.row(line(row, "peer-to-peer", peer, beside, row.baseline.map(|it| it.peer_to_peer)));
        let beside = application.map(|it| it.beside_host_memory);
        let change = row.baseline.map(|it| it.through_host_memory);
        csv.row(line(row, "through-host-memory", bounce, beside, change));
    }
    csv
}

fn line(
    row: &RowDocument,
    name: &str,
    path: &PathDocument,
    beside: Option<AccessDocument>,
    change: Option<ChangeDocument>,
) -> Vec<String> {
    let modelled = path.modelled.as_ref();
    let latency = |at: usize| optional(modelled.map(|modelled| modelled.latencies()[at]));
    let (measured, blocks) = (path.measured_gb_per_second, path.measured_blocks);
    let mut line = vec![
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
    line.extend(BlocksDocument::cells(blocks.as_ref()));
    let interval = measured.map(|spread| spread.interval);
    line.extend([
        row.threads.to_string(),
        optional(interval.map(|interval| interval.lower)),
        optional(interval.map(|interval| interval.upper)),
        optional(interval.map(|interval| interval.confidence)),
        optional(blocks.and_then(|blocks| blocks.switches())),
    ]);
    let alone = row.application.as_ref().map(|it| it.alone);
    line.extend([beside, alone].into_iter().flat_map(|access| {
        let (rate, latency) = access.map(|it| (it.gb_per_second, it.latency_ns)).unzip();
        [rate, latency].map(|it| optional(it.map(|spread| spread.median)))
    }));
    line.extend([
        optional(change.map(|it| it.ratio)),
        optional(change.map(|it| it.interval.lower)),
        optional(change.map(|it| it.interval.upper)),
        optional(blocks.and_then(|blocks| blocks.memory())),
    ]);
    line
}
