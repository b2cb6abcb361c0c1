//! The machines of which the kernel's answer is known: those that were run on Linux 7.3.4 in QEMU,
//! and one for every clause of its rule.

use p2pdma_pci::topology::{
    Acs, AllowEntry, Cause, CpuVendor, KernelRange, KernelVersion, Kind, Known, Node, Permission,
    ReasonCode, Route, Source, Topology, Upstream,
};

use crate::tree::{Tree, at, host_bridges, multi_function, root_ports, switch};

/// Asks in both directions, which must agree, and gives the answer in the notation of the matrix.
fn answer(topology: &Topology, a: &str, b: &str) -> String {
    let ask = |client: &str, provider: &str| match topology.route(at(client), at(provider)) {
        Route::BusAddress { distance } => format!("D{distance}"),
        Route::ThroughHostBridge { distance, by } => format!("H{distance} {by:?}"),
        Route::NotSupported(refusal) => format!("x {}", refusal.code),
        Route::Unknown(missing) => format!("? {}", missing.verdict.gaps.len()),
    };
    let there = ask(a, b);
    assert_eq!(there, ask(b, a), "{a} and {b}");
    there
}

fn answer_on(tree: &Tree, a: &str, b: &str) -> String {
    answer(&tree.build(), a, b)
}

#[test]
fn sw_two_ssds_below_a_switch() {
    assert_eq!(answer_on(&switch("-", "-", "-"), "03:00.0", "04:00.0"), "D4");
    assert_eq!(answer_on(&switch("", "", ""), "03:00.0", "04:00.0"), "D4");
}

#[test]
fn sw_with_an_iommu_but_no_acs_in_the_switch() {
    // What QEMU's xio3130 gives: the root port has ACS on, but is above the common bridge.
    let tree = switch("SV RR CR UF", "-", "-");
    assert_eq!(answer_on(&tree, "03:00.0", "04:00.0"), "D4");
}

#[test]
fn switch_with_acs_redirect_on_a_port() {
    for (port0, port1) in
        [("RR", ""), ("", "RR"), ("CR", ""), ("", "EC"), ("SV RR CR UF", "SV RR CR UF")]
    {
        let tree = switch("", port0, port1);
        assert_eq!(answer_on(&tree, "03:00.0", "04:00.0"), "x P2P-ACS-REDIR");
        let zen = switch("", port0, port1).cpu(CpuVendor::Amd, 0x17);
        assert_eq!(answer_on(&zen, "03:00.0", "04:00.0"), "H4 Cpu");
    }
}

#[test]
fn bits_that_do_not_redirect_do_not_count() {
    let tree = switch("RR CR EC", "SV TB UF DT", "SV TB UF DT");
    assert_eq!(answer_on(&tree, "03:00.0", "04:00.0"), "D4");
}

#[test]
fn the_common_bridge_counts_and_what_is_above_does_not() {
    let tree = switch("RR", "", "");
    tree.edit("01:00.0", |up| up.acs = Known::Value(Some(Acs::new(crate::tree::control("CR")))));
    assert_eq!(answer_on(&tree, "03:00.0", "04:00.0"), "x P2P-ACS-REDIR");
}

#[test]
fn rp_separate_root_ports() {
    assert_eq!(answer_on(&root_ports("8086:29c0"), "01:00.0", "02:00.0"), "x P2P-RC-NOT-ALLOWED");
    let zen = root_ports("8086:29c0").cpu(CpuVendor::Amd, 23);
    assert_eq!(answer_on(&zen, "01:00.0", "02:00.0"), "H4 Cpu");
    assert_eq!(answer_on(&root_ports("8086:09a2"), "01:00.0", "02:00.0"), "H4 KernelList");
    assert_eq!(answer_on(&root_ports("8086:2f00"), "01:00.0", "02:00.0"), "H4 KernelList");
    assert_eq!(answer_on(&root_ports("8086:4c43"), "01:00.0", "02:00.0"), "x P2P-RC-NOT-ALLOWED");
    assert_eq!(answer_on(&root_ports("8086:7d1b"), "01:00.0", "02:00.0"), "x P2P-RC-NOT-ALLOWED");
}

#[test]
fn the_processor_rule_is_for_amd_zen_and_later() {
    for (vendor, family, answer) in [
        (CpuVendor::Amd, 0x16, "x P2P-RC-NOT-ALLOWED"),
        (CpuVendor::Amd, 0x17, "H4 Cpu"),
        (CpuVendor::Amd, 0x1a, "H4 Cpu"),
        (CpuVendor::Hygon, 0x18, "x P2P-RC-NOT-ALLOWED"),
        (CpuVendor::Intel, 0x17, "x P2P-RC-NOT-ALLOWED"),
        (CpuVendor::Other, 0xffff, "x P2P-RC-NOT-ALLOWED"),
    ] {
        let tree = root_ports("8086:29c0").cpu(vendor, family);
        assert_eq!(answer_on(&tree, "01:00.0", "02:00.0"), answer, "{vendor:?} {family:#x}");
    }
}

#[test]
fn pxb_two_host_bridges() {
    for (near, far, answer) in [
        ("8086:29c0", "1b36:000b", "x P2P-DIFF-ROOT"),
        ("8086:09a2", "8086:29c0", "x P2P-DIFF-ROOT"),
        ("8086:09a2", "8086:0b25", "H4 KernelList"),
        ("8086:2030", "1ae0:beef", "H4 KernelList"),
        ("8086:2f00", "8086:2f00", "x P2P-DIFF-ROOT"),
        ("8086:3c01", "8086:2030", "x P2P-DIFF-ROOT"),
    ] {
        let tree = host_bridges(near, far);
        assert_eq!(answer_on(&tree, "01:00.0", "81:00.0"), answer, "{near} {far}");
    }
    let zen = host_bridges("8086:29c0", "1b36:000b").cpu(CpuVendor::Amd, 0x19);
    assert_eq!(answer_on(&zen, "01:00.0", "81:00.0"), "H4 Cpu");
}

#[test]
fn mf_two_functions_of_one_device() {
    assert_eq!(answer_on(&multi_function("", "-", "-"), "01:00.0", "01:00.1"), "D2");
    // pci=config_acs=1111x@pci:1b36:000c, and intel_iommu=on (control 0x1d).
    for root in ["SV TB RR CR", "SV RR CR UF"] {
        let tree = multi_function(root, "-", "-");
        assert_eq!(answer_on(&tree, "01:00.0", "01:00.1"), "x P2P-ACS-REDIR");
        let zen = multi_function(root, "-", "-").cpu(CpuVendor::Amd, 0x17);
        assert_eq!(answer_on(&zen, "01:00.0", "01:00.1"), "H2 Cpu");
    }
    // The functions' own ACS counts too.
    for (first, second) in [("RR", "-"), ("-", "CR"), ("EC", "EC")] {
        let tree = multi_function("", first, second);
        assert_eq!(answer_on(&tree, "01:00.0", "01:00.1"), "x P2P-ACS-REDIR");
    }
}

#[test]
fn a_function_and_itself() {
    let tree = switch("RR", "RR", "");
    assert_eq!(answer_on(&tree, "03:00.0", "03:00.0"), "D0");
    let tree = multi_function("", "RR", "-");
    assert_eq!(answer_on(&tree, "01:00.0", "01:00.0"), "x P2P-ACS-REDIR");
}

/// 05:00.0 and 06:00.0 on an inner switch below port 0 of an outer one; 07:00.0 on its port 1.
fn two_deep(outer0: &str, outer1: &str, inner: &str) -> Tree {
    let tree = Tree::q35();
    tree.root_port("00:01.0", "-")
        .up("00:01.0", "01:00.0")
        .down("01:00.0", "02:00.0", outer0)
        .down("01:00.0", "02:01.0", outer1)
        .up("02:00.0", "03:00.0")
        .down("03:00.0", "04:00.0", inner)
        .down("03:00.0", "04:01.0", "-")
        .end("04:00.0", "05:00.0")
        .end("04:01.0", "06:00.0")
        .end("02:01.0", "07:00.0");
    tree
}

#[test]
fn two_switches_deep() {
    let topology = two_deep("-", "-", "-").build();
    assert_eq!(answer(&topology, "05:00.0", "06:00.0"), "D4");
    assert_eq!(answer(&topology, "05:00.0", "07:00.0"), "D6");
    // A bit on the inner port is noted for the outer pair as well.
    let topology = two_deep("-", "-", "RR").build();
    assert_eq!(answer(&topology, "05:00.0", "07:00.0"), "x P2P-ACS-REDIR");
    assert_eq!(answer(&topology, "06:00.0", "07:00.0"), "D6");
    // One on the outer port is above the inner pair's common bridge.
    let topology = two_deep("RR", "-", "-").build();
    assert_eq!(answer(&topology, "05:00.0", "06:00.0"), "D4");
    assert_eq!(answer(&topology, "06:00.0", "07:00.0"), "x P2P-ACS-REDIR");
}

#[test]
fn the_list_goes_by_the_first_device_of_the_root_bus() {
    let listed = |tree: &Tree, bdf: &str| {
        tree.edit(bdf, |node| node.id = "8086:2031".parse().unwrap());
        answer_on(tree, "01:00.0", "02:00.0")
    };
    let without_00 = || {
        let tree = root_ports("8086:29c0");
        tree.nodes.borrow_mut().retain(|node| node.bdf != at("00:00.0"));
        tree
    };
    // A root port at any number will do, if it is the first device.
    assert_eq!(listed(&without_00(), "00:01.0"), "H4 KernelList");
    assert_eq!(listed(&without_00(), "00:02.0"), "x P2P-RC-NOT-ALLOWED");
    assert_eq!(listed(&root_ports("8086:29c0"), "00:01.0"), "x P2P-RC-NOT-ALLOWED");
    // Any other device only at 00.0.
    let tree = without_00();
    tree.edit("00:01.0", |node| node.kind = Kind::PciBridge);
    assert_eq!(listed(&tree, "00:01.0"), "x P2P-RC-NOT-ALLOWED");
}

#[test]
fn integrated_endpoints_share_no_bridge() {
    let tree = Tree::with_host_bridge("8086:0b25");
    let upstream = Upstream::HostBridge(0);
    for bdf in ["00:01.0", "00:02.0"] {
        let node = Node::new(at(bdf), Kind::IntegratedEndpoint, upstream);
        tree.nodes.borrow_mut().push(node);
    }
    assert_eq!(answer_on(&tree, "00:01.0", "00:02.0"), "H2 KernelList");
}

#[test]
fn unknown_acs_is_unknown_only_where_it_matters() {
    let tree = switch("?", "?", "-");
    assert_eq!(answer_on(&tree, "03:00.0", "04:00.0"), "? 1");
    // Another port is known to redirect: the answer is the same either way.
    let tree = switch("-", "?", "RR");
    assert_eq!(answer_on(&tree, "03:00.0", "04:00.0"), "x P2P-ACS-REDIR");
    // No common bridge: ACS does not matter.
    let tree = root_ports("8086:29c0");
    tree.edit("00:01.0", |node| node.acs = Known::Unknown(Cause::NeedsRoot));
    assert_eq!(answer_on(&tree, "01:00.0", "02:00.0"), "x P2P-RC-NOT-ALLOWED");
    // Even where the root complex is allowed, bus address and host bridge differ.
    let zen = switch("-", "?", "-").cpu(CpuVendor::Amd, 0x17);
    assert_eq!(answer_on(&zen, "03:00.0", "04:00.0"), "? 1");
}

#[test]
fn an_unknown_processor_matters_only_where_the_list_does_not_allow() {
    let unknown = |id| {
        let mut tree = root_ports(id);
        tree.host.cpu = Known::Unknown(Cause::NotCaptured);
        answer_on(&tree, "01:00.0", "02:00.0")
    };
    assert_eq!(unknown("8086:29c0"), "? 1");
    assert_eq!(unknown("8086:2030"), "H4 KernelList");
}

#[test]
fn a_function_that_is_not_there_is_unknown() {
    let topology = switch("-", "-", "-").build();
    assert_eq!(answer(&topology, "03:00.0", "0a:00.0"), "? 1");
    assert_eq!(answer(&topology, "0b:00.0", "0a:00.0"), "? 2");
    let refusal = topology.route(at("0a:00.0"), at("03:00.0")).require().unwrap_err();
    assert_eq!(refusal.code, ReasonCode::UnknownNeedRoot);
}

#[test]
fn the_kernel_has_an_entry_from_a_release_on() {
    let on = |major, minor| {
        let mut tree = root_ports("10de:2f96");
        tree.host.kernel = Some(Known::Value(KernelVersion { major, minor }));
        answer_on(&tree, "01:00.0", "02:00.0")
    };
    assert_eq!(on(7, 3), "H4 KernelList");
    assert_eq!(on(7, 2), "x P2P-RC-NOT-ALLOWED");
}

#[test]
fn a_users_entry_opens_a_path_and_says_so() {
    let mut tree = root_ports("8086:29c0");
    tree.host.allowlist.add(AllowEntry {
        vendor: 0x8086,
        device: Some(0x29c0),
        same_bridge_only: true,
        kernels: KernelRange::default(),
        source: Source::User("my.toml:1".into()),
    });
    let topology = tree.build();
    let route = topology.route(at("01:00.0"), at("02:00.0"));
    let by = Permission::UserList;
    assert_eq!(route, Route::ThroughHostBridge { distance: 4, by });
    let verdict = topology.explain(at("01:00.0"), at("02:00.0"));
    assert!(verdict.by_user_entry());
    assert_eq!(verdict.kernel_map_type.unwrap().kernel_name(), "PCI_P2PDMA_MAP_NOT_SUPPORTED");
    let [bridge] = &verdict.host_bridges[..] else { panic!("one host bridge") };
    assert_eq!(bridge.entry.as_ref().unwrap().source.to_string(), "user file my.toml:1");
}
