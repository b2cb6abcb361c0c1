//! The running Linux as a platform: the kernel keeps the drivers, and hands out memory and files.

mod members;
pub(crate) mod pool;
pub(crate) mod queue;
mod volume;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use p2pdma_linux::io::{Access, DirectFile, Engine, OpenError, Watch};
use p2pdma_linux::{LiveTree, Survey};
use p2pdma_pci::topology::{Allowlist, MemoryKind, Topology};
use p2pdma_pci::{Bdf, Clock};

pub use members::{Member, Members, Stripes, Untested};
pub use volume::Footing;

use crate::client::{DirectClient, Moved};
use crate::platform::{Client, Platform, Provider, not_nvme};
use crate::{Error, Traffic};
use pool::{LentPool, ProcessPool};
use queue::SharedQueue;

/// This machine, as it was when the platform was made: what is plugged in later is not in it.
pub struct LinuxPlatform {
    survey: Survey,
    topology: Arc<Topology>,
    pools: BTreeMap<Bdf, Arc<LentPool>>,
    queue: Arc<SharedQueue>,
    /// What clients have moved, and the files to be looked at for what was staged.
    watched: Mutex<Vec<Watched>>,
}

struct Watched {
    moved: Arc<Moved>,
    watch: Watch,
    before: p2pdma_linux::io::Seen,
}

/// A file, block device or namespace, open as an end of transfers.
pub struct Volume {
    /// Who moves its bytes.
    pub client: Box<dyn Client>,
    /// What it stands on.
    pub footing: Footing,
    /// The open file.
    pub file: Arc<DirectFile>,
}

impl fmt::Debug for Volume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Volume")
            .field("footing", &self.footing)
            .field("file", &self.file)
            .finish_non_exhaustive()
    }
}

impl LinuxPlatform {
    /// Reads this machine. `allowlist` is the kernel's list of host bridges, with what a user added.
    ///
    /// # Errors
    /// If the machine cannot be read, or the engine is switched off here.
    pub fn new(allowlist: Allowlist, engine: Engine) -> Result<Self, Error> {
        let survey = Survey::read_with(&LiveTree::machine()?, allowlist)?;
        let queue = SharedQueue::new(engine)
            .map_err(|error| Error::Engine { reason: error.to_string(), kind: error.kind() })?;
        let topology = Arc::new(survey.topology.clone());
        let lends = |node: &&p2pdma_pci::topology::Node| {
            node.memory.iter().any(|memory| memory.kind == MemoryKind::P2pmem)
        };
        let nodes = topology.nodes().iter().filter(lends);
        let pools = nodes.map(|node| (node.bdf, Arc::new(LentPool::new(node.bdf)))).collect();
        let (queue, watched) = (Arc::new(queue), Mutex::default());
        Ok(Self { survey, topology, pools, queue, watched })
    }

    /// What was read of this machine.
    #[must_use]
    pub fn survey(&self) -> &Survey {
        &self.survey
    }

    /// System calls for requests so far.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.queue.calls()
    }

    /// How requests reach the kernel.
    #[must_use]
    pub fn engine(&self) -> Engine {
        self.queue.engine()
    }

    /// Opens a file or block device as an end of transfers, or a namespace for NVMe commands of our own
    /// (`/dev/ng0n1`).
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn open(&self, path: &Path, access: Access) -> Result<Volume, Error> {
        let mut file = DirectFile::open(path, access)?;
        let footing = volume::footing(&self.survey, &file);
        if access == Access::Write && file.is_block() {
            file.take(&volume::other_names(&self.survey, &footing))?;
        }
        self.watch(Arc::new(file), footing)
    }

    /// Makes an end of transfers of a file that is open already. `path` is what messages call it.
    ///
    /// # Errors
    /// [`Error::Open`].
    pub fn reopen(
        &self,
        file: &std::fs::File,
        path: &Path,
        access: Access,
    ) -> Result<Volume, Error> {
        self.volume(Arc::new(DirectFile::reopen(file, path, access)?))
    }

    /// The same machine with a queue of its own: for a further thread.
    ///
    /// # Errors
    /// If the engine is switched off here.
    pub fn beside(&self) -> Result<Self, Error> {
        let queue = SharedQueue::new(self.engine())
            .map_err(|error| Error::Engine { reason: error.to_string(), kind: error.kind() })?;
        let (survey, topology) = (self.survey.clone(), Arc::clone(&self.topology));
        let (pools, queue, watched) = (self.pools.clone(), Arc::new(queue), Mutex::default());
        Ok(Self { survey, topology, pools, queue, watched })
    }

    /// Makes an end of this platform's transfers of what is an end of another's of the same machine.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn share(&self, file: &Arc<DirectFile>) -> Result<Volume, Error> {
        self.volume(Arc::clone(file))
    }

    fn volume(&self, file: Arc<DirectFile>) -> Result<Volume, Error> {
        let footing = volume::footing(&self.survey, &file);
        self.watch(file, footing)
    }

    /// Makes an end of an open file whose footing is judged.
    fn watch(&self, file: Arc<DirectFile>, mut footing: Footing) -> Result<Volume, Error> {
        let in_file = |error: std::io::Error| Error::File {
            name: file.path().display().to_string(),
            reason: error.to_string(),
            kind: error.kind(),
        };
        let watch = Watch::begin(&file).map_err(in_file)?;
        footing.barrier = footing.barrier.or_else(|| volume::blind_barrier(&watch));
        let before = watch.look().map_err(in_file)?;
        let moved = Arc::new(Moved::default());
        let functions = footing.end.clients().to_vec();
        let client = DirectClient::new(
            Arc::clone(&file),
            functions,
            Arc::clone(&self.topology),
            Arc::clone(&self.queue),
            Arc::clone(&moved),
        );
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.push(Watched { moved, watch, before });
        drop(watched);
        Ok(Volume { client: Box::new(client), footing, file })
    }

    /// What tells the block device of a volume from all others, and is the same after a restart of the machine,
    /// if it has such a thing: what the device says of itself, and where on it a partition begins.
    #[must_use]
    pub fn identity(&self, volume: &Volume) -> String {
        volume::identity(&self.survey, &volume.file)
    }

    /// The block device of a namespace of a controller.
    ///
    /// # Errors
    /// [`Error::NotNvme`], [`Error::NoNamespace`].
    pub fn block_device(&self, at: Bdf, namespace: u32) -> Result<PathBuf, Error> {
        let mut present = Vec::new();
        for device in self.survey.blocks.devices.value().into_iter().flatten() {
            let stack = self.survey.blocks.stack(&device.name, self.survey.system.kernel);
            let number = std::fs::read_to_string(format!("/sys/class/block/{}/nsid", device.name));
            let number = number.ok().and_then(|text| text.trim().parse::<u32>().ok());
            let below = stack.is_some_and(|stack| stack.functions.contains(&at));
            // A hidden path has no device number of its own.
            let open = device.number.value().is_some_and(Option::is_some);
            let Some(number) = number.filter(|_| below && open) else { continue };
            if number == namespace {
                return Ok(Path::new("/dev").join(&*device.name));
            }
            present.push(number);
        }
        if present.is_empty() {
            return Err(not_nvme(&self.topology, at));
        }
        Err(Error::NoNamespace { bdf: at, namespace, present })
    }
}

impl Platform for LinuxPlatform {
    fn topology(&self) -> Result<Arc<Topology>, Error> {
        Ok(Arc::clone(&self.topology))
    }

    fn find(&self, name: &str) -> Option<Bdf> {
        let named = |node: &&p2pdma_pci::topology::Node| node.name.as_deref() == Some(name);
        self.topology.nodes().iter().find(named).map(|node| node.bdf)
    }

    fn providers(&self) -> Result<Vec<Arc<dyn Provider>>, Error> {
        Ok(self.pools.values().map(|pool| Arc::clone(pool) as Arc<dyn Provider>).collect())
    }

    fn host_memory(&self) -> Result<Arc<dyn Provider>, Error> {
        Ok(Arc::new(ProcessPool))
    }

    fn namespace(&self, at: Bdf, namespace: u32) -> Result<Box<dyn Client>, Error> {
        Ok(self.open(&self.block_device(at, namespace)?, Access::Write)?.client)
    }

    fn clock(&self) -> &dyn Clock {
        &*self.queue
    }

    fn is_modelled(&self) -> bool {
        false
    }

    /// What this platform's clients have moved, each byte by the way of its verdict; and to host memory is
    /// added what the page cache got of their files since they were opened. The kernel counts nothing by
    /// link. `None` if the page cache of one of the files does not tell.
    fn traffic(&self) -> Option<Traffic> {
        let mut traffic = Traffic::default();
        for watched in self.watched.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            watched.moved.add_to(&mut traffic);
            // A look that fails says nothing, and not that nothing was staged.
            let staged = watched.watch.look().ok()?.staged_since(&watched.before)?;
            traffic.host_memory = traffic.host_memory.saturating_add(staged);
        }
        traffic.root_ports = traffic.host_memory.saturating_add(traffic.peer_through_root);
        Some(traffic)
    }
}

impl fmt::Debug for LinuxPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinuxPlatform").field("engine", &self.engine()).finish_non_exhaustive()
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        Self::Open(error)
    }
}
