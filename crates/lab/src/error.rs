//! What can go wrong in the lab, with what to do about it.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use crate::Arch;

/// Why the lab could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried: `read`, `create`.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// There is no place for a cache.
    #[error("no folder for the cache: set XDG_CACHE_HOME or HOME, or name a folder")]
    NoCacheFolder,
    /// A program of this machine is missing or does not start.
    #[error("cannot run {program}: {source}; {remedy}")]
    Program {
        /// The program.
        program: String,
        /// Why not.
        source: io::Error,
        /// What to do.
        remedy: &'static str,
    },
    /// A program of this machine failed.
    #[error("{what} failed ({status}): {output}; {remedy}")]
    Tool {
        /// What it was to do.
        what: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines of what it said.
        output: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The machine's apt has no Debian archive to take packages from.
    #[error(
        "apt on this machine is not set up with a Debian archive; \
         give a kernel with --kernel, QEMU with --qemu and a static busybox with --busybox"
    )]
    NoMirror,
    /// The network is not to be used, and something is not in the cache.
    #[error(
        "{what} is not in the cache {}, and nothing may be fetched (offline); run once with network, \
         copy that folder from a machine that has it, or give {option}",
        cache.display()
    )]
    Offline {
        /// What is missing.
        what: String,
        /// The cache.
        cache: PathBuf,
        /// The option that gives it instead.
        option: &'static str,
    },
    /// The archive has no such package.
    #[error("Debian's {suite} has no package {package}; give {option}")]
    NoPackage {
        /// What was looked for.
        package: String,
        /// Where.
        suite: String,
        /// The option that gives it instead.
        option: &'static str,
    },
    /// No Debian package can have this name.
    #[error("'{name}' is no name of a Debian package: these have a-z, 0-9, '+', '-' and '.'")]
    PackageName {
        /// The name.
        name: String,
    },
    /// A package does not contain what the lab needs of it.
    #[error("{what} is not in the packages {packages}; give {option}")]
    NotInPackage {
        /// What was looked for.
        what: String,
        /// Where.
        packages: String,
        /// The option that gives it instead.
        option: &'static str,
    },
    /// The cache is not what was put there, and fetching it anew is not allowed.
    #[error("{} is not what was put there: {what}; delete {} and run again with network", path.display(), folder.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// The folder to delete.
        folder: PathBuf,
    },
    /// QEMU is too old.
    #[error("{} is QEMU {found}; the lab needs {needed} or later", path.display())]
    OldQemu {
        /// The program.
        path: PathBuf,
        /// Its version.
        found: String,
        /// The oldest that serves.
        needed: &'static str,
    },
    /// QEMU's monitor refused a command: to unplug what is not there, for instance.
    #[error("QEMU refuses a command: {message}")]
    Monitor {
        /// Why.
        message: String,
    },
    /// A program that is to go into the guest cannot.
    #[error("{} cannot run in the guest: {reason}", path.display())]
    NotForGuest {
        /// The program or library.
        path: PathBuf,
        /// Why not, and what to do.
        reason: String,
    },
    /// The kernel has no such module.
    #[error("the kernel has no module '{name}' in {}", folder.display())]
    NoModule {
        /// The module.
        name: String,
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// A path that cannot be in the guest.
    #[error("'{path}' cannot be a path in the guest: it must begin with / and have no '..'")]
    GuestPath {
        /// The path.
        path: String,
    },
    /// QEMU ended by itself, before the kernel started or while the guest ran.
    #[error("QEMU ended ({status}) {stage}: {output}")]
    Qemu {
        /// How it ended.
        status: ExitStatus,
        /// When.
        stage: Stage,
        /// The last lines of what it said.
        output: String,
    },
    /// The guest's kernel panicked.
    #[error("the guest's kernel panicked {stage}: {message}\n{serial}")]
    Panic {
        /// When.
        stage: Stage,
        /// The kernel's reason.
        message: String,
        /// The last lines of its serial console.
        serial: String,
    },
    /// The guest did not end in time.
    #[error("the guest was stopped {stage}: {} s are over\n{serial}", limit.as_secs_f32())]
    TimeLimit {
        /// When.
        stage: Stage,
        /// The limit.
        limit: Duration,
        /// The last lines of its serial console.
        serial: String,
    },
    /// The guest switched itself off without a word of how the job ended.
    #[error("the guest ended {stage} ({reason}), without an exit status of the job\n{serial}")]
    Ended {
        /// When.
        stage: Stage,
        /// Why, as QEMU says: `guest-shutdown`, `guest-reset`, …
        reason: String,
        /// The last lines of its serial console.
        serial: String,
    },
    /// The guest could not be set up for the job.
    #[error("the guest could not start the job: {reason}")]
    Setup {
        /// What went wrong in it.
        reason: String,
    },
    /// Somebody wanted it to end.
    #[error("the guest was stopped {stage}, as asked")]
    Stopped {
        /// When.
        stage: Stage,
    },
    /// The lab knows no machine of this kind.
    #[error("the lab cannot run on {0}: it knows x86_64, aarch64 and riscv64")]
    HostArch(&'static str),
    /// The lab cannot get a kernel for this architecture by itself.
    #[error("the lab has no packages for {0}")]
    GuestArch(Arch),
}

/// How far a guest got.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Before its first process ran.
    Boot,
    /// While the job ran.
    Job,
    /// After the job had ended, while it switched itself off.
    PowerOff,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Boot => "while it booted",
            Self::Job => "while the job ran",
            Self::PowerOff => "after the job had ended",
        })
    }
}

/// Makes errors of files say which file.
pub(crate) trait FileContext<T> {
    /// Adds what was tried, and with which file.
    fn file(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, Error>;
}

impl<T> FileContext<T> for io::Result<T> {
    fn file(self, action: &'static str, path: impl Into<PathBuf>) -> Result<T, Error> {
        self.map_err(|source| Error::File { action, path: path.into(), source })
    }
}
