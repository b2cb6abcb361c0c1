//! Signals in the middle of what takes long.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::schemas::Schemas;
use crate::support::{Place, Ran, noise};

/// A machine whose namespaces take minutes to copy, and nothing on the disk.
pub(crate) fn vast() -> Place {
    let place = Place::new();
    place.machine(
        "vast.toml",
        "default",
        &[("\"default\"", "\"vast\""), ("size = \"1G\"", "size = \"1T\"")],
    );
    place
}

/// A command under way.
pub(crate) struct Running {
    line: String,
    pub(crate) child: Child,
    stderr: BufReader<std::process::ChildStderr>,
}

impl Running {
    pub(crate) fn start(place: &Place, line: &str) -> Self {
        Self::of(line, place.command(line))
    }

    fn of(line: &str, mut command: std::process::Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { line: line.to_owned(), child, stderr }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line on standard error that has a text.
    pub(crate) fn until(mut self, text: &str) -> Self {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert!(self.stderr.read_line(&mut line).unwrap() > 0, "{}: no {text}", self.line);
        }
        self
    }

    /// Waits until the command would notice an interrupt (SIGINT, number 2).
    pub(crate) fn until_watching(self) -> Self {
        wait_for(|| {
            let path = format!("/proc/{}/status", self.pid());
            let status = std::fs::read_to_string(path).unwrap();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
            u64::from_str_radix(caught.trim(), 16).unwrap() & 1 << 1 != 0
        });
        self
    }

    pub(crate) fn signal(self, name: &str) -> Self {
        let pid = self.pid().to_string();
        let sent = std::process::Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(sent.success(), "{}: has ended", self.line);
        self
    }

    /// Waits for its end, reading both of its outputs meanwhile.
    pub(crate) fn end(self) -> Ran {
        let Self { line, child, stderr: mut rest } = self;
        let stderr = std::thread::spawn(move || {
            let mut stderr = Vec::new();
            rest.read_to_end(&mut stderr).map(|_| stderr)
        });
        let output = child.wait_with_output().unwrap();
        let stderr = stderr.join().unwrap().unwrap();
        Ran::of(&line, std::process::Output { stderr, ..output })
    }
}

pub(crate) fn wait_for(condition: impl Fn() -> bool) {
    while !condition() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_copy_that_is_interrupted_sums_up_what_it_did() {
    let place = vast();
    let schemas = Schemas::of(&place);
    let line = "--fabric vast.toml --progress json copy fabric:nvme0/ns1 fabric:nvme1/ns1";
    let ran = Running::start(&place, line).until("copying").signal("INT").end().ends(130);
    ran.prints(&[
        "interrupted   after ",
        " of 1099511627776 bytes (1 TiB) from fabric:nvme0/ns1",
        "peer to peer, via 0000:03:00.0/cmb",
        "host memory   0 bytes",
    ])
    .complains(&[
        "error: interrupted; the partial result is in fabric:nvme1/ns1: ",
        "from byte 0 on",
    ]);
    for signal in ["INT", "TERM", "HUP"] {
        let json = format!("{line} -o json");
        let document =
            Running::start(&place, &json).until("copying").signal(signal).end().ends(130).json();
        schemas.check(&document);
        assert_eq!(document["status"], "interrupted", "{signal}: {document}");
        assert_eq!(document["error"]["exit_status"], 130);
        assert_eq!(document["partial_result"], "fabric:nvme1/ns1");
        let complete = document["complete_bytes"].as_u64().unwrap();
        assert!(complete > 0 && complete < 1 << 40, "{document}");
    }
    // The next one has the machine to itself, and goes through.
    place
        .run("--fabric vast.toml copy fabric:nvme0/ns1 fabric:nvme1/ns1 --length 1M --verify")
        .ok();
}

#[test]
fn a_file_is_not_left_under_its_final_name() {
    let place = vast();
    place.write("in", noise(8 << 20, 1));
    place.run("--fabric vast.toml copy ./in fabric:nvme0/ns1").ok();
    let partials = || -> Vec<String> {
        place.names("").into_iter().filter(|name| name.ends_with(".partial")).collect()
    };
    for signal in ["INT", "TERM"] {
        let line = "--fabric vast.toml -o json copy fabric:nvme0/ns1 ./out";
        let running = Running::start(&place, line).until_watching();
        wait_for(|| partials().first().is_some_and(|name| place.cost(name) > 0));
        let ran = running.signal(signal).end().ends(130);
        let document = ran.json();
        let partial = document["partial_result"].as_str().unwrap().to_owned();
        ran.complains(&[&format!("interrupted; the partial result is {partial}: its first ")]);
        assert!(!place.has("out"));
        assert_eq!(partials(), [partial.trim_start_matches("./")]);
        // As many bytes as it says are right.
        let complete = usize::try_from(document["complete_bytes"].as_u64().unwrap()).unwrap();
        let both = complete.min(8 << 20);
        assert!(place.read(&partial)[..both] == place.read("in")[..both], "{signal}");
        std::fs::remove_file(place.path(partial)).unwrap();
    }
    place.run("--fabric vast.toml copy fabric:nvme0/ns1 ./out --length 8M").ok();
    assert!(place.read("out") == place.read("in"));
}

#[test]
fn verification_can_be_interrupted() {
    let place = Place::new();
    place.machine(
        "large.toml",
        "default",
        &[("\"default\"", "\"large\""), ("size = \"1G\"", "size = \"4G\"")],
    );
    let line = "--fabric large.toml --progress json -o json \
                copy fabric:nvme0/ns1 fabric:nvme1/ns1 --verify";
    let document =
        Running::start(&place, line).until("verifying").signal("INT").end().ends(130).json();
    assert_eq!((&document["status"], &document["verified"]), (&"interrupted".into(), &Value::Null));
    assert_eq!(document["complete_bytes"], 4_u64 << 30);
}

#[test]
fn bench_prints_the_rows_that_it_has() {
    let place = Place::new();
    let schemas = Schemas::of(&place);
    let line = "--progress json bench --bytes 1M --time 150ms";
    for format in ["json", "jsonl", "table", "csv"] {
        let running = Running::start(&place, &format!("{line} -o {format}"));
        let ran = running.until("measuring").signal("INT").end().ends(130);
        let ran = ran.complains(&["error: interrupted"]);
        match format {
            "json" => {
                let document = ran.json();
                schemas.check(&document);
                let rows = document["rows"].as_array().unwrap().len();
                assert!((1..9).contains(&rows), "{rows}");
                assert_eq!(document["error"]["code"], "INTERRUPTED");
            }
            "jsonl" => {
                let documents = schemas.check_lines(ran.text());
                assert!(documents.len() > 1);
                assert_eq!(documents.last().unwrap()["schema"], "p2pdma/error");
            }
            _ => assert!(ran.text().lines().count() >= 2, "{}", ran.text()),
        }
    }
    // While it fills the source, there are no rows yet.
    let ran =
        Running::start(&place, "bench --bytes 1G -o json").until_watching().signal("INT").end();
    let document = ran.ends(130).json();
    assert_eq!(document["rows"], serde_json::json!([]));
    let ran = Running::start(&place, "bench --bytes 1G").until_watching().signal("INT").end();
    ran.ends(130).prints_nothing();
}

#[test]
fn demo_can_be_interrupted() {
    let place = Place::new();
    let ran = Running::start(&place, "demo -o json").until_watching().signal("INT").end().ends(130);
    assert_eq!(ran.json_error()["code"], "INTERRUPTED");
}

/// Standard output that nobody reads: the first signal is noted, the second ends the command.
#[test]
fn the_second_signal_ends_what_does_not_get_on() {
    let place = Place::new().small();
    let line = "--fabric small.toml copy fabric:nvme0/ns1 -";
    let mut running = Running::start(&place, line).until_watching();
    running.child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let mut running = running.signal("INT");
    std::thread::sleep(Duration::from_millis(50));
    assert!(running.child.try_wait().unwrap().is_none());
    let mut running = running.signal("INT");
    assert_eq!(running.child.wait().unwrap().signal(), Some(2));

    // If somebody reads on, the first suffices.
    let mut running = Running::start(&place, line).until_watching();
    running.child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let ran = running.signal("INT").end().ends(130);
    assert!(ran.stdout.len() < 16 << 20, "{}", ran.stdout.len());
    ran.complains(&["error: interrupted; standard output got "]);
}

/// What was killed leaves a machine that can be opened again, with what it had before and as much of the
/// new as was written.
#[test]
fn a_kill_leaves_state_that_can_be_opened() {
    const LEN: usize = 32 << 20;
    let place = vast();
    let copy = "--fabric vast.toml copy";
    let mut torn = 0;
    for round in 1..=3_u64 {
        place.run(&format!("{copy} pattern:seed={round} fabric:nvme0/ns1 --length {LEN}")).ok();
        place.run(&format!("{copy} zero: fabric:nvme1/ns1 --length 512")).ok();
        let image = place.path("xdg/p2pdma/vast/nvme1-ns1.img");
        let before = start_of(&image, LEN);
        let line = format!("{copy} fabric:nvme0/ns1 fabric:nvme1/ns1 --block-size 4k");
        let running = Running::start(&place, &line).until_watching();
        wait_for(|| start_of(&image, 4096) != before[..4096]);
        let mut running = running;
        running.child.kill().unwrap();
        assert_eq!(running.child.wait().unwrap().signal(), Some(9));
        // Every block is the old one or the new one.
        let (source, after) =
            (start_of(&place.path("xdg/p2pdma/vast/nvme0-ns1.img"), LEN), start_of(&image, LEN));
        for at in (0..LEN).step_by(4096) {
            let block = at..at + 4096;
            let new = after[block.clone()] == source[block.clone()];
            assert!(new || after[block.clone()] == before[block], "the block at {at}");
            torn += usize::from(!new);
        }
        place
            .run(&format!("{copy} fabric:nvme0/ns1 fabric:nvme1/ns1 --length {LEN} --verify"))
            .ok();
        place.run(&format!("{copy} fabric:nvme1/ns1 pattern:seed={round} --length {LEN}")).ok();
    }
    println!("kills: 3, blocks that were not there yet: {torn}");
}

/// The first bytes of a file.
fn start_of(path: &std::path::Path, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    std::fs::File::open(path).unwrap().read_exact(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_guest_does_not_outlive_the_command() {
    let place = Place::new();
    place.shell("mkdir tmp").ok();
    let guests = || place.names("tmp").len();
    for signal in ["INT", "TERM"] {
        let mut command = place.command("lab run --topology no-cmb -v -- sleep 100");
        command.env("TMPDIR", place.path("tmp"));
        let running = Running::of("lab run", command).until("booting");
        assert_eq!(guests(), 1);
        let folder = place.path("tmp").join(&place.names("tmp")[0]);
        // QEMU starts right after the word, or never.
        let begin = std::time::Instant::now();
        wait_for(|| processes_in(&folder) == 1 || begin.elapsed() > Duration::from_secs(30));
        running.signal(signal).end().ends(130).complains(&["interrupted"]);
        assert_eq!((processes_in(&folder), guests()), (0, 0));
    }
}

/// How many processes run in a folder.
fn processes_in(folder: &std::path::Path) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let folders = all.filter_map(|entry| std::fs::read_link(entry.path().join("cwd")).ok());
    folders.filter(|at| at == folder).count()
}
