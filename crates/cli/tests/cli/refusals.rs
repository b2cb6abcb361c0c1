//! Refusals, word for word: what is said beside `refusals/NAME.txt`. `UPDATE=1` writes what is said now.

use std::path::{Path, PathBuf};

use crate::support::Place;

const COPY: &str = "copy fabric:nvme0/ns1 fabric:nvme1/ns1";

/// The name of the file with the expected text, the machine with another IOMMU, and the copy.
const REFUSED: &[(&str, &str, &str)] = &[
    ("acs-redirect", "--fabric acs-redirect", COPY),
    ("iommu", "--fabric iommu", COPY),
    ("multi-function", "--fabric multi-function", COPY),
    ("no-cmb", "--fabric no-cmb", COPY),
    ("root-ports", "--fabric root-ports", COPY),
    // Both levels of switches, one of which the bus does not look at.
    ("deep", "--fabric two-switches --iommu passthrough", COPY),
    // The common bridge counts too.
    ("multi-function-iommu", "--fabric multi-function --iommu translate", COPY),
    ("root-ports-iommu", "--fabric root-ports --iommu translate", COPY),
    ("host-bridges", "--fabric ./host-bridges.toml", COPY),
    ("old-host-bridges", "--fabric ./old-host-bridges.toml", COPY),
    ("egress", "--fabric ./egress.toml", COPY),
    ("completions", "--fabric ./completions.toml", COPY),
    ("small-cmb", "--fabric ./small-cmb.toml", COPY),
    ("two-memories", "--fabric ./two-memories.toml --iommu translate", COPY),
    (
        "one-of-two",
        "--fabric ./two-memories.toml --iommu translate",
        "copy fabric:nvme1/ns1 fabric:nvme0/ns1 --via fabric:gpu0/mem",
    ),
    (
        "memory-to-memory",
        "--fabric eight-ssds",
        "copy fabric:gpu0/mem fabric:nvme0/cmb --length 1M",
    ),
    ("into-memory", "--fabric acs-redirect", "copy fabric:nvme1/ns1 fabric:nvme0/cmb --length 1M"),
];

/// Machines that are no presets.
fn place() -> Place {
    let place = Place::new();
    let ports = "ports = 2";
    let both = "[[host-bridge]]\nname = \"host1\"\nid = \"ID\"\np2p = \"refuse\"\n\n[[root-port]]\nname = \"rp0\"";
    for (name, near, far) in [
        ("host-bridges.toml", "8086:2020", "8086:4c43"),
        ("old-host-bridges.toml", "8086:3c00", "8086:3c00"),
    ] {
        place.machine(
            name,
            "root-ports",
            &[
                ("8086:4c43", near),
                ("[[root-port]]\nname = \"rp0\"", &both.replace("ID", far)),
                ("name = \"rp1\"\non = \"host0\"", "name = \"rp1\"\non = \"host1\""),
            ],
        );
    }
    let egress = "ports = 2\nacs = [\"EC\"]\negress = [0]";
    place.machine("egress.toml", "default", &[(ports, egress)]);
    place.machine("completions.toml", "default", &[(ports, "ports = 2\nacs = [\"CR\"]")]);
    place.machine("small-cmb.toml", "default", &[("cmb = \"64M\"", "cmb = \"64k\"")]);
    let gpu = "ports = 3\n\n[[bar-memory]]\nname = \"gpu0\"\nbelow = \"sw0.2\"\nsize = \"16M\"";
    place.machine("two-memories.toml", "default", &[(ports, gpu)]);
    place
}

fn expected(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/refusals");
    folder.join(format!("{name}.txt"))
}

#[test]
fn refusals_are_word_for_word_what_they_were() {
    let place = place();
    let update = std::env::var_os("UPDATE").is_some();
    let mut differ = Vec::new();
    for (name, machine, copy) in REFUSED {
        let line = format!("{machine} {copy} --ephemeral");
        let said = place.run(&line).ends(3).prints_nothing().stderr;
        if update {
            std::fs::write(expected(name), &said).unwrap();
        } else if said != std::fs::read_to_string(expected(name)).unwrap_or_default() {
            differ.push(format!("{name}: p2pdma {line}\n{said}"));
        }
        assert!(said.ends_with(
            "nothing was written                                              [exit 3]\n"
        ));
        assert!(!said.lines().any(|line| line.ends_with(' ')), "{said}");
    }
    assert!(
        differ.is_empty(),
        "with UPDATE=1 this becomes what is expected:\n{}",
        differ.join("\n")
    );
    println!("cases: {}", REFUSED.len());
}

/// What a refusal advises for a machine file makes the path; it is one that the bus does not send up.
#[test]
fn the_advice_for_the_machine_file_helps() {
    let place = place();
    let mut advised = 0;
    for (name, machine, copy) in REFUSED {
        let line = format!("{machine} {copy} --ephemeral");
        let error = place.run(&format!("-o json {line}")).ends(3).json_error();
        assert_eq!(error["message"], headline(&std::fs::read_to_string(expected(name)).unwrap()));
        let fix = &error["refusal"]["verdict"]["fix"];
        let Some(advice) = fix["machine_file"].as_str() else { continue };
        let source = place.run(&format!("{machine} topo --source")).ok();
        place.write("fixed.toml", format!("{}\n{advice}\n", source.text()));
        let iommu = machine
            .split_once("--iommu ")
            .map_or(String::new(), |(_, mode)| format!("--iommu {mode}"));
        let fixed = format!(
            "--fabric ./fixed.toml {iommu} {} --ephemeral --length 1M --verify",
            copy.replace(" --length 1M", "")
        );
        let report = place.run(&format!("-o json {fixed}")).ok().json();
        assert_eq!(
            (&report["path"], &report["peer_through_root_bytes"]),
            (&"peer-to-peer".into(), &0.into()),
            "{name}"
        );
        // The commands clear what the parameter of the kernel clears, at as many places.
        let commands = fix["commands"].as_array().unwrap();
        let parameter = fix["kernel_parameter"].as_str().unwrap();
        let paths = parameter.strip_prefix("pci=disable_acs_redir=").unwrap().split(';');
        assert_eq!(paths.clone().count(), commands.len(), "{name}");
        for (path, command) in paths.zip(commands) {
            let command = command.as_str().unwrap();
            let words: Vec<&str> = command.split(' ').collect();
            assert_eq!(
                (words[..2].join(" "), words[3]),
                ("setpci -s".to_owned(), "ECAP_ACS+6.w=0000:002c")
            );
            // A path ends with the device and function of the address.
            let address = words[2].rsplit(':').next().unwrap();
            assert!(path.ends_with(address), "{name}: {path}, {command}");
            assert!(path.starts_with("0000:00:"), "{name}: {path} does not begin at the root");
        }
        advised += 1;
    }
    println!("cases: {advised}");
}

/// The message in a refusal's first line.
fn headline(text: &str) -> String {
    text.lines().next().unwrap().split_once("]: ").unwrap().1.to_owned()
}
