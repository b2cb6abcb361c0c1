//! Host memory's channels.

use p2pdma_pci::{Duration, Instant};

use super::TimingModel;

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
    #[inline(always)]
    pub(crate) fn access(
        &mut self,
        address: u64,
        bytes: u64,
        now: Instant,
        from: Instant,
    ) -> Instant {
        // The usual case, without a division.
        if let [busy] = self.busy.as_mut_slice() {
            let passage = passage(bytes, self.picos_per_kib);
            let done = from.max(*busy) + passage;
            *busy = now.max(*busy) + passage;
            return done + self.latency;
        }
        self.access_several(address, bytes, now, from)
    }

    fn access_several(&mut self, address: u64, bytes: u64, now: Instant, from: Instant) -> Instant {
        let channels = self.busy.len() as u64;
        let blocks = (address % INTERLEAVE + bytes).div_ceil(INTERLEAVE);
        let touched = blocks.min(channels).max(1);
        let share = if touched == 1 { bytes } else { bytes.div_ceil(touched) };
        let passage = passage(share, self.picos_per_kib);
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

fn passage(bytes: u64, picos_per_kib: u64) -> Duration {
    Duration::from_picos(bytes.saturating_mul(picos_per_kib) >> 10)
}
