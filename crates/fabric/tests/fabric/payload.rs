//! Max_Payload_Size and Max_Read_Request_Size: what registers say is how transfers are cut.

use p2pdma_fabric::{Attributes, Builder, FabricConfig, LinkCounters, Timing, TimingModel};
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{Duration, Function as _, Iova, Width};
use p2pdma_spec::pci::capability::CapabilityId;
use p2pdma_spec::pci::express::{DeviceCapabilities, DeviceControl, TlpSize, offset};

use crate::support::{Puppet, Stage, build, function, host, host_bridge, port};

/// Enable Relaxed Ordering, Enable No Snoop, and read requests of 512 bytes (PCIe 6.0 §7.5.3.4).
const AFTER_RESET: u32 = 0x2810;

/// Devices `a` and `b` below one switch of a machine whose packets carry 512 bytes; it reads 1024 at once.
fn stage() -> Stage {
    let mut builder = Builder::new(host(IommuMode::Off), 64 << 20);
    builder.timing(Timing::Modelled(TimingModel {
        max_payload: TlpSize::B512,
        max_read_request: TlpSize::B1024,
        ..TimingModel::default()
    }));
    let bridge = builder.host_bridge(host_bridge(PeerPolicy::Forward));
    let root = builder.root_port(bridge, port("rp0", Some(0))).unwrap();
    let ports = vec![port("sw0.0", Some(0)), port("sw0.1", Some(0))];
    let ports = builder.switch(root, "sw0", ports).unwrap();
    build(builder, vec![(ports[0], function("a", 0)), (ports[1], function("b", 0))])
}

fn express(config: &FabricConfig) -> u16 {
    let space: &dyn p2pdma_pci::ConfigSpace = config;
    space.capability(CapabilityId::PCI_EXPRESS).unwrap().unwrap()
}

fn control(config: &FabricConfig) -> u32 {
    let space: &dyn p2pdma_pci::ConfigSpace = config;
    space.read(express(config) + offset::DEVICE_CONTROL, Width::Word).unwrap()
}

fn program(config: &FabricConfig, payload: TlpSize, request: TlpSize) {
    let space: &dyn p2pdma_pci::ConfigSpace = config;
    let bits = DeviceControl::new().with_max_payload(payload).with_max_read_request(request);
    let at = express(config) + offset::DEVICE_CONTROL;
    space.write(at, Width::Word, u32::from(bits.into_bits())).unwrap();
}

/// The configuration spaces of every port and function but the host bridge's.
fn everyone(stage: &Stage) -> Vec<FabricConfig> {
    let topology = stage.fabric.topology().unwrap();
    let places = topology.nodes().iter().map(|node| node.bdf).filter(|bdf| bdf.bus() != 0);
    let root = p2pdma_pci::Bdf::new(0, 0, 1, 0).unwrap();
    places.chain([root]).map(|bdf| stage.fabric.config(bdf)).collect()
}

#[test]
fn the_firmware_programs_what_the_machine_supports() {
    let stage = stage();
    let all = everyone(&stage);
    assert_eq!(all.len(), 6, "a root port, three of a switch, two devices");
    for config in &all {
        let space: &dyn p2pdma_pci::ConfigSpace = config;
        let at = express(config) + offset::DEVICE_CAPABILITIES;
        let capabilities = DeviceCapabilities::from_bits(space.read(at, Width::Dword).unwrap());
        assert_eq!(capabilities.max_payload(), TlpSize::B512);
        assert_eq!(control(config), AFTER_RESET & !0x7000 | 0x3040);
    }
    // The root port can be reached before buses are numbered.
    stage.fabric.power_cut();
    assert_eq!(control(all.last().unwrap()), AFTER_RESET);
    stage.fabric.enumerate().unwrap();
    assert_eq!(control(all.last().unwrap()), AFTER_RESET & !0x7000 | 0x3040);
}

#[test]
fn a_device_that_is_plugged_in_is_programmed_too() {
    let stage = stage();
    let bdf = stage.bdf("b");
    stage.fabric.remove(bdf).unwrap();
    let device = (function("later", 0), Box::new(Puppet::new()) as Box<_>);
    stage.fabric.insert("sw0.1", vec![device]).unwrap();
    assert_eq!(control(&stage.fabric.config(bdf)), AFTER_RESET & !0x7000 | 0x3040);
}

#[test]
fn a_function_level_reset_keeps_the_payload_and_a_driver_restores_the_rest() {
    let stage = stage();
    let config = stage.fabric.config(stage.bdf("a"));
    let space: &dyn p2pdma_pci::ConfigSpace = &config;
    let before = control(&config);
    let at = express(&config) + offset::DEVICE_CONTROL;
    space.write(at, Width::Word, before | 1 << 15).unwrap();
    assert_eq!(control(&config), AFTER_RESET | 0x40);
    space.write(at, Width::Word, before).unwrap();
    stage.fabric.open(stage.bdf("a")).unwrap().reset().unwrap();
    assert_eq!(control(&config), before);
    // A hot reset takes everything.
    stage.fabric.set_link("sw0.0", false).unwrap();
    stage.fabric.set_link("sw0.0", true).unwrap();
    assert_eq!(control(&config), before);
}

/// The packets up and down the link of `a` while it writes 4096 bytes to `b`, or reads them.
fn packets(stage: &Stage, reads: bool) -> (u64, u64) {
    let (at, before) = (Iova(stage.memory("b")), stage.fabric.counters());
    stage
        .act("a", move |port| match reads {
            true => port.read(at, &mut [0; 4096], Attributes::DATA).map(drop),
            false => port.write(at, &[0; 4096], Attributes::DATA).map(drop),
        })
        .unwrap();
    let passed = stage.fabric.counters().since(&before);
    let link = |link: &&LinkCounters| link.port == "sw0.0";
    let link = passed.links.iter().find(link).unwrap();
    // One more came down: the register write that told the device to begin.
    (link.up.tlps, link.down.tlps - 1)
}

#[test]
fn transfers_are_cut_as_device_control_says() {
    let stage = stage();
    let [a, b] = ["a", "b"].map(|name| stage.fabric.config(stage.bdf(name)));
    assert_eq!(packets(&stage, false), (8, 0));
    assert_eq!(packets(&stage, true), (4, 8));
    // The writer's payload cuts writes, the reader's requests reads, and the completer's payload completions.
    program(&a, TlpSize::B128, TlpSize::B256);
    assert_eq!(packets(&stage, false), (32, 0));
    assert_eq!(packets(&stage, true), (16, 8));
    program(&b, TlpSize::B256, TlpSize::B128);
    assert_eq!(packets(&stage, false), (32, 0));
    assert_eq!(packets(&stage, true), (16, 16));
    // More than is supported has no effect.
    program(&a, TlpSize::B4096, TlpSize::B4096);
    assert_eq!(packets(&stage, false), (8, 0));
    assert_eq!(packets(&stage, true), (1, 16));
}

#[test]
fn the_root_complex_sends_by_its_root_port_s_sizes() {
    let stage = stage();
    let buffer = stage.fabric.open(stage.bdf("a")).unwrap().alloc_dma(4096).unwrap();
    let at = buffer.iova();
    let completions = || {
        let before = stage.fabric.counters();
        stage.act("a", move |port| port.read(at, &mut [0; 4096], Attributes::DATA).unwrap());
        let passed = stage.fabric.counters().since(&before);
        passed.links.iter().find(|link| link.port == "rp0").unwrap().down.tlps - 1
    };
    assert_eq!(completions(), 8);
    let root = p2pdma_pci::Bdf::new(0, 0, 1, 0).unwrap();
    program(&stage.fabric.config(root), TlpSize::B128, TlpSize::B512);
    assert_eq!(completions(), 32);
}

#[test]
fn smaller_payloads_take_longer() {
    let time = |payload| -> Duration {
        let stage = stage();
        let at = Iova(stage.memory("b"));
        program(&stage.fabric.config(stage.bdf("a")), payload, TlpSize::B512);
        stage.act("a", move |port| {
            let done = port.write(at, &[0; 65536], Attributes::DATA).unwrap();
            done.since(port.now())
        })
    };
    let (large, small) = (time(TlpSize::B512), time(TlpSize::B128));
    // 24 bytes beside every 128 instead of every 512: 1.13 times as many on the wire.
    let ratio = small.as_secs_f64() / large.as_secs_f64();
    assert!((1.10..1.16).contains(&ratio), "{ratio}");
}
