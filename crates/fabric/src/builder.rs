//! Puts a machine together, part by part.

use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::{Host, IommuMode, Known, LinkStatus};
use p2pdma_spec::pci::acs::AcsControl;

use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::fabric::Fabric;
use crate::host::enumerate::enumerate;
use crate::host::memory::HostMemory;
use crate::plug;
use crate::registers::{self, support_payload};
use crate::route::boundaries::Boundaries;
use crate::state::{Machine, State};
use crate::timing::{Lanes, LinkState, Packets, Timing};
use crate::tree::{Acs, BridgeDecode, HostBridge, Port, PortKind, Tree};

/// A host bridge in a [`Builder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostBridgeId(usize);

/// A root port or a switch's downstream port in a [`Builder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PortId(pub(crate) usize);

/// A root complex, or that part of one that has a root bus of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostBridgeConfig {
    /// Its name.
    pub name: String,
    /// Vendor ID of device 00.0 of its root bus, on which allowlists are keyed.
    pub vendor: u16,
    /// Device ID of the same.
    pub device: u16,
    /// Its domain.
    pub domain: u32,
    /// Its root bus.
    pub first_bus: u8,
    /// The last bus number that may be given out below it.
    pub last_bus: u8,
    /// What it does with peer-to-peer requests.
    pub policy: PeerPolicy,
}

impl Default for HostBridgeConfig {
    /// QEMU's q35 on buses 0 to 255 of domain 0, which refuses.
    fn default() -> Self {
        Self {
            name: "host0".to_owned(),
            vendor: 0x8086,
            device: 0x29c0,
            domain: 0,
            first_bus: 0,
            last_bus: 0xff,
            policy: PeerPolicy::Refuse,
        }
    }
}

/// An ACS capability: all seven controls and a vector of 64 bits, with these values at first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AcsConfig {
    /// The control register.
    pub control: AcsControl,
    /// The egress control vector: a bit per port of the switch, or function of the device.
    pub egress: u64,
}

/// A root port, or a switch's downstream port, with the link below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortConfig {
    /// Its name.
    pub name: String,
    /// The link below it, as this end has it. One without a current speed is down.
    pub link: LinkStatus,
    /// Its access control services, if it has the capability.
    pub acs: Option<AcsConfig>,
}

/// An endpoint's function.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionConfig {
    /// Its name.
    pub name: String,
    /// Its function number, 0 to 7. A device with several has a function 0.
    pub number: u8,
    /// The link above it, as this end has it.
    pub link: LinkStatus,
    /// Access control services of a multi-function device.
    pub acs: Option<AcsConfig>,
}

/// Puts a machine together, then enumerates it.
pub struct Builder {
    host: Host,
    host_memory: u64,
    timing: Timing,
    tree: Tree,
    links: Vec<LinkState>,
    endpoints: Vec<(PortId, FunctionConfig, Box<dyn Endpoint>)>,
}

impl Builder {
    /// A machine with this processor, IOMMU and kernel, and `host_memory` bytes of memory; nothing else
    /// yet. What the host does not know of itself (an unknown IOMMU mode) it does not have.
    #[must_use]
    pub fn new(host: Host, host_memory: u64) -> Self {
        Self {
            host,
            host_memory,
            timing: Timing::Ideal,
            tree: Tree::default(),
            links: Vec::new(),
            endpoints: Vec::new(),
        }
    }

    /// Whether and how transfers take time.
    pub fn timing(&mut self, timing: Timing) -> &mut Self {
        self.timing = timing;
        self
    }

    /// Adds a host bridge.
    pub fn host_bridge(&mut self, config: HostBridgeConfig) -> HostBridgeId {
        self.tree.host_bridges.push(HostBridge {
            name: config.name,
            domain: config.domain,
            first_bus: config.first_bus,
            last_bus: config.last_bus,
            policy: config.policy,
            ports: Vec::new(),
            config: registers::host_bridge(config.vendor, config.device),
        });
        HostBridgeId(self.tree.host_bridges.len() - 1)
    }

    /// Adds a root port: device 1, 2, … of the root bus.
    ///
    /// # Errors
    /// [`Error::Structure`] if the root bus is full.
    pub fn root_port(&mut self, on: HostBridgeId, config: PortConfig) -> Result<PortId, Error> {
        let device = self.tree.host_bridges[on.0].ports.len() + 1;
        let port = self.add_port(PortKind::Root, config, on.0, None, device)?;
        self.tree.host_bridges[on.0].ports.push(port.0);
        Ok(port)
    }

    /// Adds a switch below a port; returns its downstream ports, which are devices 0, 1, … of its
    /// internal bus.
    ///
    /// # Errors
    /// [`Error::LinkTaken`] if something else is below the port; [`Error::Structure`] if the switch has
    /// no or more than 32 ports.
    pub fn switch(
        &mut self,
        below: PortId,
        name: &str,
        ports: Vec<PortConfig>,
    ) -> Result<Vec<PortId>, Error> {
        if ports.is_empty() {
            let reason = "a switch needs at least one downstream port";
            return Err(Error::Structure { name: name.to_owned(), reason });
        }
        self.check_link_free(below, name)?;
        let above = &self.tree.ports[below.0];
        let host_bridge = above.host_bridge;
        let config = PortConfig { name: name.to_owned(), link: above.link_config, acs: None };
        let upstream = self.add_port(PortKind::Upstream, config, host_bridge, Some(below.0), 0)?;
        self.tree.ports[below.0].below.push(upstream.0);
        let mut made = Vec::new();
        for (device, config) in ports.into_iter().enumerate() {
            let kind = PortKind::Downstream;
            let port = self.add_port(kind, config, host_bridge, Some(upstream.0), device)?;
            self.tree.ports[upstream.0].below.push(port.0);
            made.push(port);
        }
        Ok(made)
    }

    /// Adds an endpoint's function below a port.
    pub fn endpoint(
        &mut self,
        below: PortId,
        config: FunctionConfig,
        model: Box<dyn Endpoint>,
    ) -> &mut Self {
        self.endpoints.push((below, config, model));
        self
    }

    /// Plugs everything in, and lets the firmware enumerate it.
    ///
    /// # Errors
    /// Whatever makes the machine impossible: see [`Error`].
    pub fn build(mut self) -> Result<Fabric, Error> {
        let host_memory = HostMemory::new(self.host_memory).map_err(|error| Error::HostMemory {
            len: self.host_memory,
            reason: error.to_string(),
        })?;
        let iommu = *self.host.iommu.value().unwrap_or(&IommuMode::Off);
        self.host.iommu = Known::Value(iommu);
        let mut machine = Machine {
            tree: self.tree,
            lanes: Lanes::of(&self.links),
            links: self.links,
            host_memory,
            iommu_mode: iommu,
            host: self.host,
            layout: 1,
            timing: self.timing,
            boundaries: Boundaries::default(),
            generation: 1,
            bounded: 0,
        };
        let max_payload = machine.timing.model().max_payload;
        for port in &mut machine.tree.ports {
            support_payload(&mut port.config, max_payload);
        }
        while !self.endpoints.is_empty() {
            let port = self.endpoints[0].0;
            let here = self.endpoints.extract_if(.., |(below, ..)| *below == port);
            let functions = here.map(|(_, config, model)| (config, model)).collect();
            plug::plug(&mut machine.tree, port.0, functions, max_payload)?;
        }
        let mut state = State::new(machine);
        state.name_links();
        enumerate(&mut state)?;
        Ok(Fabric::new(state))
    }

    fn check_link_free(&self, port: PortId, name: &str) -> Result<(), Error> {
        let above = &self.tree.ports[port.0];
        let switch = above.below.first().map(|&upstream| self.tree.ports[upstream].name.clone());
        let device = self.endpoints.iter().find(|(below, ..)| *below == port);
        match switch.or_else(|| device.map(|(_, config, _)| config.name.clone())) {
            None => Ok(()),
            Some(first) => {
                let (port, second) = (above.name.clone(), name.to_owned());
                Err(Error::LinkTaken { port, first, second })
            }
        }
    }

    fn add_port(
        &mut self,
        kind: PortKind,
        config: PortConfig,
        host_bridge: usize,
        above: Option<usize>,
        device: usize,
    ) -> Result<PortId, Error> {
        let number = u8::try_from(device).ok().filter(|&device| device < 32);
        let reason = "a bus has room for 32 devices";
        let device = number.ok_or(Error::Structure { name: config.name.clone(), reason })?;
        let link = match (kind, above) {
            // An upstream port is the lower end of the link of the port above it.
            (PortKind::Upstream, Some(above)) => self.tree.ports[above].link,
            _ => {
                self.links.push(LinkState::new(config.link));
                self.links.len() - 1
            }
        };
        let mut port = Port {
            kind,
            host_bridge,
            above,
            below: Vec::new(),
            functions: Vec::new(),
            device,
            link,
            link_config: config.link,
            config: registers::port(kind, &config.link, config.acs.as_ref(), device),
            name: config.name,
            decode: BridgeDecode::default(),
            acs: Acs::default(),
            packets: Packets::default(),
            errors: crate::counters::ErrorCounters::default(),
        };
        port.decode_registers();
        self.tree.ports.push(port);
        Ok(PortId(self.tree.ports.len() - 1))
    }
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("tree", &self.tree)
            .field("endpoints", &self.endpoints.len())
            .finish_non_exhaustive()
    }
}
