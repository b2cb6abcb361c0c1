//! `man`: manual pages.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, ValueHint};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, roman};

use crate::args::Cli;
use crate::context::Context;
use crate::exit;
use crate::failure::{Failure, Result};

/// Prints the manual page of p2pdma(1), or writes one for every command.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Folder to write the pages to
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,
}

const ENVIRONMENT: &str = "\
P2PDMA_FABRIC    as --fabric
P2PDMA_OUTPUT    as --output
P2PDMA_PLATFORM  as --platform
P2PDMA_STATE     as --state-dir of p2pdma-copy(1)
XDG_STATE_HOME   where the folder p2pdma is, unless P2PDMA_STATE is set
NO_COLOR         no colours, unless --color says so";

impl Man {
    /// Runs the command.
    pub(crate) fn run(&self, context: &mut Context) -> Result<()> {
        let mut command = Cli::command();
        command.build();
        let Some(folder) = &self.out else {
            let page = render(&command, &command)?;
            return Ok(context.out.text(&String::from_utf8_lossy(&page))?);
        };
        let mut todo = vec![&command];
        while let Some(one) = todo.pop() {
            let path = folder.join(Page::new(one.clone()).get_filename());
            write(&path, &render(one, &command)?)?;
            todo.extend(one.get_subcommands());
        }
        Ok(())
    }
}

fn write(path: &Path, page: &[u8]) -> Result<()> {
    std::fs::write(path, page).map_err(|error| Failure::file(path, &error))
}

/// The page of a command; `whole` is p2pdma(1).
fn render(command: &clap::Command, whole: &clap::Command) -> io::Result<Vec<u8>> {
    let version = whole.get_version().unwrap_or_default();
    let page = Page::new(command.clone()).source(format!("p2pdma {version}"));
    let mut text = Vec::new();
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    page.render_options_section(&mut text)?;
    let is_whole = command.get_name() == whole.get_name();
    if command.has_subcommands() {
        page.render_subcommands_section(&mut text)?;
    } else if let Some(operands) = command.get_after_help() {
        let operands = operands.to_string();
        section("OPERANDS", &operands).to_writer(&mut text)?;
    }
    let statuses = exit::HELP.lines().skip(1).collect::<Vec<_>>().join("\n");
    section("EXIT STATUS", &statuses).to_writer(&mut text)?;
    section("ENVIRONMENT", ENVIRONMENT).to_writer(&mut text)?;
    if !is_whole {
        section("SEE ALSO", "p2pdma(1)").to_writer(&mut text)?;
    }
    Ok(text)
}

/// A section whose lines stay as they are.
fn section(title: &str, lines: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]).control("nf", []);
    for line in lines.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff
}
