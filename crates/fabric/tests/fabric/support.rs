//! A device that does whatever a test tells it to, and machines to plug it into.

use std::sync::{Arc, Mutex};

use p2pdma_fabric::{
    AcsConfig, BarDescription, Builder, Description, Endpoint, Fabric, FunctionConfig,
    HostBridgeConfig, MemoryRegion, MsixDescription, Port, PortConfig, PortId, Reset, TimerId,
};
use p2pdma_mem::SharedMemory;
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::{CpuVendor, Host, IommuMode, Known, Link, LinkStatus, MemoryKind};
use p2pdma_pci::{BarIndex, Bdf, ConfigSpace as _, Function as _, Width};
use p2pdma_spec::pci::acs::AcsControl;
use p2pdma_spec::pci::bar::BarKind;
use p2pdma_spec::pci::express::{LinkSpeed, LinkWidth};

pub(crate) type Action = Box<dyn FnOnce(&mut Port<'_>) + Send>;

/// What a puppet's device has to do, and what happened to it.
#[derive(Default)]
pub(crate) struct Script {
    pub(crate) actions: Vec<Action>,
    pub(crate) writes: Vec<(BarIndex, u64, Vec<u8>)>,
    pub(crate) woken: Vec<TimerId>,
    pub(crate) resets: Vec<Reset>,
}

/// A function with registers and MSI-X in BAR 0 and memory in BAR 2. Any register write makes it do
/// the next action of its script.
#[derive(Clone)]
pub(crate) struct Puppet {
    pub(crate) script: Arc<Mutex<Script>>,
    pub(crate) memory: SharedMemory,
}

pub(crate) const MEMORY: u64 = 1 << 20;
pub(crate) const BAR2: BarIndex = BarIndex::new(2).unwrap();

impl Puppet {
    pub(crate) fn new() -> Self {
        let memory = SharedMemory::anonymous(usize::try_from(MEMORY).unwrap()).unwrap();
        Self { script: Arc::default(), memory }
    }
}

impl Endpoint for Puppet {
    fn describe(&self) -> Description {
        let region = MemoryRegion {
            offset: 0,
            len: MEMORY,
            kind: MemoryKind::Bar(BAR2),
            behind: None,
            memory: Arc::new(self.memory.clone()),
        };
        let wide = |index, len, prefetchable, memory| BarDescription {
            index,
            len,
            kind: BarKind::Memory64 { prefetchable },
            memory,
        };
        let registers = wide(BarIndex::ZERO, 0x4000, false, vec![]);
        let msix =
            MsixDescription { vectors: 4, bar: BarIndex::ZERO, table: 0x2000, pending: 0x3000 };
        Description {
            vendor: 0x1b36,
            device: 0x0005,
            bars: vec![registers, wide(BAR2, MEMORY, true, vec![region])],
            msix: Some(msix),
            function_level_reset: true,
            address_translation: true,
            ..Description::default()
        }
    }

    fn mmio_read(&mut self, _: BarIndex, offset: u64, data: &mut [u8]) {
        for (value, byte) in (offset..).zip(data) {
            *byte = value.to_le_bytes()[0];
        }
    }

    fn mmio_write(&mut self, bar: BarIndex, offset: u64, data: &[u8], port: &mut Port<'_>) {
        let mut script = self.script.lock().unwrap();
        script.writes.push((bar, offset, data.to_vec()));
        let action = (!script.actions.is_empty()).then(|| script.actions.remove(0));
        drop(script);
        if let Some(action) = action {
            action(port);
        }
    }

    fn wake(&mut self, timer: TimerId, _: &mut Port<'_>) {
        self.script.lock().unwrap().woken.push(timer);
    }

    fn reset(&mut self, kind: Reset) {
        self.script.lock().unwrap().resets.push(kind);
    }
}

pub(crate) fn host(iommu: IommuMode) -> Host {
    let mut host = Host::new(CpuVendor::Intel, 6);
    host.iommu = Known::Value(iommu);
    host
}

pub(crate) fn link() -> LinkStatus {
    let link = Link { speed: LinkSpeed::GEN4, width: LinkWidth::X4 };
    LinkStatus { current: Some(link), max: link }
}

pub(crate) fn port(name: &str, acs: Option<u16>) -> PortConfig {
    let config = |bits| AcsConfig { control: AcsControl::from_bits(bits), egress: 0 };
    PortConfig { name: name.to_owned(), link: link(), acs: acs.map(config) }
}

pub(crate) fn function(name: &str, number: u8) -> FunctionConfig {
    FunctionConfig { name: name.to_owned(), number, link: link(), acs: None }
}

pub(crate) fn host_bridge(policy: PeerPolicy) -> HostBridgeConfig {
    HostBridgeConfig { policy, ..HostBridgeConfig::default() }
}

/// A machine of puppets.
pub(crate) struct Stage {
    pub(crate) fabric: Fabric,
    puppets: Vec<(String, Puppet)>,
}

/// Puts puppets below ports, and builds.
pub(crate) fn build(mut builder: Builder, devices: Vec<(PortId, FunctionConfig)>) -> Stage {
    let mut puppets = Vec::new();
    for (port, config) in devices {
        let puppet = Puppet::new();
        puppets.push((config.name.clone(), puppet.clone()));
        builder.endpoint(port, config, Box::new(puppet));
    }
    Stage { fabric: builder.build().unwrap(), puppets }
}

/// Devices `a` and `b` below one switch, `c` below a root port of its own.
pub(crate) fn switched(iommu: IommuMode, policy: PeerPolicy, acs: [u16; 4]) -> Stage {
    let mut builder = Builder::new(host(iommu), 64 << 20);
    let bridge = builder.host_bridge(host_bridge(policy));
    let [rp0, rp1, sw0, sw1] = acs.map(Some);
    let rp0 = builder.root_port(bridge, port("rp0", rp0)).unwrap();
    let rp1 = builder.root_port(bridge, port("rp1", rp1)).unwrap();
    let ports = builder.switch(rp0, "sw0", vec![port("sw0.0", sw0), port("sw0.1", sw1)]).unwrap();
    let devices = [(ports[0], "a"), (ports[1], "b"), (rp1, "c")];
    build(builder, devices.map(|(port, name)| (port, function(name, 0))).into())
}

impl Stage {
    pub(crate) fn bdf(&self, name: &str) -> Bdf {
        self.fabric.find(name).unwrap()
    }

    pub(crate) fn puppet(&self, name: &str) -> &Puppet {
        &self.puppets.iter().find(|(other, _)| other == name).unwrap().1
    }

    /// Where a puppet's memory is.
    pub(crate) fn memory(&self, name: &str) -> u64 {
        self.fabric.open(self.bdf(name)).unwrap().map_bar(BAR2).unwrap().address().0
    }

    /// Where a puppet's registers are.
    pub(crate) fn registers(&self, name: &str) -> u64 {
        self.fabric.open(self.bdf(name)).unwrap().map_bar(BarIndex::ZERO).unwrap().address().0
    }

    pub(crate) fn set_bus_master(&self, name: &str, on: bool) {
        let command = if on { 6 } else { 2 };
        self.fabric.config(self.bdf(name)).write(4, Width::Word, command).unwrap();
    }

    /// Lets a puppet do something, bus mastering on, and waits until it has.
    pub(crate) fn act<T: Send + 'static>(
        &self,
        name: &str,
        action: impl FnOnce(&mut Port<'_>) -> T + Send + 'static,
    ) -> T {
        self.set_bus_master(name, true);
        self.act_as_is(name, action)
    }

    /// The same, without touching the command register.
    pub(crate) fn act_as_is<T: Send + 'static>(
        &self,
        name: &str,
        action: impl FnOnce(&mut Port<'_>) -> T + Send + 'static,
    ) -> T {
        let result = self.begin(name, action);
        while result.lock().unwrap().is_none() {
            assert!(self.fabric.step(), "the puppet was not reached");
        }
        result.lock().unwrap().take().unwrap()
    }

    /// The same, without waiting: what it returned is there when it has.
    pub(crate) fn begin<T: Send + 'static>(
        &self,
        name: &str,
        action: impl FnOnce(&mut Port<'_>) -> T + Send + 'static,
    ) -> Arc<Mutex<Option<T>>> {
        let result = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&result);
        let boxed: Action = Box::new(move |port| *slot.lock().unwrap() = Some(action(port)));
        self.puppet(name).script.lock().unwrap().actions.push(boxed);
        let function = self.fabric.open(self.bdf(name)).unwrap();
        function.map_bar(BarIndex::ZERO).unwrap().write32(0, 1).unwrap();
        result
    }
}
