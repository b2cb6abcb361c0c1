//! Mounted volumes: whether a file on one can be read into peer memory, and into whose.

use std::sync::Arc;

use p2pdma_linux::Survey;
use p2pdma_linux::block::{Mount, Passage};
use p2pdma_pci::Bdf;
use p2pdma_pci::topology::{Cause, Lists, MapType, MemoryKind, NodeId, Pair, ReasonCode};

/// A mounted volume, judged.
#[derive(Debug, Clone, PartialEq)]
pub struct Volume {
    /// Where it is mounted.
    pub point: String,
    /// Its file system.
    pub file_system: Arc<str>,
    /// The block device.
    pub device: Arc<str>,
    /// The functions at the bottom: each has to reach the memory.
    pub functions: Vec<Bdf>,
    /// What file system and block devices do.
    pub passage: Passage,
    /// The best memory for it; `None` if no function lends any to the kernel, or there is none below.
    pub best: Option<Best>,
}

/// The memory that is nearest to a volume, and the path to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Best {
    /// Who lends it.
    pub provider: Bdf,
    /// The worst of the answers about the volume's functions.
    pub pair: Pair,
}

impl Volume {
    /// Whether data can go peer to peer; else the code that says why not, or what is unknown.
    ///
    /// # Errors
    /// The code; [`ReasonCode::UnknownNeedRoot`] if it is not known.
    pub fn answer(&self) -> Result<Best, ReasonCode> {
        match (self.passage, self.best) {
            (Passage::Stops(code), _) => Err(code),
            (Passage::Unknown(_), _) => Err(ReasonCode::UnknownNeedRoot),
            (Passage::Passes, None) if self.functions.is_empty() => Err(ReasonCode::NotNvmePci),
            (Passage::Passes, None) => Err(ReasonCode::NoPeerMemory),
            (Passage::Passes, Some(best)) => best.pair.code.map_or(Ok(best), Err),
        }
    }
}

/// Judges all mounted volumes that are on block devices.
///
/// # Errors
/// Why they are not known.
pub fn volumes(survey: &Survey) -> Result<Vec<Volume>, Cause> {
    let mounts = survey.blocks.mounts.as_ref();
    let mounts = mounts.value().ok_or_else(|| mounts.cause().unwrap_or(Cause::Unreadable))?;
    Ok(mounts.iter().filter_map(|mount| volume(survey, mount)).collect())
}

fn volume(survey: &Survey, mount: &Mount) -> Option<Volume> {
    let stack = survey.blocks.stack(&mount.device, survey.system.kernel)?;
    let best = best(survey, &stack.functions);
    Some(Volume {
        point: mount.point.clone(),
        file_system: Arc::clone(&mount.file_system),
        device: Arc::clone(&mount.device),
        passage: stack.passage.and(survey.blocks.judge_mount(mount)),
        functions: stack.functions,
        best,
    })
}

/// The memory to which the worst of the functions' paths is best.
fn best(survey: &Survey, functions: &[Bdf]) -> Option<Best> {
    let topology = &survey.topology;
    let clients: Vec<NodeId> = functions.iter().filter_map(|bdf| topology.find(*bdf)).collect();
    let lends = |id: &NodeId| {
        topology.node(*id).memory.iter().any(|memory| memory.kind == MemoryKind::P2pmem)
    };
    let candidates = topology.ids().filter(lends).filter_map(|provider| {
        let pairs = clients.iter().map(|client| topology.pair(*client, provider, Lists::Kernel));
        let pair = pairs.max_by_key(rank)?;
        Some(Best { provider: topology.node(provider).bdf, pair })
    });
    candidates.min_by_key(|best| rank(&best.pair))
}

/// Lower is better.
fn rank(pair: &Pair) -> (u8, u16) {
    let kind = match pair.map_type {
        _ if pair.code == Some(ReasonCode::DataLost) => 4,
        Some(MapType::BusAddress) => 0,
        Some(MapType::ThroughHostBridge) => 1,
        None => 2,
        Some(MapType::NotSupported) => 3,
    };
    (kind, pair.distance)
}
