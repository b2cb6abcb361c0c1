//! Every end with every other.

use std::process::Stdio;

use crate::schemas::Schemas;
use crate::support::{Place, Ran, noise};

/// What can be an end, and whether it is a namespace, memory of a device, or the host's.
const ENDS: [(&str, Kind); 11] = [
    ("fabric:nvme0/ns1", Kind::Namespace),
    ("0000:04:00.0/ns1", Kind::Namespace),
    ("fabric:nvme0/cmb", Kind::Memory),
    ("fabric:nvme0/pmr", Kind::Memory),
    ("fabric:gpu0/mem", Kind::Memory),
    ("./in", Kind::Host),
    ("-", Kind::Host),
    ("mem:1M", Kind::Host),
    ("zero:", Kind::Host),
    ("pattern:seed=1", Kind::Host),
    ("null:", Kind::Host),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Namespace,
    Memory,
    Host,
}

const OPTIONS: [&str; 3] =
    ["--verify", "--p2p=prefer --queue-depth 3 --flush", "--p2p=off --block-size 4k"];

/// The status with which a copy of a machine whose devices hold zeroes has to end.
fn status(source: (&str, Kind), sink: (&str, Kind), options: &str) -> i32 {
    use Kind::{Host, Memory};

    let durable = matches!(sink, (_, Kind::Namespace) | ("./out" | "fabric:nvme0/pmr", _));
    match (source, sink) {
        ((_, Host), (_, Host)) | (("null:", _), _) => 2,
        (_, ("null:", _)) if options.contains("--verify") => 2,
        _ if options.contains("--flush") && !durable => 2,
        ((a, _), (b, _)) if a == b => 6,
        // Nobody moves bytes between two memories but the processor, which has to be allowed.
        ((_, Memory), (_, Memory)) if !options.contains("--p2p") => 3,
        (_, ("pattern:seed=1", _)) => 4,
        _ => 0,
    }
}

#[test]
fn every_pair_of_ends_does_what_it_has_to() {
    let place = Place::new();
    place.machine(
        "ends.toml",
        "default",
        &[
            ("size = \"1G\"", "size = \"1M\""),
            ("cmb = \"64M\"", "cmb = \"16M\"\npmr = \"1M\""),
            (
                "ports = 2",
                "ports = 3\n\n[[bar-memory]]\nname = \"gpu0\"\nbelow = \"sw0.2\"\nsize = \"1M\"",
            ),
        ],
    );
    place.write("in", noise(1 << 20, 1));
    let schemas = Schemas::of(&place);
    let mut counts = [0; 7];
    for source in ENDS {
        for sink in ENDS.map(|(name, kind)| (if name == "./in" { "./out" } else { name }, kind)) {
            for options in OPTIONS {
                let line = format!(
                    "--fabric ./ends.toml -o json -q copy {} {} --length 999936 {options} --ephemeral",
                    source.0, sink.0
                );
                let _ = std::fs::remove_file(place.path("out"));
                let mut command = place.command(&line);
                let stdin = std::fs::File::open(place.path("in")).unwrap();
                let ran = Ran::of(&line, command.stdin(Stdio::from(stdin)).output().unwrap());
                let expected = status(source, sink, options);
                let ran = ran.ends(expected);
                counts[usize::try_from(expected).unwrap()] += 1;
                if sink.0 != "-" {
                    schemas.check(&ran.json());
                }
                if expected == 0 {
                    check(&place, &ran, source, sink, options);
                }
            }
        }
    }
    println!("documents: {}, by status: {counts:?}", schemas.checked());
}

/// What arrived at an end of the host, and what a report says about a copy that went well.
fn check(place: &Place, ran: &Ran, source: (&str, Kind), sink: (&str, Kind), options: &str) {
    if sink.0 == "-" {
        assert_eq!(ran.stdout, vec![0; 999_936]);
        return;
    }
    if sink.0 == "./out" {
        assert_eq!(place.read("out"), vec![0; 999_936]);
    }
    let report = ran.json();
    let bounced = options.contains("off") || (source.1, sink.1) == (Kind::Memory, Kind::Memory);
    let device = |end: (&str, Kind)| end.0.split('/').next().map(str::to_owned);
    let path = match (source.1, sink.1) {
        (Kind::Host, _) => "host-to-device",
        (_, Kind::Host) => "device-to-host",
        _ if bounced => "through-host-memory",
        _ if device(source) == device(sink) => "inside-device",
        _ => "peer-to-peer",
    };
    assert_eq!(report["path"], path, "{report}");
    let between = report["peer_local_bytes"].as_u64() > Some(0);
    assert_eq!(between, path == "peer-to-peer", "{report}");
    // How often each byte is staged in host memory, and crosses the root port, whoever moves it.
    let times = match (path, source.1, sink.1) {
        ("through-host-memory", ..) => [2, 2],
        ("host-to-device" | "device-to-host", Kind::Memory, _) => [0, 1],
        ("host-to-device" | "device-to-host", _, Kind::Memory) => [0, 1],
        ("host-to-device" | "device-to-host", ..) => [1, 1],
        _ => [0, 0],
    };
    assert_eq!(report["host_memory_bytes"], times[0] * 999_936, "{report}");
    assert_eq!(report["root_port_bytes"], times[1] * 999_936, "{report}");
    assert_eq!(
        report["verified"].as_bool(),
        options.contains("--verify").then_some(true),
        "{report}"
    );
    assert_eq!(report["flushed"], options.contains("--flush"), "{report}");
    assert_eq!(report["complete_bytes"], 999_936);
}
