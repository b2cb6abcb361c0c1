//! The verdict against the simulator: two independent readings of where packets go.
//!
//! `pci::topology` judges a machine from its registers; the fabric routes packets through it. On random
//! machines, for every ordered pair and every class of packet, the judgement says "local" if and only if
//! the fabric delivers without touching the root complex. And what the kernel's rule calls
//! `BusAddress` is always delivered locally.
//! What goes through a root complex, by the BAR's address or by one that an IOMMU translates, is
//! delivered, refused or lost as the policies of the host bridges say, and no byte goes astray.

use std::sync::Arc;

use p2pdma_fabric::{
    AcsConfig, Attributes, Builder, Counters, FunctionInfo, HostBridgeConfig, PayloadClass,
    TlpErrorKind,
};
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::{BusPath, CpuVendor, Host, IommuMode, Known, Route, TlpClass, Topology};
use p2pdma_pci::{Function as _, Iova};
use p2pdma_spec::pci::acs::AcsControl;

use crate::support::{BAR2, Stage, build, function, host_bridge, port};

/// A small generator of random numbers, so that a seed names a machine for ever (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) % limit
    }

    fn acs(&mut self) -> Option<AcsConfig> {
        // Often none or all off, so that local paths are not rare; else any mixture.
        let control = match self.below(5) {
            0 => return None,
            1 | 2 => 0,
            3 => 1 << self.below(7),
            _ => self.below(128),
        };
        let control = AcsControl::from_bits(u16::try_from(control).unwrap());
        Some(AcsConfig { control, egress: self.below(64) })
    }
}

/// What is drawn for a whole machine.
#[derive(Debug, Clone, Copy)]
struct Drawn {
    iommu: IommuMode,
    /// Of each host bridge; the second one is not always there.
    policies: [PeerPolicy; 2],
    bridges: usize,
}

impl Drawn {
    fn new(random: &mut Random) -> Self {
        let iommu = match random.below(3) {
            0 => IommuMode::Off,
            1 => IommuMode::Passthrough,
            _ => IommuMode::Translate,
        };
        // Mostly forwarding, so that much is delivered.
        let mut policy = || match random.below(4) {
            0 => PeerPolicy::Refuse,
            1 => PeerPolicy::Lose,
            _ => PeerPolicy::Forward,
        };
        let policies = [policy(), policy()];
        Self { iommu, policies, bridges: if random.below(2) == 0 { 1 } else { 2 } }
    }

    /// What the root complex does with requests between functions below two of its bridges.
    fn policy(&self, from: &FunctionInfo, to: &FunctionInfo) -> PeerPolicy {
        let of = |info: &FunctionInfo| self.policies[usize::from(info.bdf.bus() >= SECOND)];
        match [of(from), of(to)] {
            [PeerPolicy::Forward, PeerPolicy::Forward] => PeerPolicy::Forward,
            [PeerPolicy::Lose, _] | [_, PeerPolicy::Lose] => PeerPolicy::Lose,
            _ => PeerPolicy::Refuse,
        }
    }
}

/// The first bus of the second host bridge.
const SECOND: u8 = 0x80;

/// A random machine with up to twelve functions.
fn machine(seed: u64) -> (Stage, Drawn) {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let drawn = Drawn::new(&mut random);
    // Half of the processors carry what passes through the root in the kernel's eyes.
    let vendor = if random.below(2) == 0 { CpuVendor::Amd } else { CpuVendor::Intel };
    let mut host = Host::new(vendor, 0x19);
    host.iommu = Known::Value(drawn.iommu);
    let mut builder = Builder::new(host, 16 << 20);
    let mut free = Vec::new();
    let bridges = [(0, SECOND - 1), (SECOND, 0xff)].into_iter().zip(drawn.policies);
    let bridges: Vec<_> = bridges.take(drawn.bridges).collect();
    for (index, ((first_bus, last_bus), policy)) in bridges.into_iter().enumerate() {
        let name = format!("host{index}");
        let config = HostBridgeConfig { name, first_bus, last_bus, ..host_bridge(policy) };
        let bridge = builder.host_bridge(config);
        for port_index in 0..=random.below(2) {
            let mut config = port(&format!("rp{index}.{port_index}"), None);
            config.acs = random.acs();
            free.push(builder.root_port(bridge, config).unwrap());
        }
    }
    for index in 0..=random.below(4) {
        let choice = usize::try_from(random.below(free.len() as u64)).unwrap();
        let above = free.swap_remove(choice);
        let ports = (0..2 + random.below(2)).map(|number| {
            let mut config = port(&format!("sw{index}.{number}"), None);
            config.acs = random.acs();
            config
        });
        let ports = ports.collect();
        free.extend(builder.switch(above, &format!("sw{index}"), ports).unwrap());
    }
    let mut devices = Vec::new();
    for (index, &below) in free.iter().enumerate().take(6) {
        let functions = if random.below(3) == 0 { 2 } else { 1 };
        for number in 0..functions {
            let mut config = function(&format!("d{index}.{number}"), number);
            config.acs = if functions > 1 { random.acs() } else { None };
            devices.push((below, config));
        }
    }
    (build(builder, devices), drawn)
}

/// Where a packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Local,
    /// To a root complex, which forwarded it, refused it, or lost it.
    Root(PeerPolicy),
    Blocked,
}

/// Errors that somebody noticed, all of the machine together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Noticed {
    violations: u64,
    unsupported: u64,
    timeouts: u64,
    iommu: u64,
}

/// A machine, and what is known of it.
struct Witness {
    stage: Stage,
    drawn: Drawn,
    topology: Arc<Topology>,
    functions: Vec<FunctionInfo>,
    /// Whatever can notice an error.
    names: Vec<String>,
    noticed: Noticed,
    counters: Counters,
    /// What was written into the functions' memories, which is to be there and nothing else.
    written: Vec<[u8; 8]>,
}

/// What happened to one transfer.
#[derive(Debug)]
struct Outcome {
    passed: Counters,
    noticed: Noticed,
    answer: Result<[u8; 8], TlpErrorKind>,
}

/// Where in every function's memory the payloads go.
const PLACE: u64 = 24;

impl Witness {
    fn new(stage: Stage, drawn: Drawn) -> Self {
        let topology = stage.fabric.topology().unwrap();
        let functions = stage.fabric.functions();
        let counters = stage.fabric.counters();
        let ports = counters.links.iter().map(|link| link.port.clone());
        let names = ports.chain(functions.iter().map(|info| info.name.clone())).collect();
        let noticed = Noticed { violations: 0, unsupported: 0, timeouts: 0, iommu: 0 };
        let written = vec![[0; 8]; functions.len()];
        let mut witness =
            Self { stage, drawn, topology, functions, names, noticed, counters, written };
        witness.noticed = witness.count();
        witness
    }

    fn count(&self) -> Noticed {
        let iommu = self.stage.fabric.take_iommu_faults().1;
        let mut sum = Noticed { violations: 0, unsupported: 0, timeouts: 0, iommu };
        for name in &self.names {
            let errors = self.stage.fabric.errors(name).unwrap();
            sum.violations += errors.acs_violations;
            sum.unsupported += errors.unsupported_requests;
            sum.timeouts += errors.completion_timeouts;
        }
        sum
    }

    /// Lets a function write to an address, or read there, and says all that changed.
    fn transfer(
        &mut self,
        from: usize,
        at: Iova,
        data: Option<[u8; 8]>,
        attributes: Attributes,
    ) -> Outcome {
        let answer = self.stage.act(&self.functions[from].name, move |port| {
            let mut there = data.unwrap_or_default();
            let done = match data {
                Some(data) => port.write(at, &data, attributes),
                None => port.read(at, &mut there, attributes),
            };
            done.map(|_| there).map_err(|error| error.kind)
        });
        let (counters, noticed) = (self.stage.fabric.counters(), self.count());
        let before = self.noticed;
        let outcome = Outcome {
            passed: counters.since(&self.counters),
            noticed: Noticed {
                violations: noticed.violations - before.violations,
                unsupported: noticed.unsupported - before.unsupported,
                timeouts: noticed.timeouts - before.timeouts,
                iommu: noticed.iommu - before.iommu,
            },
            answer,
        };
        (self.counters, self.noticed) = (counters, noticed);
        assert_eq!(outcome.passed.host_data(), 0, "nothing was meant for host memory");
        outcome
    }

    /// Nobody's memory has changed beside what was delivered.
    fn check_memories(&self, context: &str) {
        for (info, written) in self.functions.iter().zip(&self.written) {
            let mut there = [0; 40];
            self.stage.puppet(&info.name).memory.read(0, &mut there).unwrap();
            let mut expected = [0; 40];
            expected[24..32].copy_from_slice(written);
            assert_eq!(there, expected, "{context}: memory of {}", info.name);
        }
    }

    /// What the root complex does with requests of a pair.
    fn policy(&self, from: usize, to: usize) -> PeerPolicy {
        self.drawn.policy(&self.functions[from], &self.functions[to])
    }

    /// What the root complex does with packets of a class between these, at the BAR's own address.
    fn at_root(&self, from: usize, to: usize, class: TlpClass) -> PeerPolicy {
        let translates = self.drawn.iommu == IommuMode::Translate;
        match class {
            // Nobody has switched ATS on.
            TlpClass::Translated => PeerPolicy::Refuse,
            TlpClass::Write | TlpClass::Read if translates => PeerPolicy::Refuse,
            _ => self.policy(from, to),
        }
    }

    /// Sends a packet of a class from one function to the other's memory, and says where it went; `None` if
    /// this class cannot be seen because the request before it did not get through.
    fn send(&mut self, from: usize, to: usize, class: TlpClass, data: [u8; 8]) -> Option<Seen> {
        let at = Iova(self.stage.memory(&self.functions[to].name) + PLACE);
        let mut attributes = Attributes::DATA;
        if class == TlpClass::Translated {
            attributes = attributes.translated();
        }
        if class == TlpClass::RelaxedCompletion {
            attributes = attributes.relaxed();
        }
        let reads = matches!(class, TlpClass::Completion | TlpClass::RelaxedCompletion);
        let outcome = self.transfer(from, at, (!reads).then_some(data), attributes);
        let Outcome { passed, noticed, answer } = &outcome;
        let [local, root, lost] = [passed.peer_local, passed.peer_through_root, passed.lost]
            .map(|traffic| traffic.of(PayloadClass::Data) == 8);
        if !reads && (local || root) {
            self.written[to] = data;
        }
        if reads && (local || root) {
            assert_eq!(*answer, Ok(self.written[to]));
        }
        let stopped_at_root = noticed.unsupported == 1 || noticed.iommu == 1;
        match (local, root, noticed.violations == 1) {
            (true, false, false) => {
                assert_eq!(passed.root_data(), 0, "the links of root ports tell the same");
                Some(Seen::Local)
            }
            (false, true, false) => Some(Seen::Root(PeerPolicy::Forward)),
            (false, false, true) if reads => None,
            (false, false, true) => Some(Seen::Blocked),
            // The completion came to a root complex that does not forward it.
            (false, false, false) if reads && noticed.timeouts == 1 => {
                Some(Seen::Root(self.policy(from, to)))
            }
            (false, false, false) if lost => (!reads).then_some(Seen::Root(PeerPolicy::Lose)),
            (false, false, false) if stopped_at_root => {
                (!reads).then_some(Seen::Root(PeerPolicy::Refuse))
            }
            _ => panic!("{from} to {to} {class:?}: {outcome:?}"),
        }
    }
}

/// How a root complex ends what comes to it.
#[derive(Debug, Default)]
struct Through {
    delivered: u64,
    refused: u64,
    lost: u64,
}

impl Through {
    fn note(&mut self, fate: PeerPolicy) {
        *match fate {
            PeerPolicy::Forward => &mut self.delivered,
            PeerPolicy::Refuse => &mut self.refused,
            PeerPolicy::Lose => &mut self.lost,
        } += 1;
    }
}

#[derive(Debug, Default)]
struct Tally {
    iommu_off: u64,
    pass_through: u64,
    translate: u64,
    one_bridge: u64,
    two_bridges: u64,
    forward: u64,
    refuse: u64,
    lose: u64,
    pairs: u64,
    packets: u64,
    local: u64,
    root: u64,
    blocked: u64,
    kernel_local: u64,
    stricter: u64,
    through: Through,
    /// The same of pairs at the addresses that an IOMMU translates.
    by_iova: Through,
}

impl Tally {
    fn note(&mut self, drawn: &Drawn) {
        *match drawn.iommu {
            IommuMode::Off => &mut self.iommu_off,
            IommuMode::Passthrough => &mut self.pass_through,
            IommuMode::Translate => &mut self.translate,
        } += 1;
        *if drawn.bridges == 1 { &mut self.one_bridge } else { &mut self.two_bridges } += 1;
        for policy in &drawn.policies[..drawn.bridges] {
            *match policy {
                PeerPolicy::Forward => &mut self.forward,
                PeerPolicy::Refuse => &mut self.refuse,
                PeerPolicy::Lose => &mut self.lose,
            } += 1;
        }
    }
}

/// Every class of packet of a pair against the bus's judgement, and all of them against the kernel's.
fn compare(witness: &mut Witness, (from, to): (usize, usize), tally: &mut Tally, context: &str) {
    let places = [from, to].map(|index| witness.functions[index].bdf);
    let ids = places.map(|bdf| witness.topology.find(bdf).unwrap());
    tally.pairs += 1;
    let mut all_local = true;
    for class in TlpClass::ALL {
        let data = (tally.packets + 1).to_le_bytes();
        let Some(seen) = witness.send(from, to, class, data) else {
            all_local &= class == TlpClass::Translated;
            continue;
        };
        let expected = match witness.topology.bus_path(ids[0], ids[1], class) {
            BusPath::Local { .. } => Seen::Local,
            BusPath::ThroughRoot { .. } => Seen::Root(witness.at_root(from, to, class)),
            BusPath::Blocked(_) => Seen::Blocked,
            BusPath::Unknown { at } => panic!("{at} is known"),
        };
        assert_eq!(seen, expected, "{context} {class:?}");
        tally.packets += 1;
        match seen {
            Seen::Local => tally.local += 1,
            Seen::Root(fate) => {
                tally.root += 1;
                tally.through.note(fate);
            }
            Seen::Blocked => tally.blocked += 1,
        }
        all_local &= seen == Seen::Local || class == TlpClass::Translated;
    }
    witness.check_memories(context);
    let kernel = witness.topology.route(places[0], places[1]);
    if matches!(kernel, Route::BusAddress { .. }) {
        assert!(all_local, "{context}");
        tally.kernel_local += 1;
    } else if all_local {
        // The kernel's rule counts bits that do not act on this pair; the verdict names them.
        let verdict = witness.topology.explain(places[0], places[1]);
        assert!(verdict.noted().count() > 0, "{context}");
        tally.stricter += 1;
    }
}

/// What the kernel's rule sends through the root complex, at the address that a driver gets for it: the root
/// complex does with it what its policy says.
fn go_through(witness: &mut Witness, (from, to): (usize, usize), tally: &mut Tally, context: &str) {
    let infos = [from, to].map(|index| witness.functions[index].clone());
    let route = witness.topology.route(infos[0].bdf, infos[1].bdf);
    if !matches!(route, Route::ThroughHostBridge { .. }) {
        return;
    }
    let translates = witness.drawn.iommu == IommuMode::Translate;
    let [client, provider] =
        [0, 1].map(|index| witness.stage.fabric.open(infos[index].bdf).unwrap());
    let window = client.map_peer(&provider.map_bar(BAR2).unwrap(), PLACE..PLACE + 8).unwrap();
    let at = window.iova();
    assert_eq!(translates, at.0 != witness.stage.memory(&infos[1].name) + PLACE, "{context}");
    if !translates {
        // The address that the classes of packets went to.
        return;
    }
    let data = (tally.packets + 1).to_le_bytes();
    let write = witness.transfer(from, at, Some(data), Attributes::DATA);
    let root = write.passed.peer_through_root.of(PayloadClass::Data);
    let lost = write.passed.lost.of(PayloadClass::Data);
    let policy = witness.policy(from, to);
    let expected = match policy {
        PeerPolicy::Forward => (8, 0, 0),
        PeerPolicy::Refuse => (0, 0, 1),
        PeerPolicy::Lose => (0, 8, 0),
    };
    assert_eq!((root, lost, write.noticed.unsupported), expected, "{context}: {write:?}");
    if policy == PeerPolicy::Forward {
        witness.written[to] = data;
    }
    witness.check_memories(context);
    let read = witness.transfer(from, at, None, Attributes::DATA);
    let expected = match policy {
        PeerPolicy::Forward => Ok(data),
        PeerPolicy::Refuse => Err(TlpErrorKind::UnsupportedRequest),
        PeerPolicy::Lose => Ok([0xff; 8]),
    };
    assert_eq!(read.answer, expected, "{context}: {read:?}");
    tally.by_iova.note(policy);
}

#[test]
fn the_verdict_and_the_simulator_agree_on_random_machines() {
    let mut tally = Tally::default();
    let machines = 1_200;
    for seed in 0..machines {
        let (stage, drawn) = machine(seed);
        tally.note(&drawn);
        let mut witness = Witness::new(stage, drawn);
        let functions = witness.functions.len();
        for pair in (0..functions * functions).map(|index| (index / functions, index % functions)) {
            if pair.0 == pair.1 {
                continue;
            }
            let [from, to] = [pair.0, pair.1].map(|index| &witness.functions[index].name);
            let context = format!("seed {seed}, {drawn:?}: {from} to {to}");
            compare(&mut witness, pair, &mut tally, &context);
            go_through(&mut witness, pair, &mut tally, &context);
        }
    }
    println!("{machines} random machines, seeds 0..{machines}: {tally:?}, 0 differences");
    assert!(tally.kernel_local > 500 && tally.root > 1_000 && tally.blocked > 500, "{tally:?}");
    for machines in [tally.iommu_off, tally.pass_through, tally.translate] {
        assert!(machines > 300, "{tally:?}");
    }
    for machines in [tally.one_bridge, tally.two_bridges] {
        assert!(machines > 500, "{tally:?}");
    }
    for bridges in [tally.forward, tally.refuse, tally.lose] {
        assert!(bridges > 300, "{tally:?}");
    }
    for Through { delivered, refused, lost } in [&tally.through, &tally.by_iova] {
        assert!([delivered, refused, lost].into_iter().all(|&fates| fates > 300), "{tally:?}");
    }
}
