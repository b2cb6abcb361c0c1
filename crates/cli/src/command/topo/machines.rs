//! The machines of the fabric that come along.

use p2pdma::presets;
use schemars::JsonSchema;
use serde::Serialize;

use crate::args::Format;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::output::csv::Csv;
use crate::output::table;

/// One line of `topo --list`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct MachineDocument {
    /// What `--fabric` takes.
    name: String,
    /// What it shows.
    about: String,
}

/// What `topo --list` prints as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct MachinesDocument {
    /// The machines that come with the command.
    machines: Vec<MachineDocument>,
}

pub(super) fn list(context: &Context) -> Result<()> {
    let mut machines = Vec::new();
    for &(name, _) in presets::ALL {
        let machine =
            presets::machine(name, None).map_err(|error| Failure::usage(error.to_string()))?;
        machines.push(MachineDocument { name: name.to_owned(), about: machine.about });
    }
    let pair = |machine: &MachineDocument| vec![machine.name.clone(), machine.about.clone()];
    match context.out.format() {
        Format::Table => context.out.text(&table::rows(machines.iter().map(pair)))?,
        Format::Csv => {
            let mut csv = Csv::new(&["name", "about"]);
            machines.iter().for_each(|machine| csv.row(pair(machine)));
            context.out.text(csv.text())?;
        }
        Format::Json => context.out.document("p2pdma/machines", &MachinesDocument { machines })?,
        Format::Jsonl => {
            for machine in &machines {
                context.out.document("p2pdma/machine", machine)?;
            }
        }
    }
    Ok(())
}
