//! From the start of QEMU to its end.

use std::process::ExitStatus;
use std::sync::atomic::Ordering;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use super::arguments::{QMP, SERIAL};
use super::channels::{Channels, Event};
use super::process::Process;
use super::qmp::Monitor;
use super::unplug::Unplugs;
use super::{KEPT, Outcome, Settings};
use crate::error::{Error, Stage};
use crate::guest::{CONTROL, ERR, LOG, OUT};
use crate::observe::{Observer, Step, Stream};

/// The channel of QEMU's own messages.
const MESSAGES: &str = "messages";
/// How often the clock and the process are looked at.
const TICK: Duration = Duration::from_millis(50);
/// How long a guest may take to switch itself off.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long QEMU may take to end when asked to.
const QUIT: Duration = Duration::from_secs(2);
/// How much of a console an error shows.
const SHOWN_LINES: usize = 20;

/// A guest that runs.
pub(super) struct Watch<'a> {
    process: Process,
    channels: Channels,
    monitor: Monitor,
    unplugs: Unplugs,
    settings: &'a Settings<'a>,
    limited: bool,
    begin: Instant,
    stage: Stage,
    /// Lines of the control channel, the last one perhaps not yet whole.
    control: Vec<u8>,
    messages: Vec<u8>,
    failed: Option<String>,
    /// When the job ended.
    job_ended: Option<Instant>,
    outcome: Outcome,
}

impl<'a> Watch<'a> {
    pub(super) fn new(
        mut process: Process,
        mut channels: Channels,
        begin: Instant,
        settings: &'a Settings<'a>,
        interactive: bool,
        unplugs: Unplugs,
    ) -> Self {
        if let Some(messages) = process.messages() {
            channels.read(MESSAGES, || Ok(messages));
        }
        channels.complete();
        Self {
            process,
            channels,
            monitor: Monitor::default(),
            unplugs,
            settings,
            limited: !interactive,
            begin,
            stage: Stage::Boot,
            control: Vec::new(),
            messages: Vec::new(),
            failed: None,
            job_ended: None,
            outcome: Outcome {
                status: 0,
                out: Vec::new(),
                err: Vec::new(),
                serial: Vec::new(),
                log: Vec::new(),
                boot: Duration::ZERO,
                total: Duration::ZERO,
            },
        }
    }

    /// Follows it to its end.
    pub(super) fn follow(mut self, observer: &mut dyn Observer) -> Result<Outcome, Error> {
        let status = loop {
            match self.channels.events.recv_timeout(TICK) {
                Ok(event) => self.take(event, observer),
                Err(RecvTimeoutError::Timeout) => {}
                // Every channel has ended; so has QEMU, or it is about to.
                Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
            }
            self.look_at_the_clock()?;
            if let Some(status) = self.process.ended()? {
                break status;
            }
        };
        self.channels.release();
        while let Ok(event) = self.channels.events.recv() {
            self.take(event, observer);
        }
        self.outcome.total = self.begin.elapsed();
        self.judge(status)
    }

    fn take(&mut self, event: Event, observer: &mut dyn Observer) {
        let (name, bytes) = match event {
            Event::Monitor(stream) => return self.monitor.connected(stream),
            Event::Bytes(name, bytes) => (name, bytes),
        };
        match name {
            OUT => {
                observer.output(Stream::Out, &bytes);
                keep(&mut self.outcome.out, &bytes);
                for device in self.unplugs.take(&bytes) {
                    self.monitor.unplug(&device);
                }
            }
            ERR => {
                observer.output(Stream::Err, &bytes);
                keep(&mut self.outcome.err, &bytes);
            }
            SERIAL => {
                observer.output(Stream::Serial, &bytes);
                keep(&mut self.outcome.serial, &bytes);
            }
            LOG => keep(&mut self.outcome.log, &bytes),
            QMP => self.monitor.receive(&bytes),
            CONTROL => self.control(&bytes, observer),
            _ => keep(&mut self.messages, &bytes),
        }
    }

    /// Takes what the guest's first process says.
    fn control(&mut self, bytes: &[u8], observer: &mut dyn Observer) {
        keep(&mut self.control, bytes);
        while let Some(end) = self.control.iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = self.control.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line);
            let after = self.begin.elapsed();
            match line.trim_end().split_once(' ') {
                Some(("started", kernel)) => {
                    self.stage = Stage::Job;
                    self.outcome.boot = after;
                    observer.step(&Step::Started { kernel: kernel.to_owned(), after });
                }
                Some(("exit", status)) => {
                    let status = status.parse().unwrap_or(u8::MAX);
                    self.stage = Stage::PowerOff;
                    self.job_ended = Some(Instant::now());
                    self.outcome.status = status;
                    observer.step(&Step::Ended { status, after });
                }
                Some(("failed", reason)) => self.failed = Some(reason.to_owned()),
                _ => {}
            }
        }
    }

    fn look_at_the_clock(&mut self) -> Result<(), Error> {
        if self.settings.stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            self.end();
            return Err(Error::Stopped { stage: self.stage });
        }
        match self.job_ended {
            Some(at) if at.elapsed() > PATIENCE => self.end(),
            None if self.limited && self.begin.elapsed() > self.limit() => {
                self.end();
                let (stage, limit, serial) = (self.stage, self.limit(), self.console());
                return Err(Error::TimeLimit { stage, limit, serial });
            }
            _ => {}
        }
        Ok(())
    }

    fn limit(&self) -> Duration {
        match self.stage {
            Stage::Boot => self.settings.limit.min(self.settings.boot_limit),
            _ => self.settings.limit,
        }
    }

    /// Ends QEMU: in order, so that a terminal is as it was before, or else at once.
    fn end(&mut self) {
        self.monitor.quit();
        let begin = Instant::now();
        while begin.elapsed() < QUIT && matches!(self.process.ended(), Ok(None)) {
            std::thread::sleep(TICK);
        }
        self.process.kill();
    }

    /// What the end means.
    fn judge(self, status: ExitStatus) -> Result<Outcome, Error> {
        if let Some(message) = self.monitor.refusal() {
            return Err(Error::Monitor { message: message.to_owned() });
        }
        if self.job_ended.is_some() {
            return Ok(self.outcome);
        }
        if let Some(reason) = self.failed {
            return Err(Error::Setup { reason });
        }
        if !status.success() {
            let output = last_lines(&self.messages, SHOWN_LINES);
            return Err(Error::Qemu { status, stage: self.stage, output });
        }
        Err(self.cut_short())
    }

    /// The guest is gone, and nobody said how the job ended.
    fn cut_short(&self) -> Error {
        let (stage, serial) = (self.stage, self.console());
        match panic(&self.outcome.serial) {
            Some(message) => Error::Panic { stage, message, serial },
            None => {
                let reason = self.monitor.shutdown().unwrap_or("unknown").to_owned();
                Error::Ended { stage, reason, serial }
            }
        }
    }

    fn console(&self) -> String {
        last_lines(&self.outcome.serial, SHOWN_LINES)
    }
}

/// Keeps what a guest says, up to the most that is kept.
fn keep(all: &mut Vec<u8>, bytes: &[u8]) {
    let room = KEPT.saturating_sub(all.len());
    all.extend(bytes.iter().take(room));
}

/// The kernel's reason, if it panicked.
fn panic(serial: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(serial);
    let (_, rest) = text.split_once("Kernel panic - not syncing: ")?;
    Some(rest.lines().next().unwrap_or_default().trim_end().to_owned())
}

fn last_lines(text: &[u8], count: usize) -> String {
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> =
        text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_found_in_the_console() {
        let text =
            b"[ 1.0] x\r\n[ 2.0] Kernel panic - not syncing: No working init found.\r\nmore\r\n";
        assert_eq!(panic(text).as_deref(), Some("No working init found."));
        assert_eq!(panic(b"all is well"), None);
        assert_eq!(last_lines(b"a\r\n\r\nb\r\nc\n", 2), "b\nc");
    }
}
