//! Trees that no Linux shows, or shows for a moment only: read as far as they go, and noted.

use p2pdma_linux::{Error, Failure, NoteKind, Survey};
use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{Cause, Known};
use proptest::prelude::*;

use crate::machine::{Entry, Machine};
use crate::registers::Registers;

const UP: &str = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0";

fn at(text: &str) -> Bdf {
    text.parse().unwrap()
}

/// The functions that are left.
fn left(survey: &Survey) -> Vec<String> {
    survey.topology.nodes().iter().map(|node| node.bdf.to_string()).collect()
}

#[test]
fn what_vanishes_while_it_is_read_is_left_out_with_all_below_it() {
    let gone = |change: &dyn Fn(&mut Machine)| {
        let mut machine = Machine::switch(0);
        change(&mut machine);
        let survey = machine.survey();
        assert_eq!(left(&survey).len(), 5, "{:?}", survey.notes);
        let bdf = at("0000:02:01.0");
        let vanished =
            |note: &NoteKind| matches!(note, NoteKind::Vanished { bdf: own, .. } if *own == bdf);
        assert!(survey.notes.iter().any(|note| vanished(&note.kind)), "{:?}", survey.notes);
        let orphan = NoteKind::Orphan { bdf: at("0000:04:00.0"), bridge: bdf };
        assert!(survey.notes.iter().any(|note| note.kind == orphan), "{:?}", survey.notes);
    };
    let port = format!("{UP}/0000:02:01.0");
    // Another device took the address between the first and the last look.
    gone(&|machine| machine.restless.push(port.clone()));
    for (name, failure) in
        [("vendor", Failure::Missing), ("class", Failure::Gone), ("config", Failure::Gone)]
    {
        gone(&|machine| {
            machine.entries.insert(format!("{port}/{name}"), Entry::Fails(failure));
        });
    }
    gone(&|machine| {
        let link = "sys/bus/pci/devices/0000:02:01.0".to_owned();
        machine.entries.insert(link, Entry::Fails(Failure::Gone));
    });
}

#[test]
fn attributes_that_say_nothing_make_unknowns() {
    let port = format!("{UP}/0000:02:01.0");
    let ssd = format!("{UP}/0000:02:00.0/0000:03:00.0");
    let odd: [&[u8]; 5] = [b"", b"\n", &[0xff, 0xfe], &[b'1'; 5000], b"what?\n"];
    for text in odd {
        let mut machine = Machine::switch(0);
        for path in
            ["enable", "numa_node", "revision", "resource", "p2pmem/size", "p2pmem/published"]
        {
            let entry = Entry::File(text.to_vec(), None);
            machine.entries.insert(format!("{ssd}/{path}"), entry);
        }
        let survey = machine.survey();
        let function = survey.find(at("0000:03:00.0")).unwrap();
        assert_eq!(function.enabled, Known::Unknown(Cause::Unreadable));
        assert_eq!(function.numa_node, Known::Unknown(Cause::Unreadable));
        let pool = function.pool.value().unwrap().unwrap();
        assert_eq!(pool.size, Known::Unknown(Cause::Unreadable));
        assert_eq!(pool.published, Known::Unknown(Cause::Unreadable));
        // Registers say it too.
        assert_eq!(function.revision, Known::Value(0));
        // What a function cannot be without leaves it out.
        let mut machine = Machine::switch(0);
        machine.entries.insert(format!("{port}/class"), Entry::File(text.to_vec(), None));
        let survey = machine.survey();
        assert_eq!(left(&survey).len(), 5);
        let left_out = |note: &NoteKind| matches!(note, NoteKind::LeftOut { .. });
        assert!(survey.notes.iter().any(|note| left_out(&note.kind)));
    }
}

#[test]
fn names_and_links_that_are_none_are_noted() {
    let mut machine = Machine::switch(0);
    for name in ["0000:00:20.0", "00:02.0", "0000:05:00.0x", "ABCD:00:00.0"] {
        machine.link(&format!("sys/bus/pci/devices/{name}"), "../../../devices/pci0000:00/x");
    }
    machine.link("sys/bus/pci/devices/0000:05:00.0", "../../../../../..");
    machine.link("sys/bus/pci/devices/0000:06:00.0", "../../../devices/pci0000:00/0000:07:00.0");
    machine.text("sys/bus/pci/devices/0000:08:00.0", "no link");
    let survey = machine.survey();
    assert_eq!(left(&survey).len(), 7);
    assert_eq!(survey.notes.len(), 7, "{:#?}", survey.notes);
}

#[test]
fn a_bridge_of_another_domain_holds_nothing() {
    let mut machine = Machine::switch(0);
    let registers = Registers::new([1, 2], 0, 256);
    machine.function("sys/devices/pci0000:00/0000:00:01.0", "0001:00:02.0", &registers);
    machine.function("sys/devices/pci0000:00", "0002:00:02.0", &registers);
    // Below what is no bridge.
    machine.function(&format!("{UP}/0000:02:00.0/0000:03:00.0"), "0000:05:00.0", &registers);
    let survey = machine.survey();
    assert_eq!((left(&survey).len(), survey.notes.len()), (7, 3), "{:#?}", survey.notes);
}

#[test]
fn no_root_of_a_system_is_an_error() {
    let error = Survey::read(&Machine::default()).unwrap_err();
    assert!(matches!(error, Error::NoSystem { path: "sys/bus", .. }), "{error}");
    let mut machine = Machine::bare("GenuineIntel", 6);
    let denied = Entry::Fails(Failure::Denied);
    machine.entries.insert("sys/bus/pci/devices".to_owned(), denied);
    let error = Survey::read(&machine).unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
}

#[test]
fn what_was_denied_needs_root() {
    let mut machine = Machine::switch(0);
    let config = format!("{UP}/0000:02:01.0/config");
    machine.entries.insert(config, Entry::Fails(Failure::Denied));
    let survey = machine.survey();
    let node = survey.topology.node(survey.topology.find(at("0000:02:01.0")).unwrap());
    assert_eq!(node.acs.cause(), Some(Cause::NeedsRoot));
    // Something is below it: it is a bridge all the same.
    assert!(node.kind.is_bridge());
}

#[test]
fn a_function_that_does_not_answer_says_nothing() {
    let mut machine = Machine::switch(0);
    let config = format!("{UP}/0000:02:01.0/config");
    machine.entries.insert(config, Entry::File(vec![0xff; 4096], None));
    let survey = machine.survey();
    let node = survey.topology.node(survey.topology.find(at("0000:02:01.0")).unwrap());
    assert_eq!(node.acs.cause(), Some(Cause::Unreadable));
    assert_eq!(survey.notes.len(), 1);
    let [first, second] = ["0000:03:00.0", "0000:04:00.0"].map(at);
    assert_eq!(survey.topology.explain(second, first).map_type, None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever is in the files, and whichever of them fail: no panic, and what is left is a tree.
    #[test]
    fn whatever_a_tree_holds_is_read(
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![
                prop::collection::vec(any::<u8>(), 0..80).prop_map(|bytes| Entry::File(bytes, None)),
                prop::sample::select(vec![
                    "", "0\n", "-1\n", "0xffffffff\n", "18446744073709551615\n", "259:0\n", "pcie\n",
                ]).prop_map(|text| Entry::File(text.as_bytes().to_vec(), None)),
                "[a-z0-9:./]{0,40}".prop_map(Entry::Link),
                prop::sample::select(vec![
                    Failure::Missing, Failure::Gone, Failure::Denied, Failure::Errno(5),
                ]).prop_map(Entry::Fails),
            ]), 0..12),
        registers in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..4096, any::<u8>()), 0..40),
    ) {
        let mut machine = Machine::switch(0x1d);
        let paths: Vec<String> = machine.entries.keys().cloned().collect();
        let configs: Vec<&String> = paths.iter().filter(|path| path.ends_with("/config")).collect();
        for (config, place, value) in registers {
            let Some(Entry::File(bytes, _)) = machine.entries.get_mut(config.get(&configs).as_str())
            else { continue };
            if let Some(byte) = bytes.get_mut(place) {
                *byte = value;
            }
        }
        for (path, entry) in changes {
            machine.entries.insert(path.get(&paths).clone(), entry);
        }
        if let Ok(survey) = Survey::read(&machine) {
            prop_assert!(survey.functions.len() == survey.topology.nodes().len());
            for (function, node) in survey.functions.iter().zip(survey.topology.nodes()) {
                prop_assert_eq!(function.bdf, node.bdf);
            }
            for device in survey.blocks.devices.value().into_iter().flatten() {
                prop_assert!(survey.blocks.stack(&device.name, survey.system.kernel).is_some());
            }
        }
    }
}
