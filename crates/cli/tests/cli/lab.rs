//! The lab: a real kernel in QEMU. Fetches both once; without a network this fails and says what to do.

use serde_json::Value;

use crate::schemas::Schemas;
use crate::support::Place;

#[test]
fn a_command_runs_in_the_guest_and_its_status_is_ours() {
    let place = Place::new();
    place.write("data", "from outside");
    let script = "p2pdma --version; cat /srv/data; echo oops >&2; exit 42";
    let mut command = place.command("lab run --topology no-cmb --file ./data:/srv/data -- sh -c");
    command.arg(script);
    let ran = crate::support::Ran::of(script, command.output().unwrap()).ends(42);
    assert_eq!(ran.text(), format!("p2pdma {}\nfrom outside", env!("CARGO_PKG_VERSION")));
    assert!(ran.stderr.ends_with("oops\n"), "{}", ran.stderr);
}

#[test]
fn what_is_printed_as_data_is_what_its_schema_says() {
    let place = Place::new();
    let schemas = Schemas::of(&place);
    let line = "lab run --topology no-cmb --serial serial --dmesg log -o json -- uname -r";
    let document = place.run(line).ok().json();
    schemas.check(&document);
    let kernel = document["kernel"].as_str().unwrap();
    assert_eq!(document["stdout"], format!("{kernel}\n"));
    assert_eq!(document["exit_status"], 0);
    let log = String::from_utf8(place.read("log")).unwrap();
    assert_eq!(document["kernel_log"], log);
    assert!(log.contains(&format!("Linux version {kernel}")));
    assert!(!place.read("serial").is_empty());
}

#[test]
fn machines_are_listed_with_what_is_in_the_way() {
    let place = Place::new();
    let list = place.run("lab list -o json").ok().json();
    let machine = |name: &str| -> Value {
        let machines = list["machines"].as_array().unwrap();
        machines.iter().find(|machine| machine["name"] == name).unwrap().clone()
    };
    assert_eq!(machine("default")["buildable"], true);
    assert_eq!(machine("acs-redirect")["buildable"], false);
    let refusals = machine("acs-redirect")["refusals"].to_string();
    assert!(refusals.contains("QEMU's switch ports have no ACS"), "{refusals}");
    place
        .run("lab list")
        .ok()
        .prints(&["default             yes  Two SSDs", "acs-redirect        no "]);
    let rows = place.run("lab list -o csv").ok();
    assert_eq!(rows.text().lines().count(), list["machines"].as_array().unwrap().len() + 1);
}

#[test]
fn what_cannot_be_done_is_said_before_anything_is_fetched() {
    let place = Place::new();
    for (line, status, said) in [
        ("lab run --topology acs-redirect -- true", 2, "sw0.0: QEMU's switch ports have no ACS"),
        ("lab run --topology nowhere -- true", 2, "there is no machine 'nowhere'"),
        ("lab run --topology nowhere -- true", 2, "for a file say --topology ./nowhere"),
        ("lab run --topology no-cmd -- true", 2, "did you mean --topology no-cmb?"),
        ("lab run --topology no-cmb", 2, "<COMMAND>"),
        ("lab run -- true", 2, "--topology"),
        ("lab run --topology no-cmb -o csv -- true", 2, "no table"),
        ("lab run --topology no-cmb --file x -- true", 2, "expected a file here and a path there"),
        ("lab run --topology no-cmb --offline --cache ./c -- true", 1, "run once with network"),
        ("lab run --topology no-cmb --qemu ./none -- true", 1, "give a QEMU"),
        ("lab run --topology no-cmb --offline --package no-such -- true", 1, "the package no-such"),
        ("lab run --topology no-cmb --package ./x -- true", 2, "no name of a Debian package"),
        ("lab run --topology no-cmb --serial ./none/x -- true", 1, "./none/x"),
        ("lab shell --topology no-cmb", 2, "a shell in the lab needs a terminal"),
        ("lab", 2, "Usage: p2pdma lab"),
    ] {
        place.run(line).ends(status).complains(&[said]);
    }
    // Programs of another architecture are found out before QEMU starts.
    let line = "lab run --topology no-cmb --bring ./text -- true";
    place.write("text", "no program");
    place.run(line).ends(2).complains(&["./text cannot run in the guest: it is no program"]);
}
