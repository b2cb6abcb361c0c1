//! Creation and deletion of I/O queues, shadow doorbells, and Abort (NVMe Base 2.1 §5.2, §5.1.1).

use std::sync::Arc;

use p2pdma_pci::Iova;
use p2pdma_spec::nvme::admin::{
    AbortCdw10, AbortResult, AdminOpcode, CreateCompletionQueueCdw11, CreateQueueCdw10,
    CreateSubmissionQueueCdw11, DeleteQueueCdw10,
};
use p2pdma_spec::nvme::queue::{DataPointer, SubmissionEntry};
use p2pdma_spec::nvme::status::Status;

use super::{Admin, AdminData, Held, Request};
use crate::Error;
use crate::queue::{Shadow, ShadowBuffers};
use crate::shared::Shared;

/// What a pair of queues is created from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Creation {
    pub(crate) qid: u16,
    pub(crate) entries: u32,
    pub(crate) sq: Iova,
    pub(crate) cq: Iova,
    pub(crate) vector: Option<u16>,
}

impl Admin {
    /// How many I/O queues there can be.
    pub(crate) fn queue_count(&self) -> u16 {
        u16::try_from(self.queues.len()).unwrap_or(u16::MAX)
    }

    /// Makes room for as many I/O queues as the controller grants. Queues that exist keep their numbers.
    pub(crate) fn set_queue_count(&mut self, count: u32) {
        let held = self.queues.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        self.queues.resize((count as usize).max(held), None);
    }

    /// Takes the first free queue identifier, for a queue that this vector will announce.
    pub(crate) fn take_queue(&mut self, vector: Option<u16>) -> Option<u16> {
        let index = self.queues.iter().position(Option::is_none)?;
        let qid = u16::try_from(index + 1).ok()?;
        *self.queues.get_mut(index)? = Some(Held { vector });
        Some(qid)
    }

    /// The queue that a vector announces.
    pub(crate) fn announced_by(&self, vector: u16) -> Option<u16> {
        let has = |queue: &Option<Held>| queue.is_some_and(|held| held.vector == Some(vector));
        u16::try_from(self.queues.iter().position(has)? + 1).ok()
    }

    /// Gives a queue identifier back.
    pub(crate) fn give_queue(&mut self, qid: u16) {
        let index = usize::from(qid).checked_sub(1);
        if let Some(queue) = index.and_then(|index| self.queues.get_mut(index)) {
            *queue = None;
        }
    }
}

impl Shared {
    /// Gives the controller shadow doorbells, the same after every reset. The admin queue goes on with its
    /// registers.
    pub(crate) fn configure_shadow(&self, admin: &mut Admin) -> Result<(), Error> {
        let buffers = match admin.shadow.buffers.take() {
            Some(buffers) => buffers,
            None => Arc::new(ShadowBuffers::new(&*self.function)?),
        };
        let mut entry = SubmissionEntry::new(AdminOpcode::DOORBELL_BUFFER_CONFIG, 0);
        entry.dptr = buffers.data_pointer();
        // The controller may use them from now on, whatever becomes of the command.
        admin.shadow = Shadow { buffers: Some(buffers), accepted: false };
        match self.command(admin, entry) {
            Ok(_) => admin.shadow.accepted = true,
            // It offered them: what it says now may be wrong.
            Err(Error::Admin { .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn command(&self, admin: &mut Admin, entry: SubmissionEntry) -> Result<u32, Error> {
        let (data, timeout) = (AdminData::None, self.options.admin_timeout);
        Ok(self.execute(admin, Request { entry, data, timeout })?.dword0())
    }

    /// Creates the completion queue, then the submission queue.
    pub(crate) fn create_queues(&self, admin: &mut Admin, queue: &Creation) -> Result<(), Error> {
        let [low, high, ..] = queue.entries.saturating_sub(1).to_le_bytes();
        let cdw10 = CreateQueueCdw10::new()
            .with_qid(queue.qid)
            .with_qsize_z(u16::from_le_bytes([low, high]));
        let cq = CreateCompletionQueueCdw11::new()
            .with_pc(true)
            .with_ien(queue.vector.is_some())
            .with_iv(queue.vector.unwrap_or(0));
        let mut entry = SubmissionEntry {
            cdw10: cdw10.into(),
            cdw11: cq.into(),
            ..SubmissionEntry::new(AdminOpcode::CREATE_COMPLETION_QUEUE, 0)
        };
        entry.dptr = DataPointer::prp(queue.cq.0, 0);
        self.command(admin, entry)?;
        let sq = CreateSubmissionQueueCdw11::new().with_pc(true).with_cqid(queue.qid);
        let mut entry = SubmissionEntry {
            cdw10: cdw10.into(),
            cdw11: sq.into(),
            ..SubmissionEntry::new(AdminOpcode::CREATE_SUBMISSION_QUEUE, 0)
        };
        entry.dptr = DataPointer::prp(queue.sq.0, 0);
        self.command(admin, entry).map(drop)
    }

    /// Deletes the submission queue, then the completion queue. Success is proof that the controller
    /// uses neither them nor the memory of their commands any more (NVMe Base 2.1 §5.2.4).
    ///
    /// If it is not certain that both were `created`, it may be that there is none to delete.
    pub(crate) fn delete_queues(
        &self,
        admin: &mut Admin,
        qid: u16,
        created: bool,
    ) -> Result<(), Error> {
        let opcodes = [AdminOpcode::DELETE_SUBMISSION_QUEUE, AdminOpcode::DELETE_COMPLETION_QUEUE];
        for opcode in opcodes {
            let entry = SubmissionEntry {
                cdw10: DeleteQueueCdw10::new().with_qid(qid).into(),
                ..SubmissionEntry::new(opcode, 0)
            };
            match self.command(admin, entry) {
                Err(Error::Admin { status, .. })
                    if !created && status.status() == Status::INVALID_QUEUE_IDENTIFIER => {}
                other => drop(other?),
            }
        }
        Ok(())
    }

    /// Asks for a command to be aborted; says whether it was. Then it is completed as such soon.
    pub(crate) fn abort(&self, admin: &mut Admin, sqid: u16, cid: u16) -> Result<bool, Error> {
        let entry = SubmissionEntry {
            cdw10: AbortCdw10::new().with_sqid(sqid).with_cid(cid).into(),
            ..SubmissionEntry::new(AdminOpcode::ABORT, 0)
        };
        let result = AbortResult::from_bits(self.command(admin, entry)?);
        Ok(!result.ianp())
    }
}
