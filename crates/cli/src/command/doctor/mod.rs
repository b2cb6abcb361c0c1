//! `doctor`: checks a machine, a pair or the mounted volumes, and says what to fix. Changes nothing.

mod document;
mod pair;
mod text;

use clap::Args;
use p2pdma::doctor::{self, Finding};

use crate::args::{Format, State};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::output::csv::Csv;
use crate::output::matrix::Matrix;
use crate::subject::Subject;

pub(crate) use document::{
    DoctorDocument, DoctorPairDocument, FindingDocument, VolumeDocument, VolumesDocument,
};

/// Checks this machine, a pair, or the mounted volumes, and says what to fix. It changes nothing.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Who is to start requests: an address, a name such as nvme0, a block device, a mount point
    #[arg(requires = "provider")]
    client: Option<String>,
    /// Whose memory is to be reached
    provider: Option<String>,
    /// The mounted volumes only
    #[arg(long, conflicts_with = "client")]
    volumes: bool,
    #[command(flatten)]
    state: State,
}

impl Doctor {
    /// Runs the command.
    pub(crate) fn run(&self, context: &mut Context) -> Result<()> {
        let subject = Subject::of(context)?;
        if self.volumes {
            return volumes(context, &subject);
        }
        match (&self.client, &self.provider) {
            (Some(client), Some(provider)) => {
                pair::run(context, &subject, [client, provider], &self.state)
            }
            _ => whole(context, &subject),
        }
    }
}

/// The whole machine.
fn whole(context: &Context, subject: &Subject) -> Result<()> {
    let (topology, survey) = (subject.topology(), subject.survey());
    let mut findings = doctor::system(topology, survey);
    findings.extend(doctor::memory(topology, survey));
    findings.extend(doctor::devices(topology, survey));
    let matrix = Matrix::of(subject);
    let volumes = match survey {
        Some(survey) => doctor::volumes(survey).unwrap_or_default(),
        None => Vec::new(),
    };
    let out = &context.out;
    match out.format() {
        Format::Table => {
            let mut all = text::head(subject);
            all.push_str(&text::findings(&findings));
            all.push_str(&text::paths(&matrix));
            if !volumes.is_empty() {
                all.push_str(&format!("\n{}", text::volumes(topology, &volumes)));
            }
            out.text(&all)?;
        }
        Format::Csv => out.text(findings_csv(&findings).text())?,
        Format::Json => {
            let document = document::whole(subject, &findings, &matrix, &volumes);
            out.document("p2pdma/doctor", &document)?;
        }
        Format::Jsonl => {
            for finding in &findings {
                out.document("p2pdma/doctor-finding", &FindingDocument::of(finding))?;
            }
        }
    }
    Ok(())
}

/// The mounted volumes.
fn volumes(context: &Context, subject: &Subject) -> Result<()> {
    let Some(survey) = subject.survey() else {
        return Err(Failure::usage("nothing is mounted on a machine of the fabric")
            .remedy("leave --fabric out to look at this machine"));
    };
    let volumes = doctor::volumes(survey).map_err(|cause| {
        let message = format!("what is mounted is not known: {cause}");
        Failure::new(crate::exit::Exit::Io, "P2P-UNKNOWN-NEED-ROOT", message).remedy(cause.remedy())
    })?;
    let out = &context.out;
    match out.format() {
        Format::Table => out.text(&text::volumes(&survey.topology, &volumes))?,
        Format::Csv => {
            let mut csv = Csv::new(&["mount", "device", "file_system", "answer", "code"]);
            for volume in volumes.iter().map(VolumeDocument::of) {
                let code = volume.code.clone().unwrap_or_default();
                let VolumeDocument { mount, device, file_system, answer, .. } = volume;
                csv.row([mount, device, file_system, answer.to_owned(), code]);
            }
            out.text(csv.text())?;
        }
        Format::Json => {
            let volumes = volumes.iter().map(VolumeDocument::of).collect();
            out.document("p2pdma/doctor-volumes", &VolumesDocument { volumes })?;
        }
        Format::Jsonl => {
            for volume in &volumes {
                out.document("p2pdma/doctor-volume", &VolumeDocument::of(volume))?;
            }
        }
    }
    Ok(())
}

fn findings_csv(findings: &[Finding]) -> Csv {
    let mut csv = Csv::new(&["level", "about", "code", "text", "remedy"]);
    for finding in findings {
        let code = finding.code.map(|code| code.to_string()).unwrap_or_default();
        let remedy = finding.remedy.clone().unwrap_or_default();
        let level = document::level(finding.level).to_owned();
        csv.row([level, finding.about.clone(), code, finding.text.clone(), remedy]);
    }
    csv
}
