//! The library's reading of the kernel's rule against the reference, on random machines.

use p2pdma_pci::topology::{Lists, MapType};

use crate::random::{Mood, Random, machine};
use crate::reference::{Bug, Reference};

#[derive(Debug, Default)]
struct Counts {
    machines: u64,
    pairs: u64,
    by_type: [u64; 3],
    differences: u64,
    /// Of those, how many differ in the distance only.
    distances: u64,
}

fn compare(seed: u64, machines: u64, bug: Bug) -> Counts {
    let mut random = Random(seed);
    let mut counts = Counts::default();
    for number in 0..machines {
        let mood = Mood {
            acs_one_in: [2, 6, 20][usize::try_from(number % 3).unwrap()],
            unknown_one_in: None,
        };
        let machine = machine(&mut random, mood);
        let topology = machine.build();
        let reference = Reference::new(&machine.host, &machine.bridges, &machine.nodes, bug);
        counts.machines += 1;
        for provider in topology.ids() {
            for client in topology.ids() {
                let [from, to] = [client, provider].map(|id| topology.node(id).bdf);
                let ours = topology.map_type(client, provider, Lists::Kernel);
                let (map_type, distance) = reference.verdict(to, from);
                counts.pairs += 1;
                counts.by_type[map_type as usize] += 1;
                if ours.map_type != Some(map_type) {
                    counts.differences += 1;
                } else if ours.distance != distance {
                    counts.differences += 1;
                    counts.distances += 1;
                }
            }
        }
    }
    counts
}

#[test]
fn equals_the_reference_on_random_machines() {
    const SEED: u64 = 0x7032_7064_6d61;
    let counts = compare(SEED, 25_000, Bug::None);
    println!("seed {SEED:#x}: {counts:?}");
    assert_eq!(counts.differences, 0);
    assert!(counts.machines >= 20_000);
    for map_type in [MapType::BusAddress, MapType::ThroughHostBridge, MapType::NotSupported] {
        assert!(counts.by_type[map_type as usize] > counts.pairs / 50, "{map_type:?} is rare");
    }
}

#[test]
fn every_planted_bug_is_found() {
    for bug in Bug::PLANTED {
        let counts = compare(7, 500, bug);
        println!("{bug:?}: {} of {} pairs differ", counts.differences, counts.pairs);
        assert!(counts.differences > 0, "{bug:?} was not found");
        let distance_only = bug == Bug::DistanceCountsBridgesOnly;
        assert_eq!(counts.distances > 0, distance_only);
    }
}
