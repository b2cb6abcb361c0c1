//! Runs a job: QEMU as a child process, the guest's channels, and how it all ended.

mod arguments;
mod channels;
mod kvm;
mod process;
mod qmp;
mod unplug;
mod watch;

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use kvm::Accelerator;

use crate::error::{Error, FileContext as _, Stage};
use crate::guest::{self, Job};
use crate::machine::Plan;
use crate::observe::{Observer, Step};
use crate::provide::{Package, Provisions};

use channels::Channels;
use process::Process;
use unplug::Unplugs;
use watch::Watch;

/// How a job is run.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    /// How long the guest may take, from the start of QEMU to the end of the job. A shell has no limit.
    pub limit: Duration,
    /// How long a guest may take to its first process before it is booted again, once. An emulated guest on a
    /// machine that has too much to do hangs there now and then, before its kernel has said a word; nothing of
    /// the job has run by then.
    pub boot_limit: Duration,
    /// Breaks the run off when it becomes true.
    pub stop: Option<&'a AtomicBool>,
    /// What carries the guest out.
    pub accelerator: Accelerator,
    /// Further arguments of the kernel, after those of the machine.
    pub kernel_arguments: Vec<String>,
    /// A folder for the files behind media and memory, which stay there: `NAME-memory.img` is what the memory of the
    /// function NAME holds, `NAME-ns1.img` its first namespace. By default they go when the guest has ended.
    pub folder: Option<PathBuf>,
    /// A virtio disk of so many bytes beside the machine's devices, for what is no NVMe: it reads as zeroes, and forgets what
    /// is written. The kernel needs its module `virtio_blk` for it.
    pub virtio_disk: Option<u64>,
}

impl Default for Settings<'_> {
    /// Two minutes, emulated; one for the boot.
    fn default() -> Self {
        Self {
            limit: Duration::from_secs(120),
            boot_limit: Duration::from_secs(60),
            stop: None,
            accelerator: Accelerator::Tcg,
            kernel_arguments: Vec::new(),
            folder: None,
            virtio_disk: None,
        }
    }
}

/// The most that is kept of each stream of a guest, in bytes; an observer is given all of it.
const KEPT: usize = 64 << 20;

/// How a job ended. Of each stream the first 64 MiB are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its exit status, as a shell has it: 128 and the number of the signal that ended it.
    pub status: u8,
    /// What it wrote to its standard output.
    pub out: Vec<u8>,
    /// What it wrote to its standard error.
    pub err: Vec<u8>,
    /// The guest's serial console; empty if that was a person's.
    pub serial: Vec<u8>,
    /// The kernel's log, up to the end of the job.
    pub log: Vec<u8>,
    /// From the start of QEMU to the guest's first process.
    pub boot: Duration,
    /// From the start of QEMU to its end.
    pub total: Duration,
}

/// Boots a machine, runs a job in it, and waits for its end. QEMU ends with this call, however that
/// ends.
///
/// # Errors
/// [`Error`], if the job could not be run to its end. A job that fails is none: [`Outcome::status`].
pub fn run(
    provisions: &Provisions,
    plan: &Plan,
    job: &Job,
    settings: &Settings<'_>,
    observer: &mut dyn Observer,
) -> Result<Outcome, Error> {
    let packages =
        provisions.packages(&job.packages, observer).map_err(|error| match settings.stop {
            // Whoever interrupts us interrupts apt, too.
            Some(stop) if stop.load(Ordering::Relaxed) => Error::Stopped { stage: Stage::Boot },
            _ => error,
        })?;
    let guest = Guest { provisions, plan, job, packages: &packages };
    match guest.boot(settings, observer) {
        Err(Error::TimeLimit { stage: Stage::Boot, limit, .. }) if limit < settings.limit => {
            observer.step(&Step::BootAgain { after: limit });
            let patient = Settings { boot_limit: settings.limit, ..settings.clone() };
            guest.boot(&patient, observer)
        }
        ended => ended,
    }
}

/// What is booted.
struct Guest<'a> {
    provisions: &'a Provisions,
    plan: &'a Plan,
    job: &'a Job,
    packages: &'a [Package],
}

impl Guest<'_> {
    fn boot(&self, settings: &Settings<'_>, observer: &mut dyn Observer) -> Result<Outcome, Error> {
        let temporary = std::env::temp_dir();
        let folder = tempfile::Builder::new()
            .prefix("p2pdma-lab-")
            .tempdir_in(&temporary)
            .file("create", &temporary)?;
        self.prepare(folder.path(), settings)?;
        let interactive = self.job.is_interactive();
        let channels = Channels::listen(folder.path(), interactive)?;
        let mut command = self.provisions.qemu().command();
        command.args(self.plan.arguments());
        command.args(arguments::own(self.provisions, self.plan, settings, interactive));
        observer.step(&Step::Boot { machine: self.plan.name().to_owned() });
        let begin = Instant::now();
        let process = Process::start(command, folder.path(), interactive)?;
        let unplugs = Unplugs::new(&self.job.unplugs);
        Watch::new(process, channels, begin, settings, interactive, unplugs).follow(observer)
    }

    /// Makes the files that QEMU opens.
    fn prepare(&self, folder: &Path, settings: &Settings<'_>) -> Result<(), Error> {
        for backing in self.plan.backings() {
            let mut path = folder.join(&backing.file);
            if let Some(kept) = &settings.folder {
                let kept = kept.join(&backing.file);
                symlink(&kept, &path).file("create", &path)?;
                path = kept;
            }
            // One that is kept may be there from a boot that hung.
            let file = File::create(&path).file("create", &path)?;
            file.set_len(backing.size).file("extend", &path)?;
        }
        let image = folder.join(arguments::INITRAMFS);
        guest::write_initramfs(&image, self.provisions, self.job, self.packages, settings.limit)?;
        fs::metadata(&image).file("read", &image).map(drop)
    }
}
