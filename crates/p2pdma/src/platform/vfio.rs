//! This machine's devices in this process's own hands: our driver on vfio.

mod guard;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use p2pdma_linux::vfio::{Vfio, VfioError, VfioFunction};
use p2pdma_linux::{LiveTree, Survey};
use p2pdma_nvme::{Controller, Options};
use p2pdma_pci::topology::{Allowlist, LentMemory, MemoryKind, Node, Topology};
use p2pdma_pci::{BarIndex, Bdf, BusAddr, Clock, Function};
use p2pdma_spec::pci::class::ClassCode;

use crate::client::{Counted, Moved, NvmeClient};
use crate::platform::pool::{BarPool, ClosedPool, CmbPool, HostPool};
use crate::platform::{Client, Platform, Provider, ProviderId, not_nvme};
use crate::{Error, HostClock, Traffic};
use guard::{Guard, Guarded};

/// The devices of this machine that are bound to vfio-pci when the platform is made.
///
/// Each is opened when it is first asked for, and reset before it is trusted; all share one address space of the
/// IOMMU. Memory that they lend is known once they are open: asking for the topology opens them all, or those that
/// [`VfioPlatform::only`] left.
pub struct VfioPlatform {
    vfio: Vfio,
    /// As it was read.
    bare: Arc<Topology>,
    /// The kernel's release.
    release: String,
    /// Bound to vfio-pci.
    devices: Vec<Bdf>,
    opened: Mutex<BTreeMap<Bdf, Opened>>,
    /// Those that did not come up when all were opened, and why.
    closed: Mutex<BTreeMap<Bdf, String>>,
    /// With what the devices lend.
    topology: OnceLock<Arc<Topology>>,
    moved: Arc<Moved>,
    guard: Arc<Guard>,
    clock: HostClock,
}

/// A device, open.
#[derive(Clone)]
struct Opened {
    function: Arc<VfioFunction>,
    /// If it is an NVMe controller.
    controller: Option<Controller>,
    pools: Vec<Pool>,
    /// Memories that cannot be used, and why.
    closed: Vec<(ProviderId, String)>,
}

/// What a device lends, and who lends it.
type Pool = (LentMemory, Arc<dyn Provider>);

impl VfioPlatform {
    /// Reads this machine, and makes an empty address space. `allowlist` is the kernel's list of host bridges, with
    /// what a user added.
    ///
    /// # Errors
    /// If the machine cannot be read, or its kernel offers no vfio.
    pub fn new(allowlist: Allowlist) -> Result<Self, Error> {
        let survey = Survey::read_with(&LiveTree::machine()?, allowlist)?;
        let bound = |function: &&p2pdma_linux::Function| {
            let driver = function.driver.value().and_then(Option::as_deref);
            driver == Some(p2pdma_linux::vfio::DRIVER)
        };
        let devices = survey.functions.iter().filter(bound).map(|function| function.bdf).collect();
        let bare = Arc::new(survey.topology.clone());
        let release =
            survey.system.release.value().map_or_else(|| "?".to_owned(), ToString::to_string);
        let vfio = Vfio::new(&survey, windows(&survey))?;
        let guard = Arc::new(Guard::new(vfio.clone()));
        let (opened, closed, topology, moved) = Default::default();
        let clock = HostClock::new();
        Ok(Self { vfio, bare, release, devices, opened, closed, topology, moved, guard, clock })
    }

    /// The same without all devices but these: whoever knows what he wants has no other one opened and reset.
    #[must_use]
    pub fn only(self, wanted: &[Bdf]) -> Self {
        let devices = self.devices.into_iter().filter(|bdf| wanted.contains(bdf)).collect();
        Self { devices, ..self }
    }

    /// The devices that are bound to vfio-pci.
    #[must_use]
    pub fn devices(&self) -> &[Bdf] {
        &self.devices
    }

    /// Devices that were opened to see what they lend and did not come up, and memories of others that cannot be used, with
    /// the reasons: `0000:03:00.0`, `0000:03:00.0/pmr`.
    #[must_use]
    pub fn closed(&self) -> Vec<(String, String)> {
        let mut closed: Vec<(String, String)> = Vec::new();
        for (bdf, reason) in lock(&self.closed).iter() {
            closed.push((bdf.to_string(), reason.clone()));
        }
        for (id, reason) in lock(&self.opened).values().flat_map(|device| &device.closed) {
            closed.push((id.to_string(), reason.clone()));
        }
        closed
    }

    /// The release of the kernel.
    #[must_use]
    pub fn release(&self) -> &str {
        &self.release
    }

    /// The serial number of a controller, if it has one: what tells it from all others of its model.
    #[must_use]
    pub fn serial(&self, at: Bdf) -> Option<String> {
        let controller = self.open(at).ok()?.controller?;
        let serial = controller.identity().sn.to_string();
        Some(serial.trim().to_owned()).filter(|serial| !serial.is_empty())
    }

    /// The controller of a device, opened if it was not yet: for commands of one's own.
    ///
    /// # Errors
    /// If there is no such controller, or it does not come up.
    pub fn controller(&self, at: Bdf) -> Result<Controller, Error> {
        let node = self.bare.find(at).map(|id| self.bare.node(id));
        // What is none need not be opened, nor be bound to vfio-pci, to be told.
        let other = node.filter(|node| node.class != ClassCode::NVME);
        if other.is_none()
            && let Some(controller) = self.open(at)?.controller
        {
            return Ok(controller);
        }
        Err(not_nvme(&self.bare, at))
    }

    fn open(&self, bdf: Bdf) -> Result<Opened, Error> {
        let mut opened = lock(&self.opened);
        if let Some(device) = opened.get(&bdf) {
            return Ok(device.clone());
        }
        // What was refused of it before is no matter of ours.
        self.guard.refused();
        let function = Arc::new(self.vfio.open(bdf)?);
        let node = self.bare.find(bdf).map(|id| self.bare.node(id));
        let is_nvme = node.is_some_and(|node| node.class == ClassCode::NVME);
        let device = match is_nvme {
            true => nvme(function)?,
            false => bars(function),
        };
        opened.insert(bdf, device.clone());
        Ok(device)
    }

    /// All devices that come up, open. Those that do not are not tried again.
    fn all(&self) -> Vec<Opened> {
        let mut closed = lock(&self.closed);
        let open = |&bdf: &Bdf| match closed.contains_key(&bdf) {
            true => None,
            false => self.open(bdf).map_err(|error| closed.insert(bdf, error.to_string())).ok(),
        };
        self.devices.iter().filter_map(open).collect()
    }

    fn with_memory(&self) -> Result<Topology, Error> {
        let bare = &*self.bare;
        let mut nodes = bare.nodes().to_vec();
        for device in self.all() {
            let bdf = device.function.bdf();
            let lent = device.pools.iter().map(|(memory, _)| *memory);
            nodes.iter_mut().filter(|node| node.bdf == bdf).for_each(|node: &mut Node| {
                node.memory = lent.clone().collect();
            });
        }
        let (host, bridges) = (bare.host().clone(), bare.host_bridges().to_vec());
        let topology = Topology::new(host, bridges, nodes, bare.generation());
        topology.map_err(|error| Error::Linux(p2pdma_linux::Error::Topology(error)))
    }
}

impl Opened {
    fn new(function: Arc<VfioFunction>, controller: Option<Controller>) -> Self {
        Self { function, controller, pools: Vec::new(), closed: Vec::new() }
    }

    /// With a memory, if the device has it. One that is there and not well is known, and lends nothing.
    fn add(&mut self, kind: MemoryKind, found: Result<Pool, Error>) {
        use p2pdma_nvme::Error::{Pci, Unsupported};
        use p2pdma_pci::Error::NoBar;
        let reason = match found {
            Ok(pool) => return self.pools.push(pool),
            Err(Error::Nvme(Unsupported { .. } | Pci(NoBar { .. })) | Error::Pci(NoBar { .. })) => {
                return;
            }
            Err(error) => error.to_string(),
        };
        let id = ProviderId { bdf: self.function.bdf(), kind };
        let memory = LentMemory { published: false, ..lent(kind, 0, None) };
        self.closed.push((id, reason.clone()));
        self.pools.push(pool(memory, ClosedPool { id, reason }));
    }
}

fn pool(memory: LentMemory, lender: impl Provider + 'static) -> Pool {
    (memory, Arc::new(lender))
}

/// A controller with what it lends.
fn nvme(function: Arc<VfioFunction>) -> Result<Opened, Error> {
    let controller = Controller::open(Arc::clone(&function) as _, Options::default())?;
    let (cmb, pmr) = (controller.cmb(), controller.pmr());
    let mut device = Opened::new(function, Some(controller));
    let cmb = cmb.map(|cmb| {
        let address = cmb.bar().address().checked_add(cmb.range().start);
        pool(lent(MemoryKind::Cmb, cmb.len(), address), CmbPool(cmb))
    });
    device.add(MemoryKind::Cmb, cmb.map_err(Error::from));
    let pmr = pmr.map(|pmr| {
        let memory = lent(MemoryKind::Pmr, pmr.len(), Some(pmr.bar().address()));
        pool(memory, BarPool::pmr(pmr))
    });
    device.add(MemoryKind::Pmr, pmr.map_err(Error::from));
    Ok(device)
}

/// The BARs of a device that is no controller, as memory: those that hold a megabyte or more. Smaller ones are
/// registers; which of the large ones are is for the user to know.
fn bars(function: Arc<VfioFunction>) -> Opened {
    let mut device = Opened::new(Arc::clone(&function), None);
    for index in BarIndex::all() {
        let kind = MemoryKind::Bar(index);
        let bar = match function.map_bar(index) {
            Ok(bar) if bar.len() < SMALLEST => continue,
            bar => bar.map_err(Error::from),
        };
        let found = bar.map(|bar| {
            let memory = lent(kind, bar.len(), Some(bar.address()));
            let range = 0..bar.len();
            pool(memory, BarPool::bar(bar, range, kind))
        });
        device.add(kind, found);
    }
    device
}

const SMALLEST: u64 = 1 << 20;

/// A controller memory buffer is for whoever comes. All else only by name: what persists is not to be overwritten
/// unasked, and of a plain BAR nobody has said what it is.
fn lent(kind: MemoryKind, size: u64, address: Option<BusAddr>) -> LentMemory {
    let published = kind == MemoryKind::Cmb;
    LentMemory { kind, size, behind: None, address, published }
}

/// What a bridge may route downstream: BARs, and the windows of bridges.
fn windows(survey: &Survey) -> Vec<Range<u64>> {
    let bridges = survey.functions.iter().flat_map(|function| function.config.windows());
    let bars = survey.functions.iter().filter_map(|function| function.bars.value()).flatten();
    let memory = bars.filter(|bar| bar.memory);
    let range = |bar: &p2pdma_linux::Bar| {
        let start = bar.address.0;
        Some(start..start.checked_add(*bar.size.value()?)?)
    };
    memory.filter_map(range).chain(bridges).collect()
}

impl Platform for VfioPlatform {
    fn topology(&self) -> Result<Arc<Topology>, Error> {
        if let Some(topology) = self.topology.get() {
            return Ok(Arc::clone(topology));
        }
        let topology = Arc::new(self.with_memory()?);
        Ok(Arc::clone(self.topology.get_or_init(|| topology)))
    }

    fn find(&self, name: &str) -> Option<Bdf> {
        let mut nodes = self.bare.nodes().iter();
        nodes.find(|node| node.name.as_deref() == Some(name)).map(|node| node.bdf)
    }

    fn providers(&self) -> Result<Vec<Arc<dyn Provider>>, Error> {
        let pools = self.all().into_iter().flat_map(|device| device.pools);
        Ok(pools.map(|(_, pool)| pool).collect())
    }

    fn host_memory(&self) -> Result<Arc<dyn Provider>, Error> {
        let mut reason = Error::Internal("no device is bound to vfio-pci");
        for &bdf in &self.devices {
            match self.open(bdf) {
                Ok(device) => {
                    let (function, moved) = (device.function, Arc::clone(&self.moved));
                    return Ok(Arc::new(HostPool { function, moved }));
                }
                Err(error) => reason = error,
            }
        }
        Err(reason)
    }

    fn check_device(&self, at: Bdf) -> Result<(), Error> {
        self.open(at).map(drop)
    }

    fn namespace(&self, at: Bdf, namespace: u32) -> Result<Box<dyn Client>, Error> {
        let controller = self.controller(at)?;
        let present = controller.namespaces();
        if !present.contains(&namespace) {
            return Err(Error::NoNamespace { bdf: at, namespace, present: present.to_vec() });
        }
        let namespace = controller.namespace(namespace)?;
        let client = NvmeClient::new(controller, namespace)?;
        let client = Counted::new(client, Arc::clone(&self.bare), Arc::clone(&self.moved));
        Ok(Box::new(Guarded::new(client, Arc::clone(&self.guard))))
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn is_modelled(&self) -> bool {
        false
    }

    /// What this platform's clients have moved, by the memory that each command named, and what the processor
    /// staged. Nothing else is in between: no kernel that could stage it.
    fn traffic(&self) -> Option<Traffic> {
        let mut traffic = Traffic::default();
        self.moved.add_to(&mut traffic);
        traffic.root_ports = traffic.host_memory.saturating_add(traffic.peer_through_root);
        Some(traffic)
    }

    fn check(&self) -> Result<(), Error> {
        self.guard.check_settled()
    }
}

impl fmt::Debug for VfioPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VfioPlatform").field("devices", &self.devices).finish_non_exhaustive()
    }
}

impl From<VfioError> for Error {
    fn from(error: VfioError) -> Self {
        Self::Vfio(error)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A map of handles: a panic elsewhere leaves it whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_controller_memory_buffers_are_lent_unasked() {
        let kinds = [MemoryKind::Cmb, MemoryKind::Pmr, MemoryKind::Bar(BarIndex::ZERO)];
        let published = kinds.map(|kind| lent(kind, 1 << 20, None).published);
        assert_eq!(published, [true, false, false]);
    }
}
