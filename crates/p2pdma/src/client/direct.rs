//! A file, block device or namespace of Linux as an end of transfers: direct I/O or NVMe commands, one memory per
//! request.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use p2pdma_linux::io::{CommandError, Completion, DirectFile, Direction, Request, is_leaving};
use p2pdma_mem::SharedMemory;
use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{Route, Topology};

use crate::memory::{Backing, PeerMemory};
use crate::platform::SharedQueue;
use crate::platform::{Attachment, Capabilities, Client, Done, Mapping, Op, Ticket};
use crate::{Error, Traffic};

/// Reads and writes a file, block device or namespace.
pub(crate) struct DirectClient {
    file: Arc<DirectFile>,
    /// Its devices: each must reach the memory.
    functions: Vec<Bdf>,
    topology: Arc<Topology>,
    queue: Arc<SharedQueue>,
    /// This client's number at the queue.
    number: u32,
    flights: Vec<Option<Flight>>,
    free: Vec<u32>,
    completions: Vec<Completion>,
    /// Rests of operations that the queue had no room for.
    waiting: Vec<Flight>,
    moved: Arc<Moved>,
}

/// An operation under way.
struct Flight {
    ticket: Ticket,
    direction: Direction,
    position: u64,
    /// What is still to be moved.
    memory: SharedMemory,
    /// The loan, and where in it that is.
    peer: Arc<PeerMemory>,
    offset: u64,
    way: Way,
    /// How often it was asked for again since bytes have moved.
    again: u32,
}

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Host,
    /// Within the device.
    Own,
    /// Between devices, below the root.
    Local,
    ThroughRoot,
}

/// What a client has moved, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Moved {
    host: AtomicU64,
    own: AtomicU64,
    local: AtomicU64,
    through_root: AtomicU64,
}

impl Moved {
    pub(crate) fn count(&self, way: Way, bytes: u64) {
        let counter = match way {
            Way::Host => &self.host,
            Way::Own => &self.own,
            Way::Local => &self.local,
            Way::ThroughRoot => &self.through_root,
        };
        counter.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn add_to(&self, traffic: &mut Traffic) {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        traffic.host_memory += of(&self.host);
        traffic.peer_local += of(&self.local);
        traffic.peer_through_root += of(&self.through_root);
    }
}

/// The longest operation. The kernel cuts it to what the device takes (`max_hw_sectors_kb`).
const LONGEST: u64 = 16 << 20;
/// Operations under way.
const DEPTH: u32 = 256;
/// Requests that are interrupted, or that the kernel has no room for, are made again so often.
const PATIENCE: u32 = 1000;

impl DirectClient {
    pub(crate) fn new(
        file: Arc<DirectFile>,
        functions: Vec<Bdf>,
        topology: Arc<Topology>,
        queue: Arc<SharedQueue>,
        moved: Arc<Moved>,
    ) -> Self {
        let number = queue.enter();
        let flights = (0..DEPTH).map(|_| None).collect();
        let free = (0..DEPTH).rev().collect();
        let completions = Vec::with_capacity(DEPTH as usize);
        let waiting = Vec::new();
        Self {
            file,
            functions,
            topology,
            queue,
            number,
            flights,
            free,
            completions,
            waiting,
            moved,
        }
    }

    fn name(&self) -> String {
        self.file.path().display().to_string()
    }

    /// The way to a provider; the last guard: the kernel is asked for nothing that the verdict refuses.
    fn way(&self, provider: Bdf) -> Result<Way, Error> {
        let mut way = Way::Own;
        for &client in self.functions.iter().filter(|&&client| client != provider) {
            let route = self.topology.route(client, provider).require().map_err(Error::Refused)?;
            way = match route {
                Route::ThroughHostBridge { .. } => Way::ThroughRoot,
                _ if way == Way::Own => Way::Local,
                _ => way,
            };
        }
        Ok(way)
    }

    /// Gives the flight back if there is no room for it.
    fn push(&mut self, flight: Flight) -> Result<(), Flight> {
        let Some(slot) = self.free.pop() else { return Err(flight) };
        let request = Request {
            direction: flight.direction,
            file: Arc::clone(&self.file),
            position: flight.position,
            memory: flight.memory.clone(),
            token: u64::from(slot),
        };
        if self.queue.push(self.number, request).is_err() {
            self.free.push(slot);
            return Err(flight);
        }
        if let Some(place) = self.flights.get_mut(slot as usize) {
            *place = Some(flight);
        }
        Ok(())
    }

    /// Asks for what is left of an operation; where there is no room for it, with the next poll.
    fn go_on(&mut self, flight: Flight) {
        if let Err(flight) = self.push(flight) {
            self.waiting.push(flight);
        }
    }

    /// A request has ended: with it the operation, unless some of it is left.
    fn land(&mut self, completion: Completion, done: &mut Vec<Done>) -> Result<(), Error> {
        let slot = u32::try_from(completion.token).unwrap_or(u32::MAX);
        let place = self.flights.get_mut(slot as usize).and_then(Option::take);
        let mut flight = place.ok_or(Error::Internal("a request that nobody made has ended"))?;
        self.free.push(slot);
        let result = match completion.result {
            Ok(count) => {
                self.moved.count(flight.way, count as u64);
                self.rest(&mut flight, count)
            }
            Err(error) if is_for_now(&error) && flight.again < PATIENCE => {
                flight.again += 1;
                Ok(true)
            }
            Err(error) => Err(self.failure(&flight, &error)),
        };
        match result {
            Ok(true) => self.go_on(flight),
            other => done.push(Done { ticket: flight.ticket, result: other.map(drop) }),
        }
        Ok(())
    }

    /// Leaves of an operation what it has still to move after `count` bytes more; whether that is anything.
    fn rest(&self, flight: &mut Flight, count: usize) -> Result<bool, Error> {
        let len = flight.memory.len();
        if count >= len {
            return Ok(false);
        }
        let at = flight.position.saturating_add(count as u64);
        let beyond = flight.direction == Direction::Read && at >= self.file.size();
        if beyond && !self.file.is_block() {
            // What was there before is nobody's data.
            flight.peer.write(flight.offset + count as u64, &vec![0; len - count])?;
            return Ok(false);
        }
        // A part of a block is moved again, with the rest of it.
        let count = count - count % self.file.offset_align() as usize;
        if at == flight.position || (count == 0 && flight.again >= PATIENCE) {
            return Err(self.ended_early(flight, at));
        }
        flight.again = if count == 0 { flight.again + 1 } else { 0 };
        flight.position += count as u64;
        flight.offset += count as u64;
        let rest = flight.memory.slice(count..len);
        flight.memory = rest.map_err(|_| Error::Internal("more was moved than was asked for"))?;
        Ok(true)
    }

    /// Nothing moves where something should.
    fn ended_early(&self, flight: &Flight, at: u64) -> Error {
        let name = self.name();
        if self.file.is_block() || flight.direction == Direction::Write {
            return Error::Vanished { name, at };
        }
        // A file that is shorter than it was.
        let reason = format!("it ends at byte {at}");
        Error::File { name, reason, kind: std::io::ErrorKind::UnexpectedEof }
    }

    /// Whether a block device has no bytes any more, or one of its devices is leaving.
    fn is_gone(&self) -> bool {
        let empty = self.file.size_now().map_or(true, |size| size == 0);
        empty || self.functions.iter().copied().any(is_leaving)
    }

    /// What an error of the kernel means here.
    fn failure(&self, flight: &Flight, error: &std::io::Error) -> Error {
        let (name, at) = (self.name(), flight.position);
        let errno = error.raw_os_error().unwrap_or(0);
        let is = |known: rustix::io::Errno| errno == known.raw_os_error();
        let status = CommandError::of(error);
        // What is under way at a device that is taken away fails like this before anything else tells.
        let fails = status.is_some() || is(rustix::io::Errno::IO);
        if fails && self.functions.iter().copied().any(is_leaving) {
            return Error::Vanished { name, at };
        }
        if let Some(status) = status {
            return Error::Status { name, at, status };
        }
        let owner = flight.peer.owner();
        match owner {
            Some(provider) if is(rustix::io::Errno::FAULT) => Error::Revoked { provider },
            Some(provider) if is(rustix::io::Errno::INVAL) || is(rustix::io::Errno::REMOTEIO) => {
                Error::KernelRefused { name, provider, reason: error.to_string() }
            }
            _ if is(rustix::io::Errno::NODEV) || is(rustix::io::Errno::NXIO) => {
                Error::Vanished { name, at }
            }
            // A disk that is being removed has no room at all (`bio_check_eod()`, block/blk-core.c). One that is
            // thin has no more, and is there.
            _ if is(rustix::io::Errno::NOSPC) && self.file.is_block() && self.is_gone() => {
                Error::Vanished { name, at }
            }
            // What the kernel makes of the controller's media errors, Access Denied and Namespace is Write Protected among
            // them (`nvme_error_status()`, drivers/nvme/host/core.c; `blk_errors`, block/blk-core.c).
            _ if is(rustix::io::Errno::NODATA) => {
                let reason =
                    format!("at byte {at}: the medium has an error there, or denies access");
                Error::File { name, reason, kind: error.kind() }
            }
            _ => {
                let reason = format!("at byte {at}: {error}");
                Error::File { name, reason, kind: error.kind() }
            }
        }
    }
}

/// Whether the same request may well succeed next time.
fn is_for_now(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::Interrupted | std::io::ErrorKind::WouldBlock)
}

impl Client for DirectClient {
    fn bdf(&self) -> Option<Bdf> {
        self.functions.first().copied()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            size: self.file.size(),
            block: u64::from(self.file.offset_align()),
            max_transfer: self.file.longest().map_or(LONGEST, |longest| longest.min(LONGEST)),
            depth: DEPTH as usize,
        }
    }

    fn attach(&mut self, memory: &Arc<PeerMemory>) -> Result<Attachment, Error> {
        let way = match memory.backing() {
            Backing::Process(_) => Way::Host,
            Backing::Lent { memory, .. } => self.way(memory.bdf())?,
            Backing::Bar { .. } | Backing::Host(_) => {
                return Err(Error::Internal("memory of another platform"));
            }
        };
        Ok(Attachment::new(memory, Mapping::Kernel { way }))
    }

    fn submit(
        &mut self,
        op: Op,
        memory: &Attachment,
        range: Range<u64>,
        ticket: Ticket,
    ) -> Result<(), Error> {
        let Mapping::Kernel { way } = memory.mapping else {
            return Err(Error::Internal("an attachment of another client"));
        };
        let (direction, position, len) = match op {
            Op::Fill { from, len } => (Direction::Read, from, len),
            Op::Drain { to, len } => (Direction::Write, to, len),
        };
        let block = u64::from(self.file.offset_align());
        // A file's last block may be a part of one; the device reads and writes all of it.
        let whole = len.next_multiple_of(block);
        if !position.is_multiple_of(block) || range.end.saturating_sub(range.start) < len {
            return Err(Error::Alignment { at: position, len, block });
        }
        // What is aligned worse the kernel copies by the processor where it is given as a command's data
        // (`blk_rq_map_user_iov()`, block/blk-map.c).
        let align = u64::from(self.file.memory_align());
        if !range.start.is_multiple_of(align) {
            return Err(Error::Alignment { at: range.start, len, block: align });
        }
        let peer = Arc::clone(&memory.memory);
        let (offset, memory) = (range.start, peer.shared(range.start, whole)?);
        let flight = Flight { ticket, direction, position, memory, peer, offset, way, again: 0 };
        self.push(flight).map_err(|_| Error::Busy)
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        for flight in std::mem::take(&mut self.waiting) {
            self.go_on(flight);
        }
        let mut completions = std::mem::take(&mut self.completions);
        let taken = self.queue.take(self.number, &mut completions);
        let mut landed =
            taken.map_err(|error| Error::Engine { reason: error.to_string(), kind: error.kind() });
        for completion in completions.drain(..) {
            landed = landed.and_then(|()| self.land(completion, done));
        }
        self.completions = completions;
        landed
    }

    fn flush(&mut self) -> Result<(), Error> {
        self.file.sync().map_err(|error| Error::File {
            name: self.name(),
            reason: error.to_string(),
            kind: error.kind(),
        })
    }
}

impl Drop for DirectClient {
    /// Memory that a device may use is not given away: what is still under way keeps its loan for good. The kernel's
    /// queue keeps the mapping.
    fn drop(&mut self) {
        for flight in self.flights.drain(..).flatten() {
            std::mem::forget(flight.peer);
        }
    }
}

#[cfg(test)]
mod tests;
