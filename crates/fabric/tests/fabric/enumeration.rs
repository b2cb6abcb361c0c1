//! The firmware: buses, windows and addresses of any tree, and the machines that cannot be.

use p2pdma_fabric::{
    BarDescription, Builder, Description, Endpoint, Error, FabricConfig, HostBridgeConfig, Port,
    PortId, Reset, TimerId,
};
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::{IommuMode, Kind, Upstream};
use p2pdma_pci::{BarIndex, Bdf, ConfigSpace as _, Function as _, Width};
use p2pdma_spec::pci::bar::BarKind;
use proptest::prelude::*;

use crate::support::{Puppet, Stage, build, function, host, host_bridge, port};

/// A function with BARs and nothing behind them.
struct Plain(Vec<(u8, u64, BarKind)>);

impl Endpoint for Plain {
    fn describe(&self) -> Description {
        let bars = self.0.iter().map(|&(index, len, kind)| BarDescription {
            index: BarIndex::new(index).unwrap(),
            len,
            kind,
            memory: vec![],
        });
        Description { vendor: 1, device: 2, bars: bars.collect(), ..Description::default() }
    }
    fn mmio_read(&mut self, _: BarIndex, _: u64, data: &mut [u8]) {
        data.fill(0x5a);
    }
    fn mmio_write(&mut self, _: BarIndex, _: u64, _: &[u8], _: &mut Port<'_>) {}
    fn wake(&mut self, _: TimerId, _: &mut Port<'_>) {}
    fn reset(&mut self, _: Reset) {}
}

const WIDE: BarKind = BarKind::Memory64 { prefetchable: true };
const NARROW: BarKind = BarKind::Memory32 { prefetchable: false };

/// A random tree: each step adds a switch or a device below a port that is still free.
#[derive(Debug, Clone)]
enum Step {
    Switch { at: usize, ports: usize },
    Device { at: usize, shift: u32, narrow_shift: u32, functions: u8 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any::<usize>(), 1usize..6).prop_map(|(at, ports)| Step::Switch { at, ports }),
        (any::<usize>(), 4u32..34, 4u32..20, 1u8..9).prop_map(
            |(at, shift, narrow_shift, functions)| {
                Step::Device { at, shift, narrow_shift, functions }
            }
        ),
    ]
}

fn grow(roots: usize, steps: Vec<Step>) -> (Builder, usize) {
    let mut builder = Builder::new(host(IommuMode::Off), 16 << 20);
    let bridge = builder.host_bridge(host_bridge(PeerPolicy::Forward));
    let mut free: Vec<PortId> = (0..roots)
        .map(|index| builder.root_port(bridge, port(&format!("rp{index}"), None)).unwrap())
        .collect();
    let mut devices = 0;
    for (count, step) in steps.into_iter().enumerate() {
        if free.is_empty() {
            break;
        }
        match step {
            Step::Switch { at, ports } => {
                let above = free.swap_remove(at % free.len());
                let ports = (0..ports).map(|index| port(&format!("sw{count}.{index}"), None));
                free.extend(builder.switch(above, &format!("sw{count}"), ports.collect()).unwrap());
            }
            Step::Device { at, shift, narrow_shift, functions } => {
                let below = free.swap_remove(at % free.len());
                for number in 0..functions {
                    let bars = vec![(0, 1 << shift, WIDE), (3, 1 << narrow_shift, NARROW)];
                    let config = function(&format!("d{count}.{number}"), number);
                    builder.endpoint(below, config, Box::new(Plain(bars)));
                    devices += 1;
                }
            }
        }
    }
    (builder, devices)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Every function is found, no two BARs overlap, each is aligned and inside every window above it,
    /// and the processor reaches it there.
    #[test]
    fn any_tree_is_enumerated(roots in 1usize..5, steps in proptest::collection::vec(step(), 1..25)) {
        let (builder, devices) = grow(roots, steps);
        let fabric = builder.build().unwrap();
        let functions = fabric.functions();
        prop_assert_eq!(functions.len(), devices);
        let topology = fabric.topology().unwrap();
        let mut bars = Vec::new();
        for info in &functions {
            let function = fabric.open(info.bdf).unwrap();
            for index in [0, 3] {
                let bar = function.map_bar(BarIndex::new(index).unwrap()).unwrap();
                let start = bar.address().0;
                prop_assert!(start.is_multiple_of(bar.len()));
                bars.push((start, start + bar.len()));
                prop_assert_eq!(bar.read32(0).unwrap(), 0x5a5a_5a5a);
                let node = topology.find(info.bdf).unwrap();
                let mut above = topology.parent(node);
                while let Some(bridge) = above {
                    let config = fabric.config(topology.node(bridge).bdf);
                    let inside = windows(&config).iter().any(|&(first, last)| {
                        first <= start && start + bar.len() - 1 <= last
                    });
                    prop_assert!(inside, "{} {}", info.name, topology.node(bridge).bdf);
                    above = topology.parent(bridge);
                }
            }
        }
        bars.sort_unstable();
        prop_assert!(bars.windows(2).all(|pair| pair[0].1 <= pair[1].0));
        // Bus ranges nest, and each function is on its bridge's secondary bus.
        for node in topology.nodes() {
            if let Upstream::Bridge(bridge) = node.upstream {
                let bridge = topology.node(topology.find(bridge).unwrap());
                let range = bridge.buses.unwrap();
                prop_assert_eq!(node.bdf.bus(), range.secondary);
                if let Some(own) = node.buses {
                    prop_assert!(range.secondary < own.secondary && own.subordinate <= range.subordinate);
                }
            }
        }
    }
}

/// The windows of a bridge: memory and prefetchable.
fn windows(config: &p2pdma_fabric::FabricConfig) -> [(u64, u64); 2] {
    let word = |at| u64::from(config.read(at, Width::Word).unwrap());
    let dword = |at| u64::from(config.read(at, Width::Dword).unwrap());
    let memory = (word(0x20) << 16, word(0x22) << 16 | 0xf_ffff);
    let base = dword(0x28) << 32 | (word(0x24) & 0xfff0) << 16;
    let limit = dword(0x2c) << 32 | (word(0x26) & 0xfff0) << 16 | 0xf_ffff;
    [memory, (base, limit)]
}

#[test]
fn two_host_bridges_have_buses_of_their_own() {
    let mut builder = Builder::new(host(IommuMode::Off), 16 << 20);
    let first = HostBridgeConfig { last_bus: 0x3f, ..HostBridgeConfig::default() };
    let second = HostBridgeConfig {
        name: "host1".to_owned(),
        first_bus: 0x40,
        ..HostBridgeConfig::default()
    };
    let third =
        HostBridgeConfig { name: "vmd".to_owned(), domain: 0x10000, ..HostBridgeConfig::default() };
    let mut devices = Vec::new();
    for (index, config) in [first, second, third].into_iter().enumerate() {
        let bridge = builder.host_bridge(config);
        let root = builder.root_port(bridge, port(&format!("rp{index}"), None)).unwrap();
        devices.push((root, function(&format!("d{index}"), 0)));
    }
    let stage = build(builder, devices);
    let places: Vec<String> = ["d0", "d1", "d2"].map(|name| stage.bdf(name).to_string()).into();
    assert_eq!(places, ["0000:01:00.0", "0000:41:00.0", "10000:01:00.0"]);
    let topology = stage.fabric.topology().unwrap();
    let bridges = topology.nodes().iter().filter(|node| node.kind == Kind::Conventional).count();
    assert_eq!((bridges, topology.host_bridges().len()), (3, 3));
}

#[test]
fn impossible_machines_are_refused_with_names() {
    let fails = |bars: Vec<(u8, u64, BarKind)>| {
        let mut builder = Builder::new(host(IommuMode::Off), 16 << 20);
        let bridge = builder.host_bridge(host_bridge(PeerPolicy::Refuse));
        let root = builder.root_port(bridge, port("rp0", None)).unwrap();
        builder.endpoint(root, function("big", 0), Box::new(Plain(bars)));
        builder.build().unwrap_err()
    };
    assert_eq!(
        fails(vec![(0, 1 << 31, NARROW)]).to_string(),
        "big (0000:01:00.0) needs 2 GiB of non-prefetchable address space, and no window has so much left"
    );
    let no_window = |bars| matches!(fails(bars), Error::NoWindow { prefetchable: true, .. });
    assert!(no_window(vec![(0, 1 << 47, WIDE)]));
    assert!(no_window(vec![(0, 1 << 63, WIDE), (2, 1 << 63, WIDE)]));
    for bars in [
        vec![(0, 24, WIDE)],
        vec![(0, 8, WIDE)],
        vec![(5, 4096, WIDE)],
        vec![(0, 4096, WIDE), (1, 4096, NARROW)],
        vec![(0, 4096, BarKind::Io)],
    ] {
        assert!(matches!(fails(bars.clone()), Error::Bar { .. }), "{bars:?}");
    }
}

#[test]
fn slots_take_one_device_with_a_function_0() {
    let with = |functions: &[(&str, u8)]| {
        let mut builder = Builder::new(host(IommuMode::Off), 16 << 20);
        let bridge = builder.host_bridge(host_bridge(PeerPolicy::Refuse));
        let root = builder.root_port(bridge, port("rp0", None)).unwrap();
        for &(name, number) in functions {
            builder.endpoint(root, function(name, number), Box::new(Puppet::new()));
        }
        builder.build().map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(with(&[("x", 0), ("y", 7)]), Ok(()));
    assert_eq!(with(&[("x", 0), ("y", 0)]).unwrap_err(), "y cannot be function 0 below rp0: x is");
    assert!(with(&[("x", 1)]).unwrap_err().contains("function 0"));
    assert!(with(&[("x", 0), ("y", 8)]).unwrap_err().contains("0 to 7"));
}

#[test]
fn bus_numbers_run_out_with_an_error() {
    let mut builder = Builder::new(host(IommuMode::Off), 16 << 20);
    let config = HostBridgeConfig { last_bus: 3, ..HostBridgeConfig::default() };
    let bridge = builder.host_bridge(config);
    let root = builder.root_port(bridge, port("rp0", None)).unwrap();
    let ports = vec![port("sw0.0", None), port("sw0.1", None)];
    builder.switch(root, "sw0", ports).unwrap();
    assert!(matches!(builder.build(), Err(Error::NoBus { last: 3, .. })));
}

/// Devices `d0` to `d7`, which are the functions of one, and `b` below a switch; `c` below a root port.
fn many_functions() -> Stage {
    let mut builder = Builder::new(host(IommuMode::Off), 64 << 20);
    let bridge = builder.host_bridge(host_bridge(PeerPolicy::Forward));
    let rp0 = builder.root_port(bridge, port("rp0", Some(0))).unwrap();
    let rp1 = builder.root_port(bridge, port("rp1", Some(0))).unwrap();
    let slots = vec![port("sw0.0", Some(0)), port("sw0.1", Some(0))];
    let slots = builder.switch(rp0, "sw0", slots).unwrap();
    let mut devices: Vec<_> =
        (0..8).map(|number| (slots[0], function(&format!("d{number}"), number))).collect();
    devices.push((slots[1], function("b", 0)));
    devices.push((rp1, function("c", 0)));
    build(builder, devices)
}

/// For each dword of a function's configuration space, the bits that a write can change.
fn writable(config: &FabricConfig) -> Vec<u32> {
    let bits = |at: u16| {
        let before = config.read(at, Width::Dword).unwrap();
        let mut changed = 0;
        // Once without what might be the bit of a function-level reset, which takes all others along.
        for value in [u32::MAX, 0, 0x7fff_7fff, before] {
            config.write(at, Width::Dword, value).unwrap();
            changed |= config.read(at, Width::Dword).unwrap() ^ before;
        }
        changed
    };
    (0..4096).step_by(4).map(bits).collect()
}

/// MSI-X tables, masks and whatever else a function keeps, under configuration writes of every width at every
/// one of the 4096 offsets of every function: no panic, no read-only bit changed, and after a new
/// enumeration every function is found and interrupts the processor.
#[test]
#[expect(
    clippy::cast_possible_truncation,
    reason = "the numbers are below what they are drawn from"
)]
fn msix_and_write_masks_under_random_configuration_writes() {
    let mut state = 0x1234_5678_9abc_def0_u64;
    let mut random = move |end: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 16) % end
    };
    let twin = many_functions();
    let names: Vec<String> = twin.fabric.functions().into_iter().map(|info| info.name).collect();
    let masks: Vec<Vec<u32>> =
        names.iter().map(|name| writable(&twin.fabric.config(twin.bdf(name)))).collect();
    for mask in &masks {
        // IDs, class code, subsystem, capability pointer; no SR-IOV, which would be behind the rest.
        for fixed in [0x00, 0x08, 0x2c, 0x34] {
            assert_eq!(mask[fixed / 4], 0, "{fixed:#x}");
        }
        assert!(mask[0x200 / 4..].iter().all(|bits| *bits == 0));
    }
    let stage = many_functions();
    let places: Vec<Bdf> = names.iter().map(|name| stage.bdf(name)).collect();
    let images: Vec<Vec<u32>> = places
        .iter()
        .map(|bdf| {
            let config = stage.fabric.config(*bdf);
            (0..4096).step_by(4).map(|at| config.read(at, Width::Dword).unwrap()).collect()
        })
        .collect();
    let (mut writes, mut answered) = (0_u64, 0_u64);
    for turn in 0..200_000 {
        // Bridges and empty places now and then, which may hide everything behind them: then the machine is
        // enumerated anew.
        let elsewhere = random(50) == 0;
        let index = random(places.len() as u64) as usize;
        let bdf = if elsewhere {
            Bdf::new(0, random(6) as u8, random(4) as u8, random(8) as u8).unwrap()
        } else {
            places[index]
        };
        let config = stage.fabric.config(bdf);
        let width = [Width::Byte, Width::Word, Width::Dword][random(3) as usize];
        let offset = random(4096) as u16 & !(width.bytes() - 1);
        let identity = config.read(0, Width::Dword).unwrap();
        config.write(offset, width, random(1 << 32) as u32).unwrap();
        // Bus numbers may have moved; whoever still answers here is who it was.
        let now = config.read(0, Width::Dword).unwrap();
        assert!(now == identity || now == u32::MAX || identity == u32::MAX);
        if !elsewhere && now == images[index][0] {
            let at = offset & !3;
            let word = usize::from(at / 4);
            let changed = config.read(at, Width::Dword).unwrap() ^ images[index][word];
            assert_eq!(changed & !masks[index][word], 0, "{bdf} at {at:#x}");
            answered += 1;
        }
        writes += 1;
        if turn % 100 == 99 {
            stage.fabric.power_cut();
            stage.fabric.enumerate().unwrap();
        }
    }
    stage.fabric.power_cut();
    stage.fabric.enumerate().unwrap();
    assert_eq!(stage.fabric.functions().len(), names.len());
    for name in &names {
        let line = stage.fabric.open(stage.bdf(name)).unwrap().interrupt(3).unwrap();
        stage.act(name, |port| port.raise(3));
        while stage.fabric.step() {}
        assert_eq!(line.take(), 1, "{name}");
    }
    println!("{writes} random configuration writes, {answered} of them checked against masks");
}
