//! The machine that a transfer is on: one of the software fabric, or this one.

use std::ops::Deref;

use p2pdma::linux::io::Engine;
use p2pdma::topology::Node;
use p2pdma::{Bdf, FabricPlatform, LinuxPlatform, Platform, Storage, VfioPlatform};

use crate::args::PlatformName;
use crate::context::{self, Context};
use crate::failure::{Failure, Result};
use crate::operand::Operand;
use crate::output::Output;

/// The machine that a transfer is on.
pub(crate) enum AnyPlatform {
    /// In software.
    Fabric(Box<FabricPlatform>),
    /// This one, by its kernel.
    Linux(Box<LinuxPlatform>),
    /// This one's devices that are bound to vfio-pci, by drivers of our own.
    Vfio(Box<VfioPlatform>),
}

impl Deref for AnyPlatform {
    type Target = dyn Platform;

    fn deref(&self) -> &Self::Target {
        match self {
            Self::Fabric(platform) => &**platform,
            Self::Linux(platform) => &**platform,
            Self::Vfio(platform) => &**platform,
        }
    }
}

/// Whose memory a transfer may go through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lenders {
    /// Everybody's: the nearest is chosen.
    All,
    /// That of a device.
    One(Bdf),
    /// Nobody's.
    None,
}

impl Lenders {
    /// Those of an option, of which `auto` is everybody.
    pub(crate) fn of(option: &str) -> Self {
        match Operand::parse(option.as_ref()) {
            _ if option == "auto" => Self::All,
            Ok(operand) => operand.place().map_or(Self::None, Self::One),
            // It is refused where the memory is looked for.
            Err(_) => Self::None,
        }
    }
}

impl AnyPlatform {
    /// The machine that operands are of: the fabric's with its scheme or an option, else this one.
    pub(crate) fn of(
        context: &Context,
        operands: &[&Operand],
        lenders: Lenders,
        engine: Engine,
        storage: impl FnOnce() -> Result<Storage>,
    ) -> Result<Self> {
        let global = &context.global;
        let of_fabric = operands.iter().find(|operand| operand.is_of_fabric());
        let block = operands.iter().find(|operand| matches!(operand, Operand::Block(_)));
        let fabric_said = global.fabric.is_some()
            || global.iommu.is_some()
            || global.platform == PlatformName::Fabric;
        if let (Some(block), true) = (block, fabric_said || of_fabric.is_some()) {
            return Err(two_machines(block, "this machine", "the fabric"));
        }
        let of_linux = operands.iter().any(|operand| operand.is_of_linux());
        let is_free = global.platform == PlatformName::Auto && !fabric_said;
        let taken = operands.iter().any(|operand| is_free && operand.is_under_vfio());
        if global.platform == PlatformName::Vfio || taken {
            Self::only_vfio(context, of_fabric.or(block))?;
            return Self::under_vfio(context, operands, lenders);
        }
        if global.platform == PlatformName::Linux {
            context::only_fabric("--platform linux", global)?;
        } else if fabric_said || of_fabric.is_some() || !of_linux {
            let platform = context.platform(&context.machine()?, &storage()?)?;
            return Ok(Self::Fabric(Box::new(platform)));
        }
        if let Some(operand) = of_fabric {
            return Err(two_machines(operand, "the software fabric", "this machine"));
        }
        let platform = LinuxPlatform::new(context.allowlist()?, engine)?;
        Ok(Self::Linux(Box::new(platform)))
    }

    /// Refuses an operand that is none of a device bound to vfio-pci.
    fn only_vfio(context: &Context, other: Option<&&Operand>) -> Result<()> {
        context::only_fabric("--platform vfio", &context.global)?;
        if let Some(operand) = other {
            let of = if operand.is_of_fabric() { "the software fabric" } else { "the kernel" };
            return Err(two_machines(operand, of, "what vfio has"));
        }
        Ok(())
    }

    /// The devices that are bound to vfio-pci, as far as they are named or may be chosen.
    fn under_vfio(context: &Context, operands: &[&Operand], lenders: Lenders) -> Result<Self> {
        let platform = VfioPlatform::new(context.allowlist()?)?;
        let mut named: Vec<Bdf> = operands.iter().filter_map(|operand| operand.place()).collect();
        let platform = match lenders {
            Lenders::All => platform,
            Lenders::One(lender) => {
                named.push(lender);
                platform.only(&named)
            }
            Lenders::None => platform.only(&named),
        };
        Ok(Self::Vfio(Box::new(platform)))
    }

    /// Tells of devices that could have lent memory, and did not come up.
    pub(crate) fn tell_closed(&self, out: &Output) {
        if let Self::Vfio(platform) = self {
            tell_closed(platform, out);
        }
    }

    /// This machine by its kernel, if it is that.
    pub(crate) fn linux(&self) -> Option<&LinuxPlatform> {
        match self {
            Self::Linux(platform) => Some(platform),
            Self::Fabric(_) | Self::Vfio(_) => None,
        }
    }
}

/// Tells of devices under vfio that could have lent memory, and did not come up.
pub(crate) fn tell_closed(platform: &VfioPlatform, out: &Output) {
    for (name, reason) in platform.closed() {
        out.note(&format!("{name} lends nothing: {reason}"));
    }
}

fn two_machines(operand: &Operand, of: &str, other: &str) -> Failure {
    let message = format!("{operand} is of {of}, and no part of {other}");
    Failure::usage(message).remedy("name both ends on one of the two")
}

/// The base class of bridges, those of the host included (PCI Code and ID Assignment 1.16 §1.7).
const BRIDGE: u8 = 0x06;

/// Whether a function is a bridge: nothing that is to be driven.
pub(crate) fn is_bridge(node: &Node) -> bool {
    node.class.base_class() == BRIDGE
}

/// The functions that are no bridges, with their names.
pub(crate) fn endpoints(platform: &dyn Platform) -> Vec<(Bdf, Option<String>)> {
    let Ok(topology) = platform.topology() else { return Vec::new() };
    let nodes = topology.nodes().iter().filter(|node| !is_bridge(node));
    nodes.map(|node| (node.bdf, node.name.as_deref().map(str::to_owned))).collect()
}
