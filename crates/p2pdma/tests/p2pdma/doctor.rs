//! The doctor on captures: what of a machine concerns a pair, and what does not.

use std::path::Path;

use p2pdma::doctor::{self, Finding, Lending, Level, PairFindings};
use p2pdma::linux::Survey;
use p2pdma::lists::UserLists;
use p2pdma::topology::{Allowlist, Hazard, NodeId, ReasonCode, Verdict};

/// A capture's text: of a preset, or of a real kernel in QEMU.
fn text(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).unwrap()
}

fn preset() -> String {
    text("topologies/captures/default.snapshot")
}

/// SSDs below switches and root ports; the processor is a Zen, and the IOMMU translates.
fn zen() -> String {
    text("crates/lab/tests/oracle/records/zen-translating.snapshot")
}

fn survey(text: &str) -> Survey {
    Survey::from_capture(text.as_bytes(), Allowlist::kernel()).unwrap()
}

fn changed(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from}");
    text.replace(from, to)
}

/// A function by its name or address.
fn id(survey: &Survey, name: &str) -> NodeId {
    let is = |id: &NodeId| {
        let node = survey.topology.node(*id);
        node.name.as_deref() == Some(name) || node.bdf.to_string() == name
    };
    survey.topology.ids().find(is).unwrap()
}

fn pair(survey: &Survey, client: &str, provider: &str) -> (Verdict, PairFindings) {
    let topology = &survey.topology;
    let [client, provider] = [client, provider].map(|name| topology.node(id(survey, name)).bdf);
    let verdict = topology.explain(client, provider);
    let found = doctor::pair(topology, Some(survey), &verdict);
    (verdict, found)
}

fn obstacle(survey: &Survey, client: &str, provider: &str) -> Option<ReasonCode> {
    pair(survey, client, provider).1.obstacle.map(|obstacle| obstacle.code)
}

fn lending(survey: &Survey, name: &str) -> Lending {
    doctor::lending(&survey.topology, Some(survey), id(survey, name))
}

fn hindering(findings: &[Finding]) -> Vec<ReasonCode> {
    let hinders = findings.iter().filter(|found| found.level == Level::Hinders);
    hinders.filter_map(|found| found.code).collect()
}

/// The kernel that was recorded lost the data of the first pair, and those of the second were right.
#[test]
fn a_hazard_is_the_pairs_and_not_the_machines() {
    let survey = survey(&zen());
    let (verdict, lost) = pair(&survey, "nvme3", "nvme0");
    assert_eq!(lost.obstacle.as_ref().unwrap().code, ReasonCode::DataLost);
    let remedy = lost.remedy(ReasonCode::DataLost, &verdict).unwrap();
    assert!(remedy.contains("iommu=pt"), "{remedy}");
    let (_, right) = pair(&survey, "nvme3", "nvme4");
    assert_eq!((&right.obstacle, hindering(&right.findings)), (&None, vec![]));
    // The machine as a whole is told.
    let whole = doctor::system(&survey.topology, Some(&survey));
    assert_eq!(hindering(&whole), [ReasonCode::DataLost]);
}

#[test]
fn a_remedy_is_that_of_its_code() {
    let survey = survey(&zen());
    let (verdict, found) = pair(&survey, "nvme3", "nvme2");
    assert_eq!(found.obstacle.as_ref().unwrap().code, ReasonCode::CmbAlign);
    assert_eq!(found.lending, Lending::Withheld(ReasonCode::CmbAlign));
    let remedy = found.remedy(ReasonCode::CmbAlign, &verdict).unwrap();
    assert!(remedy.contains("firmware") && !remedy.contains("iommu"), "{remedy}");
    assert_eq!(found.remedy(ReasonCode::KernelConfig, &verdict), None);
}

/// The chipsets that QEMU emulates are also those of real boards, and it emulates more than one.
#[test]
fn qemu_is_told_from_the_boards_that_it_emulates() {
    let qemu = zen();
    let older = changed(&qemu, "0x29c0", "0x1237");
    assert!(survey(&older).topology.host().qemu);
    let board = changed(&changed(&qemu, "0x1af4", "0x1043"), "0x1b36", "0x8086");
    let board = survey(&board);
    assert!(!board.topology.host().qemu);
    let (verdict, found) = pair(&board, "nvme3", "nvme0");
    assert!(verdict.hazards.contains(&Hazard::IommuBypassed), "{:?}", verdict.hazards);
    assert_eq!((found.obstacle, verdict.loses_data()), (None, false));
    // The software fabric turns requests where they turn, although its parts have QEMU's identifiers.
    let fabric = survey(&text("topologies/captures/iommu-open.snapshot"));
    assert_eq!(obstacle(&fabric, "nvme1", "nvme0"), None);
}

/// Each way in which memory is not to be had.
#[test]
fn memory_that_is_not_lent_has_a_reason() {
    let whole = preset();
    assert_eq!(lending(&survey(&whole), "nvme0"), Lending::Lent);
    assert_eq!(lending(&survey(&whole), "nvme1"), Lending::Nothing);
    let full = changed(&whole, r#"available","text":"67108864"#, r#"available","text":"0"#);
    let full = survey(&full);
    assert_eq!(lending(&full, "nvme0"), Lending::Withheld(ReasonCode::PoolEmpty));
    assert_eq!(obstacle(&full, "nvme1", "nvme0"), Some(ReasonCode::PoolEmpty));
    let kept = changed(&whole, r#"published","text":"1"#, r#"published","text":"0"#);
    let kept = survey(&kept);
    let found = doctor::lender(&kept.topology, Some(&kept), id(&kept, "nvme0"));
    assert!(found.iter().any(|found| found.text.contains("not published")), "{found:?}");
    assert_eq!(lending(&survey(&zen()), "nvme2"), Lending::Withheld(ReasonCode::CmbAlign));
}

/// A BAR that looks like memory: a path, and nothing for the kernel at its end.
#[test]
fn memory_that_no_driver_lends_is_not_had() {
    let survey = survey(&text("topologies/captures/eight-ssds.snapshot"));
    let withheld = |id: &NodeId| {
        let lending = doctor::lending(&survey.topology, Some(&survey), *id);
        lending == Lending::Withheld(ReasonCode::NoPeerMemory)
    };
    let bar = survey.topology.ids().find(withheld).unwrap();
    let bar = survey.topology.node(bar).bdf.to_string();
    assert_eq!(obstacle(&survey, "nvme1", &bar), Some(ReasonCode::NoPeerMemory));
}

/// What is malformed is not known, and neither there nor absent.
#[test]
fn a_size_that_is_no_number_is_not_known() {
    for size in ["99999999999999999999999", "64M", "-1", ""] {
        let text =
            changed(&preset(), r#"size","text":"67108864"#, &format!(r#"size","text":"{size}"#));
        let survey = survey(&text);
        assert!(matches!(lending(&survey, "nvme0"), Lending::Unknown(_)), "{size}");
        let found = doctor::memory(&survey.topology, Some(&survey));
        assert_eq!((found[0].level, found[0].code), (Level::Unknown, None), "{size}");
        assert_eq!(obstacle(&survey, "nvme1", "nvme0"), None, "{size}");
        let notes: Vec<String> = survey.notes.iter().map(ToString::to_string).collect();
        assert!(notes.iter().any(|note| note.contains("p2pmem/size is not known")), "{notes:?}");
    }
}

#[test]
fn what_starts_no_requests_is_no_client() {
    let zen = survey(&zen());
    assert_eq!(obstacle(&zen, "0000:00:01.0", "nvme0"), Some(ReasonCode::NoMover));
    assert_eq!(obstacle(&zen, "0000:00:1f.2", "nvme0"), Some(ReasonCode::NotNvmePci));
    assert_eq!(obstacle(&zen, "nvme4", "nvme0"), None);
    let (starts, function) =
        (|name| doctor::starts(&zen.topology, Some(&zen), id(&zen, name)), "nvme4");
    assert_eq!((starts("0000:00:1f.2"), starts(function)), (Some(ReasonCode::NotNvmePci), None));
    // Bus mastering and memory space, as the driver left them in the registers.
    let on = preset();
    for (command, code) in [("02", ReasonCode::BusMasterOff), ("04", ReasonCode::MemoryOff)] {
        let off = survey(&changed(&on, "36 1b 10 00 06 00", &format!("36 1b 10 00 {command} 00")));
        assert_eq!(obstacle(&off, "nvme1", "nvme0"), Some(code));
    }
}

#[test]
fn boot_parameters_concern_those_that_access_control_refuses() {
    let comma = "pci=disable_acs_redir=0000:00:01.0,0000:02:00.0";
    for (preset, concerned) in [("default", false), ("acs-redirect", true)] {
        let whole = text(&format!("topologies/captures/{preset}.snapshot"));
        let survey = survey(&changed(&whole, r#""quiet\n""#, &format!(r#""{comma}\n""#)));
        let (_, found) = pair(&survey, "nvme1", "nvme0");
        assert_eq!(hindering(&found.findings).contains(&ReasonCode::AcsRedirect), concerned);
        let whole = doctor::system(&survey.topology, Some(&survey));
        assert!(hindering(&whole).contains(&ReasonCode::AcsRedirect), "{preset}");
    }
}

/// A user's block is told whatever the processor is trusted with.
#[test]
fn blocked_host_bridges_are_told_on_every_processor() {
    for (flags, text) in [("[]", "blocks it"), ("[\"across-only\"]", "with another host bridge")] {
        let list = format!(
            "[[block]]\nvendor = \"8086\"\ndevice = \"29c0\"\nflags = {flags}\nsource = \"a probe\"\n"
        );
        let mut allowlist = Allowlist::kernel();
        UserLists::parse(&list, "site.toml").unwrap().add_to(&mut allowlist);
        let survey = Survey::from_capture(zen().as_bytes(), allowlist).unwrap();
        let found = doctor::system(&survey.topology, Some(&survey));
        let blocked = found.iter().find(|found| found.code == Some(ReasonCode::RootBlocked));
        assert!(blocked.is_some_and(|found| found.text.contains(text)), "{found:?}");
    }
}
