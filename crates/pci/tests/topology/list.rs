//! The kernel's list of host bridges against a text of it of our own, and what users' entries do.

use std::collections::BTreeSet;

use p2pdma_pci::topology::{
    AllowEntry, Allowlist, BlockEntry, KernelRange, KernelVersion, Known, Lists, MapType, PciId,
    ReasonCode, Source, Topology,
};

use crate::tree::{Tree, at, host_bridges, root_ports};

/// `pci_p2pdma_whitelist[]` of Linux 7.3.4 (drivers/pci/p2pdma.c), line by line: vendor, device, whether
/// REQ_SAME_HOST_BRIDGE is set, and the release that first has the line ('-': older than 6.2).
const TABLE: &str = "\
    8086 3c00 same -  # Xeon E5 and Core i7
    8086 3c01 same -
    8086 2f00 same -  # Xeon E5 v3 and E7 v3
    8086 2f01 same -
    8086 2030 any -   # Skylake-E, root ports A to D
    8086 2031 any -
    8086 2032 any -
    8086 2033 any -
    8086 2020 any -   # its DMI port
    8086 09a2 any -   # Ice Lake-SP and later
    8086 0b25 any 7.1 # PCI_DEVICE_ID_INTEL_DSA_SPR0
    8086 0cfe any 7.1 # PCI_DEVICE_ID_INTEL_IAX_SPR0
    8086 11fb any 7.1 # DSA of Granite Rapids
    8086 1212 any 7.1 # DSA of Diamond Rapids
    8086 1216 any 7.1 # IAA of Diamond Rapids
    8086 4940 any 7.1 # QAT 4xxx
    8086 4942 any 7.1 # QAT 401xx
    8086 4944 any 7.1 # QAT 402xx
    8086 4946 any 7.1 # QAT 420xx
    8086 4948 any 7.1 # QAT 6xxx
    1ae0 * any 7.1    # Google, PCI_ANY_ID
    10de 2f95 any 7.3 # Nvidia Vera Rubin
    10de 2f96 any 7.3
    10de 2f97 any 7.3
    10de 2f98 any 7.3
";

fn version(text: &str) -> KernelVersion {
    text.parse().unwrap()
}

/// A line: the entry that it stands for.
fn entry(line: &str) -> AllowEntry {
    let words: Vec<&str> = line.split_whitespace().collect();
    let hex = |text| u16::from_str_radix(text, 16).unwrap();
    AllowEntry {
        vendor: hex(words[0]),
        device: (words[1] != "*").then(|| hex(words[1])),
        same_bridge_only: words[2] == "same",
        kernels: KernelRange { since: (words[3] != "-").then(|| version(words[3])), until: None },
        source: Source::Kernel,
    }
}

#[test]
fn the_table_is_the_kernels_line_by_line() {
    let expected: Vec<AllowEntry> = TABLE.lines().map(entry).collect();
    assert_eq!(Allowlist::kernel().entries(), expected);
    println!("lines of the kernel's list: {}", expected.len());
}

/// Every identifier in the table and those beside it, of these and of other vendors, under each kernel.
#[test]
fn every_identifier_is_judged_as_the_table_says() {
    let table: Vec<AllowEntry> = TABLE.lines().map(entry).collect();
    let list = Allowlist::kernel();
    let beside = |number: u16| [number.wrapping_sub(1), number, number.wrapping_add(1)];
    let listed = table.iter().filter_map(|entry| entry.device).chain([0]);
    let devices: BTreeSet<u16> = listed.flat_map(beside).collect();
    let vendors: BTreeSet<u16> = table.iter().flat_map(|entry| beside(entry.vendor)).collect();
    let mut judged = 0;
    for &vendor in &vendors {
        for &device in &devices {
            let id = PciId { vendor, device };
            let line = table.iter().find(|entry| {
                entry.vendor == vendor && entry.device.is_none_or(|own| own == device)
            });
            for release in ["6.2", "7.0", "7.1", "7.2", "7.3", "8.0"] {
                let kernel = version(release);
                let there = line.filter(|line| line.kernels.since.is_none_or(|own| own <= kernel));
                for same in [true, false] {
                    let expected = there.is_some_and(|line| same || !line.same_bridge_only);
                    let ours = list.allows(id, Some(Known::Value(kernel)), same, Lists::Kernel);
                    assert_eq!(ours, Some(expected), "{id} {release} {same}");
                    judged += 1;
                }
            }
        }
    }
    println!("identifiers, kernels and kinds of pairs judged: {judged}");
}

fn on(id: &str, kernel: Known<KernelVersion>) -> Tree {
    let mut tree = root_ports(id);
    tree.host.kernel = Some(kernel);
    tree
}

fn answers(topology: &Topology) -> [Option<MapType>; 2] {
    let of = |bdf| topology.find(at(bdf)).unwrap();
    let (client, provider) = (of("01:00.0"), of("02:00.0"));
    [Lists::Kernel, Lists::WithUsers]
        .map(|lists| topology.map_type(client, provider, lists).map_type)
}

#[test]
fn an_unknown_kernel_leaves_open_what_depends_on_it() {
    let unknown = Known::Unknown(p2pdma_pci::topology::Cause::NotCaptured);
    assert_eq!(answers(&on("10de:2f95", unknown).build()), [None; 2]);
    assert_eq!(answers(&on("8086:2030", unknown).build()), [Some(MapType::ThroughHostBridge); 2]);
    assert_eq!(answers(&on("8086:29c0", unknown).build()), [Some(MapType::NotSupported); 2]);
}

/// An entry of a user for some kernels only; it never changes what is said of the kernel's answer.
#[test]
fn a_users_entry_holds_from_its_first_to_its_last_kernel() {
    for (release, holds) in
        [("6.2", false), ("6.6", true), ("6.9", true), ("6.12", true), ("7.0", false)]
    {
        let mut tree = on("8086:29c0", Known::Value(version(release)));
        let (since, until) = (Some(version("6.6")), Some(version("6.12")));
        tree.host.allowlist.add(AllowEntry {
            vendor: 0x8086,
            device: Some(0x29c0),
            same_bridge_only: false,
            kernels: KernelRange { since, until },
            source: Source::User("site.toml:1".into()),
        });
        let ours = if holds { MapType::ThroughHostBridge } else { MapType::NotSupported };
        assert_eq!(answers(&tree.build()), [Some(MapType::NotSupported), Some(ours)], "{release}");
    }
}

fn block(vendor: u16, device: u16, across_only: bool) -> BlockEntry {
    let source = Source::User("site.toml:9".into());
    let kernels = KernelRange::default();
    BlockEntry { vendor, device: Some(device), across_only, kernels, source }
}

#[test]
fn a_users_block_goes_before_all_that_allows() {
    let through = Some(MapType::ThroughHostBridge);
    for across_only in [false, true] {
        let mut tree = root_ports("8086:2030");
        tree.host.allowlist.block(block(0x8086, 0x2030, across_only));
        let ours = if across_only { through } else { Some(MapType::NotSupported) };
        let topology = tree.build();
        assert_eq!(answers(&topology), [through, ours]);
        let verdict = topology.explain(at("01:00.0"), at("02:00.0"));
        assert_eq!(verdict.code(), (!across_only).then_some(ReasonCode::RootBlocked));
    }
    // Of two host bridges one is enough.
    let mut tree = host_bridges("8086:2030", "8086:09a2");
    tree.host.allowlist.block(block(0x8086, 0x09a2, true));
    let topology = tree.build();
    let [near, far] = ["01:00.0", "81:00.0"].map(|bdf| topology.find(at(bdf)).unwrap());
    for (client, provider) in [(near, far), (far, near)] {
        let of = |lists| topology.map_type(client, provider, lists).map_type;
        assert_eq!(
            (of(Lists::Kernel), of(Lists::WithUsers)),
            (through, Some(MapType::NotSupported))
        );
    }
}
