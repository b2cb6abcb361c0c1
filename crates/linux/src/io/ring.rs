//! Requests to the kernel in batches: io_uring (io_uring(7)), and one request at a time beside it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsRawFd as _;
use std::sync::Arc;
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use p2pdma_mem::SharedMemory;
use zerocopy::IntoBytes as _;

use super::{DirectFile, passthrough};

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
    /// pread(2) and pwrite(2), and ioctl(2) for NVMe commands: one at a time, for comparison, and where io_uring is switched off.
    Synchronous,
}

/// A queue of requests.
#[derive(Debug)]
pub struct Queue {
    engine: Engine,
    depth: u32,
    ring: Option<Rings>,
    /// Requests that were carried out one at a time.
    ended: VecDeque<Completion>,
    /// System calls of rings that are no more, and of requests one at a time.
    calls: u64,
    /// Whether the kernel takes NVMe commands by io_uring, as far as is known.
    takes_commands: bool,
}

/// Rings with entries of the usual size, and with large ones, which NVMe commands need.
#[derive(Debug)]
enum Rings {
    Usual(Box<Ring<squeue::Entry, cqueue::Entry>>),
    Large(Box<Ring<squeue::Entry128, cqueue::Entry32>>),
}

impl Queue {
    /// A queue for at most `depth` requests under way, from 1 to 4096.
    ///
    /// # Errors
    /// What io_uring_setup(2) says: ENOSYS or EPERM where it is switched off
    /// (`kernel.io_uring_disabled`, a container's seccomp filter).
    pub fn new(engine: Engine, depth: u32) -> io::Result<Self> {
        let depth = depth.clamp(1, 4096);
        let ring = match engine {
            Engine::Uring => Some(Rings::Usual(Box::new(Ring::new(depth)?))),
            Engine::Synchronous => None,
        };
        let (ended, calls, takes_commands) = (VecDeque::new(), 0, ring.is_some());
        Ok(Self { engine, depth, ring, ended, calls, takes_commands })
    }

    /// Which engine it is.
    #[must_use]
    pub const fn engine(&self) -> Engine {
        self.engine
    }

    /// How many system calls it has made.
    #[must_use]
    pub const fn calls(&self) -> u64 {
        let of_ring = match &self.ring {
            Some(Rings::Usual(ring)) => ring.calls,
            Some(Rings::Large(ring)) => ring.calls,
            None => 0,
        };
        self.calls.saturating_add(of_ring)
    }

    /// Takes a request, which begins with the next [`Queue::wait`] at the latest. Gives it back if as many are
    /// under way as can be.
    ///
    /// # Errors
    /// The request.
    pub fn push(&mut self, request: Request) -> Result<(), Request> {
        let is_command = request.file.namespace().is_some();
        match &mut self.ring {
            // Only an empty ring can be replaced.
            Some(Rings::Usual(ring)) if is_command && self.takes_commands => match ring.under_way {
                0 => {
                    self.enlarge();
                    self.push(request)
                }
                _ => Err(request),
            },
            Some(Rings::Usual(ring)) if !is_command => ring.push(request),
            Some(Rings::Large(ring)) => ring.push(request),
            Some(Rings::Usual(_)) | None => {
                self.calls += 1;
                let Request { direction, position, memory, token, file } = request;
                let result = file.carry(direction, position, &memory);
                self.ended.push_back(Completion { token, result });
                Ok(())
            }
        }
    }

    /// Makes a ring for NVMe commands (`IORING_SETUP_SQE128`, `IORING_SETUP_CQE32`: Linux 5.19). Where there is
    /// none they are carried out one at a time.
    fn enlarge(&mut self) {
        let calls = self.calls();
        match Ring::new(self.depth) {
            Ok(ring) => {
                self.calls = calls;
                self.ring = Some(Rings::Large(Box::new(ring)));
            }
            Err(_) => self.takes_commands = false,
        }
    }

    /// Takes out one request that has ended. Makes no system call.
    pub fn pop(&mut self) -> Option<Completion> {
        self.ended.pop_front().or_else(|| match self.ring.as_mut()? {
            Rings::Usual(ring) => ring.pop(),
            Rings::Large(ring) => ring.pop(),
        })
    }

    /// Begins what was pushed, and waits until some of what is under way has ended, or for `patience`. Of
    /// many it waits for little more than half, so that one system call serves many requests: 18 of 32.
    ///
    /// # Errors
    /// What io_uring_enter(2) says.
    pub fn wait(&mut self, patience: Duration) -> io::Result<()> {
        let patience = Some(patience).filter(|_| self.ended.is_empty());
        match &mut self.ring {
            Some(Rings::Usual(ring)) => ring.wait(patience),
            Some(Rings::Large(ring)) => ring.wait(patience),
            None => Ok(()),
        }
    }
}

/// An io_uring with what must live until its requests have ended.
struct Ring<S: Submission, C: Ended> {
    uring: IoUring<S, C>,
    /// By slot, which is the request's number for the kernel.
    slots: Vec<Option<Request>>,
    free: Vec<u32>,
    under_way: usize,
    calls: u64,
}

impl<S: Submission, C: Ended> std::fmt::Debug for Ring<S, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ring").field("under_way", &self.under_way).finish_non_exhaustive()
    }
}

impl<S: Submission, C: Ended> Ring<S, C> {
    fn new(depth: u32) -> io::Result<Self> {
        let uring = IoUring::builder().build(depth)?;
        let (slots, free) = ((0..depth).map(|_| None).collect(), (0..depth).rev().collect());
        Ok(Self { uring, slots, free, under_way: 0, calls: 0 })
    }

    #[expect(unsafe_code, reason = "the kernel is given the address of memory")]
    fn push(&mut self, request: Request) -> Result<(), Request> {
        let Some(entry) = S::of(&request) else { return Err(request) };
        let Some(slot) = self.free.pop() else { return Err(request) };
        let entry = entry.numbered(u64::from(slot));
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
        let entry: cqueue::Entry = self.uring.completion().next()?.into();
        let slot = u32::try_from(entry.user_data()).ok()?;
        let request = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        self.under_way -= 1;
        let result = match (request.file.namespace(), usize::try_from(entry.result())) {
            (Some(_), _) => passthrough::outcome(entry.result()).map(|()| request.memory.len()),
            (None, Ok(count)) => Ok(count),
            (None, Err(_)) => Err(io::Error::from_raw_os_error(entry.result().wrapping_neg())),
        };
        Some(Completion { token: request.token, result })
    }

    /// Begins what was pushed; waits if there is patience for it.
    fn wait(&mut self, patience: Option<Duration>) -> io::Result<()> {
        let patience =
            patience.filter(|_| self.under_way > 0 && self.uring.completion().is_empty());
        let Some(patience) = patience else { return self.submit() };
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

impl<S: Submission, C: Ended> Drop for Ring<S, C> {
    fn drop(&mut self) {
        // Whatever is under way may still be written to: memory is let go when its request has ended. A
        // kernel that does not end it keeps the memory.
        for _ in 0..DROP_TURNS {
            while self.pop().is_some() {}
            if self.under_way == 0 || self.wait(Some(DROP_PATIENCE)).is_err() {
                break;
            }
        }
        if self.under_way > 0 {
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}

/// Whether the kernel takes memory as a registered buffer of an io_uring (io_uring_register(2)), which it would
/// then find faster than by its address. It takes none that devices lend (`io_pin_pages()`, io_uring/memmap.c:
/// without `FOLL_PCI_P2PDMA`), so that requests here name addresses.
///
/// # Errors
/// What the operating system says: EFAULT of lent memory.
#[expect(unsafe_code, reason = "the kernel is given the address of memory")]
pub fn register(memory: &SharedMemory) -> io::Result<()> {
    let uring = IoUring::new(1)?;
    let vector = libc::iovec { iov_base: memory.base().cast(), iov_len: memory.len() };
    // SAFETY: `memory` is valid until the ring, and with it the registration, is dropped.
    unsafe { uring.submitter().register_buffers(&[vector]) }
}

/// How long a dropped ring waits for what is under way: 30 seconds, the kernel's own limit of NVMe commands
/// (`nvme_io_timeout`, drivers/nvme/host/core.c).
const DROP_TURNS: u32 = 30;
const DROP_PATIENCE: Duration = Duration::from_secs(1);

/// An entry of a queue of submissions.
trait Submission: squeue::EntryMarker {
    /// What asks the kernel for a request; `None` if it cannot be asked for so.
    fn of(request: &Request) -> Option<Self>;
    fn numbered(self, slot: u64) -> Self;
}

/// An entry of a queue of completions.
trait Ended: cqueue::EntryMarker + Into<cqueue::Entry> {}
impl Ended for cqueue::Entry {}
impl Ended for cqueue::Entry32 {}

impl Submission for squeue::Entry {
    fn of(request: &Request) -> Option<Self> {
        let len = u32::try_from(request.memory.len()).ok()?;
        let (fd, memory) = (Fd(request.file.file().as_raw_fd()), request.memory.base());
        let position = request.position;
        Some(match request.direction {
            Direction::Read => opcode::Read::new(fd, memory, len).offset(position).build(),
            Direction::Write => opcode::Write::new(fd, memory, len).offset(position).build(),
        })
    }

    fn numbered(self, slot: u64) -> Self {
        self.user_data(slot)
    }
}

impl Submission for squeue::Entry128 {
    fn of(request: &Request) -> Option<Self> {
        let Some(namespace) = request.file.namespace() else {
            return squeue::Entry::of(request).map(Self::from);
        };
        let command = namespace.command(request.direction, request.position, &request.memory)?;
        let (mut bytes, own) = ([0; 80], command.as_bytes());
        bytes.get_mut(..own.len())?.copy_from_slice(own);
        let fd = Fd(request.file.file().as_raw_fd());
        Some(opcode::UringCmd80::new(fd, passthrough::URING_IO).cmd(bytes).build())
    }

    fn numbered(self, slot: u64) -> Self {
        self.user_data(slot)
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
