//! What a transfer did: bytes by path, counted; time; latencies.

use hdrhistogram::Histogram;
use p2pdma_pci::Duration;

use crate::Traffic;
use crate::transfer::Plan;

/// What was moved, which way, and how fast.
#[derive(Debug, Clone)]
pub struct Report {
    /// The plan that was carried out.
    pub plan: Plan,
    /// Bytes moved from end to end.
    pub bytes: u64,
    /// What the platform counted meanwhile; `None` where nothing counts.
    pub traffic: Option<Traffic>,
    /// Time by the platform's clock: modelled on the fabric, where it is zero without a timing model.
    pub elapsed: Duration,
    /// Time by this machine's clock. On the fabric it is what the simulation costs.
    pub wall: Duration,
    /// Operations of both ends.
    pub operations: u64,
    /// The size of a block in bytes.
    pub block: u64,
    /// The most operations that each end could have under way.
    pub depth: u32,
    /// How long blocks took from the start of their first operation to the end of their last, in
    /// picoseconds.
    pub latency: Histogram<u64>,
}

impl Report {
    /// Adds what another transfer has moved, though not its time: two may have run at once.
    pub fn join(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.operations += other.operations;
        if let (Some(sum), Some(traffic)) = (&mut self.traffic, other.traffic) {
            sum.host_memory += traffic.host_memory;
            sum.root_ports += traffic.root_ports;
            sum.peer_local += traffic.peer_local;
            sum.peer_through_root += traffic.peer_through_root;
        }
        // Both are of one make, so that every value of one fits the other.
        let added = self.latency.add(&other.latency);
        debug_assert!(added.is_ok(), "histograms of one make");
    }

    /// Bytes per second by the platform's clock; `None` if no time passed.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for display; 53 bits suffice")]
    pub fn rate(&self) -> Option<f64> {
        let seconds = self.elapsed.as_secs_f64();
        (seconds > 0.0).then(|| self.bytes as f64 / seconds)
    }

    /// The latency below which this share of the blocks stayed, from 0 to 1.
    #[must_use]
    pub fn latency_at(&self, share: f64) -> Duration {
        Duration::from_picos(self.latency.value_at_quantile(share))
    }
}
