//! Ctrl-C, noticed between two blocks.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;

/// Whether somebody wants the command to end.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(Arc<AtomicBool>);

const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

impl Interrupt {
    /// From now on the first signal is noted, and the second ends the process as it always would.
    pub(crate) fn watch() -> io::Result<Self> {
        let raised = Arc::new(AtomicBool::new(false));
        for signal in SIGNALS {
            // In this order: at the first signal the flag is not yet up.
            flag::register_conditional_default(signal, Arc::clone(&raised))?;
            flag::register(signal, Arc::clone(&raised))?;
        }
        Ok(Self(raised))
    }

    /// From now on every signal is noted, and none ends the process: for what must not be left half-done.
    pub(crate) fn note() -> io::Result<Self> {
        let raised = Arc::new(AtomicBool::new(false));
        for signal in SIGNALS {
            flag::register(signal, Arc::clone(&raised))?;
        }
        Ok(Self(raised))
    }

    /// Whether a signal came.
    pub(crate) fn raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// What is raised when one comes.
    pub(crate) fn flag(&self) -> &AtomicBool {
        &self.0
    }

    /// Waits, unless a signal comes.
    pub(crate) fn pause(&self, time: Duration) {
        let begin = Instant::now();
        while !self.raised() && begin.elapsed() < time {
            std::thread::sleep(Duration::from_millis(20).min(time));
        }
    }

    /// Breaks off if a signal came.
    pub(crate) fn flow(&self) -> ControlFlow<()> {
        if self.raised() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// A file that grows beyond the process's limit (`ulimit -f`) is then an error of the write, like a full
/// disk, instead of the process's death.
pub(crate) fn ignore_file_limit() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(drop)
}

/// Who raises signals in a test has this meanwhile: they come to every thread of the process.
#[cfg(test)]
pub(crate) static RAISING: std::sync::Mutex<()> = std::sync::Mutex::new(());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_only_noted_survives_every_signal() {
        let _raising = RAISING.lock().unwrap();
        let noted = Interrupt::note().unwrap();
        assert!(!noted.raised());
        for _ in 0..2 {
            for signal in SIGNALS {
                signal_hook::low_level::raise(signal).unwrap();
                assert!(noted.raised());
            }
        }
    }
}
