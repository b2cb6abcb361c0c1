//! What happened, packet burst by packet burst: a record, and a hash over all of them.

use std::collections::VecDeque;

use p2pdma_pci::{Bdf, Instant, Iova};

use crate::tlp::{Access, PayloadClass};

/// One burst of packets with consecutive addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceRecord {
    /// When it was sent.
    pub at: Instant,
    /// Who sent it; `None` is the host.
    pub requester: Option<Bdf>,
    /// Read or write.
    pub access: Access,
    /// The first address.
    pub iova: Iova,
    /// How many bytes.
    pub len: u64,
    /// What the payload was for.
    pub class: PayloadClass,
    /// Where it went.
    pub route: TracedRoute,
}

/// Where a burst went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TracedRoute {
    /// To host memory.
    Host,
    /// To another function, turned around at or below a switch.
    PeerLocal(Bdf),
    /// To another function through a root complex.
    PeerThroughRoot(Bdf),
    /// Down from the host to a function.
    Downstream(Bdf),
    /// To the interrupt controller.
    Interrupt,
    /// Swallowed by a root complex.
    Lost,
    /// Blocked or unsupported.
    Refused,
}

/// Records of the last packet bursts, and a hash and a count of all.
///
/// Two runs with the same hash made the same traffic at the same times.
#[derive(Debug, Clone, Default)]
pub struct Trace {
    kept: usize,
    records: VecDeque<TraceRecord>,
    hash: u64,
    count: u64,
}

impl Trace {
    /// A trace that keeps the last `kept` records.
    #[must_use]
    pub fn keeping(kept: usize) -> Self {
        Self { kept, ..Self::default() }
    }

    /// The last records, oldest first.
    pub fn records(&self) -> impl Iterator<Item = &TraceRecord> {
        self.records.iter()
    }

    /// How many bursts there were in all.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// A hash over all bursts, in order.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn push(&mut self, record: TraceRecord) {
        self.hash = mix(self.hash, &record);
        self.count += 1;
        if self.kept == 0 {
            return;
        }
        if self.records.len() == self.kept {
            self.records.pop_front();
        }
        self.records.push_back(record);
    }
}

/// FNV-1a over the record's fields: stable across runs, builds and versions of Rust, which the
/// standard library's hasher does not promise.
fn mix(seed: u64, record: &TraceRecord) -> u64 {
    let peer = |bdf: Bdf| u64::from(bdf.domain()) << 16 | u64::from(bdf.requester());
    let (kind, to) = match record.route {
        TracedRoute::Host => (0, 0),
        TracedRoute::PeerLocal(bdf) => (1, peer(bdf)),
        TracedRoute::PeerThroughRoot(bdf) => (2, peer(bdf)),
        TracedRoute::Downstream(bdf) => (3, peer(bdf)),
        TracedRoute::Interrupt => (4, 0),
        TracedRoute::Lost => (5, 0),
        TracedRoute::Refused => (6, 0),
    };
    let words = [
        record.at.picos(),
        record.requester.map_or(u64::MAX, peer),
        record.access as u64,
        record.iova.0,
        record.len,
        record.class as u64,
        kind,
        to,
    ];
    let start = if seed == 0 { 0xcbf2_9ce4_8422_2325 } else { seed };
    words
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
