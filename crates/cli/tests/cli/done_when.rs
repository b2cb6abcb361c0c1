//! The main job, from a file into one SSD, across to another, and out again.

use crate::support::{Place, noise, sha256};

/// An odd length, no multiple of anything.
const LEN: usize = 3_141_593;

#[test]
fn a_file_crosses_from_ssd_to_ssd_and_comes_out_the_same() {
    let place = Place::new();
    let content = noise(LEN, 1);
    place.write("some-file", &content);

    place.run("copy ./some-file fabric:nvme0/ns1").ok().prints(&[
        "copied        3141593 bytes (3.00 MiB) from ./some-file to fabric:nvme0/ns1, padded with 39 zero bytes",
        "host to device",
    ]);
    place.run("copy fabric:nvme0/ns1 fabric:nvme1/ns1 --verify").ok().prints(&[
        "peer to peer, via 0000:03:00.0/cmb",
        "host memory   0 bytes",
        "root ports    0 bytes",
        "peer to peer  1073741824 bytes (1 GiB) below the root",
        "verified      8192 blocks read again and equal",
    ]);
    place.run(&format!("copy fabric:nvme1/ns1 ./out --length {LEN}")).ok();
    let out = place.read("out");
    assert_eq!((out.len(), sha256(&out)), (LEN, sha256(&content)));
    println!("bytes through the CMB, equal at the end: {LEN}");
}

#[test]
fn a_machine_that_redirects_refuses_and_prefer_bounces() {
    let place = Place::new();
    let line = "--fabric acs-redirect copy fabric:nvme0/ns1 fabric:nvme1/ns1";
    let refused = place.run(line).ends(3).prints_nothing();
    refused.complains(&[
        "error[P2P-ACS-REDIR]: no peer-to-peer path from 0000:04:00.0 (nvme1) to 0000:03:00.0/cmb (nvme0)",
        "0000:00:01.0 root port rp0         host bridge 8086:4c43: not on the kernel's list",
        "ReqRedir+  CmpltRedir+  <-- sends peer traffic up",
        "nvme0  target",
        "nvme1  initiator",
        "kernel   PCI_P2PDMA_MAP_NOT_SUPPORTED",
        "fix now ",
        "setpci -s 02:00.0 ECAP_ACS+6.w=0000:002c",
        "setpci -s 02:01.0 ECAP_ACS+6.w=0000:002c",
        "fix boot pci=disable_acs_redir=0000:00:01.0/00.0/00.0;0000:00:01.0/00.0/01.0",
        "(';' not ',')",
        "cost     nvme0, nvme1 are no longer isolated from each other (one IOMMU group)",
        "else     --p2p=prefer copies through host memory",
        "nothing was written                                              [exit 3]",
    ]);
    place.run(&format!("{line} --p2p=prefer")).ok().prints(&[
        "bounced through host memory: 2147483648 bytes",
        "[P2P-ACS-REDIR] no peer-to-peer path",
        "host memory   2147483648 bytes (2 GiB)",
    ]);
    let asked = place.run(&format!("{line} --p2p=off --length 1M")).ok();
    asked.prints(&["bounced through host memory: 2097152 bytes, as asked for with --p2p=off"]);
}

#[test]
fn demo_shows_both_ways_and_a_refusal() {
    let place = Place::new();
    let demo = place.run("demo").ok();
    let demo = demo.complains(&["s of this machine's time"]).prints(&[
        "256 MiB from nvme0 to nvme1, two SSDs below one switch",
        "peer to peer  through host memory",
        "rate, modelled",
        "an application keeps, modelled",
        "verified                         2048 blocks          2048 blocks",
        "error[P2P-ACS-REDIR]: no peer-to-peer path",
        "fix boot pci=disable_acs_redir=",
    ]);
    for what in ["host memory, bytes of payload", "root ports, bytes of payload"] {
        let line = demo.text().lines().find(|line| line.starts_with(what)).unwrap();
        let cells = line[what.len()..].split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        assert_eq!(cells.collect::<Vec<_>>(), ["0 bytes", "512 MiB"], "{line}");
    }
    // It keeps nothing.
    assert!(!place.has("xdg"));
}

#[test]
fn bench_measures_both_ways() {
    let place = Place::new();
    let bench = place.run("bench --bytes 1M --rounds 2 --block-size 4k,64k --queue-depth 1,8").ok();
    let bench = bench.prints(&[
        "fabric:nvme0/ns1 to fabric:nvme1/ns1 on machine 'default', rounds of 1 MiB",
        "modelled (by the fabric's clock)",
        "measured (by this machine's clock, which carries the simulation)",
    ]);
    let rows = |way: &str| bench.text().lines().filter(|line| line.contains(way)).count();
    assert_eq!((rows(" peer  "), rows(" bounce  ")), (4, 4), "{}", bench.text());
    // A depth that cannot be reached is not claimed.
    let document = place.run("bench --bytes 1M --rounds 1 --block-size 512k -o json").ok().json();
    let depths: Vec<u64> = document["rows"].as_array().unwrap().iter().map(depth).collect();
    assert_eq!(depths, [1, 2]);
    for row in document["rows"].as_array().unwrap() {
        assert_eq!(row["peer_to_peer"]["host_memory_bytes_per_byte"], 0.0);
        assert_eq!(row["through_host_memory"]["host_memory_bytes_per_byte"], 2.0);
    }
    assert!(!place.has("xdg"));
}

#[test]
fn bench_compares_with_an_earlier_run_of_the_same_kind_only() {
    let place = Place::new().small();
    let line =
        "--fabric small.toml bench --bytes 256k --rounds 6 --block-size 4k --queue-depth 1,4";
    let document = place.run(&format!("{line} -o json")).ok().text().to_owned();
    place.write("then.json", &document);
    let now = place.run(&format!("{line},8 --baseline then.json -o json")).ok().json();
    let rows = now["rows"].as_array().unwrap();
    assert_eq!(
        rows.iter().map(|row| row["baseline"].is_null()).collect::<Vec<_>>(),
        [false, false, true]
    );
    for row in &rows[..2] {
        for way in ["peer_to_peer", "through_host_memory"] {
            let change = &row["baseline"][way];
            let of = |name: &str| change["interval"][name].as_f64().unwrap();
            let ratio = change["ratio"].as_f64().unwrap();
            assert!(of("lower") <= ratio && ratio <= of("upper"), "{change}");
            assert!((of("confidence") - 0.9375).abs() < 1e-9, "{change}");
            let expected = match (of("lower") > 1.0, of("upper") < 1.0) {
                (true, _) => "faster",
                (_, true) => "slower",
                _ => "none-seen",
            };
            assert_eq!(change["difference"], expected);
        }
    }
    place
        .run(&format!("{line} --baseline then.json"))
        .ok()
        .prints(&["beside the earlier run", "now/then"]);
    let others = [
        ("\"machine\": \"", "\"machine\": \"another", "of the machine another"),
        ("\"round_bytes\": 262144,", "\"round_bytes\": 4096,", "rounds of 4096"),
        ("fabric:nvme0/ns1", "fabric:nvme5/ns1", "of other devices"),
        ("p2pdma/bench\"", "p2pdma/copy\"", "it is 'p2pdma/copy'"),
        ("\"rows\": [", "\"lines\": [", "missing field `rows`"),
    ];
    for (from, to, said) in others {
        let changed = document.replacen(from, to, 1);
        assert_ne!(changed, document, "{from}");
        place.write("other.json", &changed);
        place.run(&format!("{line} --baseline other.json")).ends(2).complains(&[said]);
    }
    place.run(&format!("{line} --baseline none.json")).ends(1).complains(&["none.json"]);
}

fn depth(row: &serde_json::Value) -> u64 {
    row["queue_depth"].as_u64().unwrap()
}
