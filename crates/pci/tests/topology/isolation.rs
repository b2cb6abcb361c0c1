//! What clearing ACS bits costs.

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{
    Acs, EgressVector, ISOLATING, Known, Lists, MapType, NodeId, REDIRECTING, TlpClass, Topology,
};
use p2pdma_spec::pci::acs::AcsControl;

use crate::random::{Machine, Mood, Random, machine};
use crate::tree::{Tree, at, multi_function, switch};

const ISOLATED: &str = "SV RR CR UF";

fn cost(tree: &Tree, cleared: &[&str]) -> Vec<(Vec<String>, usize)> {
    let topology = tree.build();
    let ports: Vec<NodeId> = cleared.iter().map(|bdf| topology.find(at(bdf)).unwrap()).collect();
    let merges = topology.cost_of_clearing(&ports);
    let names =
        |functions: Vec<Bdf>| functions.iter().map(|bdf| bdf.to_string().split_off(5)).collect();
    merges.into_iter().map(|merge| (names(merge.functions), merge.groups)).collect()
}

fn one(functions: &[&str], groups: usize) -> Vec<(Vec<String>, usize)> {
    vec![(functions.iter().map(ToString::to_string).collect(), groups)]
}

#[test]
fn opening_both_ports_joins_both_devices() {
    let tree = switch(ISOLATED, ISOLATED, ISOLATED);
    let joined = one(&["03:00.0", "04:00.0"], 2);
    assert_eq!(cost(&tree, &["02:00.0", "02:01.0"]), joined);
    // A root port is the root, with or without UF: there too the switch isolated them.
    let tree = switch("", ISOLATED, ISOLATED);
    assert_eq!(cost(&tree, &["02:00.0", "02:01.0"]), joined);
}

#[test]
fn one_open_port_reaches_everything_on_its_switch() {
    let tree = switch(ISOLATED, ISOLATED, ISOLATED);
    tree.down("01:00.0", "02:02.0", ISOLATED)
        .function("02:02.0", "05:00.0", "RR")
        .function("02:02.0", "05:00.1", "RR");
    assert_eq!(cost(&tree, &["02:00.0"]), one(&["03:00.0", "04:00.0", "05:00.0", "05:00.1"], 4));
}

#[test]
fn what_is_joined_already_costs_nothing() {
    assert_eq!(cost(&switch(ISOLATED, "", ISOLATED), &["02:01.0"]), []);
    // Nothing is separated by a port that could not be read.
    assert_eq!(cost(&switch(ISOLATED, "?", ISOLATED), &["02:01.0"]), []);
    assert_eq!(cost(&switch(ISOLATED, ISOLATED, ISOLATED), &[]), []);
}

#[test]
fn functions_of_a_device_are_joined_by_their_own_bits() {
    let tree = multi_function(ISOLATED, "RR CR", "RR CR");
    assert_eq!(cost(&tree, &["01:00.0"]), one(&["01:00.0", "01:00.1"], 2));
    // The root port's redirection never separated them.
    let tree = multi_function(ISOLATED, "-", "-");
    assert_eq!(cost(&tree, &["00:01.0"]), []);
}

#[test]
fn other_root_ports_stay_apart() {
    let tree = switch(ISOLATED, ISOLATED, ISOLATED);
    tree.root_port("00:02.0", ISOLATED)
        .up("00:02.0", "11:00.0")
        .down("11:00.0", "12:00.0", ISOLATED)
        .down("11:00.0", "12:01.0", ISOLATED)
        .end("12:00.0", "13:00.0")
        .end("12:01.0", "14:00.0");
    let both = cost(&tree, &["02:00.0", "12:00.0"]);
    let expected = [one(&["03:00.0", "04:00.0"], 2), one(&["13:00.0", "14:00.0"], 2)].concat();
    assert_eq!(both, expected);
}

/// The cost, against groups that are made by asking the bus's judgement about every pair.
#[test]
fn cost_equals_what_the_bus_says_about_every_pair() {
    const SEED: u64 = 0x15_0147;
    let mut random = Random(SEED);
    let (mut machines, mut named) = (0, 0);
    for _ in 0..2_000 {
        let mood = Mood { acs_one_in: 2, unknown_one_in: None };
        let mut machine = machine(&mut random, mood);
        isolate(&mut machine, &mut random);
        let before = machine.build();
        let cleared: Vec<NodeId> = before.ids().filter(|_| random.one_in(3)).collect();
        let after = clear(&machine, &before, &cleared);
        let (was, is) = (groups(&before), groups(&after));
        let mut expected: Vec<(Vec<Bdf>, usize)> = Vec::new();
        for group in &is {
            let parts = was.iter().filter(|old| old.iter().any(|bdf| group.contains(bdf)));
            let parts = parts.count();
            if parts > 1 {
                expected.push((group.clone(), parts));
            }
        }
        let merges = before.cost_of_clearing(&cleared);
        let mut ours: Vec<_> = merges.into_iter().map(|m| (m.functions, m.groups)).collect();
        for (functions, _) in &mut ours {
            functions.sort_unstable();
        }
        ours.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ours, expected);
        machines += 1;
        named += ours.len();
    }
    println!("seed {SEED:#x}: {machines} machines, {named} merges, all equal");
    assert!(named > 500);
}

/// Switches most functions to what an IOMMU driver asks for, and some to egress control besides.
fn isolate(machine: &mut Machine, random: &mut Random) {
    for node in &mut machine.nodes {
        if random.one_in(8) {
            continue;
        }
        let mut acs = Acs::new(ISOLATING.with_egress_control(random.one_in(6)));
        if random.one_in(12) {
            acs.control = acs.control.with_request_redirect(false);
        }
        let listed = random.below(16);
        let peers = (0..4).filter(|peer| listed >> peer & 1 != 0);
        acs.egress = Known::Value(EgressVector::listing(peers));
        node.acs = Known::Value(Some(acs));
    }
}

fn clear(machine: &Machine, topology: &Topology, cleared: &[NodeId]) -> Topology {
    let mut changed = machine.clone();
    for node in &mut changed.nodes {
        let id = topology.find(node.bdf).unwrap();
        if let (true, Known::Value(Some(acs))) = (cleared.contains(&id), &mut node.acs) {
            let left = acs.control.into_bits() & !REDIRECTING.into_bits();
            acs.control = AcsControl::from_bits(left);
        }
    }
    changed.build()
}

fn ends(topology: &Topology) -> Vec<NodeId> {
    let end = |&id: &NodeId| !topology.node(id).kind.is_bridge();
    topology.ids().filter(end).collect()
}

/// The functions that reach each other, or a third that does, without passing the root.
fn groups(topology: &Topology) -> Vec<Vec<Bdf>> {
    let ends = ends(topology);
    let mut group: Vec<usize> = (0..ends.len()).collect();
    for (a, &from) in ends.iter().enumerate() {
        for (b, &to) in ends.iter().enumerate() {
            if topology.bus_path(from, to, TlpClass::Write).is_local() {
                let (keep, gone) = (group[a], group[b]);
                group.iter_mut().filter(|g| **g == gone).for_each(|g| *g = keep);
            }
        }
    }
    let mut numbers = group.clone();
    numbers.sort_unstable();
    numbers.dedup();
    let members = |number| {
        let all = ends.iter().zip(&group).filter(move |&(_, &group)| group == number);
        let mut all: Vec<Bdf> = all.map(|(&id, _)| topology.node(id).bdf).collect();
        all.sort_unstable();
        all
    };
    numbers.into_iter().map(members).collect()
}

#[test]
fn the_kernels_bus_address_is_never_isolated() {
    // T1: a direct pair is told to be in one group; clearing nothing merges nothing.
    let topology = switch("-", "-", "-").build();
    let [a, b] = ["03:00.0", "04:00.0"].map(|bdf| topology.find(at(bdf)).unwrap());
    assert_eq!(topology.map_type(a, b, Lists::Kernel).map_type, Some(MapType::BusAddress));
    assert_eq!(topology.cost_of_clearing(&[a, b]), []);
}
