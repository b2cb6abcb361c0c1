//! Who is told how far the lab is.

use std::fmt;
use std::time::Duration;

/// How far the lab is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// Another run fills the cache; this one waits for it.
    Waiting,
    /// Package lists are fetched.
    Lists,
    /// Packages are fetched.
    Download {
        /// What for: `QEMU`.
        what: String,
        /// Bytes that are here.
        done: u64,
        /// Bytes that there are.
        total: u64,
    },
    /// Packages are unpacked.
    Unpack {
        /// What for.
        what: String,
    },
    /// A processor's virtualization is tried out.
    KvmTest,
    /// QEMU starts.
    Boot {
        /// The machine.
        machine: String,
    },
    /// The guest hung before its first process, and is booted again.
    BootAgain {
        /// How long it was waited for.
        after: Duration,
    },
    /// The guest's first process runs.
    Started {
        /// The kernel's version.
        kernel: String,
        /// Since QEMU started.
        after: Duration,
    },
    /// The job ended.
    Ended {
        /// Its exit status.
        status: u8,
        /// Since QEMU started.
        after: Duration,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Waiting => f.write_str("waiting for another run that fills the cache"),
            Self::Lists => f.write_str("fetching package lists"),
            Self::Download { what, done, total } => {
                let mega = |bytes: u64| bytes / 1_000_000;
                write!(f, "fetching {what}: {} of {} MB", mega(*done), mega(*total))
            }
            Self::Unpack { what } => write!(f, "unpacking {what}"),
            Self::KvmTest => f.write_str("trying KVM"),
            Self::Boot { machine } => write!(f, "booting {machine}"),
            Self::BootAgain { after } => {
                write!(f, "nothing came up in {:.0} s: booting again", after.as_secs_f32())
            }
            Self::Started { kernel, after } => {
                write!(f, "Linux {kernel} is up after {:.1} s", after.as_secs_f32())
            }
            Self::Ended { status, after } => {
                write!(f, "the job ended with status {status} after {:.1} s", after.as_secs_f32())
            }
        }
    }
}

/// Where a guest's bytes come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// The job's standard output.
    Out,
    /// The job's standard error.
    Err,
    /// The guest's serial console.
    Serial,
}

/// Is told how far the lab is, and what the guest says, while it does. Whatever is not wanted is left
/// out; `()` wants nothing.
pub trait Observer {
    /// The lab got so far.
    fn step(&mut self, step: &Step) {
        let _ = step;
    }

    /// The guest said this.
    fn output(&mut self, stream: Stream, bytes: &[u8]) {
        let _ = (stream, bytes);
    }
}

impl Observer for () {}
