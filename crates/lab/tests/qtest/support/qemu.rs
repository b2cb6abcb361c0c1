//! QEMU without a guest: its process, its memory, and the way to both.

use std::fs::{self, File};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use p2pdma_lab::Provisions;
use p2pdma_lab::machine::Plan;
use p2pdma_mem::{RangeAllocator, SharedMemory};
use tempfile::TempDir;

use super::wire::{self, Wire};

/// The machine's memory.
const MEMORY: u64 = 512 << 20;
/// Below are the areas that a PC's chipset turns into something else.
const FIRST_ADDRESS: u64 = 1 << 20;
/// The longest wait for QEMU to start, or for an answer of it: it shares processors with others.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no QEMU.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("cannot {action} {path}: {source}")]
    File { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("QEMU did not connect within {PATIENCE:?}")]
    Late,
    #[error("QEMU ended ({status}) and said: {said}")]
    Ended { status: std::process::ExitStatus, said: String },
    #[error(transparent)]
    Wire(#[from] wire::Error),
}

/// What a machine without a guest has instead of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Processors {
    /// qtest's accelerator, which runs nothing.
    None,
    /// Emulated ones that never begin.
    Stopped,
}

/// A running QEMU, driven by qtest.
pub(crate) struct Qemu {
    child: Mutex<Child>,
    wire: Mutex<Wire>,
    /// What went wrong first: an access has no way to say so.
    fault: Mutex<Option<wire::Error>>,
    memory: SharedMemory,
    free: Mutex<RangeAllocator>,
    folder: TempDir,
}

impl Qemu {
    /// Starts it on a machine: without processors, or, where it was built without qtest's accelerator, with
    /// processors that are stopped.
    pub(crate) fn start(provisions: &Provisions, plan: &Plan) -> Result<Self, Error> {
        match Self::start_with(provisions, plan, Processors::None) {
            Err(Error::Ended { said, .. }) if said.contains("invalid accelerator") => {
                Self::start_with(provisions, plan, Processors::Stopped)
            }
            result => result,
        }
    }

    pub(crate) fn start_with(
        provisions: &Provisions,
        plan: &Plan,
        processors: Processors,
    ) -> Result<Self, Error> {
        let accel: &[&str] = match processors {
            Processors::None => &["-accel", "qtest"],
            Processors::Stopped => &["-accel", "tcg", "-S"],
        };
        let temporary = std::env::temp_dir();
        let folder = tempfile::Builder::new().prefix("p2pdma-qtest-").tempdir();
        let folder =
            folder.map_err(|source| Error::File { action: "create", path: temporary, source })?;
        for backing in plan.backings() {
            make(&folder.path().join(&backing.file), backing.size)?;
        }
        let file = make(&folder.path().join("ram"), MEMORY)?;
        let path = folder.path().join("ram");
        let len = usize::try_from(MEMORY).unwrap_or(usize::MAX);
        let memory = SharedMemory::map_file(&file, len).map_err(|source| Error::File {
            action: "map",
            path,
            source,
        })?;
        let path = folder.path().join("qtest");
        let at = |action| {
            let path = path.clone();
            move |source| Error::File { action, path, source }
        };
        let listener = UnixListener::bind(&path).map_err(at("listen at"))?;
        listener.set_nonblocking(true).map_err(at("listen at"))?;
        let mut command = provisions.qemu().command();
        command.args(plan.arguments()).args(accel).args(ARGUMENTS);
        command
            .arg("-object")
            .arg(format!("memory-backend-file,id=ram,share=on,mem-path=ram,size={MEMORY}"));
        let mut child = spawn(command, folder.path())?;
        let stream = accept(&listener, &mut child, folder.path());
        let stream = stream.inspect_err(|_| end(&mut child))?;
        let wire = Wire::new(stream, PATIENCE).map_err(at("use"))?;
        Ok(Self {
            child: Mutex::new(child),
            wire: Mutex::new(wire),
            fault: Mutex::new(None),
            memory,
            free: Mutex::new(RangeAllocator::new(FIRST_ADDRESS..MEMORY)),
            folder,
        })
    }

    /// Something over the wire. Once it has failed, everything that follows does nothing.
    pub(crate) fn on_wire<R>(
        &self,
        work: impl FnOnce(&mut Wire) -> Result<R, wire::Error>,
    ) -> Option<R> {
        let mut fault = lock(&self.fault);
        if fault.is_some() {
            return None;
        }
        work(&mut lock(&self.wire)).map_err(|error| *fault = Some(error)).ok()
    }

    /// What went wrong, if anything did, with what QEMU said on its way out.
    pub(crate) fn fault(&self) -> Option<String> {
        let fault = lock(&self.fault);
        let said = fs::read_to_string(self.folder.path().join(SAID)).unwrap_or_default();
        fault.as_ref().map(|error| format!("{error}; QEMU said: {said:?}"))
    }

    /// Zeroed memory of the machine, and the address of its first byte.
    pub(crate) fn allocate(&self, len: u64) -> Option<(SharedMemory, u64)> {
        let at = lock(&self.free).allocate(len, PAGE)?;
        let (start, end) = (usize::try_from(at).ok()?, usize::try_from(at + len).ok()?);
        let memory = self.memory.slice(start..end).ok()?;
        memory.fill(0, memory.len(), 0).ok()?;
        Some((memory, at))
    }

    /// Ends the process: not on drop, since a driver that cannot stop a device keeps its memory for ever.
    pub(crate) fn stop(&self) {
        end(&mut lock(&self.child));
        // Nobody reads what files it had.
        let _ = fs::remove_dir_all(self.folder.path());
    }

    pub(crate) fn release(&self, at: u64, len: u64) {
        lock(&self.free).release(at, len);
    }

    /// The address of memory that is this machine's.
    pub(crate) fn address_of(&self, memory: &SharedMemory) -> Option<u64> {
        memory.offset_in(&self.memory).map(|offset| offset as u64)
    }

    /// The folder with the files that stand for its devices' media and memory.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

/// A page of memory.
pub(crate) const PAGE: u64 = 4096;
/// The file with what QEMU said.
const SAID: &str = "said";
const ARGUMENTS: [&str; 11] = [
    "-qtest",
    "unix:qtest",
    "-qtest-log",
    "none",
    "-machine",
    "memory-backend=ram",
    "-nodefaults",
    "-no-user-config",
    "-no-reboot",
    "-display",
    "none",
];

fn make(path: &Path, size: u64) -> Result<File, Error> {
    let failed = |source| Error::File { action: "create", path: path.to_owned(), source };
    let file =
        File::options().read(true).write(true).create_new(true).open(path).map_err(failed)?;
    file.set_len(size).map_err(failed)?;
    Ok(file)
}

fn spawn(mut command: Command, folder: &Path) -> Result<Child, Error> {
    let said = make(&folder.join(SAID), 0)?;
    let path = PathBuf::from(command.get_program());
    command.current_dir(folder).stdin(Stdio::null()).stdout(Stdio::null()).stderr(said);
    command.spawn().map_err(|source| Error::File { action: "start", path, source })
}

/// Waits for QEMU to connect.
fn accept(listener: &UnixListener, child: &mut Child, folder: &Path) -> Result<UnixStream, Error> {
    let begin = Instant::now();
    let path = folder.join("qtest");
    let failed = |source| Error::File { action: "accept at", path: path.clone(), source };
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).map_err(failed)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(failed(error)),
        }
        if let Ok(Some(status)) = child.try_wait() {
            let said = fs::read_to_string(folder.join(SAID)).unwrap_or_default();
            return Err(Error::Ended { status, said });
        }
        if begin.elapsed() > PATIENCE {
            return Err(Error::Late);
        }
        thread::sleep(Duration::from_millis(2));
    }
}

fn end(child: &mut Child) {
    // Both fail only if it has ended.
    let _ = child.kill();
    let _ = child.wait();
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
