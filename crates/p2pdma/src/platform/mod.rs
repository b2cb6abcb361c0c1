//! The upper seam: what a transfer needs of a machine, whichever it is.

mod fabric;
mod linux;
mod pool;
mod vfio;

pub use fabric::{FabricPlatform, Storage};
#[cfg(test)]
pub(crate) use linux::pool::ProcessPool;
#[cfg(test)]
pub(crate) use linux::queue::Requests;
pub(crate) use linux::queue::SharedQueue;
pub use linux::{Footing, LinuxPlatform, Member, Members, Stripes, Untested, Volume};
pub use vfio::VfioPlatform;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use p2pdma_pci::topology::{MemoryKind, Topology};
use p2pdma_pci::{Bdf, Clock, Iova};

use crate::client::Way;
use crate::memory::{PeerMemory, ProviderKind};
use crate::{Error, Traffic};

/// A machine: the software fabric, a kernel, vfio.
pub trait Platform: Send + Sync {
    /// Its topology as it is now.
    ///
    /// # Errors
    /// If it cannot be read.
    fn topology(&self) -> Result<Arc<Topology>, Error>;

    /// The place of a device with a name; `None` if there is none.
    fn find(&self, name: &str) -> Option<Bdf>;

    /// Every memory that can be lent.
    ///
    /// # Errors
    /// If the topology cannot be read. A device that does not come up is there all the same, and lends
    /// nothing.
    fn providers(&self) -> Result<Vec<Arc<dyn Provider>>, Error>;

    /// Host memory, to bounce through.
    ///
    /// # Errors
    /// If the platform has none that devices can reach.
    fn host_memory(&self) -> Result<Arc<dyn Provider>, Error>;

    /// Opens a namespace of an NVMe controller.
    ///
    /// # Errors
    /// If there is no such controller or namespace, or it does not come up.
    fn namespace(&self, at: Bdf, namespace: u32) -> Result<Box<dyn Client>, Error>;

    /// Makes sure that a device can be used, where it is this process that has to open it.
    ///
    /// # Errors
    /// Why it cannot.
    fn check_device(&self, _at: Bdf) -> Result<(), Error> {
        Ok(())
    }

    /// The clock by which transfers are timed.
    fn clock(&self) -> &dyn Clock;

    /// Whether that clock is a model's, and not real time.
    fn is_modelled(&self) -> bool;

    /// What has been counted so far; `None` where nothing counts.
    fn traffic(&self) -> Option<Traffic>;

    /// Whether all has arrived, as far as the platform knows of what no status tells. Transfers and verifications ask at
    /// their end.
    ///
    /// # Errors
    /// [`Error::IommuFault`]; [`Error::BusError`]; [`Error::Recalled`].
    fn check(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// A lender of memory.
pub trait Provider: Send + Sync {
    /// Whose memory it is; `None` for the host's.
    fn bdf(&self) -> Option<Bdf>;

    /// Its kind.
    fn kind(&self) -> ProviderKind;

    /// How many bytes one loan can have at most, at present.
    fn capacity(&self) -> u64;

    /// Lends a run of at least `len` bytes, aligned to 4 KiB.
    ///
    /// # Errors
    /// [`Error::PoolEmpty`] if no free run is long enough.
    fn alloc(&self, len: u64) -> Result<PeerMemory, Error>;

    /// Lends a given part of the memory, where it is itself the end of a transfer.
    ///
    /// # Errors
    /// [`Error::OutsideMemory`] if it does not have that part; [`Error::PoolEmpty`] if the part is lent.
    fn part(&self, range: Range<u64>) -> Result<PeerMemory, Error>;
}

/// What a provider is called: `0000:03:00.0/cmb`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProviderId {
    /// Whose memory.
    pub bdf: Bdf,
    /// Which of its memories.
    pub kind: MemoryKind,
}

impl fmt::Display for ProviderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.bdf, self.kind)
    }
}

/// One operation of a client, named from the memory's side, which fits SSDs, network cards and
/// accelerators alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Op {
    /// Bring `len` bytes of the client's, from its byte `from` on, into memory.
    Fill {
        /// The client's first byte.
        from: u64,
        /// How many bytes.
        len: u64,
    },
    /// Take `len` bytes out of memory and put them at the client's byte `to`.
    Drain {
        /// The client's first byte.
        to: u64,
        /// How many bytes.
        len: u64,
    },
}

/// An operation under way, told apart from its client's others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u32);

/// An operation that has ended.
#[derive(Debug)]
pub struct Done {
    /// Which.
    pub ticket: Ticket,
    /// How.
    pub result: Result<(), Error>,
}

/// What a client can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Its size in bytes; `u64::MAX` for one without end.
    pub size: u64,
    /// Positions and lengths are multiples of this many bytes.
    pub block: u64,
    /// The longest operation in bytes.
    pub max_transfer: u64,
    /// How many operations can be under way.
    pub depth: usize,
}

/// An end of a transfer that moves bytes into and out of memory by itself: it starts the requests.
pub trait Client: Send {
    /// Where it is; `None` for the host's own (files, patterns).
    fn bdf(&self) -> Option<Bdf>;

    /// What it can do.
    fn capabilities(&self) -> Capabilities;

    /// Maps memory for this client.
    ///
    /// # Errors
    /// [`Error::Refused`] with the topology's refusal if there is no path.
    fn attach(&mut self, memory: &Arc<PeerMemory>) -> Result<Attachment, Error>;

    /// Starts an operation between the client and a range of attached memory. It may wait in a batch
    /// until [`Client::poll`].
    ///
    /// # Errors
    /// [`Error::Busy`] if as many are under way as can be; what is wrong with the operation.
    fn submit(
        &mut self,
        op: Op,
        memory: &Attachment,
        range: Range<u64>,
        ticket: Ticket,
    ) -> Result<(), Error>;

    /// Lets batched operations begin, and collects those that have ended. Does not wait.
    ///
    /// # Errors
    /// If the client as a whole has failed: nothing under way will end.
    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error>;

    /// Makes everything that was drained durable.
    ///
    /// # Errors
    /// What the device or file says.
    fn flush(&mut self) -> Result<(), Error>;
}

/// Memory, mapped for a client.
pub struct Attachment {
    /// The memory, which must outlive its mapping.
    pub(crate) memory: Arc<PeerMemory>,
    pub(crate) mapping: Mapping,
}

/// How a client addresses attached memory.
pub(crate) enum Mapping {
    /// The address that it emits for the first byte, and what keeps it valid.
    Device { iova: Iova, _keep: Arc<dyn Send + Sync> },
    /// It is a file of the kernel's, which is given the address in this process.
    Kernel { way: Way },
    /// It is the processor, and copies.
    Processor,
}

impl Attachment {
    pub(crate) fn new(memory: &Arc<PeerMemory>, mapping: Mapping) -> Self {
        Self { memory: Arc::clone(memory), mapping }
    }
}

impl fmt::Debug for Attachment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let iova = match &self.mapping {
            Mapping::Device { iova, .. } => Some(iova),
            Mapping::Kernel { .. } | Mapping::Processor => None,
        };
        f.debug_struct("Attachment")
            .field("memory", &self.memory)
            .field("iova", &iova)
            .finish_non_exhaustive()
    }
}

/// Why a namespace cannot be one of the function there, which is no controller.
fn not_nvme(topology: &Topology, bdf: Bdf) -> Error {
    match topology.find(bdf).map(|id| topology.node(id)) {
        None => Error::NoFunction(bdf),
        Some(node) => {
            let name = node.name.as_deref().unwrap_or("unknown").to_owned();
            Error::NotNvme { bdf, name }
        }
    }
}
