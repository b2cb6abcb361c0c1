//! The fabric's state, and its heartbeat: one event at a time.

use std::sync::Arc;

use p2pdma_pci::topology::{Host, IommuMode, Link, Topology};
use p2pdma_pci::{Bdf, Duration, Instant};

use crate::bell::{Bells, Whom};
use crate::counters::{Counters, LinkCounters, Traffic};
use crate::endpoint::{Endpoint, Reset, TimerId};
use crate::error::Error;
use crate::event::EventQueue;
use crate::fault::{FaultKind, FaultPlan, Site};
use crate::host::interrupt::InterruptController;
use crate::host::memory::HostMemory;
use crate::host::stream::Streams;
use crate::iommu::FaultLog;
use crate::msix::Message;
use crate::port::Port;
use crate::registers::show_link;
use crate::route::Routes;
use crate::route::boundaries::Boundaries;
use crate::timing::{HostChannels, Lanes, LinkState, Timing, TimingModel, Wires};
use crate::trace::Trace;
use crate::tree::{PortKind, Tree};

/// The machine that packets walk through: everything that a routing decision depends on.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) tree: Tree,
    pub(crate) links: Vec<LinkState>,
    pub(crate) lanes: Lanes,
    pub(crate) host_memory: HostMemory,
    /// What the verdict needs to know of the host.
    pub(crate) host: Host,
    pub(crate) iommu_mode: IommuMode,
    pub(crate) timing: Timing,
    pub(crate) boundaries: Boundaries,
    /// Counts the changes that make verdicts void: of registers, links and slots.
    pub(crate) layout: u64,
    /// Counts the changes that make routes void: those, and of mappings.
    pub(crate) generation: u64,
    /// The generation for which the boundaries hold.
    pub(crate) bounded: u64,
}

impl Machine {
    /// Brings the boundaries up to the present generation.
    pub(crate) fn refresh(&mut self) {
        if self.bounded != self.generation {
            self.boundaries = Boundaries::of(&self.tree, &self.host_memory);
            self.bounded = self.generation;
        }
    }

    /// The links, to be passed.
    #[inline]
    pub(crate) fn wires(&mut self) -> Wires<'_> {
        Wires { links: &self.links, lanes: &mut self.lanes }
    }

    /// What a packet meets after it went up the link below `port`.
    pub(crate) fn behind_upper_end(&self, port: usize) -> Duration {
        let at_root = self.tree.ports[port].above.is_none();
        self.model(|model| if at_root { model.root_hop } else { model.switch_hop })
    }

    /// What a packet meets after it went down the link below `port`.
    pub(crate) fn behind_lower_end(&self, port: usize) -> Duration {
        let to_switch = !self.tree.ports[port].below.is_empty();
        self.model(|model| if to_switch { model.switch_hop } else { model.endpoint })
    }

    fn model(&self, latency: impl Fn(&TimingModel) -> Duration) -> Duration {
        match &self.timing {
            Timing::Ideal => Duration::ZERO,
            Timing::Modelled(model) => latency(model),
        }
    }
}

/// Everything behind the fabric's lock.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) machine: Machine,
    pub(crate) events: EventQueue<Event>,
    /// How many events have happened.
    pub(crate) happened: u64,
    pub(crate) channels: Option<HostChannels>,
    pub(crate) interrupts: InterruptController,
    pub(crate) fault_log: FaultLog,
    pub(crate) routes: Routes,
    /// Traffic whose routes were forgotten, and whatever never had one.
    pub(crate) counters: Counters,
    pub(crate) trace: Option<Trace>,
    pub(crate) faults: FaultPlan,
    /// Whether packets must be shown to the trace or the faults.
    pub(crate) tapped: bool,
    /// Whether a device wrote host memory or interrupted the processor in this turn of a polling loop.
    pub(crate) noticed: bool,
    pub(crate) streams: Streams,
    /// The last topology that was read, for as long as it holds.
    pub(crate) topology: Option<Arc<Topology>>,
    /// What a fault does to the machine as soon as no device runs.
    pub(crate) pending: Vec<Upset>,
    /// What rang outside of all calls.
    pub(crate) bells: Arc<Bells>,
    idle: Duration,
}

/// Something that a fault does to a function or to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upset {
    Reset(usize, Reset),
    Unplug(usize),
    LinkDown(usize),
    PowerCut,
}

/// Something that happens.
#[derive(Debug)]
pub(crate) enum Event {
    Wake {
        function: u32,
        timer: TimerId,
        epoch: u32,
    },
    Write {
        function: u32,
        bar: u8,
        offset: u64,
        data: Payload,
        epoch: u32,
        from_host: bool,
    },
    Interrupt {
        message: Message,
        from: Option<u32>,
    },
    /// A device has written into a function's MSI-X table.
    Unmasked {
        function: u32,
        epoch: u32,
    },
    Stream(usize),
}

/// A function's index as events have it.
#[inline]
pub(crate) fn index(function: usize) -> u32 {
    // No machine has so many buses.
    u32::try_from(function).unwrap_or(u32::MAX)
}

/// The bytes of a register write; almost always a doorbell.
#[derive(Debug)]
pub(crate) enum Payload {
    /// At most 8 bytes, as a little-endian number.
    Small { len: u8, word: u64 },
    /// Rare, and one word here, so that the many small ones make small events.
    #[expect(clippy::box_collection, reason = "a box of a slice has two words")]
    Large(Box<Vec<u8>>),
}

impl Payload {
    pub(crate) fn new(data: &[u8]) -> Self {
        Self::small(data).unwrap_or_else(|| Self::Large(Box::new(data.to_vec())))
    }

    #[inline(always)]
    pub(crate) fn small(data: &[u8]) -> Option<Self> {
        if let Ok(word) = <[u8; 4]>::try_from(data) {
            return Some(Self::Small { len: 4, word: u32::from_le_bytes(word).into() });
        }
        let len = u8::try_from(data.len()).ok().filter(|&len| len <= 8)?;
        let mut bytes = [0; 8];
        bytes[..data.len()].copy_from_slice(data);
        Some(Self::Small { len, word: u64::from_le_bytes(bytes) })
    }

    /// Shows the bytes.
    #[inline(always)]
    fn show(&self, see: impl FnOnce(&[u8])) {
        match self {
            Self::Small { len, word } => see(&word.to_le_bytes()[..usize::from(*len).min(8)]),
            Self::Large(bytes) => see(bytes),
        }
    }
}

/// Waiting with nothing to happen moves time on by steps that double up to this.
const LONGEST_IDLE: Duration = Duration::from_millis(1);

/// A turn of a polling loop lets at most so many events happen that the loop cannot have noticed, within
/// this time: what it looks at may be no memory of the host's.
const MOST_UNNOTICED: u32 = 16;
const LONGEST_UNNOTICED: Duration = Duration::from_micros(1);

/// At most so many events happen while the processor looks at something: there may be no end of them.
const MOST_UNSEEN: u32 = 256;

impl State {
    pub(crate) fn new(machine: Machine) -> Self {
        let channels = match &machine.timing {
            Timing::Ideal => None,
            Timing::Modelled(model) => Some(HostChannels::new(model)),
        };
        Self {
            machine,
            events: EventQueue::new(),
            happened: 0,
            channels,
            interrupts: InterruptController::default(),
            fault_log: FaultLog::default(),
            routes: Routes::default(),
            counters: Counters::default(),
            trace: None,
            faults: FaultPlan::default(),
            tapped: false,
            noticed: false,
            streams: Streams::default(),
            topology: None,
            pending: Vec::new(),
            bells: Arc::default(),
            idle: Duration::ZERO,
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.events.now()
    }

    /// Lets one event happen; false if none waits.
    pub(crate) fn step(&mut self) -> bool {
        self.happen()
    }

    /// The same, where many follow each other.
    #[inline(always)]
    fn happen(&mut self) -> bool {
        self.answer_bells();
        let Some(event) = self.events.pop() else {
            return false;
        };
        self.idle = Duration::ZERO;
        self.happened += 1;
        if self.tapped {
            self.strike_event();
        }
        match event {
            Event::Wake { function, timer, epoch } => {
                self.run(function as usize, epoch, |endpoint, port| endpoint.wake(timer, port));
            }
            Event::Write { function, bar, offset, data, epoch, from_host } => {
                let target = &mut self.machine.tree.functions[function as usize];
                // A power cut that struck just now has forgotten them all.
                target.posted = target.posted.saturating_sub(u32::from(from_host));
                if let Some(index) = target.bars.get(usize::from(bar)).map(|bar| bar.index) {
                    self.run(function as usize, epoch, |endpoint, port| {
                        data.show(|bytes| endpoint.mmio_write(index, offset, bytes, port));
                    });
                }
            }
            Event::Interrupt { message, from } => {
                self.noticed = true;
                self.interrupt(message, from.map(|sender| sender as usize));
            }
            Event::Unmasked { function, epoch } => {
                let function = function as usize;
                if self.machine.tree.functions[function].epoch == epoch {
                    self.send_pending(function);
                }
            }
            Event::Stream(stream) => self.advance_stream(stream),
        }
        self.settle();
        true
    }

    /// One turn of a polling loop: the events until one of them leaves something in host memory or
    /// interrupts the processor, as long as they are near; or else some time. Who waits with a deadline
    /// sees it pass, though the next event is long after it.
    ///
    /// The processor looks at what a device has just written, which its caches do not have: meanwhile the
    /// machine goes on.
    pub(crate) fn relax(&mut self) {
        self.answer_bells();
        let began = self.now();
        if self.events.next_at() > began + LONGEST_IDLE {
            return self.idle_on();
        }
        let (mut until, mut left) = (began + LONGEST_UNNOTICED, MOST_UNNOTICED);
        let mut seen = false;
        self.noticed = false;
        while left > 0 {
            self.happen();
            left -= 1;
            if self.noticed && !seen {
                seen = true;
                until = self.now() + self.machine.model(|model| model.host_memory);
                left = MOST_UNSEEN;
            }
            if self.events.next_at() > until {
                if seen {
                    self.events.advance(until);
                }
                return;
            }
        }
    }

    /// Nothing happens for a while.
    fn idle_on(&mut self) {
        self.idle = (self.idle + self.idle).max(Duration::from_nanos(1)).min(LONGEST_IDLE);
        self.events.advance(self.now() + self.idle);
    }

    /// Whoever was rung for wakes at this instant, after what already waits.
    #[inline]
    fn answer_bells(&mut self) {
        if self.bells.any() {
            for Whom { function, timer, epoch } in self.bells.take() {
                self.events.push(self.now(), || Event::Wake { function, timer, epoch });
            }
        }
    }

    /// Runs a model's code, unless the function was reset or removed since `epoch`.
    #[inline(always)]
    fn run(
        &mut self,
        function: usize,
        epoch: u32,
        call: impl FnOnce(&mut dyn Endpoint, &mut Port<'_>),
    ) {
        let slot = &mut self.machine.tree.functions[function];
        if !slot.present || slot.epoch != epoch {
            return;
        }
        // Taken out while it runs, so that nothing can enter it a second time.
        let Some(mut endpoint) = slot.endpoint.take() else {
            return;
        };
        call(&mut *endpoint, &mut Port::new(self, function));
        self.machine.tree.functions[function].endpoint = Some(endpoint);
    }

    /// Faults that are due at this event.
    fn strike_event(&mut self) {
        let struck = self.faults.occur(self.now(), |site| matches!(site, Site::Event(_)));
        if let Some(status) = struck
            && let Site::Event(bdf) = status.fault.site
            && let Some(function) = self.machine.tree.function_at(bdf)
        {
            self.upset(function, status.fault.kind);
            self.settle();
        }
        self.retap();
    }

    /// Notes what a fault does beyond the packet that it strikes.
    pub(crate) fn upset(&mut self, function: usize, kind: FaultKind) {
        match kind {
            FaultKind::LinkDown => {
                let port = self.machine.tree.functions[function].port;
                self.show_link_up(port, false);
                self.pending.push(Upset::LinkDown(port));
            }
            FaultKind::Unplug => self.pending.push(Upset::Unplug(function)),
            FaultKind::Reset(kind) => self.pending.push(Upset::Reset(function, kind)),
            FaultKind::PowerCut => self.pending.push(Upset::PowerCut),
            _ => {}
        }
    }

    /// Does to the machine what could not be done while a device ran.
    fn settle(&mut self) {
        while let Some(upset) = self.pending.pop() {
            match upset {
                Upset::Reset(function, kind) => self.reset_function(function, kind),
                Upset::Unplug(function) => self.unplug(function),
                Upset::LinkDown(port) => self.hot_reset_below(port),
                Upset::PowerCut => self.power_cut(),
            }
        }
    }

    /// Whether there is a trace to write or a fault to come.
    pub(crate) fn retap(&mut self) {
        self.tapped = self.trace.is_some() || self.faults.armed();
    }

    /// Makes every route and every verdict void.
    pub(crate) fn changed(&mut self) {
        self.machine.layout += 1;
        self.remapped();
    }

    /// Makes every route void, after a change of mappings.
    pub(crate) fn remapped(&mut self) {
        self.machine.generation += 1;
    }

    /// Resets a function as its own kind of reset does: registers, timers, packets on their way.
    pub(crate) fn reset_function(&mut self, function: usize, kind: Reset) {
        let slot = &mut self.machine.tree.functions[function];
        slot.epoch += 1;
        slot.reset_registers(kind);
        if let Some(msix) = &mut slot.msix {
            msix.reset();
        }
        slot.decode_registers();
        if let Some(endpoint) = &mut slot.endpoint {
            endpoint.reset(kind);
        }
        self.changed();
    }

    /// Takes a function off the bus; its model stays with the fabric until it is asked for. With the last
    /// one of a device the link goes down.
    pub(crate) fn unplug(&mut self, function: usize) {
        let tree = &mut self.machine.tree;
        let slot = &mut tree.functions[function];
        slot.present = false;
        slot.epoch += 1;
        let port = &mut tree.ports[slot.port];
        if port.functions.iter().all(|&other| !tree.functions[other].present) {
            port.link_config.current = None;
            show_link(&mut port.config, None);
            self.machine.links[port.link].up = false;
        }
        self.changed();
    }

    /// All power goes and comes back: events, registers and volatile memory are gone.
    pub(crate) fn power_cut(&mut self) {
        self.events.clear();
        for port in &mut self.machine.tree.ports {
            port.config.reset(Reset::Cold);
            port.decode_registers();
        }
        for function in 0..self.machine.tree.functions.len() {
            self.machine.tree.functions[function].posted = 0;
            self.reset_function(function, Reset::Cold);
        }
        self.changed();
    }

    /// Trains the link below a port with a device that was plugged in.
    pub(crate) fn train_link(&mut self, port: usize, device: Link) {
        let port = &mut self.machine.tree.ports[port];
        port.link_config.current = Some(port.link_config.max.common_with(device));
        show_link(&mut port.config, port.link_config.current);
        self.machine.links[port.link] = LinkState::new(port.link_config);
        self.machine.lanes.clear(port.link);
    }

    /// Takes a link down, which resets all that is below it (PCIe 6.0 §6.6.1), or brings it up again.
    pub(crate) fn set_link(&mut self, port: usize, up: bool) {
        self.show_link_up(port, up);
        if !up {
            self.hot_reset_below(port);
        }
    }

    fn show_link_up(&mut self, port: usize, up: bool) {
        let port = &mut self.machine.tree.ports[port];
        show_link(&mut port.config, port.link_config.current.filter(|_| up));
        self.machine.links[port.link].up = up;
        self.changed();
    }

    /// Resets everything below a port, switches and functions.
    pub(crate) fn hot_reset_below(&mut self, port: usize) {
        let mut todo = self.machine.tree.ports[port].below.clone();
        let mut functions = self.machine.tree.ports[port].functions.clone();
        while let Some(port) = todo.pop() {
            let port = &mut self.machine.tree.ports[port];
            port.config.reset(Reset::Hot);
            port.decode_registers();
            todo.extend(&port.below);
            functions.extend(&port.functions);
        }
        for function in functions {
            self.reset_function(function, Reset::Hot);
        }
        self.changed();
    }

    /// Gives every link its place in the counters.
    pub(crate) fn name_links(&mut self) {
        let ports = self.machine.tree.ports.iter().filter(|port| port.kind != PortKind::Upstream);
        self.counters.links = ports
            .map(|port| LinkCounters {
                port: port.name.clone(),
                at_root: port.kind == PortKind::Root,
                up: Traffic::default(),
                down: Traffic::default(),
            })
            .collect();
    }

    /// The port with a name.
    pub(crate) fn port_named(&self, name: &str) -> Result<usize, Error> {
        let facing_down = |port: &crate::tree::Port| port.kind != PortKind::Upstream;
        let ports = &self.machine.tree.ports;
        let found = ports.iter().position(|port| facing_down(port) && port.name == name);
        found.ok_or_else(|| Error::NoSuchName { name: name.to_owned() })
    }

    /// The place of a function, for records.
    pub(crate) fn bdf(&self, function: usize) -> Bdf {
        self.machine.tree.function_bdf(function)
    }

    /// All traffic so far.
    pub(crate) fn totals(&self) -> Counters {
        let mut counters = self.counters.clone();
        self.routes.account(&mut counters);
        counters
    }
}
