//! `doctor` for people.

use p2pdma::doctor::{Finding, Level, Volume};
use p2pdma::topology::{MapType, ReasonCode, Topology};

use crate::output::matrix::Matrix;
use crate::output::style::{ERROR, FAINT, LABEL, WARNING, styled};
use crate::output::table;
use crate::output::units;
use crate::subject::{Subject, label};

/// What is looked at.
pub(super) fn head(subject: &Subject) -> String {
    format!("{}: {}\n", styled(LABEL, subject.name()), subject.about())
}

/// All findings, each with its remedy beneath.
pub(super) fn findings(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.about.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.level {
            Level::Good => "ok  ".to_owned(),
            Level::Note => "note".to_owned(),
            Level::Unknown => styled(WARNING, "?   "),
            Level::Hinders => styled(ERROR, "no  "),
        };
        let code = finding.code.map(|code| format!("[{code}] ")).unwrap_or_default();
        text.push_str(&format!("{mark}  {:<width$}  {code}{}\n", finding.about, finding.text));
        if let Some(remedy) = &finding.remedy {
            text.push_str(&format!("      {:<width$}  {} {remedy}\n", "", styled(FAINT, "help:")));
        }
    }
    text
}

/// How many pairs have which answer, and why not.
pub(super) fn paths(matrix: &Matrix<'_>) -> String {
    let [direct, through, refused, unknown] = matrix.counts();
    let total = direct + through + refused + unknown;
    let pairs = units::count(total.try_into().unwrap_or(u64::MAX), "pair");
    let mut text = format!(
        "\npaths: {pairs} of a function and another's memory: {direct} direct, {through} through a \
         host bridge, {refused} refused, {unknown} unknown\n"
    );
    let unusable = matrix.unusable();
    if unusable > 0 {
        text.push_str(&format!("of those with a path {unusable} cannot be used\n"));
    }
    text.push_str(&matrix.reasons());
    if refused + unknown + unusable > 0 {
        text.push_str("'p2pdma doctor CLIENT PROVIDER' tells all about one pair\n");
    }
    text
}

/// The mounted volumes as a table, with what the codes in it mean.
pub(super) fn volumes(topology: &Topology, volumes: &[Volume]) -> String {
    if volumes.is_empty() {
        return "no volume on a block device is mounted\n".to_owned();
    }
    let name = |bdf| topology.find(bdf).map(|id| label(topology.node(id))).unwrap_or_default();
    let mut codes: Vec<ReasonCode> = Vec::new();
    let rows = volumes.iter().map(|volume| {
        let answer = match volume.answer() {
            Ok(best) => {
                let kind = match best.pair.map_type {
                    Some(MapType::ThroughHostBridge) => "H",
                    _ => "D",
                };
                format!("yes: {kind}{} to {}", best.pair.distance, name(best.provider))
            }
            Err(code) => {
                codes.push(code);
                let word = if code == ReasonCode::UnknownNeedRoot { "?" } else { "no" };
                format!("{word}: {code}")
            }
        };
        let (device, system) = (volume.device.to_string(), volume.file_system.to_string());
        vec![volume.point.clone(), system, device, answer]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    let mut text = format!("{}\n", styled(LABEL, "mounted volumes"));
    text.push_str(&table::rows(rows));
    codes.sort_unstable();
    codes.dedup();
    for code in codes {
        text.push_str(&format!("{code}: {}\n", code.summary()));
    }
    text
}
