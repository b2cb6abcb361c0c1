//! `bench`: peer to peer beside the bounce, interleaved in one run.

mod baseline;
mod blocks;
mod document;
mod interference;
mod lines;
mod measure;
mod spread;

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use p2pdma::machine::Machine;
use p2pdma::topology::Topology;
use p2pdma::{FabricPlatform, LinuxPlatform, Plan, Platform, Storage, VfioPlatform, Volume};

pub(crate) use document::{BenchDocument, RowDocument};

use super::pair::{Pair, Place};
use super::{copy, probe};
use crate::args::{self, Format};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::operand::{DevicePart, Operand, Part};
use crate::output::progress::Amount;
use crate::output::{Output, units};
use crate::platform::{self, AnyPlatform, Lenders};
use baseline::Baseline;
use document::SystemDocument;
use measure::Case;

/// Measures peer to peer against the bounce through host memory.
///
/// Both ways are measured in turns within one run: on a fabric that keeps nothing, or between two block
/// devices of this machine or two namespaces under vfio, where DST is overwritten. Modelled figures are by the fabric's clock; what is
/// measured there is what the simulation costs.
#[derive(Debug, Args)]
pub(crate) struct Bench {
    /// Namespace to read: fabric:nvme0/ns1, /dev/nvme0n1, 0000:03:00.0/ns1 [default: the fabric's first]
    #[arg(value_name = "SRC", requires = "destination")]
    source: Option<OsString>,
    /// Namespace to write [default: that of the fabric's second SSD]
    #[arg(value_name = "DST")]
    destination: Option<OsString>,
    /// Bytes of one operation, one or several [default: 4k, 128k and the most, up to 1M]
    #[arg(long, value_name = "SIZE,...", value_delimiter = ',')]
    #[arg(value_parser = args::size)]
    block_size: Vec<u64>,
    /// The most requests at each end, one figure or several; memory has as many blocks, two at least
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "1,8,32")]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    queue_depth: Vec<u32>,
    /// Bytes of a round [default: 128M, or what the namespaces have]
    #[arg(long, value_name = "SIZE", value_parser = args::size)]
    bytes: Option<u64>,
    /// Threads, each of which moves a part with so many requests under way, on this machine
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Rounds of each way: six are the fewest of which a median has bounds with 95 %
    #[arg(long, value_name = "N", default_value_t = 6)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Go on with rounds for so long, for each size and depth
    #[arg(long, value_name = "TIME", value_parser = args::time, conflicts_with = "rounds")]
    time: Option<Duration>,
    /// Let a program use host memory meanwhile, and measure what it gets done; on this machine
    #[arg(long)]
    interference: bool,
    #[command(flatten)]
    engine: args::EngineOption,
    /// An earlier run to compare with: what it printed with -o json
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Overwrite DST, a device of this machine
    #[arg(short, long)]
    yes: bool,
}

impl Bench {
    /// Runs the command.
    pub(crate) fn run(&self, context: &mut Context) -> Result<()> {
        let named = self.source.iter().chain(&self.destination);
        let ends =
            named.map(|text| Operand::parse(text)).collect::<std::result::Result<Vec<_>, _>>()?;
        let operands: Vec<&Operand> = ends.iter().collect();
        let kept = || Ok(Storage::Ephemeral);
        let engine = self.engine.engine.into();
        match AnyPlatform::of(context, &operands, Lenders::All, engine, kept)? {
            AnyPlatform::Fabric(platform) => self.on_the_fabric(context, &platform),
            AnyPlatform::Linux(platform) => self.on_this_machine(context, &platform, &operands),
            AnyPlatform::Vfio(platform) => self.under_vfio(context, &platform, &operands),
        }
    }

    fn under_vfio(
        &self,
        context: &Context,
        platform: &VfioPlatform,
        ends: &[&Operand],
    ) -> Result<()> {
        let &[source, destination] = ends else {
            return Err(Failure::usage("no device of this machine is measured unasked")
                .remedy("name two: 0000:03:00.0/ns1 0000:04:00.0/ns1"));
        };
        let places = [place(platform, source)?, place(platform, destination)?];
        if places[0] == places[1] {
            let message = format!("{source} and {destination} are one device; nothing was written");
            return Err(Failure::refused("OVERLAP", message).remedy("name two"));
        }
        let mut pair = Pair::under_vfio(platform, places)?;
        platform::tell_closed(platform, &context.out);
        pair.check_sink(&destination.to_string(), self.yes)?;
        self.agreed(destination)?;
        let [source_devices, destination_devices] =
            places.map(|(at, _)| vec![platform.serial(at).unwrap_or_else(|| at.to_string())]);
        let (kernel, topology) = (platform.release().to_owned(), probe::digest(&pair.topology));
        let engine = None;
        let system =
            SystemDocument { kernel, topology, engine, source_devices, destination_devices };
        let ends = [source.to_string(), destination.to_string()];
        let name = "this machine, under vfio".to_owned();
        self.all(context, pair, |bytes| BenchDocument::new(name, ends, Some(system), bytes))
    }

    /// Whether the sink may be overwritten.
    fn agreed(&self, destination: &Operand) -> Result<()> {
        if self.yes {
            return Ok(());
        }
        let message = format!("{destination} would be overwritten; nothing was written");
        Err(Failure::refused("OVERWRITE", message).remedy("--yes overwrites it"))
    }

    fn on_this_machine(
        &self,
        context: &Context,
        platform: &LinuxPlatform,
        ends: &[&Operand],
    ) -> Result<()> {
        let &[source, destination] = ends else {
            return Err(Failure::usage("no device of this machine is measured unasked")
                .remedy("name two: /dev/nvme0n1 /dev/nvme1n1"));
        };
        let volumes = copy::block_devices(platform, [source, destination], self.yes)?;
        self.agreed(destination)?;
        let (ends, system) = (
            [source.to_string(), destination.to_string()],
            system(platform, &volumes, self.engine.name()),
        );
        let pair = Pair::of_this_machine(platform, volumes)?;
        let name = "this machine".to_owned();
        self.all(context, pair, |bytes| BenchDocument::new(name, ends, Some(system), bytes))
    }

    fn on_the_fabric(&self, context: &Context, platform: &FabricPlatform) -> Result<()> {
        for (given, option) in
            [(self.threads > 1, "--threads"), (self.interference, "--interference")]
        {
            if given {
                let message =
                    format!("{option} is for devices of this machine: a fabric is one thread's");
                return Err(
                    Failure::usage(message).remedy("leave it out, or name two block devices")
                );
            }
        }
        let machine = context.machine()?;
        let places = self.places(platform)?;
        let pair = Pair::open(platform, places[0], places[1])?;
        let topology = Arc::clone(&pair.topology);
        self.all(context, pair, |bytes| self::document(&machine, &topology, places, bytes))
    }

    /// Measures all cases. The document is made when the bytes of a round are known.
    fn all(
        &self,
        context: &Context,
        mut pair: Pair<'_>,
        document: impl FnOnce(u64) -> BenchDocument,
    ) -> Result<()> {
        let cases = self.cases(&pair)?;
        let mut document = document(cases.first().map_or(0, |case| case.bytes));
        document.unread(pair.unread());
        let baseline = self.baseline.as_deref().map(Baseline::read).transpose()?;
        if let Some(baseline) = &baseline {
            document.remark(baseline.check(&document.subject())?);
        }
        // Refused before anything is written.
        let plans = cases.iter().map(|case| case.plans(&pair)).collect::<Result<Vec<_>>>()?;
        let cases = cases.into_iter().zip(plans).collect();
        let rows = &mut document.rows;
        let outcome = self.measure(&context.out, &mut pair, cases, baseline.as_ref(), rows);
        self.print(context, document, outcome)
    }

    fn measure(
        &self,
        out: &Output,
        pair: &mut Pair<'_>,
        cases: Vec<(Case, [Plan; 2])>,
        baseline: Option<&Baseline>,
        rows: &mut Vec<RowDocument>,
    ) -> Result<()> {
        let interrupt = Interrupt::watch()?;
        if let Some((case, [peer, _])) = cases.first() {
            match pair.spent() {
                None => pair.fill(case.bytes, 1, &interrupt)?,
                // A source of this machine is as it is; the path is tested before it is trusted.
                Some(_) => {
                    let untested = pair.probe(peer, case.block, case.bytes, &interrupt)?;
                    copy::note_untested(out, &untested);
                }
            }
        }
        let mut progress = out.progress("measuring", Amount::Steps(cases.len() as u64));
        for (done, (case, plans)) in (1..).zip(cases) {
            let mut row = case.measure(pair, &plans, &interrupt)?;
            row.baseline = baseline.and_then(|baseline| baseline.compare(&row));
            if out.format() == Format::Jsonl {
                out.document("p2pdma/bench-row", &row)?;
            }
            rows.push(row);
            progress.at(done);
        }
        Ok(())
    }

    /// Prints the rows there are, whether or not they are all.
    fn print(
        &self,
        context: &Context,
        mut document: BenchDocument,
        outcome: Result<()>,
    ) -> Result<()> {
        let out = &context.out;
        document.error = outcome.as_ref().err().map(Failure::document);
        if let Some(remark) = document.remarks() {
            out.note(remark);
        }
        match out.format() {
            Format::Table => out.text(&document.text())?,
            Format::Csv => out.text(lines::csv(&document.rows).text())?,
            Format::Json => out.document("p2pdma/bench", &document)?,
            // They have been printed one by one.
            Format::Jsonl => return outcome,
        }
        outcome.map_err(Failure::documented)
    }

    fn places(&self, platform: &FabricPlatform) -> Result<[Place; 2]> {
        if let (Some(source), Some(destination)) = (&self.source, &self.destination) {
            let place = |text: &OsString| place(platform, &Operand::parse(text)?);
            return Ok([place(source)?, place(destination)?]);
        }
        let topology = platform.topology()?;
        let ssds = topology.nodes().iter().filter(|node| platform.namespace(node.bdf, 1).is_ok());
        match ssds.map(|node| (node.bdf, 1)).take(2).collect::<Vec<_>>().as_slice() {
            [first, second] => Ok([*first, *second]),
            _ => Err(Failure::usage("the machine has no two SSDs with a namespace")),
        }
    }

    fn cases(&self, pair: &Pair<'_>) -> Result<Vec<Case>> {
        let deepest = u32::try_from(pair.depth()).unwrap_or(u32::MAX);
        if let Some(depth) = self.queue_depth.iter().find(|depth| **depth > deepest) {
            let message = format!("--queue-depth {depth} is more than the device's queue takes");
            return Err(Failure::usage(message).remedy(format!("at most {deepest}")));
        }
        let sizes = self.sizes(pair)?;
        let bytes = self.round(pair, &sizes)?;
        let mut cases = Vec::new();
        for block in sizes {
            // No more requests can be under way than there are blocks.
            let blocks = u32::try_from(bytes / block).unwrap_or(u32::MAX);
            cases.extend(self.queue_depth.iter().map(|&depth| Case {
                block,
                depth: depth.min(blocks),
                bytes,
                threads: self.threads,
                rounds: self.rounds,
                time: self.time,
                interference: self.interference,
            }));
        }
        cases.dedup();
        Ok(cases)
    }

    /// The sizes of operations.
    fn sizes(&self, pair: &Pair<'_>) -> Result<Vec<u64>> {
        let (most, unit) = pair.limits();
        let mut sizes = self.block_size.clone();
        if sizes.is_empty() {
            let most = most.min(self.bytes.unwrap_or(pair.size()).min(pair.size()));
            sizes = [4 << 10, 128 << 10, 1 << 20].map(|size: u64| size.min(most)).to_vec();
            sizes.dedup();
        }
        match sizes.iter().find(|block| **block > most || !block.is_multiple_of(unit)) {
            None => Ok(sizes),
            Some(block) => {
                let message = format!("--block-size {block} is not possible here");
                let remedy = format!("multiples of {unit}, up to {}", units::exact_bytes(most));
                Err(Failure::usage(message).remedy(remedy))
            }
        }
    }

    /// The bytes of a round, in whole operations of every size.
    fn round(&self, pair: &Pair<'_>, sizes: &[u64]) -> Result<u64> {
        const DEFAULT: u64 = 128 << 20;
        let all = pair.size();
        let Some(bytes) = self.bytes else {
            let common = sizes.iter().try_fold(1, |common, size| least_common(common, *size));
            let round = common.map_or(0, |common| DEFAULT.min(all) / common * common);
            return match round {
                0 => Err(Failure::usage("no round has whole operations of all these sizes")
                    .remedy("measure the sizes one at a time")),
                bytes => Ok(bytes),
            };
        };
        if bytes > all {
            let message = format!("--bytes {bytes} is more than a namespace has");
            let most = units::exact_bytes(all);
            return Err(Failure::usage(message).remedy(format!("at most {most}")));
        }
        match sizes.iter().find(|block| !bytes.is_multiple_of(**block)) {
            None => Ok(bytes),
            Some(block) => {
                let message = format!("--bytes {bytes} is no multiple of --block-size {block}");
                let fits = bytes.next_multiple_of(*block);
                Err(Failure::usage(message).remedy(format!("--bytes {fits} is")))
            }
        }
    }
}

fn document(
    machine: &Machine,
    topology: &Topology,
    places: [Place; 2],
    bytes: u64,
) -> BenchDocument {
    let [source, destination] = places.map(|(bdf, number)| {
        let node = topology.find(bdf).map(|id| topology.node(id));
        match node.and_then(|node| node.name.as_deref()) {
            Some(name) => format!("fabric:{name}/ns{number}"),
            None => format!("{bdf}/ns{number}"),
        }
    });
    BenchDocument::new(machine.name.clone(), [source, destination], None, bytes)
}

/// What figures of this machine depend on.
fn system(
    platform: &LinuxPlatform,
    volumes: &[Volume; 2],
    engine: Option<String>,
) -> SystemDocument {
    let survey = platform.survey();
    let [source_devices, destination_devices] = volumes.each_ref().map(|volume| {
        let clients = volume.footing.end.clients().iter();
        clients.map(|at| probe::identity(survey, *at).unwrap_or_else(|| at.to_string())).collect()
    });
    let (kernel, topology) = (probe::release(survey), probe::digest(&survey.topology));
    SystemDocument { kernel, topology, engine, source_devices, destination_devices }
}

/// The least common multiple, unless it is too large for any namespace.
fn least_common(a: u64, b: u64) -> Option<u64> {
    let (mut gcd, mut rest) = (a, b);
    while rest > 0 {
        (gcd, rest) = (rest, gcd % rest);
    }
    (a / gcd).checked_mul(b)
}

fn place(platform: &dyn Platform, operand: &Operand) -> Result<Place> {
    match operand {
        Operand::Device(part @ DevicePart { part: Part::Namespace(number), .. }) => {
            Ok((copy::find(platform, part)?, *number))
        }
        other => Err(Failure::new(Exit::Usage, "OPERAND", format!("{other} is no namespace"))
            .remedy("say fabric:nvme0/ns1, or 0000:03:00.0/ns1 under vfio")),
    }
}
