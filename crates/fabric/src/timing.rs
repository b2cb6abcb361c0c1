//! What time things take, when time is modelled.
//!
//! Loosely timed, as in TLM-2.0: data moves at once, and the transfer's answer is the instant at which
//! it would be complete. Each link direction and each host memory channel is occupied for as long as
//! the bytes take, so that contention shows.

use p2pdma_pci::topology::LinkStatus;
use p2pdma_pci::{Duration, Instant};
use p2pdma_spec::pci::express::TlpSize;

/// Whether transfers take time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Timing {
    /// Nothing takes any time.
    #[default]
    Ideal,
    /// Links, hops and host memory take time as given.
    Modelled(TimingModel),
}

/// The constants of the timing model. The defaults are those of a recent server.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimingModel {
    /// Largest payload of a packet.
    pub max_payload: TlpSize,
    /// Largest read request.
    pub max_read_request: TlpSize,
    /// From one port of a switch to another. About 115 ns were measured on a Gen5 switch.
    pub switch_hop: Duration,
    /// Through a root port and the root complex, one way.
    pub root_hop: Duration,
    /// From a device's core to its link, and back.
    pub endpoint: Duration,
    /// A read or write of host memory, without the channel's occupancy.
    pub host_memory: Duration,
    /// How many channels host memory has, interleaved every 4 KiB.
    pub host_channels: u32,
    /// Bytes per second of one channel, both directions together.
    pub host_channel_rate: u64,
}

impl Timing {
    /// The constants; without a timing model, those that packets are counted by.
    pub(crate) fn model(&self) -> TimingModel {
        match self {
            Self::Ideal => TimingModel::default(),
            Self::Modelled(model) => *model,
        }
    }
}

impl Default for TimingModel {
    fn default() -> Self {
        Self {
            max_payload: TlpSize::B256,
            max_read_request: TlpSize::B512,
            switch_hop: Duration::from_nanos(115),
            root_hop: Duration::from_nanos(150),
            endpoint: Duration::from_nanos(50),
            host_memory: Duration::from_nanos(80),
            host_channels: 1,
            // DDR4-3200: 64 bits at 3200 MT/s.
            host_channel_rate: 25_600_000_000,
        }
    }
}

/// Bytes on the wire beside the payload of a memory write: 2 framing + 2 sequence number + 16 header
/// with a 64-bit address + 4 LCRC, rounded as pcie-bench does (SIGCOMM 2018, §3).
const WRITE_OVERHEAD: u64 = 24;
/// The same for a completion, whose header has 12 bytes.
const COMPLETION_OVERHEAD: u64 = 20;
/// A read request carries nothing else.
const READ_REQUEST: u64 = 24;

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

    /// Sends `bytes`, of which the first `first` make a packet, not before `from`: returns when the
    /// first packet and when the last byte has passed.
    fn send(&mut self, upward: bool, from: Instant, first: u64, bytes: u64) -> (Instant, Instant) {
        let begin = from.max(self.busy[usize::from(upward)]);
        let end = begin + self.passage(bytes);
        self.busy[usize::from(upward)] = end;
        (begin + self.passage(first), end)
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

/// How transfers are cut into packets: powers of two, kept as shifts because every transfer divides by
/// them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Packets {
    payload_shift: u32,
    request_shift: u32,
}

impl Packets {
    pub(crate) fn new(model: &TimingModel) -> Self {
        // A reserved code means the smallest size, which every function supports.
        let shift = |size: TlpSize| size.bytes().unwrap_or(128).trailing_zeros();
        Self {
            payload_shift: shift(model.max_payload),
            request_shift: shift(model.max_read_request),
        }
    }

    fn payload(self) -> u64 {
        1 << self.payload_shift
    }

    /// How many packets carry `len` bytes.
    #[inline]
    pub(crate) fn payloads(self, len: u64) -> u64 {
        pieces(len, self.payload_shift)
    }

    /// How many requests ask for `len` bytes.
    #[inline]
    pub(crate) fn read_requests(self, len: u64) -> u64 {
        pieces(len, self.request_shift)
    }
}

/// How many pieces of `1 << shift` bytes there are in `len` bytes, the last one counted in full.
#[inline]
fn pieces(len: u64, shift: u32) -> u64 {
    len.saturating_add((1 << shift) - 1) >> shift
}

/// What takes time on a packet's way.
pub(crate) struct Way<'a> {
    pub(crate) links: &'a mut [LinkState],
    pub(crate) channels: &'a mut HostChannels,
    pub(crate) packets: Packets,
}

impl Way<'_> {
    /// A posted write of `len` bytes along `out`, into host memory at `memory` if given: when its last
    /// byte is there.
    pub(crate) fn write(
        &mut self,
        out: &[Hop],
        from: Instant,
        len: u64,
        memory: Option<u64>,
    ) -> Instant {
        let packets = self.packets.payloads(len);
        let first = len.min(self.packets.payload()) + WRITE_OVERHEAD;
        let there = self.send(out, from, first, len + packets * WRITE_OVERHEAD);
        memory.map_or(there, |address| self.channels.access(address, len, from, there))
    }

    /// A read of `len` bytes: its requests along `out`, its completions along `back`: when the last
    /// byte is with the requester.
    pub(crate) fn read(
        &mut self,
        out: &[Hop],
        back: &[Hop],
        from: Instant,
        len: u64,
        memory: Option<u64>,
    ) -> Instant {
        let requests = self.packets.read_requests(len);
        let there = self.send(out, from, READ_REQUEST, requests * READ_REQUEST);
        let ready = memory.map_or(there, |address| self.channels.access(address, len, from, there));
        let completions = self.packets.payloads(len);
        let first = len.min(self.packets.payload()) + COMPLETION_OVERHEAD;
        self.send(back, ready, first, len + completions * COMPLETION_OVERHEAD)
    }

    /// Sends a train of packets along a path; returns when the last byte arrives.
    fn send(&mut self, path: &[Hop], from: Instant, first: u64, bytes: u64) -> Instant {
        let (mut head, mut tail) = (from, from);
        for hop in path {
            let Some(link) = self.links.get_mut(hop.link) else {
                continue;
            };
            let (first_passed, last_passed) = link.send(hop.up, head, first, bytes);
            head = first_passed + hop.then;
            tail = tail.max(last_passed) + hop.then;
        }
        tail
    }
}

/// Host memory's channels, each with its own occupancy.
#[derive(Debug, Clone)]
pub(crate) struct HostChannels {
    picos_per_kib: u64,
    latency: Duration,
    busy: Vec<Instant>,
}

/// Channels take turns every so many bytes.
const INTERLEAVE: u64 = 4096;

impl HostChannels {
    pub(crate) fn new(model: &TimingModel) -> Self {
        let channels = usize::try_from(model.host_channels.max(1)).unwrap_or(1);
        let picos = 1024 * 1_000_000_000_000_u128 / u128::from(model.host_channel_rate.max(1));
        Self {
            picos_per_kib: u64::try_from(picos).unwrap_or(u64::MAX),
            latency: model.host_memory,
            busy: vec![Instant::ZERO; channels],
        }
    }

    /// Reads or writes `bytes` at `address`, asked for `now` but not before `from`, when they arrive;
    /// returns when it is done.
    ///
    /// The work is on the channel's account from now on: until `from` it is free for others, who would
    /// have to wait for nothing if it stood idle until then.
    pub(crate) fn access(
        &mut self,
        address: u64,
        bytes: u64,
        now: Instant,
        from: Instant,
    ) -> Instant {
        let channels = self.busy.len() as u64;
        let blocks = (address % INTERLEAVE + bytes).div_ceil(INTERLEAVE);
        let touched = blocks.min(channels).max(1);
        let share = bytes.div_ceil(touched);
        let passage = Duration::from_picos(share.saturating_mul(self.picos_per_kib) >> 10);
        let mut done = from;
        for turn in 0..touched {
            let channel = (address / INTERLEAVE).wrapping_add(turn) % channels;
            if let Some(busy) = usize::try_from(channel).ok().and_then(|at| self.busy.get_mut(at)) {
                done = done.max(from.max(*busy) + passage);
                *busy = now.max(*busy) + passage;
            }
        }
        done + self.latency
    }
}
