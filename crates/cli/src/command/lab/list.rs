//! `lab list`: which of the machines that come along QEMU can build.

use clap::Args;
use p2pdma::presets;
use p2pdma_lab::Arch;
use p2pdma_lab::machine::Plan;
use schemars::JsonSchema;
use serde::Serialize;

use super::guest::Architecture;
use crate::args::Format;
use crate::context::Context;
use crate::failure::Result;
use crate::output::csv::Csv;
use crate::output::table;

/// Lists the machines that come along, and which of them QEMU can build.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Architecture of the guest; by default that of this machine
    #[arg(long)]
    arch: Option<Architecture>,
}

/// What `lab list` prints as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LabMachinesDocument {
    /// The guest's architecture.
    architecture: &'static str,
    /// The machines.
    machines: Vec<LabMachineDocument>,
}

/// A machine.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LabMachineDocument {
    /// Its name, for --topology.
    name: String,
    /// What it shows.
    about: String,
    /// Whether QEMU can build it.
    buildable: bool,
    /// What QEMU cannot build of it, and why.
    refusals: Vec<String>,
    /// What QEMU builds otherwise, in a way that changes no verdict of the kernel.
    differences: Vec<String>,
}

impl List {
    /// Runs the command.
    pub(crate) fn run(&self, context: &Context) -> Result<()> {
        let arch = Architecture::or_host(self.arch)?;
        let names = presets::ALL.iter().map(|(name, _)| *name);
        let machines: Result<Vec<LabMachineDocument>> =
            names.map(|name| describe(context, name, arch)).collect();
        let (machines, out) = (machines?, &context.out);
        match out.format() {
            Format::Table => out.text(&table::rows(machines.iter().map(row)))?,
            Format::Csv => {
                let mut csv = Csv::new(&["name", "buildable", "refusals", "differences", "about"]);
                for machine in &machines {
                    csv.row([
                        &machine.name,
                        &machine.buildable.to_string(),
                        &machine.refusals.join("; "),
                        &machine.differences.join("; "),
                        &machine.about,
                    ]);
                }
                out.text(csv.text())?;
            }
            Format::Json => {
                let architecture = arch.name();
                let document = LabMachinesDocument { architecture, machines };
                out.document("p2pdma/lab-machines", &document)?;
            }
            Format::Jsonl => {
                for machine in &machines {
                    out.document("p2pdma/lab-machine", machine)?;
                }
            }
        }
        Ok(())
    }
}

fn describe(context: &Context, name: &str, arch: Arch) -> Result<LabMachineDocument> {
    let machine = context.machine_of("--topology", name)?;
    let (refusals, differences) = match Plan::new(&machine, arch) {
        Ok(plan) => (Vec::new(), plan.notes().iter().map(ToString::to_string).collect()),
        Err(error) => (error.refusals.iter().map(ToString::to_string).collect(), Vec::new()),
    };
    Ok(LabMachineDocument {
        name: machine.name,
        about: machine.about,
        buildable: refusals.is_empty(),
        refusals,
        differences,
    })
}

/// A line for people: the first thing that is in the way, and how many more there are.
fn row(machine: &LabMachineDocument) -> Vec<String> {
    let said = match machine.refusals.as_slice() {
        [] => machine.about.clone(),
        [only] => only.clone(),
        [first, more @ ..] => format!("{first} (and {} more)", more.len()),
    };
    let can = if machine.buildable { "yes" } else { "no" };
    vec![machine.name.clone(), can.to_owned(), said]
}
