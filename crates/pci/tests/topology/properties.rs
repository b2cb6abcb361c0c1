//! Properties that hold on every machine.

use p2pdma_pci::topology::{
    Acs, AcsBit, BusPath, Cause, Cpu, CpuVendor, Known, Lists, MapType, NodeId, REDIRECTING, Route,
    TlpClass, Topology,
};
use p2pdma_spec::pci::acs::AcsControl;
use proptest::prelude::*;

use crate::random::{Machine, Mood, Random, machine};

const DIRECT: Mood = Mood { acs_one_in: 12, unknown_one_in: None };
const MIXED: Mood = Mood { acs_one_in: 3, unknown_one_in: None };
const FOGGY: Mood = Mood { acs_one_in: 6, unknown_one_in: Some(6) };

fn pairs(topology: &Topology) -> impl Iterator<Item = (NodeId, NodeId)> + '_ {
    topology.ids().flat_map(|client| topology.ids().map(move |provider| (client, provider)))
}

fn seeded(seed: u64, mood: Mood) -> Machine {
    machine(&mut Random(seed), mood)
}

/// The answers of a machine about all pairs.
fn answers(machine: &Machine) -> Vec<Option<MapType>> {
    let topology = machine.build();
    let answer = |(client, provider)| topology.map_type(client, provider, Lists::Kernel).map_type;
    pairs(&topology).map(answer).collect()
}

fn without_redirection(control: AcsControl) -> AcsControl {
    AcsControl::from_bits(control.into_bits() & !REDIRECTING.into_bits())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn distance_and_map_type_are_symmetric(seed: u64) {
        let topology = seeded(seed, FOGGY).build();
        for (client, provider) in pairs(&topology) {
            let there = topology.map_type(client, provider, Lists::Kernel);
            let back = topology.map_type(provider, client, Lists::Kernel);
            prop_assert_eq!(there, back);
            prop_assert_eq!(there.distance == 0, client == provider);
        }
    }

    #[test]
    fn the_order_of_the_input_does_not_matter(seed: u64) {
        let machine = seeded(seed, MIXED);
        let mut sorted = machine.clone();
        sorted.nodes.sort_by_key(|node| node.bdf);
        prop_assert_eq!(machine.build(), sorted.build());
    }

    /// Switching redirection on never opens a bus-address path, and switching it off never closes one.
    #[test]
    fn more_redirection_never_opens_a_path(seed: u64, word in 0_u16..128) {
        let before = seeded(seed, DIRECT);
        let mut after = before.clone();
        let bits = AcsControl::from_bits(word);
        for node in &mut after.nodes {
            if let Known::Value(Some(acs)) = &mut node.acs {
                acs.control = AcsControl::from_bits(acs.control.into_bits() | bits.into_bits());
            }
        }
        for (before, after) in answers(&before).into_iter().zip(answers(&after)) {
            if before != Some(MapType::BusAddress) {
                prop_assert_eq!(before, after);
            }
        }
    }

    /// Whatever the missing bits turn out to be, a known answer stays and an unknown one is not
    /// decided by fewer facts than it needs.
    #[test]
    fn unknown_never_contradicts_what_is_read_later(seed: u64, fill: u64) {
        let foggy = seeded(seed, FOGGY);
        let partial = answers(&foggy);
        let mut random = Random(fill);
        let mut seen = vec![Vec::new(); partial.len()];
        for round in 0..6_u64 {
            let mut clear = foggy.clone();
            for node in &mut clear.nodes {
                if let Known::Unknown(_) = node.acs {
                    // All off, all on, then anything.
                    let word = [0, 0x7f, random.below(128)][usize::try_from(round.min(2)).unwrap()];
                    let control = AcsControl::from_bits(u16::try_from(word).unwrap());
                    node.acs = Known::Value(Some(Acs::new(control)));
                }
            }
            if let Known::Unknown(_) = clear.host.cpu {
                let vendor = if random.one_in(2) { CpuVendor::Amd } else { CpuVendor::Intel };
                clear.host.cpu = Known::Value(Cpu { vendor, family: 0x19 });
            }
            for (index, answer) in answers(&clear).into_iter().enumerate() {
                prop_assert!(answer.is_some());
                if partial[index].is_some() {
                    prop_assert_eq!(answer, partial[index]);
                }
                seen[index].push(answer);
            }
        }
        let cpu_known = foggy.host.cpu.value().is_some();
        for (answer, seen) in partial.iter().zip(&seen) {
            if answer.is_none() && cpu_known {
                let all_off_and_all_on = seen[0] != seen[1];
                prop_assert!(all_off_and_all_on, "unknown though the answer is fixed: {seen:?}");
            }
        }
    }

    /// The kernel's bus address implies that the bus turns every untranslated packet below the root.
    #[test]
    fn bus_address_is_local_on_the_bus(seed: u64) {
        for mood in [DIRECT, MIXED, FOGGY] {
            let topology = seeded(seed, mood).build();
            for (client, provider) in pairs(&topology) {
                let paths = topology.bus_paths(client, provider);
                match topology.map_type(client, provider, Lists::Kernel).map_type {
                    Some(MapType::BusAddress) => prop_assert!(paths.untranslated_local()),
                    // A pair that the kernel refuses for want of a common bridge never turns below
                    // the root.
                    Some(_) => {}
                    None => {}
                }
            }
        }
    }

    /// Without a common bridge no packet turns below the root.
    #[test]
    fn no_common_bridge_is_never_local(seed: u64) {
        let topology = seeded(seed, MIXED).build();
        for (client, provider) in pairs(&topology) {
            let [from, to] = [client, provider].map(|id| topology.node(id).bdf);
            let verdict = topology.explain(from, to);
            if verdict.common.is_none() {
                for class in TlpClass::ALL {
                    prop_assert!(!verdict.bus.of(class).is_local());
                }
            }
        }
    }

    /// Applying the fix gives the kernel's bus address, and changes nothing but RR, CR and EC.
    #[test]
    fn a_fix_fixes(seed: u64) {
        let machine = seeded(seed, MIXED);
        let topology = machine.build();
        for (client, provider) in pairs(&topology) {
            let [from, to] = [client, provider].map(|id| topology.node(id).bdf);
            let Some(fix) = topology.explain(from, to).fix else { continue };
            let mut fixed = machine.clone();
            for node in &mut fixed.nodes {
                let listed = fix.now.iter().any(|setpci| setpci.bdf == node.bdf);
                if let (true, Known::Value(Some(acs))) = (listed, &mut node.acs) {
                    acs.control = without_redirection(acs.control);
                }
            }
            let after = fixed.build();
            let route = after.route(from, to);
            let open = matches!(route, Route::BusAddress { .. });
            prop_assert!(open);
            prop_assert_eq!(fix.boot.paths.len(), fix.now.len());
        }
    }

    /// The evidence and the bare answer never disagree, and a bit that acts is one that the kernel
    /// notes.
    #[test]
    fn evidence_agrees_with_the_answer(seed: u64) {
        let topology = seeded(seed, FOGGY).build();
        for (client, provider) in pairs(&topology) {
            let [from, to] = [client, provider].map(|id| topology.node(id).bdf);
            let verdict = topology.explain(from, to);
            let route = topology.route(from, to);
            prop_assert_eq!(verdict.code().is_none(), route.distance().is_some());
            prop_assert_eq!(verdict.map_type.is_none(), matches!(route, Route::Unknown(_)));
            if verdict.map_type.is_none() {
                prop_assert!(!verdict.gaps.is_empty());
            }
            if verdict.map_type == Some(MapType::BusAddress) {
                prop_assert_eq!(verdict.noted().count(), 0);
            }
            for step in verdict.steps() {
                prop_assert_eq!(without_redirection(step.acting), AcsControl::new());
            }
            if let BusPath::Blocked(decision) = verdict.bus.of(TlpClass::Write) {
                prop_assert_eq!(decision.bit, AcsBit::EgressControl);
            }
        }
    }
}

#[test]
fn causes_have_remedies() {
    for cause in [Cause::NeedsRoot, Cause::NotCaptured, Cause::Unreadable] {
        assert!(!cause.remedy().is_empty() && !cause.to_string().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The matrix says what the verdict says, in four bytes.
    #[test]
    fn the_matrix_is_the_verdicts(seed: u64) {
        let topology = seeded(seed, FOGGY).build();
        let all: Vec<NodeId> = topology.ids().collect();
        let matrix = topology.matrix(all.clone(), all, Lists::WithUsers);
        prop_assert_eq!(matrix.pairs().len(), matrix.clients().len() * matrix.providers().len());
        for (client, row) in matrix.rows() {
            for (&provider, pair) in matrix.providers().iter().zip(row) {
                let at = |id| topology.node(id).bdf;
                let verdict = topology.explain(at(client), at(provider));
                prop_assert_eq!(pair.map_type, verdict.map_type);
                prop_assert_eq!(Some(u32::from(pair.distance)), verdict.distance);
                prop_assert_eq!(pair.code, verdict.code());
            }
        }
    }
}
