//! Random machines, from a seed.

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{
    Acs, Cause, CpuVendor, EgressVector, Host, HostBridge, Kind, Known, Node, PciId, REDIRECTING,
    Topology, Upstream,
};
use p2pdma_spec::pci::acs::AcsControl;

/// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
#[derive(Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        let len = u64::try_from(from.len()).unwrap();
        from[usize::try_from(self.below(len)).unwrap()]
    }
}

/// A random machine, not yet checked.
#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) host: Host,
    pub(crate) bridges: Vec<HostBridge>,
    pub(crate) nodes: Vec<Node>,
}

impl Machine {
    pub(crate) fn build(&self) -> Topology {
        let (host, bridges) = (self.host.clone(), self.bridges.clone());
        Topology::new(host, bridges, self.nodes.clone(), 0).unwrap()
    }
}

const ROOT_IDS: [(u16, u16); 8] = [
    (0x8086, 0x29c0),
    (0x8086, 0x2f00),
    (0x8086, 0x3c01),
    (0x8086, 0x2030),
    (0x8086, 0x4948),
    (0x1ae0, 0x0042),
    (0x10de, 0x2f98),
    (0x10de, 0x2f94),
];

/// How likely ACS is on, and known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mood {
    /// One function in so many has ACS bits on.
    pub(crate) acs_one_in: u64,
    /// One function in so many has an unknown ACS, if any.
    pub(crate) unknown_one_in: Option<u64>,
}

struct Builder<'a> {
    random: &'a mut Random,
    mood: Mood,
    domain: u32,
    bus: u8,
    nodes: Vec<Node>,
}

/// A machine with one to three host bridges and up to some thirty functions.
pub(crate) fn machine(random: &mut Random, mood: Mood) -> Machine {
    let vendors = [
        CpuVendor::Intel,
        CpuVendor::Intel,
        CpuVendor::Intel,
        CpuVendor::Amd,
        CpuVendor::Hygon,
        CpuVendor::Other,
    ];
    let mut host =
        Host::new(random.pick(&vendors), random.pick(&[6, 0x15, 0x16, 0x17, 0x18, 0x1a]));
    if mood.unknown_one_in.is_some() && random.one_in(8) {
        host.cpu = Known::Unknown(Cause::NotCaptured);
    }
    let count = random.pick(&[1, 1, 1, 2, 2, 3]);
    let mut bridges = Vec::new();
    let mut nodes = Vec::new();
    for index in 0..count {
        let domain = u32::from(index == 2);
        let bus = if index == 1 { 0x80 } else { 0 };
        bridges.push(HostBridge { domain, bus, name: None });
        let mut builder = Builder { random: &mut *random, mood, domain, bus, nodes: Vec::new() };
        builder.root_bus(usize::from(index == 1) + 2 * usize::from(index == 2), bus);
        nodes.append(&mut builder.nodes);
    }
    // The order of the input must not matter.
    for index in (1..nodes.len()).rev() {
        let other = random.below(u64::try_from(index + 1).unwrap());
        nodes.swap(index, usize::try_from(other).unwrap());
    }
    Machine { host, bridges, nodes }
}

impl Builder<'_> {
    fn root_bus(&mut self, index: usize, bus: u8) {
        let upstream = Upstream::HostBridge(index);
        let mut device = 0;
        if !self.random.one_in(3) {
            self.add(Kind::Conventional, bus, 0, 0, upstream);
            device = 1;
        } else if self.random.one_in(2) {
            // A root bus whose first device is not 00.0.
            device = 3;
        }
        for _ in 0..=self.random.below(3) {
            match self.random.below(8) {
                0 => {
                    self.add(Kind::IntegratedEndpoint, bus, device, 0, upstream);
                    if self.random.one_in(2) {
                        self.add(Kind::IntegratedEndpoint, bus, device, 1, upstream);
                    }
                }
                1 => {
                    let bridge = self.add(Kind::PciBridge, bus, device, 0, upstream);
                    self.conventional_bus(bridge);
                }
                _ => {
                    let port = self.add(Kind::RootPort, bus, device, 0, upstream);
                    self.link(port, 0);
                }
            }
            device += 1;
        }
    }

    /// What is on the link below a port: nothing, a device of one or several functions, or a switch.
    fn link(&mut self, port: Bdf, depth: u8) {
        let bus = self.next_bus();
        let upstream = Upstream::Bridge(port);
        match self.random.below(8) {
            0 => {}
            1 | 2 => {
                for function in 0..=self.random.below(2) + 1 {
                    self.add(Kind::Endpoint, bus, 0, u8::try_from(function).unwrap(), upstream);
                }
            }
            3..=5 if depth < 3 => self.switch(bus, upstream, depth),
            6 => {
                let bridge = self.add(Kind::PciBridge, bus, 0, 0, upstream);
                self.conventional_bus(bridge);
            }
            _ => {
                self.add(Kind::Endpoint, bus, 0, 0, upstream);
            }
        }
    }

    fn switch(&mut self, bus: u8, upstream: Upstream, depth: u8) {
        let up = self.add(Kind::UpstreamPort, bus, 0, 0, upstream);
        if self.random.one_in(4) {
            // A management function beside the upstream port.
            self.add(Kind::Endpoint, bus, 0, 1, upstream);
        }
        let internal = self.next_bus();
        for device in 0..=self.random.below(3) {
            let device = u8::try_from(device).unwrap();
            let below = Upstream::Bridge(up);
            if self.random.one_in(10) {
                self.add(Kind::Endpoint, internal, device, 0, below);
                continue;
            }
            let port = self.add(Kind::DownstreamPort, internal, device, 0, below);
            self.link(port, depth + 1);
        }
    }

    fn conventional_bus(&mut self, bridge: Bdf) {
        let bus = self.next_bus();
        for device in 0..=self.random.below(2) {
            let device = u8::try_from(device).unwrap();
            self.add(Kind::Conventional, bus, device, 0, Upstream::Bridge(bridge));
        }
    }

    fn next_bus(&mut self) -> u8 {
        self.bus += 1;
        self.bus
    }

    fn add(&mut self, kind: Kind, bus: u8, device: u8, function: u8, upstream: Upstream) -> Bdf {
        let bdf = Bdf::new(self.domain, bus, device, function).unwrap();
        let mut node = Node::new(bdf, kind, upstream);
        node.port_number = device;
        let (vendor, device) = self.random.pick(&ROOT_IDS);
        node.id = PciId { vendor, device };
        node.acs = self.acs();
        self.nodes.push(node);
        bdf
    }

    fn acs(&mut self) -> Known<Option<Acs>> {
        if let Some(count) = self.mood.unknown_one_in
            && self.random.one_in(count)
        {
            return Known::Unknown(Cause::NeedsRoot);
        }
        if !self.random.one_in(self.mood.acs_one_in) {
            let word = self.random.below(128) & !u64::from(REDIRECTING.into_bits());
            let harmless = AcsControl::from_bits(u16::try_from(word).unwrap());
            let present = self.random.one_in(2).then(|| Acs::new(harmless));
            return Known::Value(present);
        }
        let word = match self.random.below(4) {
            0 => 1 << self.random.below(7),
            1 => 0x1d,
            _ => self.random.below(128),
        };
        let mut acs = Acs::new(AcsControl::from_bits(u16::try_from(word).unwrap()));
        let listed = u8::try_from(self.random.below(16)).unwrap();
        let peers = (0..4).filter(|peer| listed >> peer & 1 != 0);
        acs.egress = Known::Value(EgressVector::listing(peers));
        Known::Value(Some(acs))
    }
}
