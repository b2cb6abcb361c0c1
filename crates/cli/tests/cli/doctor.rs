//! `doctor`: findings, pairs, volumes; what is unknown, and what to fix.

use serde_json::Value;

use crate::captured::{capture, unprivileged_dump};
use crate::schemas::Schemas;
use crate::support::{Place, topologies};

/// A capture with some of its lines changed, as `changed.snapshot`.
fn changed(place: &Place, name: &str, changes: &[(&str, &str)]) -> String {
    let mut text = std::fs::read_to_string(capture(name)).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{name} has no {from}");
        text = text.replace(from, to);
    }
    place.write("changed.snapshot", text);
    "--from changed.snapshot".to_owned()
}

#[test]
fn this_machine_is_checked_whatever_it_is() {
    let place = Place::new();
    let schemas = Schemas::of(&place);
    place.run("doctor").ok().prints(&["this machine: Linux ", "kernel ", "IOMMU ", "paths: "]);
    for line in ["doctor", "doctor --volumes"] {
        schemas.check(&place.run(&format!("{line} -o json")).ok().json());
        schemas.check_lines(place.run(&format!("{line} -o jsonl")).ok().text());
        place.run(&format!("{line} -o csv")).ok();
    }
}

#[test]
fn a_refused_pair_has_evidence_fix_and_cost() {
    let place = Place::new();
    let schemas = Schemas::of(&place);
    let from = format!("--from {}", capture("iommu"));
    let line = format!("{from} doctor nvme1 /dev/nvme0n1");
    let ran = place.run(&line).ends(3).prints_nothing();
    ran.complains(&[
        "error[P2P-ACS-REDIR]: no peer-to-peer path from 0000:04:00.0 (nvme1) to 0000:03:00.0 (nvme0)",
        "ReqRedir+  CmpltRedir+  <-- sends peer traffic up",
        "kernel   PCI_P2PDMA_MAP_NOT_SUPPORTED\n",
        "fix now  setpci -s 02:00.0 ECAP_ACS+6.w=0000:002c\n",
        "         setpci -s 02:01.0 ECAP_ACS+6.w=0000:002c\n",
        "clears RR, CR and EC only",
        "fix boot pci=disable_acs_redir=0000:00:01.0/00.0/00.0;0000:00:01.0/00.0/01.0   (';' not ',')",
        "bus      writes, reads, translated requests: sent up to the root complex by ReqRedir of \
         0000:02:01.0\n",
        "         completions: sent up to the root complex by CmpltRedir of 0000:02:00.0\n",
        "         relaxed completions: turn at 0000:02:00.0, below the root\n",
        "(one IOMMU group); groups 1, 2 become one",
        "sysfs and VFIO still show separate\n",
        "[exit 3]",
    ]);
    let document = place.run(&format!("{line} -o json")).ends(3).json();
    schemas.check(&document);
    assert_eq!(document["error"]["code"], "P2P-ACS-REDIR");
    let fix = &document["verdict"]["fix"];
    assert!(fix["kernel_parameter"].as_str().unwrap().contains(';'), "{fix}");
    assert_eq!(document["map_type"], "PCI_P2PDMA_MAP_NOT_SUPPORTED");
    let all = |of: &str, key: &str| -> Vec<String> {
        let list = document["verdict"][of].as_array().unwrap().iter();
        list.map(|one| one[key].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(all("path", "side"), ["provider", "provider", "common", "client", "client"]);
    let classes = ["write", "read", "completion", "relaxed-completion", "translated"];
    assert_eq!(all("bus", "class"), classes);
    let ways = ["through-root", "through-root", "through-root", "local", "through-root"];
    assert_eq!(all("bus", "path"), ways);
    let write = &document["verdict"]["bus"][0];
    assert_eq!(
        (&write["control"], &write["control_at"]),
        (&"ReqRedir".into(), &"0000:02:01.0".into())
    );
}

/// A kernel was recorded in QEMU that loses data of some pairs with success, and of others not.
#[test]
fn data_that_are_known_to_be_lost_are_a_failure() {
    let place = Place::new();
    let schemas = Schemas::of(&place);
    let from = topologies().join("../crates/lab/tests/oracle/records/zen-translating.snapshot");
    let from = format!("--from {}", from.display());
    let lost = place.run(&format!("{from} doctor nvme3 nvme0")).ends(4).prints_nothing();
    lost.complains(&[
        "error[P2P-DATA-LOST]: the path from 0000:08:00.0 (nvme3) to 0000:03:00.0 (nvme0) loses data",
        "fix      boot with iommu=pt",
        "[exit 4]",
    ]);
    let document = place.run(&format!("{from} doctor nvme3 nvme0 -o json")).ends(4).json();
    schemas.check(&document);
    assert_eq!(document["error"]["code"], "P2P-DATA-LOST");
    let right = place.run(&format!("{from} doctor nvme3 nvme4")).ok();
    assert!(!right.text().contains("IOMMU"), "{}", right.text());
    let small = place.run(&format!("{from} doctor nvme3 nvme2")).ends(3);
    small.complains(&["error[P2P-CMB-ALIGN]", "fix      see whether the firmware lets its size"]);
    // The matrix says the same.
    let matrix = place.run(&format!("{from} topo --matrix")).ok();
    let matrix = matrix.prints(&[
        "! there is a path, and it cannot be used",
        "D6!",
        "H7!",
        "and 5 other pairs)",
    ]);
    let text = matrix.text();
    assert_eq!(text.matches("CMB-ALIGN").count(), 1, "{text}");
    let document = place.run(&format!("{from} topo --matrix -o json")).ok().json();
    schemas.check(&document);
    for cell in document["matrix"].as_array().unwrap() {
        let [client, provider] = ["client", "provider"].map(|end| cell[end].as_str().unwrap());
        if client == provider || cell["memory"] == false {
            continue;
        }
        let output = place.command(&format!("{from} doctor {client} {provider}")).output().unwrap();
        assert_eq!(cell["usable"] == true, output.status.success(), "{cell}");
    }
    let tree = place.run(&format!("{from} topo")).ok();
    tree.prints(&["has cmb 1 MiB", "lends p2pmem 4 MiB"]);
}

#[test]
fn a_pair_with_a_path_says_how() {
    let place = Place::new();
    let schemas = Schemas::of(&place);
    let from = format!("--from {}", capture("default"));
    let ran = place.run(&format!("{from} doctor 04:00.0 nvme0")).ok();
    ran.prints(&[
        "0000:04:00.0 (nvme1) reaches the memory of 0000:03:00.0 (nvme0) by bus address, below the root, \
         distance 4",
        "bus      switches turn all of it below the root",
        "nvme1n1               carries peer-to-peer I/O",
        "lends p2pmem of 64 MiB, 64 MiB free",
    ]);
    schemas.check(&place.run(&format!("{from} doctor nvme1 nvme0 -o json")).ok().json());
    // A path without memory at its end is of no use to the kernel.
    let none = place.run(&format!("{from} doctor nvme0 nvme1")).ends(3);
    none.complains(&["error[P2P-NO-P2PMEM]: a path from", "cannot be used", "it lends no memory"]);
    // So says the fabric.
    place.run("--fabric default doctor nvme0 nvme1").ends(3).complains(&["error[P2P-NO-P2PMEM]"]);
    let far = format!("--from {}", capture("root-ports-allowed"));
    place.run(&format!("{far} doctor nvme1 nvme0")).ok().prints(&["through the host bridge"]);
}

#[test]
fn what_is_not_known_is_neither_yes_nor_no() {
    let place = Place::new();
    let schemas = Schemas::of(&place);
    place.write("lspci.txt", unprivileged_dump());
    let line = "--from lspci.txt doctor 04:00.0 03:00.0";
    let ran = place.run(line).ends(5).prints_nothing();
    ran.complains(&[
        "error[P2P-UNKNOWN-NEED-ROOT]: whether there is a peer-to-peer path",
        "ACS not known: it is readable by root only",
        "kernel   not known",
        "capture again as root: p2pdma topo --save FILE",
    ]);
    let document = place.run(&format!("{line} -o json")).ends(5).json();
    schemas.check(&document);
    assert_eq!(document["map_type"], Value::Null);
    assert_eq!(document["verdict"]["kernel_map_type"], Value::Null);
    place.run("--from lspci.txt doctor").ok().prints(&[
        "?  ",
        "2 unknown",
        "capture again as root",
    ]);
}

/// Each hindrance beside paths, with its code.
#[test]
fn hindrances_are_found_by_their_codes() {
    let place = Place::new();
    let off = [("CONFIG_PCI_P2PDMA=y", "# CONFIG_PCI_P2PDMA is not set")];
    let full = [(
        "{\"file\":\"available\",\"text\":\"67108864\\n\"}",
        "{\"file\":\"available\",\"text\":\"0\\n\"}",
    )];
    let old = [("7.3.4", "6.1.4")];
    let comma = [("\"quiet\\n\"", "\"pci=disable_acs_redir=0000:00:01.0,0000:02:00.0\\n\"")];
    let vfio = [("../../../bus/pci/drivers/nvme", "../../../bus/pci/drivers/vfio-pci")];
    let cases = [
        (&off, "[P2P-KCONFIG] built without"),
        (&full, "[P2P-POOL-EMPTY] all of its 64 MiB is in use"),
        (&old, "[P2P-KVER] Linux 6.1.4 does not lend"),
        (&comma, "separate the functions of disable_acs_redir by ';'"),
        (&vfio, "[P2P-BOUND-ELSEWHERE] vfio-pci has this SSD"),
    ];
    for (changes, text) in cases {
        let from = changed(&place, "default", changes);
        place.run(&format!("{from} doctor")).ok().prints(&[text]);
    }
    let none = format!("--from {}", capture("no-cmb"));
    place.run(&format!("{none} doctor")).ok().prints(&["[P2P-NO-P2PMEM] no device lends any"]);
    // Captured in a real kernel below QEMU, whose IOMMU translates.
    let real = topologies().join("../crates/lab/tests/oracle/records/intel-translating.snapshot");
    let real = format!("--from {}", real.display());
    place.run(&format!("{real} doctor")).ok().prints(&[
        "[P2P-DATA-LOST] it translates, and this is QEMU",
        "[P2P-CMB-ALIGN] its CMB of 1 MiB is not aligned to 2 MiB",
        "lends memory, and so was built with CONFIG_PCI_P2PDMA",
        "paths: 117 pairs",
        "cannot be used\n",
        "[P2P-CMB-ALIGN] nvme2: its CMB of 1 MiB is not aligned",
    ]);
    let slow = format!("--from {}", capture("down-trained"));
    place.run(&format!("{slow} doctor")).ok().prints(&["[P2P-LINK-DOWN] the link above"]);
    let full = changed(&place, "default", &full);
    place.run(&format!("{full} doctor nvme1 nvme0")).ends(3).complains(&["error[P2P-POOL-EMPTY]"]);
}

/// A capture with volumes.
pub(crate) fn with_volumes(place: &Place) -> String {
    let mounts = "{\"lines\":\"mountinfo\",\"words\":[\"/dev/\"],\"found\":[\
        \"20 1 259:1 / /fast rw - ext4 /dev/nvme1n1 rw\",\
        \"21 1 259:0 / /tree rw - btrfs /dev/nvme0n1 rw\"]}";
    let none = "{\"lines\":\"mountinfo\",\"words\":[\"/dev/\"],\"found\":[]}";
    changed(place, "default", &[(none, mounts)])
}

#[test]
fn volumes_are_judged_down_to_the_disk() {
    let place = Place::new();
    let schemas = Schemas::of(&place);
    let from = with_volumes(&place);
    let ran = place.run(&format!("{from} doctor --volumes")).ok();
    ran.prints(&["/fast", "yes: D4 to nvme0", "/tree", "no: P2P-FS"]);
    let document = place.run(&format!("{from} doctor --volumes -o json")).ok().json();
    schemas.check(&document);
    let answers: Vec<&Value> =
        document["volumes"].as_array().unwrap().iter().map(|volume| &volume["answer"]).collect();
    assert_eq!(answers, ["direct", "no"]);
    place.run(&format!("{from} doctor /fast nvme0")).ok();
    place.run(&format!("{from} doctor")).ok().prints(&["mounted volumes", "/fast"]);
    place.run("--fabric default doctor --volumes").ends(2).complains(&["nothing is mounted"]);
    place.run("doctor nvme0").ends(2);
}
