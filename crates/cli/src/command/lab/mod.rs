//! `lab`: a real kernel in QEMU, on a machine file.

mod guest;
mod list;
mod run;
mod watch;

use std::process::ExitCode;

use clap::{Args, Subcommand};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Result;

pub(crate) use list::{LabMachineDocument, LabMachinesDocument};
pub(crate) use run::LabRunDocument;

/// Boots a real Linux in QEMU on a machine file, and runs a command in it.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Lab {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Boot, run a command, and end with its exit status
    ///
    /// The command is p2pdma itself, a program of busybox, or one with a slash in its name: that is
    /// one of this machine, and goes into the guest with its libraries. What it writes is passed on. If
    /// it could not be run, the exit status is one of those below.
    Run(run::Run),
    /// Boot, and give a shell at the guest's console
    ///
    /// 'exit' switches the guest off; Ctrl-A x ends it at once.
    Shell(run::Shell),
    /// The machines that come along, and which of them QEMU can build
    List(list::List),
}

impl Lab {
    /// Runs the command; its status is that of what ran in the guest.
    pub(crate) fn run(&self, context: &mut Context) -> Result<ExitCode> {
        match &self.action {
            Action::Run(run) => run.run(context),
            Action::Shell(shell) => shell.run(context),
            Action::List(list) => list.run(context).map(|()| Exit::Done.into()),
        }
    }
}
