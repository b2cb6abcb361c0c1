//! The time of the machine that this runs on.

use p2pdma_pci::{Clock, Duration, Instant};

/// A clock that counts real time since it was made. Waiting by it lets others run: whoever else is to run on this
/// processor may be what is waited for.
#[derive(Debug, Clone, Copy)]
pub struct HostClock {
    began: std::time::Instant,
}

impl HostClock {
    /// A clock at [`Instant::ZERO`].
    #[must_use]
    #[expect(clippy::new_without_default, reason = "two of them are not equal")]
    pub fn new() -> Self {
        Self { began: std::time::Instant::now() }
    }
}

impl Clock for HostClock {
    fn now(&self) -> Instant {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Instant::ZERO + Duration::from_nanos(nanos)
    }

    fn relax(&self) {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn real_time_passes() {
        let clock = HostClock::new();
        let began = clock.now();
        std::thread::sleep(std::time::Duration::from_millis(2));
        clock.relax();
        let passed = clock.now().since(began);
        assert!(passed >= Duration::from_millis(2), "{passed}");
    }
}
