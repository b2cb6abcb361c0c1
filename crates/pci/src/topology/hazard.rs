//! What goes wrong although the verdict is right.

use std::fmt;

use super::build::Place;
use super::kernel::Meeting;
use super::{
    IommuMode, Kind, Known, LentMemory, Link, Lists, MapType, MemoryKind, NodeId, ReasonCode,
    Topology,
};
use crate::Bdf;

/// Something that a topology shows and the kernel's rule does not look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Hazard {
    /// Requests turn below a translating IOMMU, which therefore neither translates nor checks them.
    IommuBypassed,
    /// The same under QEMU, whose switches turn nothing: requests reach the IOMMU with a bus address, and
    /// data are lost although commands succeed.
    DataLost,
    /// A link on the way is down.
    LinkDown {
        /// The function below the link.
        at: Bdf,
    },
    /// A link on the way runs below what both its ends can do.
    LinkDownTrained {
        /// The function below the link.
        at: Bdf,
        /// What it runs at.
        current: Link,
        /// What it could run at.
        possible: Link,
    },
    /// Peers reach only a part of the provider's memory.
    BarSmall {
        /// What they reach, in bytes.
        window: u64,
        /// What there is, in bytes.
        memory: u64,
    },
    /// The provider's CMB is not aligned to 2 MiB, and the kernel ignores it.
    CmbUnaligned {
        /// Its size in bytes.
        size: u64,
    },
}

impl Hazard {
    /// The code that explains it.
    #[must_use]
    pub const fn code(&self) -> ReasonCode {
        match self {
            Self::IommuBypassed => ReasonCode::Iommu,
            Self::DataLost => ReasonCode::DataLost,
            Self::LinkDown { .. } | Self::LinkDownTrained { .. } => ReasonCode::LinkDown,
            Self::BarSmall { .. } => ReasonCode::BarSmall,
            Self::CmbUnaligned { .. } => ReasonCode::CmbAlign,
        }
    }

    /// What to do about it, as an imperative.
    #[must_use]
    pub const fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::IommuBypassed => None,
            Self::DataLost => Some("boot with iommu=pt, or without the emulated IOMMU"),
            Self::LinkDown { .. } | Self::LinkDownTrained { .. } => {
                Some("reseat the device; look at riser and retimer")
            }
            Self::BarSmall { .. } => Some("enable resizable BAR in the firmware"),
            Self::CmbUnaligned { .. } => Some("see whether the firmware lets its size be set"),
        }
    }
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IommuBypassed => f.write_str("the translating IOMMU does not see this traffic"),
            Self::DataLost => f.write_str(
                "this is QEMU with a translating IOMMU: data by bus address go astray, with status OK",
            ),
            Self::LinkDown { at } => write!(f, "the link above {at} is down"),
            Self::LinkDownTrained { at, current, possible } => {
                write!(f, "the link above {at} runs at {current} of {possible}")
            }
            Self::BarSmall { window, memory } => {
                write!(f, "peers reach {window} of {memory} bytes of the provider's memory")
            }
            Self::CmbUnaligned { size } => write!(
                f,
                "the CMB ({size:#x} bytes) is not aligned to 2 MiB: the kernel ignores it"
            ),
        }
    }
}

impl Topology {
    /// What may go wrong between two functions although the verdict is right.
    ///
    /// # Panics
    /// If a number is one of another, larger topology.
    #[must_use]
    pub fn hazards_of(&self, client: NodeId, provider: NodeId) -> Vec<Hazard> {
        let meeting = self.meet(provider.0, client.0);
        let map_type = self.map_type(client, provider, Lists::WithUsers).map_type;
        self.hazards(client, provider, &meeting, map_type)
    }

    /// All links that are down, or run below what both their ends can do.
    #[must_use]
    pub fn link_hazards(&self) -> Vec<Hazard> {
        self.ids().filter_map(|id| self.link_hazard(id.0)).collect()
    }

    pub(super) fn hazards(
        &self,
        client: NodeId,
        provider: NodeId,
        meeting: &Meeting,
        map_type: Option<MapType>,
    ) -> Vec<Hazard> {
        let mut hazards = Vec::new();
        if self.passes_by_iommu(client, provider, map_type) {
            hazards.push(if self.host.qemu { Hazard::DataLost } else { Hazard::IommuBypassed });
        }
        for start in [client, provider] {
            let mut at = start.0;
            while at != Place::NONE && Some(at) != meeting.common {
                hazards.extend(self.link_hazard(at));
                at = self.place(at).parent;
            }
        }
        let memory = &self.nodes[provider.index()].memory;
        hazards.extend(memory.iter().filter_map(memory_hazard));
        hazards
    }

    /// Whether a pair's data are lost although it has a path.
    pub(super) fn loses_data(
        &self,
        client: NodeId,
        provider: NodeId,
        map_type: Option<MapType>,
    ) -> bool {
        self.host.qemu && self.passes_by_iommu(client, provider, map_type)
    }

    /// Whether a pair's requests turn below a translating IOMMU. A function finds its own memory inside
    /// itself; what goes through the root complex has a translated address.
    fn passes_by_iommu(&self, client: NodeId, provider: NodeId, map_type: Option<MapType>) -> bool {
        let translates = self.host.iommu == Known::Value(IommuMode::Translate);
        translates && map_type == Some(MapType::BusAddress) && client != provider
    }

    /// Judges the link between a function and the port above it.
    fn link_hazard(&self, at: u32) -> Option<Hazard> {
        let node = &self.nodes[at as usize];
        let port = self.nodes.get(self.place(at).parent as usize)?;
        // Above what has a link of its own and is no downstream port there is one that faces down.
        let ends_link =
            matches!(node.kind, Kind::Endpoint | Kind::UnreadFunction | Kind::UpstreamPort);
        if !(port.kind.faces_down() || port.kind == Kind::UnreadBridge && ends_link) {
            return None;
        }
        let status = (*node.link.value()?)?;
        let Some(current) = status.current else {
            return Some(Hazard::LinkDown { at: node.bdf });
        };
        let above = port.link.value().copied().flatten();
        let possible = above.map_or(status.max, |above| status.max.common_with(above.max));
        (current.common_with(possible) == current && current != possible)
            .then_some(Hazard::LinkDownTrained { at: node.bdf, current, possible })
    }
}

fn memory_hazard(memory: &LentMemory) -> Option<Hazard> {
    const SECTION: u64 = 2 << 20;
    let address = memory.address.map_or(0, |address| address.0);
    if let Some(behind) = memory.behind
        && behind > memory.size
    {
        return Some(Hazard::BarSmall { window: memory.size, memory: behind });
    }
    let aligned = memory.size.is_multiple_of(SECTION) && address.is_multiple_of(SECTION);
    (memory.kind == MemoryKind::Cmb && !aligned)
        .then_some(Hazard::CmbUnaligned { size: memory.size })
}
