//! Every machine in `topologies/` does what the table there says.

use std::collections::BTreeSet;

use crate::support::{Place, topologies};

/// A row of the table: the preset, and what it says about a copy from SSD to SSD.
fn table() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(topologies().join("README.md")).unwrap();
    let rows = text.lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, _, outcome] = cells[..] else { return None };
        let name = name.strip_prefix('`')?.strip_suffix('`')?;
        Some((name.to_owned(), outcome.to_owned()))
    });
    rows.collect()
}

#[test]
fn the_table_names_every_file_and_every_preset() {
    let place = Place::new();
    let listed: BTreeSet<String> = table().into_iter().map(|(name, _)| name).collect();
    assert_eq!(listed.len(), table().len());
    let files: BTreeSet<String> = std::fs::read_dir(topologies())
        .unwrap()
        .filter_map(|entry| {
            entry.unwrap().file_name().to_str()?.strip_suffix(".toml").map(str::to_owned)
        })
        .collect();
    assert_eq!(listed, files);
    let list = place.run("topo --list").ok();
    let presets = list.text().lines().filter_map(|line| line.split_whitespace().next());
    assert_eq!(presets.map(str::to_owned).collect::<BTreeSet<_>>(), files);
    println!("presets: {}", files.len());
}

#[test]
fn every_preset_is_shown_whole() {
    let place = Place::new();
    let list = place.run("topo --list -o json").ok().json();
    for (name, _) in table() {
        let topo = place.run(&format!("--fabric {name} topo")).ok();
        let about =
            list["machines"].as_array().unwrap().iter().find(|machine| machine["name"] == *name);
        let about = about.unwrap()["about"].as_str().unwrap();
        assert_eq!(topo.text().lines().next().unwrap(), format!("{name}: {about}"));
        let json = place.run(&format!("--fabric {name} topo --matrix -o json")).ok().json();
        let functions = json["functions"].as_array().unwrap();
        // A line for each function, below one for the machine, its processor and each host bridge.
        let bridges = topo.text().lines().filter(|line| line.starts_with("pci")).count();
        assert_eq!(topo.text().lines().count(), 2 + bridges + functions.len(), "{}", topo.text());
        for function in functions {
            let line =
                topo.text().lines().find(|line| line.contains(function["bdf"].as_str().unwrap()));
            assert!(line.unwrap().contains(function["name"].as_str().unwrap()), "{function}");
            assert!(function["link"].is_null() || function["link_max"].is_string(), "{function}");
        }
        // The preset and its file are the same machine.
        let file = topologies().join(format!("{name}.toml"));
        let again = place.run(&format!("--fabric {} topo", file.display())).ok();
        assert_eq!(again.text(), topo.text());
        let source = place.run(&format!("--fabric {name} topo --source")).ok();
        assert_eq!(source.text(), std::fs::read_to_string(file).unwrap());
    }
    println!("presets: {}", table().len());
}

/// The matrix, as table and as data, agrees with what happens to a copy, and with the table in the README.
#[test]
fn copies_end_as_the_table_says() {
    let place = Place::new();
    for (name, outcome) in table() {
        let matrix = place.run(&format!("--fabric {name} topo --matrix")).ok();
        let json = place.run(&format!("--fabric {name} topo --matrix -o json")).ok().json();
        let pair = json["matrix"].as_array().unwrap().iter();
        let pair = pair
            .clone()
            .find(|pair| pair["client"] == "nvme1" && pair["provider"] == "nvme0")
            .unwrap();
        let (route, code) = (pair["route"].as_str().unwrap(), pair["code"].as_str());
        let mark = mark(matrix.text(), "nvme1", "nvme0");
        let copy = format!(
            "--fabric {name} copy fabric:nvme0/ns1 fabric:nvme1/ns1 --ephemeral --length 4M -o json"
        );

        if let Some(refused) = outcome.strip_prefix("refused: ") {
            let error = place.run(&copy).ends(3).json_error();
            assert_eq!(error["code"], format!("P2P-{refused}"), "{name}");
            match refused {
                "NO-P2PMEM" => assert_eq!((route, mark.as_str()), ("no-memory", "-"), "{name}"),
                _ => {
                    assert_eq!((route, mark.as_str()), ("not-supported", "x"), "{name}");
                    assert_eq!(code, Some(format!("P2P-{refused}").as_str()), "{name}");
                    assert!(
                        matrix.text().contains(&format!("[P2P-{refused}] no peer-to-peer path"))
                    );
                }
            }
            continue;
        }
        let report = place.run(&copy).ok().json();
        assert_eq!(report["host_memory_bytes"], 0, "{name}");
        let distance = pair["distance"].as_u64().unwrap();
        let verified = place.run(&format!("{copy} --verify"));
        let way = match outcome.split([',', ' ', ';']).next().unwrap() {
            "direct" => ("peer-to-peer", "direct", format!("D{distance}")),
            "through" | "\"succeeds\":" => {
                ("through-host-bridge", "through-host-bridge", format!("H{distance}"))
            }
            other => panic!("{name}: what does '{other}' mean?"),
        };
        assert_eq!((report["path"].as_str().unwrap(), route, mark), way, "{name}");
        if outcome.contains("only `--verify` tells") {
            assert_eq!(verified.ends(4).json_error()["code"], "P2P-DATA-LOST");
        } else {
            assert_eq!(verified.ok().json()["verified"], true, "{name}");
        }
        if outcome.contains("past the IOMMU") {
            assert!(matrix.text().contains("[P2P-IOMMU] nvme1 to nvme0"), "{name}");
        }
        if outcome.contains("slow") {
            assert!(matrix.text().contains("[P2P-LINK-DOWN] nvme1 to nvme0"), "{name}");
            let usual = place.run(&copy.replace(&name, "default")).ok().json();
            let rate =
                |report: &serde_json::Value| report["modelled"]["gb_per_second"].as_f64().unwrap();
            assert!(rate(&report) < rate(&usual) / 2.0, "{name}: {report}, {usual}");
        }
    }
    println!("presets: {}", table().len());
}

/// What a matrix has in the row of one and the column of another.
fn mark(matrix: &str, row: &str, column: &str) -> String {
    let header = matrix.lines().next().unwrap();
    let column = header.split_whitespace().position(|name| name == column).unwrap();
    let row = matrix.lines().find(|line| line.split_whitespace().next() == Some(row)).unwrap();
    row.split_whitespace().nth(column + 1).unwrap().to_owned()
}
