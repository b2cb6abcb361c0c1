//! The hierarchy of a dump, by the bus numbers of its bridges.

use std::collections::{BTreeSet, HashMap};

use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{Kind, Known};
use p2pdma_spec::pci::capability::ExtendedCapabilityId;
use p2pdma_spec::pci::class::ClassCode;
use p2pdma_spec::pci::config::{NO_FUNCTION, offset};

use super::text::Record;
use crate::assemble::Above;
use crate::{Config, Note, NoteKind};

/// A function of a dump that has a header.
pub(super) struct Found<'a> {
    pub(super) record: &'a Record,
    pub(super) config: Config,
    pub(super) class: ClassCode,
    pub(super) kind: Kind,
}

impl Found<'_> {
    fn bdf(&self) -> Bdf {
        self.record.bdf
    }

    /// Whether it is a virtual function: those answer, and have no vendor (PCIe 6.0 §9.3.4.1.1).
    pub(super) fn is_virtual(&self) -> bool {
        self.config.answers() && self.config.word(offset::VENDOR_ID) == Known::Value(NO_FUNCTION)
    }
}

/// The buses behind a bridge.
struct Bridge {
    bdf: Bdf,
    secondary: u8,
    subordinate: u8,
}

/// Bridges by domain and secondary bus.
type Bridges = HashMap<(u32, u8), Vec<Bridge>>;

/// What each function is below. Those for which that cannot be told are `None`, and noted.
pub(super) fn places(
    found: &[Found<'_>],
    roots: &BTreeSet<(u32, u8)>,
    notes: &mut Vec<Note>,
) -> Vec<Option<Above>> {
    let bridges = bridges(found, notes);
    let virtuals = virtual_functions(found);
    let buses = Buses { found, bridges: &bridges, roots };
    let root_buses = buses.root_buses();
    let place = |found: &Found<'_>| {
        let bdf = found.bdf();
        let physical = virtuals.get(&bdf).filter(|_| found.is_virtual());
        let bus = physical.map_or(bdf.bus(), |physical| physical.bus());
        buses.above(bdf.domain(), bus, found.is_virtual(), &root_buses)
    };
    let mut above = Vec::with_capacity(found.len());
    for found in found {
        above.push(match place(found) {
            Ok(place) => Some(place),
            Err(why) => {
                let kind = NoteKind::LeftOut { bdf: found.bdf(), why };
                notes.push(Note { line: Some(found.record.line), kind });
                None
            }
        });
    }
    above
}

fn bridges(found: &[Found<'_>], notes: &mut Vec<Note>) -> Bridges {
    let mut bridges = Bridges::new();
    for found in found {
        let Known::Value(Some([_, secondary, subordinate])) = found.config.buses() else {
            continue;
        };
        let bdf = found.bdf();
        if secondary == 0 {
            // Nobody has numbered it: nothing is behind it.
            continue;
        }
        if secondary <= bdf.bus() || subordinate < secondary {
            let what = "its bus numbers contradict its own place; nothing is taken to be below it";
            let kind = NoteKind::Contradiction { bdf, what };
            notes.push(Note { line: Some(found.record.line), kind });
            continue;
        }
        let bridge = Bridge { bdf, secondary, subordinate };
        bridges.entry((bdf.domain(), secondary)).or_default().push(bridge);
    }
    bridges
}

/// The physical function of every address at which a capability says that there is a virtual one
/// (PCIe 6.0 §9.3.3).
fn virtual_functions(found: &[Found<'_>]) -> HashMap<Bdf, Bdf> {
    const COUNT: u16 = 0x10;
    const FIRST: u16 = 0x14;
    const STRIDE: u16 = 0x16;
    let there: Vec<Bdf> = found.iter().filter(|found| found.is_virtual()).map(Found::bdf).collect();
    let mut virtuals = HashMap::new();
    if there.is_empty() {
        return virtuals;
    }
    for found in found {
        let capability = found.config.extended_capability(ExtendedCapabilityId::SINGLE_ROOT_IOV);
        let Known::Value(Some(at)) = capability else { continue };
        let register = |offset: u16| found.config.word(at.saturating_add(offset));
        let (Known::Value(count), Known::Value(first), Known::Value(stride)) =
            (register(COUNT), register(FIRST), register(STRIDE))
        else {
            continue;
        };
        let Some(first) = found.bdf().requester().checked_add(first) else { continue };
        let is_own = |bdf: &&Bdf| {
            let steps = bdf.requester().checked_sub(first).map(u32::from);
            let stride = u32::from(stride.max(1));
            bdf.domain() == found.bdf().domain()
                && steps.is_some_and(|s| s.is_multiple_of(stride) && s / stride < u32::from(count))
        };
        virtuals.extend(there.iter().filter(is_own).map(|&bdf| (bdf, found.bdf())));
    }
    virtuals
}

struct Buses<'a> {
    found: &'a [Found<'a>],
    bridges: &'a Bridges,
    roots: &'a BTreeSet<(u32, u8)>,
}

impl Buses<'_> {
    fn above(
        &self,
        domain: u32,
        bus: u8,
        is_virtual: bool,
        root_buses: &BTreeSet<(u32, u8)>,
    ) -> Result<Above, String> {
        match self.bridges.get(&(domain, bus)).map(Vec::as_slice) {
            Some([bridge]) => return Ok(Above::Bridge(bridge.bdf)),
            Some([first, second, ..]) => {
                return Err(format!("two bridges lead to its bus: {}, {}", first.bdf, second.bdf));
            }
            _ => {}
        }
        if let Some(around) = self.around(domain, bus) {
            // Virtual functions may be on buses of their own, right behind their device's.
            return match is_virtual {
                true => Ok(Above::Bridge(around)),
                false => Err(format!("no bridge in the dump leads to its bus, below {around}")),
            };
        }
        if root_buses.contains(&(domain, bus)) {
            return Ok(Above::HostBridge { domain, bus });
        }
        Err("no bridge in the dump leads to its bus, which is no root bus".to_owned())
    }

    /// The innermost bridge that has a bus somewhere behind it.
    fn around(&self, domain: u32, bus: u8) -> Option<Bdf> {
        let bridges = (0..=bus).filter_map(|secondary| self.bridges.get(&(domain, secondary)));
        let around = bridges
            .flatten()
            .filter(|bridge| (bridge.secondary..=bridge.subordinate).contains(&bus));
        around
            .min_by_key(|bridge| (bridge.subordinate - bridge.secondary, bridge.bdf))
            .map(|b| b.bdf)
    }

    /// The root buses: those that `lspci -t` names; without it those to which no bridge leads and that are
    /// bus 0, or hold what is on root buses only, or nothing that has to be below a port.
    fn root_buses(&self) -> BTreeSet<(u32, u8)> {
        if !self.roots.is_empty() {
            return self.roots.clone();
        }
        let mut buses: HashMap<(u32, u8), Vec<&Found<'_>>> = HashMap::new();
        for found in self.found {
            buses.entry((found.bdf().domain(), found.bdf().bus())).or_default().push(found);
        }
        // A dump of single functions (-s) does not show which buses are root buses.
        let whole = |domain| buses.contains_key(&(domain, 0)) || domain != 0;
        let is_root = |&(domain, bus): &(u32, u8), found: &[&Found<'_>]| {
            bus == 0
                || found.iter().any(|found| is_on_root_buses(found))
                || whole(domain) && !found.iter().any(|found| is_below_ports(found))
        };
        let roots = buses.iter().filter(|(bus, found)| is_root(bus, found));
        roots.map(|(&bus, _)| bus).collect()
    }
}

fn is_on_root_buses(found: &Found<'_>) -> bool {
    let host_bridge = (found.class.base_class(), found.class.sub_class()) == (6, 0);
    host_bridge || matches!(found.kind, Kind::RootPort | Kind::IntegratedEndpoint)
}

fn is_below_ports(found: &Found<'_>) -> bool {
    matches!(found.kind, Kind::Endpoint | Kind::UpstreamPort | Kind::DownstreamPort)
}
