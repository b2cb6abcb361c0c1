//! What blocks took and cost on a machine that is no simulation.

use p2pdma::Report;
use schemars::JsonSchema;
use serde::Serialize;

use super::document::{PathDocument, RowDocument};
use crate::command::pair::Spent;
use crate::output::csv::optional;
use crate::output::table;
use crate::output::units::{self, nanoseconds, ratio};

/// Blocks of all rounds of one way.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
pub(crate) struct BlocksDocument {
    /// How long blocks took from the start of their first request to the end of their last.
    latency_p50_ns: f64,
    latency_p99_ns: f64,
    latency_p999_ns: f64,
    /// System calls that began and awaited the requests, two of which are a block.
    system_calls_per_block: f64,
    /// Processor time of this process, the kernel's work for it included; null if an application was part of it.
    processor_seconds_per_gb: Option<f64>,
    /// Context switches of this process's threads; null if an application was one of them.
    context_switches_per_gb: Option<f64>,
    /// What memory controllers read and wrote for each byte that was copied: for the whole machine, and without what
    /// caches answered. Null where they are not read.
    memory_controller_bytes_per_byte: Option<f64>,
}

impl BlocksDocument {
    pub(super) fn new(total: &Report, spent: Spent, is_alone: bool) -> Self {
        let latency = |share| nanoseconds(total.latency_at(share));
        let blocks = total.bytes.div_ceil(total.block.max(1)).max(1);
        let seconds = spent.processor.as_secs_f64();
        let per_gb = (is_alone && total.bytes > 0).then(|| ratio(total.bytes, 1_000_000_000));
        Self {
            latency_p50_ns: latency(0.5),
            latency_p99_ns: latency(0.99),
            latency_p999_ns: latency(0.999),
            system_calls_per_block: ratio(spent.calls, blocks),
            processor_seconds_per_gb: per_gb.map(|gb| seconds / gb),
            context_switches_per_gb: per_gb.map(|gb| ratio(spent.switches, 1) / gb),
            memory_controller_bytes_per_byte: spent
                .memory
                .filter(|_| is_alone && total.bytes > 0)
                .map(|bytes| bytes / ratio(total.bytes, 1)),
        }
    }

    pub(super) fn switches(&self) -> Option<f64> {
        self.context_switches_per_gb
    }

    pub(super) fn memory(&self) -> Option<f64> {
        self.memory_controller_bytes_per_byte
    }

    fn latencies(&self) -> [f64; 3] {
        [self.latency_p50_ns, self.latency_p99_ns, self.latency_p999_ns]
    }

    /// The cells of a line of CSV, empty on the fabric.
    pub(super) fn cells(blocks: Option<&Self>) -> [String; 5] {
        let latency = |at: usize| optional(blocks.map(|blocks| blocks.latencies()[at]));
        [
            latency(0),
            latency(1),
            latency(2),
            optional(blocks.map(|blocks| blocks.system_calls_per_block)),
            optional(blocks.and_then(|blocks| blocks.processor_seconds_per_gb)),
        ]
    }
}

/// What stands below the table, if memory controllers are not read for this reason.
pub(super) fn remark(unread: Option<&str>) -> String {
    match unread {
        None => {
            "memory controllers: of the whole machine, without what caches answered\n".to_owned()
        }
        Some(why) => format!("memory controllers: {why}; host bytes are counted by request\n"),
    }
}

/// A table with two lines for each row.
pub(super) fn text(rows: &[RowDocument]) -> String {
    let paths = rows.iter().flat_map(|row| [&row.peer_to_peer, &row.through_host_memory]);
    let is_counted = paths.into_iter().any(|path| memory(path).is_some());
    let mut header = vec![
        "block",
        "depth",
        "threads",
        "",
        "GB/s",
        "interval",
        "p50 us",
        "p99 us",
        "p99.9 us",
        "calls/block",
        "CPU s/GB",
        "switches/GB",
        "host bytes/byte",
        "ratio",
    ];
    if is_counted {
        header.push("controllers' bytes/byte");
    }
    let lines = rows.iter().flat_map(|row| {
        let lead =
            [units::bytes(row.block_bytes), row.queue_depth.to_string(), row.threads.to_string()];
        let ratio = number(row.measured_ratio, 2);
        let none = [const { String::new() }; 3];
        let mut pair = [
            line(lead, "peer", &row.peer_to_peer, ratio),
            line(none, "bounce", &row.through_host_memory, String::new()),
        ];
        if is_counted {
            for (line, path) in pair.iter_mut().zip([&row.peer_to_peer, &row.through_host_memory]) {
                line.push(number(memory(path), 2));
            }
        }
        pair
    });
    table::numbers(&header, lines)
}

fn memory(path: &PathDocument) -> Option<f64> {
    path.measured_blocks.as_ref()?.memory()
}

fn line(lead: [String; 3], name: &str, path: &PathDocument, ratio: String) -> Vec<String> {
    let (rate, blocks) = (path.measured_gb_per_second, path.measured_blocks);
    let interval = rate.map(|rate| rate.interval.text(3));
    let mut line = Vec::from(lead);
    line.extend([name.to_owned(), number(rate.map(|rate| rate.median), 3)]);
    line.push(interval.unwrap_or_default());
    line.extend([0, 1, 2].map(|at| number(blocks.map(|blocks| blocks.latencies()[at] / 1e3), 1)));
    line.push(number(blocks.map(|blocks| blocks.system_calls_per_block), 3));
    line.push(number(blocks.and_then(|blocks| blocks.processor_seconds_per_gb), 2));
    line.push(number(blocks.and_then(|blocks| blocks.switches()), 0));
    line.extend([number(path.host_memory_bytes_per_byte, 2), ratio]);
    line
}

fn number(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}
