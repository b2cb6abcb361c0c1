//! The verdict about what was read is the kernel's.

use p2pdma_linux::Survey;
use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{Cause, Gap, Kind, Lists, MapType, Route};

use crate::machine::{BRIDGE, Machine, NVME};
use crate::registers::{ENDPOINT, ROOT_PORT, Registers};

fn at(text: &str) -> Bdf {
    text.parse().unwrap()
}

fn kernel(survey: &Survey, client: &str, provider: &str) -> (Option<MapType>, u32) {
    let find = |bdf| survey.topology.find(at(bdf)).unwrap();
    let mapping = survey.topology.map_type(find(client), find(provider), Lists::Kernel);
    (mapping.map_type, mapping.distance)
}

const FIRST: &str = "0000:03:00.0";
const SECOND: &str = "0000:04:00.0";

#[test]
fn below_a_switch_every_redirecting_bit_counts_and_no_other() {
    // SV, TB, UF and DT do not count; RR, CR and EC each do.
    let direct = (Some(MapType::BusAddress), 4);
    let refused = (Some(MapType::NotSupported), 4);
    for bit in 0..7 {
        let survey = Machine::switch(1 << bit).survey();
        let expected = if matches!(bit, 2 | 3 | 5) { refused } else { direct };
        assert_eq!(kernel(&survey, SECOND, FIRST), expected, "bit {bit}");
        assert_eq!(kernel(&survey, FIRST, SECOND), expected, "bit {bit}");
    }
    assert_eq!(kernel(&Machine::switch(0).survey(), FIRST, FIRST), (Some(MapType::BusAddress), 0));
}

/// Two SSDs below root ports of their own.
fn root_ports(vendor: &str, family: u32, host: [u16; 2]) -> Machine {
    let mut machine = Machine::bare(vendor, family);
    let root = "sys/devices/pci0000:00";
    machine.function(root, "0000:00:00.0", &Registers::new(host, 0x06_00_00, 256));
    for number in 1..=2 {
        let port = Registers::new([0x8086, 0x1901], BRIDGE, 4096).express(ROOT_PORT);
        let port = port.bridge([0, number, number]);
        let port = machine.function(root, &format!("0000:00:0{number}.0"), &port);
        let ssd = Registers::new([0x1b36, 0x0010], NVME, 4096).express(ENDPOINT);
        let ssd = machine.function(&port, &format!("0000:0{number}:00.0"), &ssd);
        machine.pool(&ssd, 2 << 20);
    }
    machine
}

#[test]
fn the_root_complex_has_to_be_allowed() {
    let verdict = |vendor, family, host| {
        kernel(&root_ports(vendor, family, host).survey(), "0000:01:00.0", "0000:02:00.0")
    };
    let through = (Some(MapType::ThroughHostBridge), 4);
    let refused = (Some(MapType::NotSupported), 4);
    let q35 = [0x8086, 0x29c0];
    assert_eq!(verdict("GenuineIntel", 6, q35), refused);
    assert_eq!(verdict("GenuineIntel", 6, [0x8086, 0x2020]), through);
    assert_eq!(verdict("GenuineIntel", 6, [0x8086, 0x3c00]), through);
    assert_eq!(verdict("AuthenticAMD", 0x17, q35), through);
    assert_eq!(verdict("AuthenticAMD", 0x16, q35), refused);
    assert_eq!(verdict("HygonGenuine", 0x18, q35), refused);
}

#[test]
fn without_root_what_depends_on_acs_is_unknown_and_nothing_else_is() {
    let survey = Machine::switch(0).without_root().survey();
    assert_eq!(survey.notes, []);
    assert_eq!(kernel(&survey, SECOND, FIRST), (None, 4));
    let Route::Unknown(missing) = survey.topology.route(at(SECOND), at(FIRST)) else { panic!() };
    let gaps = &missing.verdict.gaps;
    assert!(gaps.contains(&Gap::Acs { at: at("0000:02:01.0"), cause: Cause::NeedsRoot }));
    assert!(missing.to_string().ends_with("(run as root)"), "{missing}");
    // What the answer does not depend on need not be known.
    let zen = root_ports("AuthenticAMD", 0x19, [0x1022, 0x14a4]).without_root().survey();
    let through = (Some(MapType::ThroughHostBridge), 4);
    assert_eq!(kernel(&zen, "0000:01:00.0", "0000:02:00.0"), through);
    let intel = root_ports("GenuineIntel", 6, [0x8086, 0x29c0]).without_root().survey();
    let refused = (Some(MapType::NotSupported), 4);
    assert_eq!(kernel(&intel, "0000:01:00.0", "0000:02:00.0"), refused);
}

#[test]
fn without_root_ports_are_told_from_what_everybody_may_read() {
    let survey = Machine::switch(0).without_root().survey();
    let kind = |bdf| survey.topology.node(survey.topology.find(at(bdf)).unwrap()).kind;
    assert_eq!(kind("0000:00:00.0"), Kind::Conventional);
    assert_eq!(kind(FIRST), Kind::Endpoint);
    // Which end of a switch a port is cannot be told without its services.
    assert_eq!(kind("0000:01:00.0"), Kind::UnreadBridge);
    let mut machine = Machine::switch(0);
    let root = "sys/devices/pci0000:00/0000:00:01.0";
    machine.text(&format!("{root}/0000:00:01.0:pcie001/uevent"), "");
    let up = format!("{root}/0000:01:00.0");
    machine.text(&format!("{up}/0000:01:00.0:pcie108/uevent"), "");
    let survey = machine.without_root().survey();
    let kind = |bdf| survey.topology.node(survey.topology.find(at(bdf)).unwrap()).kind;
    assert_eq!(kind("0000:00:01.0"), Kind::RootPort);
    assert_eq!(kind("0000:01:00.0"), Kind::UpstreamPort);
    assert_eq!(kind("0000:02:00.0"), Kind::DownstreamPort);
}
