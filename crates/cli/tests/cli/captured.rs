//! Machines that run Linux: this one, and captures of others.

use serde_json::Value;

use crate::schemas::Schemas;
use crate::support::{Place, topologies};

/// The capture of a preset.
pub(crate) fn capture(name: &str) -> String {
    topologies().join(format!("captures/{name}.snapshot")).display().to_string()
}

#[test]
fn this_machine_answers_whatever_it_is() {
    let place = Place::new();
    let schemas = Schemas::of(&place);
    for line in ["topo", "topo --matrix", "--platform linux topo"] {
        place.run(line).ok();
        place.run(&format!("{line} -o csv")).ok();
        schemas.check_lines(place.run(&format!("{line} -o jsonl")).ok().text());
        let document = place.run(&format!("{line} -o json")).ok().json();
        schemas.check(&document);
        assert_eq!(document["source"], "linux");
    }
    place.run("topo").ok().prints(&["this machine: Linux ", "processor ", ", IOMMU "]);
    // What was saved is the same machine.
    place.run("topo --save here.snapshot").ok().prints_nothing().complains(&["here.snapshot: "]);
    let there = place.run("--from here.snapshot topo -o json").ok().json();
    let here = place.run("topo -o json").ok().json();
    assert_eq!(there["functions"], here["functions"]);
    assert_eq!(there["source"], "snapshot");
}

#[test]
fn a_capture_is_the_machine_that_it_is_of() {
    let place = Place::new();
    let schemas = Schemas::of(&place);
    for name in ["default", "acs-redirect", "eight-ssds", "iommu", "root-ports-allowed"] {
        let from = format!("--from {}", capture(name));
        let captured = place.run(&format!("{from} topo --matrix -o json")).ok().json();
        schemas.check(&captured);
        let fabric = place.run(&format!("--fabric {name} topo --matrix -o json")).ok().json();
        let routes = |document: &Value| -> Vec<(Value, Value)> {
            let cells = document["matrix"].as_array().unwrap().iter();
            cells.map(|cell| (cell["route"].clone(), cell["distance"].clone())).collect()
        };
        assert_eq!(routes(&captured), routes(&fabric), "{name}");
        let tree = place.run(&format!("{from} topo")).ok();
        tree.prints(&["Linux 7.3.4", "nvme0", "driver nvme", "lends p2pmem "]);
    }
    // A matrix of many functions has columns for those that lend memory only.
    let matrix = place.run(&format!("--from {} topo --matrix", capture("acs-redirect"))).ok();
    matrix
        .prints(&["nvme1      x      -", "[P2P-ACS-REDIR] no peer-to-peer path from 0000:04:00.0"]);
}

/// The text of lspci with registers that end after 64 bytes, as it is without root.
pub(crate) fn unprivileged_dump() -> String {
    let snapshot = std::fs::read_to_string(capture("default")).unwrap();
    let (mut text, mut bdf) = (String::new(), String::new());
    let mut rows = vec!["00 ".repeat(16).trim_end().to_owned(); 4];
    let mut heads = Vec::new();
    for line in snapshot.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        if let Some(folder) = record["folder"].as_str() {
            bdf = folder.rsplit('/').next().unwrap_or_default().to_owned();
        }
        if record["file"] == "config" {
            heads.push((bdf.clone(), rows.clone()));
        }
        if let (Some(at), Some(hex)) = (record["at"].as_str(), record["hex"].as_str()) {
            let row = usize::from_str_radix(at, 16).unwrap() / 16;
            if let Some(place) = heads.last_mut().unwrap().1.get_mut(row) {
                *place = hex.to_owned();
            }
        }
    }
    rows.clear();
    heads.sort();
    for (bdf, rows) in heads {
        text.push_str(&format!("{bdf} Device\n\tControl: Mem+\n\tCapabilities: <access denied>\n"));
        for (row, hex) in rows.iter().enumerate() {
            text.push_str(&format!("{row:x}0: {hex}\n"));
        }
        text.push('\n');
    }
    text
}

#[test]
fn what_a_capture_does_not_tell_is_unknown_and_never_no() {
    let place = Place::new();
    let schemas = Schemas::of(&place);
    place.write("lspci.txt", unprivileged_dump());
    let tree = place.run("--from lspci.txt topo").ok();
    tree.prints(&["lspci.txt: the text of lspci", "processor not known, IOMMU not known", "ACS ?"]);
    let document = place.run("--from lspci.txt topo -o json").ok().json();
    schemas.check(&document);
    assert_eq!((&document["iommu"], &document["processor"]), (&Value::Null, &Value::Null));
    let functions = document["functions"].as_array().unwrap();
    let port = functions.iter().find(|function| function["bdf"] == "0000:02:00.0").unwrap();
    assert_eq!(port["acs"], Value::Null);
    assert!(port["unknown"].to_string().contains("ACS: "), "{port}");
    let matrix = place.run("--from lspci.txt topo --matrix -o json").ok().json();
    let cells = matrix["matrix"].as_array().unwrap();
    assert!(cells.iter().all(|cell| cell["route"] != "not-supported"), "{cells:?}");
    let shell = place.shell("\"$P\" --from - topo < lspci.txt").ok();
    shell.prints(&["0000:04:00.0"]);
}

#[test]
fn spoilt_captures_are_errors_with_the_line_and_never_half_a_document() {
    let place = Place::new();
    let schemas = Schemas::of(&place);
    let whole = std::fs::read_to_string(capture("default")).unwrap();
    place.write("cut.snapshot", &whole[..whole.len() / 2]);
    place.write(
        "other.snapshot",
        whole.replacen("\"p2pdma-snapshot\":1", "\"p2pdma-snapshot\":9", 1),
    );
    place.write("noise", [0xff, 0xfe, 0x00]);
    place.write("empty", "");
    place.write("bad.txt", "00:00.0 Host bridge\n00: 86 80 zz\n10: 00\n\n");
    for (name, texts) in [
        ("cut.snapshot", &["cut.snapshot: snapshot, line "][..]),
        ("other.snapshot", &["version 9, and this program reads version 1"]),
        ("noise", &["neither a snapshot nor the text of lspci"]),
        ("empty", &["neither a snapshot nor the text of lspci"]),
        ("bad.txt", &["bad.txt: lspci, line 2: "]),
    ] {
        for command in ["topo", "topo --matrix"] {
            let line = format!("--from {name} {command}");
            place.run(&line).ends(2).prints_nothing().complains(texts);
            schemas.check(&place.run(&format!("{line} -o json")).ends(2).json());
        }
    }
    place.run("--from none.snapshot topo").ends(1).prints_nothing().complains(&["none.snapshot"]);
}

#[test]
fn options_of_other_platforms_are_refused() {
    let place = Place::new();
    let from = format!("--from {}", capture("default"));
    for (line, text) in [
        (format!("{from} --fabric default topo"), "--fabric is of the software fabric"),
        (format!("{from} --iommu off topo"), "--iommu is of the software fabric"),
        ("--platform linux --iommu off topo".to_owned(), "--iommu is of the software fabric"),
        (format!("{from} demo"), "--from is for topo and doctor"),
        (format!("{from} copy zero: fabric:nvme0/ns1"), "--from is for topo and doctor"),
        ("topo picture.png".to_owned(), "end the name in .svg"),
        ("topo --route nvme0 nvme1".to_owned(), "FILE.svg"),
        ("--fabric default topo --save x".to_owned(), "no snapshot"),
        ("--from - topo --save x".to_owned(), "standard input"),
    ] {
        place.run(&line).ends(2).prints_nothing().complains(&[text]);
    }
    // Of the environment's machine nobody has to think.
    let mut command = place.command(&format!("{from} topo"));
    assert!(command.env("P2PDMA_FABRIC", "eight-ssds").output().unwrap().status.success());
}

#[test]
fn pictures_show_links_controls_and_the_way() {
    let place = Place::new();
    let from = format!("--from {}", capture("acs-redirect"));
    place.run(&format!("{from} topo all.svg --route nvme1 nvme0n1")).ok().prints_nothing();
    let picture = String::from_utf8(place.read("all.svg")).unwrap();
    for text in
        ["<svg ", "</svg>", "P2P-ACS-REDIR", "16GT/s x4", "RR+ CR+", "p2pmem 64 MiB", "way refused"]
    {
        assert!(picture.contains(text), "{text}");
    }
    assert_eq!(picture.matches("class=\"way refused\"").count(), 4);
    let line = "--fabric default topo d.svg --route nvme1 nvme0";
    place.run(line).ok().complains(&["d.svg: 7 functions drawn\n"]);
    let again = place.run(line).ok();
    again.complains(&["d.svg: 7 functions drawn; it replaces the file that was there\n"]);
    let picture = String::from_utf8(place.read("d.svg")).unwrap();
    assert!(picture.contains("direct, distance 4") && picture.contains("class=\"way\""));
    place.run("--fabric default topo d.svg --route nvme1 nvme7").ends(2).complains(&["nvme7"]);
    // What is no file is not written over.
    std::fs::create_dir(place.path("dir.svg")).unwrap();
    place.run("--fabric default topo dir.svg").ends(6).complains(&["no ordinary file"]);
    place.run("topo --save /dev/null").ends(6).complains(&["no ordinary file"]);
}

#[test]
fn lists_of_host_bridges_add_to_the_kernels_and_say_so() {
    let place = Place::new();
    let from = format!("--from {}", capture("root-ports"));
    let id = {
        let document = place.run(&format!("{from} topo -o json")).ok().json();
        document["functions"][0]["id"].as_str().unwrap().to_owned()
    };
    let (vendor, device) = id.split_once(':').unwrap();
    place.write(
        "site.toml",
        format!("[[allow]]\nvendor = \"{vendor}\"\ndevice = \"{device}\"\nsource = \"a probe\"\n"),
    );
    let routes = |line: &str| place.run(line).ok().text().to_owned();
    assert!(routes(&format!("{from} topo --matrix")).contains("RC-NOT-ALLOWED"));
    assert!(!routes(&format!("{from} --host-bridges site.toml topo --matrix")).contains("RC-NOT"));
    place.write("wrong.toml", "[[allow]]\nvendor = \"8086\"\ncolour = \"red\"\n");
    let wrong = place.run(&format!("{from} --host-bridges wrong.toml topo")).ends(2);
    wrong.prints_nothing().complains(&["wrong.toml:3:1: ", "colour"]);
    place.run(&format!("{from} --host-bridges none.toml topo")).ends(1).complains(&["none.toml"]);
    place.write("binary.toml", [0xff; 9]);
    let binary = place.run(&format!("{from} --host-bridges binary.toml topo")).ends(1);
    binary.complains(&["binary.toml: ", "UTF-8", "help: docs/guide/linux.md shows the format"]);
}
