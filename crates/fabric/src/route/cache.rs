//! Answers of the router, kept per requester.

use std::fmt;
use std::sync::Arc;

use p2pdma_pci::Instant;

use crate::counters::{Counters, Traffic};
use crate::endpoint::BarMemory;
use crate::route::{Request, Requester, Resolution, Target, Via};
use crate::timing::{Burst, HostChannels, Packets, Trip, Wires};
use crate::tlp::{Access, AddressType, Attributes, PayloadClass};

/// A way that packets take, and what has taken it.
pub(crate) struct Route {
    pub(crate) start: u64,
    pub(crate) end: u64,
    base: u64,
    pub(crate) target: Target,
    pub(crate) via: Via,
    flavour: Flavour,
    /// The memory that it leads to, if it does.
    memory: Option<Arc<dyn BarMemory>>,
    /// What has gone this way; moved into the counters when the route is forgotten.
    passed: Passed,
    /// The links that the requests pass.
    out: Trip,
    /// The links that a read's completions pass.
    back: Trip,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("start", &self.start)
            .field("end", &self.end)
            .field("target", &self.target)
            .field("via", &self.via)
            .finish_non_exhaustive()
    }
}

impl Route {
    pub(crate) fn new(
        resolution: Resolution,
        target: Target,
        memory: Option<Arc<dyn BarMemory>>,
        request: &Request,
        packets: Packets,
    ) -> Self {
        let burst = match request.access {
            Access::Read => Burst::Requests,
            Access::Write => Burst::Writes,
        };
        Self {
            start: resolution.start,
            end: resolution.end,
            base: resolution.base,
            target,
            via: resolution.via,
            flavour: request.flavour,
            memory,
            passed: Passed::new(packets),
            out: Trip::new(burst, packets, resolution.out),
            back: Trip::new(Burst::Completions, packets, resolution.back),
        }
    }

    /// How many of `len` bytes from `at` on go this way.
    #[inline(always)]
    pub(crate) fn reach(&self, at: u64, len: usize) -> usize {
        len.min(usize::try_from(self.end - at).unwrap_or(usize::MAX))
    }

    /// Charges a read: when the last byte is with the requester. Of the transfer: the offset in the target,
    /// the length.
    #[inline(always)]
    pub(crate) fn time_read(
        &mut self,
        wires: &mut Wires<'_>,
        channels: &mut HostChannels,
        now: Instant,
        (offset, len): (u64, u64),
    ) -> Instant {
        let there = self.out.send(wires, now, len);
        let ready = match self.target {
            Target::Host => channels.access(offset, len, now, there),
            _ => there,
        };
        self.back.send(wires, ready, len)
    }

    /// Charges a posted write: when its last byte is there.
    #[inline(always)]
    pub(crate) fn time_write(
        &mut self,
        wires: &mut Wires<'_>,
        channels: &mut HostChannels,
        now: Instant,
        (offset, len): (u64, u64),
    ) -> Instant {
        let there = self.out.send(wires, now, len);
        match self.target {
            Target::Host => channels.access(offset, len, now, there),
            _ => there,
        }
    }

    /// The target's offset that `at` leads to.
    #[inline(always)]
    pub(crate) fn offset(&self, at: u64) -> u64 {
        self.base + (at - self.start)
    }

    /// Adds what went this way to the totals.
    pub(crate) fn account(&self, access: Access, counters: &mut Counters) {
        let (payload, requests) = self.passed.sum();
        let (out, back) = match access {
            Access::Read => (&requests, &payload),
            // A write is no request for anything.
            Access::Write => (&payload, &Traffic::default()),
        };
        for (trip, traffic) in [(&self.out, out), (&self.back, back)] {
            for hop in trip.hops() {
                if let Some(link) = counters.links.get_mut(hop.link) {
                    if hop.up { &mut link.up } else { &mut link.down }.add(traffic);
                }
            }
        }
        let total = match (self.target, self.via, access) {
            // Interrupts are no data of anybody's; the links have counted them.
            (Target::Interrupt, ..) => return,
            (Target::Lost, ..) => &mut counters.lost,
            (Target::Host, _, Access::Read) => &mut counters.host_reads,
            (Target::Host, _, Access::Write) => &mut counters.host_writes,
            (_, Via::Local, _) => &mut counters.peer_local,
            (_, Via::Root, _) => &mut counters.peer_through_root,
            (_, Via::Host, _) => return,
        };
        total.add(&payload);
    }

    /// Counts a transfer that goes this way.
    #[inline(always)]
    pub(crate) fn count(&mut self, class: PayloadClass, len: u64) {
        if self.passed.len != len {
            self.passed.begin(len);
        }
        self.passed.times[class as usize] += 1;
    }

    /// Reads the memory that this way leads to; false if it is closed, or no memory.
    #[inline(always)]
    pub(crate) fn read_memory(&self, offset: u64, data: &mut [u8]) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.read(offset, data).is_ok())
    }

    /// Writes the memory that this way leads to; false if it is closed, or no memory.
    #[inline(always)]
    pub(crate) fn write_memory(&self, offset: u64, data: &[u8]) -> bool {
        self.memory.as_ref().is_some_and(|memory| memory.write(offset, data).is_ok())
    }

    #[inline(always)]
    fn serves(&self, at: u64, flavour: Flavour) -> bool {
        // One that bears a forged requester ID is resolved anew each time.
        self.start <= at && at < self.end && self.flavour == flavour && flavour.0 & FORGED == 0
    }
}

/// Counted transfers. Most are as long as the one before, so those are only counted, and added up when
/// another length comes or somebody asks.
#[derive(Debug, Clone, Copy)]
struct Passed {
    packets: Packets,
    /// The length of the last transfers, and how many there were by class.
    len: u64,
    times: [u64; 3],
    /// All before those.
    payload: Traffic,
    requests: u64,
}

impl Passed {
    fn new(packets: Packets) -> Self {
        Self { packets, len: 0, times: [0; 3], payload: Traffic::default(), requests: 0 }
    }

    /// From now on, transfers of `len` bytes are counted.
    #[inline(never)]
    fn begin(&mut self, len: u64) {
        self.add_up();
        (self.len, self.times) = (len, [0; 3]);
    }

    /// Adds the last transfers to those before.
    #[inline]
    fn add_up(&mut self) {
        for (bytes, times) in self.payload.payload.iter_mut().zip(self.times) {
            *bytes += times * self.len;
            self.payload.tlps += times * self.packets.payloads(self.len);
            self.requests += times * self.packets.read_requests(self.len);
        }
    }

    /// What carried payload, and what read requests it took if it was read, which carry none.
    fn sum(&self) -> (Traffic, Traffic) {
        let mut all = *self;
        all.add_up();
        (all.payload, Traffic { tlps: all.requests, ..Traffic::default() })
    }
}

/// Requests of different flavour may go different ways to the same address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flavour(u8);

const FORGED: u8 = 1 << 2;

impl Attributes {
    #[inline(always)]
    pub(crate) fn flavour(&self) -> Flavour {
        let translated = self.address_type == AddressType::Translated;
        let forged = if self.forged_requester.is_some() { FORGED } else { 0 };
        Flavour(u8::from(translated) | u8::from(self.relaxed_ordering) << 1 | forged)
    }
}

/// The routes that every requester has taken in the present generation.
#[derive(Debug, Default)]
pub(crate) struct Routes(Vec<RouteCache>);

/// One requester's.
#[derive(Debug, Default)]
struct RouteCache {
    generation: u64,
    /// Reads and writes, each sorted by start.
    ways: [Ways; 2],
}

#[derive(Debug, Default)]
struct Ways {
    /// Routes of one flavour do not overlap.
    routes: Vec<Route>,
    last: usize,
}

/// More routes than this are not kept: a requester that scatters over as many mappings pays for
/// resolving again, and memory stays bounded.
const MOST: usize = 4096;

impl Routes {
    /// Whether a route serves the request in this generation; then it is the current one.
    #[inline(always)]
    pub(crate) fn find(
        &mut self,
        requester: Requester,
        generation: u64,
        access: Access,
        at: u64,
        flavour: Flavour,
    ) -> bool {
        let Some(cache) = self.0.get_mut(requester.0) else { return false };
        cache.generation == generation && cache.ways[access as usize].find(at, flavour)
    }

    /// The route that serves a whole transfer in this generation; then it is the current one. Of the
    /// transfer: the address, the length.
    #[inline(always)]
    pub(crate) fn way(
        &mut self,
        requester: Requester,
        generation: u64,
        access: Access,
        (at, len): (u64, u64),
        flavour: Flavour,
    ) -> Option<&mut Route> {
        let cache = self.0.get_mut(requester.0).filter(|cache| cache.generation == generation)?;
        let ways = &mut cache.ways[access as usize];
        if !ways.find(at, flavour) {
            return None;
        }
        // What serves the first byte ends behind it.
        ways.routes.get_mut(ways.last).filter(|route| len <= route.end.wrapping_sub(at))
    }

    /// The route that was found or inserted last.
    #[inline(always)]
    pub(crate) fn current(&mut self, requester: Requester, access: Access) -> Option<&mut Route> {
        let ways = &mut self.0.get_mut(requester.0)?.ways[access as usize];
        ways.routes.get_mut(ways.last)
    }

    /// Keeps a route, as the current one. What routes of earlier generations carried is added to the
    /// totals before they are forgotten.
    pub(crate) fn insert(
        &mut self,
        requester: Requester,
        generation: u64,
        access: Access,
        route: Route,
        counters: &mut Counters,
    ) {
        if self.0.len() <= requester.0 {
            self.0.resize_with(requester.0 + 1, RouteCache::default);
        }
        let Some(cache) = self.0.get_mut(requester.0) else { return };
        if cache.generation != generation || cache.ways[access as usize].routes.len() >= MOST {
            cache.account(counters);
            *cache = RouteCache { generation, ways: Default::default() };
        }
        cache.ways[access as usize].insert(route);
    }

    /// Adds what every route carried to the totals.
    pub(crate) fn account(&self, counters: &mut Counters) {
        for cache in &self.0 {
            cache.account(counters);
        }
    }
}

impl RouteCache {
    fn account(&self, counters: &mut Counters) {
        for (access, ways) in [Access::Read, Access::Write].into_iter().zip(&self.ways) {
            for route in &ways.routes {
                route.account(access, counters);
            }
        }
    }
}

impl Ways {
    #[inline(always)]
    fn find(&mut self, at: u64, flavour: Flavour) -> bool {
        self.routes.get(self.last).is_some_and(|route| route.serves(at, flavour))
            || self.search(at, flavour)
    }

    fn search(&mut self, at: u64, flavour: Flavour) -> bool {
        let after = self.routes.partition_point(|route| route.start <= at);
        // Routes of the four flavours may overlap one another, so the nearest start is not enough; of
        // one flavour's routes, only the last that starts before `at` can serve it.
        let before = self.routes[..after].iter().enumerate().rev();
        let mut same = before.filter(|(_, route)| route.flavour == flavour);
        match same.next().filter(|(_, route)| route.serves(at, flavour)) {
            Some((index, _)) => self.last = index,
            None => return false,
        }
        true
    }

    fn insert(&mut self, route: Route) {
        let at = self.routes.partition_point(|other| other.start <= route.start);
        self.routes.insert(at, route);
        self.last = at;
    }
}
