//! The answer about a pair: a path, a refusal, or what is missing to tell.

use std::fmt;

use super::{HostBridgeEvidence, Lists, MapType, NodeId, ReasonCode, Rule, Topology, Verdict};
use crate::Bdf;

/// Whether and how a client reaches a provider's memory.
#[derive(Debug, Clone, PartialEq)]
pub enum Route {
    /// Below the root, by bus address.
    BusAddress {
        /// The kernel's distance.
        distance: u32,
    },
    /// Through the root complex, which is allowed to carry it.
    ThroughHostBridge {
        /// The kernel's distance.
        distance: u32,
        /// What allows it.
        by: Permission,
    },
    /// Not at all.
    NotSupported(Box<Refusal>),
    /// It cannot be told.
    Unknown(Box<Missing>),
}

/// What allows traffic through the root complex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// The processor: AMD, of the Zen family or later.
    Cpu,
    /// The kernel's list of host bridges.
    KernelList,
    /// A user's list of host bridges. The kernel itself would refuse.
    UserList,
}

impl Route {
    /// The distance, if there is a path.
    #[must_use]
    pub const fn distance(&self) -> Option<u32> {
        match self {
            Self::BusAddress { distance } | Self::ThroughHostBridge { distance, .. } => {
                Some(*distance)
            }
            Self::NotSupported(_) | Self::Unknown(_) => None,
        }
    }

    /// The route, if it is one: what may be mapped for the client.
    ///
    /// # Errors
    /// The refusal; if it cannot be told whether there is a path, a refusal that says so.
    pub fn require(self) -> Result<Self, Box<Refusal>> {
        match self {
            Self::NotSupported(refusal) => Err(refusal),
            Self::Unknown(missing) => Err(Box::new((*missing).into())),
            path => Ok(path),
        }
    }
}

/// Why a client may not reach a provider's memory.
///
/// Prints as one line; [`Refusal::verdict`] has the evidence and the remedy.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct Refusal {
    /// The reason.
    pub code: ReasonCode,
    /// The evidence.
    pub verdict: Verdict,
}

impl Refusal {
    /// Who wanted to start requests.
    #[must_use]
    pub const fn client(&self) -> Bdf {
        self.verdict.client
    }

    /// Whose memory it was to reach.
    #[must_use]
    pub const fn provider(&self) -> Bdf {
        self.verdict.provider
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        write!(f, "[{}] ", self.code)?;
        if self.code == ReasonCode::UnknownNeedRoot {
            return write_missing(verdict, f);
        }
        f.write_str("no peer-to-peer path from ")?;
        write_pair(verdict, f)?;
        f.write_str(": ")?;
        let mut noted = verdict.noted().peekable();
        if noted.peek().is_some() {
            f.write_str("ACS redirects at ")?;
            for (index, step) in noted.enumerate() {
                let comma = if index > 0 { ", " } else { "" };
                write!(f, "{comma}{}", step.bdf)?;
            }
            f.write_str(", and ")?;
        } else if verdict.host_bridges.len() > 1 {
            f.write_str("they are below different host bridges, and ")?;
        } else {
            f.write_str("they share no upstream bridge, and ")?;
        }
        let refusing = verdict.host_bridges.iter().find(|bridge| !bridge.allows);
        match refusing {
            Some(HostBridgeEvidence { block: Some(block), .. })
                if verdict.rule == Rule::Blocked =>
            {
                write!(f, "the {} blocks this host bridge", block.source)
            }
            Some(bridge) if bridge.entry.is_some() => {
                write!(f, "{bridge} is listed for pairs below itself only")
            }
            Some(bridge) => write!(f, "{bridge} is not on the kernel's list"),
            None => f.write_str("the root complex is not allowed to carry it"),
        }
    }
}

/// What is missing to tell whether there is a path.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub struct Missing {
    /// What is known; [`Verdict::gaps`] lists what is not, each with what would tell.
    pub verdict: Verdict,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_missing(&self.verdict, f)
    }
}

impl From<Missing> for Refusal {
    fn from(missing: Missing) -> Self {
        Self { code: ReasonCode::UnknownNeedRoot, verdict: missing.verdict }
    }
}

fn write_pair(verdict: &Verdict, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    // A path without steps: the function is itself the common one, or it is not there.
    let end = |path: &[super::Step], bdf: Bdf| {
        let name = path.first().or(verdict.common.as_ref());
        let name = name.filter(|step| step.bdf == bdf);
        name.map_or_else(|| bdf.to_string(), ToString::to_string)
    };
    let client = end(&verdict.client_path, verdict.client);
    let provider = end(&verdict.provider_path, verdict.provider);
    write!(f, "{client} to {provider}")
}

fn write_missing(verdict: &Verdict, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("whether there is a peer-to-peer path from ")?;
    write_pair(verdict, f)?;
    f.write_str(" is not known")?;
    for (index, gap) in verdict.gaps.iter().enumerate() {
        let colon = if index > 0 { "; " } else { ": " };
        write!(f, "{colon}{gap}")?;
    }
    match verdict.gaps.first() {
        Some(gap) => write!(f, " ({})", gap.remedy()),
        None => Ok(()),
    }
}

impl Topology {
    /// Whether and how `client` reaches the memory of `provider`. A path costs no allocation.
    #[must_use]
    pub fn route(&self, client: Bdf, provider: Bdf) -> Route {
        let (Some(near), Some(far)) = (self.find(client), self.find(provider)) else {
            return Route::Unknown(Box::new(Missing { verdict: self.explain(client, provider) }));
        };
        let mapping = self.map_type(near, far, Lists::WithUsers);
        let distance = mapping.distance;
        match mapping.map_type {
            Some(MapType::BusAddress) => Route::BusAddress { distance },
            Some(MapType::ThroughHostBridge) => {
                Route::ThroughHostBridge { distance, by: self.permission(near, far) }
            }
            Some(MapType::NotSupported) => {
                let verdict = self.explain(client, provider);
                let code = verdict.code().unwrap_or(ReasonCode::RootNotAllowed);
                Route::NotSupported(Box::new(Refusal { code, verdict }))
            }
            None => Route::Unknown(Box::new(Missing { verdict: self.explain(client, provider) })),
        }
    }

    /// What allows a pair through the root complex, given that something does.
    pub(super) fn permission(&self, client: NodeId, provider: NodeId) -> Permission {
        let cpu = self.host.cpu.value();
        if cpu.is_some_and(|cpu| cpu.carries_peer_traffic()) {
            Permission::Cpu
        } else if self.list_allows(client, provider, Lists::Kernel) == Some(true) {
            Permission::KernelList
        } else {
            Permission::UserList
        }
    }
}
