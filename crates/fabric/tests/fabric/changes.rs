//! What changes while the machine runs: hot-plug, links, resets, power.

use p2pdma_fabric::{Attributes, Error, Reset, TimerId, TlpErrorKind};
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{Clock as _, ConfigSpace as _, Duration, Function as _, Iova, Width};
use p2pdma_spec::pci::capability::ExtendedCapabilityId;

use crate::support::{Puppet, Stage, function, switched};

fn stage() -> Stage {
    switched(IommuMode::Off, PeerPolicy::Forward, [0; 4])
}

fn read(stage: &Stage, from: &str, at: u64) -> Result<u8, TlpErrorKind> {
    stage.act(from, move |port| {
        let mut data = [0; 1];
        let done = port.read(Iova(at), &mut data, Attributes::DATA);
        done.map(|_| data[0]).map_err(|error| error.kind)
    })
}

#[test]
fn a_removed_function_answers_nothing_and_a_new_one_takes_its_place() {
    let stage = stage();
    let (bdf, memory) = (stage.bdf("b"), stage.memory("b"));
    let held = stage.fabric.open(bdf).unwrap();
    let bar = held.map_bar(crate::support::BAR2).unwrap();
    stage.puppet("b").memory.write(0, &[9]).unwrap();
    assert_eq!(read(&stage, "a", memory), Ok(9));
    assert!(stage.fabric.remove(bdf).unwrap().is_some());
    assert_eq!(read(&stage, "a", memory), Err(TlpErrorKind::UnsupportedRequest));
    assert_eq!(bar.read32(0).unwrap(), u32::MAX);
    assert_eq!(stage.fabric.config(bdf).read(0, Width::Dword).unwrap(), u32::MAX);
    assert!(held.reset().is_err());
    assert!(matches!(stage.fabric.open(bdf), Err(Error::NoFunction { .. })));
    let newcomer = Puppet::new();
    newcomer.memory.write(0, &[5]).unwrap();
    let functions: Vec<(_, Box<dyn p2pdma_fabric::Endpoint>)> =
        vec![(function("d", 0), Box::new(newcomer))];
    stage.fabric.insert("sw0.1", functions).unwrap();
    assert_eq!(stage.bdf("d"), bdf);
    assert_eq!(read(&stage, "a", stage.memory("d")), Ok(5));
    // The old handle is not the new device's.
    assert!(held.reset().is_err());
}

#[test]
fn a_taken_slot_is_refused_and_named() {
    let stage = stage();
    let functions: Vec<(_, Box<dyn p2pdma_fabric::Endpoint>)> =
        vec![(function("d", 0), Box::new(Puppet::new()))];
    let error = stage.fabric.insert("sw0.1", functions).unwrap_err();
    assert_eq!(error.to_string(), "d cannot be below sw0.1: the link leads to b");
    assert!(matches!(stage.fabric.insert("sw9", vec![]), Err(Error::NoSuchName { .. })));
}

#[test]
fn timers_and_doorbells_do_not_survive_reset_or_removal() {
    for removed in [false, true] {
        let stage = stage();
        let soon = Duration::from_micros(5);
        stage.act("a", move |port| port.wake_at(port.now() + soon, TimerId(1)));
        if removed {
            stage.fabric.remove(stage.bdf("a")).unwrap();
        } else {
            stage.fabric.open(stage.bdf("a")).unwrap().reset().unwrap();
            assert_eq!(stage.puppet("a").script.lock().unwrap().resets, [Reset::FunctionLevel]);
        }
        while stage.fabric.step() {}
        assert!(stage.puppet("a").script.lock().unwrap().woken.is_empty());
    }
}

/// A bell needs no port: it is rung between events, from within another fabric's, or by polling; and wakes
/// once.
#[test]
fn a_bell_wakes_its_function_once_from_anywhere_until_it_is_reset() {
    let (stage, elsewhere) = (stage(), stage());
    let woken = || std::mem::take(&mut stage.puppet("a").script.lock().unwrap().woken);
    let bell = stage.act("a", |port| port.bell(TimerId(7)));
    let other = stage.act("a", |port| port.bell(TimerId(8)));
    assert!(!stage.fabric.step());
    for _ in 0..3 {
        bell.ring();
        other.ring();
    }
    let before = stage.fabric.clock().now();
    while stage.fabric.step() {}
    assert_eq!((woken(), stage.fabric.clock().now()), (vec![TimerId(7), TimerId(8)], before));
    bell.ring();
    stage.fabric.clock().relax();
    assert_eq!(woken(), [TimerId(7)]);
    let rung = bell.clone();
    elsewhere.act("b", move |_| rung.ring());
    assert_eq!(woken(), []);
    while stage.fabric.step() {}
    assert_eq!(woken(), [TimerId(7)]);
    stage.fabric.open(stage.bdf("a")).unwrap().reset().unwrap();
    bell.ring();
    while stage.fabric.step() {}
    assert_eq!(woken(), []);
}

#[test]
fn a_function_level_reset_keeps_bars_and_drops_bus_mastering() {
    let stage = stage();
    stage.set_bus_master("a", true);
    let (function, before) = (stage.fabric.open(stage.bdf("a")).unwrap(), stage.memory("a"));
    let line = function.interrupt(0).unwrap();
    function.reset().unwrap();
    assert_eq!(stage.memory("a"), before);
    assert_eq!(function.config().read(4, Width::Word).unwrap(), 2);
    stage.act("a", |port| port.raise(0));
    while stage.fabric.step() {}
    assert_eq!(line.take(), 0, "MSI-X was switched off by the reset");
}

#[test]
fn a_secondary_bus_reset_is_a_hot_reset_of_everything_below() {
    let stage = stage();
    let bridge = p2pdma_pci::Bdf::new(0, 0, 1, 0).unwrap();
    stage.fabric.config(bridge).write(0x3e, Width::Word, 1 << 6).unwrap();
    for (name, resets) in [("a", vec![Reset::Hot]), ("b", vec![Reset::Hot]), ("c", vec![])] {
        assert_eq!(stage.puppet(name).script.lock().unwrap().resets, resets, "{name}");
    }
    // The switch was reset, too: it knows no buses until somebody enumerates.
    let upstream = stage.fabric.config(p2pdma_pci::Bdf::new(0, 1, 0, 0).unwrap());
    assert_eq!(upstream.read(0x18, Width::Dword).unwrap(), 0);
    stage.fabric.enumerate().unwrap();
    assert_eq!(read(&stage, "a", stage.memory("b")), Ok(0));
}

#[test]
fn a_link_that_is_down_carries_nothing_either_way() {
    let stage = stage();
    let memory = stage.memory("b");
    stage.fabric.set_link("sw0.1", false).unwrap();
    assert_eq!(read(&stage, "a", memory), Err(TlpErrorKind::UnsupportedRequest));
    assert_eq!(stage.fabric.config(stage.bdf("b")).read(0, Width::Dword).unwrap(), u32::MAX);
    let port = stage.fabric.config(p2pdma_pci::Bdf::new(0, 2, 1, 0).unwrap());
    // Link Status: speed in bits 3:0, width in 9:4.
    let status = || port.read(0x40 + 0x12, Width::Word).unwrap();
    assert_eq!(status(), 0);
    stage.fabric.set_link("sw0.1", true).unwrap();
    assert_eq!(status(), 0x44);
    assert_eq!(read(&stage, "a", memory), Ok(0));
    // A link that goes down resets what is below it (PCIe 6.0 §6.6.1).
    assert_eq!(stage.puppet("b").script.lock().unwrap().resets, [Reset::Hot]);
    assert!(stage.puppet("a").script.lock().unwrap().resets.is_empty());
    // The same of a switch, and all that is below that.
    let memory = stage.memory("b");
    stage.fabric.set_link("rp0", false).unwrap();
    assert_eq!(read(&stage, "c", memory), Err(TlpErrorKind::UnsupportedRequest));
    stage.fabric.set_link("rp0", true).unwrap();
    assert_eq!((read(&stage, "c", memory), read(&stage, "a", memory)), (Ok(0), Ok(0)));
    assert_eq!(stage.puppet("a").script.lock().unwrap().resets, [Reset::Hot]);
}

#[test]
fn after_a_power_cut_the_machine_must_be_enumerated_again() {
    let stage = stage();
    let (memory, bdf) = (stage.memory("b"), stage.bdf("b"));
    stage.fabric.power_cut();
    assert!(matches!(stage.fabric.topology(), Err(Error::Topology(_))));
    stage.fabric.enumerate().unwrap();
    assert_eq!((stage.memory("b"), stage.bdf("b")), (memory, bdf));
    assert_eq!(stage.puppet("b").script.lock().unwrap().resets, [Reset::Cold]);
    assert_eq!(read(&stage, "a", memory), Ok(0));
}

#[test]
fn the_topology_follows_the_registers() {
    let stage = stage();
    let before = stage.fabric.topology().unwrap();
    let (a, b) = (stage.bdf("a"), stage.bdf("b"));
    assert_eq!(before.route(a, b).distance(), Some(4));
    let port = p2pdma_pci::Bdf::new(0, 2, 0, 0).unwrap();
    let config = stage.fabric.config(port);
    let config: &dyn p2pdma_pci::ConfigSpace = &config;
    let acs =
        config.extended_capability(ExtendedCapabilityId::ACCESS_CONTROL_SERVICES).unwrap().unwrap();
    config.write(acs + 6, Width::Word, 4).unwrap();
    let after = stage.fabric.topology().unwrap();
    assert_ne!(before.generation(), after.generation());
    assert!(after.route(a, b).require().is_err());
    let function = stage.fabric.open(a).unwrap();
    let bar = stage.fabric.open(b).unwrap().map_bar(crate::support::BAR2).unwrap();
    let refused = function.map_peer(&bar, 0..4096).unwrap_err();
    assert!(matches!(refused, p2pdma_pci::Error::Refused(_)));
}
