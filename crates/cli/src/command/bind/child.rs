//! A command that is run while devices are taken.

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitStatus};
use std::thread;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use signal_hook::SigId;
use signal_hook::consts::{SIGHUP, SIGTERM};
use signal_hook::low_level::{pipe, unregister};

/// Runs a command to its end. Ctrl-C reaches it and this process, however often; what ends this process alone (SIGTERM, SIGHUP)
/// is sent on: so either way it ends, and the devices can go back.
pub(super) fn run(command: &mut Command) -> io::Result<ExitStatus> {
    let (terms, hangs) = (Ear::on(SIGTERM)?, Ear::on(SIGHUP)?);
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    thread::scope(|scope| {
        let ears = [(terms, Signal::TERM), (hangs, Signal::HUP)];
        let ids = ears.map(|(ear, signal)| {
            let Ear { heard, id } = ear;
            scope.spawn(move || forward(heard, pid, signal));
            id
        });
        // It ends, and keeps its number until nobody sends it signals any more.
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while let Err(Errno::INTR) = waitid(WaitId::Pid(pid), ended) {}
        // Their threads end with them.
        drop(ids);
    });
    child.wait()
}

/// Hears a signal.
struct Ear {
    heard: UnixStream,
    id: Registered,
}

impl Ear {
    fn on(signal: i32) -> io::Result<Self> {
        let (heard, told) = UnixStream::pair()?;
        Ok(Self { heard, id: Registered(pipe::register(signal, told)?) })
    }
}

/// Until this is dropped, and the pipe's other end with it.
struct Registered(SigId);

impl Drop for Registered {
    fn drop(&mut self) {
        unregister(self.0);
    }
}

fn forward(mut heard: UnixStream, pid: Pid, signal: Signal) {
    let mut byte = [0];
    while heard.read_exact(&mut byte).is_ok() {
        // One that has ended takes no signals.
        let _ = kill_process(pid, signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Its parent stays, and so do the devices' ways back.
    #[test]
    fn a_signal_to_this_process_ends_the_command() {
        let _raising = crate::interrupt::RAISING.lock().unwrap();
        for (signal, number) in [("TERM", SIGTERM), ("HUP", SIGHUP)] {
            let folder = tempfile::tempdir().unwrap();
            let runs = folder.path().join("runs");
            let script = format!(
                "trap 'exit 7' {signal}; : > {}; for n in $(seq 500); do sleep 0.02; done; exit 1",
                runs.display()
            );
            let ended = thread::spawn(move || run(Command::new("sh").args(["-c", &script])));
            while !runs.exists() {
                thread::sleep(std::time::Duration::from_millis(5));
            }
            signal_hook::low_level::raise(number).unwrap();
            assert_eq!(ended.join().unwrap().unwrap().code(), Some(7));
        }
        assert!(run(&mut Command::new("/nowhere")).is_err());
        assert_eq!(run(Command::new("sh").args(["-c", "exit 3"])).unwrap().code(), Some(3));
    }
}
