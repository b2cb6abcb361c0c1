//! What can go wrong in a transfer.

use std::io;

use p2pdma_linux::IommuFault;
use p2pdma_linux::io::{LendError, OpenError};
use p2pdma_linux::vfio::VfioError;
use p2pdma_mem::OutOfBounds;
use p2pdma_pci::topology::Refusal;
use p2pdma_pci::{Bdf, Size};
use p2pdma_spec::nvme::status::Status;

use crate::platform::ProviderId;
use crate::transfer::{JournalError, NoPath};

/// Why something could not be done.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No peer-to-peer path, and none other was allowed.
    #[error(transparent)]
    NoPath(#[from] Box<NoPath>),
    /// A client may not reach a provider's memory.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// No run of memory is long enough.
    #[error(
        "[P2P-POOL-EMPTY] {provider} can lend {available} bytes in one run, {wanted} were asked for"
    )]
    PoolEmpty {
        /// Whose memory; "host memory" for the host's.
        provider: String,
        /// How many bytes were asked for.
        wanted: u64,
        /// How many it can lend.
        available: u64,
    },
    /// There is no such memory.
    #[error("[P2P-NO-P2PMEM] {0} is not there")]
    NoProvider(ProviderId),
    /// The memory's controller does not come up.
    #[error("{provider} cannot be used: {reason}")]
    ProviderClosed {
        /// Whose memory.
        provider: ProviderId,
        /// What its controller said.
        reason: String,
    },
    /// There is no such namespace.
    #[error("{bdf} has no namespace {namespace}; it has {}", list(.present))]
    NoNamespace {
        /// The controller.
        bdf: Bdf,
        /// The namespace asked for.
        namespace: u32,
        /// Those that it has.
        present: Vec<u32>,
    },
    /// The function is no NVMe controller.
    #[error("{bdf} ({name}) is not an NVMe controller")]
    NotNvme {
        /// The function.
        bdf: Bdf,
        /// Its name.
        name: String,
    },
    /// There is no such function.
    #[error("there is no function {0} in this machine")]
    NoFunction(Bdf),
    /// The namespace's blocks have metadata, which have no place in a copy.
    #[error("each block of namespace {namespace} of {bdf} has {bytes} bytes of metadata")]
    Metadata {
        /// The controller.
        bdf: Bdf,
        /// The namespace.
        namespace: u32,
        /// How many a block has.
        bytes: u16,
    },
    /// A range leaves the memory that was lent.
    #[error("{len} bytes at offset {offset} leave the {size} bytes that were lent")]
    OutsideMemory {
        /// Where the range begins.
        offset: u64,
        /// Its length.
        len: u64,
        /// The memory's length.
        size: u64,
    },
    /// A job whose numbers have no meaning.
    #[error("the job makes no sense: {reason}")]
    Job {
        /// Why not.
        reason: &'static str,
    },
    /// As many operations are under way as the client can have.
    #[error("as many operations are under way as there can be")]
    Busy,
    /// What arrived differs from what it has to be.
    #[error("the data differs from the pattern at byte {at}")]
    Mismatch {
        /// The position of the first wrong byte.
        at: u64,
    },
    /// A file could not be read or written.
    #[error("{name}: {reason}")]
    File {
        /// The file.
        name: String,
        /// What the operating system said.
        reason: String,
        /// Its kind.
        kind: io::ErrorKind,
    },
    /// A transfer that was to be peer to peer put user data into host memory.
    #[error(
        "{bytes} bytes of user data passed through host memory in a transfer that was to be peer to peer"
    )]
    Staged {
        /// How many bytes were counted there.
        bytes: u64,
    },
    /// What a transfer that was to be peer to peer put into host memory could not be counted.
    #[error(
        "what passed through host memory could not be counted: nothing shows that no user data did"
    )]
    Uncounted,
    /// The journal of a copy is of no use.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The kernel lends no memory.
    #[error(transparent)]
    Lend(LendError),
    /// A file or block device cannot be an end of transfers.
    #[error(transparent)]
    Open(OpenError),
    /// Requests cannot be given to the kernel.
    #[error("io_uring cannot be used: {reason}")]
    Engine {
        /// What the operating system said.
        reason: String,
        /// Its kind.
        kind: io::ErrorKind,
    },
    /// A device cannot be used through vfio.
    #[error(transparent)]
    Vfio(VfioError),
    /// A machine that runs Linux cannot be read.
    #[error(transparent)]
    Linux(#[from] p2pdma_linux::Error),
    /// Lent memory is gone: its device was unbound from its driver, removed, or unplugged.
    #[error(
        "[P2P-REVOKED] the memory of {provider} is gone: its driver was unbound, or it was removed"
    )]
    Revoked {
        /// Whose memory it was.
        provider: Bdf,
    },
    /// The kernel asks a device under vfio back, and waits until it is closed.
    #[error(
        "[P2P-REVOKED] {bdf} is asked back by the kernel: it is being removed, or unbound from vfio-pci"
    )]
    Recalled {
        /// The device.
        bdf: Bdf,
    },
    /// The kernel has told an error of a device under vfio, or of the link to it, that was not corrected.
    #[error(
        "{bdf}, or the link to it, had an error that was not corrected (AER): what it sent and what it was sent may be \
         lost, whatever a status says"
    )]
    BusError {
        /// The device.
        bdf: Bdf,
    },
    /// An IOMMU refused what a device sent: bytes did not arrive, whatever a status says.
    #[error("the IOMMU refused {0}: bytes are lost, whatever a status says")]
    IommuFault(IommuFault),
    /// The device of lent memory was reset: what was on the way through it may be lost, whatever its status.
    #[error(
        "[P2P-REVOKED] {provider} was reset: what was on its way through that memory is lost, though its status was \
         success"
    )]
    Reset {
        /// Whose memory it was.
        provider: Bdf,
    },
    /// A device gave no more bytes before its end: it was unbound from its driver, removed, or unplugged.
    #[error("[P2P-REVOKED] {name} is gone: nothing moves at byte {at}, which is before its end")]
    Vanished {
        /// The file or block device.
        name: String,
        /// Where.
        at: u64,
    },
    /// The kernel refuses a request between memory and a client, although the verdict allows it.
    #[error(
        "the kernel refuses to move bytes between {name} and the memory of {provider}: {reason}"
    )]
    KernelRefused {
        /// The file or block device.
        name: String,
        /// Whose memory.
        provider: Bdf,
        /// What it said.
        reason: String,
    },
    /// An NVMe command of ours, given to the kernel's driver, failed.
    #[error("{name}: the NVMe command at byte {at} failed: {status}")]
    Status {
        /// The namespace's file.
        name: String,
        /// Where.
        at: u64,
        /// What its controller said.
        status: Status,
    },
    /// Data did not arrive although the status said so.
    #[error(
        "[P2P-DATA-LOST] {name} and the memory of {provider}: {what} {len} bytes succeeded, and the bytes are \
         wrong from byte {at} on"
    )]
    DataLost {
        /// The client.
        name: String,
        /// Whose memory.
        provider: String,
        /// "filling", "draining", or "reading" by way of host memory.
        what: &'static str,
        /// How many bytes were moved.
        len: u64,
        /// The first wrong one.
        at: u64,
    },
    /// The transfer was broken off on request.
    #[error("interrupted")]
    Interrupted,
    /// A data probe wrote, and its client did not take back what was there before.
    #[error(
        "{why}; {name} may have what it was tested with in {len} bytes from byte {at} on: what was there could not be \
         put back"
    )]
    NotPutBack {
        /// The client.
        name: String,
        /// Where.
        at: u64,
        /// How many bytes.
        len: u64,
        /// What went wrong first.
        why: Box<Error>,
    },
    /// A PCI function failed.
    #[error(transparent)]
    Pci(p2pdma_pci::Error),
    /// An NVMe controller failed.
    #[error(transparent)]
    Nvme(#[from] p2pdma_nvme::Error),
    /// An NVMe command failed.
    #[error(transparent)]
    Command(p2pdma_nvme::Failure),
    /// An operation does not consist of whole blocks.
    #[error("{len} bytes at {at} are not whole blocks of {block} bytes")]
    Alignment {
        /// Where it begins.
        at: u64,
        /// Its length.
        len: u64,
        /// The block size.
        block: u64,
    },
    /// The software fabric cannot be as described.
    #[error(transparent)]
    Fabric(#[from] p2pdma_fabric::Error),
    /// The software fabric has one controller in each NVMe subsystem.
    #[error("{name} shares a subsystem: the lab builds that, and the software fabric does not")]
    SharedSubsystem {
        /// The controller.
        name: String,
    },
    /// The operating system gave no memory for a device's.
    #[error("{name}: no memory for {} behind its BAR: {reason}", Size(*.len))]
    DeviceMemory {
        /// The device, as the machine's description says.
        name: String,
        /// How many bytes.
        len: u64,
        /// What the operating system said.
        reason: String,
    },
    /// A device model cannot be as described.
    #[error(transparent)]
    Device(#[from] p2pdma_devices::Error),
    /// This library contradicts itself: a defect to report.
    #[error("internal error: {0}")]
    Internal(&'static str),
}

impl Error {
    /// Whether a namespace's medium had no room left for what was written: a full disk under its file.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Command(failure) => match failure.cause {
                p2pdma_nvme::Cause::Status(status) => status.status() == Status::CAPACITY_EXCEEDED,
                p2pdma_nvme::Cause::Lost => false,
            },
            Self::Status { status, .. } => *status == Status::CAPACITY_EXCEEDED,
            _ => false,
        }
    }

    /// Whether there is no room, or no leave, for another mapping that a device could reach.
    #[must_use]
    pub fn is_out_of_dma_space(&self) -> bool {
        use p2pdma_pci::Error::NoDmaSpace;
        match self {
            Self::Pci(error) | Self::Nvme(p2pdma_nvme::Error::Pci(error)) => {
                matches!(error, NoDmaSpace { .. })
            }
            _ => false,
        }
    }

    /// Whether a controller does not take its own memory as the data of an NVMe command of ours: some do not
    /// where the kernel describes it by SGLs, as it does for such commands (`nvme_pci_use_sgls()`,
    /// drivers/nvme/host/pci.c).
    #[must_use]
    pub fn is_own_memory_refused(&self) -> bool {
        matches!(self, Self::Status { status, .. } if *status == Status::INVALID_USE_OF_CMB)
    }
}

impl From<p2pdma_pci::Error> for Error {
    fn from(error: p2pdma_pci::Error) -> Self {
        match error {
            p2pdma_pci::Error::Refused(refusal) => Self::Refused(refusal),
            other => Self::Pci(other),
        }
    }
}

impl From<LendError> for Error {
    fn from(error: LendError) -> Self {
        match error {
            LendError::Exhausted { bdf, wanted, available } => {
                Self::PoolEmpty { provider: format!("{bdf}/p2pmem"), wanted, available }
            }
            LendError::Gone { bdf } => Self::Revoked { provider: bdf },
            LendError::Reset { bdf } => Self::Reset { provider: bdf },
            other => Self::Lend(other),
        }
    }
}

impl From<OutOfBounds> for Error {
    fn from(error: OutOfBounds) -> Self {
        let OutOfBounds { offset, len, size } = error;
        Self::OutsideMemory { offset: offset as u64, len: len as u64, size: size as u64 }
    }
}

fn list(numbers: &[u32]) -> String {
    if numbers.is_empty() {
        return "none".to_owned();
    }
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
