//! Answers of the router, kept per requester.

use std::sync::Arc;

use crate::counters::{Counters, Traffic};
use crate::route::{Request, Resolution, Target, Via};
use crate::timing::Hop;
use crate::tlp::Access;

/// A way that packets take, and what has taken it.
#[derive(Debug, Clone)]
pub(crate) struct Route {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) base: u64,
    pub(crate) target: Target,
    pub(crate) via: Via,
    flavour: u8,
    /// What has gone this way; moved into the counters when the route is forgotten.
    pub(crate) traffic: Traffic,
    /// Read requests that went this way, which carry no payload.
    pub(crate) requests: u64,
    pub(crate) path: Arc<Path>,
}

/// The links of a way.
#[derive(Debug, Default)]
pub(crate) struct Path {
    pub(crate) out: Vec<Hop>,
    pub(crate) back: Vec<Hop>,
}

impl Route {
    pub(crate) fn new(resolution: Resolution, target: Target, request: &Request) -> Self {
        Self {
            start: resolution.start,
            end: resolution.end,
            base: resolution.base,
            target,
            via: resolution.via,
            flavour: flavour(request),
            traffic: Traffic::default(),
            requests: 0,
            path: Arc::new(Path { out: resolution.out, back: resolution.back }),
        }
    }

    /// The target's offset that `at` leads to.
    #[inline]
    pub(crate) fn offset(&self, at: u64) -> u64 {
        self.base + (at - self.start)
    }

    /// Adds what went this way to the totals.
    pub(crate) fn account(&self, access: Access, counters: &mut Counters) {
        let requests = Traffic { tlps: self.requests, ..Traffic::default() };
        let (out, back) = match access {
            Access::Read => (&requests, &self.traffic),
            Access::Write => (&self.traffic, &requests),
        };
        for (path, traffic) in [(&self.path.out, out), (&self.path.back, back)] {
            for hop in path {
                if let Some(link) = counters.links.get_mut(hop.link) {
                    if hop.up { &mut link.up } else { &mut link.down }.add(traffic);
                }
            }
        }
        let total = match (self.target, self.via, access) {
            (Target::Host, _, Access::Read) => &mut counters.host_reads,
            (Target::Host, _, Access::Write) => &mut counters.host_writes,
            (_, Via::Local, _) => &mut counters.peer_local,
            (_, Via::Root, _) => &mut counters.peer_through_root,
            (_, Via::Host, _) => return,
        };
        total.add(&self.traffic);
    }

    #[inline]
    fn serves(&self, at: u64, flavour: u8) -> bool {
        self.start <= at && at < self.end && self.flavour == flavour
    }
}

/// Requests of different flavour may go different ways to the same address. Those with a forged
/// requester share a flavour that is never looked up.
#[inline]
fn flavour(request: &Request) -> u8 {
    u8::from(request.translated)
        | u8::from(request.relaxed_ordering) << 1
        | u8::from(request.forged_requester.is_some()) << 2
}

/// The routes that one requester has taken in the present generation.
#[derive(Debug, Default)]
pub(crate) struct RouteCache {
    generation: u64,
    reads: Ways,
    writes: Ways,
}

/// Sorted by start; routes of one flavour do not overlap.
#[derive(Debug, Default)]
struct Ways {
    routes: Vec<Route>,
    last: usize,
}

/// More routes than this are not kept: a requester that scatters over as many mappings pays for
/// resolving again, and memory stays bounded.
const MOST: usize = 4096;

impl RouteCache {
    /// Whether there is a route for the request in this generation; then it is the current one.
    #[inline]
    pub(crate) fn find(&mut self, generation: u64, request: &Request) -> bool {
        self.generation == generation
            && request.forged_requester.is_none()
            && self.ways(request.access).find(request.at, flavour(request))
    }

    /// The route that was found or inserted last.
    #[inline]
    pub(crate) fn current(&mut self, access: Access) -> Option<&mut Route> {
        let ways = self.ways(access);
        ways.routes.get_mut(ways.last)
    }

    /// Whether the routes must be taken out before another is inserted.
    pub(crate) fn must_drain(&self, generation: u64, access: Access) -> bool {
        let ways = match access {
            Access::Read => &self.reads,
            Access::Write => &self.writes,
        };
        self.generation != generation || ways.routes.len() >= MOST
    }

    /// Takes every route out and begins a new generation.
    pub(crate) fn drain(&mut self, generation: u64) -> Vec<(Access, Route)> {
        self.generation = generation;
        let reads = self.reads.routes.drain(..).map(|route| (Access::Read, route));
        let writes = self.writes.routes.drain(..).map(|route| (Access::Write, route));
        reads.chain(writes).collect()
    }

    /// Every route with its direction.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Access, &Route)> {
        let reads = self.reads.routes.iter().map(|route| (Access::Read, route));
        reads.chain(self.writes.routes.iter().map(|route| (Access::Write, route)))
    }

    pub(crate) fn insert(&mut self, access: Access, route: Route) {
        self.ways(access).insert(route);
    }

    #[inline]
    fn ways(&mut self, access: Access) -> &mut Ways {
        match access {
            Access::Read => &mut self.reads,
            Access::Write => &mut self.writes,
        }
    }
}

impl Ways {
    #[inline]
    fn find(&mut self, at: u64, flavour: u8) -> bool {
        if self.routes.get(self.last).is_some_and(|route| route.serves(at, flavour)) {
            return true;
        }
        match self.search(at, flavour) {
            Some(index) => self.last = index,
            None => return false,
        }
        true
    }

    fn search(&self, at: u64, flavour: u8) -> Option<usize> {
        let after = self.routes.partition_point(|route| route.start <= at);
        // Routes of the four flavours may overlap one another, so the nearest start is not enough; of
        // one flavour's routes, only the last that starts before `at` can serve it.
        let before = self.routes[..after].iter().enumerate().rev();
        let mut same = before.filter(|(_, route)| route.flavour == flavour);
        same.next().filter(|(_, route)| route.serves(at, flavour)).map(|(index, _)| index)
    }

    fn insert(&mut self, route: Route) {
        let at = self.routes.partition_point(|other| other.start <= route.start);
        self.routes.insert(at, route);
        self.last = at;
    }
}
