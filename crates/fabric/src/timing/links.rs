//! Links: how fast they are, and until when they are busy.

use p2pdma_pci::topology::LinkStatus;
use p2pdma_pci::{Duration, Instant};

use super::{Burst, Packets};

/// A link: speed in each direction, and until when each direction is busy.
#[derive(Debug, Clone)]
pub(crate) struct LinkState {
    pub(crate) up: bool,
    picos_per_kib: u64,
    busy: [Instant; 2],
}

/// The share of a link's raw rate that is left beside flow control, acknowledgements and skip ordered
/// sets: 5 to 8 % go there (pcie-bench).
const EFFICIENCY_PERCENT: u64 = 94;

impl LinkState {
    pub(crate) fn new(link: LinkStatus) -> Self {
        let up = link.current.is_some();
        let link = link.current.unwrap_or(link.max);
        let raw = u128::from(link.speed.bytes_per_second()) * u128::from(link.width.lanes());
        let usable = raw * u128::from(EFFICIENCY_PERCENT) / 100;
        let picos = 1024 * 1_000_000_000_000_u128 / usable.max(1);
        let picos_per_kib = u64::try_from(picos).unwrap_or(u64::MAX);
        Self { up, picos_per_kib, busy: [Instant::ZERO; 2] }
    }

    /// How long `bytes` take to pass.
    fn passage(&self, bytes: u64) -> Duration {
        Duration::from_picos(bytes.saturating_mul(self.picos_per_kib) >> 10)
    }
}

/// One link of a path, and the direction in which it is passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hop {
    pub(crate) link: usize,
    pub(crate) up: bool,
    /// What the packet meets behind the link.
    pub(crate) then: Duration,
}

/// The links that packets pass one after another.
///
/// Most transfers on a way are as long as the one before, so what their packets take is kept.
#[derive(Debug)]
pub(crate) struct Trip {
    burst: Burst,
    packets: Packets,
    /// The length of the transfers whose packets take what the stages say.
    len: u64,
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    hop: Hop,
    /// What the first packet takes to pass the link.
    first: Duration,
    /// What all packets take.
    all: Duration,
}

impl Trip {
    pub(crate) fn new(burst: Burst, packets: Packets, hops: Vec<Hop>) -> Self {
        let stage = |hop| Stage { hop, first: Duration::ZERO, all: Duration::ZERO };
        // A transfer of nothing takes nothing.
        Self { burst, packets, len: 0, stages: hops.into_iter().map(stage).collect() }
    }

    pub(crate) fn hops(&self) -> impl Iterator<Item = Hop> + '_ {
        self.stages.iter().map(|stage| stage.hop)
    }

    /// Sends the packets of a transfer of `len` bytes, not before `from`; returns when the last byte
    /// arrives.
    #[inline]
    pub(crate) fn send(&mut self, links: &mut [LinkState], from: Instant, len: u64) -> Instant {
        if self.len != len {
            self.measure(links, len);
        }
        let (mut head, mut tail) = (from, from);
        for stage in &self.stages {
            let Some(link) = links.get_mut(stage.hop.link) else { continue };
            let busy = &mut link.busy[usize::from(stage.hop.up)];
            let begin = head.max(*busy);
            let end = begin + stage.all;
            *busy = end;
            head = begin + stage.first + stage.hop.then;
            tail = tail.max(end) + stage.hop.then;
        }
        tail
    }

    #[inline(never)]
    fn measure(&mut self, links: &[LinkState], len: u64) {
        let (first, all) = self.packets.wire(self.burst, len);
        for stage in &mut self.stages {
            if let Some(link) = links.get(stage.hop.link) {
                (stage.first, stage.all) = (link.passage(first), link.passage(all));
            }
        }
        self.len = len;
    }
}
