//! Machines, and transfers in one call.

use std::ops::ControlFlow;
use std::sync::Arc;

use p2pdma::machine::Machine;
use p2pdma::topology::Allowlist;
use p2pdma::{
    Client, End, Ends, Error, FabricPlatform, Failed, HostClient, Job, Op, Plan, Platform, Policy,
    Report, Shape, Storage, Ticket, Wish, presets, run,
};

pub(crate) const BLOCK: u64 = 64 << 10;

/// Nobody wants anything to end.
pub(crate) const GO_ON: &dyn Fn() -> ControlFlow<()> = &|| ControlFlow::Continue(());

pub(crate) fn preset(name: &str) -> FabricPlatform {
    let machine = presets::machine(name, None).unwrap();
    FabricPlatform::new(&machine, &Storage::Ephemeral, Allowlist::kernel()).unwrap()
}

pub(crate) fn machine(text: &str) -> FabricPlatform {
    let machine = Machine::parse(text, "test.toml").unwrap();
    FabricPlatform::new(&machine, &Storage::Ephemeral, Allowlist::kernel()).unwrap()
}

pub(crate) fn client(platform: &FabricPlatform, name: &str) -> Box<dyn Client> {
    platform.namespace(platform.find(name).unwrap(), 1).unwrap()
}

/// What went wrong: there was no plan, or it failed.
#[derive(Debug)]
pub(crate) enum Trouble {
    Planning(Error),
    Running(Failed),
}

impl Trouble {
    pub(crate) fn error(&self) -> &Error {
        match self {
            Self::Planning(error) => error,
            Self::Running(failed) => &failed.error,
        }
    }
}

/// Plans and runs a transfer between two ends, of which the host's have no place.
pub(crate) fn transfer(
    platform: &FabricPlatform,
    source: &mut dyn Client,
    sink: &mut dyn Client,
    job: Job,
    policy: Policy,
) -> Result<Report, Trouble> {
    let end = |client: &dyn Client| client.bdf().map_or(End::Host, End::Client);
    let (from, to) = (end(source), end(sink));
    let wish = Wish { source: from, sink: to, via: None, block: job.block, policy, barrier: None };
    let planned = plan(platform, wish, &job).map_err(Trouble::Planning)?;
    let (plan, memory) = planned;
    let ends = Ends { source: Some(source), sink: Some(sink) };
    run(platform, plan, ends, &memory, job, &mut |_| ControlFlow::Continue(()))
        .map_err(Trouble::Running)
}

pub(crate) fn plan(
    platform: &FabricPlatform,
    wish: Wish,
    job: &Job,
) -> Result<(Plan, Arc<p2pdma::PeerMemory>), Error> {
    let plan = Plan::on(platform, wish)?;
    let memory = match plan.shape {
        Shape::Through => plan.memory(platform, job.memory())?,
        Shape::Into | Shape::OutOf => plan.part(platform, 0..job.len)?,
    };
    Ok((plan, Arc::new(memory)))
}

pub(crate) fn job(from: u64, to: u64, len: u64) -> Job {
    Job { from, to, len, block: BLOCK, depth: 8 }
}

/// Puts a pattern onto a namespace, from its first byte.
pub(crate) fn write_pattern(platform: &FabricPlatform, name: &str, seed: u64, len: u64) {
    let mut sink = client(platform, name);
    let mut source = HostClient::pattern(seed);
    transfer(platform, &mut source, &mut *sink, job(0, 0, len), Policy::Require).unwrap();
}

/// Whether a namespace has a pattern, from its first byte.
pub(crate) fn has_pattern(platform: &FabricPlatform, name: &str, seed: u64, len: u64) -> bool {
    let mut source = client(platform, name);
    let mut sink = HostClient::pattern(seed);
    transfer(platform, &mut *source, &mut sink, job(0, 0, len), Policy::Require).is_ok()
}

/// A client's bytes, a block at a time.
pub(crate) fn bytes(
    platform: &FabricPlatform,
    client: &mut dyn Client,
    from: u64,
    len: u64,
) -> Vec<u8> {
    let memory = Arc::new(platform.host_memory().unwrap().alloc(BLOCK).unwrap());
    let attachment = client.attach(&memory).unwrap();
    let mut data = vec![0; usize::try_from(len).unwrap()];
    let places = (from..).step_by(usize::try_from(BLOCK).unwrap());
    for (piece, from) in data.chunks_mut(usize::try_from(BLOCK).unwrap()).zip(places) {
        let len = piece.len() as u64;
        client.submit(Op::Fill { from, len }, &attachment, 0..len, Ticket(0)).unwrap();
        let mut done = Vec::new();
        while done.is_empty() {
            client.poll(&mut done).unwrap();
            platform.clock().relax();
        }
        done.remove(0).result.unwrap();
        memory.read(0, piece).unwrap();
    }
    data
}
