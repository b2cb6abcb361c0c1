//! What transfers cost the processor.

use std::mem::MaybeUninit;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// The processor time of this process so far, the kernel's work for it included (clock_gettime(2),
/// `CLOCK_PROCESS_CPUTIME_ID`). Interrupts are not among it unless the kernel accounts them to whom they interrupt.
#[must_use]
pub fn processor_time() -> Duration {
    // It never goes back, and is never negative.
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// How often this process's threads have given way to others so far, or were made to (getrusage(2)): context
/// switches. Those of threads that have ended count, too.
#[must_use]
#[expect(unsafe_code, reason = "the C library fills a structure of ours")]
pub fn context_switches() -> u64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to a whole `rusage` of ours, which the call writes and does not keep.
    let status = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: it is made of integers, all of which were zero before the call, whatever that wrote.
    let usage = unsafe { usage.assume_init() };
    let count = |value: libc::c_long| u64::try_from(value).unwrap_or(0);
    match status {
        0 => count(usage.ru_nvcsw).saturating_add(count(usage.ru_nivcsw)),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_sleeps_gives_way() {
        let before = context_switches();
        std::thread::spawn(|| std::thread::sleep(Duration::from_millis(5))).join().unwrap();
        assert!(context_switches() > before);
    }

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
