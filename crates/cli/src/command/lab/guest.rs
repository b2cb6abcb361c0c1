//! What a guest is made of: options, and what they stand for.

use std::path::PathBuf;

use clap::builder::NonEmptyStringValueParser;
use clap::{Args, ValueEnum, ValueHint};
use p2pdma_lab::machine::{NotBuildable, Plan};
use p2pdma_lab::{Accelerator, Arch, Error, Job, Observer, Options, Provisions};

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, Result};

/// What the guest is.
#[derive(Debug, Clone, Args)]
pub(crate) struct Guest {
    /// Machine: a name, or a file with a slash or .toml in its name
    #[arg(long, value_name = "NAME|FILE", value_hint = ValueHint::FilePath)]
    #[arg(value_parser = NonEmptyStringValueParser::new())]
    topology: String,
    /// Architecture of the guest; by default that of this machine
    #[arg(long)]
    arch: Option<Architecture>,
    /// What carries the guest out: auto tries KVM, and emulates where that fails
    #[arg(long, value_name = "HOW", default_value = "auto")]
    accel: Accel,
    /// Kernel module to load, with those that it needs; may be repeated
    #[arg(long, value_name = "NAME")]
    module: Vec<String>,
    /// Debian package whose programs to take along, with their libraries; may be repeated
    #[arg(long, value_name = "NAME")]
    package: Vec<String>,
    /// Program of this machine to take along, with its libraries; may be repeated
    #[arg(long, value_name = "PROGRAM", value_hint = ValueHint::ExecutablePath)]
    bring: Vec<PathBuf>,
    /// File of this machine to take along, and where it is in the guest; may be repeated
    #[arg(long, value_name = "FILE:PATH")]
    file: Vec<String>,
    /// Further argument of the kernel; may be repeated
    #[arg(long, value_name = "ARGUMENT", allow_hyphen_values = true)]
    append: Vec<String>,
    #[command(flatten)]
    provisions: Provide,
}

/// Where kernel and QEMU come from.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Where kernel and QEMU come from")]
struct Provide {
    /// Kernel to boot instead of Debian's
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    kernel: Option<PathBuf>,
    /// Folder of that kernel's modules
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, requires = "kernel")]
    modules: Option<PathBuf>,
    /// QEMU to use instead of the one on PATH or Debian's
    #[arg(long, value_name = "PROGRAM", value_hint = ValueHint::ExecutablePath)]
    qemu: Option<PathBuf>,
    /// Static busybox for the guest instead of Debian's
    #[arg(long, value_name = "PROGRAM", value_hint = ValueHint::ExecutablePath)]
    busybox: Option<PathBuf>,
    /// Folder for what was fetched [default: $XDG_CACHE_HOME/p2pdma/lab, or ~/.cache/p2pdma/lab]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    cache: Option<PathBuf>,
    /// Fetch nothing: what is not in the cache is an error
    #[arg(long)]
    offline: bool,
    /// Look for newer packages, although some are in the cache
    #[arg(long, conflicts_with = "offline")]
    refresh: bool,
}

/// Architectures of guests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Architecture {
    /// x86-64, also known as amd64
    #[value(name = "x86_64", alias = "amd64")]
    X86_64,
    /// 64-bit Arm, also known as arm64
    #[value(name = "aarch64", alias = "arm64")]
    Aarch64,
    /// 64-bit RISC-V
    #[value(name = "riscv64")]
    Riscv64,
}

impl Architecture {
    /// The one that was asked for, or else this machine's.
    pub(crate) fn or_host(asked: Option<Self>) -> Result<Arch> {
        match asked {
            Some(Self::X86_64) => Ok(Arch::X86_64),
            Some(Self::Aarch64) => Ok(Arch::Aarch64),
            Some(Self::Riscv64) => Ok(Arch::Riscv64),
            None => Arch::of_host().ok_or_else(|| {
                Failure::usage("the lab has no guests of this machine's architecture")
                    .remedy("say which with --arch")
            }),
        }
    }
}

/// What carries a guest out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Accel {
    /// KVM if a trial boot succeeds, else emulation
    Auto,
    /// Emulation
    Tcg,
    /// KVM, tried or not
    Kvm,
}

impl Guest {
    /// What QEMU builds of the machine.
    pub(crate) fn plan(&self, context: &Context) -> Result<Plan> {
        let machine = context.machine_of("--topology", &self.topology)?;
        let plan = Plan::new(&machine, self.arch()?)?;
        for note in plan.notes() {
            context.out.detail(&format!("{note}"));
        }
        Ok(plan)
    }

    fn arch(&self) -> Result<Arch> {
        Architecture::or_host(self.arch)
    }

    /// QEMU and a kernel.
    pub(crate) fn provisions(&self, observer: &mut dyn Observer) -> Result<Provisions> {
        let given = &self.provisions;
        let options = Options {
            arch: self.arch()?,
            cache: given.cache.clone(),
            kernel: given.kernel.clone(),
            modules: given.modules.clone(),
            qemu: given.qemu.clone(),
            busybox: given.busybox.clone(),
            offline: given.offline,
            refresh: given.refresh,
        };
        Ok(options.provide(observer)?)
    }

    /// What carries it out.
    pub(crate) fn accelerator(
        &self,
        provisions: &Provisions,
        observer: &mut dyn Observer,
    ) -> Accelerator {
        match self.accel {
            Accel::Auto => Accelerator::best(provisions, observer),
            Accel::Tcg => Accelerator::Tcg,
            Accel::Kvm => Accelerator::Kvm,
        }
    }

    /// The kernel's arguments that were asked for.
    pub(crate) fn kernel_arguments(&self) -> Vec<String> {
        self.append.clone()
    }

    /// The job with everything that goes along. This very program does, where the guest can run it.
    pub(crate) fn equip(&self, job: Job) -> Result<Job> {
        let mut job = self.module.iter().fold(job, |job, name| job.module(name));
        job = self.package.iter().fold(job, |job, name| job.package(name));
        if Arch::of_host() == Some(self.arch()?)
            && let Ok(ourselves) = std::env::current_exe()
        {
            job = job.program(ourselves);
        }
        job = self.bring.iter().fold(job, |job, path| job.program(path));
        for file in &self.file {
            let (source, target) = file.split_once(':').ok_or_else(|| {
                Failure::usage(format!("--file {file}: expected a file here and a path there"))
                    .remedy("as in --file ./data:/srv/data")
            })?;
            job = job.file(source, target);
        }
        Ok(job)
    }
}

impl From<NotBuildable> for Failure {
    fn from(error: NotBuildable) -> Self {
        let lines: Vec<String> =
            error.refusals.iter().map(|refusal| format!("  {refusal}\n")).collect();
        let message = format!("QEMU cannot build the machine '{}'", error.machine);
        Self::new(Exit::Usage, "LAB-MACHINE", message)
            .details(lines.concat())
            .remedy("'p2pdma lab list' shows machines that it can; the fabric builds this one")
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        match error {
            Error::Stopped { .. } => Self::interrupted(),
            Error::NotForGuest { .. }
            | Error::NoModule { .. }
            | Error::NoPackage { .. }
            | Error::PackageName { .. }
            | Error::GuestPath { .. }
            | Error::OldQemu { .. }
            | Error::HostArch(_)
            | Error::GuestArch(_)
            | Error::NoCacheFolder => Self::usage(message),
            Error::File { source, .. } => Self::lab_file(source.kind(), message),
            Error::Offline { .. } | Error::NoMirror => Self::new(Exit::Io, "OFFLINE", message),
            _ => Self::new(Exit::Io, "LAB", message),
        }
    }
}

impl Failure {
    fn lab_file(kind: std::io::ErrorKind, message: String) -> Self {
        let exit = match kind {
            std::io::ErrorKind::PermissionDenied => Exit::Permission,
            std::io::ErrorKind::NotFound => Exit::Usage,
            _ => Exit::Io,
        };
        Self::new(exit, "LAB", message)
    }
}
