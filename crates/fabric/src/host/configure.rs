//! Configuration requests: routed by bus number, and what writing a register sets off.

use p2pdma_pci::{Bdf, Width};
use p2pdma_spec::pci::bridge::BridgeControl;
use p2pdma_spec::pci::config::type1;
use p2pdma_spec::pci::express::{self, DeviceCapabilities, DeviceControl};

use crate::endpoint::Reset;
use crate::state::State;
use crate::tree::Tree;

/// Who answers a configuration request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Configured {
    HostBridge(usize),
    Port(usize),
    Function(usize),
}

impl Tree {
    /// Routes a configuration request by the bus numbers that bridges have now (PCIe 6.0 §7.3.3).
    pub(crate) fn configured(&self, bdf: Bdf) -> Option<Configured> {
        let bus = bdf.bus();
        let mine = |bridge: &crate::tree::HostBridge| {
            bridge.domain == bdf.domain() && (bridge.first_bus..=bridge.last_bus).contains(&bus)
        };
        let index = self.host_bridges.iter().position(mine)?;
        let bridge = &self.host_bridges[index];
        if bus == bridge.first_bus {
            if bdf.device() == 0 {
                return (bdf.function() == 0).then_some(Configured::HostBridge(index));
            }
            return self.port_at(&bridge.ports, bdf);
        }
        let mut ports = &bridge.ports;
        loop {
            let port = ports.iter().find(|&&port| self.ports[port].decode.has_bus(bus))?;
            let port = &self.ports[*port];
            let Some(&upstream) = port.below.first() else {
                return self.function_below(port, bdf);
            };
            if bus == port.decode.secondary {
                return self.port_at(&[upstream], bdf);
            }
            let switch = &self.ports[upstream];
            if !switch.decode.has_bus(bus) {
                return None;
            }
            if bus == switch.decode.secondary {
                return self.port_at(&switch.below, bdf);
            }
            ports = &switch.below;
        }
    }

    fn port_at(&self, ports: &[usize], bdf: Bdf) -> Option<Configured> {
        let here = |&&port: &&usize| self.ports[port].device == bdf.device();
        ports.iter().find(here).filter(|_| bdf.function() == 0).copied().map(Configured::Port)
    }

    /// On a link to an endpoint there is only device 0.
    fn function_below(&self, port: &crate::tree::Port, bdf: Bdf) -> Option<Configured> {
        let here = |&&index: &&usize| {
            let function = &self.functions[index];
            function.present && function.number == bdf.function()
        };
        let on_link = bdf.bus() == port.decode.secondary && bdf.device() == 0;
        let found = port.functions.iter().find(here).filter(|_| on_link);
        found.copied().map(Configured::Function)
    }
}

impl State {
    /// Reads a register; all ones if nobody answers. The offset is aligned and below 4096.
    pub(crate) fn config_read(&self, bdf: Bdf, offset: u16, width: Width) -> u32 {
        let tree = &self.machine.tree;
        let config = match self.reachable(bdf) {
            Some(Configured::HostBridge(index)) => &tree.host_bridges[index].config,
            Some(Configured::Port(index)) => &tree.ports[index].config,
            Some(Configured::Function(index)) => &tree.functions[index].config,
            None => return u32::MAX >> (32 - 8 * u32::from(width.bytes())),
        };
        config.read(offset, width)
    }

    /// Writes a register. The offset is aligned and below 4096.
    pub(crate) fn config_write(&mut self, bdf: Bdf, offset: u16, width: Width, value: u32) {
        match self.reachable(bdf) {
            Some(Configured::Port(port)) => self.write_port(port, offset, width, value),
            Some(Configured::Function(function)) => {
                self.write_function(function, offset, width, value);
            }
            Some(Configured::HostBridge(_)) | None => {}
        }
    }

    /// Who answers, unless a link on the way is down.
    fn reachable(&self, bdf: Bdf) -> Option<Configured> {
        let tree = &self.machine.tree;
        let found = tree.configured(bdf)?;
        let mut port = match found {
            Configured::HostBridge(_) => None,
            Configured::Port(port) => tree.ports[port].above,
            Configured::Function(function) => Some(tree.functions[function].port),
        };
        while let Some(at) = port {
            if !self.machine.links[tree.ports[at].link].up {
                return None;
            }
            port = tree.ports[at].above;
        }
        Some(found)
    }

    fn write_port(&mut self, index: usize, offset: u16, width: Width, value: u32) {
        let port = &mut self.machine.tree.ports[index];
        if !port.config.write(offset, width, value) {
            return;
        }
        port.decode_registers();
        let control = port.config.read(type1::BRIDGE_CONTROL, Width::Word).to_le_bytes();
        let control = BridgeControl::from_bits(u16::from_le_bytes([control[0], control[1]]));
        let covers =
            offset <= type1::BRIDGE_CONTROL && type1::BRIDGE_CONTROL < offset + width.bytes();
        if covers && control.secondary_bus_reset() {
            self.hot_reset_below(index);
        }
        self.changed();
    }

    fn write_function(&mut self, index: usize, offset: u16, width: Width, value: u32) {
        let function = &mut self.machine.tree.functions[index];
        if function.initiates_reset(offset, width, value) {
            self.reset_function(index, Reset::FunctionLevel);
            return;
        }
        if function.config.write(offset, width, value) {
            function.decode_registers();
            self.changed();
            self.send_pending(index);
        }
    }
}

impl crate::tree::Function {
    /// Whether a write sets Initiate Function Level Reset (PCIe 6.0 §6.6.2), on a function that has it.
    fn initiates_reset(&self, offset: u16, width: Width, value: u32) -> bool {
        let at = self.config.offsets.express;
        let capabilities =
            self.config.read(at + express::offset::DEVICE_CAPABILITIES, Width::Dword);
        let register = at + express::offset::DEVICE_CONTROL;
        let capable = DeviceCapabilities::from_bits(capabilities).function_level_reset();
        if !capable
            || offset > register
            || width == Width::Byte
            || register >= offset + width.bytes()
        {
            return false;
        }
        let [low, high, ..] = (value >> (8 * (register - offset))).to_le_bytes();
        DeviceControl::from_bits(u16::from_le_bytes([low, high])).initiate_function_level_reset()
    }
}
