//! The commands, one file each.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod copy;
pub(crate) mod demo;
pub(crate) mod explain;
pub(crate) mod man;
mod pair;
pub(crate) mod schema;
pub(crate) mod topo;

use clap::Parser;

use crate::args::{Cli, Command, Format};
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::interrupt;
use crate::output::Output;

/// Runs what the command line says.
pub(crate) fn run() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error),
    };
    let out = Output::new(&cli.global);
    let mut context = Context { global: cli.global, out };
    match dispatch(&mut context, &cli.command) {
        Ok(()) => Exit::Done,
        Err(failure) => context.out.failure(&failure),
    }
}

fn dispatch(context: &mut Context, command: &Command) -> Result<()> {
    interrupt::ignore_file_limit()?;
    match command {
        Command::Demo(demo) => demo.run(context),
        Command::Copy(copy) => copy.run(context),
        Command::Topo(topo) => topo.run(context),
        Command::Explain(explain) => explain.run(context),
        Command::Bench(bench) => bench.run(context),
        Command::Schema(schema) => schema.run(context),
        Command::Completions(completions) => completions.run(context),
        Command::Man(man) => man.run(context),
    }
}

/// Help and version, or a command line that is none. That is data too where JSON was asked for.
fn not_parsed(error: &clap::Error) -> Exit {
    let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
    // A reader that has left needs no help.
    let _ = error.print();
    let words: Vec<String> =
        std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if exit == Exit::Usage
        && let Some(format) = json_wanted(&words)
    {
        let text = error.to_string();
        let message = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        let failure = Failure::usage(message).remedy("p2pdma --help lists commands and options");
        Output::plain(format).error_document(&failure);
    }
    exit
}

/// Whether a command line that could not be parsed asks for JSON all the same.
fn json_wanted(words: &[String]) -> Option<Format> {
    let format = |text: &str| match text {
        "json" => Some(Format::Json),
        "jsonl" => Some(Format::Jsonl),
        _ => None,
    };
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        let value = match word {
            "-o" | "--output" => words.next(),
            _ => word.strip_prefix("--output=").or_else(|| word.strip_prefix("-o")),
        };
        if let Some(format) = value.and_then(format) {
            return Some(format);
        }
    }
    None
}
