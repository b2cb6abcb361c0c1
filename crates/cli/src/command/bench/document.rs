//! What the benchmark reports.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::baseline::{self, ComparisonDocument, Subject};
use super::blocks::{self, BlocksDocument};
use super::interference::{self, ApplicationDocument};
use super::measure::Case;
use super::spread::{Interval, Spread};
use crate::command::copy::ModelledDocument;
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
    /// The system; null on the fabric.
    system: Option<SystemDocument>,
    /// Bytes of a round.
    round_bytes: u64,
    /// What is to be kept in mind about the earlier run that this one is compared with.
    baseline_remark: Option<String>,
    /// Why the machine's memory controllers are not read; null if they are.
    memory_controllers_unread: Option<String>,
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
    /// The most requests under way at each end, of each thread.
    pub(super) queue_depth: u32,
    /// Threads, each of which moves a part.
    pub(super) threads: u32,
    /// Bytes of a round.
    pub(super) round_bytes: u64,
    /// Rounds of each way, in turns.
    pub(super) rounds: u32,
    /// From SSD to SSD.
    pub(super) peer_to_peer: PathDocument,
    /// Through host memory.
    pub(super) through_host_memory: PathDocument,
    /// The modelled rate of peer to peer, as a multiple of the bounce's.
    modelled_ratio: Option<f64>,
    /// The same of the measured medians.
    pub(super) measured_ratio: Option<f64>,
    /// Where the true ratio is.
    pub(super) measured_ratio_interval: Option<Interval>,
    /// A program that used host memory all the while, if there was to be one.
    pub(super) application: Option<ApplicationDocument>,
    /// This row over that of an earlier run; null without one, and if that has no such row.
    pub(super) baseline: Option<ComparisonDocument>,
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

/// What a machine that is no simulation is, as far as figures depend on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SystemDocument {
    /// The kernel's release.
    pub(super) kernel: String,
    /// A digest of the topology, by this version of the command.
    pub(super) topology: u64,
    /// How requests reached the kernel: `io-uring`, or one at a time, `sync`; null under vfio, and if it is not known.
    #[serde(default)]
    pub(super) engine: Option<String>,
    /// What tells the devices below the source from all others: WWIDs or the like.
    pub(super) source_devices: Vec<String>,
    /// The same of the destination.
    pub(super) destination_devices: Vec<String>,
}

impl SystemDocument {
    /// The devices of both ends.
    pub(super) fn devices(&self) -> impl Iterator<Item = &String> {
        self.source_devices.iter().chain(&self.destination_devices)
    }

    /// What is another now, in words.
    pub(super) fn changed_since(&self, then: &Self) -> Option<String> {
        if self.kernel != then.kernel {
            return Some(format!(
                "the baseline is of Linux {}, this is {}",
                then.kernel, self.kernel
            ));
        }
        if self.engine != then.engine && then.engine.is_some() {
            return Some("the baseline is of another engine".to_owned());
        }
        let text = "the baseline is of another topology, or of another version of this command";
        (self.topology != then.topology).then(|| text.to_owned())
    }
}

impl RowDocument {
    pub(super) fn new(
        case: &Case,
        rounds: u32,
        [peer_to_peer, through_host_memory]: [PathDocument; 2],
        application: Option<ApplicationDocument>,
    ) -> Self {
        let modelled = |path: &PathDocument| Some(path.modelled.as_ref()?.gb_per_second());
        let modelled_ratio = modelled(&peer_to_peer)
            .zip(modelled(&through_host_memory))
            .map(|(peer, bounce)| peer / bounce);
        let measured =
            peer_to_peer.measured_gb_per_second.zip(through_host_memory.measured_gb_per_second);
        Self {
            block_bytes: case.block,
            queue_depth: case.depth,
            threads: case.threads,
            round_bytes: case.bytes,
            rounds,
            peer_to_peer,
            through_host_memory,
            modelled_ratio,
            measured_ratio: measured.map(|(peer, bounce)| peer.median / bounce.median),
            measured_ratio_interval: measured
                .map(|(peer, bounce)| peer.interval.over(bounce.interval)),
            application,
            baseline: None,
        }
    }
}

impl BenchDocument {
    pub(crate) fn new(
        machine: String,
        [source, destination]: [String; 2],
        system: Option<SystemDocument>,
        round_bytes: u64,
    ) -> Self {
        Self {
            machine,
            source,
            destination,
            system,
            round_bytes,
            baseline_remark: None,
            memory_controllers_unread: None,
            rows: Vec::new(),
            error: None,
        }
    }

    /// What an earlier run has to be of.
    pub(super) fn subject(&self) -> Subject<'_> {
        Subject {
            machine: &self.machine,
            ends: [&self.source, &self.destination],
            system: self.system.as_ref(),
            round_bytes: self.round_bytes,
        }
    }

    /// What is to be kept in mind about the earlier run.
    pub(super) fn remark(&mut self, remark: Option<String>) {
        self.baseline_remark = remark;
    }

    /// Why memory controllers are not read.
    pub(super) fn unread(&mut self, why: Option<&str>) {
        self.memory_controllers_unread = why.map(str::to_owned);
    }

    pub(super) fn remarks(&self) -> Option<&str> {
        self.baseline_remark.as_deref()
    }

    /// Two tables: time on the fabric, and time on this machine; of this machine, one. One more for an application,
    /// and one for an earlier run. Nothing if nothing was measured.
    pub(crate) fn text(&self) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let Self { machine, source, destination, .. } = self;
        let bytes = units::bytes(self.round_bytes);
        let is_real = self.rows.iter().all(|row| row.peer_to_peer.measured_blocks.is_some());
        let mut text = if is_real {
            let title = format!("{source} to {destination} on {machine}, rounds of {bytes}\n\n");
            title
                + &blocks::text(&self.rows)
                + &blocks::remark(self.memory_controllers_unread.as_deref())
        } else {
            let title =
                format!("{source} to {destination} on machine '{machine}', rounds of {bytes}\n\n");
            title + &self.on_the_fabric()
        };
        if self.rows.iter().any(|row| row.application.is_some()) {
            text.push_str("\nan application that copies and reads in host memory meanwhile\n\n");
            text.push_str(&interference::text(&self.rows));
        }
        if self.rows.iter().any(|row| row.baseline.is_some()) {
            text.push_str("\nbeside the earlier run\n\n");
            text.push_str(&baseline::text(&self.rows));
        }
        text
    }

    fn on_the_fabric(&self) -> String {
        let mut text = format!("{} (by the fabric's clock)\n", styled(LABEL, "modelled"));
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
        Some(Spread { lower_quartile, median, upper_quartile, .. }) => {
            vec![format!("{median:.2}"), format!("({lower_quartile:.2} to {upper_quartile:.2})")]
        }
    }
}
