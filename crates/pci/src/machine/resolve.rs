//! From names to a tree: who is below whom, on which bus, and with what link and ACS.

use std::collections::{BTreeMap, HashMap};

use p2pdma_spec::pci::acs::AcsControl;

use super::devices::RawFunction;
use super::error::{MachineError, Problem};
use super::model::{AcsSetting, Below, Function, HostBridge, Port, Switch};
use super::ports::{RawHostBridge, RawPort, RawRootPort, RawSwitch};
use super::reader::{Name, Source};
use super::value::AcsWord;
use crate::suggest::nearest;
use crate::topology::{EgressVector, ISOLATING, IommuMode, Link, LinkStatus, REDIRECTING};

type Result<T> = std::result::Result<T, MachineError>;

/// All parts of a machine file that name each other.
pub(super) struct Parts {
    pub(super) host_bridges: Vec<RawHostBridge>,
    pub(super) root_ports: Vec<RawRootPort>,
    pub(super) switches: Vec<RawSwitch>,
    pub(super) functions: Vec<RawFunction>,
    pub(super) disable_acs_redir: Vec<Name>,
    pub(super) iommu: IommuMode,
}

/// A port that something can be below.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PortKey {
    Root(usize),
    Switch(usize, usize),
}

/// What is below a port: indices of a switch, or of functions.
enum Occupant {
    Switch(usize),
    Functions(Vec<usize>),
}

struct Resolver<'a> {
    source: Source<'a>,
    parts: &'a Parts,
    root_ports: HashMap<&'a str, usize>,
    switches: HashMap<&'a str, usize>,
    occupants: BTreeMap<PortKey, Occupant>,
    /// The names of `disable-acs-redir`.
    disabled: HashMap<&'a str, usize>,
}

/// The host bridges with all that is below them.
pub(super) fn resolve(source: Source<'_>, parts: &Parts) -> Result<Vec<HostBridge>> {
    check_names(source, parts)?;
    let mut resolver = Resolver {
        source,
        parts,
        root_ports: numbered(parts.root_ports.iter().map(|port| &port.name)),
        switches: numbered(parts.switches.iter().map(|switch| &switch.name)),
        occupants: BTreeMap::new(),
        disabled: parts
            .disable_acs_redir
            .iter()
            .map(|name| (name.text.as_str(), name.at))
            .collect(),
    };
    resolver.place_switches()?;
    resolver.place_functions()?;
    resolver.check_disabled()?;
    let root_ports = resolver.root_ports_by_bridge()?;
    let buses = resolver.buses(&root_ports)?;
    let bridges = parts.host_bridges.iter().zip(&root_ports).zip(buses);
    let bridge = |((raw, ports), (first_bus, last_bus)): ((&RawHostBridge, &Vec<usize>), _)| {
        let ports: Result<Vec<Port>> = ports.iter().map(|&at| resolver.root_port(at)).collect();
        Ok(HostBridge {
            name: raw.name.text.clone(),
            id: raw.id,
            peer_to_peer: raw.peer_to_peer,
            first_bus,
            last_bus,
            ports: ports?,
        })
    };
    bridges.map(bridge).collect()
}

fn numbered<'a>(names: impl Iterator<Item = &'a Name>) -> HashMap<&'a str, usize> {
    names.map(|name| name.text.as_str()).zip(0..).collect()
}

/// Every component has a name of its own.
fn check_names(source: Source<'_>, parts: &Parts) -> Result<()> {
    let names = parts.host_bridges.iter().map(|bridge| &bridge.name);
    let names = names.chain(parts.root_ports.iter().map(|port| &port.name));
    let names = names.chain(parts.switches.iter().map(|switch| &switch.name));
    let names = names.chain(parts.functions.iter().map(|function| &function.name));
    let mut names: Vec<&Name> = names.collect();
    names.sort_by_key(|name| name.at);
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for name in names {
        if let Some(&first) = seen.get(name.text.as_str()) {
            let problem =
                Problem::DuplicateName { name: name.text.clone(), first: source.position(first) };
            return Err(source.error(name.at, problem));
        }
        seen.insert(&name.text, name.at);
    }
    Ok(())
}

impl Resolver<'_> {
    /// Finds the port that `below` names: `rp0`, or `sw0.1`.
    fn port(&self, below: &Name) -> Result<PortKey> {
        let text = below.text.as_str();
        if let Some(&root) = self.root_ports.get(text) {
            return Ok(PortKey::Root(root));
        }
        let Some((switch, port)) = text.split_once('.') else {
            let ports = self.parts.switches.iter().map(|switch| format!("{}.0", switch.name.text));
            return Err(self.unknown("port", below, ports.collect()));
        };
        let Some(&at) = self.switches.get(switch) else {
            return Err(self.unknown(
                "switch",
                &Name { text: switch.to_owned(), at: below.at },
                Vec::new(),
            ));
        };
        let ports = self.parts.switches[at].ports.len();
        // "+1" and "01" are numbers to the parser, and no ports.
        match port.parse::<usize>() {
            Ok(number) if number < ports && number.to_string() == port => {
                Ok(PortKey::Switch(at, number))
            }
            _ => Err(self.source.error(
                below.at,
                Problem::NoSuchPort {
                    switch: switch.to_owned(),
                    port: port.to_owned(),
                    ports: u8::try_from(ports).unwrap_or(u8::MAX),
                },
            )),
        }
    }

    fn unknown(&self, kind: &'static str, name: &Name, more: Vec<String>) -> MachineError {
        let known = match kind {
            "host bridge" => self.parts.host_bridges.iter().map(|b| b.name.text.clone()).collect(),
            "switch" => self.parts.switches.iter().map(|s| s.name.text.clone()).collect(),
            _ => self.parts.root_ports.iter().map(|p| p.name.text.clone()).collect::<Vec<_>>(),
        };
        let candidates = known.iter().chain(&more).map(String::as_str);
        let problem = Problem::UnknownName {
            kind,
            name: name.text.clone(),
            suggestion: nearest(&name.text, candidates).map(str::to_owned),
        };
        self.source.error(name.at, problem)
    }

    fn port_name(&self, key: PortKey) -> String {
        match key {
            PortKey::Root(at) => self.parts.root_ports[at].name.text.clone(),
            PortKey::Switch(at, port) => format!("{}.{port}", self.parts.switches[at].name.text),
        }
    }

    fn place_switches(&mut self) -> Result<()> {
        for (index, switch) in self.parts.switches.iter().enumerate() {
            let key = self.port(&switch.below)?;
            if let Some(occupant) = self.occupants.get(&key) {
                return Err(self.link_taken(key, occupant, &switch.name));
            }
            self.occupants.insert(key, Occupant::Switch(index));
        }
        Ok(())
    }

    fn place_functions(&mut self) -> Result<()> {
        let parts = self.parts;
        for (index, function) in parts.functions.iter().enumerate() {
            let key = self.port(&function.below)?;
            let occupant =
                self.occupants.entry(key).or_insert_with(|| Occupant::Functions(Vec::new()));
            if let Occupant::Functions(siblings) = occupant {
                let same = |&&at: &&usize| parts.functions[at].number == function.number;
                let Some(&other) = siblings.iter().find(same) else {
                    siblings.push(index);
                    continue;
                };
                return Err(self.function_taken(key, other, function));
            }
            let occupant = &self.occupants[&key];
            return Err(self.link_taken(key, occupant, &function.name));
        }
        for occupant in self.occupants.values_mut() {
            if let Occupant::Functions(siblings) = occupant {
                siblings.sort_by_key(|&at| parts.functions[at].number);
            }
        }
        self.check_function_zero()
    }

    fn check_function_zero(&self) -> Result<()> {
        for (&key, occupant) in &self.occupants {
            let Occupant::Functions(siblings) = occupant else {
                continue;
            };
            let first = siblings.first().map(|&at| &self.parts.functions[at]);
            if let Some(first) = first.filter(|first| first.number != 0) {
                let problem = Problem::NoFunctionZero {
                    port: self.port_name(key),
                    name: first.name.text.clone(),
                    number: first.number,
                };
                return Err(self.source.error(first.name.at, problem));
            }
        }
        Ok(())
    }

    fn link_taken(&self, key: PortKey, occupant: &Occupant, second: &Name) -> MachineError {
        let other = match occupant {
            Occupant::Switch(at) => Some(&self.parts.switches[*at].name),
            Occupant::Functions(siblings) => {
                siblings.first().map(|&at| &self.parts.functions[at].name)
            }
        };
        // Whichever stands later in the file is the second.
        let (other, second) = match other {
            Some(other) if other.at > second.at => (second, other),
            Some(other) => (other, second),
            None => (second, second),
        };
        let problem = Problem::LinkTaken {
            port: self.port_name(key),
            other: other.text.clone(),
            position: self.source.position(other.at),
            second: second.text.clone(),
        };
        self.source.error(second.at, problem)
    }

    fn function_taken(&self, key: PortKey, other: usize, second: &RawFunction) -> MachineError {
        let (mut other, mut second) = (&self.parts.functions[other], second);
        if other.name.at > second.name.at {
            std::mem::swap(&mut other, &mut second);
        }
        let problem = Problem::FunctionTaken {
            port: self.port_name(key),
            number: second.number,
            other: other.name.text.clone(),
            position: self.source.position(other.name.at),
            second: second.name.text.clone(),
        };
        self.source.error(second.name.at, problem)
    }

    /// Every name in `disable-acs-redir` is that of a port or function.
    fn check_disabled(&self) -> Result<()> {
        for name in &self.parts.disable_acs_redir {
            let is_function = self.parts.functions.iter().any(|f| f.name.text == name.text);
            if !is_function {
                self.port(name)?;
            }
        }
        Ok(())
    }

    /// The root ports of each host bridge.
    fn root_ports_by_bridge(&self) -> Result<Vec<Vec<usize>>> {
        // Device 0 of the root bus is the host bridge's own.
        const MOST: usize = 31;
        let bridges = &self.parts.host_bridges;
        let mut ports = vec![Vec::new(); bridges.len()];
        for (at, port) in self.parts.root_ports.iter().enumerate() {
            let bridge = bridges.iter().position(|bridge| bridge.name.text == port.on.text);
            let Some(bridge) = bridge else {
                return Err(self.unknown("host bridge", &port.on, Vec::new()));
            };
            if ports[bridge].len() == MOST {
                let problem =
                    Problem::TooManyRootPorts { host_bridge: port.on.text.clone(), most: MOST };
                return Err(self.source.error(port.name.at, problem));
            }
            ports[bridge].push(at);
        }
        Ok(ports)
    }

    /// The first and last bus of each host bridge. Also finds switches that hang on none.
    fn buses(&self, root_ports: &[Vec<usize>]) -> Result<Vec<(u8, u8)>> {
        const DOMAIN: u16 = 256;
        let mut hanging = vec![false; self.parts.switches.len()];
        let mut firsts = Vec::with_capacity(root_ports.len());
        let mut needs = Vec::with_capacity(root_ports.len());
        let mut next: u16 = 0;
        for (raw, ports) in self.parts.host_bridges.iter().zip(root_ports) {
            let needed = self.buses_below(ports, &mut hanging);
            let first = raw.bus.map_or(next, u16::from);
            let end = u16::try_from(needed).unwrap_or(DOMAIN).saturating_add(first);
            next = next.max(end);
            firsts.push(first);
            needs.push(needed);
        }
        if let Some(lost) = hanging.iter().position(|&hangs| !hangs) {
            let name = &self.parts.switches[lost].name;
            let switch = name.text.clone();
            return Err(self.source.error(name.at, Problem::Circle { switch }));
        }
        let end_of = |index: usize| {
            let (first, others) = (firsts[index], firsts.iter().enumerate());
            // Of two that begin on one bus, the first has no room.
            let later = others.filter(|&(at, &other)| (other, at) > (first, index));
            later.map(|(_, &other)| other).min().unwrap_or(DOMAIN)
        };
        let range = |(index, raw): (usize, &RawHostBridge)| {
            let (first, needed) = (firsts[index], needs[index]);
            let room = usize::from(end_of(index).saturating_sub(first));
            match (u8::try_from(first), u8::try_from(end_of(index).saturating_sub(1))) {
                (Ok(first), Ok(last)) if needed <= room => Ok((first, last)),
                _ => Err(self.source.error(
                    raw.at,
                    Problem::TooManyBuses {
                        host_bridge: raw.name.text.clone(),
                        first,
                        needed,
                        room,
                    },
                )),
            }
        };
        self.parts.host_bridges.iter().enumerate().map(range).collect()
    }

    /// How many buses a host bridge needs: its root bus, one behind each port, and one inside each
    /// switch. Notes the switches that it finds.
    fn buses_below(&self, root_ports: &[usize], hanging: &mut [bool]) -> usize {
        let mut buses = 1;
        let mut waiting: Vec<PortKey> = root_ports.iter().map(|&at| PortKey::Root(at)).collect();
        while let Some(key) = waiting.pop() {
            buses += 1;
            if let Some(&Occupant::Switch(at)) = self.occupants.get(&key) {
                hanging[at] = true;
                buses += 1;
                let ports = self.parts.switches[at].ports.len();
                waiting.extend((0..ports).map(|port| PortKey::Switch(at, port)));
            }
        }
        buses
    }

    fn root_port(&self, at: usize) -> Result<Port> {
        self.build(PortKey::Root(at), &self.parts.root_ports[at].port)
    }

    /// A port with all that is below it. The bus count bounds the depth.
    fn build(&self, key: PortKey, raw: &RawPort) -> Result<Port> {
        let name = self.port_name(key);
        let down = |max| LinkStatus { current: None, max };
        let (below, trained) = match self.occupants.get(&key) {
            None => (Below::Nothing, None),
            Some(&Occupant::Switch(at)) => {
                let end = self.parts.switches[at].end;
                let trained = raw.link.common_with(end.trained);
                (Below::Switch(self.switch(at, trained)?), Some(trained))
            }
            Some(Occupant::Functions(siblings)) => {
                let ends = siblings.iter().map(|&at| self.parts.functions[at].end.trained);
                let trained = ends.fold(raw.link, Link::common_with);
                let functions = siblings.iter().map(|&at| self.function(at, trained));
                let functions: Result<Vec<Function>> = functions.collect();
                (Below::Device(functions?), Some(trained))
            }
        };
        // What Linux does: everything that isolates, once an IOMMU driver asks for it.
        let by_linux = match self.parts.iommu {
            IommuMode::Off => AcsControl::new(),
            IommuMode::Passthrough | IommuMode::Translate => ISOLATING,
        };
        let word = raw.acs.unwrap_or(AcsWord::Control(by_linux));
        Ok(Port {
            acs: self.acs(&name, word, raw.egress.as_ref())?,
            link: LinkStatus { current: trained, ..down(raw.link) },
            name,
            below,
        })
    }

    fn switch(&self, at: usize, trained: Link) -> Result<Switch> {
        let raw = &self.parts.switches[at];
        let ports = raw.ports.iter().enumerate();
        let ports: Result<Vec<Port>> =
            ports.map(|(port, raw)| self.build(PortKey::Switch(at, port), raw)).collect();
        Ok(Switch {
            name: raw.name.text.clone(),
            link: LinkStatus { current: Some(trained), max: raw.end.max },
            ports: ports?,
        })
    }

    fn function(&self, at: usize, trained: Link) -> Result<Function> {
        let raw = &self.parts.functions[at];
        let word = raw.acs.unwrap_or(AcsWord::None);
        Ok(Function {
            name: raw.name.text.clone(),
            number: raw.number,
            link: LinkStatus { current: Some(trained), max: raw.end.max },
            acs: self.acs(&raw.name.text, word, raw.egress.as_ref())?,
            model: raw.model.clone(),
        })
    }

    fn acs(
        &self,
        name: &str,
        word: AcsWord,
        egress: Option<&(EgressVector, usize)>,
    ) -> Result<Option<AcsSetting>> {
        let disabled = self.disabled.get(name);
        match (word, egress, disabled) {
            (AcsWord::None, Some(&(_, at)), _) => {
                let reason = "'egress' is part of ACS, which is not there (acs = \"none\")";
                Err(self.source.error(at, Problem::Contradiction(reason)))
            }
            (AcsWord::None, None, Some(&at)) => {
                let name = name.to_owned();
                Err(self.source.error(at, Problem::NothingToDisable { name }))
            }
            (AcsWord::None, None, None) => Ok(None),
            (AcsWord::Control(control), egress, disabled) => {
                let left = match disabled {
                    Some(_) => control.into_bits() & !REDIRECTING.into_bits(),
                    None => control.into_bits(),
                };
                Ok(Some(AcsSetting {
                    control: AcsControl::from_bits(left),
                    egress: egress.map(|(vector, _)| vector.clone()).unwrap_or_default(),
                    redirection_disabled: disabled.is_some(),
                }))
            }
        }
    }
}
