//! `probe`: tests a path with data, and remembers what came of it.

mod document;
mod record;

use std::ffi::OsString;
use std::sync::Arc;

use clap::{Args, ValueHint};
use p2pdma::{Candidate, Client, End, Plan, Platform, Policy, Probe, Probed, Via, Wish};

use super::copy::side::{Kind, Side};
use super::copy::via;
use super::copy::volume::Rules;
use super::copy::{members, note_untested};
use crate::args::{EngineOption, State};
use crate::context::{self, Context};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::operand::Operand;
use crate::output::{Output, refusal};
use crate::platform::{AnyPlatform, Lenders};

pub(crate) use document::ProbeDocument;
use record::Keep as _;
pub(crate) use record::{Record, digest, identity, release, remembered};

/// Tests with data whether an SSD reaches memory, and remembers the result: `doctor` shows it.
#[derive(Debug, Args)]
#[command(after_help = ABOUT)]
pub(crate) struct ProbeCommand {
    /// The SSD: /dev/nvme0n1, /dev/ng0n1, 0000:03:00.0/ns1, fabric:nvme0/ns1
    #[arg(value_name = "SSD", value_hint = ValueHint::AnyPath)]
    client: OsString,
    /// The memory, such as 0000:03:00.0/p2pmem; auto takes the nearest
    #[arg(value_name = "MEMORY", default_value = "auto")]
    memory: String,
    /// Test the way out of the memory too: writes to the first 64 KiB, and puts back what was there
    #[arg(long)]
    write: bool,
    /// Write although something is on the device
    #[arg(short, long, requires = "write")]
    yes: bool,
    #[command(flatten)]
    engine: EngineOption,
    #[command(flatten)]
    state: State,
}

const ABOUT: &str = "\
The SSD reads its first bytes into host memory and into the memory, which held their complement before, and
both are compared: in blocks of several sizes, at several places. A status proves nothing: a request can
succeed whose bytes never arrived. Without --write nothing is written to the SSD. With it, its first 64 KiB are
their complement for a moment: to kill the command then, or to lose power, is to lose them.";

/// How much of the SSD is used, and how much memory.
const SPAN: u64 = 64 << 10;

impl ProbeCommand {
    /// Runs the command.
    pub(crate) fn run(&self, context: &mut Context) -> Result<()> {
        let operand = Operand::parse(&self.client)?;
        let storage = || context::storage(&self.state);
        let (lenders, engine) = (Lenders::of(&self.memory), self.engine.engine.into());
        let platform = AnyPlatform::of(context, &[&operand], lenders, engine, storage)?;
        let rules = Rules { require: true, yes: self.yes };
        let side = match self.write {
            true => Side::sink(&platform, &operand, None, 0, rules)?,
            false => Side::source(&platform, &operand, None, 0, rules)?,
        };
        let plan = self.plan(&*platform, &side);
        platform.tell_closed(&context.out);
        let plan = plan?;
        let Via::Peer(id) = plan.via else {
            return Err(p2pdma::Error::Internal("a probe of host memory").into());
        };
        let (name, bdf, end) = (side.text.clone(), side.bdf(), side.end());
        // What was there is put back before a signal ends this.
        let interrupt = Interrupt::watch()?;
        let outcome = self.probe(&platform, side, &plan, &interrupt, &context.out);
        // Of a volume over several devices, each of them. What was broken off has shown nothing.
        if !interrupt.raised() {
            for client in end.clients() {
                Record::new(&platform, *client, id, &outcome).keep(&self.state, &context.out);
            }
        }
        let document = ProbeDocument::new(&name, bdf, id, &plan, &outcome);
        document.print(&context.out)?;
        if interrupt.raised() {
            return Err(Failure::interrupted().documented());
        }
        outcome.map(drop).map_err(|failure| failure.documented())
    }

    fn plan(&self, platform: &dyn Platform, side: &Side) -> Result<Plan> {
        let (end, barrier) = (side.end(), side.barrier().cloned());
        if end == End::Host || matches!(end, End::Memory(_)) {
            let message = format!("{} starts no requests: there is nothing to test", side.text);
            return Err(Failure::new(Exit::Usage, "OPERAND", message)
                .remedy("name an SSD: /dev/nvme0n1, fabric:nvme0/ns1"));
        }
        let via = match self.memory.as_str() {
            "auto" => None,
            text => Some(via(platform, text)?),
        };
        let (source, sink) = (end.clone(), end);
        let policy = Policy::Require;
        let wish = Wish { source, sink, via, block: SPAN, policy, barrier };
        let candidates = Candidate::all(platform)?;
        let topology = platform.topology()?;
        Plan::new(&topology, wish, &candidates)
            .map_err(|no_path| refusal::failure(&no_path, &topology))
    }

    fn probe(
        &self,
        platform: &AnyPlatform,
        side: Side,
        plan: &Plan,
        interrupt: &Interrupt,
        out: &Output,
    ) -> Result<Probed> {
        let mut members = members(platform.linux(), &side)?;
        let platform: &dyn Platform = &**platform;
        let memory = Arc::new(plan.memory(platform, SPAN)?);
        let name = side.text.clone();
        let mut client: Box<dyn Client> = match side.kind {
            Kind::Namespace { client, .. } => client,
            Kind::Volume { volume, .. } => volume.client,
            Kind::Memory { .. } | Kind::Host(_) => {
                return Err(p2pdma::Error::Internal("a plan for what starts no requests").into());
            }
        };
        let len = client.capabilities().size.min(SPAN);
        let (client, name, memory) = (&mut *client, name.as_str(), &memory);
        let watch = &|| interrupt.flow();
        let mut probe = Probe { platform, client, name, memory, at: 0, len, watch };
        let (probed, untested) = members.probe(&mut probe, true, self.write)?;
        note_untested(out, &untested);
        Ok(probed)
    }
}
