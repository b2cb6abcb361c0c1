//! A copy's report for people, and as comma-separated values.

use std::io;

use p2pdma::Policy;
use serde::Serialize;

use super::document::{
    CopyDocument, HolesKind, MeasuredDocument, ModelledDocument, PathKind, Status,
};
use crate::args::Format;
use crate::output::Output;
use crate::output::csv::{Csv, optional};
use crate::output::table;
use crate::output::units::{self, exact_bytes};

impl CopyDocument {
    /// Prints it. As a table it says nothing about a failure: that is told on standard error.
    pub(crate) fn print(&self, out: &Output) -> io::Result<()> {
        match out.format() {
            Format::Table => out.text(&self.text()),
            Format::Csv => out.text(self.csv().text()),
            Format::Json | Format::Jsonl => out.document("p2pdma/copy", self),
        }
    }

    fn text(&self) -> String {
        let mut facts = vec![(self.headline(), self.movement())];
        facts.push(("path", self.path_text()));
        if let (Some(host), Some(root), Some(local), Some(through)) = (
            self.host_memory_bytes,
            self.root_port_bytes,
            self.peer_local_bytes,
            self.peer_through_root_bytes,
        ) {
            facts.push(("host memory", exact_bytes(host)));
            facts.push(("root ports", exact_bytes(root)));
            facts.push(("peer to peer", peers(local, through)));
        }
        facts.push((
            "blocks",
            format!(
                "{}, at most {} under way at each end",
                units::bytes(self.block_bytes),
                self.queue_depth
            ),
        ));
        if let Some(bytes) = self.resumed_bytes {
            facts.push(("resumed", format!("{} were durable already", exact_bytes(bytes))));
        }
        if let Some(holes) = self.holes {
            facts.push(("holes", format!("{}, {}", exact_bytes(self.hole_bytes), holes.text())));
        }
        if let Some(modelled) = &self.modelled {
            facts.push(("modelled", modelled.text()));
        }
        if let Some(measured) = &self.measured
            && self.status == Status::Done
        {
            facts.push(("measured", measured.text()));
        }
        if let Some(blocks) = self.verified_blocks {
            facts.push((
                "verified",
                format!("{} read again and equal", units::count(blocks, "block")),
            ));
        }
        if self.flushed {
            facts.push(("flushed", "the destination is durable".to_owned()));
        }
        table::facts(&facts)
    }

    fn headline(&self) -> &'static str {
        match self.status {
            Status::Done => "copied",
            Status::Planned => "would copy",
            Status::Failed => "failed",
            Status::Interrupted => "interrupted",
        }
    }

    fn movement(&self) -> String {
        let bytes = match self.status {
            Status::Done | Status::Planned => exact_bytes(self.length_bytes),
            Status::Failed | Status::Interrupted => format!(
                "after {} of {}",
                exact_bytes(self.complete_bytes),
                exact_bytes(self.length_bytes)
            ),
        };
        let padding = match self.padding_bytes {
            0 => String::new(),
            padding if self.path == PathKind::DeviceToHost => {
                format!(", without {} of the last block", units::count(padding, "byte"))
            }
            padding => format!(", padded with {}", units::count(padding, "zero byte")),
        };
        format!("{bytes} from {} to {}{padding}", self.source.operand, self.destination.operand)
    }

    fn path_text(&self) -> String {
        let processor = if self.by_processor { ", copied by the processor" } else { "" };
        match self.path {
            PathKind::PeerToPeer => format!("peer to peer, via {}", self.via),
            PathKind::InsideDevice => format!("inside the device, via {}", self.via),
            PathKind::ThroughHostBridge => {
                format!("peer to peer through the host bridge, via {}", self.via)
            }
            PathKind::HostToDevice => format!("host to device{processor}"),
            PathKind::DeviceToHost => format!("device to host{processor}"),
            PathKind::ThroughHostMemory => {
                let bytes = self
                    .host_memory_bytes
                    .map_or_else(String::new, |bytes| format!(": {bytes} bytes"));
                match &self.bounce_reason {
                    Some(reason) => {
                        format!("bounced through host memory{bytes}\n{reason}")
                    }
                    None if self.policy == Policy::Off.to_string() => {
                        format!("bounced through host memory{bytes}, as asked for with --p2p=off")
                    }
                    None => format!("bounced through host memory{bytes}"),
                }
            }
        }
    }

    fn csv(&self) -> Csv {
        let mut csv = Csv::new(&[
            "status",
            "source",
            "destination",
            "path",
            "via",
            "bounced",
            "length_bytes",
            "complete_bytes",
            "host_memory_bytes",
            "root_port_bytes",
            "peer_local_bytes",
            "peer_through_root_bytes",
            "modelled_seconds",
            "measured_seconds",
            "verified",
            "error",
            "resumed_bytes",
            "hole_bytes",
        ]);
        csv.row([
            word(&self.status),
            self.source.operand.clone(),
            self.destination.operand.clone(),
            word(&self.path),
            self.via.clone(),
            self.bounced.to_string(),
            self.length_bytes.to_string(),
            self.complete_bytes.to_string(),
            optional(self.host_memory_bytes),
            optional(self.root_port_bytes),
            optional(self.peer_local_bytes),
            optional(self.peer_through_root_bytes),
            optional(self.modelled.as_ref().map(|modelled| modelled.seconds)),
            optional(self.measured.as_ref().map(|measured| measured.seconds)),
            optional(self.verified),
            optional(self.error.as_ref().map(|error| &error.code)),
            optional(self.resumed_bytes),
            self.hole_bytes.to_string(),
        ]);
        csv
    }
}

impl HolesKind {
    const fn text(self) -> &'static str {
        match self {
            Self::Holes => "left out: the destination has them, too",
            Self::Zeroes => "made zeroes by the destination itself",
        }
    }
}

impl MeasuredDocument {
    fn text(&self) -> String {
        let rate = self
            .gb_per_second
            .map_or_else(String::new, |rate| format!("{}, ", units::rate(rate * 1e9)));
        match (self.latency_p50_ns, self.latency_p99_ns) {
            (Some(p50), Some(p99)) => format!(
                "{rate}{:.3} s; a block takes {:.1} us (p50), {:.1} us (p99)",
                self.seconds,
                p50 / 1e3,
                p99 / 1e3,
            ),
            _ => format!("{rate}{:.3} s of this machine's time", self.seconds),
        }
    }
}

impl ModelledDocument {
    fn text(&self) -> String {
        format!(
            "{}, {:.6} s; a block takes {:.1} us (p50), {:.1} us (p99)",
            units::rate(self.gb_per_second * 1e9),
            self.seconds,
            self.latency_p50_ns / 1e3,
            self.latency_p99_ns / 1e3,
        )
    }
}

/// Payload that devices sent each other, by where it turned around.
fn peers(local: u64, through: u64) -> String {
    let below = format!("{} below the root", exact_bytes(local));
    match (local, through) {
        (_, 0) => below,
        (0, _) => format!("{} through the root", exact_bytes(through)),
        _ => format!("{below}, {} through it", exact_bytes(through)),
    }
}

/// A variant's name as JSON has it.
fn word<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}
