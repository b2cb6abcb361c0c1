//! The answers about all pairs, as small as they can be.

use super::{Lists, MapType, NodeId, ReasonCode, Topology};

/// The answer about a pair, without evidence: four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The map type; `None` if it depends on something that is not known.
    pub map_type: Option<MapType>,
    /// Why there is no path, why it is not known, or that it loses data; `None` if there is one that is
    /// not known to.
    pub code: Option<ReasonCode>,
    /// The kernel's distance.
    pub distance: u16,
}

/// The answers about all pairs of some clients and some providers. It grows with their product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Matrix {
    clients: Vec<NodeId>,
    providers: Vec<NodeId>,
    /// By client, then provider.
    pairs: Vec<Pair>,
}

impl Matrix {
    /// Who starts the requests, by row.
    #[must_use]
    pub fn clients(&self) -> &[NodeId] {
        &self.clients
    }

    /// Whose memory it is, by column.
    #[must_use]
    pub fn providers(&self) -> &[NodeId] {
        &self.providers
    }

    /// All pairs, row by row.
    #[must_use]
    pub fn pairs(&self) -> &[Pair] {
        &self.pairs
    }

    /// The rows: each client with its pairs, in the order of the providers.
    pub fn rows(&self) -> impl Iterator<Item = (NodeId, &[Pair])> {
        let width = self.providers.len().max(1);
        self.clients.iter().copied().zip(self.pairs.chunks(width))
    }
}

impl Topology {
    /// Judges all pairs of these clients and these providers.
    ///
    /// # Panics
    /// If a number is one of another, larger topology.
    #[must_use]
    pub fn matrix(&self, clients: Vec<NodeId>, providers: Vec<NodeId>, lists: Lists) -> Matrix {
        let mut pairs = Vec::with_capacity(clients.len().saturating_mul(providers.len()));
        for &client in &clients {
            pairs.extend(providers.iter().map(|&provider| self.pair(client, provider, lists)));
        }
        Matrix { clients, providers, pairs }
    }

    /// The answer about a pair, without evidence and without allocating.
    ///
    /// # Panics
    /// If a number is one of another, larger topology.
    #[must_use]
    pub fn pair(&self, client: NodeId, provider: NodeId, lists: Lists) -> Pair {
        let mapping = self.map_type(client, provider, lists);
        let code = match mapping.map_type {
            Some(MapType::BusAddress | MapType::ThroughHostBridge) => {
                let lost = self.loses_data(client, provider, mapping.map_type);
                lost.then_some(ReasonCode::DataLost)
            }
            Some(MapType::NotSupported) => Some(self.refusing(client, provider, lists)),
            None => Some(ReasonCode::UnknownNeedRoot),
        };
        let distance = u16::try_from(mapping.distance).unwrap_or(u16::MAX);
        Pair { map_type: mapping.map_type, code, distance }
    }

    /// Why a pair is refused, which it is.
    fn refusing(&self, client: NodeId, provider: NodeId, lists: Lists) -> ReasonCode {
        if lists == Lists::WithUsers && self.permitted(client, provider, lists) == Some(true) {
            ReasonCode::RootBlocked
        } else if self.meet(provider.0, client.0).common.is_some() {
            ReasonCode::AcsRedirect
        } else if self.host_bridge_of(client) != self.host_bridge_of(provider) {
            ReasonCode::DifferentRoot
        } else {
            ReasonCode::RootNotAllowed
        }
    }
}

const _: () = assert!(size_of::<Pair>() == 4);
