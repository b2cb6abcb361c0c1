//! Snapshots: the same as the machine, and whole or refused.

use p2pdma_linux::{Error, Failure, LiveTree, Snapshot, SnapshotProblem, Survey};
use p2pdma_pci::topology::Allowlist;
use proptest::prelude::*;

use crate::machine::{Entry, Machine};

fn text(snapshot: &Snapshot) -> String {
    let mut bytes = Vec::new();
    snapshot.write(&mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Captures, writes, parses and reads; the survey and the file.
fn through_a_file(machine: &Machine) -> (Survey, String) {
    let file = text(&Snapshot::capture(machine).unwrap());
    let snapshot = Snapshot::parse(file.as_bytes()).unwrap();
    assert_eq!(text(&snapshot), file);
    (Survey::read(&snapshot).unwrap(), file)
}

#[test]
fn a_snapshot_tells_what_the_machine_told() {
    let mut odd = Machine::switch(0x1d);
    let up = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0";
    odd.entries.insert(format!("{up}/config"), Entry::Fails(Failure::Denied));
    odd.entries.insert(format!("{up}/numa_node"), Entry::File(vec![0xff, 0x00, 0x10], None));
    odd.entries.insert(format!("{up}/enable"), Entry::Fails(Failure::Errno(5)));
    let amd = Machine::bare("AuthenticAMD", 25);
    for machine in
        [Machine::switch(0), Machine::switch(0x2c), Machine::switch(0).without_root(), odd, amd]
    {
        let (survey, file) = through_a_file(&machine);
        let live = machine.survey();
        assert_eq!(survey.notes, live.notes);
        assert!(survey.topology == live.topology && survey.system == live.system);
        assert!(survey.blocks == live.blocks);
        for (ours, theirs) in survey.functions.iter().zip(&live.functions) {
            assert!(ours == theirs, "{}", ours.bdf);
        }
        let again = Survey::from_capture(file.as_bytes(), Allowlist::kernel()).unwrap();
        assert!(again == survey);
    }
}

#[test]
fn what_vanished_is_captured_as_gone_and_not_by_halves() {
    let mut machine = Machine::switch(0);
    machine
        .restless
        .push("sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0/0000:02:01.0".to_owned());
    let (survey, file) = through_a_file(&machine);
    let nodes = |survey: &Survey| survey.topology.nodes().to_vec();
    assert_eq!(nodes(&survey), nodes(&machine.survey()));
    assert!(!file.contains("0000:02:01.0\",\"names"));
}

#[test]
fn what_was_not_asked_is_not_captured() {
    let machine = Machine::switch(0);
    let snapshot = Snapshot::capture(&machine).unwrap();
    use p2pdma_linux::Tree as _;
    assert_eq!(snapshot.read("etc/passwd", 10).unwrap_err(), Failure::NotCaptured);
    let absent = "sys/devices/pci0000:00/0000:00:01.0/p2pmem/size";
    assert_eq!(snapshot.read(absent, 10).unwrap_err(), Failure::Missing);
    let lines = snapshot.lines("boot/config-7.3.4-test", &["CONFIG_OTHER"]);
    assert_eq!(lines.unwrap_err(), Failure::NotCaptured);
}

#[test]
fn a_snapshot_that_is_cut_anywhere_is_refused() {
    let file = text(&Snapshot::capture(&Machine::switch(0x1d)).unwrap());
    // Its last line feed may be missing.
    for end in 0..file.len() - 1 {
        let error = Snapshot::parse(&file.as_bytes()[..end]).unwrap_err();
        assert!(error.line >= 1, "{end}");
    }
    assert!(Snapshot::parse(&file.as_bytes()[..file.len() - 1]).is_ok());
}

#[test]
fn lost_lines_other_versions_and_nonsense_are_refused() {
    let file = text(&Snapshot::capture(&Machine::switch(0)).unwrap());
    let problem = |text: &str| {
        let error = Snapshot::parse(text.as_bytes()).unwrap_err();
        (error.line, error.problem)
    };
    let other = file.replacen("\"p2pdma-snapshot\":1", "\"p2pdma-snapshot\":2", 1);
    assert_eq!(problem(&other), (1, SnapshotProblem::Version { found: 2 }));
    let error = Survey::from_capture(other.as_bytes(), Allowlist::kernel()).unwrap_err();
    assert!(error.to_string().contains("version 2, and this program reads version 1"), "{error}");
    assert_eq!(problem("{\"a\":1}\n"), (1, SnapshotProblem::NoSnapshot));
    let lines: Vec<&str> = file.lines().collect();
    for lost in 1..lines.len() - 1 {
        let mut fewer = lines.clone();
        fewer.remove(lost);
        assert!(Snapshot::parse(fewer.join("\n").as_bytes()).is_err(), "line {lost}");
    }
    let twice = format!("{}\n{}\n{}\n", lines[0], lines[1..3].join("\n"), lines[2..].join("\n"));
    assert!(matches!(problem(&twice).1, SnapshotProblem::Repeated { .. }));
    let after = format!("{file}{{\"folder\":\"x\"}}\n");
    assert!(matches!(problem(&after).1, SnapshotProblem::Senseless(_)));
    let unknown = file.replacen("\"text\"", "\"texts\"", 1);
    let (line, found) = problem(&unknown);
    assert!(line > 1 && found.to_string().contains("texts"), "{found}");
    assert!(!found.to_string().contains("line 1"), "{found}");
    let bytes = file.replacen("\"bytes\":4096", "\"bytes\":4000000000", 1);
    assert!(matches!(problem(&bytes).1, SnapshotProblem::Senseless(_)));
}

#[test]
fn files_are_whole_or_not_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("machine.snapshot");
    let snapshot = Snapshot::capture(&Machine::switch(0)).unwrap();
    snapshot.save(&path).unwrap();
    assert!(Snapshot::open(&path).unwrap() == snapshot);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let nowhere = folder.path().join("no/where");
    assert!(matches!(snapshot.save(&nowhere), Err(Error::File { what: "write", .. })));
    assert!(matches!(Snapshot::open(&nowhere), Err(Error::File { what: "read", .. })));
    let occupied = folder.path().join("folder");
    std::fs::create_dir(&occupied).unwrap();
    assert!(snapshot.save(&occupied).is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

/// The same machine in memory and as files in a folder.
#[test]
fn a_copied_tree_is_read_like_the_machine() {
    let machine = Machine::switch(0x1d);
    let folder = tempfile::tempdir().unwrap();
    for (path, entry) in &machine.entries {
        let place = folder.path().join(path);
        std::fs::create_dir_all(place.parent().unwrap()).unwrap();
        match entry {
            Entry::File(bytes, _) => std::fs::write(place, bytes).unwrap(),
            Entry::Link(target) => std::os::unix::fs::symlink(target, place).unwrap(),
            Entry::Fails(_) => {}
        }
    }
    let tree = LiveTree::below(folder.path()).unwrap();
    assert!(Survey::read(&tree).unwrap() == machine.survey());
    let [mine, theirs] = [Snapshot::capture(&tree), Snapshot::capture(&machine)];
    assert_eq!(text(&mine.unwrap()), text(&theirs.unwrap()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_file_is_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        drop(Snapshot::parse(&bytes));
        let mut with_header = b"{\"p2pdma-snapshot\":1}\n".to_vec();
        with_header.extend(&bytes);
        drop(Snapshot::parse(&with_header));
        let mut file = text(&Snapshot::capture(&Machine::switch(0)).unwrap()).into_bytes();
        for (place, value) in changes {
            let place = place.index(file.len());
            file[place] = value;
        }
        if let Ok(snapshot) = Snapshot::parse(&file) {
            drop(Survey::read(&snapshot));
        }
    }
}
