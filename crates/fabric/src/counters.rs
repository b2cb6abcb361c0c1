//! What was counted: bytes by link, direction and class, host memory, errors.

use crate::tlp::PayloadClass;

/// Traffic in one direction, or to and from one memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Packets: requests with and without data, and completions.
    pub tlps: u64,
    /// Bytes of payload, by class: data, control, interrupt.
    pub payload: [u64; 3],
}

impl Traffic {
    /// Payload bytes of one class.
    #[must_use]
    pub fn of(&self, class: PayloadClass) -> u64 {
        self.payload[class as usize]
    }

    /// Payload bytes of all classes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.payload.iter().sum()
    }

    /// What was added since `earlier` was taken.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut payload = self.payload;
        for (now, before) in payload.iter_mut().zip(earlier.payload) {
            *now -= before;
        }
        Self { tlps: self.tlps - earlier.tlps, payload }
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.tlps += other.tlps;
        for (sum, part) in self.payload.iter_mut().zip(other.payload) {
            *sum += part;
        }
    }
}

/// One link's traffic, seen from the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkCounters {
    /// The port at the link's upper end.
    pub port: String,
    /// Whether that is a root port.
    pub at_root: bool,
    /// Towards the root.
    pub up: Traffic,
    /// Away from the root.
    pub down: Traffic,
}

/// All traffic since the fabric was made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Counters {
    /// Every link, in the order of the machine's description.
    pub links: Vec<LinkCounters>,
    /// What devices read from host memory.
    pub host_reads: Traffic,
    /// What devices wrote to host memory.
    pub host_writes: Traffic,
    /// Peer-to-peer payload that was turned around at or below a switch, never reaching the root.
    pub peer_local: Traffic,
    /// Peer-to-peer payload that passed through a root complex.
    pub peer_through_root: Traffic,
    /// Peer-to-peer payload that a root complex lost and nobody knows of; of reads, the ones that came
    /// back instead.
    pub lost: Traffic,
}

impl Counters {
    /// User data that devices moved into and out of host memory.
    #[must_use]
    pub fn host_data(&self) -> u64 {
        self.host_reads.of(PayloadClass::Data) + self.host_writes.of(PayloadClass::Data)
    }

    /// User data that crossed the links of root ports, both directions: what devices moved, and what the processor
    /// copied out of devices' memory and into it.
    #[must_use]
    pub fn root_data(&self) -> u64 {
        let of =
            |link: &LinkCounters| link.up.of(PayloadClass::Data) + link.down.of(PayloadClass::Data);
        self.links.iter().filter(|link| link.at_root).map(of).sum()
    }

    /// What was added since `earlier` was taken from the same fabric.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let links = self.links.iter().enumerate().map(|(index, link)| {
            // A link that was plugged in since then started at nothing.
            let before = earlier.links.get(index);
            let (up, down) = before.map(|link| (link.up, link.down)).unwrap_or_default();
            LinkCounters { up: link.up.since(&up), down: link.down.since(&down), ..link.clone() }
        });
        Self {
            links: links.collect(),
            host_reads: self.host_reads.since(&earlier.host_reads),
            host_writes: self.host_writes.since(&earlier.host_writes),
            peer_local: self.peer_local.since(&earlier.peer_local),
            peer_through_root: self.peer_through_root.since(&earlier.peer_through_root),
            lost: self.lost.since(&earlier.lost),
        }
    }
}

/// Errors that a port or function noticed, whether or not its registers log them: what its uncorrectable AER
/// statuses tell apart, counted (PCIe 6.0 §7.8.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ErrorCounters {
    /// Requests that it did not support: nothing decodes the address, or memory decode is off.
    pub unsupported_requests: u64,
    /// Requests that it aborted as completer.
    pub completer_aborts: u64,
    /// Requests of its own to which no completion came.
    pub completion_timeouts: u64,
    /// Poisoned packets that it received.
    pub poisoned: u64,
    /// Packets that its access control services blocked.
    pub acs_violations: u64,
}
