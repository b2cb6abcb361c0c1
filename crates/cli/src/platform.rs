//! The machine that a transfer is on: one of the software fabric, or this one.

use std::ops::Deref;

use p2pdma::{Bdf, FabricPlatform, LinuxPlatform, Platform};

/// The machine that a transfer is on.
pub(crate) enum AnyPlatform {
    /// In software.
    Fabric(Box<FabricPlatform>),
    /// This one.
    Linux(Box<LinuxPlatform>),
}

impl Deref for AnyPlatform {
    type Target = dyn Platform;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Fabric(platform) => &**platform,
            Self::Linux(platform) => &**platform,
        }
    }
}

impl AnyPlatform {
    /// This machine, if it is that.
    pub(crate) fn linux(&self) -> Option<&LinuxPlatform> {
        match self {
            Self::Linux(platform) => Some(platform),
            Self::Fabric(_) => None,
        }
    }
}

/// The base class of bridges, those of the host included (PCI Code and ID Assignment 1.16 §1.7).
const BRIDGE: u8 = 0x06;

/// The functions that are no bridges, with their names.
pub(crate) fn endpoints(platform: &dyn Platform) -> Vec<(Bdf, Option<String>)> {
    let Ok(topology) = platform.topology() else { return Vec::new() };
    let nodes = topology.nodes().iter().filter(|node| node.class.base_class() != BRIDGE);
    nodes.map(|node| (node.bdf, node.name.as_deref().map(str::to_owned))).collect()
}
