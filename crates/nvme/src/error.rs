//! What can go wrong between the driver and a controller.

use p2pdma_mem::OutOfBounds;
use p2pdma_pci::{Bdf, Duration, Iova};
use p2pdma_spec::nvme::CommandSet;
use p2pdma_spec::nvme::admin::AdminOpcode;
use p2pdma_spec::nvme::registers::Csts;
use p2pdma_spec::nvme::status::CompletionStatus;
use p2pdma_spec::pci::class::ClassCode;

/// Why a controller could not be opened, or did not do what was asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The platform refused.
    #[error(transparent)]
    Pci(#[from] p2pdma_pci::Error),
    /// Memory is smaller than the platform promised.
    #[error(transparent)]
    Memory(#[from] OutOfBounds),
    /// The function's class is not that of an NVMe I/O controller.
    #[error("{bdf} is a {class}, not an NVMe I/O controller")]
    NotNvme {
        /// The function.
        bdf: Bdf,
        /// What it is.
        class: ClassCode,
    },
    /// The function no longer answers: its registers read as all ones.
    #[error("{bdf} is gone: its registers read as all ones")]
    Gone {
        /// Where it was.
        bdf: Bdf,
    },
    /// A register or an Identify structure says something that cannot be, or that this driver cannot use.
    #[error("{bdf} reports {field} = {value:#x}: {reason}")]
    Implausible {
        /// The controller.
        bdf: Bdf,
        /// The field, in the specification's words.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The same of a namespace.
    #[error("{bdf} reports {field} = {value:#x} of namespace {nsid:#x}: {reason}")]
    ImplausibleNamespace {
        /// The controller.
        bdf: Bdf,
        /// The namespace.
        nsid: u32,
        /// The field, in the specification's words.
        field: &'static str,
        /// Its value.
        value: u64,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The namespace belongs to a command set that this driver does not speak.
    #[error("namespace {nsid:#x} of {bdf} belongs to the {set}")]
    OtherCommandSet {
        /// The controller.
        bdf: Bdf,
        /// The namespace.
        nsid: u32,
        /// Its command set.
        set: CommandSet,
    },
    /// The controller did not reach a state in time.
    #[error("{bdf} did not {goal} within {waited} (CSTS: {csts})")]
    NotReady {
        /// The controller.
        bdf: Bdf,
        /// What it should have done, as a verb: "become ready".
        goal: &'static str,
        /// How long it was given.
        waited: Duration,
        /// What it said at last.
        csts: Csts,
    },
    /// The controller reports a fatal error, or stopped being ready by itself; a reset may help.
    #[error("{bdf} has failed (CSTS: {csts})")]
    Failed {
        /// The controller.
        bdf: Bdf,
        /// What it says.
        csts: Csts,
    },
    /// The controller was given up after it could not be reset. Bus mastering is off.
    #[error("{bdf} was given up after a reset that failed")]
    Dead {
        /// The controller.
        bdf: Bdf,
    },
    /// The controller lacks something.
    #[error("{bdf} {what}")]
    Unsupported {
        /// The controller.
        bdf: Bdf,
        /// What it lacks, as a predicate: "has no controller memory buffer".
        what: &'static str,
    },
    /// An admin command failed.
    #[error("{opcode} failed on {bdf}: {status}")]
    Admin {
        /// The controller.
        bdf: Bdf,
        /// The command.
        opcode: AdminOpcode,
        /// Why.
        status: CompletionStatus,
    },
    /// An admin command was not completed in time. The admin queue needs a reset.
    #[error("{opcode} was not completed by {bdf} within {waited}")]
    AdminTimeout {
        /// The controller.
        bdf: Bdf,
        /// The command.
        opcode: AdminOpcode,
        /// How long it was given.
        waited: Duration,
    },
    /// An I/O command failed or was lost.
    #[error(transparent)]
    Command(#[from] Failure),
    /// Nothing was completed in time.
    #[error("queue {qid} of {bdf} completed none of {in_flight} commands within {waited}")]
    Timeout {
        /// The controller.
        bdf: Bdf,
        /// The queue.
        qid: u16,
        /// How many commands are in flight.
        in_flight: usize,
        /// How long it was given.
        waited: Duration,
    },
    /// The controller broke the rules of a queue; the queue is not used any more until it is recovered.
    #[error("queue {qid} of {bdf} is broken: {violation}")]
    Broken {
        /// The controller.
        bdf: Bdf,
        /// The queue.
        qid: u16,
        /// What the controller did.
        violation: Violation,
    },
    /// The controller was reset since the queue was created: the queue has to be recovered.
    #[error("{bdf} was reset, queue {qid} has to be recovered")]
    Reset {
        /// The controller.
        bdf: Bdf,
        /// The queue.
        qid: u16,
    },
    /// The controller was reset since somebody began to rely on the bytes in its memory.
    #[error("{bdf} was reset")]
    WasReset {
        /// The controller.
        bdf: Bdf,
    },
    /// As many commands are in flight as the queue can hold.
    #[error("queue {qid} of {bdf} is full: {capacity} commands are in flight")]
    QueueFull {
        /// The controller.
        bdf: Bdf,
        /// The queue.
        qid: u16,
        /// The most commands that can be in flight.
        capacity: usize,
    },
    /// A queue of this size cannot be.
    #[error("{bdf} has queues of {least} to {most} entries, {entries} were asked for")]
    QueueSize {
        /// The controller.
        bdf: Bdf,
        /// Entries asked for.
        entries: u32,
        /// The fewest.
        least: u32,
        /// The most.
        most: u32,
    },
    /// All I/O queues that the controller grants are in use.
    #[error("all {count} I/O queues of {bdf} are in use")]
    NoQueue {
        /// The controller.
        bdf: Bdf,
        /// How many it grants.
        count: u16,
    },
    /// The interrupt vector announces the completions of another queue.
    #[error("interrupt vector {vector} of {bdf} announces completions of queue {qid} already")]
    VectorTaken {
        /// The controller.
        bdf: Bdf,
        /// The vector asked for.
        vector: u16,
        /// Whose it is.
        qid: u16,
    },
    /// The range of blocks cannot be expressed: none at all, or more than a command can carry.
    #[error("a command carries 1 to {most} {what}, {count} were asked for")]
    Count {
        /// What is counted.
        what: &'static str,
        /// How many were asked for.
        count: u64,
        /// The most.
        most: u64,
    },
    /// Data or metadata do not have the length that the command moves.
    #[error("the command moves {expected} bytes of {what}, {actual} were given")]
    Length {
        /// "data" or "metadata".
        what: &'static str,
        /// What the command moves.
        expected: u64,
        /// What was given.
        actual: u64,
    },
    /// The transfer exceeds what the controller takes, or what the queue was made for.
    #[error("a transfer of {len} bytes exceeds the limit of {most}")]
    TooLong {
        /// Its length in bytes.
        len: u64,
        /// The most.
        most: u64,
    },
    /// An address or a length does not have the alignment that its use needs.
    #[error("{iova} with {len} bytes is not aligned to {align} bytes, as {what} must be")]
    Misaligned {
        /// What it is.
        what: &'static str,
        /// The address.
        iova: Iova,
        /// The length in bytes.
        len: u64,
        /// The alignment in bytes.
        align: u64,
    },
    /// A list of physical region pages cannot express the data: an inner segment begins or ends within
    /// a page. A scatter gather list may.
    #[error("segment {index} at {iova} ({len} bytes) begins or ends within a page")]
    Gap {
        /// Which segment, from 0.
        index: usize,
        /// Its address.
        iova: Iova,
        /// Its length in bytes.
        len: u64,
    },
    /// The data come in more pieces than the controller or the queue's lists can take.
    #[error("{count} segments exceed the limit of {most}")]
    TooManySegments {
        /// How many there are.
        count: usize,
        /// The most.
        most: usize,
    },
    /// The memory has no room for an allocation.
    #[error(
        "the {what} of {bdf} has no room for {len} bytes aligned to {align}; {largest} are free"
    )]
    NoRoom {
        /// The controller.
        bdf: Bdf,
        /// Which memory.
        what: &'static str,
        /// Bytes asked for.
        len: u64,
        /// The alignment in bytes.
        align: u64,
        /// The longest free run in bytes.
        largest: u64,
    },
    /// The persistent memory region may have lost what was written.
    #[error("the persistent memory region of {bdf} is not reliable (PMRSTS: {status})")]
    NotPersistent {
        /// The controller.
        bdf: Bdf,
        /// What it says.
        status: p2pdma_spec::nvme::pmr::Pmrsts,
    },
}

/// An I/O command that failed, by its identity and cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("command {cid:#x} of queue {qid} of {bdf} {cause}")]
pub struct Failure {
    /// The controller.
    pub bdf: Bdf,
    /// The queue.
    pub qid: u16,
    /// The command identifier.
    pub cid: u16,
    /// Why.
    pub cause: Cause,
}

/// Why a command failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Cause {
    /// The controller completed it with this status.
    #[error("failed: {0}")]
    Status(CompletionStatus),
    /// Its queue was deleted or its controller reset before it was completed. Whether it took effect is
    /// not known.
    #[error("was lost when its queue was taken down")]
    Lost,
}

/// What a controller did to a queue that no controller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// It completed a command that is not in flight.
    #[error("completion for command {cid:#x}, which is not in flight")]
    UnknownCommand {
        /// The command identifier.
        cid: u16,
    },
    /// It completed a command a second time.
    #[error("second completion for command {cid:#x}")]
    Duplicate {
        /// The command identifier.
        cid: u16,
    },
    /// It completed a command of another submission queue.
    #[error("completion for submission queue {sqid}")]
    WrongQueue {
        /// The submission queue identifier.
        sqid: u16,
    },
    /// Its head pointer is not a place in the submission queue.
    #[error("submission queue head {sqhd} of {entries} entries")]
    HeadOutOfRange {
        /// The head pointer.
        sqhd: u16,
        /// The size of the queue.
        entries: u32,
    },
    /// It completed a command that it had not been told of.
    #[error("completion for command {cid:#x}, which was not submitted yet")]
    NotSubmitted {
        /// The command identifier.
        cid: u16,
    },
}

/// A command that was not submitted, and what was to be kept with it.
#[derive(Debug)]
pub struct Rejected<T> {
    /// Why.
    pub error: Error,
    /// What the caller gave along.
    pub token: T,
}

impl<T> From<Rejected<T>> for Error {
    fn from(rejected: Rejected<T>) -> Self {
        rejected.error
    }
}
