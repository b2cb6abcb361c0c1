//! How commands end.

use p2pdma_spec::nvme::status::Status;

/// Dwords 0 and 1 of the completion, or a failure.
pub(crate) type CommandResult = Result<u64, Failure>;

/// A status that is not success, and what the completion carries beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) status: Status,
    /// Dword 0 of the completion.
    pub(crate) dword: u32,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self { status, dword: 0 }
    }
}

/// Why a command is not carried out to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    Failed(Failure),
    /// It did its part of this turn's work, and is to be called again: others come first.
    Unfinished,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Failed(status.into())
    }
}

/// Whether the same command is expected to fail again (DNR, NVMe Base 2.1 §4.2.3).
pub(crate) fn is_final(status: Status) -> bool {
    !matches!(
        status,
        Status::DATA_TRANSFER_ERROR
            | Status::INTERNAL_ERROR
            | Status::FORMAT_IN_PROGRESS
            | Status::ABORT_REQUESTED
            | Status::ABORTED_SQ_DELETION
            | Status::ABORTED_FAILED_FUSED
            | Status::CAPACITY_EXCEEDED
            | Status::WRITE_FAULT
            | Status::ASYNC_EVENT_LIMIT_EXCEEDED
            | Status::ABORT_LIMIT_EXCEEDED
    )
}
