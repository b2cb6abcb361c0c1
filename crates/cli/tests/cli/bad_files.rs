//! Files that are not there, that are in the way, or that cannot be read or written.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::support::{Nobody, Place, noise};

const OUT: &str = "--fabric small.toml copy fabric:nvme0/ns1";
const IN: &str = "--fabric small.toml copy";

#[test]
fn sources_that_are_no_files() {
    let place = Place::new().small();
    place.write("empty", "");
    std::os::unix::fs::symlink("nowhere", place.path("dangling")).unwrap();
    place.shell("mkdir folder; mkfifo pipe").ok();
    for (source, status, said) in [
        ("./none", 1, &["./none: No such file", "a device: fabric:nvme0/ns1"][..]),
        ("none", 1, &["none: No such file"]),
        ("./folder", 2, &["./folder is a folder, and no file"]),
        ("./folder/", 2, &["./folder/ is a folder, and no file"]),
        ("./pipe", 2, &["./pipe is a device, pipe or socket", "'-', standard input"]),
        ("./dangling", 1, &["./dangling: No such file"]),
        ("./empty", 2, &["there is nothing to copy in ./empty: it is empty"]),
        ("./empty/x", 1, &["./empty/x: Not a directory"]),
    ] {
        let ran = place.run(&format!("{IN} {source} fabric:nvme0/ns1"));
        ran.ends(status).prints_nothing().complains(said);
    }
    // Nothing of the namespace was touched.
    place.run(&format!("{OUT} zero:")).ok();
}

/// A file that has less than it says, as files of sysfs do.
#[test]
fn a_source_that_ends_early() {
    let place = Place::new().small();
    let file = "/sys/kernel/mm/transparent_hugepage/enabled";
    if std::fs::metadata(file).map_or(0, |metadata| metadata.len()) != 4096 {
        println!("skipped: no file here is shorter than it says");
        return;
    }
    let ran = place.run(&format!("{IN} {file} fabric:nvme0/ns1")).ends(1);
    ran.prints(&["failed"]).complains(&[
        file,
        "ended before the length that it had",
        "through '-'",
    ]);
    // As a stream it has the length that it has.
    place.shell(&format!("cat {file} | $P {IN} - fabric:nvme0/ns1")).ok();
}

#[test]
fn destinations_that_are_in_the_way() {
    let place = Place::new().small();
    place.write("file", "precious");
    place.write("target", "precious too");
    std::os::unix::fs::symlink("target", place.path("link")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.path("dangling")).unwrap();
    place.shell("mkdir folder; mkfifo pipe").ok();
    let before = place.names("");
    let long = format!("./{}", "x".repeat(256));
    for (destination, status, said) in [
        ("./file", 6, &["./file exists; nothing was written", "--yes replaces it"][..]),
        ("file", 6, &["file exists; nothing was written"]),
        ("./link", 2, &["./link is a symbolic link", "name the file that it leads to"]),
        ("./link --yes", 2, &["./link is a symbolic link"]),
        ("./dangling", 2, &["./dangling is a symbolic link"]),
        ("./folder", 2, &["./folder is a folder", "such as ./folder/out"]),
        ("./folder/", 2, &["./folder/ is no name of a file"]),
        (".", 2, &[". is no name of a file"]),
        ("..", 2, &[".. is no name of a file"]),
        ("/", 2, &["/ is no name of a file"]),
        ("./pipe --yes", 2, &["./pipe is a device, pipe or socket", "'-', standard output"]),
        ("./none/x", 1, &["./none: No such file", "mkdir -p ./none"]),
        ("./file/x", 1, &["./file/x: Not a directory", "in a folder that is there"]),
        (long.as_str(), 1, &["File name too long"]),
    ] {
        let ran = place.run(&format!("{OUT} {destination}"));
        ran.ends(status).prints_nothing().complains(said);
        let json = place.run(&format!("{OUT} {destination} -o json")).ends(status);
        assert_eq!(json.json_error()["exit_status"], status);
    }
    let mut after = before;
    after.push("xdg".to_owned());
    // Whoever is refused by the file alone has not even made a folder for state.
    after.retain(|name| name != "xdg");
    assert_eq!(place.names(""), after);
    assert_eq!(place.read("file"), b"precious");
    assert_eq!(place.read("target"), b"precious too");
}

#[test]
fn yes_replaces_a_file_when_the_copy_is_complete_and_not_before() {
    let place = Place::new().small();
    let content = noise(5000, 3);
    place.write("in", &content);
    place.write("out", "precious");
    place.run(&format!("{IN} ./in fabric:nvme0/ns1")).ok();
    // Refused, failed: the old file stays.
    place.run(&format!("{OUT} ./out --yes --length 17M")).ends(2);
    place.run(&format!("{OUT} ./out --yes --dry-run")).ok().prints(&["would copy"]);
    assert_eq!(place.read("out"), b"precious");
    place.run(&format!("{OUT} ./out --yes --length 5000")).ok();
    assert_eq!(place.read("out"), content);
    // A file is no source of itself.
    place.run(&format!("{IN} ./in ./in --yes")).ends(2).complains(&["is a part of a device"]);
    assert_eq!(place.names(""), ["in", "out", "small.toml", "xdg"]);
}

#[test]
fn what_replaces_a_file_has_its_mode_and_its_owner() {
    let place = Place::new().small();
    for mode in [0o600, 0o444, 0o640, 0o666] {
        place.shell(&format!("rm -f out; echo secret > out; chmod {mode:o} out")).ok();
        place.run(&format!("{OUT} ./out --yes --length 5000")).ok();
        let metadata = std::fs::metadata(place.path("out")).unwrap();
        assert_eq!((metadata.len(), metadata.permissions().mode() & 0o7777), (5000, mode));
    }
    // Only root may give files away.
    if place.shell("chown 12345:54321 out").status == Some(0) {
        place.run(&format!("{OUT} ./out --yes --length 5000")).ok();
        let metadata = std::fs::metadata(place.path("out")).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (12345, 54321));
    }
}

#[test]
fn a_name_without_room_for_a_suffix_is_written_all_the_same() {
    let place = Place::new().small();
    for len in [200, 201, 255] {
        let name = "n".repeat(len);
        place.run(&format!("{OUT} ./{name} --length 1000")).ok();
        assert_eq!(place.read(&name), [0; 1000]);
    }
    assert_eq!(place.names("").len(), 5);
}

#[test]
fn files_that_others_may_not_read_or_write() {
    let place = Place::new().small();
    let Some(nobody) = Nobody::new(&place) else { return };
    place.write("secret", "x");
    place.write("secret.toml", "x");
    place.shell("mkdir closed; chmod 0 secret secret.toml; chmod 555 closed; chmod 755 .").ok();
    let ephemeral = "--ephemeral";
    for (line, said) in [
        (format!("{IN} ./secret fabric:nvme0/ns1 {ephemeral}"), "./secret: Permission denied"),
        (format!("{OUT} closed/out {ephemeral}"), "closed: permission denied"),
        ("--fabric secret.toml topo".to_owned(), "secret.toml: Permission denied"),
        ("man --out closed".to_owned(), "closed/p2pdma.1: Permission denied"),
    ] {
        let ran = nobody.run(&place, &line).ends(5).prints_nothing();
        ran.complains(&["error[P2P-PERM]", said, "\nhelp: "]);
        let json = nobody.run(&place, &format!("{line} -o json")).ends(5).json_error();
        assert_eq!((&json["code"], &json["exit_status"]), (&"P2P-PERM".into(), &5.into()));
    }
    assert_eq!(place.names("closed"), [""; 0]);
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.path("closed"), open).unwrap();
}

/// A file that may not grow is like a full disk.
#[test]
fn a_full_disk_under_the_destination() {
    let place = Place::new().small();
    place.run(&format!("{IN} pattern:seed=7 fabric:nvme0/ns1")).ok();
    let limited = |line: &str| place.shell(&format!("ulimit -f 2000; $P {line}"));
    let ran = limited(&format!("{OUT} ./out"));
    ran.ends(1).prints(&["failed        after "]).complains(&[
        "File too large",
        "the partial result is",
        "help: make room there",
    ]);
    let names = place.names("");
    let [partial] = names.iter().filter(|name| name.starts_with("out")).collect::<Vec<_>>()[..]
    else {
        panic!("{names:?}");
    };
    assert!(partial.starts_with("out.") && partial.ends_with(".partial"), "{names:?}");
    std::fs::remove_file(place.path(partial)).unwrap();

    let document = limited(&format!("{OUT} ./out -o json")).ends(1).json();
    assert_eq!(document["status"], "failed");
    assert_eq!(document["error"]["code"], "FULL");
    let partial = document["partial_result"].as_str().unwrap();
    let complete = document["complete_bytes"].as_u64().unwrap();
    assert!(complete > 0 && complete < 2000 * 1024, "{document}");
    // What is said to be complete is.
    place.run(&format!("{IN} {partial} fabric:nvme1/ns1 --length {}", complete / 512 * 512)).ok();
    let check = format!("{IN} fabric:nvme1/ns1 pattern:seed=7 --length {}", complete / 512 * 512);
    place.run(&check).ok();

    // Bytes for standard output wait in a temporary file.
    let ran = limited(&format!("{OUT} -")).ends(1).prints_nothing();
    ran.complains(&["a temporary file for standard output: File too large", "nothing was written"]);
    place
        .shell(&format!("$P {OUT} - > /dev/full"))
        .ends(1)
        .complains(&["standard output: No space left"]);
}
