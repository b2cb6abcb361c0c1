//! One pair: the verdict with its evidence, the kernel's interface, what to fix and what that costs.

use p2pdma::Bdf;
use p2pdma::doctor::{self, Lending, Obstacle, PairFindings};
use p2pdma::linux::Survey;
use p2pdma::topology::{
    Cause, Fix, Gap, IommuMode, Known, MapType, Merge, NodeId, ReasonCode, Topology, Verdict,
};

use super::document::{DoctorPairDocument, FindingDocument};
use super::text;
use crate::args::{Format, State};
use crate::command::probe;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::output::bus;
use crate::output::document::RefusalDocument;
use crate::output::refusal::{self, continued, labelled};
use crate::subject::{Subject, label};

/// A pair, looked at.
struct Pair<'a> {
    subject: &'a Subject,
    verdict: Verdict,
    found: PairFindings,
    /// The name of the client, then of the provider.
    names: [String; 2],
    /// Where probes are remembered.
    state: &'a State,
}

/// Answers about a pair. No path is a failure, as is an answer that is not known.
pub(super) fn run(
    context: &Context,
    subject: &Subject,
    [client, provider]: [&str; 2],
    state: &State,
) -> Result<()> {
    let (client, provider) = (subject.find(client)?, subject.find(provider)?);
    let topology = subject.topology();
    let named = |bdf: Bdf| match topology.find(bdf).map(|id| label(topology.node(id))) {
        Some(name) if name != bdf.to_string() => format!("{bdf} ({name})"),
        _ => bdf.to_string(),
    };
    let verdict = topology.explain(client, provider);
    let pair = Pair {
        found: doctor::pair(topology, subject.survey(), &verdict),
        verdict,
        names: [named(client), named(provider)],
        subject,
        state,
    };
    let failure = pair.failure();
    let out = &context.out;
    match out.format() {
        Format::Json | Format::Jsonl => {
            out.document("p2pdma/doctor-pair", &pair.document(failure.as_ref()))?;
        }
        Format::Csv if failure.is_none() => {
            out.text(super::findings_csv(&pair.found.findings).text())?;
        }
        Format::Table if failure.is_none() => out.text(&pair.text())?,
        Format::Csv | Format::Table => {}
    }
    let is_data = matches!(out.format(), Format::Json | Format::Jsonl);
    match failure {
        Some(failure) if is_data => Err(failure.documented()),
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

impl Pair<'_> {
    fn topology(&self) -> &Topology {
        self.subject.topology()
    }

    /// Why the answer is no path, or one that is of no use, or not known.
    fn failure(&self) -> Option<Failure> {
        let [client, provider] = &self.names;
        let (exit, code, headline) = match (self.verdict.code(), &self.found.obstacle) {
            (Some(code @ ReasonCode::UnknownNeedRoot), _) => {
                let headline = format!(
                    "whether there is a peer-to-peer path from {client} to {provider} is not known"
                );
                (self.unknown_exit(), code, headline)
            }
            (Some(code), _) => {
                (Exit::NoPath, code, format!("no peer-to-peer path from {client} to {provider}"))
            }
            (None, Some(Obstacle { code: code @ ReasonCode::DataLost, .. })) => {
                let headline = format!("the path from {client} to {provider} loses data");
                (Exit::Mismatch, *code, headline)
            }
            (None, Some(Obstacle { code, text })) => {
                let headline =
                    format!("a path from {client} to {provider} that cannot be used: {text}");
                (Exit::NoPath, *code, headline)
            }
            (None, None) => return None,
        };
        let mut details = self.evidence();
        details.push_str(&self.advice(code));
        details.push_str(&labelled("more", &format!("p2pdma explain {}", code.code())));
        let last = format!("{:<64} [exit {}]\n", "nothing was changed", exit.status());
        details.push_str(&last);
        Some(
            Failure::new(exit, &code.to_string(), headline)
                .details(details)
                .remedy(self.remedy(code))
                .refusal(self.refusal()),
        )
    }

    /// What is not known may need root, or another capture.
    fn unknown_exit(&self) -> Exit {
        let needs_root = |gap: &Gap| match gap {
            Gap::Acs { cause, .. }
            | Gap::Cpu { cause }
            | Gap::Kernel { cause }
            | Gap::RootDevice { cause, .. } => *cause == Cause::NeedsRoot,
            _ => false,
        };
        if self.verdict.gaps.iter().any(needs_root) { Exit::Permission } else { Exit::Io }
    }

    /// The answer if there is a path.
    fn text(&self) -> String {
        let [client, provider] = &self.names;
        let distance = self.verdict.distance.unwrap_or_default();
        let how = match self.verdict.map_type {
            Some(MapType::BusAddress) => "by bus address, below the root",
            _ => "through the host bridge",
        };
        let what = match self.found.lending {
            Lending::Unknown(_) => "reaches whatever memory is lent of",
            _ => "reaches the memory of",
        };
        let mut all = format!("{client} {what} {provider} {how}, distance {distance}\n");
        all.push_str(&self.evidence());
        all
    }

    /// The tree with what the kernel, the bus and the drivers say.
    fn evidence(&self) -> String {
        let verdict = &self.verdict;
        let mut all = String::new();
        for tree in refusal::trees(verdict, self.topology()) {
            all.push_str(&tree.lines("  "));
        }
        let kernel = verdict.kernel_map_type.map_or("not known", MapType::kernel_name);
        all.push_str(&labelled("kernel", kernel));
        if verdict.by_user_entry() {
            all.push_str(&continued(
                "a user's list of host bridges allows it; the kernel does not",
            ));
        }
        all.push_str(&bus::text(&verdict.bus));
        if let Some(record) = self.probe() {
            all.push_str(&labelled("probe", &record));
        }
        for (index, gap) in verdict.gaps.iter().enumerate() {
            let lead = if index == 0 { "unknown" } else { "" };
            all.push_str(&labelled(lead, &gap.to_string()));
        }
        for hazard in &verdict.hazards {
            all.push_str(&labelled("hazard", &format!("[{}] {hazard}", hazard.code())));
        }
        all.push_str(&text::findings(&self.found.findings));
        all
    }

    /// What the last probe on this machine has shown.
    fn probe(&self) -> Option<String> {
        let survey = self.subject.survey().filter(|_| self.subject.is_this_machine())?;
        let (client, provider) = (self.verdict.client, self.verdict.provider);
        Some(probe::remembered(self.state, client, provider)?.text(survey, client))
    }

    fn fix(&self) -> Option<&Fix> {
        self.verdict.fix.as_ref().filter(|_| self.verdict.code().is_some())
    }

    /// What would help, and what that costs.
    fn advice(&self, code: ReasonCode) -> String {
        let Some(fix) = self.fix() else {
            return labelled("fix", &self.remedy(code));
        };
        let mut all = String::new();
        if self.subject.survey().is_none() {
            let [table, line] = refusal::machine_lines(fix, self.topology());
            all.push_str(&labelled("fix now", &format!("in the machine file: {table} {line}")));
        }
        for (index, command) in fix.now.iter().enumerate() {
            let lead = if index == 0 && all.is_empty() { "fix now" } else { "" };
            all.push_str(&labelled(lead, &command.to_string()));
        }
        all.push_str(&continued(
            "until reboot; clears RR, CR and EC only; a verdict that the kernel has given",
        ));
        all.push_str(&continued("stays until the driver of the provider is unbound"));
        all.push_str(&labelled("fix boot", &format!("{}   (';' not ',')", fix.boot)));
        all.push_str(&labelled("cost", &self.cost(fix)));
        let survey = self.subject.survey();
        all.push_str(&survey.map(|survey| groups_stay(survey, fix)).unwrap_or_default());
        all
    }

    /// What is joined, by IOMMU group where there are groups.
    fn cost(&self, fix: &Fix) -> String {
        let groups = |survey: &Survey| fix.cost.iter().map(|merge| merged(survey, merge)).collect();
        let groups: Vec<String> = self.subject.survey().map(groups).unwrap_or_default();
        let mut cost = refusal::cost(&fix.cost, self.topology());
        let named: Vec<&str> =
            groups.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
        if !named.is_empty() {
            cost.push_str(&format!("; {}", named.join("; ")));
        }
        cost
    }

    fn remedy(&self, code: ReasonCode) -> String {
        if let Some(fix) = self.fix() {
            return fix.now.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        }
        match code {
            ReasonCode::UnknownNeedRoot => {
                let first = self.verdict.gaps.first();
                match first.map(Gap::remedy) {
                    Some("run as root") | None => self.subject.more().to_owned(),
                    Some(remedy) => remedy.to_owned(),
                }
            }
            ReasonCode::RootNotAllowed | ReasonCode::DifferentRoot => {
                "put both devices below one switch".to_owned()
            }
            ReasonCode::RootBlocked => {
                "take the entry out of the list, if it is out of date".to_owned()
            }
            code => {
                let remedy = self.found.remedy(code, &self.verdict);
                remedy.unwrap_or_else(|| "see the explanation of the code".to_owned())
            }
        }
    }

    fn refusal(&self) -> RefusalDocument {
        let verdict = refusal::verdict_document(&self.verdict, self.fix(), self.topology());
        RefusalDocument { candidates: Vec::new(), verdict: Some(verdict) }
    }

    fn document(&self, failure: Option<&Failure>) -> DoctorPairDocument {
        DoctorPairDocument {
            verdict: refusal::verdict_document(&self.verdict, self.fix(), self.topology()),
            map_type: self.verdict.map_type.map(|map| map.kernel_name().to_owned()),
            by_user_entry: self.verdict.by_user_entry(),
            bus_local: self.verdict.bus.untranslated_local(),
            findings: self.found.findings.iter().map(FindingDocument::of).collect(),
            error: failure.map(Failure::document),
        }
    }
}

/// What `fix now` does not do: the kernel makes groups when devices are added (`iommu_init_device()` and
/// `pci_device_group()` in drivers/iommu/iommu.c), and a register that changes later is not seen.
fn groups_stay(survey: &Survey, fix: &Fix) -> String {
    if fix.cost.is_empty() || survey.topology.host().iommu == Known::Value(IommuMode::Off) {
        return String::new();
    }
    let lines = [
        "with 'fix now' they are not isolated although sysfs and VFIO still show separate",
        "groups: those are made when devices are added, and 'fix boot' is before that",
    ];
    lines.map(continued).concat()
}

/// The IOMMU groups of functions that would be joined.
fn merged(survey: &Survey, merge: &Merge) -> String {
    let ids = merge.functions.iter().filter_map(|bdf| survey.topology.find(*bdf));
    let number = |id: NodeId| Some((*survey.function(id).iommu_group.value()?)?.number);
    let mut numbers: Vec<u32> = ids.filter_map(number).collect();
    numbers.sort_unstable();
    numbers.dedup();
    match numbers.as_slice() {
        [] | [_] => String::new(),
        many => {
            let list: Vec<String> = many.iter().map(ToString::to_string).collect();
            format!("groups {} become one", list.join(", "))
        }
    }
}
