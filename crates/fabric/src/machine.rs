//! From a machine file to a running fabric.

use p2pdma_pci::machine::{self, AcsSetting, Below, Machine, TimingModel as Model};
use p2pdma_pci::topology::{Allowlist, Host, Known};
use p2pdma_spec::pci::express::TlpSize;

use crate::builder::{AcsConfig, Builder, FunctionConfig, HostBridgeConfig, PortConfig, PortId};
use crate::endpoint::Endpoint;
use crate::error::Error;
use crate::fabric::Fabric;
use crate::timing::{Timing, TimingModel};

impl Fabric {
    /// Builds a machine from its description. `model` makes the device model of each function, and may
    /// fail in its own way; `allowlist` is the kernel's, with whatever a user added to it.
    ///
    /// # Errors
    /// What [`Builder`] says, or `model`.
    pub fn from_machine<E: From<Error>>(
        machine: &Machine,
        allowlist: Allowlist,
        mut model: impl FnMut(&machine::Function) -> Result<Box<dyn Endpoint>, E>,
    ) -> Result<Self, E> {
        let host = Host {
            cpu: Known::Value(machine.host.cpu),
            iommu: Known::Value(machine.iommu),
            kernel: None,
            allowlist,
            qemu: false,
        };
        let mut builder = Builder::new(host, machine.host.memory);
        builder.timing(timing(machine));
        for bridge in &machine.host_bridges {
            let host_bridge = builder.host_bridge(HostBridgeConfig {
                name: bridge.name.clone(),
                vendor: bridge.id.vendor,
                device: bridge.id.device,
                domain: 0,
                first_bus: bridge.first_bus,
                last_bus: bridge.last_bus,
                policy: bridge.peer_to_peer,
            });
            for port in &bridge.ports {
                let id = builder.root_port(host_bridge, port_config(port))?;
                hang(&mut builder, id, &port.below, &mut model)?;
            }
        }
        Ok(builder.build()?)
    }
}

/// Hangs what is below a port below it. As deep as switches are nested, which bus numbers bound.
fn hang<E: From<Error>>(
    builder: &mut Builder,
    port: PortId,
    below: &Below,
    model: &mut impl FnMut(&machine::Function) -> Result<Box<dyn Endpoint>, E>,
) -> Result<(), E> {
    match below {
        Below::Nothing => {}
        Below::Switch(switch) => {
            let configs = switch.ports.iter().map(port_config).collect();
            let ids = builder.switch(port, &switch.name, configs)?;
            for (id, port) in ids.into_iter().zip(&switch.ports) {
                hang(builder, id, &port.below, model)?;
            }
        }
        Below::Device(functions) => {
            for function in functions {
                let config = FunctionConfig {
                    name: function.name.clone(),
                    number: function.number,
                    link: function.link,
                    acs: function.acs.as_ref().map(acs),
                };
                builder.endpoint(port, config, model(function)?);
            }
        }
    }
    Ok(())
}

fn port_config(port: &machine::Port) -> PortConfig {
    PortConfig { name: port.name.clone(), link: port.link, acs: port.acs.as_ref().map(acs) }
}

fn acs(setting: &AcsSetting) -> AcsConfig {
    let words = setting.egress.registers();
    let word = |index: usize| u64::from(words.get(index).copied().unwrap_or(0));
    AcsConfig { control: setting.control, egress: word(1) << 32 | word(0) }
}

fn timing(machine: &Machine) -> Timing {
    if machine.timing.model == Model::Ideal {
        return Timing::Ideal;
    }
    let base = TimingModel::default();
    let (timing, host) = (&machine.timing, &machine.host);
    let size = |bytes: Option<u16>| bytes.and_then(TlpSize::from_bytes);
    Timing::Modelled(TimingModel {
        max_payload: size(timing.max_payload).unwrap_or(base.max_payload),
        max_read_request: size(timing.max_read_request).unwrap_or(base.max_read_request),
        switch_hop: timing.switch_hop.unwrap_or(base.switch_hop),
        root_hop: timing.root_hop.unwrap_or(base.root_hop),
        endpoint: base.endpoint,
        host_memory: host.memory_latency.unwrap_or(base.host_memory),
        host_channels: host.memory_channels.unwrap_or(base.host_channels),
        host_channel_rate: host.memory_bandwidth.unwrap_or(base.host_channel_rate),
    })
}
