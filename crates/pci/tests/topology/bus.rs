//! The bus's judgement, one hand-made case for every clause of every ACS control.

use p2pdma_pci::topology::{Acs, BusPath, Cause, EgressVector, Kind, Known, TlpClass};

use crate::tree::{Tree, at, host_bridges, multi_function, root_ports, switch};

/// Where each class goes, in a few words: write, read, completion, relaxed completion, translated.
fn paths(tree: &Tree, client: &str, provider: &str) -> [String; 5] {
    let topology = tree.build();
    let find = |bdf| topology.find(at(bdf)).unwrap();
    let paths = topology.bus_paths(find(client), find(provider));
    TlpClass::ALL.map(|class| {
        let path = topology.bus_path(find(client), find(provider), class);
        assert_eq!(path, paths.of(class));
        let by = path.decision().map_or_else(String::new, |decision| {
            format!(" {} {}", short(decision.at), decision.bit)
        });
        match path {
            BusPath::Local { turn, .. } => format!("local {}{by}", short(turn)),
            BusPath::ThroughRoot { .. } => format!("root{by}"),
            BusPath::Blocked(_) => format!("blocked{by}"),
            BusPath::Unknown { at } => format!("unknown {}", short(at)),
        }
    })
}

fn short(bdf: p2pdma_pci::Bdf) -> String {
    bdf.to_string().split_off(5)
}

/// From 03:00.0 (port 0) to 04:00.0 (port 1) of the switch.
fn across(root: &str, port0: &str, port1: &str) -> [String; 5] {
    paths(&switch(root, port0, port1), "03:00.0", "04:00.0")
}

const LOCAL: [&str; 5] =
    ["local 02:00.0", "local 02:00.0", "local 02:01.0", "local 02:01.0", "local 02:00.0"];

#[test]
fn without_acs_all_turns_in_the_switch() {
    assert_eq!(across("-", "-", "-"), LOCAL);
    assert_eq!(across("", "", ""), LOCAL);
}

#[test]
fn source_validation_does_nothing_to_honest_functions() {
    assert_eq!(across("SV", "SV", "SV"), LOCAL);
}

#[test]
fn request_redirect_acts_at_the_clients_port_on_requests() {
    let [write, read, completion, relaxed, translated] = across("UF", "RR", "");
    for class in [write, read, translated] {
        assert_eq!(class, "root 02:00.0 RR");
    }
    assert_eq!([completion, relaxed], ["local 02:01.0", "local 02:01.0"]);
    // At the provider's port it concerns requests in the other direction only.
    assert_eq!(across("UF", "", "RR"), LOCAL);
    assert_eq!(across("RR UF", "", ""), LOCAL);
}

#[test]
fn completion_redirect_acts_at_the_providers_port_and_spares_relaxed_ordering() {
    let [write, read, completion, relaxed, _] = across("UF", "", "CR");
    assert_eq!([write, read], ["local 02:00.0", "local 02:00.0"]);
    assert_eq!(completion, "root 02:01.0 CR");
    assert_eq!(relaxed, "local 02:01.0");
    assert_eq!(across("UF", "CR", ""), LOCAL);
}

#[test]
fn upstream_forwarding_decides_what_the_port_above_does() {
    // Redirected by the switch, it has reached the root at the root port, whose own UF is not asked.
    assert_eq!(across("", "RR", "")[0], "root 02:00.0 RR");
    assert_eq!(across("-", "RR", "")[0], "root 02:00.0 RR");
    assert_eq!(across("UF", "RR", "")[0], "root 02:00.0 RR");
    assert_eq!(across("", "", "CR")[2], "root 02:01.0 CR");
    // Alone it redirects nothing.
    assert_eq!(across("UF", "UF", "UF"), LOCAL);
}

#[test]
fn upstream_forwarding_in_a_chain() {
    // An inner switch that redirects, below port 0 of an outer one.
    let chain = |root: &str, outer: &str| {
        let tree = Tree::q35();
        tree.root_port("00:01.0", root)
            .up("00:01.0", "01:00.0")
            .down("01:00.0", "02:00.0", outer)
            .up("02:00.0", "03:00.0")
            .down("03:00.0", "04:00.0", "RR")
            .down("03:00.0", "04:01.0", "RR")
            .end("04:00.0", "05:00.0")
            .end("04:01.0", "06:00.0");
        paths(&tree, "05:00.0", "06:00.0")[0].clone()
    };
    assert_eq!(chain("", ""), "local 02:00.0 04:00.0 RR");
    assert_eq!(chain("UF", ""), "local 02:00.0 04:00.0 RR");
    assert_eq!(chain("", "UF"), "root 04:00.0 RR");
    assert_eq!(chain("UF", "UF"), "root 04:00.0 RR");
}

#[test]
fn egress_control_blocks_the_peers_in_its_vector() {
    let [write, read, completion, relaxed, translated] = across("UF", "EC:1", "");
    for class in [write, read, translated] {
        assert_eq!(class, "blocked 02:00.0 EC");
    }
    assert_eq!([completion, relaxed], ["local 02:01.0", "local 02:01.0"]);
    // Port 1 is not in the vector.
    assert_eq!(across("UF", "EC:0,2", ""), LOCAL);
    assert_eq!(across("UF", "EC", "EC"), LOCAL);
    // The vector without the control does nothing.
    assert_eq!(across("UF", "SV:1", ""), LOCAL);
}

#[test]
fn egress_control_with_request_redirect_redirects_the_peers_in_its_vector() {
    assert_eq!(across("UF", "EC RR:1", "")[0], "root 02:00.0 RR");
    // The others are reached directly, request redirect or not.
    assert_eq!(across("UF", "EC RR:0", "")[0], "local 02:00.0");
}

#[test]
fn translation_blocking_stops_translated_requests_anywhere_on_the_way_up() {
    let [write, read, completion, relaxed, translated] = across("", "TB", "TB");
    assert_eq!(translated, "blocked 02:00.0 TB");
    assert_eq!([write, read, completion, relaxed], LOCAL[..4]);
    // Ports that the request does not pass upwards do not matter.
    assert_eq!(across("TB", "", "TB"), LOCAL);
    // It wins over direct translated.
    assert_eq!(across("", "TB DT", "")[4], "blocked 02:00.0 TB");
    // Between root ports the client's one is passed.
    let tree = root_ports("8086:29c0");
    tree.edit("00:01.0", |port| port.acs = acs("TB"));
    assert_eq!(paths(&tree, "01:00.0", "02:00.0")[4], "blocked 00:01.0 TB");
    assert_eq!(paths(&tree, "02:00.0", "01:00.0")[4], "root");
    // Redirected at the port, blocked above.
    assert_eq!(across("UF TB", "RR", "")[4], "blocked 00:01.0 TB");
}

fn acs(bits: &str) -> Known<Option<Acs>> {
    let acs = Acs::new(crate::tree::control(bits));
    Known::Value(Some(acs))
}

#[test]
fn direct_translated_exempts_translated_requests() {
    let [write, _, _, _, translated] = across("UF", "RR DT", "");
    assert_eq!(write, "root 02:00.0 RR");
    assert_eq!(translated, "local 02:00.0");
    let [write, _, _, _, translated] = across("UF", "EC DT:1", "");
    assert_eq!(write, "blocked 02:00.0 EC");
    assert_eq!(translated, "local 02:00.0");
}

/// From function 0 to function 1.
fn inside(root: &str, first: &str, second: &str) -> [String; 5] {
    paths(&multi_function(root, first, second), "01:00.0", "01:00.1")
}

#[test]
fn functions_of_a_device_reach_each_other_inside_it() {
    let inner =
        ["local 01:00.0", "local 01:00.0", "local 01:00.1", "local 01:00.1", "local 01:00.0"];
    assert_eq!(inside("-", "-", "-"), inner);
    // The port above is not on the way, whatever it redirects; the kernel notes it all the same.
    assert_eq!(inside("SV TB RR CR UF EC:0,1", "", ""), inner);
}

#[test]
fn a_functions_own_controls_send_its_traffic_up() {
    let [write, read, completion, relaxed, translated] = inside("UF", "RR", "-");
    for class in [write, read, translated] {
        assert_eq!(class, "root 01:00.0 RR");
    }
    assert_eq!([completion, relaxed], ["local 01:00.1", "local 01:00.1"]);
    assert_eq!(inside("UF", "-", "RR")[0], "local 01:00.0");
    assert_eq!(inside("UF", "-", "CR")[2], "root 01:00.1 CR");
    assert_eq!(inside("UF", "CR", "-")[2], "local 01:00.1");
    assert_eq!(inside("UF", "-", "CR")[3], "local 01:00.1");
    // The root port above is the root, whether or not it forwards.
    assert_eq!(inside("", "RR", "-")[0], "root 01:00.0 RR");
    // The vector goes by function numbers.
    assert_eq!(inside("UF", "EC:1", "-")[0], "blocked 01:00.0 EC");
    assert_eq!(inside("UF", "EC:0", "-")[0], "local 01:00.0");
    assert_eq!(inside("UF", "EC RR:1", "-")[0], "root 01:00.0 RR");
    assert_eq!(inside("UF", "RR DT", "-")[4], "local 01:00.0");
    assert_eq!(inside("UF TB", "RR", "-")[4], "blocked 00:01.0 TB");
}

#[test]
fn root_ports_and_host_bridges_lead_through_the_root() {
    let through = ["root", "root", "root", "root", "root"];
    assert_eq!(paths(&root_ports("8086:29c0"), "01:00.0", "02:00.0"), through);
    assert_eq!(paths(&host_bridges("8086:29c0", "8086:29c0"), "01:00.0", "81:00.0"), through);
    let tree = root_ports("8086:29c0");
    tree.edit("00:01.0", |port| port.acs = acs("RR"));
    assert_eq!(paths(&tree, "01:00.0", "02:00.0")[0], "root 00:01.0 RR");
}

#[test]
fn a_root_ports_egress_control_knows_its_own_complex() {
    let listing = |tree: &Tree| {
        tree.edit("00:01.0", |port| {
            let mut all = Acs::new(crate::tree::control("EC"));
            all.egress = Known::Value(EgressVector::listing(1..=2));
            port.acs = Known::Value(Some(all));
        });
    };
    let tree = root_ports("8086:29c0");
    listing(&tree);
    assert_eq!(paths(&tree, "01:00.0", "02:00.0")[0], "blocked 00:01.0 EC");
    let tree = host_bridges("8086:29c0", "8086:29c0");
    listing(&tree);
    assert_eq!(paths(&tree, "01:00.0", "81:00.0")[0], "root");
}

#[test]
fn memory_of_a_bridge_on_the_way_is_reached_without_turning() {
    let tree = switch("UF", "RR CR EC:0,1", "RR");
    assert_eq!(paths(&tree, "03:00.0", "01:00.0")[0], "local 01:00.0");
    assert_eq!(paths(&tree, "01:00.0", "03:00.0")[0], "local 01:00.0");
    assert_eq!(paths(&tree, "03:00.0", "03:00.0")[0], "local 03:00.0");
    assert_eq!(paths(&switch("", "TB", ""), "03:00.0", "01:00.0")[4], "blocked 02:00.0 TB");
    assert_eq!(paths(&switch("", "TB", ""), "03:00.0", "02:00.0")[4], "blocked 02:00.0 TB");
    assert_eq!(paths(&switch("", "TB", ""), "01:00.0", "03:00.0")[4], "local 01:00.0");
}

#[test]
fn a_conventional_bus_is_shared() {
    let tree = Tree::q35();
    let kind = Kind::Conventional;
    tree.root_port("00:01.0", "RR UF")
        .below(Kind::PciBridge, "00:01.0", "01:00.0", "-")
        .below(kind, "01:00.0", "02:00.0", "-")
        .below(kind, "01:00.0", "02:01.0", "-");
    assert_eq!(paths(&tree, "02:00.0", "02:01.0"), ["local 01:00.0"; 5]);
}

#[test]
fn what_could_not_be_read_is_unknown() {
    let [write, read, completion, relaxed, translated] = across("-", "?", "-");
    for class in [write, read, translated] {
        assert_eq!(class, "unknown 02:00.0");
    }
    assert_eq!([completion, relaxed], ["local 02:01.0", "local 02:01.0"]);
    assert_eq!(across("?", "RR", "-")[0], "root 02:00.0 RR");
    assert_eq!(across("?", "RR", "-")[4], "unknown 00:01.0");
    assert_eq!(across("?", "-", "-"), LOCAL);
    let tree = switch("UF", "EC", "-");
    tree.edit("02:00.0", |port| {
        let mut known = Acs::new(crate::tree::control("EC"));
        known.egress = Known::Unknown(Cause::NotCaptured);
        port.acs = Known::Value(Some(known));
    });
    assert_eq!(paths(&tree, "03:00.0", "04:00.0")[0], "unknown 02:00.0");
}
