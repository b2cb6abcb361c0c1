//! A namespace of an NVMe controller as an end of transfers.

use std::ops::Range;
use std::sync::Arc;

use p2pdma_nvme::{Controller, Data, Namespace, QueueOptions, QueuePair, Segment};
use p2pdma_pci::{Bdf, Duration, Iova};

use crate::Error;
use crate::memory::{Backing, PeerMemory};
use crate::platform::{Attachment, Capabilities, Client, Done, Mapping, Op, Ticket};

/// Reads and writes a namespace through a queue pair of its own.
///
/// Dropped in this order: the queue pair first, which fences the controller if need be; then the
/// memory that its commands may still have used.
pub(crate) struct NvmeClient {
    queue: QueuePair<Ticket>,
    namespace: Namespace,
    controller: Controller,
    /// What attached memory this queue's commands may name: kept until none is in flight.
    attached: Vec<(Arc<PeerMemory>, Keep)>,
    turns: u32,
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
        let entries = ENTRIES.min(controller.max_queue_entries());
        let queue = controller.queue_pair(&QueueOptions::entries(entries))?;
        Ok(Self { queue, namespace, controller, attached: Vec::new(), turns: 0 })
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
        }
    }

    /// Nothing came for a while: what has been in flight for too long is given up.
    #[cold]
    fn check_overdue(&mut self) -> Result<(), Error> {
        self.turns = 0;
        if !self.queue.overdue(LIMIT).is_empty() {
            self.queue.recover()?;
        }
        Ok(())
    }
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
        let block = self.block();
        let (at, len) = match op {
            Op::Fill { from, len } => (from, len),
            Op::Drain { to, len } => (to, len),
        };
        if !at.is_multiple_of(block) || !len.is_multiple_of(block) || range.end - range.start < len
        {
            return Err(Error::Alignment { at, len, block });
        }
        // More blocks than 32 bits count are refused by the command's own limit.
        let blocks = u32::try_from(len / block).unwrap_or(u32::MAX);
        let command = match op {
            Op::Fill { .. } => self.namespace.read(at / block, blocks),
            Op::Drain { .. } => self.namespace.write(at / block, blocks),
        };
        let whole = Segment::new(*iova, memory.memory.len());
        let outside = || Error::OutsideMemory { offset: range.start, len, size: whole.len };
        let segment = whole.slice(range.start..range.start + len).ok_or_else(outside)?;
        let submitted = self.queue.submit(&command?, Data::Contiguous(segment), ticket);
        submitted.map(drop).map_err(|rejected| Error::Nvme(rejected.error))
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        self.queue.ring()?;
        let before = done.len();
        self.queue.reap(|completion| {
            let result = completion.outcome.map(drop).map_err(Error::Command);
            done.push(Done { ticket: completion.token, result });
        })?;
        if done.len() == before && self.queue.in_flight() > 0 {
            self.turns += 1;
            if self.turns >= TURNS_PER_CHECK {
                self.check_overdue()?;
            }
        } else {
            self.turns = 0;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let flush = self.namespace.flush();
        let submitted = self.queue.submit(&flush, Data::None, FLUSH);
        submitted.map_err(|rejected| Error::Nvme(rejected.error))?;
        // What a transfer that failed has left in flight ends before it, or after.
        while let Some(completion) = self.queue.wait(LIMIT)? {
            if completion.token == FLUSH {
                return completion.outcome.map(drop).map_err(Error::Command);
            }
        }
        Err(Error::Internal("a flush that was not in flight"))
    }
}
