//! Host bridges, root ports and switches, as the file has them: what they are below is still a name.

use super::error::{MachineError, Problem};
use super::model::PeerPolicy;
use super::reader::{Field, Form, Name, Table};
use super::value::{self, AcsWord};
use crate::topology::{EgressVector, Link, PciId};

type Result<T> = std::result::Result<T, MachineError>;

const HOST_BRIDGE: Form = Form { place: "[[host-bridge]]", keys: &["name", "id", "p2p", "bus"] };
const ROOT_PORT: Form = Form { place: "[[root-port]]", keys: &["name", "on", "link", "acs"] };
const SWITCH: Form = Form {
    place: "[[switch]]",
    keys: &["name", "below", "ports", "link", "link-max", "port-link", "acs", "egress", "port"],
};
const SWITCH_PORT: Form = Form { place: "[switch.port.N]", keys: &["link", "acs", "egress"] };

/// What a link is capable of unless the file says otherwise.
pub(super) fn default_port_link() -> Link {
    use p2pdma_spec::pci::express::{LinkSpeed, LinkWidth};
    Link { speed: LinkSpeed::GEN4, width: LinkWidth::X16 }
}

pub(super) struct RawHostBridge {
    pub(super) name: Name,
    pub(super) id: PciId,
    pub(super) peer_to_peer: PeerPolicy,
    pub(super) bus: Option<u8>,
    pub(super) at: usize,
}

/// A port's own settings.
pub(super) struct RawPort {
    pub(super) link: Link,
    pub(super) acs: Option<AcsWord>,
    /// With its place.
    pub(super) egress: Option<(EgressVector, usize)>,
}

pub(super) struct RawRootPort {
    pub(super) name: Name,
    pub(super) on: Name,
    pub(super) port: RawPort,
}

pub(super) struct RawSwitch {
    pub(super) name: Name,
    pub(super) below: Name,
    pub(super) end: LinkEnd,
    pub(super) ports: Vec<RawPort>,
}

/// The lower end of a link: what it trains to with a partner that can do more, and what it could.
#[derive(Debug, Clone, Copy)]
pub(super) struct LinkEnd {
    pub(super) trained: Link,
    pub(super) max: Link,
}

impl LinkEnd {
    /// Reads `link` and `link-max`.
    pub(super) fn read(table: &Table<'_>, default: Link) -> Result<Self> {
        let link = table.read("link", value::link)?;
        let Some(field) = table.get("link-max") else {
            let link = link.unwrap_or(default);
            return Ok(Self { trained: link, max: link });
        };
        let max = value::link(&field)?;
        let trained = link.unwrap_or(max);
        if trained.common_with(max) != trained {
            let reason = "'link' is what the link runs at, and cannot exceed 'link-max'";
            return Err(field.error(Problem::Contradiction(reason)));
        }
        Ok(Self { trained, max })
    }
}

pub(super) fn host_bridges(root: &Table<'_>) -> Result<Vec<RawHostBridge>> {
    let tables = root.tables("host-bridge", &HOST_BRIDGE)?;
    let read = |table: &Table<'_>| {
        Ok(RawHostBridge {
            name: value::component_name(&table.need("name")?)?,
            id: value::pci_id(&table.need("id")?)?,
            peer_to_peer: table.need("p2p")?.choice(&[
                ("forward", PeerPolicy::Forward),
                ("refuse", PeerPolicy::Refuse),
                ("lose", PeerPolicy::Lose),
            ])?,
            bus: table.read("bus", |field| field.small(0..=255))?,
            at: table.at(),
        })
    };
    tables.iter().map(read).collect()
}

pub(super) fn root_ports(root: &Table<'_>) -> Result<Vec<RawRootPort>> {
    let tables = root.tables("root-port", &ROOT_PORT)?;
    let read = |table: &Table<'_>| {
        Ok(RawRootPort {
            name: value::component_name(&table.need("name")?)?,
            on: table.need("on")?.name("the name of a host bridge")?,
            port: RawPort {
                link: table.read("link", value::link)?.unwrap_or(default_port_link()),
                acs: table.read("acs", value::acs)?,
                egress: None,
            },
        })
    };
    tables.iter().map(read).collect()
}

pub(super) fn switches(root: &Table<'_>) -> Result<Vec<RawSwitch>> {
    let tables = root.tables("switch", &SWITCH)?;
    tables.iter().map(switch).collect()
}

fn switch(table: &Table<'_>) -> Result<RawSwitch> {
    // A bus has room for 32 devices, and each downstream port is one.
    const MOST: u8 = 32;
    let name = value::component_name(&table.need("name")?)?;
    let count = table.need("ports")?.small(1..=MOST)?;
    let end = LinkEnd::read(table, default_port_link())?;
    let link = table.read("port-link", value::link)?.unwrap_or(default_port_link());
    let acs = table.read("acs", value::acs)?;
    let egress = table.read("egress", |field| ports_listed(field, count))?;
    let mut ports: Vec<RawPort> =
        (0..count).map(|_| RawPort { link, acs, egress: egress.clone() }).collect();
    for (number, field) in table.read("port", Field::entries)?.unwrap_or_default() {
        let index = number.text.parse::<usize>().ok();
        let Some(port) = index.and_then(|index| ports.get_mut(index)) else {
            let problem =
                Problem::NoSuchPort { switch: name.text, port: number.text, ports: count };
            return Err(field.source.error(number.at, problem));
        };
        override_port(port, &field.table(&SWITCH_PORT)?, count)?;
    }
    Ok(RawSwitch { name, below: table.need("below")?.name("the name of a port")?, end, ports })
}

fn override_port(port: &mut RawPort, table: &Table<'_>, count: u8) -> Result<()> {
    if let Some(link) = table.read("link", value::link)? {
        port.link = link;
    }
    if let Some(acs) = table.read("acs", value::acs)? {
        port.acs = Some(acs);
    }
    if let Some(egress) = table.read("egress", |field| ports_listed(field, count))? {
        port.egress = Some(egress);
    }
    Ok(())
}

fn ports_listed(field: &Field<'_>, count: u8) -> Result<(EgressVector, usize)> {
    let items = field.list("a list of port numbers such as [1, 2]")?;
    let numbers: Result<Vec<u8>> = items.iter().map(|item| item.small(0..=count - 1)).collect();
    Ok((EgressVector::listing(numbers?), field.at()))
}
