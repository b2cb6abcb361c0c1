//! Every status, and the bits around it.

use super::*;
use proptest::prelude::*;

#[test]
fn every_name_is_found_by_its_value() {
    let mut last = None;
    let mut count = 0;
    for status in Status::known() {
        assert!(last < Some(status), "{status} is out of order");
        let name = status.name().unwrap();
        assert_eq!(status.to_string(), name);
        let meaning = status.meaning().unwrap();
        assert!(meaning.ends_with('.') && !meaning.starts_with(' '), "{name}: {meaning}");
        last = Some(status);
        count += 1;
    }
    println!("status codes: {count}");
    // Figures 102, 103, 104, 106 and 107.
    assert_eq!(count, 52 + 58 + 37 + 9 + 7);
}

#[test]
fn exactly_the_known_ones_have_names() {
    let known: Vec<_> = Status::known().collect();
    for bits in 0..0x800 {
        let status = Status::from_bits(bits);
        assert_eq!(status.name().is_some(), known.contains(&status), "{bits:#x}");
    }
}

#[test]
fn values_as_nvme_cli_prints_them() {
    let cases = [
        (0x0002, "Invalid Field in Command"),
        (0x0080, "LBA Out of Range"),
        (0x0109, "Invalid Log Page"),
        (0x0180, "Conflicting Attributes"),
        (0x01BF, "Invalid Zone State Transition"),
        (0x0281, "Unrecovered Read Error"),
        (0x0371, "Command Aborted By Host"),
        (0x00C1, "Vendor Specific 0x0/0xc1"),
        (0x0017, "Reserved status 0x0/0x17"),
        (0x0700, "Reserved status 0x7/0x00"),
    ];
    for (bits, words) in cases {
        assert_eq!(Status::from_bits(bits).to_string(), words);
    }
}

#[test]
fn status_field_bits() {
    let field = CompletionStatus::from_bits(0xB205);
    assert_eq!(field.status().kind(), StatusCodeType::COMMAND_SPECIFIC);
    assert_eq!(field.status(), Status::INVALID_QUEUE_SIZE);
    assert!(field.phase() && field.dnr() && !field.m());
    assert_eq!(field.crd(), 3);
    assert_eq!(field.to_string(), "Invalid Queue Size, CRD 3, DNR");
    assert_eq!(CompletionStatus::new().to_string(), "Successful Completion");
    let more = CompletionStatus::new().with_status(Status::INTERNAL_ERROR).with_m(true);
    assert_eq!(more.into_bits(), 0x400C);
    assert_eq!(more.to_string(), "Internal Error, More");
}

proptest! {
    #[test]
    fn type_and_code_survive(kind in 0_u8..8, code: u8) {
        let status = Status::new(StatusCodeType::from_bits(kind), code);
        prop_assert_eq!((status.kind().into_bits(), status.code()), (kind, code));
        prop_assert_eq!(Status::from_bits(status.into_bits()), status);
        prop_assert_eq!(status.is_success(), (kind, code) == (0, 0));
    }

    #[test]
    fn the_field_around_the_status_survives(bits: u16) {
        let field = CompletionStatus::from_bits(bits);
        let rebuilt = CompletionStatus::new()
            .with_phase(field.phase())
            .with_status(field.status())
            .with_crd(field.crd())
            .with_m(field.m())
            .with_dnr(field.dnr());
        prop_assert_eq!(rebuilt.into_bits(), bits);
        prop_assert!(!field.to_string().is_empty());
    }
}
