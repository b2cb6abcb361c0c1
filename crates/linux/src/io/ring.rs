//! Requests to the kernel in batches: io_uring (io_uring(7)), and one request at a time beside it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};
use p2pdma_mem::SharedMemory;

use super::DirectFile;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the file into memory.
    Read,
    /// From memory into the file.
    Write,
}

/// One transfer between a file and one piece of memory. It names one memory only, because the kernel
/// stages the rest of a mixed vector through its page cache and reports full success.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which way.
    pub direction: Direction,
    /// The file.
    pub file: Arc<DirectFile>,
    /// The file's first byte.
    pub position: u64,
    /// The memory, of the length of the transfer.
    pub memory: SharedMemory,
    /// What the completion is told apart by.
    pub token: u64,
}

/// A request that has ended.
#[derive(Debug)]
pub struct Completion {
    /// That of the request.
    pub token: u64,
    /// How many bytes were moved; fewer than asked for at the end of a file, 0 from a device that is gone.
    pub result: io::Result<usize>,
}

/// How requests reach the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// io_uring: many under way at once.
    Uring,
    /// pread(2) and pwrite(2): one at a time, for comparison, and where io_uring is switched off.
    Synchronous,
}

/// A queue of requests.
#[derive(Debug)]
pub struct Queue(Kind);

enum Kind {
    Uring(Box<Ring>),
    Synchronous { ended: VecDeque<Completion>, calls: u64 },
}

impl std::fmt::Debug for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Uring(ring) => f.debug_tuple("Uring").field(&ring.under_way).finish(),
            Self::Synchronous { ended, .. } => f.debug_tuple("Synchronous").field(ended).finish(),
        }
    }
}

impl Queue {
    /// A queue for at most `depth` requests under way, from 1 to 4096.
    ///
    /// # Errors
    /// What io_uring_setup(2) says: ENOSYS or EPERM where it is switched off
    /// (`kernel.io_uring_disabled`, a container's seccomp filter).
    pub fn new(engine: Engine, depth: u32) -> io::Result<Self> {
        Ok(Self(match engine {
            Engine::Uring => Kind::Uring(Box::new(Ring::new(depth.clamp(1, 4096))?)),
            Engine::Synchronous => Kind::Synchronous { ended: VecDeque::new(), calls: 0 },
        }))
    }

    /// Which engine it is.
    #[must_use]
    pub const fn engine(&self) -> Engine {
        match self.0 {
            Kind::Uring(_) => Engine::Uring,
            Kind::Synchronous { .. } => Engine::Synchronous,
        }
    }

    /// How many system calls it has made.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        match &self.0 {
            Kind::Uring(ring) => ring.calls,
            Kind::Synchronous { calls, .. } => *calls,
        }
    }

    /// Takes a request, which begins with the next [`Queue::wait`] at the latest. Gives it back if as many are
    /// under way as can be.
    ///
    /// # Errors
    /// The request.
    pub fn push(&mut self, request: Request) -> Result<(), Request> {
        match &mut self.0 {
            Kind::Uring(ring) => ring.push(request),
            Kind::Synchronous { ended, calls } => {
                *calls += 1;
                let (memory, file) = (&request.memory, request.file.file());
                let result = match request.direction {
                    Direction::Read => memory.read_file(0..memory.len(), file, request.position),
                    Direction::Write => memory.write_file(0..memory.len(), file, request.position),
                };
                ended.push_back(Completion { token: request.token, result });
                Ok(())
            }
        }
    }

    /// Takes out one request that has ended. Makes no system call.
    pub fn pop(&mut self) -> Option<Completion> {
        match &mut self.0 {
            Kind::Uring(ring) => ring.pop(),
            Kind::Synchronous { ended, .. } => ended.pop_front(),
        }
    }

    /// Begins what was pushed, and waits until some of what is under way has ended, or for `patience`. Of
    /// many it waits for little more than half, so that one system call serves many requests: 18 of 32.
    ///
    /// # Errors
    /// What io_uring_enter(2) says.
    pub fn wait(&mut self, patience: Duration) -> io::Result<()> {
        match &mut self.0 {
            Kind::Uring(ring) => ring.wait(patience),
            Kind::Synchronous { .. } => Ok(()),
        }
    }
}

/// An io_uring with what must live until its requests have ended.
struct Ring {
    uring: IoUring,
    /// By slot, which is the request's number for the kernel.
    slots: Vec<Option<Request>>,
    free: Vec<u32>,
    under_way: usize,
    calls: u64,
}

impl Ring {
    fn new(depth: u32) -> io::Result<Self> {
        let uring = IoUring::new(depth)?;
        let (slots, free) = ((0..depth).map(|_| None).collect(), (0..depth).rev().collect());
        Ok(Self { uring, slots, free, under_way: 0, calls: 0 })
    }

    #[expect(unsafe_code, reason = "the kernel is given the address of memory")]
    fn push(&mut self, request: Request) -> Result<(), Request> {
        let Ok(len) = u32::try_from(request.memory.len()) else { return Err(request) };
        let Some(slot) = self.free.pop() else { return Err(request) };
        let entry = entry(&request, len).user_data(u64::from(slot));
        // SAFETY: the entry names a file and memory that `slots` keeps alive until the kernel has
        // reported the request's end, or for ever (`drop`). The memory is shared: the kernel and a
        // device may write to it like any other party.
        let pushed = unsafe { self.uring.submission().push(&entry) };
        if pushed.is_err() {
            self.free.push(slot);
            return Err(request);
        }
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(request);
        }
        self.under_way += 1;
        Ok(())
    }

    fn pop(&mut self) -> Option<Completion> {
        let entry = self.uring.completion().next()?;
        let slot = u32::try_from(entry.user_data()).ok()?;
        let request = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        self.under_way -= 1;
        let result = match usize::try_from(entry.result()) {
            Ok(count) => Ok(count),
            Err(_) => Err(io::Error::from_raw_os_error(entry.result().wrapping_neg())),
        };
        Some(Completion { token: request.token, result })
    }

    fn wait(&mut self, patience: Duration) -> io::Result<()> {
        if self.under_way == 0 || !self.uring.completion().is_empty() {
            return self.submit();
        }
        let time = Timespec::new().sec(patience.as_secs()).nsec(patience.subsec_nanos());
        self.calls += 1;
        let args = SubmitArgs::new().timespec(&time);
        let awaited = (self.under_way * 9 / 16).max(1);
        match self.uring.submitter().submit_with_args(awaited, &args) {
            Err(error) if !is_transient(&error) => Err(error),
            _ => Ok(()),
        }
    }

    fn submit(&mut self) -> io::Result<()> {
        if self.uring.submission().is_empty() {
            return Ok(());
        }
        self.calls += 1;
        match self.uring.submit() {
            Err(error) if !is_transient(&error) => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Whatever is under way may still be written to: memory is let go when its request has ended. A
        // kernel that does not end it keeps the memory.
        for _ in 0..DROP_TURNS {
            while self.pop().is_some() {}
            if self.under_way == 0 || self.wait(DROP_PATIENCE).is_err() {
                break;
            }
        }
        if self.under_way > 0 {
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}

/// How long a dropped ring waits for what is under way: 30 seconds, the kernel's own limit of NVMe commands
/// (`nvme_io_timeout`, drivers/nvme/host/core.c).
const DROP_TURNS: u32 = 30;
const DROP_PATIENCE: Duration = Duration::from_secs(1);

fn entry(request: &Request, len: u32) -> squeue::Entry {
    let (fd, memory) = (Fd(request.file.file().as_raw_fd()), request.memory.base());
    match request.direction {
        Direction::Read => opcode::Read::new(fd, memory, len).offset(request.position).build(),
        Direction::Write => opcode::Write::new(fd, memory, len).offset(request.position).build(),
    }
}

/// Time is up, a signal came, or the queue of completions has to be emptied first.
fn is_transient(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(rustix::io::Errno::from_raw_os_error),
        Some(
            rustix::io::Errno::TIME
                | rustix::io::Errno::INTR
                | rustix::io::Errno::BUSY
                | rustix::io::Errno::AGAIN
        )
    )
}
