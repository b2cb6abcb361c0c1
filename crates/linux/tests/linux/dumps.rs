//! The text of `lspci`.

use p2pdma_linux::{Error, NoteKind, Survey, lspci};
use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{Allowlist, Cause, Known, MapType};
use proptest::prelude::*;

use crate::machine::{Entry, Machine};

fn read(text: &str) -> Result<Survey, Error> {
    Survey::from_capture(text.as_bytes(), Allowlist::kernel())
}

fn at(text: &str) -> Bdf {
    text.parse().unwrap()
}

#[test]
fn a_dump_tells_the_same_tree_as_the_machine() {
    for acs in [0, 0x1d] {
        let machine = Machine::switch(acs);
        let (survey, dump) = (machine.survey(), read(&machine.dump()).unwrap());
        assert_eq!(dump.notes, []);
        for (ours, theirs) in survey.topology.nodes().iter().zip(dump.topology.nodes()) {
            let facts = |node: &p2pdma_pci::topology::Node| {
                (node.bdf, node.kind, node.upstream, node.id, node.class, node.link, node.buses)
            };
            assert_eq!(facts(ours), facts(theirs));
            assert_eq!(ours.acs, theirs.acs);
        }
        // The processor and the kernel are not in a dump.
        let verdict = dump.topology.explain(at("04:00.0"), at("03:00.0"));
        let expected = if acs == 0 { Some(MapType::BusAddress) } else { None };
        assert_eq!(verdict.map_type, expected, "{:?}", verdict.gaps);
        assert_eq!(dump.system.cpu, Known::Unknown(Cause::NotCaptured));
        assert_eq!(dump.functions[0].pool, Known::Unknown(Cause::NotCaptured));
    }
}

#[test]
fn a_dump_of_256_bytes_takes_acs_from_the_verbose_lines() {
    let mut machine = Machine::switch(0x1d);
    for (path, entry) in &mut machine.entries {
        if let Entry::File(bytes, _) = entry
            && path.ends_with("/config")
        {
            bytes.truncate(256);
        }
    }
    let plain = machine.dump();
    let survey = read(&plain).unwrap();
    let acs = |survey: &Survey, bdf| {
        survey.topology.node(survey.topology.find(at(bdf)).unwrap()).acs.clone()
    };
    assert_eq!(acs(&survey, "02:00.0"), Known::Unknown(Cause::NotCaptured));
    let verbose = "A device: of some maker\n\tControl: I/O- Mem+ BusMaster+\n\
                   \tCapabilities: [100 v1] Access Control Services\n\
                   \t\tACSCap:\tSrcValid+ TransBlk+ ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans+\n\
                   \t\tACSCtl:\tSrcValid+ TransBlk- ReqRedir+ CmpltRedir+ UpstreamFwd+ EgressCtrl- DirectTrans-\n\
                   \tKernel driver in use: pcieport\n";
    let text =
        plain.replace("0000:02:00.0 A device: of some maker\n", &format!("02:00.0 {verbose}"));
    let survey = read(&text).unwrap();
    let known = acs(&survey, "02:00.0");
    let known = known.value().unwrap().as_ref().unwrap();
    assert_eq!((known.control.into_bits(), known.offset), (0x1d, Some(0x100)));
    assert_eq!(survey.find(at("02:00.0")).unwrap().driver, Known::Value(Some("pcieport".into())));
    // A dump without root says so itself.
    let denied = text.replace("[100 v1] Access Control Services", "<access denied>");
    let survey = read(&denied).unwrap();
    assert_eq!(acs(&survey, "02:00.0"), Known::Unknown(Cause::NeedsRoot));
}

/// The same wherever the text ends: what is there is read, and the end is noted.
#[test]
fn a_dump_that_is_cut_anywhere_is_read_as_far_as_it_goes() {
    let machine = Machine::switch(0x1d);
    let whole = machine.dump();
    let survey = read(&whole).unwrap();
    // Short ones are cut at every byte, of the long ones around the ends of lines.
    let ends = (0..whole.len()).filter(|end| {
        let near = whole.get(end.saturating_sub(2)..(end + 2).min(whole.len()));
        *end < 4000 || near.is_some_and(|near| near.contains("\n\n")) || end % 997 == 0
    });
    let (mut read_whole, mut errors) = (0, 0);
    for end in ends {
        match read(&whole[..end]) {
            Ok(part) => {
                read_whole += 1;
                for node in part.topology.nodes() {
                    let id = survey.topology.find(node.bdf).unwrap();
                    let real = survey.topology.node(id);
                    let known = node.acs.cause().is_some() || node.acs == real.acs;
                    assert!(known, "{end}: {node:?}");
                }
            }
            // Nothing that is of any use is there yet.
            Err(error) => {
                errors += 1;
                assert!(end < 150 || !error.to_string().is_empty(), "{end}: {error}");
            }
        }
    }
    assert!(read_whole > 3000 && errors < 200, "{read_whole} {errors}");
    let cut = read(&whole[..whole.len() - 200]).unwrap();
    assert!(cut.notes.iter().any(|note| matches!(note.kind, NoteKind::Cut { .. })));
}

#[test]
fn a_dump_that_is_spoilt_in_its_middle_is_an_error_with_the_line() {
    let dump = Machine::switch(0).dump();
    let line = |text: &str| match read(text).unwrap_err() {
        Error::Lspci(error) => (error.line, error.problem.to_string()),
        other => panic!("{other}"),
    };
    let bad = dump.replacen("\n10:", "\n1z:", 1);
    let missing = dump.replacen("\n10: 00", "\nx: 00", 1);
    assert!(line(&bad).0 < 8 && line(&missing).0 < 8);
    let (number, problem) = line(&format!("{dump}{dump}"));
    assert!(number > 100 && problem.contains("twice: see line 1"), "{number} {problem}");
    let digits = dump.replacen("00: 86 80", "00: 8g 80", 1);
    assert_eq!(line(&digits).0, 2);
    let headings: String = dump
        .lines()
        .filter(|line| line.contains("maker"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(line(&headings).1.contains("no registers"), "{headings}");
    assert!(matches!(read("what?").unwrap_err(), Error::NoCapture { .. }));
    assert!(matches!(read("").unwrap_err(), Error::NoCapture { .. }));
}

#[test]
fn functions_without_their_bridge_are_left_out() {
    let dump = Machine::switch(0).dump();
    // Single functions, as lspci -s prints them.
    let single: String = dump
        .split("\n\n")
        .filter(|part| part.contains("04:00.0") || part.contains("00:00.0 "))
        .map(|part| format!("{part}\n\n"))
        .collect();
    let survey = read(&single).unwrap();
    assert!(survey.topology.find(at("04:00.0")).is_none());
    assert!(survey.notes.iter().any(|note| note.to_string().contains("no bridge")));
    // Two bridges that lead to one bus: neither can be the right one.
    let mut machine = Machine::switch(0);
    for (path, entry) in &mut machine.entries {
        if let Entry::File(bytes, _) = entry
            && path.ends_with("0000:02:01.0/config")
        {
            bytes[0x18..0x1b].copy_from_slice(&[2, 3, 3]);
        }
    }
    let survey = read(&machine.dump()).unwrap();
    assert!(survey.topology.find(at("03:00.0")).is_none());
    assert!(survey.notes.iter().any(|note| note.to_string().contains("two bridges")));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever the text is, it is read or refused, and never a panic.
    #[test]
    fn any_text_is_read_or_refused(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..24),
    ) {
        drop(lspci::read(&bytes, Allowlist::kernel()));
        drop(Survey::from_capture(&bytes, Allowlist::kernel()));
        let mut dump = Machine::switch(0x1d).dump().into_bytes();
        for (place, value) in changes {
            let place = place.index(dump.len());
            dump[place] = value;
        }
        drop(lspci::read(&dump, Allowlist::kernel()));
    }

    /// Registers as they please: bus numbers that contradict one another, lists that loop.
    #[test]
    fn any_registers_are_placed_or_left_out(
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop::sample::select(
                vec![0x00_usize, 0x0e, 0x18, 0x19, 0x1a, 0x34, 0x41, 0x42, 0x103]), any::<u8>()),
            1..12),
    ) {
        let mut machine = Machine::switch(0x1d);
        let mut configs: Vec<&mut Vec<u8>> = Vec::new();
        for (path, entry) in &mut machine.entries {
            if let Entry::File(bytes, _) = entry && path.ends_with("/config") {
                configs.push(bytes);
            }
        }
        for (function, at, value) in changes {
            let function = function.index(configs.len());
            if let Some(byte) = configs[function].get_mut(at) {
                *byte = value;
            }
        }
        let count = configs.len();
        let survey = read(&machine.dump()).unwrap();
        let told = survey.topology.nodes().len() + survey.notes.len();
        prop_assert!(told >= count, "{told} of {count}");
    }
}
