//! One pair: what stands in the way of its data although there is a path.

use p2pdma_linux::Survey;
use p2pdma_pci::topology::{Hazard, NodeId, ReasonCode, Topology, Verdict};

use super::devices::ready;
use super::memory::{Lending, lender, lending};
use super::system::{boot, kernel};
use super::{Finding, Level, called, client};

/// What is found about a pair beside its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PairFindings {
    /// What was found about the kernel and about both ends. What hinders other pairs is not among them.
    pub findings: Vec<Finding>,
    /// What makes the path useless, if there is a path.
    pub obstacle: Option<Obstacle>,
    /// Whether the provider's memory can be had.
    pub lending: Lending,
}

/// Why a path is of no use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// The code that explains it.
    pub code: ReasonCode,
    /// What it is, in a line.
    pub text: String,
}

impl PairFindings {
    /// What to do about a code: that of a hazard of the pair, or of a finding, and of no other.
    #[must_use]
    pub fn remedy(&self, code: ReasonCode, verdict: &Verdict) -> Option<String> {
        let hazard = verdict.hazards.iter().find(|hazard| hazard.code() == code);
        let finding = self.findings.iter().find(|found| found.code == Some(code));
        let of_hazard = hazard.and_then(Hazard::remedy).map(str::to_owned);
        of_hazard.or_else(|| finding?.remedy.clone())
    }
}

/// Judges a pair beside its verdict: kernel, client, provider, and the hazards of its own path.
#[must_use]
pub fn pair(topology: &Topology, survey: Option<&Survey>, verdict: &Verdict) -> PairFindings {
    let mut findings = system(survey, verdict);
    findings.retain(|finding| finding.level == Level::Hinders);
    let ends = [verdict.client, verdict.provider].map(|bdf| topology.find(bdf));
    let [near, far] = ends;
    findings.extend(near.into_iter().flat_map(|id| client(topology, survey, id)));
    if let (Some(survey), Some(id)) = (survey, far.filter(|_| near != far)) {
        findings.extend(ready(topology.node(id), survey.function(id)));
    }
    findings.extend(far.into_iter().flat_map(|id| lender(topology, survey, id)));
    let lending = far.map_or(Lending::Nothing, |id| lending(topology, survey, id));
    let obstacle = obstacle(topology, verdict, &findings, far.map(|id| (id, lending)));
    PairFindings { findings, obstacle, lending }
}

/// What of the system concerns the pair.
fn system(survey: Option<&Survey>, verdict: &Verdict) -> Vec<Finding> {
    let Some(survey) = survey else { return Vec::new() };
    let mut findings = kernel(survey);
    if verdict.code() == Some(ReasonCode::AcsRedirect) {
        findings.extend(boot(survey));
    }
    findings
}

fn obstacle(
    topology: &Topology,
    verdict: &Verdict,
    findings: &[Finding],
    provider: Option<(NodeId, Lending)>,
) -> Option<Obstacle> {
    let hinders = |found: &&Finding| found.level == Level::Hinders;
    let of = |found: &Finding| {
        let text = format!("{}: {}", found.about, found.text);
        Some(Obstacle { code: found.code?, text })
    };
    if let Some(obstacle) = findings.iter().filter(hinders).find_map(of) {
        return Some(obstacle);
    }
    if let Some((id, Lending::Withheld(code))) = provider {
        let about = called(topology.node(id));
        let why = |found: &&Finding| found.about == about && found.code == Some(code);
        return findings.iter().find(why).and_then(of);
    }
    let lost = verdict.hazards.iter().find(|hazard| matches!(hazard, Hazard::DataLost))?;
    Some(Obstacle { code: lost.code(), text: lost.to_string() })
}
