use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Operand, OperandError> {
    Operand::parse(OsStr::new(text))
}

#[test]
fn every_form_is_read_and_printed() {
    for text in [
        "fabric:nvme0/ns1",
        "fabric:gpu0/mem",
        "fabric:nvme0/cmb",
        "fabric:nvme0/pmr",
        "fabric:gpu0/bar2",
        "0000:03:00.0/ns1",
        "0000:03:00.0/p2pmem",
        "10000:e1:00.7/bar5",
        "./file",
        "file",
        "/tmp/a:b",
        "./0000:03:00.0",
        "./nvme0",
        "data/mem",
        "-",
        "null:",
        "zero:",
        "pattern:seed=7",
    ] {
        assert_eq!(parse(text).unwrap().to_string(), text);
    }
    assert_eq!(parse("mem:64MiB").unwrap(), Operand::Memory { len: 64 << 20 });
    assert_eq!(parse("mem:1MB").unwrap(), Operand::Memory { len: 1_000_000 });
    assert_eq!(parse("03:00.0/ns2").unwrap().to_string(), "0000:03:00.0/ns2");
    assert_eq!(parse("pattern:").unwrap(), Operand::Pattern { seed: 0 });
}

/// What each slip is answered with, as far as it tells what was meant.
#[test]
fn slips_are_errors_with_a_suggestion_and_never_files() {
    for (text, meant) in [
        ("0000:03:00/ns1", "0000:03:00.0/ns1"),
        ("3:0.0/ns1", "0000:03:00.0/ns1"),
        ("0000:03:00:0", "0000:03:00.0"),
        ("03:00", "0000:03:00.0"),
        ("03:00.8", "./03:00.8"),
        ("0000:03:20.0/cmb", "./0000:03:20.0"),
        ("000000000:03:00.0", "./000000000:03"),
        ("12:30.log", "./12:30.log"),
        ("0000:0g:00.0", "./0000:0g:00.0"),
        ("fabrik:nvme0/ns1", "fabric:"),
        ("http://example.org/x", "./http:"),
        ("C:/data", "./C:"),
        ("mem:", "mem:64MiB"),
        ("mem:0", "mem:64MiB"),
        ("mem:64XB", "mem:64MiB"),
        ("null:x", "null:"),
        ("zero:0", "zero:"),
        ("pattern:7", "pattern:seed=7"),
        ("pattern:seed=-1", "pattern:seed=7"),
        ("fabric:", "fabric:nvme0/ns1"),
        ("fabric:/ns1", "fabric:nvme0/ns1"),
        ("fabric:nvme0", "fabric:nvme0/ns1"),
        ("fabric:nvme0/", "fabric:nvme0/ns1"),
        ("0000:03:00.0", "0000:03:00.0/ns1"),
        ("fabric:nvme0/n1", "fabric:nvme0/ns1"),
        ("fabric:nvme0/ns0", "fabric:nvme0/ns1"),
        ("fabric:nvme0/ns4294967295", "fabric:nvme0/ns1"),
        ("fabric:nvme0/cmbb", "fabric:nvme0/cmb"),
        ("fabric:nvme0/bar6", "fabric:nvme0/"),
        ("nvme0/ns1", "fabric:nvme0/ns1"),
        ("nvme0", "fabric:nvme0/ns1"),
        ("gpu0/mem", "fabric:gpu0/mem"),
        ("nvme0n1", "/dev/nvme0n1"),
        ("nvme0n1p2", "/dev/nvme0n1p2"),
        ("ng0n1", "/dev/ng0n1"),
        ("sda", "/dev/sda"),
        ("vdb1", "/dev/vdb1"),
        ("md0", "/dev/md0"),
        ("/dev/null", "null:"),
        ("/dev/zero", "zero:"),
        ("/dev/stdin", "-"),
        ("/dev/stdout", "-"),
        ("", "fabric:nvme0/ns1"),
    ] {
        let error = parse(text).expect_err(text);
        let remedy = error.remedy();
        assert!(remedy.contains(meant), "{text}: {error}; {remedy}");
    }
}

#[test]
fn what_is_not_text_is_a_file_unless_it_has_a_colon() {
    use std::os::unix::ffi::OsStrExt;
    let name = OsStr::from_bytes(b"caf\xe9");
    assert_eq!(Operand::parse(name).unwrap(), Operand::File(PathBuf::from(name)));
    assert!(Operand::parse(OsStr::from_bytes(b"caf\xe9:x")).is_err());
    let odd = OsStr::new("a\nb");
    assert_eq!(Operand::parse(odd).unwrap(), Operand::File(PathBuf::from(odd)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    /// Whatever it is, it is an operand or an error with a remedy; what has a colon before its first
    /// slash is never a file.
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,24}") {
        check(&text)?;
    }

    /// The same with texts that are nearly right.
    #[test]
    fn any_near_miss_is_read_or_refused(
        text in "(fabric|mem|pattern|0000|[0-9a-g]{1,5}|nvme0)?[:/.]?[0-9a-fx:./]{0,8}(/(ns|bar|cmb|p2p)?[0-9]{0,2})?"
    ) {
        check(&text)?;
    }
}

fn check(text: &str) -> Result<(), TestCaseError> {
    let colon = text.split('/').next().is_some_and(|head| head.contains(':'));
    match parse(text) {
        Ok(operand) => {
            prop_assert!(!(colon && matches!(operand, Operand::File(_))), "{text} is a file");
            let again = parse(&operand.to_string());
            prop_assert_eq!(again, Ok(operand));
        }
        Err(error) => prop_assert!(!error.remedy().is_empty() && !error.to_string().is_empty()),
    }
    Ok(())
}
