//! No text makes the reader panic, and every error has a place in it.

use std::cell::Cell;

use p2pdma_pci::machine::{Machine, parse_size};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::EVERYTHING;

fn check(text: &str) -> Result<bool, TestCaseError> {
    match Machine::parse(text, "m.toml") {
        Ok(machine) => {
            prop_assert!(!machine.host_bridges.is_empty());
            Ok(true)
        }
        Err(error) => {
            let line = text.split('\n').nth(error.position.line - 1);
            let columns = line.map(|line| line.chars().count());
            prop_assert!(columns.is_some_and(|count| error.position.column <= count + 1));
            prop_assert!(error.to_string().starts_with("m.toml:"));
            Ok(false)
        }
    }
}

/// A change of a valid file: a piece of it, or of noise, put over another piece.
fn mutated() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        (0..EVERYTHING.len(), 0..40_usize).prop_map(|(at, len)| {
            let end = (at + len).min(EVERYTHING.len());
            EVERYTHING.get(at..end).unwrap_or_default().to_owned()
        }),
        "\\PC{0,8}",
        prop_oneof![
            Just("\"rp0\"".to_owned()),
            Just("\"sw0.0\"".to_owned()),
            Just("99999999999".to_owned()),
            Just("-1".to_owned()),
            Just("\"none\"".to_owned()),
            Just("[]".to_owned()),
            Just("{}".to_owned()),
            Just("\"16777215T\"".to_owned()),
            Just("\n".to_owned()),
        ],
    ];
    let change = (0..EVERYTHING.len(), 0..24_usize, pieces);
    proptest::collection::vec(change, 1..4).prop_map(|changes| {
        let mut text = EVERYTHING.to_owned();
        for (at, len, piece) in changes {
            let at = at.min(text.len());
            let end = (at + len).min(text.len());
            if text.is_char_boundary(at) && text.is_char_boundary(end) {
                text.replace_range(at..end, &piece);
            }
        }
        text
    })
}

/// One line of the file dropped, doubled, or swapped with another.
fn shuffled() -> impl Strategy<Value = String> {
    let lines = EVERYTHING.lines().count();
    (0..lines, 0..lines, 0..3_u8).prop_map(|(first, second, how)| {
        let mut lines: Vec<&str> = EVERYTHING.lines().collect();
        match how {
            0 => {
                lines.remove(first);
            }
            1 => lines.insert(second, lines[first]),
            _ => lines.swap(first, second),
        }
        lines.join("\n")
    })
}

#[test]
fn no_mutation_of_a_valid_file_panics() {
    let config = Config { failure_persistence: None, ..Config::with_cases(10_000) };
    let (right, wrong) = (Cell::new(0), Cell::new(0));
    let count = |text: &str| {
        let counter = if check(text)? { &right } else { &wrong };
        counter.set(counter.get() + 1);
        Ok(())
    };
    TestRunner::new(config.clone()).run(&mutated(), |text| count(&text)).unwrap();
    TestRunner::new(config).run(&shuffled(), |text| count(&text)).unwrap();
    println!("{} files accepted, {} refused with a place", right.get(), wrong.get());
    assert!(right.get() > 100 && wrong.get() > 10_000);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
        check(&text)?;
    }

    #[test]
    fn any_bytes_that_are_text_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn sizes_round_trip(bytes: u64) {
        prop_assert_eq!(parse_size(&bytes.to_string()), Ok(bytes));
        let kib = bytes >> 10;
        prop_assert_eq!(parse_size(&format!("{kib}k")), Ok(kib << 10));
        prop_assert_eq!(parse_size(&format!("{kib}KiB")), Ok(kib << 10));
    }

    #[test]
    fn any_size_is_read_or_refused(text in "\\PC{0,24}") {
        let _ = parse_size(&text);
    }
}
