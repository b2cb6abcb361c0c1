//! The software fabric as a platform: machines from files, no hardware, no root.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use p2pdma_fabric::{Fabric, VirtualClock};
use p2pdma_nvme::{Controller, Options};
use p2pdma_pci::machine::Machine;
use p2pdma_pci::topology::{Allowlist, LentMemory, MemoryKind, Node, Topology};
use p2pdma_pci::{Bdf, Clock, Function};
use p2pdma_spec::pci::class::ClassCode;

use crate::client::{Moved, NvmeClient};
use crate::platform::pool::{BarPool, ClosedPool, CmbPool, HostPool};
use crate::platform::{Client, Platform, Provider, ProviderId, not_nvme};
use crate::{Error, Traffic, models};

/// Where the blocks of persistent namespaces are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In memory: gone with the platform.
    Ephemeral,
    /// In sparse files in this folder, which is made if it does not exist.
    Folder(PathBuf),
}

/// A machine in software.
///
/// One controller is opened per function, however many views there are of it, and reset before it is
/// trusted.
pub struct FabricPlatform {
    fabric: Fabric,
    clock: VirtualClock,
    controllers: Mutex<BTreeMap<Bdf, Controller>>,
    pools: Mutex<BTreeMap<(Bdf, MemoryKind), Arc<dyn Provider>>>,
    /// Which function was where when the views were last looked through.
    plugged: Mutex<BTreeMap<Bdf, usize>>,
    /// What the processor staged in host memory: no link of the fabric counts it.
    moved: Arc<Moved>,
}

impl FabricPlatform {
    /// Builds a machine. `allowlist` is the kernel's list of host bridges, with what a user added.
    ///
    /// # Errors
    /// What makes the machine or one of its devices impossible; a namespace's file that cannot be
    /// opened, or is in use.
    pub fn new(machine: &Machine, storage: &Storage, allowlist: Allowlist) -> Result<Self, Error> {
        let fabric = Fabric::from_machine(machine, allowlist, |function| {
            models::endpoint(&machine.name, function, storage)
        })?;
        Ok(Self::over(fabric))
    }

    /// A platform over a fabric that was built otherwise: with models of one's own, or after a power
    /// cut, when every handle of an earlier platform is void.
    #[must_use]
    pub fn over(fabric: Fabric) -> Self {
        let clock = fabric.clock();
        let (controllers, pools, plugged, moved) = Default::default();
        Self { fabric, clock, controllers, pools, plugged, moved }
    }

    /// The fabric itself: its faults, its trace, its counters.
    #[must_use]
    pub fn fabric(&self) -> &Fabric {
        &self.fabric
    }

    fn function(&self, bdf: Bdf) -> Result<Arc<dyn Function>, Error> {
        Ok(Arc::new(self.fabric.open(bdf)?))
    }

    /// Drops the views of devices that are gone: another one may be in the place of each.
    fn forget_the_unplugged(&self) {
        let now: BTreeMap<Bdf, usize> =
            self.fabric.functions().iter().map(|info| (info.bdf, info.serial)).collect();
        let mut known = lock(&self.plugged);
        if *known != now {
            let same = |bdf: &Bdf| known.get(bdf).is_some_and(|old| now.get(bdf) == Some(old));
            lock(&self.controllers).retain(|bdf, _| same(bdf));
            lock(&self.pools).retain(|(bdf, _), _| same(bdf));
            *known = now;
        }
    }

    /// The controller of a function, opened if it was not yet: for commands of one's own.
    ///
    /// # Errors
    /// If there is no such controller, or it does not come up.
    pub fn controller(&self, bdf: Bdf) -> Result<Controller, Error> {
        self.forget_the_unplugged();
        let mut controllers = lock(&self.controllers);
        if let Some(controller) = controllers.get(&bdf) {
            return Ok(controller.clone());
        }
        let topology = self.fabric.topology()?;
        let node = topology.find(bdf).map(|id| topology.node(id));
        if node.is_none_or(|node| node.class != ClassCode::NVME) {
            return Err(not_nvme(&topology, bdf));
        }
        // The models stand for hardware, which hardly ever offers shadow doorbells.
        let options = Options { shadow_doorbells: false, ..Options::default() };
        let controller = Controller::open(self.function(bdf)?, options)?;
        controllers.insert(bdf, controller.clone());
        Ok(controller)
    }

    /// A pool, kept for the next time; or, of a device that does not come up, one that lends nothing.
    fn try_pool(&self, node: &Node, memory: &LentMemory) -> Arc<dyn Provider> {
        match self.open_pool(node, memory) {
            Ok(pool) => {
                let key = (node.bdf, memory.kind);
                lock(&self.pools).insert(key, Arc::clone(&pool));
                pool
            }
            Err(error) => {
                let id = ProviderId { bdf: node.bdf, kind: memory.kind };
                Arc::new(ClosedPool { id, reason: error.to_string() })
            }
        }
    }

    fn open_pool(&self, node: &Node, memory: &LentMemory) -> Result<Arc<dyn Provider>, Error> {
        let bdf = node.bdf;
        match memory.kind {
            MemoryKind::Cmb => Ok(Arc::new(CmbPool(self.controller(bdf)?.cmb()?))),
            MemoryKind::Pmr => Ok(Arc::new(BarPool::pmr(self.controller(bdf)?.pmr()?))),
            kind @ MemoryKind::Bar(index) => {
                let bar = self.function(bdf)?.map_bar(index)?;
                let start = memory.address.map_or(0, |at| at.0.saturating_sub(bar.address().0));
                Ok(Arc::new(BarPool::bar(bar, start..start + memory.size, kind)))
            }
            MemoryKind::P2pmem => Err(Error::Internal("p2pmem is the kernel's")),
        }
    }
}

impl Platform for FabricPlatform {
    fn topology(&self) -> Result<Arc<Topology>, Error> {
        Ok(self.fabric.topology()?)
    }

    fn find(&self, name: &str) -> Option<Bdf> {
        self.fabric.find(name).ok()
    }

    fn providers(&self) -> Result<Vec<Arc<dyn Provider>>, Error> {
        self.forget_the_unplugged();
        let topology = self.fabric.topology()?;
        let mut found = Vec::new();
        for node in topology.nodes() {
            for memory in &node.memory {
                let key = (node.bdf, memory.kind);
                let known = lock(&self.pools).get(&key).cloned();
                let pool = match known {
                    Some(pool) => pool,
                    None => self.try_pool(node, memory),
                };
                found.push(pool);
            }
        }
        Ok(found)
    }

    fn host_memory(&self) -> Result<Arc<dyn Provider>, Error> {
        let functions = self.fabric.functions();
        let first = functions.first().ok_or(Error::Internal("a machine without devices"))?;
        let (function, moved) = (self.function(first.bdf)?, Arc::clone(&self.moved));
        Ok(Arc::new(HostPool { function, moved }))
    }

    fn namespace(&self, at: Bdf, namespace: u32) -> Result<Box<dyn Client>, Error> {
        let controller = self.controller(at)?;
        let present = controller.namespaces();
        if !present.contains(&namespace) {
            return Err(Error::NoNamespace { bdf: at, namespace, present: present.to_vec() });
        }
        let namespace = controller.namespace(namespace)?;
        Ok(Box::new(NvmeClient::new(controller, namespace)?))
    }

    fn clock(&self) -> &dyn Clock {
        &self.clock
    }

    fn is_modelled(&self) -> bool {
        true
    }

    fn traffic(&self) -> Option<Traffic> {
        let counters = self.fabric.counters();
        let data = p2pdma_fabric::PayloadClass::Data;
        let mut traffic = Traffic {
            host_memory: counters.host_data(),
            root_ports: counters.root_data(),
            peer_local: counters.peer_local.of(data),
            // What the root complex loses was sent there, too: no counter of a real one tells more.
            peer_through_root: counters.peer_through_root.of(data) + counters.lost.of(data),
        };
        self.moved.add_to(&mut traffic);
        Some(traffic)
    }
}

impl std::fmt::Debug for FabricPlatform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FabricPlatform").field("fabric", &self.fabric).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Maps of handles: a panic elsewhere leaves them whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
