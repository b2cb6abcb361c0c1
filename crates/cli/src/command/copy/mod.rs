//! `copy`: SRC to DST, device to device.

mod carried;
mod document;
mod host;
mod job;
mod names;
mod print;
mod resume;
mod run;
mod scope;
pub(crate) mod side;
mod signature;
mod target;
pub(crate) mod volume;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum, ValueHint};
use p2pdma::topology::Topology;
use p2pdma::{Candidate, Plan, Platform, Policy, ProviderId, Storage, Wish};

pub(crate) use document::{CopyDocument, ModelledDocument};
pub(crate) use job::HOST_MEMORY;
pub(crate) use run::{members, note_untested};
pub(crate) use side::find;
pub(crate) use signature::check_namespace;
pub(crate) use volume::pair as block_devices;

use crate::args::{self, PlatformName, State};
use crate::context::{self, Context};
use crate::failure::{Failure, Result};
use crate::operand::Operand;
use crate::output::refusal;
use crate::platform::{AnyPlatform, Lenders};
use document::Facts;
use job::{Pieces, Request};
use resume::Resume;
use run::Transfer;
use scope::Scope;
use side::Side;
use target::Target;
use volume::Rules;

/// Copies SRC to DST, peer to peer between devices.
///
/// A transfer between devices is peer to peer, or it is refused: --p2p=prefer allows the way through host
/// memory where there is no other, and every report states the bytes by path.
#[derive(Debug, Args)]
#[command(after_help = OPERANDS)]
pub(crate) struct Copy {
    /// Where bytes come from
    #[arg(value_name = "SRC", value_hint = ValueHint::AnyPath)]
    source: OsString,
    /// Where they go
    #[arg(value_name = "DST", value_hint = ValueHint::AnyPath)]
    destination: OsString,
    /// Between devices: require peer to peer, prefer it, or go through host memory (off)
    #[arg(long, value_name = "POLICY", default_value = "require")]
    p2p: PolicyName,
    /// Memory between two SSDs, such as fabric:nvme0/cmb; auto takes the nearest
    #[arg(long, value_name = "MEMORY", default_value = "auto")]
    via: String,
    /// Bytes of one operation [default: 128k, or what the devices can do]
    #[arg(long, value_name = "SIZE", value_parser = args::size)]
    block_size: Option<u64>,
    /// The most requests at each end; memory has as many blocks, two at least [default: 8]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    queue_depth: Option<u32>,
    /// Read both ends again, another way, and compare block by block
    #[arg(long)]
    verify: bool,
    /// Make DST durable before the command ends
    #[arg(long)]
    flush: bool,
    /// Keep a journal of what is durable in FILE; if there is one, go on from there
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "ephemeral")]
    resume: Option<PathBuf>,
    #[command(flatten)]
    engine: args::EngineOption,
    /// Say what would be done, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Replace a file that exists, overwrite a device that has something on it
    #[arg(short, long)]
    yes: bool,
    /// First byte of SRC
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = args::offset)]
    src_offset: u64,
    /// First byte of DST
    #[arg(long, value_name = "SIZE", default_value = "0", value_parser = args::offset)]
    dst_offset: u64,
    /// Bytes to copy [default: what SRC has]
    #[arg(long, value_name = "SIZE", value_parser = args::size)]
    length: Option<u64>,
    #[command(flatten)]
    state: State,
}

const OPERANDS: &str = "\
SRC and DST, one of them a device:
  fabric:nvme0/ns1  a namespace of the fabric; also /cmb /pmr /barN /mem
  /dev/nvme0n1      a block device of this machine
  /dev/ng0n1        the same namespace by NVMe commands, beside the kernel's block layer
  0000:03:00.0/ns1  a namespace of this machine by address, and /p2pmem; with --fabric, the fabric's
  0000:03:00.0/cmb  memory of a device under vfio (p2pdma bind take); also /pmr /barN, as for --via
  ./file            a file
  -                 standard input or output
  mem:64MiB         host memory
  zero:             zeroes; as DST it checks that they are
  pattern:seed=7    data that tell their place; as DST it checks them
  null:             nothing: takes everything

A file whose length is no multiple of the namespace's block is padded with zeroes on its way in, and
cut again by --length on its way out. A file is written beside its place and takes it when complete.";

/// Whether a transfer between devices is peer to peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PolicyName {
    /// Peer to peer, or refused
    Require,
    /// Peer to peer where there is a path, else through host memory
    Prefer,
    /// Through host memory
    Off,
}

impl From<PolicyName> for Policy {
    fn from(name: PolicyName) -> Self {
        match name {
            PolicyName::Require => Self::Require,
            PolicyName::Prefer => Self::Prefer,
            PolicyName::Off => Self::Off,
        }
    }
}

impl Copy {
    /// Runs the command.
    pub(crate) fn run(&self, context: &mut Context) -> Result<()> {
        let source = Operand::parse(&self.source)?;
        let destination = Operand::parse(&self.destination)?;
        if destination == Operand::Stdio {
            context.out.leave_stdout();
        }
        self.check(context, &source, &destination)?;
        let target = Target::check(&destination, self.yes)?;
        let source_file = host::open(&source)?;
        target.check_other_than(source_file.as_ref())?;
        let ends = [&source, &destination];
        let mut resume = self.resume.as_deref().map(|path| Resume::open(path, ends)).transpose()?;

        let storage = || match self.dry_run {
            true => Ok(Storage::Ephemeral),
            false => context::storage(&self.state),
        };
        let (lenders, engine) = (self.lenders(&ends), self.engine.engine.into());
        let platform = AnyPlatform::of(context, &ends, lenders, engine, storage)?;
        let partial = resume.as_ref().map_or(Ok(None), Resume::partial)?;
        // Only where a file is can tell whether it can be reached directly.
        let early = platform.linux().is_some() || resume.is_some();
        let begun = early.then(|| target.clone().begin(partial)).transpose()?;
        // What is on the destination is the beginning of the source.
        let yes = self.yes || resume.as_ref().is_some_and(Resume::goes_on);
        let rules = Rules { require: self.p2p == PolicyName::Require, yes };
        let mut source = Side::source(&platform, &source, source_file, self.src_offset, rules)?;
        let sink = Side::sink(&platform, &destination, begun.as_ref(), self.dst_offset, rules)?;
        if let (Some(source), Some(sink)) = (source.volume(), sink.volume()) {
            volume::refuse_nested(source, sink)?;
        }
        if self.flush && sink.is_volatile() {
            return Err(nothing_durable(&sink.text));
        }

        let request = self.request();
        let pieces = job::pieces(&source, &sink, &request)?;
        source.spool()?;
        let lengths = job::lengths(&source, &sink, &request)?;
        job::refuse_overlap(&source, &sink, lengths.payload)?;
        let topology = platform.topology()?;
        let planned = self.plan(&*platform, &topology, &source, &sink, pieces);
        platform.tell_closed(&context.out);
        let (plan, pieces) = planned?;
        context.out.detail(&refusal::plan(&plan, &topology));
        if let Some(resume) = &mut resume {
            let machine = context.global.machine_name();
            let ends = [&source, &sink];
            resume.check(resume::labels(&platform, machine, ends, pieces, lengths)?)?;
        }
        let durable = resume.as_ref().map(Resume::durable);
        let scope = Scope::of(&source, &sink, &destination, lengths, durable.as_ref())?;

        let facts = Facts::new(&source, &sink, &plan, &topology, pieces, lengths)
            .of(&scope, durable.is_some());
        if self.dry_run {
            return Ok(facts.planned().print(&context.out)?);
        }
        if sink.is_volatile() {
            context.out.note(&format!("{} keeps nothing after this command", sink.text));
        }
        // What the journal calls durable was flushed, and so was what a device of a real machine has taken.
        let kept = !platform.is_modelled() && sink.is_device() && !sink.is_volatile();
        let flush = self.flush || self.resume.is_some() || kept;
        let transfer = Transfer {
            platform: &platform,
            source,
            sink,
            plan,
            pieces,
            lengths,
            scope,
            resume,
            target,
            begun,
        };
        transfer.run(context, &facts, self.verify, flush)
    }

    /// Whose memory may be needed: that of others between namespaces alone.
    fn lenders(&self, ends: &[&Operand]) -> Lenders {
        let between = ends.iter().all(|end| end.is_namespace()) && self.p2p != PolicyName::Off;
        if self.via == "auto" && !between { Lenders::None } else { Lenders::of(&self.via) }
    }

    fn request(&self) -> Request {
        Request { length: self.length, block_size: self.block_size, queue_depth: self.queue_depth }
    }

    /// What needs no device to be seen wrong.
    fn check(&self, context: &Context, source: &Operand, destination: &Operand) -> Result<()> {
        // Files of this machine are on devices, too: asked for, they are moved like those.
        let may_be_files = context.global.platform == PlatformName::Linux;
        if !source.is_device() && !destination.is_device() && !may_be_files {
            let message = format!("neither {source} nor {destination} is a part of a device");
            return Err(Failure::usage(message)
                .remedy(
                    "name one as /dev/nvme0n1 or fabric:nvme0/ns1; for copies between files there is cp, or, \
                     peer to peer where they are on SSDs, --platform linux",
                ));
        }
        if *source == Operand::Null {
            return Err(Failure::usage("null: has nothing to read").remedy("zero: gives zeroes"));
        }
        if *destination == Operand::Null && self.verify {
            return Err(Failure::usage("null: keeps nothing that could be verified")
                .remedy("pattern:seed=N and zero: check what arrives"));
        }
        if self.flush && !destination.is_device() && !matches!(destination, Operand::File(_)) {
            return Err(nothing_durable(&destination.to_string()));
        }
        let whole = matches!(destination, Operand::File(_) | Operand::Stdio);
        if whole && self.dst_offset > 0 {
            let message = "--dst-offset is for devices: a file is written as a whole";
            return Err(Failure::usage(message).remedy("leave --dst-offset out"));
        }
        Ok(())
    }

    /// Plans the transfer, with no more blocks than the memory has room for.
    fn plan(
        &self,
        platform: &dyn Platform,
        topology: &Topology,
        source: &Side,
        sink: &Side,
        pieces: Pieces,
    ) -> Result<(Plan, Pieces)> {
        let via = match self.via.as_str() {
            "auto" => None,
            text => Some(via(platform, text)?),
        };
        let (block, policy) = (pieces.block, self.p2p.into());
        let barrier = source.barrier().or(sink.barrier()).cloned();
        let (source, sink) = (source.end(), sink.end());
        let wish = Wish { source, sink, via, block, policy, barrier };
        let candidates = Candidate::all(platform)?;
        let plan = Plan::new(topology, wish, &candidates)
            .map_err(|no_path| refusal::failure(&no_path, topology))?;
        let pieces = pieces.within(&plan, &candidates);
        Ok((plan, pieces))
    }
}

fn nothing_durable(sink: &str) -> Failure {
    Failure::usage(format!("{sink} keeps nothing that could be made durable"))
        .remedy("leave --flush out")
}

/// The memory that `--via` names.
pub(crate) fn via(platform: &dyn Platform, text: &str) -> Result<ProviderId> {
    let Operand::Device(part) = Operand::parse(text.as_ref())? else {
        return Err(Failure::usage(format!("--via {text} is no memory of a device"))
            .remedy("say --via fabric:nvme0/cmb, or leave it to choose the nearest"));
    };
    side::memory(platform, &part)
}
