//! What transfers cost the processor.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor time of this process so far, the kernel's work for it included (clock_gettime(2),
/// `CLOCK_PROCESS_CPUTIME_ID`). Interrupts are not among it unless the kernel accounts them to whom they interrupt.
#[must_use]
pub fn processor_time() -> Duration {
    // It never goes back, and is never negative.
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_time() {
        let before = processor_time();
        let mut turns = 0_u64;
        while processor_time() == before {
            turns += 1;
        }
        assert!(processor_time() > before, "{turns} turns");
    }
}
