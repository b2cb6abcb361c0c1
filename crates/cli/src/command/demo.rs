//! `demo`: two SSDs below one switch, peer to peer beside the bounce; then a machine that refuses.

use std::time::Instant;

use clap::Args;
use p2pdma::topology::Allowlist;
use p2pdma::{
    Bdf, Duration, FabricPlatform, Job, Platform, Policy, Report, Storage, fabric, presets,
};
use schemars::JsonSchema;
use serde::Serialize;

use super::pair::Pair;
use crate::args::Format;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::csv::{Csv, optional};
use crate::output::document::ErrorDocument;
use crate::output::style::{ERROR, LABEL, styled};
use crate::output::table;
use crate::output::units;

/// Moves 256 MiB between two SSDs of the fabric, peer to peer and then through host memory, verifies
/// both, and shows a machine on which there is no path.
#[derive(Debug, Args)]
pub(crate) struct Demo {}

/// What `demo` prints as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DemoDocument {
    /// Bytes that were moved each way.
    payload_bytes: u64,
    /// What an application on the host gets from memory while nothing else uses it, modelled.
    application_alone_gb_per_second: Option<f64>,
    /// The ways.
    ways: Vec<WayDocument>,
    /// What a copy is told on the machine that refuses.
    refused: ErrorDocument,
}

/// One way from SSD to SSD.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct WayDocument {
    /// peer-to-peer or through-host-memory.
    path: &'static str,
    /// Payload that devices wrote to host memory and read from it, counted.
    host_memory_bytes: Option<u64>,
    /// Payload that crossed the links of root ports, counted.
    root_port_bytes: Option<u64>,
    /// By the fabric's clock.
    modelled_gb_per_second: Option<f64>,
    /// What an application that uses host memory meanwhile gets, of what it gets alone: 0 to 1, modelled.
    application_share: Option<f64>,
    /// Blocks that were read again and are equal.
    verified_blocks: u64,
    /// By this machine's clock, which carries the whole simulation.
    measured_seconds: f64,
}

const MACHINE: &str = "default";
const REFUSING: &str = "acs-redirect";
const PAYLOAD: u64 = 256 << 20;
const JOB: Job = Job { from: 0, to: 0, len: PAYLOAD, block: 128 << 10, depth: 8 };
/// Any number: the data must be some.
const SEED: u64 = 7;

impl Demo {
    /// Runs the command.
    pub(crate) fn run(&self, context: &mut Context) -> Result<()> {
        context.check_platform()?;
        if context.global.machine_name() != MACHINE || context.global.iommu.is_some() {
            context.out.note("demo has machines of its own: --fabric and --iommu change nothing");
        }
        let began = Instant::now();
        let interrupt = Interrupt::watch()?;
        let platform = machine(MACHINE)?;
        let mut pair = open(&platform)?;
        pair.fill(PAYLOAD, SEED, &interrupt)?;
        let alone = application_alone(&platform);
        let ways = vec![
            way(&platform, &mut pair, Policy::Require, JOB, alone, &interrupt)?,
            // To another place: what is verified must not be there already.
            way(
                &platform,
                &mut pair,
                Policy::Off,
                Job { to: 2 * PAYLOAD, ..JOB },
                alone,
                &interrupt,
            )?,
        ];
        let refusing = machine(REFUSING)?;
        let refused = match open(&refusing)?.plan(Policy::Require, JOB.block) {
            Err(refused) => refused,
            Ok(_) => return Err(p2pdma::Error::Internal("a path through redirecting ports").into()),
        };
        let document = DemoDocument {
            payload_bytes: PAYLOAD,
            application_alone_gb_per_second: alone.map(|rate| rate / 1e9),
            ways,
            refused: refused.document(),
        };
        let out = &context.out;
        match out.format() {
            Format::Table => {
                out.text(&document.text(&refused))?;
                out.note(&format!(
                    "\n{:.1} s of this machine's time",
                    began.elapsed().as_secs_f64()
                ));
            }
            Format::Csv => out.text(document.csv().text())?,
            Format::Json | Format::Jsonl => out.document("p2pdma/demo", &document)?,
        }
        Ok(())
    }
}

fn machine(name: &str) -> Result<FabricPlatform> {
    let machine =
        presets::machine(name, None).map_err(|error| Failure::usage(error.to_string()))?;
    Ok(FabricPlatform::new(&machine, &Storage::Ephemeral, Allowlist::kernel())?)
}

fn open(platform: &FabricPlatform) -> Result<Pair<'_>> {
    let find = |name: &str| -> Result<Bdf> {
        Ok(platform.find(name).ok_or(p2pdma::Error::Internal("a preset without its SSDs"))?)
    };
    Pair::open(platform, (find("nvme0")?, 1), (find("nvme1")?, 1))
}

/// Bytes per second that an application on the host gets with memory to itself; `None` without a timing
/// model.
fn application_alone(platform: &FabricPlatform) -> Option<f64> {
    const SPAN: Duration = Duration::from_millis(20);
    let stream = platform.fabric().start_stream()?;
    let began = platform.clock().now();
    while platform.clock().now().since(began) < SPAN {
        platform.clock().relax();
    }
    got(platform.fabric().stop_stream(stream))
}

fn got(stream: fabric::StreamReport) -> Option<f64> {
    units::per_second(stream.bytes, stream.elapsed.as_secs_f64())
}

fn way(
    platform: &FabricPlatform,
    pair: &mut Pair<'_>,
    policy: Policy,
    job: Job,
    alone: Option<f64>,
    interrupt: &Interrupt,
) -> Result<WayDocument> {
    let plan = pair.plan(policy, job.block)?;
    let path = if plan.uses_host_memory() { "through-host-memory" } else { "peer-to-peer" };
    let stream = platform.fabric().start_stream();
    let began = Instant::now();
    let report: Report = pair.run(plan, job, interrupt)?;
    let measured_seconds = began.elapsed().as_secs_f64();
    let meanwhile = stream.and_then(|stream| got(platform.fabric().stop_stream(stream)));
    let verified_blocks = pair.verify(job, interrupt)?;
    Ok(WayDocument {
        path,
        host_memory_bytes: report.traffic.map(|traffic| traffic.host_memory),
        root_port_bytes: report.traffic.map(|traffic| traffic.root_ports),
        modelled_gb_per_second: report.rate().map(|rate| rate / 1e9),
        application_share: meanwhile.zip(alone).map(|(meanwhile, alone)| meanwhile / alone),
        verified_blocks,
        measured_seconds,
    })
}

impl DemoDocument {
    fn text(&self, refused: &Failure) -> String {
        let title = format!(
            "{} from nvme0 to nvme1, two SSDs below one switch",
            units::bytes(self.payload_bytes)
        );
        let mut text = format!("{}\n\n{}", styled(LABEL, title), self.table());
        let alone = self.application_alone_gb_per_second.map(|rate| units::rate(rate * 1e9));
        if let Some(alone) = alone {
            text.push_str(&format!(
                "\nmodelled: by the fabric's clock. The application streams through host memory, {alone} alone.\n"
            ));
        }
        let title = "The same copy on a machine whose switch redirects peer traffic";
        let (code, message, details, _) = refused.parts();
        let head = styled(ERROR, format!("error[{code}]"));
        text.push_str(&format!("\n{}\n\n{head}: {message}\n{details}", styled(LABEL, title)));
        text
    }

    fn table(&self) -> String {
        let row = |label: &str, value: &dyn Fn(&WayDocument) -> String| {
            std::iter::once(label.to_owned()).chain(self.ways.iter().map(value)).collect()
        };
        let bytes = |count: Option<u64>| count.map_or_else(|| "-".to_owned(), units::bytes);
        let rate =
            |rate: Option<f64>| rate.map_or_else(|| "-".to_owned(), |rate| units::rate(rate * 1e9));
        let share = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), units::percent);
        let rows: [Vec<String>; 5] = [
            row("host memory, bytes of payload", &|way| bytes(way.host_memory_bytes)),
            row("root ports, bytes of payload", &|way| bytes(way.root_port_bytes)),
            row("rate, modelled", &|way| rate(way.modelled_gb_per_second)),
            row("an application keeps, modelled", &|way| share(way.application_share)),
            row("verified", &|way| units::count(way.verified_blocks, "block")),
        ];
        let names = self.ways.iter().map(|way| way.path.replace('-', " "));
        let header: Vec<String> = std::iter::once(String::new()).chain(names).collect();
        let header: Vec<&str> = header.iter().map(String::as_str).collect();
        table::numbers(&header, rows)
    }

    fn csv(&self) -> Csv {
        let mut csv = Csv::new(&[
            "path",
            "payload_bytes",
            "host_memory_bytes",
            "root_port_bytes",
            "modelled_gb_per_second",
            "application_share",
            "verified_blocks",
            "measured_seconds",
        ]);
        for way in &self.ways {
            csv.row([
                way.path.to_owned(),
                self.payload_bytes.to_string(),
                optional(way.host_memory_bytes),
                optional(way.root_port_bytes),
                optional(way.modelled_gb_per_second),
                optional(way.application_share),
                way.verified_blocks.to_string(),
                way.measured_seconds.to_string(),
            ]);
        }
        csv
    }
}
