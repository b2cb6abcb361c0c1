//! Machine files that are wrong, and machines that cannot be.

use crate::support::Place;

/// The default machine with a text of its file replaced, and what is said about that.
const WRONG: &[(&str, &str, &str)] = &[
    // Not TOML.
    ("model = \"pcie\"", "model = pcie", ":13:9: string values must be quoted"),
    ("[timing]", "[timing", ":12:8: unclosed table, expected `]`"),
    ("name = \"default\"", "name = \"default\"\nname = \"x\"", ":4:1: duplicate key"),
    // Not the right keys and values.
    ("cmb = ", "cnb = ", ":33:1: unknown key 'cnb' in [[nvme]]; did you mean 'cmb'?"),
    ("name = \"default\"", "", ":1:1: the machine file needs the key 'name'"),
    ("ports = 2", "ports = \"2\"", ":28:9: 'ports' must be an integer, not string"),
    ("ports = 2", "ports = 33", ":28:9: 'ports' is 33: expected 1 to 32"),
    ("cmb = \"64M\"", "cmb = \"64Q\"", ":33:7: 'cmb' is \"64Q\": expected a size such as \"64M\""),
    ("\"60us\"", "\"60\"", ":34:16: 'read-latency' is \"60\": expected a time such as \"80us\""),
    ("= 7\n", "= -7\n", ":36:18: 'read-bandwidth' is \"-7\": expected a rate in GB/s"),
    ("\"8086:4c43\"", "\"8086\"", ":18:6: 'id' is \"8086\": expected vendor and device such as"),
    ("\"refuse\"", "\"deny\"", ":19:7: 'p2p' is \"deny\": expected \"forward\" or \"refuse\""),
    ("size = \"1G\"", "size = \"0\"", ":39:8: 'size' is \"0\": expected a multiple of the block"),
    ("size = \"1G\"", "size = \"1000\"", ":39:8: 'size' is \"1000\": expected a multiple of the"),
    ("memory = \"1G\"", "memory = \"900T\"", ":7:10: 'memory' is \"900T\": expected 16M to 16T"),
    // Names that lead out of the folder where the machine's data are.
    ("name = \"default\"", "name = \"../escaped\"", ":3:8: "),
    ("name = \"default\"", "name = \"/tmp/escaped\"", ":3:8: "),
    ("name = \"default\"", "name = \"\"", ":3:8: "),
    ("name = \"nvme1\"", "name = \"../nvme1\"", ":42:8: \"../nvme1\" cannot be a name"),
    // Machines that cannot be.
    (
        "below = \"sw0.1\"",
        "below = \"sw0.0\"",
        ":42:8: nvme1 cannot be function 0 below sw0.0: nvme0 is",
    ),
    ("below = \"sw0.1\"", "below = \"sw0.2\"", ":43:9: sw0 has no port 2: it has ports 0 to 1"),
    ("below = \"sw0.1\"", "below = \"sw1.1\"", ":43:9: there is no switch \"sw1\"; did you mean"),
    ("below = \"rp0\"", "below = \"sw0.0\"", "cannot be below sw0.0"),
    ("name = \"nvme1\"", "name = \"nvme0\"", ":42:8: the name \"nvme0\" is taken: see line 31"),
    (
        "cmb = \"64M\"",
        "cmb = { size = \"64M\", bar-size = \"32M\" }",
        ":33:16: cmb ends at 0x4000000 bytes, beyond its BAR of 0x2000000 bytes",
    ),
    (
        "cmb = \"64M\"",
        "cmb = { size = \"64M\", bar-size = \"64M\", offset = \"4k\" }",
        ":33:16: cmb ends at 0x4001000 bytes, beyond its BAR of 0x4000000 bytes",
    ),
    (
        "cmb = \"64M\"",
        "cmb = \"64T\"",
        "nvme0 (0000:03:00.0) needs 64 TiB of prefetchable address space, and no window has so much left",
    ),
    (
        "name = \"nvme1\"",
        "name = \"nvme1\"\ncmb = \"64T\"",
        "nvme1 (0000:04:00.0) needs 64 TiB of prefetchable address space",
    ),
    ("cmb = \"64M\"", "cmb = \"512T\"", "nvme0: no memory for 512 TiB behind its BAR: "),
];

#[test]
fn wrong_machines_are_refused_with_the_place_and_what_was_expected() {
    let place = Place::new();
    for (right, wrong, said) in WRONG {
        place.machine("wrong.toml", "default", &[(right, wrong)]);
        let copy = "--fabric ./wrong.toml copy zero: fabric:nvme0/ns1 --length 4k";
        let ran = place.run(copy).ends(2).prints_nothing().complains(&[said, "\nhelp: "]);
        if said.starts_with(':') {
            ran.complains(&[&format!("./wrong.toml{said}"), " | ", "^"]);
        }
        let error = place.run(&format!("-o json {copy}")).ends(2).json();
        assert_eq!(error["error"]["code"], "MACHINE", "{error}");
        assert!(error["error"]["message"].as_str().unwrap().contains(said), "{error}");
    }
    // Neither state nor anything else was written, here or beside.
    let names = place.names("");
    assert!(names == ["wrong.toml"] || names == ["wrong.toml", "xdg"], "{names:?}");
    println!("cases: {}", WRONG.len());
}

/// The remedy says which bound it is.
#[test]
fn devices_that_are_too_large_are_told_which_bound_they_meet() {
    let place = Place::new();
    for (size, remedy) in [
        (
            "64T",
            "help: give it or others less in the machine file: host memory and all devices share 64 TiB",
        ),
        ("512T", "help: give it less in the machine file: all of it is memory of this computer"),
    ] {
        place.machine("large.toml", "default", &[("cmb = \"64M\"", &format!("cmb = \"{size}\""))]);
        place
            .run("--fabric ./large.toml topo")
            .ends(2)
            .prints_nothing()
            .complains(&["nvme0", remedy]);
    }
}

#[test]
fn the_line_is_shown_with_a_mark_below_its_column() {
    let place = Place::new();
    place.machine("wrong.toml", "default", &[("ports = 2", "\tports =\t\u{fc}")]);
    let ran = place.run("--fabric ./wrong.toml topo").ends(2).prints_nothing();
    let lines: Vec<&str> = ran.stderr.lines().collect();
    assert_eq!(
        lines[1..4],
        ["   |", "28 | \tports =\t\u{fc}", "   | \t       \t^"],
        "{}",
        ran.stderr
    );
}

#[test]
fn of_a_long_line_only_the_part_around_the_column_is_shown() {
    let place = Place::new();
    place.write("long.toml", format!("name = \"long\"\nabout = {}", "[".repeat(100_000)));
    let ran = place.run("--fabric long.toml topo").ends(2).prints_nothing();
    assert!(ran.stderr.len() < 1000, "{} bytes", ran.stderr.len());
    ran.complains(&["long.toml:2:", "2 | ...[[[[", "[[[[...\n"]);
    place.write("first.toml", format!("nam = \"{}\"", "\u{e4}".repeat(500)));
    let ran = place.run("--fabric first.toml topo").ends(2).prints_nothing();
    ran.complains(&["1 | nam = \"\u{e4}\u{e4}", "\u{e4}...\n  | ^\n"]);
}

#[test]
fn machine_files_that_are_none() {
    let place = Place::new();
    place.write("binary.toml", b"name = \"x\"\nabout = \"\xff\"");
    place
        .run("--fabric binary.toml topo")
        .ends(2)
        .prints_nothing()
        .complains(&["binary.toml:2:10: expected UTF-8 text", "help: "]);
    place.write("empty.toml", "");
    let empty = place.run("--fabric empty.toml topo").ends(2).prints_nothing();
    empty.complains(&["empty.toml:1:1: the machine file needs the key 'name'"]);
    place
        .run("--fabric ./none.toml topo")
        .ends(1)
        .prints_nothing()
        .complains(&["./none.toml: No such file", "topo --list"]);
    place.run("--fabric ./ topo").ends(1).prints_nothing().complains(&["./: Is a directory"]);
    let meant = place.run("--fabric defualt topo").ends(2).prints_nothing();
    meant.complains(&[
        "there is no machine 'defualt'",
        "did you mean --fabric default?",
        "eight-ssds",
    ]);
    let file = place.run("--fabric mine topo").ends(2).prints_nothing();
    file.complains(&["there is no machine 'mine'", "for a file say --fabric ./mine"]);
}

#[test]
fn what_only_the_fabric_does_is_refused_on_other_platforms() {
    let place = Place::new();
    for name in ["linux", "vfio"] {
        for command in ["topo --source", "demo"] {
            let ran = place.run(&format!("--platform {name} {command}"));
            ran.ends(2).prints_nothing().complains(&[
                name,
                "of the software fabric",
                "--platform fabric",
            ]);
        }
    }
    // Two machines in one line.
    place
        .run("--platform vfio copy fabric:nvme0/ns1 0000:03:00.0/ns1")
        .ends(2)
        .complains(&["fabric:nvme0/ns1 is of the software fabric, and no part of what vfio has"]);
    place.run("--platform linux bench").ends(2).complains(&["no device of this machine"]);
    place.run("--platform fabric topo").ok();
}

/// Metadata have no place in a copy: that is said before anything moves, and when a copy is only planned.
#[test]
fn namespaces_with_metadata_are_no_ends() {
    let place = Place::new();
    for (metadata, bytes) in [("metadata = 8\nprotection = 1", 8), ("metadata = 64", 64)] {
        let namespace = format!("[[nvme.namespace]]\nblock = 512\n{metadata}");
        place.machine("metadata.toml", "default", &[("[[nvme.namespace]]", &namespace)]);
        for line in [
            "copy zero: fabric:nvme0/ns1 --length 4k",
            "copy fabric:nvme0/ns1 fabric:nvme1/ns1 --dry-run",
        ] {
            let ran = place
                .run(&format!("--fabric metadata.toml {line} --ephemeral"))
                .ends(2)
                .prints_nothing();
            let said =
                format!("each block of namespace 1 of 0000:03:00.0 has {bytes} bytes of metadata");
            ran.complains(&[&said, "help: name a namespace without"]);
        }
    }
}
