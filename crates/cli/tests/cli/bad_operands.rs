//! Operands and options that make no sense, and those that look like something else.

use crate::support::Place;

/// A copy on a machine with two SSDs of 16 MiB, its status, and what is said about it: who, why, and
/// what to do instead.
const WRONG: &[(&str, i32, &[&str])] = &[
    // Sizes beyond the namespace.
    (
        "fabric:nvme0/ns1 fabric:nvme1/ns1 --length 17M",
        2,
        &["fabric:nvme0/ns1 has 16777216 bytes", "--length 16777216"],
    ),
    (
        "zero: fabric:nvme1/ns1 --length 17M",
        2,
        &[
            "17825792 bytes (17 MiB) do not fit into fabric:nvme1/ns1",
            "--length 16777216 copies what fits",
        ],
    ),
    (
        "fabric:nvme0/ns1 fabric:nvme1/ns1 --dst-offset 1M",
        2,
        &["do not fit into fabric:nvme1/ns1, which has room for 15728640", "nothing was written"],
    ),
    (
        "fabric:nvme0/ns1 fabric:nvme1/ns1 --src-offset 17M",
        2,
        &["--src-offset 17825792 is beyond the end"],
    ),
    (
        "fabric:nvme0/ns1 fabric:nvme1/ns1 --dst-offset 17M",
        2,
        &["--dst-offset 17825792 is beyond the end"],
    ),
    (
        "fabric:nvme0/ns1 null: --src-offset 16M",
        2,
        &["there is nothing to copy in fabric:nvme0/ns1"],
    ),
    (
        "zero: fabric:nvme1/ns1 --dst-offset 16M",
        2,
        &["no room in fabric:nvme1/ns1 from byte 16777216 on", "--dst-offset"],
    ),
    ("fabric:nvme0/ns1 mem:1M", 2, &["do not fit into mem:1048576", "--length 1048576"]),
    ("mem:1M fabric:nvme0/ns1 --length 2M", 2, &["mem:1048576 has 1048576 bytes"]),
    ("fabric:nvme0/ns1 fabric:nvme1/ns1 --length 99999999999T", 2, &["expected a size such as"]),
    ("fabric:nvme0/ns1 fabric:nvme1/ns1 --src-offset 16383P", 2, &["expected a size such as"]),
    (
        "zero: fabric:nvme0/ns1 --src-offset 18446744073709551615",
        2,
        &["--src-offset", "beyond 2^64 in zero:"],
    ),
    ("fabric:nvme0/ns1 null: --dst-offset 18446744073709551615", 2, &["beyond 2^64 in null:"]),
    (
        "fabric:nvme0/cmb null: --src-offset 4k",
        2,
        &["not for fabric:nvme0/cmb", "leave --src-offset out"],
    ),
    (
        "zero: fabric:nvme1/ns1 --dst-offset 16M --length 512",
        2,
        &[
            "no room in fabric:nvme1/ns1 from byte 16777216 on",
            "a smaller --dst-offset leaves some",
        ],
    ),
    // Unaligned lengths and offsets.
    (
        "fabric:nvme0/ns1 fabric:nvme1/ns1 --length 5000",
        2,
        &["between devices 5000 bytes are no whole blocks of 512 bytes", "--length 5120 is"],
    ),
    (
        "fabric:nvme0/ns1 null: --src-offset 1000",
        2,
        &["--src-offset 1000 is no multiple", "512 is one"],
    ),
    ("zero: fabric:nvme0/ns1 --dst-offset 1", 2, &["--dst-offset 1 is no multiple", "0 is one"]),
    // Nothing, blocks and depths beyond the limits.
    ("zero: fabric:nvme0/ns1 --length 0", 2, &["'--length <SIZE>'", "must not be zero"]),
    ("zero: fabric:nvme0/ns1 --length -1", 2, &["-1"]),
    ("zero: fabric:nvme0/ns1 --length ten", 2, &["expected a size such as 4k, 1M (binary)"]),
    ("zero: fabric:nvme0/ns1 --block-size 0", 2, &["must not be zero"]),
    ("zero: fabric:nvme0/ns1 --block-size 1000", 2, &["not a multiple", "they have 512 bytes"]),
    ("zero: fabric:nvme0/ns1 --block-size 1M", 2, &["more than one operation", "at most 524288"]),
    ("zero: fabric:nvme0/ns1 --queue-depth 0", 2, &["'--queue-depth <N>'"]),
    (
        "zero: fabric:nvme0/ns1 --queue-depth 9999",
        2,
        &["--queue-depth 9999 is more", "at most 1023"],
    ),
    // What is not there.
    ("fabric:nvme0/ns2 null:", 2, &["has no namespace 2; it has 1", "it has ns1, cmb"]),
    ("fabric:nvme9/ns1 null:", 2, &["no device 'nvme9'", "did you mean fabric:nvme0/ns1?"]),
    ("fabric:disk/ns1 null:", 2, &["no device 'disk'", "it has nvme0, nvme1"]),
    (
        "--fabric default 0000:09:00.0/ns1 null:",
        2,
        &["no device at 0000:09:00.0", "there are 0000:03:00.0 (nvme0)"],
    ),
    ("--fabric default 0000:00:01.0/ns1 null:", 2, &["no device at 0000:00:01.0"]),
    (
        "fabric:nvme1/cmb null:",
        2,
        &["[P2P-NO-P2PMEM]", "fabric:nvme1/cmb is not there", "p2pdma topo"],
    ),
    ("fabric:nvme0/pmr null:", 2, &["fabric:nvme0/pmr is not there", "it lends cmb"]),
    ("fabric:nvme0/bar2 null:", 2, &["fabric:nvme0/bar2 is not there", "it lends cmb"]),
    (
        "--fabric default 0000:03:00.0/p2pmem null:",
        2,
        &["what the Linux kernel lends", "it lends cmb"],
    ),
    // Memory between the ends that is none, or not enough.
    (
        "fabric:nvme0/ns1 fabric:nvme1/ns1 --via fabric:nvme1/cmb",
        2,
        &["[P2P-NO-P2PMEM]", "p2pdma topo"],
    ),
    (
        "fabric:nvme0/ns1 fabric:nvme1/ns1 --via fabric:nvme0/ns1",
        2,
        &["is a namespace, and no memory"],
    ),
    (
        "fabric:nvme0/ns1 fabric:nvme1/ns1 --via mem:1M",
        2,
        &["--via mem:1M is no memory of a device"],
    ),
    (
        "fabric:nvme0/ns1 fabric:nvme1/ns1 --via nearest",
        2,
        &["--via nearest is no memory of a device"],
    ),
    // Ends that make no copy.
    (
        "zero: mem:1M",
        2,
        &["neither zero: nor mem:1048576 is a part of a device", "fabric:nvme0/ns1"],
    ),
    ("- -", 2, &["neither - nor - is a part of a device", "there is cp"]),
    ("null: fabric:nvme0/ns1", 2, &["null: has nothing to read", "zero: gives zeroes"]),
    ("fabric:nvme0/ns1 null: --verify", 2, &["null: keeps nothing that could be verified"]),
    ("fabric:nvme0/ns1 - --dst-offset 512", 2, &["--dst-offset is for devices"]),
    (
        "fabric:nvme0/ns1 fabric:nvme0/ns1",
        6,
        &["the source is the destination", "nothing was written"],
    ),
    (
        "fabric:nvme0/ns1 fabric:nvme0/ns1 --length 8M --dst-offset 4M",
        6,
        &["source and destination overlap in fabric:nvme0/ns1"],
    ),
    // What looks like something else, and must not become a file.
    ("fabric:nvme0/ns1 nvme1", 2, &["'nvme1' looks like a device", "fabric:nvme1/ns1", "./nvme1"]),
    ("fabric:nvme0/ns1 nvme1/ns1", 2, &["looks like a device", "fabric:nvme1/ns1"]),
    ("fabric:nvme0/ns1 nvme0n1", 2, &["looks like a device", "/dev/nvme0n1", "./nvme0n1"]),
    ("fabric:nvme0/ns1 sda", 2, &["looks like a device", "/dev/sda"]),
    (
        "fabric:nvme0/ns1 /dev/nvme0n1",
        2,
        &["/dev/nvme0n1 is of this machine, and no part of the fabric"],
    ),
    ("fabric:nvme0/ns1 /dev/null", 2, &["say null:"]),
    ("fabric:nvme0/ns1 03:00", 2, &["did you mean 0000:03:00.0", "./03:00"]),
    ("fabric:nvme0/ns1 0000:03:00:0/ns1", 2, &["did you mean 0000:03:00.0/ns1?"]),
    ("fabric:nvme0/ns1 00:12:30.log", 2, &["for a file of that name say ./00:12:30.log"]),
    ("fabric:nvme0/ns1 fabrik:nvme1/ns1", 2, &["fabrik", "did you mean fabric:?"]),
    ("fabric:nvme0/ns1 C:/data", 2, &["for a file of that name say ./C:"]),
    ("fabric:nvme0/ns1 file:///tmp/x", 2, &["for a file of that name say ./file:"]),
    ("fabric:nvme0 null:", 2, &["append its part: fabric:nvme0/ns1, fabric:nvme0/cmb"]),
    ("fabric:nvme0/sn1 null:", 2, &["did you mean fabric:nvme0/ns1?"]),
    ("fabric:nvme0/ns0 null:", 2, &["ns0"]),
    ("pattern:7 fabric:nvme0/ns1", 2, &["expected seed= and a number", "pattern:seed=7"]),
    ("mem:0 fabric:nvme0/ns1", 2, &["a size of nothing", "mem:64MiB"]),
    // Options.
    ("zero: fabric:nvme0/ns1 --p2p=maybe", 2, &["'maybe'", "require, prefer, off"]),
    ("zero: fabric:nvme0/ns1 --ephemeral --state-dir x", 2, &["--ephemeral"]),
    ("zero: fabric:nvme0/ns1 --verfiy", 2, &["'--verfiy'", "'--verify'"]),
    ("zero:", 2, &["<DST>"]),
    ("zero: fabric:nvme0/ns1 null:", 2, &["unexpected argument 'null:'"]),
];

#[test]
fn wrong_copies_say_who_why_and_what_instead() {
    let place = Place::new().small();
    for (operands, status, said) in WRONG {
        let line = format!("--fabric small.toml copy {operands}");
        let ran = place.run(&line).ends(*status).prints_nothing().complains(said);
        assert!(ran.stderr.starts_with("error"), "{}", ran.stderr);
        let json = place.run(&format!("-o json {line}")).ends(*status);
        if operands.split_whitespace().nth(1) == Some("-") {
            // Standard output is for the copied bytes.
            json.prints_nothing().complains(&["\"schema\": \"p2pdma/error\""]);
            continue;
        }
        let error = json.json_error();
        assert_eq!(error["exit_status"], *status, "{error}");
        assert!(!error["message"].as_str().unwrap().is_empty(), "{error}");
        assert_eq!(place.run(&format!("-o csv {line}")).ends(*status).text(), "");
    }
    // No file came to be, and no namespace was written.
    assert_eq!(place.names(""), ["small.toml", "xdg"]);
    for name in ["nvme0", "nvme1"] {
        assert_eq!(place.cost(&format!("xdg/p2pdma/small/{name}-ns1.img")), 0);
    }
    println!("cases: {}", WRONG.len());
}

#[test]
fn other_commands_check_their_arguments() {
    let place = Place::new().small();
    let cases: &[(&str, &[&str])] = &[
        ("bench fabric:nvme0/ns1", &["<DST>"]),
        ("bench fabric:nvme0/cmb fabric:nvme1/ns1", &["is no namespace", "fabric:nvme0/ns1"]),
        ("bench ./file fabric:nvme1/ns1", &["is no namespace"]),
        ("bench fabric:nvme0/ns1 fabric:nvme7/ns1", &["no device 'nvme7'", "did you mean"]),
        ("bench --bytes 17M", &["--bytes 17825792 is more", "at most 16777216"]),
        ("bench --bytes 1M --block-size 300k", &["no multiple", "--bytes 1228800 is"]),
        ("bench --block-size 1G", &["--block-size 1073741824 is not possible", "up to 524288"]),
        ("bench --block-size 100", &["multiples of 512"]),
        ("bench --queue-depth 5000", &["--queue-depth 5000", "at most 1023"]),
        ("bench --bytes 512k --queue-depth 0", &["'--queue-depth <N,...>'"]),
        ("bench --time 0s", &["expected a time such as 500ms, 2s or 1m"]),
        ("bench --time 5", &["expected a time such as"]),
        ("bench --rounds 0", &["'--rounds <N>'"]),
        ("bench --threads 0", &["'--threads <N>'"]),
        ("bench --threads 2", &["--threads is for devices of this machine"]),
        ("bench --interference", &["--interference is for devices of this machine"]),
        ("topo --matrix --list", &["cannot be used with"]),
        ("explain ACS-REDRI", &["'ACS-REDRI' is no reason code", "did you mean P2P-ACS-REDIR?"]),
        ("explain 1234567890", &["is no reason code", "lists them all"]),
        ("schema everything", &["'everything'", "possible values"]),
        ("completions csh", &["'csh'", "bash"]),
        ("man --out ./none", &["./none"]),
        ("report", &["unrecognized subcommand 'report'"]),
        ("topo -o yaml", &["'yaml'", "table, json, jsonl, csv"]),
        ("topo -v -q", &["cannot be used with"]),
    ];
    for (line, said) in cases {
        let status = if line.starts_with("man") { 1 } else { 2 };
        let line = format!("--fabric small.toml {line}");
        place.run(&line).ends(status).prints_nothing().complains(said);
        let error = &place.run(&format!("{line} --output=json")).json_error();
        assert_eq!(error["exit_status"], status, "{error}");
    }
    // A pool that is too small for the depth is noticed before anything is measured.
    place.machine("tiny.toml", "default", &[("\"64M\"", "\"1M\"")]);
    let tiny = place.run("--fabric tiny.toml bench --bytes 16M --block-size 512k --queue-depth 4");
    tiny.ends(2)
        .prints_nothing()
        .complains(&["4 blocks of 512 KiB need 2 MiB", "0000:03:00.0/cmb has 1 MiB"])
        .complains(&["a smaller --block-size or --queue-depth needs less"]);
    // One request at each end needs two blocks, unless there is no second one.
    place.machine("least.toml", "default", &[("\"64M\"", "\"512k\"")]);
    let one = "--fabric least.toml bench --block-size 512k --queue-depth 1 --rounds 1";
    place
        .run(&format!("{one} --bytes 1M"))
        .ends(2)
        .prints_nothing()
        .complains(&["2 blocks of 512 KiB need 1 MiB", "a smaller --block-size needs less"]);
    place.run(&format!("{one} --bytes 512k")).ok();
    println!("cases: {}", cases.len() + 1);
}

/// What is not UTF-8 or has strange characters can be a file's name.
#[test]
fn names_of_files_can_be_any_bytes() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    let place = Place::new().small();
    for (number, name) in
        [&b"caf\xe9"[..], b"\xff\xfe", b"a\nb", b"--", b" ", b"\x1b[31m"].iter().enumerate()
    {
        let name = OsStr::from_bytes(name);
        let content = vec![u8::try_from(number).unwrap() + 1; 700];
        std::fs::write(place.path(name), &content).unwrap();
        let copy = |options: &str, source: &OsStr, destination: &OsStr| {
            let mut command = place.command(&format!("--fabric small.toml copy {options} --"));
            let output = command.args([source, destination]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        let device = OsStr::new("fabric:nvme0/ns1");
        copy("", name, device);
        let mut out = name.to_owned();
        out.push(".out");
        let json = copy("--length 700 -o json", device, &out);
        serde_json::from_slice::<serde_json::Value>(&json).unwrap();
        assert_eq!(std::fs::read(place.path(&out)).unwrap(), content);
    }
    println!("cases: 6");
}

#[test]
fn devices_of_this_machine_that_are_none() {
    let place = Place::new();
    let cases: [(&str, i32, &[&str]); 5] = [
        ("zero: /dev/no-such-device", 1, &["No such file", "lsblk lists the block devices"]),
        ("zero: /dev/tty", 2, &["/dev/tty is neither a file nor a block device"]),
        ("--platform fabric zero: /dev/nvme0n1", 2, &["/dev/nvme0n1 is of this machine"]),
        ("--platform linux zero: fabric:nvme0/ns1", 2, &["is of the software fabric"]),
        (
            "zero: ffff:1f:1f.7/ns1",
            2,
            &["there is no function ffff:1f:1f.7 in this machine", "of the fabric needs --fabric"],
        ),
    ];
    for (line, status, said) in cases {
        place.run(&format!("copy {line}")).ends(status).prints_nothing().complains(said);
    }
}
