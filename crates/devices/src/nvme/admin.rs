//! Admin commands (NVMe Base 2.1 §5).

use p2pdma_spec::nvme::admin::{
    AbortCdw10, AbortResult, AdminOpcode, AsyncEventResult, AsyncEventType, AsyncHealthInfo,
    CommitAction, CreateCompletionQueueCdw11, CreateQueueCdw10, CreateSubmissionQueueCdw11,
    DeleteQueueCdw10, FirmwareCommitCdw10,
};
use p2pdma_spec::nvme::log::{CriticalWarning, LogPageId};
use p2pdma_spec::nvme::queue::{
    ADMIN_QID, COMPLETION_ENTRY_SIZE, DataTransfer, Fuse, SUBMISSION_ENTRY_SIZE, SubmissionEntry,
};
use p2pdma_spec::nvme::status::Status;

use super::dma::Use;
use super::engine::Engine;
use super::nvm::{Env, Limits};
use super::pmr::Pmr;
use super::prp;
use super::queue::{CompletionQueue, SubmissionQueue};
use super::reply::{CommandResult, Failure};
use super::segments::Segments;
use super::shadow::ShadowDoorbells;

/// Sends what a command returns: controller to host.
pub(crate) fn send_data(
    env: &mut Env<'_, '_>,
    limits: &Limits,
    entry: &SubmissionEntry,
    data: &[u8],
) -> Result<(), Failure> {
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut segments = Segments::default();
    prp::walk(&mut env.dma, entry.dptr, len, limits.page, Use::ReadData, &mut segments)?;
    Ok(segments.scatter(&mut env.dma, data)?)
}

/// Fetches what a command brings: host to controller.
pub(crate) fn fetch_data(
    env: &mut Env<'_, '_>,
    limits: &Limits,
    entry: &SubmissionEntry,
    data: &mut [u8],
) -> Result<(), Failure> {
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut segments = Segments::default();
    prp::walk(&mut env.dma, entry.dptr, len, limits.page, Use::WriteData, &mut segments)?;
    Ok(segments.gather(&mut env.dma, data)?)
}

impl Engine {
    /// Carries out an admin command.
    pub(crate) fn admin_command(&mut self, env: &mut Env<'_, '_>, entry: &SubmissionEntry) {
        env.dma.restart();
        let cdw0 = entry.cdw0.get();
        let result = if cdw0.psdt() != DataTransfer::PRP || cdw0.fuse() != Fuse::NORMAL {
            // NVMe over PCIe 1.1 §3.4: admin commands have PRPs; none of them is fused.
            Err(Status::INVALID_FIELD.into())
        } else if AdminOpcode::from_bits(cdw0.opcode()) == AdminOpcode::ASYNC_EVENT_REQUEST {
            match self.events.request(cdw0.cid()) {
                Ok(()) => return self.shelve(ADMIN_QID),
                Err(status) => Err(status.into()),
            }
        } else {
            self.dispatch(env, entry)
        };
        if let Err(failure) = &result {
            self.errors.command(ADMIN_QID, entry, failure.status);
        }
        let done = env.dma.done();
        self.finish(env, ADMIN_QID, cdw0.cid(), result, done);
    }

    /// The commands that there are; [`log`](super::log) lists the same.
    fn dispatch(&mut self, env: &mut Env<'_, '_>, entry: &SubmissionEntry) -> CommandResult {
        match AdminOpcode::from_bits(entry.opcode()) {
            AdminOpcode::DELETE_SUBMISSION_QUEUE => self.delete_submission_queue(env, entry),
            AdminOpcode::CREATE_SUBMISSION_QUEUE => self.create_submission_queue(env, entry),
            AdminOpcode::GET_LOG_PAGE => self.get_log_page(env, entry),
            AdminOpcode::DELETE_COMPLETION_QUEUE => self.delete_completion_queue(entry),
            AdminOpcode::CREATE_COMPLETION_QUEUE => self.create_completion_queue(env, entry),
            AdminOpcode::IDENTIFY => self.identify(env, entry),
            AdminOpcode::ABORT => Ok(self.abort(env, entry)),
            AdminOpcode::SET_FEATURES => self.set_features(env, entry),
            AdminOpcode::GET_FEATURES => self.get_features(env, entry),
            AdminOpcode::NAMESPACE_MANAGEMENT => self.namespace_management(env, entry),
            AdminOpcode::FIRMWARE_COMMIT => firmware_commit(entry),
            AdminOpcode::FIRMWARE_IMAGE_DOWNLOAD => self.firmware_download(env, entry),
            AdminOpcode::NAMESPACE_ATTACHMENT => self.namespace_attachment(env, entry),
            AdminOpcode::KEEP_ALIVE => {
                self.features.keep_alive(env.dma.now());
                Ok(0)
            }
            AdminOpcode::DOORBELL_BUFFER_CONFIG => self.doorbell_buffers(env, entry),
            AdminOpcode::FORMAT_NVM => self.format_nvm(env, entry),
            _ => Err(Status::INVALID_OPCODE.into()),
        }
    }

    /// What both creating commands check (NVMe Base 2.1 §5.2.1, §5.2.2): base and size.
    fn check_queue(
        &self,
        env: &Env<'_, '_>,
        entry: &SubmissionEntry,
        entry_size: usize,
        usage: Use,
    ) -> Result<(u64, u32), Failure> {
        let size = u32::from(CreateQueueCdw10::from(entry.cdw10).qsize_z()) + 1;
        if size < 2 || size > self.max_queue_entries || !self.entry_sizes_set {
            return Err(Status::INVALID_QUEUE_SIZE.into());
        }
        // Both dwords have it in bit 0. CAP.CQR says that queues must be contiguous.
        if !CreateSubmissionQueueCdw11::from(entry.cdw11).pc() {
            return Err(Status::INVALID_FIELD.into());
        }
        let base = entry.dptr.prp1;
        if base.offset(self.limits.page) != 0 {
            return Err(Status::PRP_OFFSET_INVALID.into());
        }
        let bytes = u64::from(size) * entry_size as u64;
        if base.address().checked_add(bytes).is_none() {
            return Err(Status::INVALID_FIELD.into());
        }
        let own = env.dma.own();
        own.check(base.address(), bytes, usage)?;
        if !own.is_whole(base.address(), bytes) {
            return Err(Status::INVALID_USE_OF_CMB.into());
        }
        Ok((base.address(), size))
    }

    fn create_completion_queue(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> CommandResult {
        let id = CreateQueueCdw10::from(entry.cdw10).qid();
        let cdw11 = CreateCompletionQueueCdw11::from(entry.cdw11);
        if id == ADMIN_QID || id > self.queues.last() || self.queues.completion(id).is_some() {
            return Err(Status::INVALID_QUEUE_IDENTIFIER.into());
        }
        let (base, size) =
            self.check_queue(env, entry, COMPLETION_ENTRY_SIZE, Use::CompletionQueue)?;
        if cdw11.ien() && cdw11.iv() >= self.vectors {
            return Err(Status::INVALID_INTERRUPT_VECTOR.into());
        }
        let vector = cdw11.ien().then_some(cdw11.iv());
        self.queues.insert_completion(id, CompletionQueue::new(base, size, vector));
        Ok(0)
    }

    fn create_submission_queue(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> CommandResult {
        let id = CreateQueueCdw10::from(entry.cdw10).qid();
        let cdw11 = CreateSubmissionQueueCdw11::from(entry.cdw11);
        if id == ADMIN_QID || id > self.queues.last() || self.queues.submission(id).is_some() {
            return Err(Status::INVALID_QUEUE_IDENTIFIER.into());
        }
        let cqid = cdw11.cqid();
        if cqid == ADMIN_QID || cqid > self.queues.last() {
            return Err(Status::INVALID_QUEUE_IDENTIFIER.into());
        }
        if self.queues.completion(cqid).is_none() {
            return Err(Status::COMPLETION_QUEUE_INVALID.into());
        }
        let (base, size) =
            self.check_queue(env, entry, SUBMISSION_ENTRY_SIZE, Use::SubmissionQueue)?;
        let queue = SubmissionQueue::new(base, size, cqid, cdw11.qprio());
        self.queues.insert_submission(id, queue);
        Ok(0)
    }

    fn delete_submission_queue(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> CommandResult {
        let id = DeleteQueueCdw10::from(entry.cdw10).qid();
        if id == ADMIN_QID || self.queues.submission(id).is_none() {
            return Err(Status::INVALID_QUEUE_IDENTIFIER.into());
        }
        self.abort_queue(env, id);
        self.queues.remove_submission(id);
        Ok(0)
    }

    fn delete_completion_queue(&mut self, entry: &SubmissionEntry) -> CommandResult {
        let id = DeleteQueueCdw10::from(entry.cdw10).qid();
        let users = self.queues.completion(id).map(|queue| queue.users);
        match users {
            Some(0) if id != ADMIN_QID => {
                self.queues.remove_completion(id);
                Ok(0)
            }
            Some(_) if id != ADMIN_QID => Err(Status::INVALID_QUEUE_DELETION.into()),
            _ => Err(Status::INVALID_QUEUE_IDENTIFIER.into()),
        }
    }

    /// Abort: a command that only waits is ended; any other ends by itself (NVMe Base 2.1 §5.1.1).
    fn abort(&mut self, env: &mut Env<'_, '_>, entry: &SubmissionEntry) -> u64 {
        let cdw10 = AbortCdw10::from(entry.cdw10);
        let (sqid, cid) = (cdw10.sqid(), cdw10.cid());
        let room = self.queues.completion(ADMIN_QID).is_some_and(|queue| queue.room > 0);
        let aborted = if sqid == ADMIN_QID && room && self.events.withdraw(cid) {
            self.unshelve();
            true
        } else {
            self.jobs.take_command(sqid, cid)
        };
        if aborted {
            self.complete(env, sqid, cid, Err(Status::ABORT_REQUESTED.into()));
        }
        u64::from(AbortResult::new().with_ianp(!aborted).into_bits())
    }

    /// The image is taken and dropped: there is one slot, and it is read only.
    fn firmware_download(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> CommandResult {
        let bytes = (u64::from(entry.cdw10.get()) + 1) * 4;
        let len = u32::try_from(bytes).map_err(|_| Status::INVALID_FIELD)?;
        if len > self.limits.max_transfer {
            return Err(Status::INVALID_FIELD.into());
        }
        let mut segments = Segments::default();
        let (page, usage) = (self.limits.page, Use::WriteData);
        prp::walk(&mut env.dma, entry.dptr, len, page, usage, &mut segments)?;
        Ok(0)
    }

    fn doorbell_buffers(
        &mut self,
        env: &mut Env<'_, '_>,
        entry: &SubmissionEntry,
    ) -> CommandResult {
        let (doorbells, indexes, page) = (entry.dptr.prp1, entry.dptr.prp2, self.limits.page);
        if doorbells.offset(page) != 0 || indexes.offset(page) != 0 {
            return Err(Status::PRP_OFFSET_INVALID.into());
        }
        if doorbells.address() == 0 || indexes.address() == 0 {
            return Err(Status::INVALID_FIELD.into());
        }
        let stride = self.doorbell_stride;
        let shadow = ShadowDoorbells::new(doorbells.address(), indexes.address(), page, stride);
        self.shadow = Some(shadow);
        let ids: Vec<u16> = self.queues.io_submission_ids().collect();
        for id in ids {
            self.adopt_shadow(env, id);
        }
        Ok(0)
    }

    /// Reports those of the critical warnings that are due and that the host wants to hear of.
    pub(crate) fn warn(&mut self, env: &Env<'_, '_>, due: CriticalWarning) {
        let failed = env.dma.own().pmr.as_ref().is_some_and(Pmr::has_failed);
        let warning = self.features.warning(failed).into_bits();
        let wanted = self.features.async_events().shcw().into_bits();
        let reported = CriticalWarning::from_bits(warning & wanted & due.into_bits());
        for (is, info) in [
            (reported.ttc(), AsyncHealthInfo::TEMPERATURE_THRESHOLD),
            (reported.pmrro(), AsyncHealthInfo::RELIABILITY),
        ] {
            if is {
                self.events.raise(
                    AsyncEventResult::new()
                        .with_event_type(AsyncEventType::HEALTH)
                        .with_info(info.into_bits())
                        .with_lid(LogPageId::SMART_HEALTH),
                );
            }
        }
    }
}

/// There is one slot, and it is read only and active (FRMW).
fn firmware_commit(entry: &SubmissionEntry) -> CommandResult {
    let cdw10 = FirmwareCommitCdw10::from(entry.cdw10);
    match cdw10.ca() {
        CommitAction::REPLACE | CommitAction::REPLACE_AND_ACTIVATE => {
            Err(Status::INVALID_FIRMWARE_SLOT.into())
        }
        CommitAction::ACTIVATE | CommitAction::ACTIVATE_NOW if cdw10.fs() <= 1 => Ok(0),
        CommitAction::ACTIVATE | CommitAction::ACTIVATE_NOW => {
            Err(Status::INVALID_FIRMWARE_SLOT.into())
        }
        _ => Err(Status::INVALID_FIELD.into()),
    }
}
