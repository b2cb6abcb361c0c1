//! Making queues.

use std::collections::VecDeque;
use std::sync::Arc;

use p2pdma_pci::Interrupt;
use p2pdma_spec::nvme::queue::{COMPLETION_ENTRY_SIZE, MIN_ENTRIES, SUBMISSION_ENTRY_SIZE};

use super::{CompletionQueue, Doorbell, Presence, QueuePair, RawPair, SubmissionQueue};
use crate::admin::{Admin, Creation};
use crate::cmb::{CmbMemory, CmbRange, QUEUE_ALIGN};
use crate::data::Lists;
use crate::memory::QueueMemory;
use crate::{Controller, Error, PAGE, Placement, QueueOptions};

impl Controller {
    /// Creates a pair of I/O queues. `T` is what goes along with each command.
    ///
    /// # Errors
    /// [`Error::QueueSize`], [`Error::NoQueue`], [`Error::NoRoom`] if the controller memory buffer is
    /// full, [`Error::Unsupported`] if it may not hold queues, [`Error::VectorTaken`], no memory or no
    /// interrupt vector, and what can happen to any admin command.
    pub fn queue_pair<T>(&self, options: &QueueOptions) -> Result<QueuePair<T>, Error> {
        let (bdf, entries) = (self.bdf(), options.entries);
        let (least, most) = (MIN_ENTRIES, self.max_queue_entries());
        if entries < least || entries > most {
            return Err(Error::QueueSize { bdf, entries, least, most });
        }
        let wants_cmb = [options.submission, options.completion].contains(&Placement::Cmb);
        // Takes the admin lock by itself.
        let _enabled = wants_cmb.then(|| self.cmb()).transpose()?;
        let shared = &self.shared;
        let mut admin = shared.admin()?;
        shared.check_alive()?;
        let interrupt =
            options.vector.map(|vector| self.open_vector(&admin, vector)).transpose()?;
        let count = admin.queue_count();
        let [sq, cq, lists] = self.memory(&admin, options)?;
        let max_transfer = if matches!(lists, QueueMemory::Gone) {
            self.limits.max_transfer.min(PAGE)
        } else {
            self.limits.max_transfer
        };
        let qid = admin.take_queue(options.vector).ok_or(Error::NoQueue { bdf, count })?;
        let bell = |register| Doorbell::new(shared.registers.bar.clone(), register);
        let capabilities = &shared.capabilities;
        let sq = SubmissionQueue::new(sq, entries, bell(capabilities.submission_doorbell(qid)));
        let cq = CompletionQueue::new(cq, entries, bell(capabilities.completion_doorbell(qid)));
        let queues = sq.and_then(|sq| Ok((sq, cq?)));
        let (sq, cq) = queues.inspect_err(|_| admin.give_queue(qid))?;
        let stride = Lists::stride(max_transfer).unwrap_or(0);
        let mut pair = QueuePair {
            raw: RawPair::new(bdf, qid, sq, cq),
            lists: Lists::new(lists, stride, max_transfer),
            attention: true,
            presence: Presence::Absent,
            epoch: shared.epoch(),
            sgl: self.limits.sgl,
            shared: Arc::clone(shared),
            returned: VecDeque::new(),
            vector: options.vector,
            interrupt,
            aged: shared.function.clock().now(),
            retired: false,
        };
        let created = pair.create(&mut admin);
        // Dropping the pair takes the admin lock.
        drop(admin);
        created.map(|()| pair)
    }

    /// Opens a vector for a queue. Of two, the first would not hear of its completions any more
    /// ([`Function::interrupt`](p2pdma_pci::Function::interrupt)).
    fn open_vector(&self, admin: &Admin, vector: u16) -> Result<Interrupt, Error> {
        if let Some(qid) = admin.announced_by(vector) {
            return Err(Error::VectorTaken { bdf: self.bdf(), vector, qid });
        }
        Ok(self.shared.function.interrupt(vector)?)
    }

    /// Memory for the two queues and for lists, zeroed.
    fn memory(&self, admin: &Admin, options: &QueueOptions) -> Result<[QueueMemory; 3], Error> {
        let bdf = self.bdf();
        let entries = options.entries as usize;
        let unsupported = |what| Error::Unsupported { bdf, what };
        let cmb = admin.cmb.as_ref();
        let host = |len: usize| -> Result<QueueMemory, Error> {
            Ok(QueueMemory::Host(self.shared.function.alloc_dma(len)?))
        };
        let own = |cmb: &Arc<CmbMemory>, len: usize| -> Result<QueueMemory, Error> {
            Ok(QueueMemory::Cmb(CmbRange::allocate(cmb, len as u64, QUEUE_ALIGN)?))
        };
        let (sq_len, cq_len) = (entries * SUBMISSION_ENTRY_SIZE, entries * COMPLETION_ENTRY_SIZE);
        let sq = match (options.submission, cmb) {
            (Placement::Cmb, Some(cmb)) if cmb.size.sqs() => own(cmb, sq_len)?,
            (Placement::Cmb, _) => return Err(unsupported("takes no submission queue in its CMB")),
            (Placement::Host, _) => host(sq_len)?,
        };
        let cq = match (options.completion, cmb) {
            (Placement::Cmb, Some(cmb)) if cmb.size.cqs() => own(cmb, cq_len)?,
            (Placement::Cmb, _) => return Err(unsupported("takes no completion queue in its CMB")),
            (Placement::Host, _) => host(cq_len)?,
        };
        let max_transfer = self.limits.max_transfer;
        let stride = Lists::stride(max_transfer).filter(|_| max_transfer > PAGE);
        let len = stride.and_then(|stride| stride.checked_mul(entries - 1));
        let lists = match (len, cmb) {
            (None, _) => QueueMemory::Gone,
            // The lists of commands in the buffer have to be there too, unless CMBLOC.CDPCILS lifts that
            // (NVMe Base 2.1 §8.2.1). Without lists a command has two entries, enough for a page.
            (Some(len), Some(cmb))
                if options.submission == Placement::Cmb && !cmb.location.cdpcils() =>
            {
                if cmb.size.lists() { own(cmb, len)? } else { QueueMemory::Gone }
            }
            (Some(len), _) => host(len)?,
        };
        Ok([sq, cq, lists])
    }
}

impl<T> QueuePair<T> {
    /// Tells the controller of the queues.
    pub(super) fn create(&mut self, admin: &mut Admin) -> Result<(), Error> {
        self.raw.mirror(&admin.shadow)?;
        let (sq, cq) = self.raw.memory();
        let creation = Creation {
            qid: self.raw.qid,
            entries: self.raw.entries(),
            sq: sq.iova(),
            cq: cq.iova(),
            vector: self.vector,
        };
        // Whatever becomes of the commands, the controller may know of the queues from now on.
        self.presence = Presence::Uncertain;
        self.shared.create_queues(admin, &creation)?;
        self.presence = Presence::Present;
        self.raw.open()
    }
}
