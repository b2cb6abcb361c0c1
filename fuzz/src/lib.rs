//! What the fuzz targets share: a reader of the fuzzer's bytes, and small machines.

#![forbid(unsafe_code)]

use p2pdma_fabric::{
    Builder, Endpoint, Fabric, FunctionConfig, HostBridgeConfig, PortConfig, Timing, TimingModel,
};
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::{CpuVendor, Host, IommuMode, Known, Link, LinkStatus};
use p2pdma_spec::pci::express::{LinkSpeed, LinkWidth};

/// The fuzzer's bytes, read from the front; zeroes when they are used up.
pub struct Input<'a>(pub &'a [u8]);

impl Input<'_> {
    /// Whether there is nothing left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&first, rest)) => {
                self.0 = rest;
                first
            }
            None => 0,
        }
    }

    /// A number of so many bytes, at most 8.
    pub fn number(&mut self, bytes: usize) -> u64 {
        (0..bytes).fold(0, |value, at| value | u64::from(self.byte()) << (8 * at))
    }

    /// One of a list.
    pub fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[usize::from(self.byte()) % list.len()]
    }
}

/// Without a timing model nothing waits; with one every stage of a command does.
pub fn timing(modelled: bool) -> Timing {
    if modelled { Timing::Modelled(TimingModel::default()) } else { Timing::Ideal }
}

/// A machine of these models, each below a port of one switch, named `d0`, `d1`, …
pub fn machine(iommu: IommuMode, timing: Timing, models: Vec<Box<dyn Endpoint>>) -> Fabric {
    let mut host = Host::new(CpuVendor::Intel, 6);
    host.iommu = Known::Value(iommu);
    let mut builder = Builder::new(host, 16 << 20);
    builder.timing(timing);
    let policy = PeerPolicy::Forward;
    let bridge = builder.host_bridge(HostBridgeConfig { policy, ..HostBridgeConfig::default() });
    let link = Link { speed: LinkSpeed::GEN4, width: LinkWidth::X4 };
    let link = LinkStatus { current: Some(link), max: link };
    let port = |name: String| PortConfig { name, link, acs: Some(Default::default()) };
    let root = builder.root_port(bridge, port("rp0".to_owned())).expect("a root port fits");
    let ports = (0..models.len()).map(|index| port(format!("sw0.{index}"))).collect();
    let ports = builder.switch(root, "sw0", ports).expect("a switch fits");
    for (index, (model, port)) in models.into_iter().zip(ports).enumerate() {
        let config = FunctionConfig { name: format!("d{index}"), number: 0, link, acs: None };
        builder.endpoint(port, config, model);
    }
    builder.build().expect("a small machine fits")
}
