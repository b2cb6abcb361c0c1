//! Machines with SSDs in them.

use std::sync::Arc;

use p2pdma_devices::nvme::{
    CmbConfig, ControllerConfig, NamespaceConfig, NvmeConfig, NvmeController, SubsystemConfig,
};
use p2pdma_fabric::{
    AcsConfig, Builder, Fabric, FunctionConfig, HostBridgeConfig, PortConfig, Timing,
};
use p2pdma_nvme::{
    Command, Controller, Data, Failure, Namespace, Options, QueueOptions, QueuePair,
};
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::{CpuVendor, Host, IommuMode, Known, Link, LinkStatus};
use p2pdma_pci::{Duration, Function};
use p2pdma_spec::nvme::status::Status;
use p2pdma_spec::pci::acs::AcsControl;
use p2pdma_spec::pci::express::{LinkSpeed, LinkWidth};

pub(crate) const SECOND: Duration = Duration::from_millis(1000);

/// What a machine is like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) iommu: IommuMode,
    pub(crate) policy: PeerPolicy,
    /// Access control at the switch's downstream ports.
    pub(crate) acs: u16,
    pub(crate) timing: Timing,
}

impl Default for Plan {
    fn default() -> Self {
        Self { iommu: IommuMode::Off, policy: PeerPolicy::Refuse, acs: 0, timing: Timing::Ideal }
    }
}

pub(crate) struct Stage {
    pub(crate) fabric: Fabric,
}

impl Stage {
    /// `nvme0` and `nvme1` below one switch, others below root ports of their own.
    pub(crate) fn new(plan: Plan, configs: Vec<NvmeConfig>) -> Self {
        // The kernel lets peers through the root of every Zen processor: so it is with one that forwards.
        let (vendor, family) = match plan.policy {
            PeerPolicy::Forward => (CpuVendor::Amd, 0x19),
            PeerPolicy::Refuse | PeerPolicy::Lose => (CpuVendor::Intel, 6),
        };
        let mut host = Host::new(vendor, family);
        host.iommu = Known::Value(plan.iommu);
        let mut builder = Builder::new(host, 64 << 20);
        builder.timing(plan.timing);
        let bridge = HostBridgeConfig { policy: plan.policy, ..HostBridgeConfig::default() };
        let bridge = builder.host_bridge(bridge);
        let root = builder.root_port(bridge, port("rp0", 0)).unwrap();
        let ports = vec![port("sw0", plan.acs), port("sw1", plan.acs)];
        let mut ports = builder.switch(root, "sw", ports).unwrap();
        for index in ports.len()..configs.len() {
            let name = format!("rp{index}");
            ports.push(builder.root_port(bridge, port(&name, 0)).unwrap());
        }
        for (index, (port, config)) in ports.into_iter().zip(configs).enumerate() {
            let name = format!("nvme{index}");
            let function = FunctionConfig { name, number: 0, link: link(), acs: None };
            builder.endpoint(port, function, Box::new(NvmeController::new(config).unwrap()));
        }
        Self { fabric: builder.build().unwrap() }
    }

    /// One SSD in a plain machine.
    pub(crate) fn one(config: NvmeConfig) -> Self {
        Self::new(Plan::default(), vec![config])
    }

    pub(crate) fn function(&self, name: &str) -> Arc<dyn Function> {
        Arc::new(self.fabric.open(self.fabric.find(name).unwrap()).unwrap())
    }

    pub(crate) fn open(&self, name: &str) -> Controller {
        self.open_with(name, Options::default())
    }

    pub(crate) fn open_with(&self, name: &str, options: Options) -> Controller {
        Controller::open(self.function(name), options).unwrap()
    }
}

fn link() -> LinkStatus {
    let link = Link { speed: LinkSpeed::GEN4, width: LinkWidth::X4 };
    LinkStatus { current: Some(link), max: link }
}

fn port(name: &str, acs: u16) -> PortConfig {
    let acs = AcsConfig { control: AcsControl::from_bits(acs), egress: 0 };
    PortConfig { name: name.to_owned(), link: link(), acs: Some(acs) }
}

/// A namespace of so many blocks.
pub(crate) fn namespace(blocks: u64, block_size: u32) -> NamespaceConfig {
    NamespaceConfig { blocks, block_size, ..NamespaceConfig::default() }
}

/// A controller with these namespaces, and a buffer of 1 MiB.
pub(crate) fn ssd(namespaces: Vec<NamespaceConfig>) -> NvmeConfig {
    NvmeConfig {
        subsystem: SubsystemConfig { namespaces, ..SubsystemConfig::default() },
        controller: ControllerConfig {
            cmb: Some(CmbConfig { len: 1 << 20, ..CmbConfig::default() }),
            ..ControllerConfig::default()
        },
    }
}

/// One namespace of 64 MiB in blocks of 4 KiB.
pub(crate) fn plain() -> NvmeConfig {
    ssd(vec![namespace(1 << 14, 4096)])
}

/// A controller and what is needed to move data.
pub(crate) struct Bench {
    pub(crate) stage: Stage,
    pub(crate) queue: QueuePair<()>,
    pub(crate) namespace: Namespace,
    pub(crate) controller: Controller,
}

impl Bench {
    pub(crate) fn new(config: NvmeConfig) -> Self {
        let stage = Stage::one(config);
        let controller = stage.open("nvme0");
        let namespace = controller.namespace(1).unwrap();
        let queue = controller.queue_pair(&QueueOptions::default()).unwrap();
        Self { stage, queue, namespace, controller }
    }

    pub(crate) fn run(&mut self, command: &Command, data: Data<'_>) -> Result<u64, Failure> {
        run(&mut self.queue, command, data)
    }
}

/// Carries one command out.
pub(crate) fn run(
    queue: &mut QueuePair<()>,
    command: &Command,
    data: Data<'_>,
) -> Result<u64, Failure> {
    queue.submit(command, data, ()).unwrap();
    queue.wait(SECOND).unwrap().unwrap().outcome
}

/// The status of a failure.
pub(crate) fn status(failure: Failure) -> Status {
    match failure.cause {
        p2pdma_nvme::Cause::Status(status) => status.status(),
        p2pdma_nvme::Cause::Lost => panic!("lost"),
    }
}

/// Bytes that differ from place to place.
pub(crate) fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len).collect()
}
