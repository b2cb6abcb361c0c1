use proptest::prelude::*;

use super::*;

const GOOD: &str = "\
[[allow]]
vendor = \"8086\"
device = 0x29c0
flags = [\"same-bridge-only\"]
since = \"6.2\"
until = \"7.3\"
source = \"seen\"

[[block]]
vendor = 0x1022
device = \"any\"
source = \"lost\"
";

fn message(text: &str) -> String {
    UserLists::parse(text, "l.toml").unwrap_err().to_string()
}

/// The message about the good text with one line replaced.
fn with(line: &str, instead: &str) -> String {
    assert!(GOOD.contains(line));
    message(&GOOD.replacen(line, instead, 1))
}

#[test]
fn entries_are_read_with_their_source() {
    let lists = UserLists::parse(GOOD, "l.toml").unwrap();
    let [allow] = &lists.allow[..] else { panic!("one entry") };
    assert_eq!((allow.vendor, allow.device, allow.same_bridge_only), (0x8086, Some(0x29c0), true));
    assert_eq!(allow.kernels.since, Some(KernelVersion { major: 6, minor: 2 }));
    assert_eq!(allow.source.to_string(), "user file l.toml:1 (seen)");
    let [block] = &lists.block[..] else { panic!("one entry") };
    assert_eq!((block.vendor, block.device, block.across_only), (0x1022, None, false));
    assert_eq!(block.source.to_string(), "user file l.toml:9 (lost)");
    assert_eq!(UserLists::parse("", "l.toml").unwrap(), UserLists::default());
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    assert_eq!(
        message("[[alow]]\n"),
        "l.toml:1:3: unknown key 'alow' in the list of host bridges; did you mean 'allow'?"
    );
    assert_eq!(
        with("until", "untill"),
        "l.toml:6:1: unknown key 'untill' in [[allow]]; did you mean 'until'?"
    );
    assert_eq!(with("source = \"lost\"\n", ""), "l.toml:9:1: [[block]] needs the key 'source'");
    assert_eq!(
        with("\"8086\"", "\"808\""),
        "l.toml:2:10: 'vendor' is \"808\": expected four hexadecimal digits such as \"8086\", \
         or a number such as 0x8086"
    );
    assert_eq!(
        with("\"8086\"", "\"ffff\""),
        "l.toml:2:10: 'vendor' is \"ffff\": expected a vendor: 0001 to fffe"
    );
    assert_eq!(with("0x29c0", "0x29c00"), "l.toml:3:10: 'device' is 0x29c00: expected 0 to 65535");
    assert_eq!(
        with("same-bridge-only", "across-only"),
        "l.toml:4:10: 'flags' is \"across-only\": expected \"same-bridge-only\""
    );
    for bad in ["7", "7.3.4", "+7.3", "7.03", "seven", ""] {
        assert_eq!(
            with("\"7.3\"", &format!("\"{bad}\"")),
            format!("l.toml:6:9: 'until' is \"{bad}\": expected a kernel version such as \"7.3\"")
        );
    }
    assert_eq!(with("\"7.3\"", "\"6.1\""), "l.toml:6:9: 'until' is an older kernel than 'since'");
    assert_eq!(
        with("\"seen\"", "\" \""),
        "l.toml:7:10: 'source' is \"\": expected where this is known from, in words"
    );
}

proptest! {
    #[test]
    fn any_text_is_a_list_or_an_error_with_a_place(
        at in 0..GOOD.len(), text in "[\\x00-\\x7f]{0,6}", skip in 0_usize..20
    ) {
        let end = (at + skip).min(GOOD.len());
        let changed = format!("{}{text}{}", &GOOD[..at], &GOOD[end..]);
        if let Err(error) = UserLists::parse(&changed, "l.toml") {
            prop_assert!(error.position.line <= changed.lines().count() + 1);
        }
    }
}
