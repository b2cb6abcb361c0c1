//! What is printed: JSON that is what its schema says, lines, tables of values, colours, nothing but data
//! on standard output.

use serde_json::Value;

use crate::schemas::Schemas;
use crate::support::{Place, Ran};

/// A place with some data, a file, and machines.
fn place() -> Place {
    let place = Place::new().small();
    place.write("in", vec![7; 3000]);
    place.run("--fabric small.toml copy ./in fabric:nvme0/ns1").ok();
    place.machine("lossy.toml", "root-ports-lossy", &[("size = \"1G\"", "size = \"1M\"")]);
    place
}

/// Command lines of every command and every outcome, with their status.
const LINES: &[(&str, i32)] = &[
    ("--fabric small.toml copy ./in fabric:nvme1/ns1 --flush", 0),
    ("--fabric small.toml copy fabric:nvme0/ns1 fabric:nvme1/ns1 --verify", 0),
    ("--fabric small.toml copy fabric:nvme0/ns1 fabric:nvme1/ns1 --dry-run", 0),
    ("--fabric small.toml copy fabric:nvme0/ns1 fabric:nvme1/ns1 --resume journal", 0),
    ("--fabric small.toml copy fabric:nvme0/ns1 fabric:nvme1/ns1 --resume ./in", 6),
    ("--fabric small.toml copy fabric:nvme0/ns1 fabric:nvme1/ns1 --p2p=off", 0),
    ("--fabric small.toml copy fabric:nvme0/cmb fabric:nvme1/ns1 --length 1M", 0),
    ("--fabric small.toml copy ./in fabric:nvme0/cmb", 0),
    (
        "--fabric small.toml --iommu translate copy fabric:nvme0/ns1 fabric:nvme1/ns1 --p2p=prefer",
        0,
    ),
    ("--fabric small.toml --iommu translate copy fabric:nvme0/ns1 fabric:nvme1/ns1", 3),
    ("--fabric no-cmb copy fabric:nvme0/ns1 fabric:nvme1/ns1 --ephemeral", 3),
    ("--fabric root-ports copy fabric:nvme0/ns1 fabric:nvme1/ns1 --ephemeral", 3),
    ("--fabric small.toml copy fabric:nvme0/ns1 zero:", 4),
    ("--fabric small.toml copy ./none fabric:nvme0/ns1", 1),
    ("--fabric small.toml copy fabric:nvme0/ns1 ./in", 6),
    ("--fabric small.toml copy fabric:nvme0/ns1", 2),
    ("--fabric none topo", 2),
    ("--platform fabric topo", 0),
    ("--platform fabric topo --matrix", 0),
    ("topo --list", 0),
    ("--fabric acs-redirect topo", 0),
    ("--fabric acs-redirect topo --matrix", 0),
    ("--fabric down-trained topo", 0),
    ("--fabric eight-ssds topo --matrix", 0),
    ("--platform fabric doctor", 0),
    ("--fabric acs-redirect doctor nvme1 nvme0", 3),
    ("--fabric default doctor nvme1 nvme0", 0),
    ("--fabric default doctor nvme1 nvme7", 2),
    ("--fabric small.toml probe fabric:nvme1/ns1", 0),
    ("--fabric small.toml probe fabric:nvme0/ns1 fabric:nvme0/cmb --write", 0),
    ("--fabric root-ports probe fabric:nvme1/ns1 --ephemeral", 3),
    ("--fabric small.toml probe zero:", 2),
    ("explain", 0),
    ("explain ACS-REDIR", 0),
    ("explain NONSENSE-CODE", 2),
    ("--fabric small.toml bench --bytes 512k --rounds 2 --queue-depth 1,4", 0),
    ("--fabric no-cmb bench", 3),
    ("--fabric small.toml bench --baseline ./in", 2),
    ("demo", 0),
    ("bind status 0000:00:00.0", 0),
    ("bind take ffff:ff:1f.7 --dry-run", 2),
    ("lab list", 0),
    ("lab run --topology acs-redirect -- true", 2),
    ("nonsense", 2),
    ("", 2),
];

#[test]
fn every_command_prints_one_document_whatever_happens() {
    let place = place();
    let schemas = Schemas::of(&place);
    for (line, status) in LINES {
        let ran = place.run(&format!("-o json {line}")).ends(*status);
        let document = ran.json();
        schemas.check(&document);
        let error =
            if document["schema"] == "p2pdma/demo" { &Value::Null } else { &document["error"] };
        assert_eq!(error.is_null(), *status == 0, "{line}: {document}");
        if *status > 0 {
            assert_eq!(error["exit_status"], *status, "{line}");
            ran.complains(&["error"]);
        }
    }
    // What a verification finds: as written, lost on the way.
    place.run("--fabric ./lossy.toml copy pattern:seed=1 fabric:nvme0/ns1").ok();
    let line = "-o json --fabric ./lossy.toml copy fabric:nvme0/ns1 fabric:nvme1/ns1";
    let lost = place.run(&format!("{line} --verify")).ends(4).json();
    schemas.check(&lost);
    assert_eq!(lost["error"]["code"], "P2P-DATA-LOST");
    assert_eq!((&lost["verified"], &lost["status"]), (&false.into(), &"failed".into()));
    assert_eq!(place.run(line).ok().json()["verified"], Value::Null);
    println!("documents: {}", schemas.checked());
}

#[test]
fn every_line_of_json_lines_is_a_document() {
    let place = place();
    let schemas = Schemas::of(&place);
    for (line, status) in LINES {
        let ran = place.run(&format!("-o jsonl {line}")).ends(*status);
        assert!(!schemas.check_lines(ran.text()).is_empty(), "{line}");
    }
    let count = |line: &str| place.run(&format!("-o jsonl {line}")).ok().text().lines().count();
    assert_eq!(count("--fabric eight-ssds topo --matrix"), 100);
    assert_eq!(count("--platform fabric topo"), 7);
    assert_eq!(count("explain"), place.run("explain").text().lines().count());
    // Progress is the same on standard error.
    let copy =
        "--fabric small.toml copy fabric:nvme0/ns1 fabric:nvme1/ns1 --verify --progress json";
    for line in [copy, "bench --bytes 256k --rounds 1 --block-size 4k --progress json"] {
        let ran = place.run(line).ok();
        let lines = schemas.check_lines(&ran.stderr);
        assert_eq!(lines.last().unwrap()["done_share"], 1.0);
    }
    // Together with whole documents they are all that there is.
    let boots = "lab run --topology no-cmb -- true";
    for line in [
        "topo",
        "topo --list",
        "explain",
        "bench --bytes 256k --rounds 1",
        "bind status",
        "lab list",
        boots,
    ] {
        schemas.check(&place.run(&format!("-o json {line}")).ok().json());
    }
    let volumes = format!("{} doctor --volumes", crate::doctor::with_volumes(&place));
    schemas.check_lines(place.run(&format!("{volumes} -o jsonl")).ok().text());
    for line in ["--platform fabric doctor", &volumes] {
        schemas.check(&place.run(&format!("-o json {line}")).ok().json());
    }
    assert_eq!(schemas.unseen(), [""; 0]);
    println!("documents: {}", schemas.checked());
}

#[test]
fn comma_separated_values_have_as_many_cells_in_every_row() {
    let place = place();
    let mut rows = 0;
    for (line, status) in LINES {
        let ran = place.run(&format!("-o csv {line}")).ends(*status);
        let table = cells(ran.text());
        // Either a table with a header, or nothing where there is nothing but a failure.
        assert_eq!(table.is_empty(), *status > 0 && *status != 4, "{line}");
        for row in &table {
            assert_eq!(row.len(), table[0].len(), "{line}: {row:?}");
        }
        rows += table.len();
    }
    println!("rows: {rows}");
}

/// Reads comma-separated values (RFC 4180).
fn cells(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell, mut quoted) = (Vec::new(), Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => cell.push(letters.next().unwrap()),
            '"' => quoted = !quoted,
            ',' if !quoted => row.push(std::mem::take(&mut cell)),
            '\n' if !quoted => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            other => cell.push(other),
        }
    }
    assert!(!quoted && cell.is_empty() && row.is_empty(), "{text}");
    rows
}

#[test]
fn colours_come_where_they_are_wanted_and_only_repeat_the_text() {
    let place = place();
    let refused = "--fabric acs-redirect copy fabric:nvme0/ns1 fabric:nvme1/ns1 --ephemeral";
    for (line, status) in [("topo", 0), ("explain ACS-REDIR", 0), (refused, 3)] {
        let plain = place.run(line).ends(status);
        let never = place.run(&format!("--color never {line}")).ends(status);
        let always = place.run(&format!("{line} --color=always")).ends(status);
        for ran in [&plain, &never] {
            assert!(!all(ran).contains('\x1b'), "{line}");
        }
        assert!(all(&always).contains("\x1b["), "{line}");
        assert_eq!(without_colours(&all(&always)), all(&plain), "{line}");
        // The variable is for what is automatic; an option says more.
        let mut command = place.command(&format!("{line} --color=always"));
        let ran = Ran::of(line, command.env("NO_COLOR", "1").output().unwrap()).ends(status);
        assert!(all(&ran).contains("\x1b["), "{line}");
    }
    for format in ["json", "jsonl", "csv"] {
        let ran = place.run(&format!("topo --color always -o {format}")).ok();
        assert!(!ran.text().contains('\x1b'));
    }
}

fn all(ran: &Ran) -> String {
    format!("{}{}", ran.text(), ran.stderr)
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split('\x1b');
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |plain, part| plain + part.split_once('m').unwrap().1)
}

#[test]
fn quiet_says_nothing_but_errors() {
    let place = place();
    for line in ["copy ./in fabric:nvme0/cmb", "copy ./in fabric:nvme0/ns1 --progress always"] {
        let ran = place.run(&format!("--fabric small.toml {line} -q")).ok();
        assert_eq!(ran.stderr, "", "{line}");
        assert!(
            !place.run(&format!("--fabric small.toml {line}")).ok().stderr.is_empty(),
            "{line}"
        );
    }
    assert_eq!(place.run("demo -q").ok().stderr, "");
    place.run("--fabric small.toml copy ./none fabric:nvme0/ns1 -q").ends(1).complains(&["./none"]);
}

#[test]
fn progress_and_details_go_to_standard_error() {
    let place = place();
    let copy = "--fabric small.toml copy fabric:nvme0/ns1 fabric:nvme1/ns1";
    let lines = place.run(&format!("{copy} --progress always")).ok();
    let tenths: Vec<String> = (1..=10).map(|tenth| format!("copying {tenth}0 %")).collect();
    assert_eq!(lines.stderr.lines().collect::<Vec<_>>(), tenths);
    let details = place.run(&format!("{copy} -v")).ok();
    assert_eq!(
        details.stderr,
        "plan via 0000:03:00.0/cmb\n         \
         0000:03:00.0 (nvme0) fills it: its own memory\n         \
         0000:04:00.0 (nvme1) drains it: by bus address, distance 4\n"
    );
    // Without a terminal there is no bar.
    assert_eq!(place.run(copy).ok().stderr, "");
}

/// Who reads only the beginning does not hear about the rest.
#[test]
fn a_reader_that_has_left_is_no_error() {
    let place = place();
    let lines = [
        "topo",
        "topo --list",
        "topo -o json",
        "explain",
        "schema",
        "man",
        "completions zsh",
        "--help",
    ];
    for line in lines.iter().chain(&["--fabric eight-ssds topo --matrix -o jsonl", "--version"]) {
        let script = format!("{{ sleep 0.05; \"$P\" {line}; echo \"status $?\" >&2; }} | true");
        let ran = place.shell(&script).ok();
        assert_eq!(ran.stderr, "status 0\n", "{line}");
    }
    // That matters where the bytes are the job: not all of them have arrived.
    let script = "{ \"$P\" --fabric small.toml copy fabric:nvme0/ns1 - -q -o csv; echo \"status $?\" >&2; } | head -c 10";
    place.shell(script).ok().complains(&["standard output: Broken pipe", "status 1"]);
    println!("cases: {}", lines.len() + 3);
}

#[test]
fn a_full_disk_under_standard_output_is_an_error() {
    let place = Place::new();
    for line in ["topo", "topo -o json", "explain", "man", "schema"] {
        let ran = place.shell(&format!("\"$P\" {line} > /dev/full")).ends(1);
        ran.complains(&["error: standard output: No space left on device"]);
    }
    // What was done is said, even if the report of it is lost.
    let copy = "copy pattern:seed=1 fabric:nvme0/ns1 --length 1M";
    let lost = place.shell(&format!("\"$P\" {copy} > /dev/full")).ends(1);
    lost.complains(&["standard output: No space left on device", "; the copy itself is complete"]);
    place.run("copy fabric:nvme0/ns1 pattern:seed=1 --length 1M").ok();
}

/// The environment sets what the command line does not.
#[test]
fn options_come_from_the_environment_too() {
    let place = place();
    let with = |variables: &[(&str, &str)], line: &str| {
        let mut command = place.command(line);
        Ran::of(line, command.envs(variables.iter().copied()).output().unwrap())
    };
    with(&[("P2PDMA_OUTPUT", "json")], "topo").ok().json();
    assert!(with(&[("P2PDMA_OUTPUT", "json")], "topo -o csv").ok().text().starts_with("bdf,"));
    let wrong = with(&[("P2PDMA_OUTPUT", "json")], "copy one").ends(2);
    let message = wrong.json_error()["message"].as_str().unwrap().to_owned();
    assert_eq!(message, "the following required arguments were not provided: <DST>");
    with(&[("P2PDMA_OUTPUT", "yaml")], "topo").ends(2).complains(&["'yaml'"]);
    with(&[("P2PDMA_FABRIC", "no-cmb")], "topo").ok().prints(&["no-cmb: As default"]);
    with(&[("P2PDMA_FABRIC", "no-cmb")], "--fabric iommu topo").ok().prints(&["iommu: As default"]);
    with(&[("P2PDMA_PLATFORM", "vfio")], "demo").ends(2).complains(&["not of 'vfio'"]);
    // Empty is as good as not set.
    let empty = ["P2PDMA_OUTPUT", "P2PDMA_FABRIC", "P2PDMA_PLATFORM", "P2PDMA_STATE"]
        .map(|name| (name, ""));
    with(&empty, "--platform fabric topo").ok().prints(&["default: Two SSDs"]);
    let fill = "--fabric small.toml copy ./in fabric:nvme1/ns1";
    with(&empty, fill).ok();
    with(&[("P2PDMA_STATE", "elsewhere")], fill).ok();
    assert!(place.has("elsewhere/small/nvme1-ns1.img"));
    with(&[("P2PDMA_STATE", "elsewhere")], &format!("{fill} --state-dir there")).ok();
    assert!(place.has("there/small/nvme1-ns1.img"));
    // --ephemeral has the last word.
    with(&[("P2PDMA_STATE", "nowhere")], &format!("{fill} --ephemeral")).ok();
    assert!(!place.has("nowhere"));
}
