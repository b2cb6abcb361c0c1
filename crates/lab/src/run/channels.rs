//! The sockets between QEMU and us. We listen and QEMU connects, so that nobody waits for a file to
//! appear.

use std::io::{self, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use super::arguments::{QMP, SERIAL, socket};
use crate::error::{Error, FileContext as _};
use crate::guest::PORTS;

/// What happened on a channel.
#[derive(Debug)]
pub(super) enum Event {
    /// QEMU connected to its monitor's.
    Monitor(UnixStream),
    /// Bytes came.
    Bytes(&'static str, Vec<u8>),
}

/// All channels of a guest.
#[derive(Debug)]
pub(super) struct Channels {
    pub(super) events: Receiver<Event>,
    sender: Option<Sender<Event>>,
    sockets: Vec<PathBuf>,
}

impl Channels {
    /// Listens for QEMU in its folder.
    pub(super) fn listen(folder: &Path, interactive: bool) -> Result<Self, Error> {
        let (sender, events) = channel();
        let mut channels = Self { events, sender: Some(sender), sockets: Vec::new() };
        let names = PORTS.into_iter().chain([QMP]);
        for name in names.chain((!interactive).then_some(SERIAL)) {
            let path = folder.join(socket(name));
            let listener = UnixListener::bind(&path).file("listen at", &path)?;
            channels.sockets.push(path);
            channels.read(name, move || Ok(listener.accept()?.0));
        }
        Ok(channels)
    }

    /// Reads from what `open` gives, until its end.
    pub(super) fn read<R: Read + Watched>(
        &self,
        name: &'static str,
        open: impl FnOnce() -> io::Result<R> + Send + 'static,
    ) {
        let Some(sender) = self.sender.clone() else { return };
        thread::spawn(move || {
            let Ok(mut stream) = open() else { return };
            if name == QMP
                && let Some(stream) = stream.monitor()
            {
                let _ = sender.send(Event::Monitor(stream));
            }
            let mut buffer = vec![0; 1 << 16];
            // An error is an end: QEMU is gone.
            while let Ok(count @ 1..) = stream.read(&mut buffer) {
                let bytes = buffer.get(..count).unwrap_or_default().to_owned();
                // Whoever listened has left.
                if sender.send(Event::Bytes(name, bytes)).is_err() {
                    return;
                }
            }
        });
    }

    /// No further readers: [`Channels::events`] ends with the last of them.
    pub(super) fn complete(&mut self) {
        self.sender = None;
    }

    /// Ends the wait of readers to whom QEMU, now gone, never connected.
    pub(super) fn release(&self) {
        for path in &self.sockets {
            let _ = UnixStream::connect(path);
        }
    }
}

/// A stream that may be the monitor's.
pub(super) trait Watched {
    /// The same, to write to.
    fn monitor(&self) -> Option<UnixStream>;
}

impl Watched for UnixStream {
    fn monitor(&self) -> Option<UnixStream> {
        self.try_clone().ok()
    }
}

impl Watched for std::process::ChildStderr {
    fn monitor(&self) -> Option<UnixStream> {
        None
    }
}
