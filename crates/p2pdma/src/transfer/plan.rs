//! Who moves what, through which memory: decided before the first byte, with reasons.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{ReasonCode, Refusal, Route, Topology};

use crate::Error;
use crate::memory::{PeerMemory, ProviderKind};
use crate::platform::{Platform, Provider, ProviderId};
use crate::transfer::{End, Policy, Shape, Stage, Wish};

/// Memory that could be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Candidate {
    /// Whose, and which.
    pub id: ProviderId,
    /// How many bytes it can lend: the longest run, or what is free in all where that is not told (the kernel's pools).
    pub capacity: u64,
}

impl Candidate {
    /// All memory that a machine can lend at present.
    ///
    /// # Errors
    /// What the platform says.
    pub fn all(platform: &dyn Platform) -> Result<Vec<Self>, Error> {
        Ok(platform.providers()?.iter().filter_map(Self::of).collect())
    }

    /// A provider as a candidate; `None` for host memory, which is nobody's peer.
    #[must_use]
    pub fn of(provider: &Arc<dyn Provider>) -> Option<Self> {
        let (bdf, ProviderKind::Peer(kind)) = (provider.bdf()?, provider.kind()) else {
            return None;
        };
        Some(Self { id: ProviderId { bdf, kind }, capacity: provider.capacity() })
    }
}

/// The memory that blocks pass through, or end in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// A device's.
    Peer(ProviderId),
    /// The host's.
    Host,
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Peer(provider) => provider.fmt(f),
            Self::Host => f.write_str("host memory"),
        }
    }
}

/// How one end reaches the memory.
#[derive(Debug, Clone, PartialEq)]
pub enum Reach {
    /// It is its own.
    Own,
    /// It is a peer's.
    Peer(Route),
    /// It is the host's, as for any DMA.
    Host,
    /// The processor copies.
    Processor,
}

/// What one end does.
#[derive(Debug, Clone, PartialEq)]
pub struct Leg {
    /// Who.
    pub end: End,
    /// Whether it fills the memory or drains it.
    pub stage: Stage,
    /// How it gets there.
    pub reach: Reach,
}

/// Why a candidate was not chosen.
#[derive(Debug, Clone, PartialEq)]
pub enum Why {
    /// An end cannot reach it.
    Refused(Box<Refusal>),
    /// It cannot lend even one block.
    TooSmall {
        /// What it can lend, in bytes.
        capacity: u64,
        /// What is needed.
        needed: u64,
    },
    /// Another is nearer.
    Farther {
        /// How many legs pass through a host bridge.
        bridges: u32,
        /// The kernel's distances of both legs together.
        distance: u32,
    },
    /// Another was asked for by name.
    NotAsked,
    /// It is not published: what is in it would be overwritten, so it has to be asked for by name.
    Unpublished,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::TooSmall { capacity: 0, .. } => f.write_str("it can lend nothing at present"),
            Self::TooSmall { capacity, needed } => {
                write!(f, "it can lend {capacity} bytes, and a block needs {needed}")
            }
            Self::Farther { bridges: 0, distance } => write!(f, "farther: distance {distance}"),
            Self::Farther { distance, .. } => {
                write!(f, "farther: through a host bridge, distance {distance}")
            }
            Self::NotAsked => f.write_str("another was asked for"),
            Self::Unpublished => {
                f.write_str("it is lent by name only: what is in it would be overwritten")
            }
        }
    }
}

/// A candidate that was not chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejected {
    /// Which.
    pub id: ProviderId,
    /// Why.
    pub why: Why,
}

/// A transfer, planned.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// What was asked for.
    pub wish: Wish,
    /// Through memory, into it, or out of it.
    pub shape: Shape,
    /// The memory.
    pub via: Via,
    /// What each end does: one leg into the memory, one out of it, or only one of them.
    pub legs: Vec<Leg>,
    /// The candidates that were not chosen.
    pub rejected: Vec<Rejected>,
    /// Why it goes through host memory although peer to peer was preferred.
    pub bounced: Option<Box<NoPath>>,
}

/// There is no peer-to-peer path.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct NoPath {
    /// What was asked for.
    pub wish: Wish,
    /// The reason that stands for all.
    pub code: ReasonCode,
    /// Every candidate, with its own reason. The one that came nearest is first.
    pub rejected: Vec<Rejected>,
}

impl NoPath {
    /// The refusal with the evidence, if an end could not reach the memory that came nearest.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        self.rejected.iter().find_map(|rejected| match &rejected.why {
            Why::Refused(refusal) => Some(&**refusal),
            _ => None,
        })
    }
}

impl fmt::Display for NoPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(refusal) = self.refusal() {
            return refusal.fmt(f);
        }
        let Wish { source, sink, barrier, .. } = &self.wish;
        write!(f, "[{}] no peer-to-peer path from {source} to {sink}: ", self.code)?;
        if let Some(barrier) = barrier {
            return barrier.fmt(f);
        }
        match self.rejected.first() {
            Some(rejected) => write!(f, "{}: {}", rejected.id, rejected.why),
            None if self.code == ReasonCode::NoPeerMemory => match self.wish.via {
                Some(via) => write!(f, "{via} is not there"),
                None => f.write_str("no device lends memory"),
            },
            None => f.write_str("neither end starts requests"),
        }
    }
}

impl Plan {
    /// Plans a transfer on a machine as it is now, with all memory that it can lend.
    ///
    /// # Errors
    /// [`Error::NoPath`] if there is no path, and the policy does not allow host memory; what the platform
    /// says.
    pub fn on(platform: &dyn Platform, wish: Wish) -> Result<Self, Error> {
        Ok(Self::new(&*platform.topology()?, wish, &Candidate::all(platform)?)?)
    }

    /// Plans a transfer, from nothing but what is given.
    ///
    /// Among the candidates that both ends reach, the nearest is chosen: fewest legs through a host
    /// bridge, then the smallest sum of the kernel's distances, then the lowest address. What is not
    /// published, as a persistent memory region, is used only if the wish names it: its contents would be
    /// lost.
    ///
    /// # Errors
    /// [`NoPath`] if there is none, and the policy does not allow host memory.
    pub fn new(
        topology: &Topology,
        wish: Wish,
        candidates: &[Candidate],
    ) -> Result<Self, Box<NoPath>> {
        let between_devices = wish.source != End::Host && wish.sink != End::Host;
        if between_devices && wish.policy == Policy::Off {
            return Ok(Self::through_host(wish, None));
        }
        let policy = wish.policy;
        let planned = match (&wish.source, &wish.sink) {
            (End::Host, &End::Memory(memory)) | (&End::Memory(memory), End::Host) => {
                Ok(Self::by_processor(wish.clone(), memory))
            }
            (End::Host, _) | (_, End::Host) => Ok(Self::through_host(wish.clone(), None)),
            _ if wish.barrier.is_some() => Err(barred(&wish)),
            (End::Memory(_), End::Memory(_)) => Err(no_path(&wish, ReasonCode::NoMover)),
            (_, &End::Memory(memory)) => {
                Self::direct(topology, &wish, candidates, memory, Stage::Fill)
            }
            (&End::Memory(memory), _) => {
                Self::direct(topology, &wish, candidates, memory, Stage::Drain)
            }
            _ => Self::through_peer(topology, &wish, candidates),
        };
        match planned {
            Err(no_path) if policy == Policy::Prefer => Ok(Self::through_host(wish, Some(no_path))),
            planned => planned,
        }
    }

    /// Takes `len` bytes of the memory that was chosen.
    ///
    /// # Errors
    /// [`Error::PoolEmpty`], or what the provider says.
    pub fn memory(&self, platform: &dyn Platform, len: u64) -> Result<PeerMemory, Error> {
        match self.via {
            Via::Host => platform.host_memory()?.alloc(len),
            Via::Peer(id) => provider(platform, id)?.alloc(len),
        }
    }

    /// Takes a given part of the memory that was chosen, where it is an end of the transfer.
    ///
    /// # Errors
    /// [`Error::OutsideMemory`], [`Error::PoolEmpty`], or what the provider says.
    pub fn part(&self, platform: &dyn Platform, range: Range<u64>) -> Result<PeerMemory, Error> {
        match self.via {
            Via::Host => platform.host_memory()?.part(range),
            Via::Peer(id) => provider(platform, id)?.part(range),
        }
    }

    /// Whether user data passes host memory by plan.
    #[must_use]
    pub fn uses_host_memory(&self) -> bool {
        self.via == Via::Host
    }

    /// Whether both ends are devices, so that "peer to peer" has a meaning.
    #[must_use]
    pub fn between_devices(&self) -> bool {
        self.wish.source != End::Host && self.wish.sink != End::Host
    }

    fn through_host(wish: Wish, bounced: Option<Box<NoPath>>) -> Self {
        let leg = |end: &End, stage| {
            let reach = match end {
                End::Client(_) | End::Volume(_) => Reach::Host,
                End::Memory(_) | End::Host => Reach::Processor,
            };
            Leg { end: end.clone(), stage, reach }
        };
        let legs = vec![leg(&wish.source, Stage::Fill), leg(&wish.sink, Stage::Drain)];
        let rejected = bounced.as_ref().map(|no_path| no_path.rejected.clone());
        let rejected = rejected.unwrap_or_default();
        Self { wish, shape: Shape::Through, via: Via::Host, legs, rejected, bounced }
    }

    /// Between the host and a device's memory: the processor copies.
    fn by_processor(wish: Wish, memory: ProviderId) -> Self {
        let into = wish.source == End::Host;
        let (shape, stage) =
            if into { (Shape::Into, Stage::Fill) } else { (Shape::OutOf, Stage::Drain) };
        let legs = vec![Leg { end: End::Host, stage, reach: Reach::Processor }];
        let via = Via::Peer(memory);
        Self { wish, shape, via, legs, rejected: Vec::new(), bounced: None }
    }

    /// Between a client and memory that is itself the other end.
    fn direct(
        topology: &Topology,
        wish: &Wish,
        candidates: &[Candidate],
        memory: ProviderId,
        stage: Stage,
    ) -> Result<Self, Box<NoPath>> {
        let wish = Wish { via: Some(memory), ..wish.clone() };
        if !candidates.iter().any(|candidate| candidate.id == memory) {
            return Err(no_path(&wish, ReasonCode::NoPeerMemory));
        }
        let end = if stage == Stage::Fill { &wish.source } else { &wish.sink };
        let reach = reach(topology, end, memory.bdf).map_err(|refusal| {
            let (code, why) = (refusal.code, Why::Refused(refusal));
            let rejected = vec![Rejected { id: memory, why }];
            Box::new(NoPath { wish: wish.clone(), code, rejected })
        })?;
        let shape = if stage == Stage::Fill { Shape::Into } else { Shape::OutOf };
        let legs = vec![Leg { end: end.clone(), stage, reach }];
        let via = Via::Peer(memory);
        Ok(Self { wish, shape, via, legs, rejected: Vec::new(), bounced: None })
    }

    /// Between two clients, through a third's memory or one of their own.
    fn through_peer(
        topology: &Topology,
        wish: &Wish,
        candidates: &[Candidate],
    ) -> Result<Self, Box<NoPath>> {
        let mut usable: Vec<(Score, ProviderId, [Reach; 2])> = Vec::new();
        let mut rejected = Vec::new();
        for candidate in candidates {
            match judge(topology, wish, *candidate) {
                Ok((score, reaches)) => usable.push((score, candidate.id, reaches)),
                Err(why) => rejected.push(Rejected { id: candidate.id, why }),
            }
        }
        usable.sort_by_key(|(score, ..)| *score);
        let mut ranked = usable.into_iter();
        let Some((_, id, [fill, drain])) = ranked.next() else {
            rejected.sort_by_key(|rejected| nearness(wish, rejected));
            let (wish, code) = (wish.clone(), code_of(&rejected));
            return Err(Box::new(NoPath { wish, code, rejected }));
        };
        let farther = ranked.map(|(score, id, _)| Rejected {
            id,
            why: Why::Farther { bridges: score.bridges, distance: score.distance },
        });
        rejected.extend(farther);
        let legs = vec![
            Leg { end: wish.source.clone(), stage: Stage::Fill, reach: fill },
            Leg { end: wish.sink.clone(), stage: Stage::Drain, reach: drain },
        ];
        let (wish, via) = (wish.clone(), Via::Peer(id));
        Ok(Self { wish, shape: Shape::Through, via, legs, rejected, bounced: None })
    }
}

fn provider(platform: &dyn Platform, id: ProviderId) -> Result<Arc<dyn Provider>, Error> {
    let is = |provider: &Arc<dyn Provider>| {
        Candidate::of(provider).is_some_and(|candidate| candidate.id == id)
    };
    platform.providers()?.into_iter().find(is).ok_or(Error::NoProvider(id))
}

/// How near a candidate is; smaller is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    bridges: u32,
    distance: u32,
    id: ProviderId,
}

fn judge(
    topology: &Topology,
    wish: &Wish,
    candidate: Candidate,
) -> Result<(Score, [Reach; 2]), Why> {
    match wish.via {
        Some(via) if via != candidate.id => return Err(Why::NotAsked),
        None if !is_published(topology, candidate.id) => return Err(Why::Unpublished),
        _ => {}
    }
    if candidate.capacity < wish.block {
        return Err(Why::TooSmall { capacity: candidate.capacity, needed: wish.block });
    }
    let to = |end| reach(topology, end, candidate.id.bdf).map_err(Why::Refused);
    let reaches = [to(&wish.source)?, to(&wish.sink)?];
    let mut score = Score { bridges: 0, distance: 0, id: candidate.id };
    for reach in &reaches {
        if let Reach::Peer(route) = reach {
            score.bridges += u32::from(matches!(route, Route::ThroughHostBridge { .. }));
            score.distance += route.distance().unwrap_or(0);
        }
    }
    Ok((score, reaches))
}

/// Whether memory is for whoever comes; what the topology does not know was offered by the caller.
fn is_published(topology: &Topology, id: ProviderId) -> bool {
    let node = topology.find(id.bdf).map(|at| topology.node(at));
    let mut lent = node.into_iter().flat_map(|node| &node.memory);
    lent.find(|memory| memory.kind == id.kind).is_none_or(|memory| memory.published)
}

/// How an end reaches a provider: as that of its devices does for which it is hardest.
fn reach(topology: &Topology, end: &End, provider: Bdf) -> Result<Reach, Box<Refusal>> {
    let mut hardest = Reach::Own;
    for &client in end.clients() {
        if client == provider {
            continue;
        }
        let route = topology.route(client, provider).require()?;
        let harder = match &hardest {
            Reach::Peer(other) => hardness(&route) > hardness(other),
            _ => true,
        };
        if harder {
            hardest = Reach::Peer(route);
        }
    }
    Ok(hardest)
}

fn hardness(route: &Route) -> (bool, Option<u32>) {
    (matches!(route, Route::ThroughHostBridge { .. }), route.distance())
}

fn no_path(wish: &Wish, code: ReasonCode) -> Box<NoPath> {
    Box::new(NoPath { wish: wish.clone(), code, rejected: Vec::new() })
}

/// One of the ends passes no peer-to-peer transfer on.
fn barred(wish: &Wish) -> Box<NoPath> {
    no_path(wish, wish.barrier.as_ref().map_or(ReasonCode::NoMover, |barrier| barrier.code))
}

/// What stands for all reasons: a refused path says more than a full pool, which says more than none.
fn code_of(rejected: &[Rejected]) -> ReasonCode {
    let refused = rejected.iter().find_map(|rejected| match &rejected.why {
        Why::Refused(refusal) => Some(refusal.code),
        _ => None,
    });
    let too_small = rejected.iter().any(|rejected| matches!(rejected.why, Why::TooSmall { .. }));
    let other = if too_small { ReasonCode::PoolEmpty } else { ReasonCode::NoPeerMemory };
    refused.unwrap_or(other)
}

/// Orders refused candidates: what an end owns itself first, then by address; what was not asked for
/// last.
fn nearness(wish: &Wish, rejected: &Rejected) -> (bool, bool, ProviderId) {
    let own = |end: &End| end.clients().contains(&rejected.id.bdf);
    let foreign = !own(&wish.source) && !own(&wish.sink);
    (rejected.why == Why::NotAsked, foreign, rejected.id)
}
