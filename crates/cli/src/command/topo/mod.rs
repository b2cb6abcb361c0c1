//! `topo`: devices, links, and who can reach whom. Opens no controller.

mod document;
mod machines;
mod tree;

use std::path::{Path, PathBuf};

use clap::{Args, ValueHint};
use p2pdma::presets;

use crate::args::Format;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::output::matrix::{self, Matrix};
use crate::output::svg;
use crate::output::units;
use crate::subject::{self, Subject};

pub(crate) use document::{FunctionDocument, TopoDocument};
pub(crate) use machines::{MachineDocument, MachinesDocument};

/// Prints the machine as a tree, or as a matrix of who reaches whose memory.
#[derive(Debug, Args)]
pub(crate) struct Topo {
    /// Picture to write instead of text; its name ends in .svg. A file that is there is replaced
    #[arg(value_name = "FILE.svg", value_hint = ValueHint::FilePath)]
    #[arg(conflicts_with_all = ["matrix", "source", "list"])]
    picture: Option<PathBuf>,
    /// In the picture, the way from CLIENT to PROVIDER
    #[arg(long, num_args = 2, value_names = ["CLIENT", "PROVIDER"], requires = "picture")]
    route: Option<Vec<String>>,
    /// Who reaches whose memory, for all pairs. The exit status is 0 whatever the answers are
    #[arg(long)]
    matrix: bool,
    /// Keep all that was read of this machine, for --from; '-' is standard output. A file that is there
    /// is replaced
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    #[arg(conflicts_with_all = ["source", "list"])]
    save: Option<PathBuf>,
    /// The machine file itself
    #[arg(long, conflicts_with = "matrix")]
    source: bool,
    /// The machines of the fabric that come with the command
    #[arg(long, conflicts_with_all = ["matrix", "source"])]
    list: bool,
}

impl Topo {
    /// Runs the command.
    pub(crate) fn run(&self, context: &mut Context) -> Result<()> {
        if self.list {
            return machines::list(context);
        }
        if self.source {
            return source(context);
        }
        if let Some(file) = &self.save {
            save(context, file)?;
            if is_stdio(file) || context.out.format() == Format::Table {
                return Ok(());
            }
        }
        let subject = Subject::of(context)?;
        if let Some(file) = &self.picture {
            self.draw(context, &subject, file)?;
            if context.out.format() == Format::Table {
                return Ok(());
            }
        }
        self.print(context, &subject)?;
        notes(context, &subject);
        Ok(())
    }

    fn print(&self, context: &Context, subject: &Subject) -> Result<()> {
        let matrix = self.matrix.then(|| Matrix::of(subject));
        let out = &context.out;
        match (out.format(), &matrix) {
            (Format::Table, None) => out.text(&tree::text(subject))?,
            (Format::Table, Some(matrix)) => out.text(&matrix.text())?,
            (Format::Csv, None) => out.text(document::functions_csv(subject).text())?,
            (Format::Csv, Some(matrix)) => out.text(matrix.csv().text())?,
            (Format::Json, _) => {
                let cells = matrix.as_ref().map(|matrix| matrix.cells().collect());
                out.document("p2pdma/topo", &document::topo(subject, cells))?;
            }
            (Format::Jsonl, None) => {
                for function in document::functions(subject) {
                    out.document("p2pdma/topo-function", &function)?;
                }
            }
            (Format::Jsonl, Some(matrix)) => {
                for cell in matrix.cells() {
                    out.document("p2pdma/topo-pair", &cell)?;
                }
            }
        }
        Ok(())
    }

    fn draw(&self, context: &Context, subject: &Subject, file: &Path) -> Result<()> {
        if !file.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg")) {
            let message = format!("{}: pictures are SVG", file.display());
            return Err(Failure::usage(message).remedy("end the name in .svg"));
        }
        let route = match self.route.as_deref() {
            Some([client, provider]) => Some((subject.find(client)?, subject.find(provider)?)),
            _ => None,
        };
        let picture = svg::draw(subject, route);
        let replaced = replaces(file)?;
        std::fs::write(file, picture).map_err(|error| Failure::file(file, &error))?;
        let functions = subject.topology().nodes().len();
        context.out.note(&format!(
            "{}: {} drawn{replaced}",
            file.display(),
            units::count(functions.try_into().unwrap_or(u64::MAX), "function")
        ));
        Ok(())
    }
}

/// What is left out or odd, for those who look.
fn notes(context: &Context, subject: &Subject) {
    const SHOWN: usize = 8;
    let Some(survey) = subject.survey() else { return };
    for note in survey.notes.iter().take(SHOWN) {
        context.out.note(&format!("note: {note}"));
    }
    if survey.notes.len() > SHOWN {
        context.out.note(&format!("and {} more notes", survey.notes.len() - SHOWN));
    }
    context.out.detail(matrix::HINT);
}

fn is_stdio(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// A file may be made, or made again, which is said; anything else that has the name stays.
fn replaces(file: &Path) -> Result<&'static str> {
    match std::fs::symlink_metadata(file) {
        Ok(there) if !there.is_file() => {
            let message = format!("{} is there, and is no ordinary file", file.display());
            Err(Failure::refused("EXISTS", message).remedy("name another file"))
        }
        Ok(_) => Ok("; it replaces the file that was there"),
        Err(_) => Ok(""),
    }
}

/// Writes the snapshot.
fn save(context: &Context, file: &Path) -> Result<()> {
    let snapshot = subject::snapshot(context)?;
    if is_stdio(file) {
        let mut text = Vec::new();
        snapshot.write(&mut text)?;
        return Ok(context.out.text(&String::from_utf8_lossy(&text))?);
    }
    let replaced = replaces(file)?;
    snapshot.save(file)?;
    let answers = units::count(snapshot.len().try_into().unwrap_or(u64::MAX), "answer");
    context.out.note(&format!("{}: a snapshot of {answers}{replaced}", file.display()));
    Ok(())
}

/// The machine file's text.
fn source(context: &Context) -> Result<()> {
    context.machine()?;
    let name = context.global.machine_name();
    match presets::text(name) {
        Some(text) => context.out.text(text)?,
        // It was read and understood before.
        None => context.out.text(&std::fs::read_to_string(name)?)?,
    }
    Ok(())
}
