//! `--resume`: copies that were broken off go on, and nothing else does.

use std::os::unix::process::ExitStatusExt as _;

use crate::interrupt::{Running, vast, wait_for};
use crate::support::{Place, noise};

const COPY: &str = "--fabric vast.toml copy fabric:nvme0/ns1 fabric:nvme1/ns1";
const LEN: u64 = 128 << 20;

/// A machine with a source of which a copy takes a while.
fn filled() -> Place {
    let place = vast();
    let fill = "--fabric vast.toml copy pattern:seed=9 fabric:nvme0/ns1";
    place.run(&format!("{fill} --length {LEN}")).ok();
    place
}

/// How many flushes a journal tells of.
fn flushes(place: &Place, journal: &str) -> usize {
    let text = std::fs::read_to_string(place.path(journal)).unwrap_or_default();
    text.lines().filter(|line| line.contains(" durable ")).count()
}

/// Goes on with what was broken off, and checks all of it. Returns how much was there.
fn goes_on(place: &Place, line: &str) -> u64 {
    let document = place.run(&format!("{line} --verify -o json")).ok().json();
    assert_eq!(document["verified"], true);
    assert!(!place.has("journal"), "its work is done");
    document["resumed_bytes"].as_u64().unwrap()
}

#[test]
fn a_copy_that_was_interrupted_goes_on() {
    let place = filled();
    let line = format!("{COPY} --length {LEN} --resume journal");
    let running = Running::start(&place, &format!("{line} --progress json -o json"));
    let ran = running.until("copying").signal("INT").end().ends(130);
    let (document, remedy) = (ran.json(), "the same command goes on from there: --resume journal");
    ran.complains(&["interrupted; the partial result is in fabric:nvme1/ns1", remedy]);
    // What is complete was made durable at the end.
    let resumed = goes_on(&place, &line);
    assert_eq!(Some(resumed), document["complete_bytes"].as_u64());
    assert!(resumed > 0 && resumed < LEN, "{resumed}");
    place
        .run(&format!("--fabric vast.toml copy fabric:nvme1/ns1 pattern:seed=9 --length {LEN}"))
        .ok();
}

#[test]
fn a_copy_that_was_killed_goes_on() {
    let place = filled();
    let line = format!("{COPY} --length {LEN} --resume journal");
    let mut running = Running::start(&place, &format!("{line} -q"));
    wait_for(|| flushes(&place, "journal") > 0);
    running.child.kill().unwrap();
    assert_eq!(running.child.wait().unwrap().signal(), Some(9));
    let planned = place.run(&format!("{line} --dry-run")).ok();
    planned.prints(&["resumed     ", " bytes (", " were durable already"]);
    let resumed = goes_on(&place, &line);
    assert!(resumed > 0 && resumed < LEN, "{resumed}");
    place
        .run(&format!("--fabric vast.toml copy fabric:nvme1/ns1 pattern:seed=9 --length {LEN}"))
        .ok();
}

#[test]
fn a_file_that_was_begun_is_taken_up_again() {
    let place = filled();
    let partials = || -> Vec<String> {
        place.names("").into_iter().filter(|name| name.ends_with(".partial")).collect()
    };
    let line =
        format!("--fabric vast.toml copy fabric:nvme0/ns1 ./out --length {LEN} --resume journal");
    let mut running = Running::start(&place, &format!("{line} -q"));
    wait_for(|| flushes(&place, "journal") > 0);
    running.child.kill().unwrap();
    running.child.wait().unwrap();
    let left = partials();
    assert_eq!((left.len(), place.has("out")), (1, false));
    // Whoever copies elsewhere, or has lost the file, is told so; and nothing is touched.
    place
        .run(&line.replace("./out", "./other"))
        .ends(6)
        .complains(&["error: journal is the journal of another copy: its destination is file /"]);
    std::fs::rename(place.path(&left[0]), place.path("away")).unwrap();
    let ran = place.run(&line).ends(6);
    ran.complains(&[&left[0], "which was to be gone on with, is not there", "to begin anew"]);
    std::fs::rename(place.path("away"), place.path(&left[0])).unwrap();
    let resumed = goes_on(&place, &line);
    assert!(resumed > 0 && resumed < LEN, "{resumed}");
    assert_eq!((partials().len(), place.len_of("out")), (0, LEN));
    place.run(&format!("--fabric vast.toml copy ./out pattern:seed=9 --length {LEN}")).ends(2);
    place.run("--fabric vast.toml copy ./out fabric:nvme1/ns1 --verify").ok();
    place
        .run(&format!("--fabric vast.toml copy fabric:nvme1/ns1 pattern:seed=9 --length {LEN}"))
        .ok();
}

#[test]
fn only_the_same_copy_goes_on() {
    let place = filled();
    let line = format!("{COPY} --length {LEN} --resume journal");
    let running = Running::start(&place, &format!("{line} --progress json"));
    running.until("copying").signal("INT").end().ends(130);
    let journal = place.read("journal");
    let shorter = line.replace("134217728", "1048576");
    for (other, what) in [
        (shorter.clone(), "length is 134217728, this one's is 1048576"),
        (line.replace("nvme0/ns1 fabric:nvme1/ns1", "nvme1/ns1 fabric:nvme0/ns1"), "source is "),
        (line.replace("fabric:nvme0/ns1", "pattern:seed=9"), "source is "),
        (format!("{line} --dst-offset 1M"), "destination-offset is 0, this one's is 1048576"),
        (format!("{line} --block-size 64k"), "block is 131072, this one's is 65536"),
    ] {
        let ran = place.run(&other).ends(6);
        ran.complains(&[
            "error: journal is the journal of another copy: its ",
            what,
            "nothing was written",
        ]);
        assert!(place.read("journal") == journal);
    }
    // What the journal says is not there any more.
    place.run("--fabric vast.toml copy zero: fabric:nvme1/ns1 --length 4k").ok();
    let ran = place.run(&line).ends(6);
    ran.complains(&["fabric:nvme1/ns1 has changed since the journal was written", "to begin anew"]);
    std::fs::remove_file(place.path("journal")).unwrap();
    assert_eq!(goes_on(&place, &shorter), 0);
}

/// What a journal says of bytes that were lost on their way is worth nothing.
#[test]
fn a_journal_of_what_turns_out_to_be_wrong_is_removed() {
    let place = Place::new();
    place.machine("lossy.toml", "root-ports-lossy", &[("size = \"1G\"", "size = \"16M\"")]);
    place.run("--fabric lossy.toml copy pattern:seed=9 fabric:nvme0/ns1 --length 8M").ok();
    let line = "--fabric lossy.toml copy fabric:nvme0/ns1 fabric:nvme1/ns1 --length 8M --resume j";
    let ran = place.run(&format!("{line} --verify")).ends(4);
    ran.complains(&["the destination differs from the source"]);
    assert!(!place.has("j"));
}

#[test]
fn what_cannot_go_on_is_refused() {
    let place = Place::new().small();
    place.write("in", noise(1 << 20, 3));
    place.write("empty", "");
    let copy = "--fabric small.toml copy";
    for (line, status, words) in [
        ("./in fabric:nvme0/ns1 --resume ./in", 2, "cannot be the journal and an end"),
        ("./in fabric:nvme0/ns1 --resume small.toml", 6, "small.toml is no journal of a copy"),
        ("./in fabric:nvme0/ns1 --resume empty", 6, "empty is no journal of a copy"),
        ("./in fabric:nvme0/ns1 --resume .", 6, "no journal of a copy; nothing was written"),
        ("./in fabric:nvme0/ns1 --resume /dev/null", 6, "/dev/null is no journal"),
        (
            "./in fabric:nvme0/ns1 --resume no/where",
            1,
            "no/where: No such file or directory (os error 2)\nhelp: name a file after --resume",
        ),
        ("./in fabric:nvme0/cmb --resume j", 2, "fabric:nvme0/cmb keeps nothing that could be"),
        ("fabric:nvme0/ns1 - --resume j --length 1M", 2, "- keeps nothing that could be"),
        ("fabric:nvme0/ns1 null: --resume j", 2, "null: keeps nothing that could be"),
        ("fabric:nvme0/ns1 zero: --resume j", 2, "zero: keeps nothing that could be"),
        ("mem:4k fabric:nvme0/ns1 --resume j", 2, "mem:4096 cannot be read again"),
        ("fabric:nvme0/cmb fabric:nvme0/ns1 --resume j --length 4k", 2, "another one next time"),
        ("./in fabric:nvme0/ns1 --resume j --ephemeral", 2, "cannot be used with"),
    ] {
        place.run(&format!("{copy} {line}")).ends(status).complains(&[words]);
        assert!(!place.has("j"), "{line}");
    }
    place
        .shell(&format!("head -c 4096 in | \"$P\" {copy} - fabric:nvme0/ns1 --resume j"))
        .ends(2)
        .complains(&["- cannot be read again"]);
    assert_eq!((place.read("empty").len(), place.read("in") == noise(1 << 20, 3)), (0, true));
    place.run(&format!("{copy} ./in fabric:nvme0/ns1 --resume j --verify")).ok();
    assert!(!place.has("j"));
    println!("cases: 14");
}
