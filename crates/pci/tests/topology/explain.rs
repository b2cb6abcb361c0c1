//! Verdicts with their evidence, as the command prints them.

use p2pdma_pci::topology::{
    Acs, AcsBit, CpuVendor, Effect, Hazard, IommuMode, Known, LentMemory, Link, LinkStatus, Lists,
    MapType, MemoryKind, ReasonCode, Rule, Setpci, Step, Topology, Verdict,
};
use p2pdma_pci::{BusAddr, Error};

use crate::tree::{Tree, at, host_bridges, multi_function, root_ports, switch};

/// The refusal that the design shows: two SSDs below a redirecting switch, and a host bridge that is
/// not on the list.
fn example() -> Tree {
    let tree = Tree::with_host_bridge("8086:4c43");
    tree.root_port("00:01.0", "SV RR CR UF")
        .up("00:01.0", "01:00.0")
        .down("01:00.0", "02:08.0", "SV RR CR UF")
        .down("01:00.0", "02:10.0", "SV RR CR UF")
        .end("02:08.0", "03:00.0")
        .end("02:10.0", "06:00.0")
        .edit("03:00.0", |node| node.name = Some("nvme0".into()))
        .edit("06:00.0", |node| node.name = Some("nvme1".into()));
    tree
}

fn explained(tree: &Tree, client: &str, provider: &str) -> Verdict {
    tree.build().explain(at(client), at(provider))
}

#[test]
fn the_designs_example_has_all_its_parts() {
    let verdict = explained(&example(), "06:00.0", "03:00.0");
    assert_eq!(verdict.code(), Some(ReasonCode::AcsRedirect));
    assert_eq!(verdict.rule, Rule::NotAllowed);
    assert_eq!(verdict.distance, Some(4));
    assert_eq!(verdict.map_type, Some(MapType::NotSupported));
    assert_eq!(verdict.generation, 1);
    let path = |steps: &[Step]| steps.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(path(&verdict.client_path), ["0000:06:00.0 (nvme1)", "0000:02:10.0"]);
    assert_eq!(path(&verdict.provider_path), ["0000:03:00.0 (nvme0)", "0000:02:08.0"]);
    assert_eq!(verdict.common.as_ref().unwrap().bdf, at("01:00.0"));
    let noted: Vec<_> = verdict
        .noted()
        .map(|step| step.bits().map(|(bit, _)| bit.mnemonic()).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(noted, ["RR CR", "RR CR"]);
    let [bridge] = &verdict.host_bridges[..] else { panic!("one host bridge") };
    assert_eq!(bridge.key.unwrap().1.to_string(), "8086:4c43");
    assert!(bridge.entry.is_none() && !bridge.allows);
    let fix = verdict.fix.as_ref().unwrap();
    let now: Vec<_> = fix.now.iter().map(ToString::to_string).collect();
    assert_eq!(
        now,
        ["setpci -s 02:08.0 ECAP_ACS+6.w=0000:002c", "setpci -s 02:10.0 ECAP_ACS+6.w=0000:002c"]
    );
    assert_eq!(
        fix.boot.to_string(),
        "pci=disable_acs_redir=0000:00:01.0/00.0/08.0;0000:00:01.0/00.0/10.0"
    );
    let [merge] = &fix.cost[..] else { panic!("one merge") };
    assert_eq!((merge.functions.len(), merge.groups), (2, 2));
}

#[test]
fn a_refusal_is_one_line_and_an_error() {
    let topology = example().build();
    let refusal = topology.route(at("06:00.0"), at("03:00.0")).require().unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "[P2P-ACS-REDIR] no peer-to-peer path from 0000:06:00.0 (nvme1) to 0000:03:00.0 (nvme0): \
         ACS redirects at 0000:02:08.0, 0000:02:10.0, and host bridge 8086:4c43 is not on the \
         kernel's list"
    );
    assert_eq!(refusal.client(), at("06:00.0"));
    assert_eq!(refusal.provider(), at("03:00.0"));
    assert_eq!(Error::Refused(refusal.clone()).to_string(), refusal.to_string());
}

#[test]
fn refusals_without_a_common_bridge_name_the_host_bridge() {
    let line = |tree: &Tree, client, provider| {
        let topology = tree.build();
        topology.route(at(client), at(provider)).require().unwrap_err().to_string()
    };
    assert_eq!(
        line(&root_ports("8086:29c0"), "01:00.0", "02:00.0"),
        "[P2P-RC-NOT-ALLOWED] no peer-to-peer path from 0000:01:00.0 to 0000:02:00.0: they share no \
         upstream bridge, and host bridge 8086:29c0 is not on the kernel's list"
    );
    assert_eq!(
        line(&host_bridges("8086:2f00", "8086:09a2"), "01:00.0", "81:00.0"),
        "[P2P-DIFF-ROOT] no peer-to-peer path from 0000:01:00.0 to 0000:81:00.0: they are below \
         different host bridges, and host bridge 8086:2f00 is listed for pairs below itself only"
    );
    let tree = switch("-", "?", "-");
    assert_eq!(
        line(&tree, "03:00.0", "04:00.0"),
        "[P2P-UNKNOWN-NEED-ROOT] whether there is a peer-to-peer path from 0000:03:00.0 to \
         0000:04:00.0 is not known: the ACS registers of 0000:02:00.0 are not known: it is readable \
         by root only (run as root)"
    );
}

#[test]
fn bits_are_told_apart_by_what_they_do() {
    // Client 03:00.0 below port 0, provider 04:00.0 below port 1.
    let verdict = explained(&switch("UF", "RR CR", "RR CR"), "03:00.0", "04:00.0");
    let effects = |path: &[Step]| path[1].bits().collect::<Vec<_>>();
    assert_eq!(
        effects(&verdict.client_path),
        [
            (AcsBit::RequestRedirect, Effect::ActsOnPair),
            (AcsBit::CompletionRedirect, Effect::KernelOnly)
        ]
    );
    assert_eq!(
        effects(&verdict.provider_path),
        [
            (AcsBit::RequestRedirect, Effect::KernelOnly),
            (AcsBit::CompletionRedirect, Effect::ActsOnPair)
        ]
    );
    // The root port above two functions: the kernel refuses, the bus turns inside the device.
    let verdict = explained(&multi_function("RR CR", "-", "-"), "01:00.0", "01:00.1");
    let common = verdict.common.as_ref().unwrap();
    assert!(common.bits().all(|(_, effect)| effect == Effect::KernelOnly));
    assert_eq!(verdict.map_type, Some(MapType::NotSupported));
    assert!(verdict.bus.untranslated_local());
}

#[test]
fn rules_are_named() {
    let rule = |tree: Tree, client, provider| explained(&tree, client, provider).rule;
    assert_eq!(rule(switch("-", "-", "-"), "03:00.0", "04:00.0"), Rule::SharedBridge);
    let zen = root_ports("8086:2030").cpu(CpuVendor::Amd, 0x17);
    assert_eq!(rule(zen, "01:00.0", "02:00.0"), Rule::Cpu);
    assert_eq!(rule(root_ports("8086:2030"), "01:00.0", "02:00.0"), Rule::Allowlist);
    assert_eq!(rule(switch("-", "?", "-"), "03:00.0", "04:00.0"), Rule::Undecided);
}

/// Both ends of a copy reach a third's memory only if redirection is off for both.
#[test]
fn a_fix_for_several_clients_counts_each_port_once() {
    let tree = example();
    tree.down("01:00.0", "02:18.0", "SV RR CR UF").end("02:18.0", "07:00.0");
    let topology = tree.build();
    let fix = topology.fix_for(&[at("03:00.0"), at("06:00.0")], at("07:00.0")).unwrap();
    let cleared: Vec<_> = fix.now.iter().map(|setpci| setpci.bdf).collect();
    assert_eq!(cleared, ["02:18.0", "02:08.0", "02:10.0"].map(at));
    assert_eq!(fix.boot.paths.len(), 3);
    let [merge] = &fix.cost[..] else { panic!("one merge: {:?}", fix.cost) };
    assert_eq!(merge.functions, ["03:00.0", "06:00.0", "07:00.0"].map(at));
    // For one it is the verdict's own; for oneself there is none.
    let one = topology.fix_for(&[at("06:00.0")], at("03:00.0"));
    assert_eq!(one, topology.explain(at("06:00.0"), at("03:00.0")).fix);
    assert_eq!(topology.fix_for(&[at("03:00.0")], at("03:00.0")), None);
    assert_eq!(topology.fix_for(&[at("05:00.0")], at("03:00.0")), None);
}

#[test]
fn a_fix_is_offered_only_where_acs_is_the_obstacle() {
    assert!(explained(&root_ports("8086:29c0"), "01:00.0", "02:00.0").fix.is_none());
    assert!(explained(&switch("-", "-", "-"), "03:00.0", "04:00.0").fix.is_none());
    // Through the host bridge it works already; the fix would shorten the way.
    let zen = switch("-", "RR", "-").cpu(CpuVendor::Amd, 0x17);
    assert!(explained(&zen, "03:00.0", "04:00.0").fix.is_some());
}

#[test]
fn setpci_names_the_domain_where_there_is_one() {
    let fix = Setpci { bdf: at("10000:02:1f.7") };
    assert_eq!(fix.to_string(), "setpci -s 10000:02:1f.7 ECAP_ACS+6.w=0000:002c");
}

#[test]
fn hazards_are_listed() {
    let mut tree = switch("", "", "");
    tree.host.iommu = Known::Value(IommuMode::Translate);
    let link = |text: &str| text.parse::<Link>().unwrap();
    let status = |current, max| Known::Value(Some(LinkStatus { current, max: link(max) }));
    tree.edit("02:00.0", |port| port.link = status(Some(link("gen3 x4")), "gen4 x16"))
        .edit("03:00.0", |ssd| ssd.link = status(Some(link("gen3 x4")), "gen5 x4"))
        .edit("02:01.0", |port| port.link = status(Some(link("gen4 x4")), "gen4 x16"))
        .edit("04:00.0", |ssd| ssd.link = status(Some(link("gen4 x4")), "gen5 x4"))
        .edit("04:00.0", |ssd| {
            ssd.memory = vec![
                LentMemory {
                    kind: MemoryKind::Cmb,
                    size: 1 << 20,
                    behind: None,
                    address: Some(BusAddr(0xfe00_0000)),
                    published: true,
                },
                LentMemory {
                    kind: MemoryKind::Bar(p2pdma_pci::BarIndex::ZERO),
                    size: 256 << 20,
                    behind: Some(16 << 30),
                    address: None,
                    published: false,
                },
            ];
        });
    let verdict = explained(&tree, "03:00.0", "04:00.0");
    let down_trained = Hazard::LinkDownTrained {
        at: at("03:00.0"),
        current: link("gen3 x4"),
        possible: link("gen4 x4"),
    };
    assert_eq!(
        verdict.hazards,
        [
            Hazard::IommuBypassed,
            down_trained,
            Hazard::CmbUnaligned { size: 1 << 20 },
            Hazard::BarSmall { window: 256 << 20, memory: 16 << 30 },
        ]
    );
    assert_eq!(
        down_trained.to_string(),
        "the link above 0000:03:00.0 runs at 8GT/s x4 of 16GT/s x4"
    );
    let codes: Vec<_> = verdict.hazards.iter().map(|hazard| hazard.code().code()).collect();
    assert_eq!(codes, ["IOMMU", "LINK-DOWN", "CMB-ALIGN", "BAR-SMALL"]);

    tree.edit("03:00.0", |ssd| ssd.link = status(None, "gen5 x4"));
    tree.host.iommu = Known::Value(IommuMode::Passthrough);
    let verdict = explained(&tree, "03:00.0", "04:00.0");
    assert_eq!(verdict.hazards[0], Hazard::LinkDown { at: at("03:00.0") });
}

/// QEMU's switches turn nothing: what would turn below a translating IOMMU is lost, and nothing else.
#[test]
fn qemu_loses_what_turns_below_a_translating_iommu() {
    let lost = |iommu, qemu, port: &str, client: &str| {
        let mut tree = switch("", port, "").cpu(CpuVendor::Amd, 0x17);
        (tree.host.iommu, tree.host.qemu) = (Known::Value(iommu), qemu);
        let topology = tree.build();
        let [near, far] = [client, "04:00.0"].map(|bdf| topology.find(at(bdf)).unwrap());
        let verdict = topology.explain(at(client), at("04:00.0"));
        let pair = topology.pair(near, far, Lists::WithUsers);
        assert_eq!(pair.code, verdict.loses_data().then_some(ReasonCode::DataLost));
        verdict.loses_data()
    };
    assert!(lost(IommuMode::Translate, true, "", "03:00.0"));
    assert!(!lost(IommuMode::Translate, false, "", "03:00.0"), "a real machine");
    assert!(!lost(IommuMode::Translate, true, "RR", "03:00.0"), "through the host bridge");
    assert!(!lost(IommuMode::Translate, true, "", "04:00.0"), "its own memory");
    assert!(!lost(IommuMode::Passthrough, true, "", "03:00.0"));
    assert!(!lost(IommuMode::Off, true, "", "03:00.0"));
}

#[test]
fn a_stale_verdict_is_told_by_its_generation() {
    let tree = switch("-", "-", "-");
    let before = explained(&tree, "03:00.0", "04:00.0");
    tree.edit("02:00.0", |port| {
        port.acs = Known::Value(Some(Acs::new(crate::tree::control("RR"))));
    });
    let nodes = tree.nodes.borrow().clone();
    let after = Topology::new(tree.host.clone(), tree.bridges.clone(), nodes, 2);
    let after = after.unwrap();
    assert!(before.generation < after.generation());
    assert_ne!(after.explain(at("03:00.0"), at("04:00.0")).map_type, before.map_type);
}
