//! Kernels of unknown version, bridges of unread type, and host bridges that users block: what is said
//! then never contradicts what is read later.

use p2pdma_pci::topology::{
    AllowEntry, BlockEntry, BusPath, Cause, CpuVendor, Gap, KernelRange, KernelVersion, Kind,
    Known, Lists, ReasonCode, Route, Rule, Source, TlpClass, Topology,
};
use proptest::prelude::*;

use crate::random::{Mood, Random, machine};
use crate::tree::{Tree, at, host_bridges, root_ports, switch};

const UNKNOWN: Known<KernelVersion> = Known::Unknown(Cause::NotCaptured);

fn route(tree: &Tree) -> Route {
    tree.build().route(at("01:00.0"), at("02:00.0"))
}

fn gaps(route: Route) -> Vec<Gap> {
    match route {
        Route::Unknown(missing) => missing.verdict.gaps,
        _ => Vec::new(),
    }
}

fn block(device: u16, across_only: bool) -> BlockEntry {
    let source = Source::User("site.toml:3 (lost)".into());
    let kernels = KernelRange::default();
    BlockEntry { vendor: 0x8086, device: Some(device), across_only, kernels, source }
}

#[test]
fn an_unknown_kernel_matters_only_where_its_list_differs() {
    let on = |id: &str| {
        let mut tree = root_ports(id);
        tree.host.kernel = Some(UNKNOWN);
        tree
    };
    // Listed since before, and in no release.
    assert!(matches!(route(&on("8086:09a2")), Route::ThroughHostBridge { .. }));
    assert!(matches!(route(&on("8086:29c0")), Route::NotSupported(_)));
    // Listed since 7.3.
    let newer = on("10de:2f96");
    assert_eq!(gaps(route(&newer)), [Gap::Kernel { cause: Cause::NotCaptured }]);
    assert!(matches!(route(&newer.cpu(CpuVendor::Amd, 0x19)), Route::ThroughHostBridge { .. }));
}

#[test]
fn a_users_entry_for_some_kernels_is_unknown_on_an_unknown_one() {
    let mut tree = root_ports("8086:29c0");
    tree.host.kernel = Some(UNKNOWN);
    tree.host.allowlist.add(AllowEntry {
        vendor: 0x8086,
        device: None,
        same_bridge_only: false,
        kernels: KernelRange { since: None, until: Some(KernelVersion { major: 6, minor: 9 }) },
        source: Source::User("l.toml:1".into()),
    });
    assert_eq!(gaps(route(&tree)), [Gap::Kernel { cause: Cause::NotCaptured }]);
    tree.host.kernel = Some(Known::Value(KernelVersion { major: 6, minor: 9 }));
    assert!(matches!(route(&tree), Route::ThroughHostBridge { .. }));
    tree.host.kernel = Some(Known::Value(KernelVersion { major: 6, minor: 10 }));
    assert!(matches!(route(&tree), Route::NotSupported(_)));
}

#[test]
fn a_blocked_host_bridge_is_refused_and_the_kernels_answer_stays() {
    let mut tree = root_ports("8086:09a2");
    tree.host.allowlist.block(block(0x09a2, false));
    let Route::NotSupported(refusal) = route(&tree) else { panic!("blocked") };
    assert_eq!(refusal.code, ReasonCode::RootBlocked);
    assert_eq!(refusal.verdict.rule, Rule::Blocked);
    assert_eq!(
        refusal.verdict.kernel_map_type.unwrap().kernel_name(),
        "PCI_P2PDMA_MAP_THRU_HOST_BRIDGE"
    );
    assert!(!refusal.verdict.by_user_entry());
    assert_eq!(
        refusal.to_string(),
        "[P2P-RC-BLOCKED] no peer-to-peer path from 0000:01:00.0 to 0000:02:00.0: they share no \
         upstream bridge, and the user file site.toml:3 (lost) blocks this host bridge"
    );
    // The processor's permission is taken away too; what nobody allows is not "blocked".
    let mut zen = root_ports("8086:29c0").cpu(CpuVendor::Amd, 0x19);
    zen.host.allowlist.block(block(0x29c0, false));
    assert!(matches!(route(&zen), Route::NotSupported(r) if r.code == ReasonCode::RootBlocked));
    let mut nobody = root_ports("8086:29c0");
    nobody.host.allowlist.block(block(0x29c0, false));
    assert!(matches!(route(&nobody), Route::NotSupported(r) if r.code != ReasonCode::RootBlocked));
    // Below a switch nothing goes through the root.
    let mut local = switch("-", "-", "-");
    local.host.allowlist.block(block(0x29c0, false));
    let below = local.build().route(at("03:00.0"), at("04:00.0"));
    assert_eq!(below, Route::BusAddress { distance: 4 });
}

#[test]
fn a_block_may_be_for_pairs_across_host_bridges_only() {
    let mut near = root_ports("8086:09a2");
    near.host.allowlist.block(block(0x09a2, true));
    assert!(matches!(route(&near), Route::ThroughHostBridge { .. }));
    let mut far = host_bridges("8086:2030", "8086:09a2");
    far.host.allowlist.block(block(0x09a2, true));
    let across = far.build().route(at("01:00.0"), at("81:00.0"));
    assert!(matches!(across, Route::NotSupported(r) if r.code == ReasonCode::RootBlocked));
}

#[test]
fn the_first_of_a_root_bus_may_be_a_root_port() {
    let tree = |kind: Kind| {
        let tree = root_ports("8086:29c0");
        tree.nodes.borrow_mut().retain(|node| node.bdf != at("00:00.0"));
        tree.edit("00:01.0", |node| {
            (node.kind, node.id) = (kind, "8086:2030".parse().unwrap());
            node.acs = Known::Unknown(Cause::NeedsRoot);
        });
        tree
    };
    assert!(matches!(route(&tree(Kind::RootPort)), Route::ThroughHostBridge { .. }));
    let gap = Gap::RootDevice { at: at("00:01.0"), cause: Cause::NeedsRoot };
    assert_eq!(gaps(route(&tree(Kind::UnreadBridge))), [gap]);
    assert!(gap.to_string().contains("00:01.0"));
    assert!(matches!(route(&tree(Kind::PciBridge)), Route::NotSupported(_)));
}

const FOGGY: Mood = Mood { acs_one_in: 6, unknown_one_in: Some(6) };

fn agrees(before: &Topology, after: &Topology) {
    for client in before.ids() {
        for provider in before.ids() {
            for lists in [Lists::Kernel, Lists::WithUsers] {
                let answer = before.map_type(client, provider, lists).map_type;
                let later = after.map_type(client, provider, lists).map_type;
                assert!(answer.is_none() || answer == later, "{answer:?} {later:?}");
            }
            for class in TlpClass::ALL {
                let path = before.bus_path(client, provider, class);
                let later = after.bus_path(client, provider, class);
                // Where it turns is told of a port; a conventional bus turns it itself.
                let open = matches!(path, BusPath::Unknown { .. });
                let local = path.is_local() && later.is_local();
                assert!(open || local || path == later, "{class:?} {path:?} {later:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// A kernel's version that becomes known never overturns an answer.
    #[test]
    fn a_kernel_read_later_contradicts_nothing(seed: u64, major in 5_u16..9, minor in 0_u16..20) {
        let mut machine = machine(&mut Random(seed), FOGGY);
        machine.host.kernel = Some(UNKNOWN);
        machine.host.allowlist.block(block(0x2030, seed.is_multiple_of(2)));
        let before = machine.build();
        machine.host.kernel = Some(Known::Value(KernelVersion { major, minor }));
        agrees(&before, &machine.build());
    }

    /// Nor does the type of a bridge.
    #[test]
    fn a_type_read_later_contradicts_nothing(seed: u64, one_in in 1_u64..6) {
        let mut random = Random(seed);
        let mut machine = machine(&mut random, FOGGY);
        let after = machine.build();
        for node in &mut machine.nodes {
            if node.kind.is_bridge() && random.one_in(one_in) {
                node.kind = Kind::UnreadBridge;
            }
        }
        agrees(&machine.build(), &after);
    }
}
