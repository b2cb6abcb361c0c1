//! One queue of requests to the kernel for all clients of a platform, so that one system call begins and
//! awaits the requests of both ends of a transfer.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use p2pdma_linux::io::{Completion, Engine, Queue, Request};
use p2pdma_pci::{Clock, Instant};

use crate::{Error, HostClock};

/// Who carries requests out: the kernel. Tests stand in between, and let requests fail.
pub(crate) trait Requests: Send {
    /// As [`Queue::push`].
    fn push(&mut self, request: Request) -> Result<(), Request>;
    /// As [`Queue::pop`].
    fn pop(&mut self) -> Option<Completion>;
    /// As [`Queue::wait`].
    fn wait(&mut self, patience: Duration) -> std::io::Result<()>;
    /// As [`Queue::calls`].
    fn calls(&self) -> u64;
    /// As [`Queue::engine`].
    fn engine(&self) -> Engine;
}

impl Requests for Queue {
    fn push(&mut self, request: Request) -> Result<(), Request> {
        Self::push(self, request)
    }

    fn pop(&mut self) -> Option<Completion> {
        Self::pop(self)
    }

    fn wait(&mut self, patience: Duration) -> std::io::Result<()> {
        Self::wait(self, patience)
    }

    fn calls(&self) -> u64 {
        Self::calls(self)
    }

    fn engine(&self) -> Engine {
        Self::engine(self)
    }
}

/// The queue, and the clock whose waiting is the queue's.
///
/// The lock is there because clients may be on several threads; within a transfer, which is one thread, nobody
/// contends for it.
pub(crate) struct SharedQueue {
    inner: Mutex<Inner>,
    clock: HostClock,
}

struct Inner {
    queue: Box<dyn Requests>,
    /// What has ended, by client.
    ended: Vec<VecDeque<Completion>>,
    /// Why waiting failed, if it did: told to whoever asks next.
    failure: Option<std::io::Error>,
}

/// Requests under way of all clients together.
const DEPTH: u32 = 1024;
/// How long waiting takes at most. A signal that comes to the thread that waits ends it (EINTR of
/// io_uring_enter(2)); one that another thread takes is seen after this time. Slow devices need so long for the
/// requests that one system call is to serve.
const PATIENCE: Duration = Duration::from_millis(800);

impl SharedQueue {
    pub(crate) fn new(engine: Engine) -> std::io::Result<Self> {
        Ok(Self::over(Box::new(Queue::new(engine, DEPTH)?)))
    }

    pub(crate) fn over(queue: Box<dyn Requests>) -> Self {
        let inner = Inner { queue, ended: Vec::new(), failure: None };
        Self { inner: Mutex::new(inner), clock: HostClock::new() }
    }

    /// A number for a new client.
    pub(crate) fn enter(&self) -> u32 {
        let mut inner = self.lock();
        inner.ended.push(VecDeque::with_capacity(DEPTH as usize));
        u32::try_from(inner.ended.len() - 1).unwrap_or(u32::MAX)
    }

    /// Takes a request of a client, whose token is the client's own: 32 bits.
    pub(crate) fn push(&self, client: u32, mut request: Request) -> Result<(), Error> {
        request.token |= u64::from(client) << 32;
        self.lock().queue.push(request).map_err(|_| Error::Busy)
    }

    /// What has ended of a client's.
    pub(crate) fn take(&self, client: u32, into: &mut Vec<Completion>) -> std::io::Result<()> {
        let mut inner = self.lock();
        if let Some(failure) = inner.failure.take() {
            return Err(failure);
        }
        inner.sort();
        if let Some(ended) = inner.ended.get_mut(client as usize) {
            into.extend(ended.drain(..));
        }
        Ok(())
    }

    /// System calls so far.
    pub(crate) fn calls(&self) -> u64 {
        self.lock().queue.calls()
    }

    pub(crate) fn engine(&self) -> Engine {
        self.lock().queue.engine()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change of it is complete before anything can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Gives what has ended to its clients.
    fn sort(&mut self) {
        while let Some(mut completion) = self.queue.pop() {
            let client = (completion.token >> 32) as usize;
            completion.token &= u64::from(u32::MAX);
            if let Some(ended) = self.ended.get_mut(client) {
                ended.push_back(completion);
            }
        }
    }
}

impl Clock for SharedQueue {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    /// Begins what was submitted, and waits for some of what is under way.
    fn relax(&self) {
        let mut inner = self.lock();
        if let Err(error) = inner.queue.wait(PATIENCE) {
            inner.failure = Some(error);
        }
    }
}
