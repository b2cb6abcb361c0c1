//! Where the guest finds what the file describes.

use p2pdma_pci::Bdf;
use p2pdma_pci::machine::{Below, Machine, Port};
use p2pdma_pci::topology::{Kind, Upstream};

use super::refusal::{Reason, Refusal};
use crate::Arch;

/// The highest device number that root ports may have on QEMU's first root bus. Device 31 is the south
/// bridge of q35 (docs/config/q35-emulated.cfg in QEMU); 30 is the lab's own, [`OWN_DEVICE`]; the
/// [`EXPANDERS`] downwards are the bridges to further host bridges.
const LAST_ROOT_PORT: usize = 29;
/// The lab's own device on the first root bus, by which it talks with the guest.
pub(crate) const OWN_DEVICE: u8 = 30;
/// The device number of the first bridge to a further host bridge; the next ones go down from here.
pub(super) const EXPANDERS: u8 = 29;

/// What a placed thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A root port.
    RootPort,
    /// The upstream port of a switch.
    UpstreamPort,
    /// A downstream port of a switch, with its number.
    DownstreamPort(u8),
    /// A function of a device.
    Function,
}

/// Something that the file names, in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its name in the file.
    pub name: String,
    /// Its address in the guest. Firmware numbers buses depth first, a port without anything below it
    /// included.
    pub bdf: Bdf,
    /// What it is.
    pub role: Role,
    /// What it is below.
    pub upstream: Upstream,
    /// The bus behind it, if it is a bridge.
    pub secondary: Option<u8>,
}

impl Placed {
    /// What it is, in the topology's words.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self.role {
            Role::RootPort => Kind::RootPort,
            Role::UpstreamPort => Kind::UpstreamPort,
            Role::DownstreamPort(_) => Kind::DownstreamPort,
            Role::Function => Kind::Endpoint,
        }
    }
}

/// Gives everything its place.
pub(super) fn place(machine: &Machine, _arch: Arch) -> Result<Vec<Placed>, Refusal> {
    let mut walk = Walk { placed: Vec::new(), next_bus: 0 };
    for (index, bridge) in machine.host_bridges.iter().enumerate() {
        if (index == 0) != (bridge.first_bus == 0) {
            let reason = Reason::FirstBus { bus: bridge.first_bus };
            return Err(Refusal { part: bridge.name.clone(), reason });
        }
        let others = if index == 0 { machine.host_bridges.len() - 1 } else { 0 };
        let most = LAST_ROOT_PORT.saturating_sub(others);
        if bridge.ports.len() > most {
            let reason = Reason::RootPorts { count: bridge.ports.len(), most };
            return Err(Refusal { part: bridge.name.clone(), reason });
        }
        walk.next_bus = u16::from(bridge.first_bus) + 1;
        for (device, port) in (1..).zip(&bridge.ports) {
            let upstream = Upstream::HostBridge(index);
            walk.port(port, Role::RootPort, (bridge.first_bus, device), upstream)?;
        }
    }
    Ok(walk.placed)
}

struct Walk {
    placed: Vec<Placed>,
    next_bus: u16,
}

impl Walk {
    /// A port and what is below it; `at` is its bus and device.
    fn port(
        &mut self,
        port: &Port,
        role: Role,
        at: (u8, u8),
        upstream: Upstream,
    ) -> Result<(), Refusal> {
        let bus = self.bus(&port.name)?;
        let bdf = self.add(&port.name, role, (at.0, at.1, 0), upstream, Some(bus))?;
        let below = Upstream::Bridge(bdf);
        match &port.below {
            Below::Nothing => {}
            Below::Switch(switch) => {
                let inner = self.bus(&switch.name)?;
                let role = Role::UpstreamPort;
                let bdf = self.add(&switch.name, role, (bus, 0, 0), below, Some(inner))?;
                for (number, port) in (0..).zip(&switch.ports) {
                    let role = Role::DownstreamPort(number);
                    self.port(port, role, (inner, number), Upstream::Bridge(bdf))?;
                }
            }
            Below::Device(functions) => {
                for function in functions {
                    let at = (bus, 0, function.number);
                    self.add(&function.name, Role::Function, at, below, None)?;
                }
            }
        }
        Ok(())
    }

    fn bus(&mut self, part: &str) -> Result<u8, Refusal> {
        let out = || Refusal { part: part.to_owned(), reason: Reason::Buses };
        let bus = u8::try_from(self.next_bus).map_err(|_| out())?;
        self.next_bus += 1;
        Ok(bus)
    }

    fn add(
        &mut self,
        name: &str,
        role: Role,
        (bus, device, function): (u8, u8, u8),
        upstream: Upstream,
        secondary: Option<u8>,
    ) -> Result<Bdf, Refusal> {
        let out = || Refusal { part: name.to_owned(), reason: Reason::Buses };
        let bdf = Bdf::new(0, bus, device, function).ok_or_else(out)?;
        self.placed.push(Placed { name: name.to_owned(), bdf, role, upstream, secondary });
        Ok(bdf)
    }
}
