//! Two SSDs between which the same bytes are moved again and again, one way and another.

mod parts;

use std::sync::Arc;
use std::time;

use p2pdma::linux::io::{DirectFile, MemoryControllers, context_switches, processor_time};
use p2pdma::topology::Topology;
use p2pdma::{
    Barrier, Bdf, Candidate, Client, End, Ends, FabricPlatform, HostClient, Job, LinuxPlatform,
    Members, Mismatch, Plan, Platform, Policy, Probe, Report, Untested, VfioPlatform, Via, Volume,
    Wish,
};

use crate::command::copy;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;
use crate::output::refusal;
use parts::Mover;

/// Two namespaces on a machine.
pub(crate) struct Pair<'a> {
    platform: &'a dyn Platform,
    machine: Machine<'a>,
    pub(crate) topology: Arc<Topology>,
    candidates: Vec<Candidate>,
    from: End,
    to: End,
    barrier: Option<Barrier>,
    source: Box<dyn Client>,
    sink: Box<dyn Client>,
    /// What source and sink are made of.
    members: [Members; 2],
    /// Who moves the other parts, if several threads do.
    workers: Vec<Worker>,
    /// What counts the traffic of this machine's memory, or why nothing does.
    controllers: std::result::Result<MemoryControllers, String>,
}

/// What a further thread is made of.
enum Machine<'a> {
    /// A simulation, which is one thread's.
    Fabric,
    /// This machine by its kernel, and the files of both ends.
    Linux(&'a LinuxPlatform, [Arc<DirectFile>; 2]),
    /// Devices of this machine under drivers of our own.
    Vfio([Place; 2]),
}

/// A further thread's part: a queue of its own, and both ends.
struct Worker {
    /// Its own, if it is not that of all.
    platform: Option<LinuxPlatform>,
    source: Box<dyn Client>,
    sink: Box<dyn Client>,
}

/// What this process has spent on transfers so far.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// System calls for requests.
    pub(crate) calls: u64,
    /// Time of processors.
    pub(crate) processor: time::Duration,
    /// Context switches of all threads.
    pub(crate) switches: u64,
    /// Bytes that memory controllers have read and written, for whomever; `None` if they are not read.
    pub(crate) memory: Option<f64>,
}

impl Spent {
    /// Nothing yet.
    pub(crate) const NOTHING: Self =
        Self { calls: 0, processor: time::Duration::ZERO, switches: 0, memory: Some(0.0) };

    /// What was added since `earlier`.
    pub(crate) fn since(self, earlier: Self) -> Self {
        Self {
            calls: self.calls.saturating_sub(earlier.calls),
            processor: self.processor.saturating_sub(earlier.processor),
            switches: self.switches.saturating_sub(earlier.switches),
            memory: self.memory.zip(earlier.memory).map(|(now, before)| now - before),
        }
    }

    /// Adds what something else has taken.
    pub(crate) fn add(&mut self, other: Self) {
        self.calls += other.calls;
        self.processor += other.processor;
        self.switches += other.switches;
        self.memory = self.memory.zip(other.memory).map(|(own, other)| own + other);
    }
}

/// How much memory a probe uses.
const SPAN: u64 = 64 << 10;

/// A namespace: where its controller is, and its number.
pub(crate) type Place = (Bdf, u32);

/// The memory controllers of this machine, or why they are not read.
fn controllers() -> std::result::Result<MemoryControllers, String> {
    match MemoryControllers::open() {
        Ok(Some(controllers)) => Ok(controllers),
        Ok(None) => Err("those of this machine do not count, or not in a known way".to_owned()),
        Err(error) => Err(format!("cannot be read: {error}")),
    }
}

impl<'a> Pair<'a> {
    /// Opens both.
    pub(crate) fn open(platform: &'a FabricPlatform, from: Place, to: Place) -> Result<Self> {
        Self::driven(platform, Machine::Fabric, [from, to])
    }

    /// Two namespaces of devices that are bound to vfio-pci.
    pub(crate) fn under_vfio(platform: &'a VfioPlatform, places: [Place; 2]) -> Result<Self> {
        Self::driven(platform, Machine::Vfio(places), places)
    }

    fn driven(
        platform: &'a dyn Platform,
        machine: Machine<'a>,
        [(from, source), (to, sink)]: [Place; 2],
    ) -> Result<Self> {
        let controllers = match machine {
            Machine::Fabric => Err("a simulation has none".to_owned()),
            Machine::Linux(..) | Machine::Vfio(_) => controllers(),
        };
        Ok(Self {
            controllers,
            platform,
            machine,
            topology: platform.topology()?,
            candidates: Candidate::all(platform)?,
            from: End::Client(from),
            to: End::Client(to),
            barrier: None,
            source: platform.namespace(from, source)?,
            sink: platform.namespace(to, sink)?,
            members: Default::default(),
            workers: Vec::new(),
        })
    }

    /// Two block devices of this machine.
    pub(crate) fn of_this_machine(
        platform: &'a LinuxPlatform,
        [source, sink]: [Volume; 2],
    ) -> Result<Self> {
        let members = [platform.members(&source)?, platform.members(&sink)?];
        Ok(Self {
            platform,
            members,
            machine: Machine::Linux(platform, [source.file, sink.file]),
            topology: platform.topology()?,
            candidates: Candidate::all(platform)?,
            from: source.footing.end,
            to: sink.footing.end,
            barrier: source.footing.barrier.or(sink.footing.barrier),
            workers: Vec::new(),
            source: source.client,
            sink: sink.client,
            controllers: controllers(),
        })
    }

    /// What this process has spent so far, if it drives this machine; a simulation's calls and time are its own.
    pub(crate) fn spent(&self) -> Option<Spent> {
        let others = self.workers.iter().filter_map(|worker| worker.platform.as_ref());
        let calls = match self.machine {
            Machine::Fabric => return None,
            Machine::Linux(linux, _) => {
                linux.calls() + others.map(LinuxPlatform::calls).sum::<u64>()
            }
            // Doorbells are no calls.
            Machine::Vfio(_) => 0,
        };
        let memory =
            self.controllers.as_ref().ok().and_then(|controllers| controllers.bytes().ok());
        let (processor, switches) = (processor_time(), context_switches());
        Some(Spent { calls, processor, switches, memory })
    }

    /// Why memory controllers are not read; `None` if they are.
    pub(crate) fn unread(&self) -> Option<&str> {
        self.controllers.as_ref().err().map(String::as_str)
    }

    /// Makes sure that there are so many threads, each of which moves a part.
    pub(crate) fn threads(&mut self, count: u32) -> Result<()> {
        let others = count.saturating_sub(1) as usize;
        self.workers.truncate(others);
        while self.workers.len() < others {
            let worker = match &self.machine {
                Machine::Fabric => return Ok(()),
                Machine::Linux(linux, [from, to]) => {
                    let platform = linux.beside()?;
                    let (source, sink) = (platform.share(from)?.client, platform.share(to)?.client);
                    Worker { platform: Some(platform), source, sink }
                }
                Machine::Vfio(places) => {
                    let [from, to] = places.map(|(at, number)| self.platform.namespace(at, number));
                    Worker { platform: None, source: from?, sink: to? }
                }
            };
            self.workers.push(worker);
        }
        Ok(())
    }

    /// Refuses a sink that has something on it, unless that may be overwritten.
    pub(crate) fn check_sink(&mut self, name: &str, yes: bool) -> Result<()> {
        copy::check_namespace(self.platform, &mut *self.sink, name, yes)
    }

    /// How many bytes both have.
    pub(crate) fn size(&self) -> u64 {
        self.source.capabilities().size.min(self.sink.capabilities().size)
    }

    /// The longest operation that both can do, and what lengths are multiples of.
    pub(crate) fn limits(&self) -> (u64, u64) {
        let (source, sink) = (self.source.capabilities(), self.sink.capabilities());
        (source.max_transfer.min(sink.max_transfer), source.block.max(sink.block))
    }

    /// How many operations both can have under way.
    pub(crate) fn depth(&self) -> usize {
        self.source.capabilities().depth.min(self.sink.capabilities().depth)
    }

    /// How many bytes the memory of a plan has; `None` for the host's.
    pub(crate) fn room(&self, plan: &Plan) -> Option<u64> {
        let Via::Peer(id) = plan.via else { return None };
        let candidate = self.candidates.iter().find(|candidate| candidate.id == id);
        candidate.map(|candidate| candidate.capacity)
    }

    /// Plans a transfer.
    pub(crate) fn plan(&self, policy: Policy, block: u64) -> Result<Plan> {
        let (source, sink, barrier) = (self.from.clone(), self.to.clone(), self.barrier.clone());
        let wish = Wish { source, sink, via: None, block, policy, barrier };
        Plan::new(&self.topology, wish, &self.candidates)
            .map_err(|no_path| refusal::failure(&no_path, &self.topology))
    }

    /// Fills the source's first bytes with a pattern; breaks off if somebody wants to.
    pub(crate) fn fill(&mut self, len: u64, seed: u64, interrupt: &Interrupt) -> Result<()> {
        const BLOCK: u64 = 128 << 10;
        let (most, _) = self.limits();
        let job = Job { from: 0, to: 0, len, block: BLOCK.min(most), depth: 8 };
        let (source, sink) = (End::Host, self.from.clone());
        let wish =
            Wish { source, sink, via: None, block: job.block, policy: Policy::Off, barrier: None };
        let plan = Plan::new(&self.topology, wish, &[]).map_err(p2pdma::Error::from)?;
        let memory = Arc::new(plan.memory(self.platform, job.memory())?);
        let mut pattern = HostClient::pattern(seed);
        let ends = Ends { source: Some(&mut pattern), sink: Some(&mut *self.source) };
        let watch = &mut |_| interrupt.flow();
        let filled = p2pdma::run(self.platform, plan, ends, &memory, job, watch);
        filled.map(drop).map_err(|failed| failed.error.into())
    }

    /// Tests both legs of a plan with data, in the first `len` bytes of both ends and in what they are made of. What is in
    /// the sink is put back. Returns what that did not show.
    pub(crate) fn probe(
        &mut self,
        plan: &Plan,
        block: u64,
        len: u64,
        interrupt: &Interrupt,
    ) -> Result<Vec<Untested>> {
        let watch = &|| interrupt.flow();
        // Enough for every alignment that is tried, if the memory has it.
        let size = self.room(plan).map_or(SPAN, |room| room.min(SPAN)).max(block);
        let (platform, memory) = (self.platform, &Arc::new(plan.memory(self.platform, size)?));
        let [of_source, of_sink] = &mut self.members;
        let ends = [
            (&mut self.source, &self.from, of_source, false),
            (&mut self.sink, &self.to, of_sink, true),
        ];
        let mut untested = Vec::new();
        for (client, end, members, drains) in ends {
            let (client, name) = (&mut **client, &*end.to_string());
            let mut probe = Probe { platform, client, name, memory, at: 0, len, watch };
            untested.extend(members.probe(&mut probe, true, drains)?.1);
        }
        Ok(untested)
    }

    /// Moves bytes as planned, each thread a part of them; breaks off if somebody wants to.
    pub(crate) fn run(&mut self, plan: Plan, job: Job, interrupt: &Interrupt) -> Result<Report> {
        let platform = self.platform;
        let before = platform.traffic();
        let mut movers = vec![Mover { platform, source: &mut *self.source, sink: &mut *self.sink }];
        movers.extend(self.workers.iter_mut().map(|worker| Mover {
            platform: worker.platform.as_ref().map_or(platform, |own| own as &dyn Platform),
            source: &mut *worker.source,
            sink: &mut *worker.sink,
        }));
        let mut report = parts::run(movers, &plan, job, interrupt)?;
        if let Machine::Vfio(_) = self.machine {
            // The threads share one count, and each has seen what the others moved meanwhile.
            let now = platform.traffic();
            report.traffic = now.zip(before).map(|(now, before)| now.since(&before));
        }
        Ok(report)
    }

    /// Reads both ends again and compares; returns how many blocks are equal.
    pub(crate) fn verify(&mut self, job: Job, interrupt: &Interrupt) -> Result<u64> {
        let (source, sink) = (&mut *self.source, &mut *self.sink);
        match p2pdma::verify(self.platform, source, sink, job, &|| interrupt.flow())? {
            None => Ok(job.len.div_ceil(job.block)),
            Some(Mismatch { block, at, .. }) => {
                let message = format!("block {block}, at byte {at}, differs after the transfer");
                Err(Failure::new(crate::exit::Exit::Mismatch, "P2P-DATA-LOST", message))
            }
        }
    }
}
