//! Streams, tails, offsets and lengths.

use std::io::Write as _;
use std::process::Stdio;

use crate::support::{Place, Ran, noise};

const COPY: &str = "--fabric small.toml copy";

/// Runs the command with bytes on standard input.
fn feed(place: &Place, line: &str, bytes: &[u8]) -> Ran {
    let mut command = place.command(line);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A command that is refused reads nothing.
    let _ = child.stdin.take().unwrap().write_all(bytes);
    Ran::of(line, child.wait_with_output().unwrap())
}

#[test]
fn streams_go_in_and_come_out_whatever_their_length() {
    let place = Place::new().small();
    let lengths = [1, 2, 511, 512, 513, 4095, 4096, 131_071, 131_072, 131_073, 1_234_567, 16 << 20];
    for (seed, len) in (1..).zip(lengths) {
        let bytes = noise(len, seed);
        let padded = len.next_multiple_of(512) - len;
        let ran = feed(&place, &format!("{COPY} - fabric:nvme0/ns1 -o json"), &bytes).ok();
        let document = ran.json();
        assert_eq!(document["length_bytes"], len);
        assert_eq!(document["padding_bytes"], padded);
        let out = place.run(&format!("{COPY} fabric:nvme0/ns1 - --length {len} -o json")).ok();
        assert!(out.stdout == bytes, "{len} bytes");
        // The report goes where the bytes do not.
        let report: serde_json::Value = serde_json::from_str(&out.stderr).unwrap();
        assert_eq!(
            (&report["length_bytes"], &report["padding_bytes"]),
            (&len.into(), &padded.into())
        );
        // What pads the tail are zeroes.
        if padded > 0 {
            let line = format!("{COPY} fabric:nvme0/ns1 - --length {} -q -o csv", len + padded);
            assert_eq!(place.run(&line).ok().stdout[len..], vec![0; padded]);
        }
    }
    println!("lengths: {}", lengths.len());
}

#[test]
fn streams_that_do_not_fit() {
    let place = Place::new().small();
    let into = format!("{COPY} - fabric:nvme0/ns1");
    feed(&place, &into, b"")
        .ends(2)
        .prints_nothing()
        .complains(&["nothing to copy in -: it is empty"]);
    let ran = feed(&place, &into, &vec![1; (16 << 20) + 1]).ends(2).prints_nothing();
    ran.complains(&["16777217 bytes (16.00 MiB) do not fit", "nothing was written"]);
    let ran = feed(&place, &format!("{into} --length 10"), b"short").ends(2).prints_nothing();
    ran.complains(&["- has 5 bytes", "10 bytes were asked for"]);
    // Refused before standard input is read.
    feed(&place, &format!("{COPY} - fabric:nvme9/ns1"), b"x").ends(2).complains(&["'nvme9'"]);
    place.run(&format!("{COPY} fabric:nvme0/ns1 zero:")).ok();
    // A stream may be longer than what is wanted of it.
    feed(&place, &format!("{into} --length 3"), b"abcdef").ok();
    let out = place.run(&format!("{COPY} fabric:nvme0/ns1 - --length 6 -q")).ok();
    assert_eq!(out.stdout, b"abc\0\0\0");
}

/// The shadow of a namespace: every copy is done there too.
#[test]
fn offsets_and_lengths_pick_the_right_bytes() {
    let place = Place::new().small();
    let file = noise(1 << 20, 1);
    place.write("file", &file);
    let mut shadow = vec![0; 16 << 20];
    let cases = [
        // From the file, to the namespace, how many.
        (0_usize, 0_usize, 1 << 20),
        (1, 512, 1000),
        (12_345, 4096, 54_321),
        (1 << 19, (16 << 20) - (1 << 19), 1 << 19),
        ((1 << 20) - 1, 1 << 20, 1),
        (7, 3 << 20, (1 << 20) - 7),
    ];
    for (from, to, len) in cases {
        let line = format!(
            "{COPY} ./file fabric:nvme0/ns1 --src-offset {from} --dst-offset {to} --length {len}"
        );
        place.run(&line).ok();
        shadow[to..(to + len).next_multiple_of(512)].fill(0);
        shadow[to..to + len].copy_from_slice(&file[from..from + len]);
    }
    assert!(place.read("xdg/p2pdma/small/nvme0-ns1.img") == shadow);
    // Without a length, what is left of the source.
    place.run(&format!("{COPY} ./file fabric:nvme0/ns1 --src-offset 1000000")).ok();
    shadow[..48_640].fill(0);
    shadow[..48_576].copy_from_slice(&file[1_000_000..]);
    // Out again, from anywhere to anywhere.
    for (from, len) in [(0_usize, 777_usize), (512, 1), (4096, 1 << 20), ((16 << 20) - 512, 512)] {
        let line =
            format!("{COPY} fabric:nvme0/ns1 ./out --yes --src-offset {from} --length {len}");
        place.run(&line).ok();
        assert!(place.read("out") == shadow[from..from + len], "{from} {len}");
    }
    // From namespace to namespace, and within one.
    let mut other = vec![0; 16 << 20];
    for (from, to, len) in
        [(512_usize, 1024_usize, 512_usize), (1 << 20, 0, 3 << 20), (0, 15 << 20, 1 << 20)]
    {
        let line = format!("{COPY} fabric:nvme0/ns1 fabric:nvme1/ns1 --verify");
        place.run(&format!("{line} --src-offset {from} --dst-offset {to} --length {len}")).ok();
        other[to..to + len].copy_from_slice(&shadow[from..from + len]);
    }
    place
        .run(&format!("{COPY} fabric:nvme1/ns1 fabric:nvme1/ns1 --dst-offset 4M --length 4M"))
        .ok();
    other.copy_within(..4 << 20, 4 << 20);
    assert!(place.read("xdg/p2pdma/small/nvme1-ns1.img") == other);
    println!("cases: {}", cases.len() + 9);
}

/// Blocks, depths and ways of every kind carry the same bytes.
#[test]
fn the_bytes_do_not_depend_on_how_they_go() {
    let place = Place::new().small();
    let file = noise(1_000_001, 9);
    place.write("file", &file);
    place.run(&format!("{COPY} ./file fabric:nvme0/ns1")).ok();
    let mut cases = 0;
    for iommu in ["off", "passthrough", "translate"] {
        for way in [
            "--block-size 512 --queue-depth 3",
            "--block-size 4k --queue-depth 1",
            "--block-size 512k",
            "--queue-depth 1023",
        ] {
            for p2p in ["prefer", "off"] {
                let copy = format!("--iommu {iommu} {COPY} fabric:nvme0/ns1 fabric:nvme1/ns1");
                place.run(&format!("{COPY} zero: fabric:nvme1/ns1")).ok();
                place.run(&format!("{copy} {way} --p2p={p2p} --length 1000448")).ok();
                let out = place.run(&format!("{COPY} fabric:nvme1/ns1 - --length 1000001 -q")).ok();
                assert!(out.stdout == file, "{copy} {way} {p2p}");
                cases += 1;
            }
        }
    }
    println!("cases: {cases}");
}

#[test]
fn patterns_and_zeroes_check_what_arrives() {
    let place = Place::new().small();
    place.run(&format!("{COPY} pattern:seed=7 fabric:nvme0/ns1 --length 1M --dst-offset 4k")).ok();
    // A pattern tells its own position: what was its byte 0 is byte 4096 of the namespace.
    place.run(&format!("{COPY} fabric:nvme0/ns1 pattern:seed=7 --length 1M --src-offset 4k")).ok();
    let check = |options: &str| place.run(&format!("{COPY} fabric:nvme0/ns1 {options}")).ends(4);
    for (options, said) in [
        ("pattern:seed=7", "does not match pattern:seed=7: first at byte 0"),
        ("pattern:seed=8 --length 1M --src-offset 4k", "first at byte 4096"),
        ("zero:", "fabric:nvme0/ns1 does not match zero:: first at byte 4096"),
        ("pattern:seed=7 --length 2M --src-offset 4k", "first at byte 1052672"),
    ] {
        let ran = check(options).complains(&[said]);
        // They keep nothing: nothing is to be said about what is left.
        for text in ["nothing was written", "partial", "keeps"] {
            assert!(!ran.stderr.contains(text), "{}", ran.stderr);
        }
        let document = check(&format!("{options} -o json")).json();
        assert!(document["partial_result"].is_null(), "{document}");
    }
}
