//! The time by which a driver of our own waits.

use p2pdma_pci::{Clock, Duration, Instant};

/// Real time since it was made. Waiting by it spins, and lets others run.
#[derive(Debug, Clone, Copy)]
pub(super) struct RealClock {
    began: std::time::Instant,
}

impl RealClock {
    pub(super) fn new() -> Self {
        Self { began: std::time::Instant::now() }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Instant {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant::ZERO + Duration::from_nanos(nanos)
    }

    fn relax(&self) {
        // A poll that found nothing: whoever else is to run on this processor may be what is waited for.
        std::thread::yield_now();
    }
}
