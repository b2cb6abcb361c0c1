//! Links: how fast they are, and until when they are busy.

use p2pdma_pci::topology::LinkStatus;
use p2pdma_pci::{Duration, Instant};

use super::{Burst, Packets};

/// A link, and its speed in each direction.
#[derive(Debug, Clone)]
pub(crate) struct LinkState {
    pub(crate) up: bool,
    picos_per_kib: u64,
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
        Self { up, picos_per_kib }
    }

    /// How long `bytes` take to pass.
    fn passage(&self, bytes: u64) -> Duration {
        Duration::from_picos(bytes.saturating_mul(self.picos_per_kib) >> 10)
    }
}

/// Until when each direction of each link is busy.
#[derive(Debug, Default)]
pub(crate) struct Lanes(Vec<Instant>);

impl Lanes {
    /// All links are idle.
    pub(crate) fn of(links: &[LinkState]) -> Self {
        Self(vec![Instant::ZERO; links.len() * 2])
    }

    /// A link begins anew.
    pub(crate) fn clear(&mut self, link: usize) {
        for up in [false, true] {
            if let Some(busy) = self.0.get_mut(lane(link, up)) {
                *busy = Instant::ZERO;
            }
        }
    }
}

/// The place of a link's direction.
fn lane(link: usize, up: bool) -> usize {
    link * 2 + usize::from(up)
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
    /// Whether that is one packet.
    single: bool,
    stages: Vec<Stage>,
}

#[derive(Debug)]
struct Stage {
    hop: Hop,
    lane: usize,
    /// What the first packet takes to pass the link and what is behind it.
    first: Duration,
    /// What all packets take to pass the link.
    all: Duration,
}

impl Trip {
    pub(crate) fn new(burst: Burst, packets: Packets, hops: Vec<Hop>) -> Self {
        let (first, all) = (Duration::ZERO, Duration::ZERO);
        let stage = |hop: Hop| Stage { hop, lane: lane(hop.link, hop.up), first, all };
        // A transfer of nothing takes nothing.
        let stages = hops.into_iter().map(stage).collect();
        Self { burst, packets, len: 0, single: false, stages }
    }

    pub(crate) fn hops(&self) -> impl Iterator<Item = Hop> + '_ {
        self.stages.iter().map(|stage| stage.hop)
    }

    /// Sends the packets of a transfer of `len` bytes, not before `from`; returns when the last byte
    /// arrives.
    #[inline]
    pub(crate) fn send(&mut self, wires: &mut Wires<'_>, from: Instant, len: u64) -> Instant {
        if self.len != len {
            self.measure(wires.links, len);
        }
        if self.single {
            return self.send_single(wires, from);
        }
        let (mut head, mut tail) = (from, from);
        for stage in &self.stages {
            let Some(busy) = wires.lanes.0.get_mut(stage.lane) else { continue };
            let begin = head.max(*busy);
            let end = begin + stage.all;
            *busy = end;
            head = begin + stage.first;
            tail = tail.max(end) + stage.hop.then;
        }
        tail
    }

    /// The same for one packet, whose last byte arrives everywhere with the packet.
    #[inline(always)]
    fn send_single(&self, wires: &mut Wires<'_>, from: Instant) -> Instant {
        let mut head = from;
        for stage in &self.stages {
            let Some(busy) = wires.lanes.0.get_mut(stage.lane) else { continue };
            let begin = head.max(*busy);
            *busy = begin + stage.all;
            head = begin + stage.first;
        }
        head
    }

    #[inline(never)]
    fn measure(&mut self, links: &[LinkState], len: u64) {
        let (first, all) = self.packets.wire(self.burst, len);
        for stage in &mut self.stages {
            if let Some(link) = links.get(stage.hop.link) {
                stage.first = link.passage(first) + stage.hop.then;
                stage.all = link.passage(all);
            }
        }
        (self.len, self.single) = (len, first == all);
    }
}

/// What transfers pass: the links, and how busy they are.
#[derive(Debug)]
pub(crate) struct Wires<'a> {
    pub(crate) links: &'a [LinkState],
    pub(crate) lanes: &'a mut Lanes,
}

#[cfg(test)]
mod tests {
    use p2pdma_pci::topology::Link;
    use p2pdma_spec::pci::express::{LinkSpeed, LinkWidth, TlpSize};
    use proptest::prelude::*;

    use super::*;

    fn links() -> Vec<LinkState> {
        let speeds = [LinkSpeed::GEN3, LinkSpeed::GEN4, LinkSpeed::GEN5];
        let link = speeds.map(|speed| Link { speed, width: LinkWidth::X4 });
        link.map(|link| LinkState::new(LinkStatus { max: link, current: Some(link) })).into()
    }

    proptest! {
        /// One packet takes the shorter way of the reckoning to the same end.
        #[test]
        fn one_packet_is_a_burst_of_one(sends in proptest::collection::vec((0_u64..5_000_000, 1_u64..300), 1..40)) {
            let links = links();
            let then = Duration::from_nanos(115);
            let hops: Vec<_> = (0..3).map(|link| Hop { link, up: link > 0, then }).collect();
            let packets = Packets::new(TlpSize::B256, TlpSize::B512);
            let trip = || Trip::new(Burst::Writes, packets, hops.clone());
            let (mut quick, mut plain) = (trip(), trip());
            let (mut lanes, mut others) = (Lanes::of(&links), Lanes::of(&links));
            for (from, len) in sends {
                let from = Instant::ZERO + Duration::from_picos(from);
                let done = quick.send(&mut Wires { links: &links, lanes: &mut lanes }, from, len);
                prop_assert_eq!(quick.single, len <= 256);
                plain.measure(&links, len);
                plain.single = false;
                let wires = &mut Wires { links: &links, lanes: &mut others };
                prop_assert_eq!(plain.send(wires, from, len), done);
                prop_assert_eq!(&lanes.0, &others.0);
            }
        }
    }
}
