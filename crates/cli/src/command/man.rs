//! `man`: manual pages.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, ValueHint};
use clap_mangen::Man as Page;

use crate::args::Cli;
use crate::context::Context;
use crate::failure::{Failure, Result};

/// Prints the manual page of p2pdma(1), or writes one for every command.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Folder to write the pages to
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    out: Option<PathBuf>,
}

impl Man {
    /// Runs the command.
    pub(crate) fn run(&self, context: &mut Context) -> Result<()> {
        let mut command = Cli::command();
        command.build();
        match &self.out {
            None => {
                let mut page = Vec::new();
                Page::new(command).render(&mut page)?;
                context.out.text(&String::from_utf8_lossy(&page))?;
            }
            Some(folder) => {
                write_page(folder, command.clone())?;
                for subcommand in command.get_subcommands() {
                    write_page(folder, subcommand.clone())?;
                }
            }
        }
        Ok(())
    }
}

fn write_page(folder: &Path, command: clap::Command) -> Result<()> {
    let page = Page::new(command);
    let path = folder.join(page.get_filename());
    let mut text = Vec::new();
    page.render(&mut text)?;
    std::fs::write(&path, text).map_err(|error| Failure::file(&path, &error))
}
