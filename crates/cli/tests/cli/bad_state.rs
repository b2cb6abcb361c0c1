//! State that cannot be had: full, in use, not to be written, somebody else's.

use std::process::Stdio;

use crate::support::{Nobody, Place, noise};

const FILL: &str = "--fabric small.toml copy pattern:seed=7 fabric:nvme0/ns1";
const FILE: &str = "xdg/p2pdma/small/nvme0-ns1.img";

#[test]
fn a_full_disk_under_a_namespace() {
    let place = Place::new().small();
    // The file cannot even be made as long as the namespace is.
    let limited = |line: &str| place.shell(&format!("ulimit -f 2000; $P {line}"));
    limited(FILL).ends(1).prints_nothing().complains(&[
        FILE,
        "File too large",
        "help: make room there",
    ]);
    // It is long, but not written.
    place.run("--fabric small.toml copy zero: fabric:nvme0/ns1 --length 512").ok();
    limited(FILL).ends(1).prints(&["failed        after "]).complains(&[
        "no room is left under fabric:nvme0/ns1: its file cannot grow",
        "the partial result is in fabric:nvme0/ns1: ",
        "help: make room in the state folder",
    ]);
    let document = limited(&format!("{FILL} -o json --queue-depth 1")).ends(1).json();
    assert_eq!(
        (&document["status"], &document["error"]["code"]),
        (&"failed".into(), &"FULL".into())
    );
    assert_eq!(document["partial_result"], "fabric:nvme0/ns1");
    let complete = document["complete_bytes"].as_u64().unwrap();
    assert!((1 << 19..2000 << 10).contains(&complete), "{document}");
    // What is said to be complete is, and with room the rest follows.
    let check = "--fabric small.toml copy fabric:nvme0/ns1 pattern:seed=7";
    place.run(&format!("{check} --length {complete}")).ok();
    place
        .run(check)
        .ends(4)
        .complains(&["fabric:nvme0/ns1 does not match pattern:seed=7: first at byte"]);
    place.run(FILL).ok();
    place.run(check).ok();
}

/// A real full disk: a small file system in memory, where that can be mounted.
#[test]
fn a_full_file_system_under_a_namespace() {
    let place = Place::new().small();
    let mounted = |script: &str| {
        let mount = "mkdir -p disk && mount -t tmpfs -o size=1M none disk";
        place.shell(&format!("unshare -m sh -c '{mount} && {script}'"))
    };
    if mounted("true").status != Some(0) {
        println!("skipped: no file system can be mounted here");
        return;
    }
    let fill = format!("\"$P\" {FILL} --state-dir disk -o json");
    let ran = mounted(&fill).ends(1).complains(&["no room is left under fabric:nvme0/ns1"]);
    assert_eq!(ran.json()["error"]["code"], "FULL");
}

#[test]
fn state_that_another_process_uses() {
    let place = Place::new().small();
    place.run(FILL).ok();
    // As long as standard input stays open, the first waits for its end with the machine in its hands.
    let mut first = place.command("--fabric small.toml copy - fabric:nvme1/ns1");
    let mut first = first.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let lock = std::fs::File::open(place.path(FILE)).unwrap();
    while lock.try_lock_shared().is_ok() {
        lock.unlock().unwrap();
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let second = place.run(FILL).ends(6).prints_nothing();
    second.complains(&[FILE, "is in use by another process", "--ephemeral or --state-dir"]);
    let json = place.run(&format!("{FILL} -o json")).ends(6).json_error();
    assert_eq!(json["code"], "IN-USE");
    // What needs no state goes on.
    place.run("--fabric small.toml topo").ok();
    place.run(&format!("{FILL} --ephemeral")).ok();
    place.run(&format!("{FILL} --dry-run")).ok();
    place.run(&format!("{FILL} --state-dir other")).ok();
    std::io::Write::write_all(first.stdin.as_mut().unwrap(), &noise(3000, 1)).unwrap();
    assert!(first.wait().unwrap().success());
    place.run(FILL).ok();
}

#[test]
fn state_of_another_size() {
    let place = Place::new().small();
    place.run(FILL).ok();
    // Longer than the namespace: using it would hide its end.
    place.shell(&format!("truncate -s 17M {FILE}")).ok();
    let ran = place.run(FILL).ends(2).prints_nothing();
    ran.complains(&[
        FILE,
        "has 17825792 bytes, but its namespace only 16777216",
        "help: ",
        "remove",
    ]);
    // The namespace grew: the rest is zeroes.
    place.shell(&format!("truncate -s 16M {FILE}")).ok();
    place.machine("small.toml", "default", &[("\"default\"", "\"small\""), ("\"1G\"", "\"32M\"")]);
    place.run("--fabric small.toml copy fabric:nvme0/ns1 zero: --src-offset 16M").ok();
    place.run("--fabric small.toml copy fabric:nvme0/ns1 pattern:seed=7 --length 16M").ok();
    // Cut off: what is lost is not made up.
    place.shell(&format!("truncate -s 1000 {FILE}")).ok();
    let read = "--fabric small.toml copy fabric:nvme0/ns1 zero:";
    let ran = place.run(read).ends(2).prints_nothing();
    ran.complains(&[
        FILE,
        "has 1000 bytes, but had 16777216",
        "its end is lost",
        "truncate -s 16777216",
    ]);
    place.shell(&format!("truncate -s 0 {FILE}")).ok();
    place.run(read).ends(2).complains(&["has 0 bytes, but had 16777216"]);
    assert_eq!(place.read(FILE).len(), 0);
    place.shell(&format!("rm {FILE}")).ok();
    place.run(read).ok();
}

/// A file that is somebody else's stays as it is, whether it is read or written.
#[test]
fn files_that_were_never_a_namespace() {
    let place = Place::new().small();
    place.write("own.txt", "something of mine");
    place.shell("mkdir -p xdg/p2pdma/small; cp own.txt text; ln -s ../../../own.txt link").ok();
    for (name, said) in [
        ("text", "has 17 bytes instead of 16777216, and nothing beside it says"),
        ("link", "is a symbolic link"),
    ] {
        place.shell(&format!("mv {name} {FILE}")).ok();
        for line in [FILL, "--fabric small.toml copy fabric:nvme0/ns1 zero: --length 512"] {
            let ran = place.run(line).ends(6).prints_nothing();
            ran.complains(&[FILE, said, "help: move ", "--state-dir"]);
        }
        assert_eq!(place.read(FILE), b"something of mine");
        place.shell(&format!("rm {FILE}")).ok();
    }
    assert_eq!(place.read("own.txt"), b"something of mine");
    place.shell(&format!("mkfifo {FILE}")).ok();
    place.run(FILL).ends(6).complains(&["is no regular file"]);
    // An image of the right size is taken as it is.
    place.shell(&format!("rm {FILE}; truncate -s 16M {FILE}")).ok();
    place.run("--fabric small.toml copy fabric:nvme0/ns1 zero:").ok();
}

/// Beside a namespace's file stands how it is formatted.
#[test]
fn state_that_is_formatted_otherwise_or_not_to_be_understood() {
    let place = Place::new().small();
    place.run(FILL).ok();
    let check = "--fabric small.toml copy fabric:nvme0/ns1 pattern:seed=7";
    let label = format!("{FILE}.label");
    let good = place.read(&label);
    let longer = [&good[..], b"bad 0 1\n"].concat();
    for wrong in [&b"garbage\n"[..], b"", b"\xff\xfe\0", &good[..good.len() / 2], &longer] {
        place.write(&label, wrong);
        let ran = place.run(check).ends(2).prints_nothing();
        ran.complains(&[&label, "\nhelp: remove ", "never formatted to anything else"]);
        assert_eq!(place.run(&format!("{check} -o json")).ends(2).json_error()["code"], "STATE");
    }
    place.write(&label, &good);
    place.run(check).ok();
    let larger = "size = \"16M\"\nblock = 4096";
    place.machine(
        "blocks.toml",
        "default",
        &[("\"default\"", "\"small\""), ("size = \"1G\"", larger)],
    );
    let ran = place.run(&check.replace("small", "blocks")).ends(2).prints_nothing();
    ran.complains(&[
        FILE,
        "blocks of 512 bytes",
        "blocks of 4096 bytes",
        "help: describe the namespace as before",
    ]);
    place.run(check).ok();
}

#[test]
fn state_folders_that_are_none() {
    let place = Place::new().small();
    place.write("file", "");
    place.shell("mkdir -p taken/small/nvme0-ns1.img").ok();
    for (folder, said) in [
        ("file", "file/small: Not a directory"),
        ("/proc/none", "/proc/none/small: No such file"),
        ("taken", "taken/small/nvme0-ns1.img: Is a directory"),
    ] {
        let ran = place.run(&format!("{FILL} --state-dir {folder}")).ends(1).prints_nothing();
        ran.complains(&[said, "name another folder with --state-dir, or say --ephemeral"]);
    }
    // No home, no state: the folder has to be named.
    let mut homeless = place.command(FILL);
    let ran = homeless.env_remove("XDG_STATE_HOME").env_remove("HOME").output().unwrap();
    let ran = crate::support::Ran::of(FILL, ran).ends(2).prints_nothing();
    ran.complains(&["no home folder", "--state-dir DIR, or --ephemeral"]);
    assert_eq!(place.names(""), ["file", "small.toml", "taken"]);
}

#[test]
fn state_that_this_user_may_not_write() {
    let place = Place::new().small();
    let Some(nobody) = Nobody::new(&place) else { return };
    place.run(&format!("{FILL} --state-dir mine")).ok();
    place.shell("mkdir closed; chmod 555 closed; chmod 400 mine/small/*").ok();
    for (folder, said) in [
        ("closed", "closed/small: Permission denied"),
        ("mine", "mine/small/nvme0-ns1.img: Permission denied"),
    ] {
        let ran = nobody.run(&place, &format!("{FILL} --state-dir {folder}")).ends(5);
        ran.prints_nothing().complains(&[
            "error[P2P-PERM]",
            said,
            "--state-dir, or say --ephemeral",
        ]);
    }
    nobody.run(&place, &format!("{FILL} --ephemeral")).ok();
}
