//! The walk of a packet through the machine, decision by decision.

use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::IommuMode;
use p2pdma_spec::pci::acs::AcsControl;

use crate::acs::Peer;
use crate::host::interrupt::INTERRUPTS;
use crate::iommu::FaultReason;
use crate::route::{Failure, FailureKind, Reporter, Request, Resolution, Target, Via};
use crate::state::Machine;
use crate::timing::Hop;
use crate::tlp::Access;
use crate::tree::Content;

/// Resolves a request of a function.
pub(crate) fn from_function(machine: &Machine, function: usize, request: &Request) -> Resolution {
    let mut walk = Walk::new(machine, request);
    let outcome = walk.leave(function);
    let via = walk.via;
    let mut resolution = walk.finish(outcome);
    if request.access == Access::Read
        && let Ok(target) = resolution.outcome
    {
        match completions(machine, function, target, request) {
            Ok((back, via)) => (resolution.back, resolution.via) = (back, via),
            Err(failure) => resolution.outcome = Err(failure),
        }
    } else {
        resolution.via = via;
    }
    resolution
}

/// Resolves a request of the processor.
pub(crate) fn from_host(machine: &Machine, request: &Request) -> Resolution {
    let mut walk = Walk::new(machine, request);
    let outcome = walk.decode(request.at, None);
    let mut resolution = walk.finish(outcome);
    let turned = resolution.out.iter().rev().map(|hop| Hop { up: true, ..*hop });
    resolution.back = turned.collect();
    resolution
}

/// A packet under way.
struct Walk<'a> {
    machine: &'a Machine,
    request: &'a Request,
    out: Vec<Hop>,
    via: Via,
    /// The addresses, as the requester emits them, for which every decision so far holds.
    start: u64,
    end: u64,
    /// What the IOMMU added to the address (wrapping).
    shift: u64,
    base: u64,
    source: Option<usize>,
}

impl<'a> Walk<'a> {
    fn new(machine: &'a Machine, request: &'a Request) -> Self {
        let (start, end) = machine.boundaries.around(request.at);
        let (out, via) = (Vec::new(), Via::Host);
        Self { machine, request, out, via, start, end, shift: 0, base: 0, source: None }
    }

    fn finish(self, outcome: Result<Target, Failure>) -> Resolution {
        Resolution {
            outcome,
            start: self.start,
            end: self.end,
            base: self.base,
            out: self.out,
            back: Vec::new(),
            via: self.via,
        }
    }

    fn leave(&mut self, source: usize) -> Result<Target, Failure> {
        self.source = Some(source);
        let function = &self.machine.tree.functions[source];
        let fail = |kind| Err(Failure { at: Reporter::Function(source), kind });
        if !function.present || !self.machine.links[self.port_link(function.port)].up {
            return fail(FailureKind::LinkDown);
        }
        if !function.bus_master {
            return fail(FailureKind::BusMasterDisabled);
        }
        if let Some(sibling) = self.sibling(source) {
            let number = self.machine.tree.functions[sibling].number;
            match function.acs.request(self.request.translated, number) {
                Peer::Direct => {
                    self.via = Via::Local;
                    return self.deliver(sibling, self.request.at);
                }
                Peer::Redirect => {}
                Peer::Block => return fail(FailureKind::AcsViolation(egress_control())),
            }
        }
        self.ascend(function.port)
    }

    /// Another function of the same device that decodes the address: such traffic stays inside.
    fn sibling(&self, source: usize) -> Option<usize> {
        let tree = &self.machine.tree;
        let functions = &tree.ports[tree.functions[source].port].functions;
        let decodes = |&other: &usize| other != source && self.decodes(other, self.request.at);
        functions.iter().copied().find(decodes)
    }

    /// Up the link below `port`, and on from there.
    fn ascend(&mut self, mut port: usize) -> Result<Target, Failure> {
        let tree = &self.machine.tree;
        loop {
            self.hop(port, true);
            let here = &tree.ports[port];
            self.check_ingress(port)?;
            let Some(above) = here.above else {
                // All that comes up to a root port enters the root complex, even what leads back down.
                return self.root(port);
            };
            if here.decode.has_address(self.request.at) && !here.acs.forwards_upstream() {
                self.via = Via::Local;
                return self.descend(port, self.request.at);
            }
            if let Some(peer) = self.peer_port(port) {
                match here.acs.request(self.request.translated, tree.ports[peer].device) {
                    Peer::Direct => {
                        self.via = Via::Local;
                        return self.descend(peer, self.request.at);
                    }
                    Peer::Redirect => {}
                    Peer::Block => return self.violation(port, egress_control()),
                }
            } else if tree.ports[above].decode.has_address(self.request.at)
                && !here.decode.has_address(self.request.at)
            {
                // Inside the switch's window, and no downstream port claims it.
                return self.unsupported(above);
            }
            if !tree.ports[above].decode.bus_master {
                return self.unsupported(above);
            }
            // An upstream port always has a port above it.
            let Some(next) = tree.ports[above].above else {
                return self.unsupported(above);
            };
            port = next;
        }
    }

    /// What a downstream-facing port checks of everything that comes up to it.
    fn check_ingress(&self, port: usize) -> Result<(), Failure> {
        let here = &self.machine.tree.ports[port];
        let control = here.acs.control;
        if control.source_validation() && !here.decode.has_bus(self.requester_bus()) {
            return self.violation(port, AcsControl::new().with_source_validation(true));
        }
        if control.translation_blocking() && self.request.translated {
            return self.violation(port, AcsControl::new().with_translation_blocking(true));
        }
        if here.decode.bus_master { Ok(()) } else { self.unsupported(port) }
    }

    /// Another port of the same switch that decodes the address.
    fn peer_port(&self, port: usize) -> Option<usize> {
        let tree = &self.machine.tree;
        let siblings = &tree.ports[tree.ports[port].above?].below;
        let decodes =
            |&other: &usize| other != port && tree.ports[other].decode.has_address(self.request.at);
        siblings.iter().copied().find(decodes)
    }

    /// Into the root complex, having come up to root port `port`.
    fn root(&mut self, port: usize) -> Result<Target, Failure> {
        self.via = Via::Root;
        let is_interrupt = self.request.access == Access::Write
            && !self.request.translated
            && INTERRUPTS.contains(&self.request.at);
        if is_interrupt {
            self.base = self.start;
            return Ok(Target::Interrupt);
        }
        self.check_egress(port)?;
        let address = self.translate(port)?;
        self.narrow(address);
        self.decode(address, Some(port))
    }

    /// Through the IOMMU, if there is one.
    fn translate(&mut self, port: usize) -> Result<u64, Failure> {
        let at = self.request.at;
        let mode = self.machine.iommu_mode;
        if mode == IommuMode::Off {
            // Nobody vouches for translated requests where no translation agent is.
            return if self.request.translated { self.unsupported(port) } else { Ok(at) };
        }
        let fault = |reason| Failure { at: Reporter::Iommu, kind: FailureKind::Iommu(reason) };
        let owner = match self.request.forged_requester {
            Some(_) => self.machine.tree.function_at(self.requester(port)),
            None => self.source,
        };
        let owner = owner.ok_or(fault(FaultReason::NoDomain))?;
        let domain = &self.machine.tree.functions[owner].domain;
        if self.request.translated {
            let allowed = domain.translated_allowed;
            return if allowed { Ok(at) } else { Err(fault(FaultReason::TranslatedNotAllowed)) };
        }
        if mode == IommuMode::Passthrough {
            return Ok(at);
        }
        let found = domain.translate(at, self.request.access).map_err(fault)?;
        self.start = self.start.max(found.start);
        self.end = self.end.min(found.end);
        self.shift = found.target.wrapping_sub(found.start);
        Ok(at.wrapping_add(self.shift))
    }

    /// Keeps only the addresses whose translations are decoded like `address`.
    fn narrow(&mut self, address: u64) {
        let (first, end) = self.machine.boundaries.around(address);
        let before = (address - first).min(self.request.at - self.start);
        let after = (end - address).min(self.end - self.request.at);
        self.start = self.request.at - before;
        self.end = self.request.at + after;
    }

    /// The root complex's own decision over a physical address. `from` is the root port that a device's
    /// request came up to; the processor's has none.
    fn decode(&mut self, address: u64, from: Option<usize>) -> Result<Target, Failure> {
        if self.machine.host_memory.contains(address) {
            self.via = Via::Host;
            self.base = self.start.wrapping_add(self.shift);
            return Ok(Target::Host);
        }
        let reporter = from.map_or(Reporter::HostBridge, Reporter::Port);
        let unclaimed = Failure { at: reporter, kind: FailureKind::Unsupported };
        let to = self.root_port_of(address).ok_or(unclaimed)?;
        match from.map_or(PeerPolicy::Forward, |from| self.policy(from, to)) {
            PeerPolicy::Forward => self.descend(to, address),
            PeerPolicy::Refuse => Err(Failure { at: reporter, kind: FailureKind::Unsupported }),
            PeerPolicy::Lose => Ok(Target::Lost),
        }
    }

    /// The root port below which an address is decoded.
    fn root_port_of(&self, address: u64) -> Option<usize> {
        let tree = &self.machine.tree;
        let mut ports = tree.host_bridges.iter().flat_map(|bridge| bridge.ports.iter().copied());
        ports.find(|&port| tree.ports[port].decode.has_address(address))
    }

    /// Egress control at a root port, for requests to another port of the same root complex. What it
    /// redirects goes on through the root complex, as everything here does.
    fn check_egress(&self, from: usize) -> Result<(), Failure> {
        let Some(to) = self.root_port_of(self.request.at) else { return Ok(()) };
        let tree = &self.machine.tree;
        let (here, there) = (&tree.ports[from], &tree.ports[to]);
        let peers = from != to && here.host_bridge == there.host_bridge;
        match here.acs.request(self.request.translated, there.device) {
            Peer::Block if peers => self.violation(from, egress_control()),
            _ => Ok(()),
        }
    }

    /// Between two host bridges both must forward; if one loses, nobody hears of it.
    fn policy(&self, from: usize, to: usize) -> PeerPolicy {
        let tree = &self.machine.tree;
        let of = |port: usize| tree.host_bridges[tree.ports[port].host_bridge].policy;
        match (of(from), of(to)) {
            (PeerPolicy::Forward, PeerPolicy::Forward) => PeerPolicy::Forward,
            (PeerPolicy::Lose, _) | (_, PeerPolicy::Lose) => PeerPolicy::Lose,
            _ => PeerPolicy::Refuse,
        }
    }

    /// Down through `port` to whoever decodes the address.
    fn descend(&mut self, mut port: usize, address: u64) -> Result<Target, Failure> {
        let tree = &self.machine.tree;
        loop {
            let here = &tree.ports[port];
            if !self.machine.links[here.link].up {
                return Err(Failure { at: Reporter::Port(port), kind: FailureKind::Unsupported });
            }
            self.hop(port, false);
            let Some(&upstream) = here.below.first() else {
                break;
            };
            let switch = &tree.ports[upstream];
            let decodes = |&below: &usize| tree.ports[below].decode.has_address(address);
            let passes = switch.decode.has_address(address);
            let next = switch.below.iter().copied().find(decodes).filter(|_| passes);
            port = match next {
                Some(next) => next,
                None => return self.unsupported(upstream),
            };
        }
        let functions = &tree.ports[port].functions;
        match functions.iter().copied().find(|&function| self.decodes(function, address)) {
            Some(function) => self.deliver(function, address),
            None => self.unsupported(port),
        }
    }

    fn decodes(&self, function: usize, address: u64) -> bool {
        let function = &self.machine.tree.functions[function];
        let has = |range: (u64, u64)| range.0 <= address && address < range.1;
        function.present
            && function.memory_enable
            && function.bars.iter().any(|bar| bar.range().is_some_and(has))
    }

    /// To the BAR of `function` that decodes the address.
    fn deliver(&mut self, function: usize, address: u64) -> Result<Target, Failure> {
        let unsupported =
            Failure { at: Reporter::Function(function), kind: FailureKind::Unsupported };
        if self.source == Some(function) {
            // No port turns a request back to the function that sent it.
            return Err(unsupported);
        }
        let bars = &self.machine.tree.functions[function].bars;
        let hit = bars.iter().enumerate().find_map(|(bar, state)| {
            let (start, end) = state.range()?;
            let bar = u8::try_from(bar).ok()?;
            (start <= address && address < end).then(|| (bar, state, address - start))
        });
        let (bar, state, offset) = hit.ok_or(unsupported)?;
        let holds = |region: &crate::tree::Region| region.start <= offset && offset < region.end;
        let found = state.regions.iter().enumerate().find(|(_, region)| holds(region));
        let (index, part) = found.ok_or(unsupported)?;
        let region = u8::try_from(index).map_err(|_| unsupported)?;
        let (target, inside) = match part.content {
            Content::Memory(_) => {
                let target = Target::Memory { function, bar, region };
                (target, offset - part.start)
            }
            Content::Registers => (Target::Registers { function, bar }, offset),
            Content::MsixTable => (Target::MsixTable { function }, offset - part.start),
            Content::MsixPending => (Target::MsixPending { function }, offset - part.start),
        };
        // The run of addresses ends inside this region, since its bounds are boundaries.
        self.base = inside - (self.request.at - self.start);
        Ok(target)
    }

    fn hop(&mut self, port: usize, up: bool) {
        let link = self.port_link(port);
        let then = if up {
            self.machine.behind_upper_end(port)
        } else {
            self.machine.behind_lower_end(port)
        };
        self.out.push(Hop { link, up, then });
    }

    fn port_link(&self, port: usize) -> usize {
        self.machine.tree.ports[port].link
    }

    fn requester(&self, port: usize) -> p2pdma_pci::Bdf {
        let tree = &self.machine.tree;
        let domain = tree.host_bridges[tree.ports[port].host_bridge].domain;
        let own = self.source.map_or(0, |source| tree.function_bdf(source).requester());
        p2pdma_pci::Bdf::from_requester(domain, self.request.forged_requester.unwrap_or(own))
    }

    fn requester_bus(&self) -> u8 {
        let own =
            self.source.map_or(0, |source| self.machine.tree.function_bdf(source).requester());
        self.request.forged_requester.unwrap_or(own).to_be_bytes()[0]
    }

    fn unsupported<T>(&self, port: usize) -> Result<T, Failure> {
        Err(Failure { at: Reporter::Port(port), kind: FailureKind::Unsupported })
    }

    fn violation<T>(&self, port: usize, control: AcsControl) -> Result<T, Failure> {
        Err(Failure { at: Reporter::Port(port), kind: FailureKind::AcsViolation(control) })
    }
}

fn egress_control() -> AcsControl {
    AcsControl::new().with_egress_control(true)
}

/// The way of a read's completions, which are routed by the requester's bus number.
fn completions(
    machine: &Machine,
    requester: usize,
    target: Target,
    request: &Request,
) -> Result<(Vec<Hop>, Via), Failure> {
    let lost = Failure { at: Reporter::Function(requester), kind: FailureKind::CompletionLost };
    if request.forged_requester.is_some() {
        // They go to whom the request named.
        return Err(lost);
    }
    let down = way_down(machine, requester);
    let completer = match target {
        Target::Memory { function, .. }
        | Target::Registers { function, .. }
        | Target::MsixTable { function }
        | Target::MsixPending { function } => function,
        Target::Host | Target::Interrupt => return Ok((down, Via::Host)),
        Target::Lost => return Ok((down, Via::Root)),
    };
    let tree = &machine.tree;
    let relaxed = request.relaxed_ordering;
    let from = &tree.functions[completer];
    let to = &tree.functions[requester];
    if from.port == to.port && !from.acs.redirects_completion(relaxed) {
        return Ok((Vec::new(), Via::Local));
    }
    let bus = tree.function_bdf(requester).bus();
    let same_domain = |port: usize| tree.ports[port].host_bridge == tree.ports[to.port].host_bridge;
    let mut path = Vec::new();
    let mut port = from.port;
    loop {
        let here = &tree.ports[port];
        path.push(Hop { link: here.link, up: true, then: machine.behind_upper_end(port) });
        let Some(upstream) = here.above else { break };
        if same_domain(port) && here.decode.has_bus(bus) && !here.acs.forwards_upstream() {
            path.extend(tail_from(tree, &down, port));
            return Ok((path, Via::Local));
        }
        let siblings = &tree.ports[upstream].below;
        let has = |&&other: &&usize| other != port && tree.ports[other].decode.has_bus(bus);
        if let Some(&peer) = siblings.iter().find(has)
            && same_domain(peer)
            && !here.acs.redirects_completion(relaxed)
        {
            path.extend(tail_from(tree, &down, peer));
            return Ok((path, Via::Local));
        }
        port = tree.ports[upstream].above.ok_or(lost)?;
    }
    let policy = |port: usize| tree.host_bridges[tree.ports[port].host_bridge].policy;
    if [policy(port), policy(to.port)] != [PeerPolicy::Forward; 2] {
        return Err(lost);
    }
    path.extend(down);
    Ok((path, Via::Root))
}

/// The links from the root down to a function.
fn way_down(machine: &Machine, function: usize) -> Vec<Hop> {
    let tree = &machine.tree;
    let mut path = Vec::new();
    let mut next = Some(tree.functions[function].port);
    while let Some(port) = next {
        let then = machine.behind_lower_end(port);
        path.push(Hop { link: tree.ports[port].link, up: false, then });
        next = tree.ports[port].above.and_then(|upstream| tree.ports[upstream].above);
    }
    path.reverse();
    path
}

/// The part of a way down that begins with the link below `port`.
fn tail_from<'a>(
    tree: &crate::tree::Tree,
    down: &'a [Hop],
    port: usize,
) -> impl Iterator<Item = Hop> + 'a {
    let link = tree.ports[port].link;
    down.iter().copied().skip_while(move |hop| hop.link != link)
}
