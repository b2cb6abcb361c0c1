//! The commands, one file each.

pub(crate) mod bench;
pub(crate) mod bind;
pub(crate) mod completions;
pub(crate) mod copy;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod explain;
pub(crate) mod lab;
mod line;
pub(crate) mod man;
mod pair;
pub(crate) mod probe;
pub(crate) mod schema;
pub(crate) mod topo;

use std::process::ExitCode;

use crate::args::Command;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Result;
use crate::interrupt;
use crate::output::Output;

/// Runs what the command line says.
pub(crate) fn run() -> ExitCode {
    let cli = match line::parse() {
        Ok(cli) => cli,
        Err(error) => return line::not_parsed(&error).into(),
    };
    let out = Output::new(&cli.global);
    let mut context = Context { global: cli.global, out };
    match dispatch(&mut context, &cli.command) {
        Ok(status) => status,
        Err(failure) => context.out.failure(&failure).into(),
    }
}

fn dispatch(context: &mut Context, command: &Command) -> Result<ExitCode> {
    interrupt::ignore_file_limit()?;
    let done = match command {
        // Their status is that of what they ran.
        Command::Lab(lab) => return lab.run(context),
        Command::Bind(bind) => return bind.run(context),
        Command::Demo(demo) => demo.run(context),
        Command::Copy(copy) => copy.run(context),
        Command::Topo(topo) => topo.run(context),
        Command::Doctor(doctor) => doctor.run(context),
        Command::Explain(explain) => explain.run(context),
        Command::Bench(bench) => bench.run(context),
        Command::Probe(probe) => probe.run(context),
        Command::Schema(schema) => schema.run(context),
        Command::Completions(completions) => completions.run(context),
        Command::Man(man) => man.run(context),
    };
    done.map(|()| Exit::Done.into())
}
