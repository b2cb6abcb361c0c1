//! The verdict against the simulator: two independent readings of where packets go.
//!
//! `pci::topology` judges a machine from its registers; the fabric routes packets through it. On random
//! machines, for every ordered pair and every class of packet, the judgement says "local" if and only if
//! the fabric delivers without touching the root complex. And what the kernel's rule calls
//! `BusAddress` is always delivered locally.

use p2pdma_fabric::{AcsConfig, Attributes, Builder, PayloadClass};
use p2pdma_pci::Iova;
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::{BusPath, IommuMode, Route, TlpClass, Topology};
use p2pdma_spec::pci::acs::AcsControl;

use crate::support::{Stage, build, function, host, host_bridge, port};

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

/// A random machine with up to twelve functions.
fn machine(seed: u64) -> Stage {
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut builder = Builder::new(host(IommuMode::Off), 16 << 20);
    let bridge = builder.host_bridge(host_bridge(PeerPolicy::Forward));
    let mut free = Vec::new();
    for index in 0..=random.below(2) {
        let mut config = port(&format!("rp{index}"), None);
        config.acs = random.acs();
        free.push(builder.root_port(bridge, config).unwrap());
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
    build(builder, devices)
}

/// What happened to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Local,
    Root,
    Blocked,
}

/// Sends a packet of a class from one function to the other's memory; `None` if this class cannot be
/// seen because the request before it did not get through.
fn send(stage: &Stage, from: &str, to: &str, class: TlpClass) -> Option<Seen> {
    let (at, before) = (Iova(stage.memory(to)), stage.fabric.counters());
    let violations = |stage: &Stage| -> u64 {
        let ports = stage.fabric.counters().links.into_iter().map(|link| link.port);
        let functions = stage.fabric.functions().into_iter().map(|info| info.name);
        ports.chain(functions).map(|name| stage.fabric.errors(&name).unwrap().acs_violations).sum()
    };
    let violations_before = violations(stage);
    let mut attributes = Attributes::DATA;
    if class == TlpClass::Translated {
        attributes = attributes.translated();
    }
    if class == TlpClass::RelaxedCompletion {
        attributes = attributes.relaxed();
    }
    let reads = matches!(class, TlpClass::Completion | TlpClass::RelaxedCompletion);
    let answered = stage.act(from, move |port| match reads {
        true => port.read(at, &mut [0; 8], attributes).is_ok(),
        false => port.write(at, &[1; 8], attributes).is_ok(),
    });
    let passed = stage.fabric.counters().since(&before);
    let local = passed.peer_local.of(PayloadClass::Data) > 0;
    let root = passed.peer_through_root.of(PayloadClass::Data) > 0;
    let blocked = violations(stage) > violations_before;
    match (local, root, blocked) {
        (true, false, false) => Some(Seen::Local),
        (false, true, false) => Some(Seen::Root),
        (false, false, true) if reads => None,
        (false, false, true) => Some(Seen::Blocked),
        // A translated request that reached the root of a machine without IOMMU: refused there.
        (false, false, false) if class == TlpClass::Translated => Some(Seen::Root),
        other => panic!("{from} to {to} {class:?}: {other:?} {answered}"),
    }
}

#[derive(Debug, Default)]
struct Tally {
    pairs: u64,
    packets: u64,
    local: u64,
    root: u64,
    blocked: u64,
    kernel_local: u64,
    stricter: u64,
}

fn compare(stage: &Stage, topology: &Topology, tally: &mut Tally, seed: u64) {
    let functions = stage.fabric.functions();
    for from in &functions {
        for to in functions.iter().filter(|to| to.bdf != from.bdf) {
            tally.pairs += 1;
            let ids = [from, to].map(|info| topology.find(info.bdf).unwrap());
            let mut all_local = true;
            for class in TlpClass::ALL {
                let Some(seen) = send(stage, &from.name, &to.name, class) else { continue };
                let expected = match topology.bus_path(ids[0], ids[1], class) {
                    BusPath::Local { .. } => Seen::Local,
                    BusPath::ThroughRoot { .. } => Seen::Root,
                    BusPath::Blocked(_) => Seen::Blocked,
                    BusPath::Unknown { at } => panic!("{at} is known"),
                };
                let context = format!("seed {seed}: {} to {} {class:?}", from.name, to.name);
                assert_eq!(seen, expected, "{context}");
                tally.packets += 1;
                match seen {
                    Seen::Local => tally.local += 1,
                    Seen::Root => tally.root += 1,
                    Seen::Blocked => tally.blocked += 1,
                }
                all_local &= seen == Seen::Local || class == TlpClass::Translated;
            }
            let kernel = topology.route(from.bdf, to.bdf);
            if matches!(kernel, Route::BusAddress { .. }) {
                assert!(all_local, "seed {seed}: {} to {}", from.name, to.name);
                tally.kernel_local += 1;
            } else if all_local {
                // The kernel's rule counts bits that do not act on this pair; the verdict names them.
                let verdict = topology.explain(from.bdf, to.bdf);
                assert!(verdict.noted().count() > 0, "seed {seed}: {} to {}", from.name, to.name);
                tally.stricter += 1;
            }
        }
    }
}

#[test]
fn the_verdict_and_the_simulator_agree_on_random_machines() {
    let mut tally = Tally::default();
    let machines = 1_200;
    for seed in 0..machines {
        let stage = machine(seed);
        let topology = stage.fabric.topology().unwrap();
        compare(&stage, &topology, &mut tally, seed);
    }
    println!("{machines} random machines, seeds 0..{machines}: {tally:?}, 0 differences");
    assert!(tally.kernel_local > 500 && tally.root > 1_000 && tally.blocked > 500, "{tally:?}");
}
