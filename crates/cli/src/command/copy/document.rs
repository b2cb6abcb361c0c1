//! What a copy reports: bytes by path first.

use p2pdma::topology::{Route, Topology};
use p2pdma::{Plan, Reach, Report, Traffic, Via};
use schemars::JsonSchema;
use serde::Serialize;

use super::job::{Lengths, Pieces};
use super::scope::{Made, Scope};
use super::side::Side;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::document::ErrorDocument;
use crate::output::units::{nanoseconds, per_second};

/// What `copy` prints as JSON, whether it went well or not.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct CopyDocument {
    /// How it ended.
    pub(super) status: Status,
    /// Where bytes came from.
    pub(super) source: EndDocument,
    /// Where they went.
    pub(super) destination: EndDocument,
    /// Whether a transfer between devices must, should or must not be peer to peer.
    pub(super) policy: String,
    /// Which way bytes went.
    pub(super) path: PathKind,
    /// Whether the processor copies all of it: between the host and a device's memory.
    pub(super) by_processor: bool,
    /// The memory between the ends: `0000:03:00.0/cmb`, or `host memory`.
    pub(super) via: String,
    /// Whether it went through host memory although peer to peer was preferred.
    pub(super) bounced: bool,
    /// Why, if it did.
    pub(super) bounce_reason: Option<String>,
    /// Bytes that were to be copied.
    pub(super) length_bytes: u64,
    /// Bytes of the device's last block beyond the length: zeroes on the way in, left out on the way out.
    pub(super) padding_bytes: u64,
    /// How many bytes from the start on are complete.
    pub(super) complete_bytes: u64,
    /// Bytes that the destination had durably already; null without --resume.
    pub(super) resumed_bytes: Option<u64>,
    /// Bytes of the source's holes, which were not moved.
    pub(super) hole_bytes: u64,
    /// What became of holes on the destination.
    pub(super) holes: Option<HolesKind>,
    /// Bytes of one operation.
    pub(super) block_bytes: u64,
    /// The most requests under way at each end.
    pub(super) queue_depth: u32,
    /// Payload that devices wrote to host memory and read from it, counted. A bounce counts twice.
    pub(super) host_memory_bytes: Option<u64>,
    /// Payload that crossed the links of root ports, counted.
    pub(super) root_port_bytes: Option<u64>,
    /// Payload between devices that turned around below the root, counted.
    pub(super) peer_local_bytes: Option<u64>,
    /// Payload between devices that went through a root complex, counted.
    pub(super) peer_through_root_bytes: Option<u64>,
    /// By the fabric's clock; null without a timing model, or if the copy did not end well.
    pub(super) modelled: Option<ModelledDocument>,
    /// By this machine's clock; null if nothing was done.
    pub(super) measured: Option<MeasuredDocument>,
    /// Whether both ends were read again and are equal; null if that was not asked for or not reached.
    pub(super) verified: Option<bool>,
    /// Blocks that were compared.
    pub(super) verified_blocks: Option<u64>,
    /// Whether the destination was made durable.
    pub(super) flushed: bool,
    /// What is left of a copy that did not end well.
    pub(super) partial_result: Option<String>,
    /// Why it did not end well.
    pub(super) error: Option<ErrorDocument>,
}

/// How a copy ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Status {
    /// All bytes are there.
    Done,
    /// It would be done: --dry-run.
    Planned,
    /// Something went wrong.
    Failed,
    /// Somebody broke it off.
    Interrupted,
}

/// One end.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct EndDocument {
    /// As it was named.
    pub(super) operand: String,
    /// The device's address; null for the host's ends.
    pub(super) bdf: Option<String>,
    /// The device's name.
    pub(super) name: Option<String>,
    /// The first byte.
    pub(super) offset_bytes: u64,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PathKind {
    /// Between devices, below the root complex.
    PeerToPeer,
    /// Between a device and its own memory: nothing leaves it.
    InsideDevice,
    /// Between devices, through a root complex that is allowed to carry it.
    ThroughHostBridge,
    /// Between devices, by way of host memory.
    ThroughHostMemory,
    /// From the host to a device.
    HostToDevice,
    /// From a device to the host.
    DeviceToHost,
}

/// What became of the source's holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum HolesKind {
    /// They are holes of the destination, too.
    Holes,
    /// They are zeroes on the destination, which made them by itself.
    Zeroes,
}

impl HolesKind {
    fn of(made: Made) -> Option<Self> {
        match made {
            Made::Data => None,
            Made::Hole => Some(Self::Holes),
            Made::Zeroes => Some(Self::Zeroes),
        }
    }
}

/// Time on the fabric.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct ModelledDocument {
    pub(super) seconds: f64,
    pub(super) gb_per_second: f64,
    /// How long blocks took from the start of their first operation to the end of their last.
    pub(super) latency_p50_ns: f64,
    pub(super) latency_p99_ns: f64,
    pub(super) latency_p999_ns: f64,
}

/// Time on this machine, which carries the whole simulation.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(super) struct MeasuredDocument {
    pub(super) seconds: f64,
    pub(super) gb_per_second: Option<f64>,
    /// How long blocks took from the start of their first operation to the end of their last; null on the
    /// fabric, whose blocks take modelled time.
    pub(super) latency_p50_ns: Option<f64>,
    pub(super) latency_p99_ns: Option<f64>,
    pub(super) latency_p999_ns: Option<f64>,
}

/// What is known before the first byte moves.
#[derive(Debug, Clone)]
pub(crate) struct Facts(CopyDocument);

impl Facts {
    pub(crate) fn new(
        source: &Side,
        sink: &Side,
        plan: &Plan,
        topology: &Topology,
        pieces: Pieces,
        lengths: Lengths,
    ) -> Self {
        let end = |side: &Side| EndDocument {
            operand: side.text.clone(),
            bdf: side.bdf().map(|bdf| bdf.to_string()),
            name: side.bdf().and_then(|bdf| {
                topology.node(topology.find(bdf)?).name.as_deref().map(str::to_owned)
            }),
            offset_bytes: side.offset,
        };
        Self(CopyDocument {
            status: Status::Planned,
            source: end(source),
            destination: end(sink),
            policy: plan.wish.policy.to_string(),
            path: PathKind::of(plan),
            by_processor: plan.legs.iter().all(|leg| leg.reach == Reach::Processor),
            via: plan.via.to_string(),
            bounced: plan.bounced.is_some(),
            bounce_reason: plan.bounced.as_ref().map(ToString::to_string),
            length_bytes: lengths.payload,
            padding_bytes: lengths.moved - lengths.payload,
            complete_bytes: 0,
            resumed_bytes: None,
            hole_bytes: 0,
            holes: None,
            block_bytes: pieces.block,
            queue_depth: pieces.depth,
            host_memory_bytes: None,
            root_port_bytes: None,
            peer_local_bytes: None,
            peer_through_root_bytes: None,
            modelled: None,
            measured: None,
            verified: None,
            verified_blocks: None,
            flushed: false,
            partial_result: None,
            error: None,
        })
    }

    /// With what need not be moved.
    pub(crate) fn of(self, scope: &Scope, resumes: bool) -> Self {
        let len = self.payload();
        let hole_bytes = scope.holes.up_to(len).bytes();
        Self(CopyDocument {
            resumed_bytes: resumes.then(|| scope.durable.up_to(len).bytes()),
            hole_bytes,
            holes: HolesKind::of(scope.made).filter(|_| hole_bytes > 0),
            ..self.0
        })
    }

    pub(crate) fn payload(&self) -> u64 {
        self.0.length_bytes
    }

    /// How many bytes are to be moved.
    fn moved(&self) -> u64 {
        let there = self.0.resumed_bytes.unwrap_or(0).saturating_add(self.0.hole_bytes);
        self.payload().saturating_sub(there)
    }

    /// What a dry run reports.
    pub(crate) fn planned(self) -> CopyDocument {
        self.0
    }

    /// What a copy reports that took so long and counted so much.
    pub(crate) fn measured(&self, seconds: f64, traffic: Option<Traffic>) -> CopyDocument {
        let measured = MeasuredDocument {
            seconds,
            gb_per_second: per_second(self.moved(), seconds).map(|rate| rate / 1e9),
            latency_p50_ns: None,
            latency_p99_ns: None,
            latency_p999_ns: None,
        };
        CopyDocument {
            host_memory_bytes: traffic.map(|traffic| traffic.host_memory),
            root_port_bytes: traffic.map(|traffic| traffic.root_ports),
            peer_local_bytes: traffic.map(|traffic| traffic.peer_local),
            peer_through_root_bytes: traffic.map(|traffic| traffic.peer_through_root),
            measured: Some(measured),
            ..self.0.clone()
        }
    }
}

impl PathKind {
    fn of(plan: &Plan) -> Self {
        let through_root =
            |reach: &Reach| matches!(reach, Reach::Peer(Route::ThroughHostBridge { .. }));
        match (&plan.wish.source, &plan.wish.sink) {
            (p2pdma::End::Host, _) => Self::HostToDevice,
            (_, p2pdma::End::Host) => Self::DeviceToHost,
            _ if plan.via == Via::Host => Self::ThroughHostMemory,
            _ if plan.legs.iter().any(|leg| through_root(&leg.reach)) => Self::ThroughHostBridge,
            _ if plan.legs.iter().all(|leg| matches!(leg.reach, Reach::Own)) => Self::InsideDevice,
            _ => Self::PeerToPeer,
        }
    }
}

impl CopyDocument {
    /// All went well.
    pub(crate) fn done(
        self,
        report: &Report,
        is_modelled: bool,
        verified_blocks: Option<u64>,
        flushed: bool,
    ) -> Self {
        let latency = |share| (!is_modelled).then(|| nanoseconds(report.latency_at(share)));
        let measured = self.measured.map(|measured| MeasuredDocument {
            latency_p50_ns: latency(0.5),
            latency_p99_ns: latency(0.99),
            latency_p999_ns: latency(0.999),
            ..measured
        });
        Self {
            status: Status::Done,
            complete_bytes: self.length_bytes,
            modelled: ModelledDocument::of(report).filter(|_| is_modelled),
            measured,
            verified: verified_blocks.map(|_| true),
            verified_blocks,
            flushed,
            ..self
        }
    }

    /// It did not.
    pub(crate) fn failed(self, failure: &Failure, complete: u64, partial: Option<String>) -> Self {
        let interrupted = failure.exit() == Exit::Interrupted;
        let mismatch = failure.exit() == Exit::Mismatch;
        // Not all of it was moved in that time.
        let measured =
            self.measured.map(|measured| MeasuredDocument { gb_per_second: None, ..measured });
        Self {
            measured,
            status: if interrupted { Status::Interrupted } else { Status::Failed },
            complete_bytes: complete,
            verified: mismatch.then_some(false),
            partial_result: partial,
            error: Some(failure.document()),
            ..self
        }
    }
}

impl ModelledDocument {
    /// `None` without a timing model.
    pub(crate) fn of(report: &Report) -> Option<Self> {
        let rate = report.rate()?;
        let latency = |share| nanoseconds(report.latency_at(share));
        Some(Self {
            seconds: report.elapsed.as_secs_f64(),
            gb_per_second: rate / 1e9,
            latency_p50_ns: latency(0.5),
            latency_p99_ns: latency(0.99),
            latency_p999_ns: latency(0.999),
        })
    }

    /// The rate.
    pub(crate) const fn gb_per_second(&self) -> f64 {
        self.gb_per_second
    }

    /// p50, p99 and p99.9 in nanoseconds.
    pub(crate) const fn latencies(&self) -> [f64; 3] {
        [self.latency_p50_ns, self.latency_p99_ns, self.latency_p999_ns]
    }
}
