//! `bind`: devices from the kernel's drivers to vfio, and back.

mod child;
mod moves;
mod status;

use std::ffi::{OsStr, OsString};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, ExitStatus};

use clap::{Args, Subcommand};
use p2pdma::Bdf;
use p2pdma::linux::bind::{self, Binding};
use p2pdma::linux::{LiveTree, Survey};
use signal_hook::consts::SIGINT;

pub(crate) use status::{BindDocument, BindingDocument};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;

/// Moves devices of this machine from the kernel's drivers to vfio, and back.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Bind {
    #[command(subcommand)]
    action: Action,
}

/// What to do.
#[derive(Debug, Subcommand)]
enum Action {
    /// Which drivers devices have, who shares their IOMMU groups, and what stands on them
    Status(Status),
    /// Take devices from the kernel, for copies without it
    ///
    /// What is mounted, swapped to, part of a volume, a network interface that is up or open in a process is refused, and so
    /// is a device whose IOMMU group is shared with one that the kernel uses. If a step fails, or Ctrl-C comes, all of them go back.
    ///
    /// With a command they go back when it ends, and its exit status is this one's: of one that a signal ended, 128 and
    /// its number.
    Take(Take),
    /// Give devices back to the kernel's drivers, and say which these are
    ///
    /// All go that can: one that does not go keeps no other.
    Give(Give),
}

/// `bind status`
#[derive(Debug, Args)]
struct Status {
    /// Addresses, such as 0000:03:00.0 [default: all NVMe controllers, and what is bound to vfio-pci]
    #[arg(value_name = "BDF")]
    devices: Vec<Bdf>,
}

/// `bind take`
#[derive(Debug, Args)]
struct Take {
    /// Addresses, such as 0000:03:00.0
    #[arg(value_name = "BDF", required = true)]
    devices: Vec<Bdf>,
    /// Print the steps, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// A command to be run meanwhile
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<OsString>,
}

/// `bind give`
#[derive(Debug, Args)]
struct Give {
    /// Addresses, such as 0000:03:00.0
    #[arg(value_name = "BDF", required = true)]
    devices: Vec<Bdf>,
    /// Print the steps, and do nothing
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Bind {
    /// Runs the command; its status is that of a command that it ran.
    pub(crate) fn run(&self, context: &mut Context) -> Result<ExitCode> {
        match &self.action {
            Action::Status(status) => status.run(context).map(|()| Exit::Done.into()),
            Action::Take(take) => take.run(context),
            Action::Give(give) => give.run(context).map(|()| Exit::Done.into()),
        }
    }
}

impl Status {
    fn run(&self, context: &Context) -> Result<()> {
        let survey = Survey::read(&LiveTree::machine()?)?;
        let bindings = match self.devices.as_slice() {
            [] => bind::usual(&survey),
            named => find(named)?,
        };
        Ok(BindDocument::new(&survey, &bindings).print(&context.out)?)
    }
}

impl Take {
    fn run(&self, context: &Context) -> Result<ExitCode> {
        let bindings = find(&self.devices)?;
        let survey = Survey::read(&LiveTree::machine()?)?;
        moves::check(&survey, &bindings, &self.devices)?;
        let steps = bindings.iter().flat_map(Binding::take).collect();
        if self.dry_run {
            return moves::print(&context.out, steps).map(|()| Exit::Done.into());
        }
        let interrupt = Interrupt::note()?;
        let taken = moves::take(steps, &bindings, &interrupt);
        let [program, arguments @ ..] = self.command.as_slice() else {
            return taken.map(|()| Exit::Done.into());
        };
        taken?;
        let status = child::run(Command::new(program).args(arguments));
        let given = moves::give_back(&bindings);
        let status = status.map_err(|error| {
            let message = format!("{} cannot be run: {error}", program.display());
            Failure::usage(message).remedy("name a program behind '--'")
        })?;
        given?;
        Ok(ended(context, program, status))
    }
}

/// How a command ended, as a shell has it: of one that a signal ended, 128 and the signal's number.
fn ended(context: &Context, program: &OsStr, status: ExitStatus) -> ExitCode {
    let code = match (status.code(), status.signal()) {
        (Some(code), _) => code,
        (None, signal) => {
            let signal = signal.unwrap_or(SIGINT);
            if signal != SIGINT {
                context.out.note(&format!("{} was ended by signal {signal}", program.display()));
            }
            128 + signal
        }
    };
    ExitCode::from(u8::try_from(code).unwrap_or(Exit::Io.status()))
}

impl Give {
    fn run(&self, context: &Context) -> Result<()> {
        let bindings = find(&self.devices)?;
        if self.dry_run {
            let steps = bindings.iter().flat_map(Binding::give).collect();
            return moves::print(&context.out, steps);
        }
        let given = moves::give(&bindings, &Interrupt::note()?);
        given.and(self.show(context))
    }

    /// Which drivers they have now.
    fn show(&self, context: &Context) -> Result<()> {
        let survey = Survey::read(&LiveTree::machine()?)?;
        let bindings: Vec<Binding> = self.devices.iter().copied().filter_map(Binding::of).collect();
        Ok(BindDocument::new(&survey, &bindings).print(&context.out)?)
    }
}

/// How devices are bound.
fn find(devices: &[Bdf]) -> Result<Vec<Binding>> {
    let find = |&bdf: &Bdf| {
        Binding::of(bdf).ok_or_else(|| {
            Failure::usage(format!("there is no device at {bdf}"))
                .remedy("'p2pdma bind status' lists those that can be taken")
        })
    };
    devices.iter().map(find).collect()
}
