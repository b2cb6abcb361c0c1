//! A namespace of an NVMe controller as an end of transfers.

use std::ops::Range;
use std::sync::Arc;

use p2pdma_nvme::{
    Command, Completion, Controller, Data, Namespace, QueueOptions, QueuePair, Segment,
};
use p2pdma_pci::{Bdf, Duration, Iova};

use crate::Error;
use crate::memory::{Backing, PeerMemory};
use crate::platform::{Attachment, Capabilities, Client, Done, Mapping, Op, Ticket};
use crate::transfer::GRACE;

/// Reads and writes a namespace through a queue pair of its own.
///
/// When it is dropped, the queue pair is retired first, which fences the controller if need be; then goes the memory
/// that its commands may still have used. If the controller cannot be fenced, that memory never goes back.
pub(crate) struct NvmeClient {
    queue: QueuePair<Ticket>,
    namespace: Namespace,
    /// The size of a block, as a power of two.
    shift: u32,
    /// Of the operations of a length: the commands, to be aimed at their blocks.
    prepared: Option<Prepared>,
    controller: Controller,
    /// What attached memory this queue's commands may name: kept until none is in flight.
    attached: Vec<(Arc<PeerMemory>, Keep)>,
    turns: u32,
    /// What ended while a flush was awaited.
    ended: Vec<Done>,
}

/// The commands that move so many bytes.
#[derive(Clone, Copy)]
struct Prepared {
    len: u64,
    fill: Command,
    drain: Command,
}

/// What keeps a mapping valid.
pub(crate) type Keep = Arc<dyn Send + Sync>;

/// A command that takes longer than this is taken for lost.
const LIMIT: Duration = Duration::from_millis(30_000);
/// Overdue commands are looked for once in so many polls that found nothing.
const TURNS_PER_CHECK: u32 = 4096;
/// No transfer's ticket.
const FLUSH: Ticket = Ticket(u32::MAX);
/// Entries of the queues: more than any depth that helps an SSD.
const ENTRIES: u32 = 1024;

impl NvmeClient {
    pub(crate) fn new(controller: Controller, namespace: Namespace) -> Result<Self, Error> {
        let bytes = namespace.format().metadata;
        if bytes > 0 {
            let (bdf, namespace) = (controller.bdf(), namespace.nsid());
            return Err(Error::Metadata { bdf, namespace, bytes });
        }
        let entries = ENTRIES.min(controller.max_queue_entries());
        let queue = controller.queue_pair(&QueueOptions::entries(entries))?;
        let shift = namespace.format().data.trailing_zeros();
        let (prepared, attached, ended) = (None, Vec::new(), Vec::new());
        Ok(Self { queue, namespace, shift, prepared, controller, attached, turns: 0, ended })
    }

    /// Keeps what ended while something else was awaited: the next poll finds it, whether or not anything else has
    /// ended by then.
    fn set_aside(&mut self, completion: Completion<Ticket>) {
        let result = completion.outcome.map(drop).map_err(Error::Command);
        self.ended.push(Done { ticket: completion.token, result });
        self.turns = TURNS_PER_CHECK;
    }

    fn block(&self) -> u64 {
        u64::from(self.namespace.format().data)
    }

    fn map(&self, memory: &PeerMemory) -> Result<(Iova, Keep), Error> {
        let function = self.controller.function();
        match memory.backing() {
            Backing::Host(buffer) => {
                let shared = function.share_dma(buffer)?;
                Ok((shared.iova(), Arc::new(shared)))
            }
            Backing::Bar { bar, own, .. } if bar.owner() == self.controller.bdf() => {
                let what = "cannot reach its own memory";
                let missing = p2pdma_pci::Error::Unsupported { bdf: bar.owner(), what };
                Ok(((*own).ok_or(missing)?, Arc::new(())))
            }
            Backing::Bar { bar, offset, .. } => {
                let window = function.map_peer(bar, *offset..*offset + memory.len())?;
                Ok((window.iova(), Arc::new(window)))
            }
            Backing::Lent { .. } | Backing::Process(_) => {
                Err(Error::Internal("memory of the kernel's, for a driver of our own"))
            }
        }
    }

    /// Collects what has ended.
    #[inline(never)]
    fn take(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        self.turns = 0;
        done.append(&mut self.ended);
        self.queue.reap(|completion| {
            let result = completion.outcome.map(drop).map_err(Error::Command);
            done.push(Done { ticket: completion.token, result });
        })?;
        Ok(())
    }

    /// Nothing came for a while: what has been in flight for too long is given up.
    #[cold]
    fn check_overdue(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        self.turns = 0;
        done.append(&mut self.ended);
        if !self.queue.overdue(LIMIT).is_empty() {
            self.queue.recover()?;
        }
        Ok(())
    }

    /// Lets what is under way end, for a moment: nobody counts it any more. A queue that is deleted with commands in it
    /// is a way that controllers seldom go, and on which QEMU's can stop for ever (decision 0010).
    fn settle(&mut self) {
        let clock = self.controller.function().clock();
        let began = clock.now();
        let mut left = GRACE;
        while let Ok(Some(_)) = self.queue.wait(left) {
            left = GRACE - clock.now().since(began);
        }
    }
}

/// The commands for operations of `len` bytes: a whole number of blocks.
#[cold]
fn prepare(namespace: &Namespace, len: u64, shift: u32) -> Result<Prepared, Error> {
    // More blocks than 32 bits count are refused by the command's own limit.
    let blocks = u32::try_from(len >> shift).unwrap_or(u32::MAX);
    Ok(Prepared { len, fill: namespace.read(0, blocks)?, drain: namespace.write(0, blocks)? })
}

impl Client for NvmeClient {
    fn bdf(&self) -> Option<Bdf> {
        Some(self.controller.bdf())
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            size: self.namespace.size(),
            block: self.block(),
            max_transfer: self.queue.max_transfer(),
            depth: self.queue.capacity(),
        }
    }

    fn attach(&mut self, memory: &Arc<PeerMemory>) -> Result<Attachment, Error> {
        if self.queue.in_flight() == 0 {
            self.attached.clear();
        }
        let (iova, keep) = self.map(memory)?;
        self.attached.push((Arc::clone(memory), Arc::clone(&keep)));
        Ok(Attachment::new(memory, Mapping::Device { iova, _keep: keep }))
    }

    fn submit(
        &mut self,
        op: Op,
        memory: &Attachment,
        range: Range<u64>,
        ticket: Ticket,
    ) -> Result<(), Error> {
        let Mapping::Device { iova, .. } = &memory.mapping else {
            return Err(Error::Internal("an attachment of another client"));
        };
        if self.queue.in_flight() >= self.queue.capacity() {
            return Err(Error::Busy);
        }
        let (at, len) = match op {
            Op::Fill { from, len } => (from, len),
            Op::Drain { to, len } => (to, len),
        };
        // A block is a power of two.
        let within = (1_u64 << self.shift) - 1;
        if (at | len) & within != 0 || range.end.saturating_sub(range.start) < len {
            return Err(Error::Alignment { at, len, block: self.block() });
        }
        let prepared = match &mut self.prepared {
            Some(prepared) if prepared.len == len => prepared,
            prepared => prepared.insert(prepare(&self.namespace, len, self.shift)?),
        };
        let whole = Segment::new(*iova, memory.memory.len());
        let outside = || Error::OutsideMemory { offset: range.start, len, size: whole.len };
        let end = range.start.checked_add(len).ok_or_else(outside)?;
        let segment = whole.slice(range.start..end).ok_or_else(outside)?;
        let command = match op {
            Op::Fill { .. } => &mut prepared.fill,
            Op::Drain { .. } => &mut prepared.drain,
        };
        command.aim(at >> self.shift);
        let submitted = self.queue.submit(command, Data::Contiguous(segment), ticket);
        submitted.map(drop).map_err(|rejected| Error::Nvme(rejected.error))
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        if self.queue.is_pending() {
            self.queue.ring()?;
        }
        if !self.queue.is_drained() {
            return self.take(done);
        }
        self.turns += 1;
        if self.turns < TURNS_PER_CHECK { Ok(()) } else { self.check_overdue(done) }
    }

    fn flush(&mut self) -> Result<(), Error> {
        let flush = self.namespace.flush();
        while self.queue.in_flight() >= self.queue.capacity()
            && let Some(completion) = self.queue.wait(LIMIT)?
        {
            self.set_aside(completion);
        }
        let submitted = self.queue.submit(&flush, Data::None, FLUSH);
        submitted.map_err(|rejected| Error::Nvme(rejected.error))?;
        while let Some(completion) = self.queue.wait(LIMIT)? {
            if completion.token == FLUSH {
                return completion.outcome.map(drop).map_err(Error::Command);
            }
            self.set_aside(completion);
        }
        Err(Error::Internal("a flush that was not in flight"))
    }
}

impl Drop for NvmeClient {
    fn drop(&mut self) {
        self.settle();
        if !self.queue.retire() && self.queue.in_flight() > 0 {
            // The controller may still write there: better lost than given to somebody else.
            std::mem::forget(std::mem::take(&mut self.attached));
        }
    }
}
