//! Asynchronous events, and what is remembered about errors (NVMe Base 2.1 §5.1.2, §5.1.12.1.2).

use std::collections::VecDeque;

use p2pdma_spec::nvme::CommandSet;
use p2pdma_spec::nvme::admin::{AsyncErrorInfo, AsyncEventResult, AsyncEventType};
use p2pdma_spec::nvme::log::{ErrorEntry, LogPageId, ParameterErrorLocation};
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::status::{CompletionStatus, Status};

use super::nvm::Io;

/// The most outstanding Asynchronous Event Requests, minus 1 (AERL).
pub(crate) const EVENT_REQUEST_LIMIT_Z: u8 = 7;
/// The most entries of the Error Information log page, minus 1 (ELPE).
pub(crate) const ERROR_LOG_LAST: u8 = 63;
/// Events that wait for a request; those beyond are of a kind that waits already, or lost.
const MOST_PENDING: usize = 32;

/// Events that wait for a request, and requests that wait for an event.
#[derive(Debug, Default)]
pub(crate) struct Events {
    requests: VecDeque<u16>,
    pending: Vec<AsyncEventResult>,
    /// Types that were reported and not yet cleared by reading a log page: a bit each.
    masked: u8,
}

impl Events {
    /// A request; refused if there are too many.
    pub(crate) fn request(&mut self, cid: u16) -> Result<(), Status> {
        if self.requests.len() > usize::from(EVENT_REQUEST_LIMIT_Z) {
            return Err(Status::ASYNC_EVENT_LIMIT_EXCEEDED);
        }
        self.requests.push_back(cid);
        Ok(())
    }

    /// Takes back a request, for Abort.
    pub(crate) fn withdraw(&mut self, cid: u16) -> bool {
        let found = self.requests.iter().position(|&request| request == cid);
        found.and_then(|index| self.requests.remove(index)).is_some()
    }

    /// Something happened.
    pub(crate) fn raise(&mut self, event: AsyncEventResult) {
        if self.pending.len() < MOST_PENDING && !self.pending.contains(&event) {
            self.pending.push(event);
        }
    }

    /// An error happened that belongs to no command.
    pub(crate) fn raise_error(&mut self, info: AsyncErrorInfo) {
        let event = AsyncEventResult::new()
            .with_event_type(AsyncEventType::ERROR)
            .with_info(info.into_bits())
            .with_lid(LogPageId::ERROR_INFORMATION);
        self.raise(event);
    }

    /// The next event that can be reported, and the request that it answers. Its type is then masked.
    pub(crate) fn report(&mut self) -> Option<(u16, AsyncEventResult)> {
        let free = |event: &AsyncEventResult| self.masked & bit(event.event_type()) == 0;
        let index = self.pending.iter().position(free)?;
        let cid = self.requests.pop_front()?;
        let event = self.pending.remove(index);
        self.masked |= bit(event.event_type());
        Some((cid, event))
    }

    /// Whether [`Events::report`] has something.
    #[inline]
    pub(crate) fn is_due(&self) -> bool {
        let free = |event: &AsyncEventResult| self.masked & bit(event.event_type()) == 0;
        !self.pending.is_empty() && !self.requests.is_empty() && self.pending.iter().any(free)
    }

    /// A log page was read, which clears the events that point to it.
    pub(crate) fn clear(&mut self, lid: LogPageId) {
        let kind = match lid {
            LogPageId::ERROR_INFORMATION => AsyncEventType::ERROR,
            LogPageId::SMART_HEALTH => AsyncEventType::HEALTH,
            LogPageId::CHANGED_ATTACHED_NAMESPACES => AsyncEventType::NOTICE,
            _ => return,
        };
        self.masked &= !bit(kind);
        self.pending.retain(|event| event.lid() != lid);
    }
}

fn bit(kind: AsyncEventType) -> u8 {
    1 << (kind.into_bits() & 7)
}

/// The error is in no particular byte of the command.
const NOWHERE: ParameterErrorLocation = ParameterErrorLocation::from_bits(u16::MAX);

/// The Error Information log: the newest first.
#[derive(Debug, Default)]
pub(crate) struct ErrorLog {
    entries: VecDeque<ErrorEntry>,
    count: u64,
}

impl ErrorLog {
    /// How many errors there ever were.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The log page: entries that are not used are all zero.
    pub(crate) fn page(&self) -> [ErrorEntry; ERROR_LOG_LAST as usize + 1] {
        let mut page = [ErrorEntry::default(); ERROR_LOG_LAST as usize + 1];
        for (slot, entry) in page.iter_mut().zip(&self.entries) {
            *slot = *entry;
        }
        page
    }

    /// A command failed.
    pub(crate) fn command(&mut self, sqid: u16, entry: &SubmissionEntry, status: Status) {
        self.push(ErrorEntry {
            sqid: sqid.into(),
            cid: entry.cid().into(),
            status: CompletionStatus::new().with_status(status).into(),
            location: NOWHERE.into(),
            nsid: entry.nsid,
            csi: CommandSet::NVM,
            opcode: entry.opcode(),
            version: 1,
            ..ErrorEntry::default()
        });
    }

    /// A command failed when its entry was gone already.
    pub(crate) fn io(&mut self, io: &Io, status: Status) {
        self.push(ErrorEntry {
            sqid: io.sqid.into(),
            cid: io.cid.into(),
            status: CompletionStatus::new().with_status(status).into(),
            location: NOWHERE.into(),
            nsid: io.nsid().into(),
            version: 1,
            ..ErrorEntry::default()
        });
    }

    /// Something went wrong that belongs to no command.
    pub(crate) fn other(&mut self, status: Status) {
        self.push(ErrorEntry {
            sqid: u16::MAX.into(),
            cid: u16::MAX.into(),
            status: CompletionStatus::new().with_status(status).into(),
            location: NOWHERE.into(),
            version: 1,
            ..ErrorEntry::default()
        });
    }

    fn push(&mut self, entry: ErrorEntry) {
        self.count += 1;
        self.entries.push_front(ErrorEntry { error_count: self.count.into(), ..entry });
        self.entries.truncate(usize::from(ERROR_LOG_LAST) + 1);
    }
}
