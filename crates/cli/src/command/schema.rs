//! `schema`: the JSON schemas of what the commands print.

use clap::{Args, ValueEnum};
use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{bench, bind, copy, demo, doctor, explain, lab, probe, topo};
use crate::context::Context;
use crate::failure::Result;
use crate::output::document::{Envelope, FailureDocument, VERSION};
use crate::output::matrix::Cell;
use crate::output::progress::ProgressDocument;

/// Prints the JSON schemas (draft 2020-12) of what commands print with -o json and -o jsonl.
#[derive(Debug, Args)]
pub(crate) struct Schema {
    /// Whose; without it, all of them by their names
    command: Option<Name>,
}

/// Whose schemas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Name {
    Bench,
    Bind,
    Copy,
    Demo,
    Doctor,
    /// What any command prints that fails with nothing else to show
    Error,
    Explain,
    Lab,
    Probe,
    /// Lines of --progress json
    Progress,
    Topo,
}

impl Schema {
    /// Runs the command.
    pub(crate) fn run(&self, context: &mut Context) -> Result<()> {
        let names: Vec<Name> = match self.command {
            Some(name) => vec![name],
            None => Name::value_variants().to_vec(),
        };
        let mut all: Vec<(&str, Value)> = names.into_iter().flat_map(schemas).collect();
        let value = match all.as_mut_slice() {
            [(_, only)] => only.take(),
            many => many
                .iter_mut()
                .map(|(name, schema)| ((*name).to_owned(), schema.take()))
                .collect::<Map<_, _>>()
                .into(),
        };
        Ok(context.out.text(&format!("{value:#}\n"))?)
    }
}

/// Every document that a command prints, by its name.
fn schemas(name: Name) -> Vec<(&'static str, Value)> {
    match name {
        Name::Bench => vec![
            of::<bench::BenchDocument>("p2pdma/bench"),
            of::<bench::RowDocument>("p2pdma/bench-row"),
        ],
        Name::Bind => vec![
            of::<bind::BindDocument>("p2pdma/bind"),
            of::<bind::BindingDocument>("p2pdma/bind-device"),
        ],
        Name::Probe => vec![of::<probe::ProbeDocument>("p2pdma/probe")],
        Name::Copy => vec![of::<copy::CopyDocument>("p2pdma/copy")],
        Name::Demo => vec![of::<demo::DemoDocument>("p2pdma/demo")],
        Name::Doctor => vec![
            of::<doctor::DoctorDocument>("p2pdma/doctor"),
            of::<doctor::FindingDocument>("p2pdma/doctor-finding"),
            of::<doctor::DoctorPairDocument>("p2pdma/doctor-pair"),
            of::<doctor::VolumesDocument>("p2pdma/doctor-volumes"),
            of::<doctor::VolumeDocument>("p2pdma/doctor-volume"),
        ],
        Name::Error => vec![of::<FailureDocument>("p2pdma/error")],
        Name::Explain => vec![
            of::<explain::ExplainDocument>("p2pdma/explain"),
            of::<explain::CodeDocument>("p2pdma/explain-code"),
        ],
        Name::Lab => vec![
            of::<lab::LabMachinesDocument>("p2pdma/lab-machines"),
            of::<lab::LabMachineDocument>("p2pdma/lab-machine"),
            of::<lab::LabRunDocument>("p2pdma/lab-run"),
        ],
        Name::Progress => vec![of::<ProgressDocument>("p2pdma/progress")],
        Name::Topo => vec![
            of::<topo::TopoDocument>("p2pdma/topo"),
            of::<topo::FunctionDocument>("p2pdma/topo-function"),
            of::<Cell>("p2pdma/topo-pair"),
            of::<topo::MachinesDocument>("p2pdma/machines"),
            of::<topo::MachineDocument>("p2pdma/machine"),
        ],
    }
}

fn of<T: JsonSchema>(name: &'static str) -> (&'static str, Value) {
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let mut schema = generator.into_root_schema_for::<Envelope<T>>().to_value();
    schema["title"] = json!(name);
    // These two are not only of a type: they have one value.
    schema["properties"]["schema"]["const"] = json!(name);
    schema["properties"]["version"]["const"] = json!(VERSION);
    (name, schema)
}
