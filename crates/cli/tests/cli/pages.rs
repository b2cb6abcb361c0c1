//! Help, manual pages and completions: all made from one definition, and complete.

use crate::support::Place;

const COMMANDS: [&str; 12] = [
    "demo",
    "copy",
    "topo",
    "doctor",
    "explain",
    "probe",
    "bench",
    "bind",
    "lab",
    "schema",
    "completions",
    "man",
];
/// Commands of a command.
const NESTED: [&str; 6] =
    ["lab run", "lab shell", "lab list", "bind status", "bind take", "bind give"];

/// The long options of a help text, each with what is said about it.
fn options(help: &str) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for line in help.lines() {
        let text = line.trim();
        if text.starts_with('-') && line.starts_with("  ") && !text.starts_with("- ") {
            let name = text.split([' ', ',', '.']).find(|word| word.starts_with("--")).unwrap();
            found.push((name.to_owned(), String::new()));
        } else if let Some((_, said)) = found.last_mut()
            && line.starts_with("          ")
        {
            said.push_str(text);
        }
    }
    found
}

#[test]
fn help_describes_every_option() {
    let place = Place::new();
    let mut described = 0;
    for command in COMMANDS.iter().chain(&NESTED).chain(&[""]) {
        let long = place.run(&format!("{command} --help")).ok();
        let short = place.run(&format!("{command} -h")).ok();
        let options = options(long.text());
        assert!(options.len() >= 9, "{command}: {options:?}");
        for (name, said) in &options {
            assert!(said.len() > 5, "{command}: {name} is not described");
            assert!(short.text().contains(name.as_str()), "{command} -h has no {name}");
        }
        described += options.len();
        // Global options are everywhere, and nothing is wider than a terminal of 100 columns.
        for global in [
            "--output",
            "--color",
            "--progress",
            "--platform",
            "--fabric",
            "--iommu",
            "--verbose",
            "--quiet",
        ] {
            assert!(options.iter().any(|(name, _)| name == global), "{command}: {global}");
        }
        for line in long.text().lines().chain(short.text().lines()) {
            assert!(line.chars().count() <= 100, "{command}: {line}");
        }
    }
    let none = place.run("").ends(2).prints_nothing();
    none.complains(&["Usage: p2pdma [OPTIONS] <COMMAND>", "Exit status:"]);
    println!("options: {described}");
}

#[test]
fn the_help_of_the_whole_lists_commands_statuses_and_variables() {
    let place = Place::new();
    let help = place.run("--help").ok();
    for command in COMMANDS {
        let line = help.text().lines().find(|line| line.trim().starts_with(&format!("{command} ")));
        assert!(line.is_some_and(|line| line.split_whitespace().count() > 3), "{command}");
    }
    let help = help.prints(&[
        "Exit status:",
        "[env: P2PDMA_FABRIC]",
        "[env: P2PDMA_OUTPUT]",
        "[env: P2PDMA_PLATFORM]",
    ]);
    for status in [0, 1, 2, 3, 4, 5, 6, 130] {
        assert!(help.text().lines().any(|line| line.trim().starts_with(&format!("{status}  "))));
    }
    place.run("bench --help").ok().prints(&["Modelled figures are by the fabric's clock"]);
    let copy = place.run("copy --help").ok().prints(&["peer to peer, or it is refused"]);
    copy.prints(&[
        "[env: P2PDMA_STATE]",
        "fabric:nvme0/ns1",
        "pattern:seed=7",
        "padded with zeroes",
    ]);
    assert!(place.run("--version").ok().text().starts_with("p2pdma 0."));
}

#[test]
fn completions_know_every_command_and_option() {
    let place = Place::new();
    let shells = ["bash", "elvish", "fish", "powershell", "zsh"];
    for shell in shells {
        let script = place.run(&format!("completions {shell}")).ok();
        for command in COMMANDS {
            assert!(script.text().contains(command), "{shell}: {command}");
        }
        for option in [
            "queue-depth",
            "src-offset",
            "state-dir",
            "dry-run",
            "fabric",
            "iommu",
            "matrix",
            "rounds",
        ] {
            assert!(script.text().contains(option), "{shell}: {option}");
        }
        for value in ["require", "passthrough", "jsonl"] {
            // Scripts for the other two complete no values.
            let completes = !["elvish", "powershell"].contains(&shell);
            assert!(!completes || script.text().contains(value), "{shell}: {value}");
        }
    }
    // The shell that is here reads its script.
    let script = "command -v bash > /dev/null || exit 0
        \"$P\" completions bash > script && bash -n script &&
        bash -c '. ./script; COMP_WORDS=(p2pdma topo --ma); COMP_CWORD=2
                 _p2pdma p2pdma --ma topo; echo \"${COMPREPLY[@]}\"'";
    let ran = place.shell(script).ok();
    assert!(ran.stdout.is_empty() || ran.text() == "--matrix\n", "{}", ran.text());
    println!("shells: {}", shells.len());
}

#[test]
fn manual_pages_are_rendered_for_every_command() {
    let place = Place::new();
    let page = place.run("man").ok().prints(&[".TH p2pdma 1", ".SH NAME", ".SH OPTIONS"]);
    for command in COMMANDS {
        assert!(page.text().contains(&format!("p2pdma\\-{command}(1)")), "{command}");
    }
    place.shell("mkdir pages").ok();
    place.run("man --out pages").ok().prints_nothing();
    let all = COMMANDS.iter().chain(&NESTED);
    let mut expected: Vec<String> =
        all.map(|command| format!("p2pdma-{}.1", command.replace(' ', "-"))).collect();
    expected.push("p2pdma.1".to_owned());
    expected.sort();
    assert_eq!(place.names("pages"), expected);
    for name in &expected {
        let text = String::from_utf8(place.read(&format!("pages/{name}"))).unwrap();
        let whole = name.trim_end_matches(".1");
        assert!(text.contains(&format!(".TH {whole} 1")), "{name}");
        for part in [
            ".SH SYNOPSIS",
            "\\-\\-fabric",
            ".SH \"EXIT STATUS\"",
            "refused for safety",
            ".SH ENVIRONMENT",
            "P2PDMA_STATE",
        ] {
            assert!(text.contains(part), "{name}: {part}");
        }
        // The usage line is that of the command as it is typed.
        let typed = whole.replace('-', " ");
        assert!(
            text.contains(&format!("\\fB{}\\fR", typed.replace('-', "\\-"))),
            "{name}:\n{text}"
        );
    }
    assert_eq!(String::from_utf8(place.read("pages/p2pdma.1")).unwrap(), page.text());
    let copy = String::from_utf8(place.read("pages/p2pdma-copy.1")).unwrap();
    assert!(copy.contains(".SH OPERANDS") && copy.contains("pattern:seed=7"), "{copy}");
    // A formatter finds nothing to complain about.
    let groff = "command -v groff > /dev/null || exit 0; groff -man -Tutf8 -ww pages/* > /dev/null";
    assert_eq!(place.shell(groff).ok().stderr, "");
    place.run("man --out ./none").ends(1).complains(&["./none/p2pdma.1: No such file"]);
    println!("pages: {}", expected.len());
}
