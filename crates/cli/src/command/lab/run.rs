//! `lab run` and `lab shell`.

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, ValueHint};
use p2pdma_lab::{Job, Program, Provisions, Settings};
use schemars::JsonSchema;
use serde::Serialize;

use super::guest::Guest;
use super::watch::Watcher;
use crate::args::{Format, time};
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::interrupt::Interrupt;

/// Boots a machine and runs a command in it.
#[derive(Debug, Args)]
pub(crate) struct Run {
    #[command(flatten)]
    guest: Guest,
    /// How long it may take, from the start of QEMU to the end of the command
    #[arg(long, value_name = "TIME", value_parser = time, default_value = "2m")]
    limit: Duration,
    /// File for the guest's serial console
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    serial: Option<PathBuf>,
    /// File for the kernel's log
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    dmesg: Option<PathBuf>,
    /// Command, with its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// Boots a machine and gives a shell in it.
#[derive(Debug, Args)]
pub(crate) struct Shell {
    #[command(flatten)]
    guest: Guest,
}

/// What `lab run` prints as JSON.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct LabRunDocument {
    /// The machine's name.
    machine: String,
    /// The guest's architecture.
    architecture: &'static str,
    /// The guest's kernel.
    kernel: Option<String>,
    /// QEMU's version.
    qemu: String,
    /// What carried the guest out: tcg or kvm.
    accelerator: &'static str,
    /// The command's exit status; this process ends with it, too.
    exit_status: u8,
    /// What the command wrote to its standard output; what is no UTF-8 is replaced.
    stdout: String,
    /// What the command wrote to its standard error.
    stderr: String,
    /// The guest's serial console.
    serial: String,
    /// The kernel's log.
    kernel_log: String,
    /// From the start of QEMU to the guest's first process.
    boot_seconds: f64,
    /// From the start of QEMU to its end.
    total_seconds: f64,
}

impl Run {
    /// Runs the command.
    pub(crate) fn run(&self, context: &mut Context) -> Result<ExitCode> {
        let out = &context.out;
        let as_data = match out.format() {
            Format::Table => false,
            Format::Json | Format::Jsonl => true,
            Format::Csv => {
                return Err(Failure::usage("what runs in the lab is no table")
                    .remedy("leave -o csv out, or say -o json"));
            }
        };
        let plan = self.guest.plan(context)?;
        let job = self.guest.equip(self.job())?;
        let interrupt = Interrupt::watch()?;
        let watcher = Watcher::new(out, !as_data, interrupt.flag());
        let mut watcher = watcher.serial(self.serial.as_deref())?;
        let provisions = provisions(&self.guest, &interrupt, &mut watcher)?;
        let accelerator = self.guest.accelerator(&provisions, &mut watcher);
        let settings = Settings {
            limit: self.limit,
            stop: Some(interrupt.flag()),
            accelerator,
            kernel_arguments: self.guest.kernel_arguments(),
            ..Settings::default()
        };
        let outcome = p2pdma_lab::run(&provisions, &plan, &job, &settings, &mut watcher)?;
        if let Some(path) = &self.dmesg {
            std::fs::write(path, &outcome.log).map_err(|error| Failure::file(path, &error))?;
        }
        if as_data {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let document = LabRunDocument {
                machine: plan.name().to_owned(),
                architecture: plan.arch().name(),
                kernel: watcher.kernel,
                qemu: provisions.qemu().version().to_owned(),
                accelerator: accelerator.name(),
                exit_status: outcome.status,
                stdout: text(&outcome.out),
                stderr: text(&outcome.err),
                serial: text(&outcome.serial),
                kernel_log: text(&outcome.log),
                boot_seconds: outcome.boot.as_secs_f64(),
                total_seconds: outcome.total.as_secs_f64(),
            };
            out.document("p2pdma/lab-run", &document)?;
        }
        Ok(outcome.status.into())
    }

    fn job(&self) -> Job {
        let (name, arguments) = match self.command.split_first() {
            Some((name, arguments)) => (name.as_str(), arguments),
            None => ("", self.command.as_slice()),
        };
        let program = match name.contains('/') {
            true => Program::Host(name.into()),
            false => Program::Guest(name.to_owned()),
        };
        Job::new(program).arguments(arguments)
    }
}

impl Shell {
    /// Runs the command.
    pub(crate) fn run(&self, context: &mut Context) -> Result<ExitCode> {
        if !std::io::stdin().is_terminal() {
            return Err(Failure::usage("a shell in the lab needs a terminal")
                .remedy("for a script say p2pdma lab run … -- sh -c '…'"));
        }
        let plan = self.guest.plan(context)?;
        let job = self.guest.equip(Job::shell())?;
        let interrupt = Interrupt::watch()?;
        let mut watcher = Watcher::new(&context.out, true, interrupt.flag());
        let provisions = provisions(&self.guest, &interrupt, &mut watcher)?;
        let settings = Settings {
            stop: Some(interrupt.flag()),
            accelerator: self.guest.accelerator(&provisions, &mut watcher),
            kernel_arguments: self.guest.kernel_arguments(),
            ..Settings::default()
        };
        let outcome = p2pdma_lab::run(&provisions, &plan, &job, &settings, &mut watcher)?;
        Ok(outcome.status.into())
    }
}

/// QEMU and a kernel. An interrupt ends apt, too, which then says that something failed.
fn provisions(
    guest: &Guest,
    interrupt: &Interrupt,
    watcher: &mut Watcher<'_>,
) -> Result<Provisions> {
    let provisions = guest.provisions(watcher);
    if interrupt.raised() { Err(Failure::interrupted()) } else { provisions }
}
