//! What machine files mean.

use p2pdma_pci::Duration;
use p2pdma_pci::machine::{
    AcsSetting, BarMemory, Below, Function, Machine, Media, Model, Nvme, PeerPolicy, Port, Switch,
    TimingModel,
};
use p2pdma_pci::topology::{CpuVendor, ISOLATING, IommuMode, Link, LinkStatus};

use crate::{EVERYTHING, SMALL, parse};

fn link(text: &str) -> Link {
    text.parse().unwrap()
}

fn status(current: &str, max: &str) -> LinkStatus {
    LinkStatus { current: Some(link(current)), max: link(max) }
}

fn switch(port: &Port) -> &Switch {
    match &port.below {
        Below::Switch(switch) => switch,
        other => panic!("{other:?} below {}", port.name),
    }
}

fn device(port: &Port) -> &[Function] {
    match &port.below {
        Below::Device(functions) => functions,
        other => panic!("{other:?} below {}", port.name),
    }
}

fn nvme(function: &Function) -> &Nvme {
    match &function.model {
        Model::Nvme(nvme) => nvme,
        other => panic!("{other:?}"),
    }
}

fn bits(acs: Option<&AcsSetting>) -> u16 {
    acs.unwrap().control.into_bits()
}

fn first_switch(machine: &Machine) -> &Switch {
    switch(&machine.host_bridges[0].ports[0])
}

#[test]
fn the_whole_machine() {
    let machine = parse(EVERYTHING);
    assert_eq!(machine.name, "everything");
    assert_eq!(machine.about, "A machine that uses every key");
    assert_eq!((machine.host.cpu.vendor, machine.host.cpu.family), (CpuVendor::Amd, 0x19));
    assert_eq!(machine.host.memory, 4 << 30);
    assert_eq!(machine.host.memory_channels, Some(2));
    assert_eq!(machine.host.memory_bandwidth, Some(38_400_000_000));
    assert_eq!(machine.host.memory_latency, Some(Duration::from_nanos(90)));
    assert_eq!(machine.iommu, IommuMode::Translate);
    assert_eq!(machine.timing.model, TimingModel::Pcie);
    assert_eq!(machine.timing.switch_hop, Some(Duration::from_nanos(115)));
    assert_eq!(machine.timing.root_hop, Some(Duration::from_nanos(150)));
    assert_eq!(machine.timing.max_payload, Some(512));
    assert_eq!(machine.timing.max_read_request, Some(4096));
}

#[test]
fn host_bridges_share_the_buses() {
    let machine = parse(EVERYTHING);
    let [near, far] = &machine.host_bridges[..] else { panic!("two host bridges") };
    assert_eq!((near.first_bus, near.last_bus), (0, 0x7f));
    assert_eq!((far.first_bus, far.last_bus), (0x80, 0xff));
    assert_eq!(near.id.to_string(), "8086:09a2");
    assert_eq!((near.peer_to_peer, far.peer_to_peer), (PeerPolicy::Forward, PeerPolicy::Lose));
    let names: Vec<&str> = near.ports.iter().map(|port| port.name.as_str()).collect();
    assert_eq!(names, ["rp0", "rp1"]);
    assert_eq!(far.ports[0].below, Below::Nothing);
    assert_eq!(far.ports[0].link.current, None);
}

#[test]
fn host_bridges_without_a_bus_follow_each_other() {
    let more = |name: &str, bus: &str| {
        format!("[[host-bridge]]\nname = \"{name}\"\nid = \"1b36:000b\"\np2p = \"refuse\"\n{bus}\n")
    };
    let text =
        SMALL.to_owned() + &more("host1", "") + &more("host2", "bus = 16") + &more("host3", "");
    let buses: Vec<_> = parse(&text)
        .host_bridges
        .iter()
        .map(|bridge| (bridge.first_bus, bridge.last_bus))
        .collect();
    // host0 needs two: its root bus, and one behind rp0.
    assert_eq!(buses, [(0, 1), (2, 15), (16, 16), (17, 255)]);
}

#[test]
fn links_train_to_what_both_ends_can() {
    let machine = parse(EVERYTHING);
    let root = &machine.host_bridges[0].ports[0];
    let sw0 = switch(root);
    assert_eq!(root.link, status("gen4 x8", "gen5 x16"));
    assert_eq!(sw0.link, status("gen4 x8", "gen5 x16"));
    assert_eq!(sw0.ports[0].link, status("gen3 x2", "gen4 x4"));
    assert_eq!(device(&sw0.ports[0])[0].link, status("gen3 x2", "gen4 x4"));
    assert_eq!(sw0.ports[1].link, status("gen4 x4", "gen4 x4"));
    // sw1 could do gen4 x16, its port gen3 x8.
    assert_eq!(switch(&sw0.ports[2]).link, status("gen3 x8", "gen4 x16"));
}

#[test]
fn acs_is_what_the_file_says_and_the_boot_parameter_leaves() {
    let machine = parse(EVERYTHING);
    let ports = &machine.host_bridges[0].ports;
    let sw0 = switch(&ports[0]);
    assert_eq!(bits(ports[0].acs.as_ref()), ISOLATING.into_bits(), "an IOMMU is on");
    assert_eq!(bits(ports[1].acs.as_ref()), 0x11, "RR is disabled");
    assert!(ports[1].acs.as_ref().unwrap().redirection_disabled);
    assert!(machine.host_bridges[1].ports[0].acs.is_none());
    assert_eq!(bits(sw0.ports[0].acs.as_ref()), 0x0c);
    assert_eq!(bits(sw0.ports[1].acs.as_ref()), 0, "both are disabled");
    let third = sw0.ports[2].acs.as_ref().unwrap();
    assert_eq!(third.control.into_bits(), 0x24);
    assert!(third.egress.lists(0) && third.egress.lists(1) && !third.egress.lists(2));
    assert!(!third.redirection_disabled);
    let [mover, gpu] = device(&ports[1]) else { panic!("two functions") };
    assert_eq!((mover.name.as_str(), mover.number), ("mover0", 0));
    assert_eq!((gpu.name.as_str(), gpu.number), ("gpu0", 1));
    assert_eq!(bits(mover.acs.as_ref()), 0);
    assert_eq!(bits(gpu.acs.as_ref()), 0x08);
    assert!(gpu.acs.as_ref().unwrap().egress.lists(0));
    assert!(device(&sw0.ports[0])[0].acs.is_none());
}

#[test]
fn acs_without_a_word_is_what_linux_sets() {
    let acs = |iommu: &str| {
        let machine = parse(&format!("{SMALL}[iommu]\nmode = \"{iommu}\"\n"));
        bits(machine.host_bridges[0].ports[0].acs.as_ref())
    };
    assert_eq!(acs("off"), 0);
    assert_eq!(acs("passthrough"), 0x1d);
    assert_eq!(acs("translate"), 0x1d);
    let disabled =
        format!("{SMALL}[iommu]\nmode = \"translate\"\n[os]\ndisable-acs-redir = [\"rp0\"]\n");
    let machine = parse(&disabled);
    assert_eq!(bits(machine.host_bridges[0].ports[0].acs.as_ref()), 0x11);
}

#[test]
fn nvme_controllers_have_their_parts() {
    let machine = parse(EVERYTHING);
    let sw0 = first_switch(&machine);
    let first = nvme(&device(&sw0.ports[0])[0]);
    assert_eq!((first.queue_pairs, first.queue_entries), (8, 256));
    assert_eq!(first.max_transfer, None);
    assert_eq!(first.media.read_latency, Some(Duration::from_micros(80)));
    assert_eq!(first.media.write_latency, Some(Duration::from_micros(12)));
    assert_eq!(first.media.read_bandwidth, Some(7_000_000_000));
    assert_eq!(first.media.write_bandwidth, Some(4_500_000_000));
    let cmb = first.cmb.unwrap();
    assert_eq!((cmb.size, cmb.bar.get(), cmb.bar_size, cmb.offset), (1 << 20, 4, 4 << 20, 2 << 20));
    assert!(cmb.uses.read_data && cmb.uses.write_data);
    assert!(!cmb.uses.submission_queues && !cmb.uses.completion_queues && !cmb.uses.lists);
    let pmr = first.pmr.unwrap();
    assert_eq!((pmr.size, pmr.bar.get()), (16 << 20, 2));
    let [plain, protected] = first.namespaces[..] else { panic!("two namespaces") };
    assert_eq!((plain.size, plain.block, plain.metadata), (1 << 30, 512, 0));
    assert_eq!((plain.protection, plain.media), (0, Media::Persistent));
    assert_eq!((protected.size, protected.block), (512_000_000, 4096));
}

#[test]
fn defaults_of_nvme_and_memory() {
    let machine = parse(EVERYTHING);
    let sw0 = first_switch(&machine);
    let second = nvme(&device(&sw0.ports[1])[0]);
    assert_eq!((second.queue_pairs, second.queue_entries), (64, 1024));
    assert_eq!(second.max_transfer, Some(128 << 10));
    assert_eq!(second.namespaces, []);
    let cmb = second.cmb.unwrap();
    assert_eq!((cmb.size, cmb.bar.get(), cmb.bar_size, cmb.offset), (64 << 20, 2, 64 << 20, 0));
    assert!(cmb.uses.submission_queues && cmb.uses.completion_queues && cmb.uses.lists);
    let sw1 = switch(&sw0.ports[2]);
    let ram = &device(&sw1.ports[0])[0];
    assert_eq!(ram.model, Model::BarMemory(BarMemory { size: 1 << 20, window: 1 << 20 }));
    let gpu = &device(&machine.host_bridges[0].ports[1])[1];
    assert_eq!(gpu.model, Model::BarMemory(BarMemory { size: 16 << 30, window: 256 << 20 }));
    assert_eq!(sw1.ports[0].acs.as_ref().unwrap().control.into_bits(), 0);
}

#[test]
fn a_cmb_may_be_as_odd_as_hardware_allows() {
    let cmb = |value: &str| {
        let text = format!("{SMALL}[[nvme]]\nname = \"nvme0\"\nbelow = \"rp0\"\ncmb = {value}\n");
        nvme(&device(&parse(&text).host_bridges[0].ports[0])[0]).cmb.unwrap()
    };
    // 1 MiB: Linux ignores it, but it exists.
    assert_eq!(cmb("\"1M\"").bar_size, 1 << 20);
    assert_eq!(cmb("\"12k\"").bar_size, 16 << 10);
    assert_eq!(cmb("{ size = \"4G\", offset = \"4G\" }").bar_size, 8 << 30);
}

#[test]
fn one_host_bridge_is_enough() {
    let machine = parse(SMALL);
    assert_eq!(machine.about, "");
    assert_eq!((machine.host.cpu.vendor, machine.host.cpu.family), (CpuVendor::Intel, 6));
    assert_eq!(machine.host.memory, 1 << 30);
    assert_eq!(machine.timing.model, TimingModel::Ideal);
    assert_eq!(machine.iommu, IommuMode::Off);
    let root = &machine.host_bridges[0];
    assert_eq!((root.first_bus, root.last_bus), (0, 255));
    assert_eq!(root.ports[0].link.max, link("gen4 x16"));
}
