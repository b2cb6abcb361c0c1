//! What stays between commands, what does not, and what it costs.

use crate::support::{Place, noise};

#[test]
fn successive_commands_see_the_same_data() {
    let place = Place::new().small();
    place.write("in", noise(10_000, 1));
    let copy = "--fabric small.toml copy";
    place.run(&format!("{copy} ./in fabric:nvme0/ns1")).ok();
    place.run(&format!("{copy} fabric:nvme0/ns1 fabric:nvme1/ns1")).ok();
    // Whoever keeps nothing begins with zeroes, and changes nothing.
    place.run(&format!("{copy} fabric:nvme1/ns1 zero: --ephemeral")).ok();
    place.run(&format!("{copy} pattern: fabric:nvme1/ns1 --ephemeral")).ok();
    // Neither does whoever only says what would be done.
    place.run(&format!("{copy} pattern: fabric:nvme1/ns1 --dry-run")).ok();
    place.run(&format!("{copy} fabric:nvme1/ns1 ./out --length 10000")).ok();
    assert_eq!(place.read("out"), place.read("in"));
    assert_eq!(place.names("xdg/p2pdma"), ["small"]);
    // Blocks and nothing else, and beside them how they are formatted.
    let files = ["nvme0-ns1.img", "nvme0-ns1.img.label", "nvme1-ns1.img", "nvme1-ns1.img.label"];
    assert_eq!(place.names("xdg/p2pdma/small"), files);
}

#[test]
fn machines_do_not_share_their_state_and_folders_neither() {
    let place = Place::new().small();
    place.machine("other.toml", "default", &[("\"default\"", "\"other\"")]);
    let fill = |machine: &str, seed: u32, options: &str| {
        let line =
            format!("--fabric {machine} copy pattern:seed={seed} fabric:nvme0/ns1 --length 64k");
        place.run(&format!("{line} {options}")).ok();
    };
    fill("small.toml", 1, "");
    fill("other.toml", 2, "");
    fill("default", 3, "");
    fill("small.toml", 4, "--state-dir here");
    fill("small.toml", 5, "--state-dir ./deep/down/there");
    for (machine, seed, options) in [
        ("small.toml", 1, ""),
        ("other.toml", 2, ""),
        ("default", 3, ""),
        ("small.toml", 4, "--state-dir here"),
        ("small.toml", 5, "--state-dir ./deep/down/there"),
    ] {
        let line =
            format!("--fabric {machine} copy fabric:nvme0/ns1 pattern:seed={seed} --length 64k");
        place.run(&format!("{line} {options}")).ok();
    }
    println!("cases: 5");
}

/// A persistent memory region keeps what a controller memory buffer does not.
#[test]
fn a_persistent_memory_region_persists() {
    let place = Place::new();
    let pmr = "cmb = \"64M\"\npmr = \"4M\"";
    place.machine("pmr.toml", "default", &[("\"default\"", "\"pmr\""), ("cmb = \"64M\"", pmr)]);
    place.write("in", noise(1_000_001, 5));
    let copy = "--fabric pmr.toml copy";
    place.run(&format!("{copy} ./in fabric:nvme0/pmr")).ok();
    place.run(&format!("{copy} fabric:nvme0/pmr ./out --length 1000001")).ok();
    assert!(place.read("out") == place.read("in"));
    // From there to a namespace, peer to peer, and back to another place of it.
    let across = place
        .run(&format!("{copy} fabric:nvme0/pmr fabric:nvme1/ns1 --length 1000448 -o json"))
        .ok();
    assert_eq!(across.json()["path"], "peer-to-peer");
    assert_eq!(across.json()["host_memory_bytes"], 0);
    // Into the SSD's own namespace nothing leaves it.
    let within = place.run(&format!("{copy} fabric:nvme0/pmr fabric:nvme0/ns1 --length 512k"));
    within.ok().prints(&["path          inside the device, via 0000:03:00.0/pmr"]);
    place
        .run(&format!("{copy} fabric:nvme1/ns1 fabric:nvme0/pmr --length 512k --dst-offset 2M"))
        .ok();
    place.run(&format!("{copy} fabric:nvme0/pmr ./half --src-offset 2M --length 512k")).ok();
    assert!(place.read("half") == place.read("in")[..512 << 10]);
    // It is between two SSDs only where somebody says so.
    let line =
        format!("{copy} fabric:nvme0/ns1 fabric:nvme1/ns1 --length 1M --via fabric:nvme0/pmr");
    place.run(&line).ok().prints(&["via 0000:03:00.0/pmr"]);

    let note = "fabric:nvme0/cmb keeps nothing after this command";
    place.run(&format!("{copy} ./in fabric:nvme0/cmb")).ok().complains(&[note]);
    place.run(&format!("{copy} fabric:nvme0/cmb zero: --length 1M")).ok();
}

/// A terabyte costs what is written, wherever that is, and a copy of it too.
#[test]
fn a_sparse_terabyte_costs_what_is_written() {
    let place = Place::new();
    place.machine(
        "vast.toml",
        "default",
        &[("\"default\"", "\"vast\""), ("size = \"1G\"", "size = \"1T\"")],
    );
    let copy = "--fabric vast.toml copy";
    let images = ["nvme0", "nvme1"].map(|name| format!("xdg/p2pdma/vast/{name}-ns1.img"));
    let fill = format!("{copy} pattern:seed=1 fabric:nvme0/ns1 --length 1M --dst-offset");
    for offset in ["0", "512G", "1048575M"] {
        place.run(&format!("{fill} {offset}")).ok();
    }
    let written = place.cost(&images[0]);
    assert!((3 << 20..4 << 20).contains(&written), "{written}");
    assert_eq!(place.len_of(&images[0]), 1 << 40);
    assert_eq!(place.cost(&images[1]), 0);
    // A gigabyte around what is in the middle.
    let around = "--src-offset 524160M --dst-offset 524160M --length 1G --verify";
    place.run(&format!("{copy} fabric:nvme0/ns1 fabric:nvme1/ns1 {around}")).ok();
    let copied = place.cost(&images[1]);
    assert!((1 << 20..2 << 20).contains(&copied), "{copied}");
    // Zeroes over data are written as such.
    place.run(&format!("{copy} zero: fabric:nvme1/ns1 --length 2M --dst-offset 512G")).ok();
    place.run(&format!("{copy} fabric:nvme1/ns1 zero: --length 2M --src-offset 512G")).ok();
    println!("bytes on disk: {written} for 3 MiB, {copied} for a copy of 1 MiB in a gigabyte");
}
