//! One end of a copy, found on the machine.

use std::sync::Arc;

use p2pdma::topology::{LentMemory, MemoryKind, Topology};
use p2pdma::{
    Barrier, Bdf, Client, End, HostClient, PeerMemory, Platform, ProviderId, Volume, nearest,
};

use super::host::{HostEnd, SourceFile};
use super::target::Writing;
use super::volume::{self, Rules};
use crate::exit::Exit;
use crate::failure::{Failure, Result};
use crate::operand::{Device, DevicePart, Operand, Part};
use crate::platform::{AnyPlatform, endpoints};

/// One end of a copy.
pub(crate) struct Side {
    /// As it was named.
    pub(crate) text: String,
    /// Its first byte.
    pub(crate) offset: u64,
    pub(crate) kind: Kind,
}

/// What an end is.
pub(crate) enum Kind {
    /// A namespace.
    Namespace { at: Bdf, number: u32, client: Box<dyn Client> },
    /// A block device or file of this machine.
    Volume {
        volume: Box<Volume>,
        /// Whether it becomes as long as what is written: a file.
        grows: bool,
    },
    /// Memory of a device.
    Memory { id: ProviderId, size: u64 },
    /// The host's.
    Host(HostEnd),
}

/// What an end can do.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Abilities {
    /// Its size in bytes; `None` for one that takes or gives without end.
    pub(crate) size: Option<u64>,
    /// Positions and lengths are multiples of this.
    pub(crate) block: u64,
    /// The longest operation.
    pub(crate) max_transfer: u64,
    /// The most operations under way.
    pub(crate) depth: usize,
}

impl Side {
    /// Where bytes come from.
    pub(crate) fn source(
        platform: &AnyPlatform,
        operand: &Operand,
        file: Option<SourceFile>,
        offset: u64,
        rules: Rules,
    ) -> Result<Self> {
        let linux = platform.linux();
        let volume = linux.map(|linux| volume::source(linux, operand, file.as_ref(), rules));
        let kind = match (volume.transpose()?.flatten(), operand) {
            (Some(volume), _) => volume,
            (None, Operand::Device(part)) => device(&**platform, part)?,
            (None, other) => Kind::Host(HostEnd::source(other, file)),
        };
        Ok(Self { text: operand.to_string(), offset, kind })
    }

    /// Where bytes go.
    pub(crate) fn sink(
        platform: &AnyPlatform,
        operand: &Operand,
        writing: Option<&Writing>,
        offset: u64,
        rules: Rules,
    ) -> Result<Self> {
        let linux = platform.linux();
        let volume = linux.map(|linux| volume::sink(linux, operand, writing, rules));
        let mut kind = match (volume.transpose()?.flatten(), operand) {
            (Some(volume), _) => volume,
            (None, Operand::Device(part)) => device(&**platform, part)?,
            (None, other) => Kind::Host(HostEnd::sink(other)),
        };
        // What is in a model is nobody's.
        if let (Kind::Namespace { client, .. }, false) = (&mut kind, platform.is_modelled()) {
            let name = operand.to_string();
            super::signature::check_namespace(&**platform, &mut **client, &name, rules.yes)?;
        }
        Ok(Self { text: operand.to_string(), offset, kind })
    }

    /// What the plan calls it.
    pub(crate) fn end(&self) -> End {
        match &self.kind {
            Kind::Namespace { at, .. } => End::Client(*at),
            Kind::Volume { volume, .. } => volume.footing.end.clone(),
            Kind::Memory { id, .. } => End::Memory(*id),
            Kind::Host(_) => End::Host,
        }
    }

    /// What keeps it from peer-to-peer transfers, if anything does.
    pub(crate) fn barrier(&self) -> Option<&Barrier> {
        self.volume().and_then(|volume| volume.footing.barrier.as_ref())
    }

    /// The block device or file of this machine, if it is one.
    pub(crate) fn volume(&self) -> Option<&Volume> {
        match &self.kind {
            Kind::Volume { volume, .. } => Some(volume),
            _ => None,
        }
    }

    /// Whether it is a file of this machine, whose last block may be a part of one.
    pub(crate) fn is_file(&self) -> bool {
        self.volume().is_some_and(|volume| !volume.file.is_block())
    }

    /// Whether it is a device or on one, and not the host's own.
    pub(crate) fn is_device(&self) -> bool {
        !matches!(self.kind, Kind::Host(_))
    }

    /// Where it is; `None` for the host's, and for what is on several devices.
    pub(crate) fn bdf(&self) -> Option<Bdf> {
        match &self.kind {
            Kind::Namespace { at, .. } => Some(*at),
            Kind::Volume { volume, .. } => match volume.footing.end.clients() {
                [only] => Some(*only),
                _ => None,
            },
            Kind::Memory { id, .. } => Some(id.bdf),
            Kind::Host(_) => None,
        }
    }

    /// Whether it is memory of the fabric that is gone when the command ends.
    pub(crate) fn is_volatile(&self) -> bool {
        matches!(self.kind, Kind::Memory { id, .. } if id.kind != MemoryKind::Pmr)
    }

    /// Whether what is written there stays: in a file or on standard output too.
    pub(crate) fn keeps(&self) -> bool {
        match &self.kind {
            Kind::Host(host) => host.keeps(),
            Kind::Namespace { .. } | Kind::Volume { .. } | Kind::Memory { .. } => {
                !self.is_volatile()
            }
        }
    }

    /// Whether both are the same namespace or memory.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (&self.kind, &other.kind) {
            (Kind::Namespace { at, number, .. }, Kind::Namespace { at: b, number: m, .. }) => {
                (at, number) == (b, m)
            }
            (Kind::Volume { volume, .. }, Kind::Volume { volume: other, .. }) => {
                volume.file.identity() == other.file.identity()
            }
            (Kind::Memory { id, .. }, Kind::Memory { id: other, .. }) => id == other,
            _ => false,
        }
    }

    /// What it can do.
    pub(crate) fn abilities(&self) -> Abilities {
        match &self.kind {
            Kind::Namespace { client, .. } => Abilities::of(&**client),
            Kind::Volume { volume, grows } => {
                let can = Abilities::of(&*volume.client);
                Abilities { size: can.size.filter(|_| !grows), ..can }
            }
            Kind::Memory { size, .. } => Abilities { size: Some(*size), ..processor() },
            Kind::Host(host) => Abilities { size: host.size(), ..processor() },
        }
    }

    /// Reads standard input to its end, if it is that.
    pub(crate) fn spool(&mut self) -> Result<()> {
        match &mut self.kind {
            Kind::Host(host) => host.spool(),
            Kind::Namespace { .. } | Kind::Volume { .. } | Kind::Memory { .. } => Ok(()),
        }
    }
}

impl Abilities {
    fn of(client: &dyn Client) -> Self {
        let can = client.capabilities();
        Self {
            size: Some(can.size),
            block: can.block,
            max_transfer: can.max_transfer,
            depth: can.depth,
        }
    }
}

/// What the processor can do, which copies where no device does.
fn processor() -> Abilities {
    let can = HostClient::null().capabilities();
    Abilities { size: None, block: can.block, max_transfer: can.max_transfer, depth: can.depth }
}

/// Lends a part of a device's memory that is an end of the copy.
pub(crate) fn lend(
    platform: &dyn Platform,
    id: ProviderId,
    offset: u64,
    len: u64,
) -> Result<Arc<PeerMemory>> {
    let provider = platform.providers()?.into_iter().find(|provider| {
        p2pdma::Candidate::of(provider).is_some_and(|candidate| candidate.id == id)
    });
    let provider = provider.ok_or(p2pdma::Error::NoProvider(id))?;
    // Queues may be anywhere in a controller memory buffer: its driver says which part is free.
    let memory = match id.kind {
        MemoryKind::Cmb | MemoryKind::P2pmem => provider.alloc(len)?,
        _ => provider.part(offset..offset + len)?,
    };
    Ok(Arc::new(memory))
}

fn device(platform: &dyn Platform, part: &DevicePart) -> Result<Kind> {
    let Part::Namespace(number) = part.part else {
        let id = memory(platform, part)?;
        let topology = platform.topology()?;
        let lent = lent(&topology, id.bdf).iter().find(|memory| memory.kind == id.kind);
        return Ok(Kind::Memory { id, size: lent.map_or(0, |memory| memory.size) });
    };
    let at = find(platform, part)?;
    let client = platform.namespace(at, number).map_err(|error| {
        // What its blocks are like is no matter of which part is named.
        let other = matches!(error, p2pdma::Error::Metadata { .. });
        let (failure, present) = (Failure::from(error), parts(platform, at));
        if other || failure.exit() != Exit::Usage || present.is_empty() {
            return failure;
        }
        failure.remedy(format!("it has {}", present.join(", ")))
    })?;
    Ok(Kind::Namespace { at, number, client })
}

/// The memory that a part of a device is.
pub(crate) fn memory(platform: &dyn Platform, part: &DevicePart) -> Result<ProviderId> {
    let bdf = find(platform, part)?;
    let topology = platform.topology()?;
    let lent = lent(&topology, bdf);
    let kinds: Vec<MemoryKind> = lent.iter().map(|memory| memory.kind).collect();
    let kind = match (part.part, kinds.as_slice()) {
        (Part::Cmb, _) => Some(MemoryKind::Cmb),
        (Part::Pmr, _) => Some(MemoryKind::Pmr),
        (Part::Bar(index), _) => Some(MemoryKind::Bar(index)),
        (Part::Memory, [only]) => Some(*only),
        (Part::P2pmem, _) => Some(MemoryKind::P2pmem),
        (Part::Memory | Part::Namespace(_), _) => None,
    };
    if let Some(kind) = kind.filter(|kind| kinds.contains(kind)) {
        return Ok(ProviderId { bdf, kind });
    }
    // Perhaps because the device is not to be had.
    platform.check_device(bdf)?;
    let message = match part.part {
        Part::P2pmem => format!("{part}: p2pmem is what the Linux kernel lends"),
        Part::Memory if kinds.len() > 1 => format!("{part}: the device has several memories"),
        Part::Namespace(_) => format!("{part} is a namespace, and no memory"),
        _ => format!("{part} is not there"),
    };
    let failure = Failure::new(Exit::Usage, "P2P-NO-P2PMEM", message);
    let names: Vec<String> = kinds.iter().map(ToString::to_string).collect();
    Err(match names.is_empty() {
        true => failure.remedy("the device lends no memory: see p2pdma topo"),
        false => failure.remedy(format!("it lends {}", names.join(", "))),
    })
}

fn lent(topology: &Topology, bdf: Bdf) -> &[LentMemory] {
    topology.find(bdf).map_or(&[], |id| topology.node(id).memory.as_slice())
}

/// The device of a part.
pub(crate) fn find(platform: &dyn Platform, part: &DevicePart) -> Result<Bdf> {
    let functions = endpoints(platform);
    let names = functions.iter().filter_map(|(_, name)| name.as_deref());
    match &part.device {
        Device::Named(name) => platform.find(name).ok_or_else(|| {
            let failure = Failure::usage(format!("the machine has no device '{name}'"));
            match nearest(name, names.clone()) {
                Some(meant) => {
                    failure.remedy(format!("did you mean fabric:{meant}/{}?", part.part))
                }
                None => failure.remedy(format!("it has {}", names.collect::<Vec<_>>().join(", "))),
            }
        }),
        Device::At(bdf) => {
            if functions.iter().any(|(at, _)| at == bdf) {
                return Ok(*bdf);
            }
            let places: Vec<String> = functions
                .iter()
                .map(|(bdf, name)| match name {
                    Some(name) => format!("{bdf} ({name})"),
                    None => bdf.to_string(),
                })
                .collect();
            Err(Failure::usage(format!("there is no device at {bdf}"))
                .remedy(format!("there are {}", places.join(", "))))
        }
    }
}

/// What a device has that can be an end of a copy.
fn parts(platform: &dyn Platform, at: Bdf) -> Vec<String> {
    let mut parts = Vec::new();
    if let Err(p2pdma::Error::NoNamespace { present, .. }) = platform.namespace(at, 0).map(drop) {
        parts.extend(present.iter().map(|number| format!("ns{number}")));
    }
    if let Ok(topology) = platform.topology() {
        parts.extend(lent(&topology, at).iter().map(|memory| memory.kind.to_string()));
    }
    parts
}
