//! Where the bus itself sends a pair's packets, class by class.

use p2pdma::topology::{BusPath, BusPaths, Decision, TlpClass};
use schemars::JsonSchema;
use serde::Serialize;

use super::refusal::labelled;

/// Where packets of a class go.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct BusPathDocument {
    /// write, read, completion, relaxed-completion (relaxed ordering) or translated (a request whose
    /// address was translated beforehand).
    class: &'static str,
    /// local (below the root complex), through-root, blocked or unknown.
    path: &'static str,
    /// Where it turns, if it is local; where registers would have to be read, if it is unknown.
    at: Option<String>,
    /// The ACS control that redirects or blocks it, by its name in lspci.
    control: Option<&'static str>,
    /// The function whose control that is.
    control_at: Option<String>,
}

/// The word for a class in JSON, and the plural for people.
const fn words(class: TlpClass) -> [&'static str; 2] {
    match class {
        TlpClass::Write => ["write", "writes"],
        TlpClass::Read => ["read", "reads"],
        TlpClass::Completion => ["completion", "completions"],
        TlpClass::RelaxedCompletion => ["relaxed-completion", "relaxed completions"],
        TlpClass::Translated => ["translated", "translated requests"],
    }
}

/// All classes, as data.
pub(crate) fn documents(paths: &BusPaths) -> Vec<BusPathDocument> {
    TlpClass::ALL.into_iter().map(|class| document(class, paths.of(class))).collect()
}

fn document(class: TlpClass, path: BusPath) -> BusPathDocument {
    let (word, at) = match path {
        BusPath::Local { turn, .. } => ("local", Some(turn)),
        BusPath::ThroughRoot { .. } => ("through-root", None),
        BusPath::Blocked(_) => ("blocked", None),
        BusPath::Unknown { at } => ("unknown", Some(at)),
    };
    let decision = path.decision();
    BusPathDocument {
        class: words(class)[0],
        path: word,
        at: at.map(|at| at.to_string()),
        control: decision.map(|decision| decision.bit.lspci_name()),
        control_at: decision.map(|decision| decision.at.to_string()),
    }
}

/// A line for each way, with the classes that go it.
pub(crate) fn text(paths: &BusPaths) -> String {
    let undisturbed = |class| matches!(paths.of(class), BusPath::Local { sent_up: None, .. });
    if TlpClass::ALL.into_iter().all(undisturbed) {
        return labelled("bus", "switches turn all of it below the root");
    }
    let mut ways: Vec<(String, Vec<&str>)> = Vec::new();
    for class in TlpClass::ALL {
        let (way, plural) = (way(paths.of(class)), words(class)[1]);
        match ways.iter_mut().find(|(own, _)| *own == way) {
            Some((_, classes)) => classes.push(plural),
            None => ways.push((way, vec![plural])),
        }
    }
    let line = |(index, (way, classes)): (usize, &(String, Vec<&str>))| {
        let lead = if index == 0 { "bus" } else { "" };
        labelled(lead, &format!("{}: {way}", classes.join(", ")))
    };
    ways.iter().enumerate().map(line).collect()
}

fn way(path: BusPath) -> String {
    let by = |decision: Decision| format!("{} of {}", decision.bit.lspci_name(), decision.at);
    match path {
        BusPath::Local { turn, sent_up: None } => format!("turn at {turn}, below the root"),
        BusPath::Local { turn, sent_up: Some(decision) } => {
            format!("sent up by {}, turned back at {turn}, below the root", by(decision))
        }
        BusPath::ThroughRoot { sent_up: None } => "through the root complex".to_owned(),
        BusPath::ThroughRoot { sent_up: Some(decision) } => {
            format!("sent up to the root complex by {}", by(decision))
        }
        BusPath::Blocked(decision) => format!("blocked by {}", by(decision)),
        BusPath::Unknown { at } => format!("not known: the ACS of {at} was not read"),
    }
}
