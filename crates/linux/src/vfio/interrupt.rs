//! Interrupts that the kernel counts in an eventfd (eventfd(2)).

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use p2pdma_pci::{Duration, InterruptLine};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// A vector's count.
pub(super) struct Line(OwnedFd);

impl Line {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(super) fn eventfd(&self) -> &OwnedFd {
        &self.0
    }
}

impl InterruptLine for Line {
    fn take(&self) -> u64 {
        let mut count = [0; 8];
        match rustix::io::read(&self.0, &mut count) {
            Ok(8) => u64::from_ne_bytes(count),
            // None came.
            _ => 0,
        }
    }

    /// The count that is not read yet keeps the file readable (eventfd(2)), so that none is slept through.
    fn sleep(&self, limit: Duration) -> bool {
        let nanos = limit.picos().div_ceil(1000);
        let (Ok(tv_sec), Ok(tv_nsec)) =
            (i64::try_from(nanos / 1_000_000_000), i64::try_from(nanos % 1_000_000_000))
        else {
            return false;
        };
        let mut files = [PollFd::new(&self.0, PollFlags::IN)];
        // Woken by a signal, the caller looks once more than it had to.
        matches!(poll(&mut files, Some(&Timespec { tv_sec, tv_nsec })), Ok(_) | Err(Errno::INTR))
    }
}

/// Something that happens to a device, and is not undone.
pub(super) struct Notice {
    line: Line,
    came: AtomicBool,
}

impl Notice {
    pub(super) fn new(line: Line) -> Self {
        Self { line, came: AtomicBool::new(false) }
    }

    /// Whether it has happened.
    pub(super) fn came(&self) -> bool {
        // Counted once: what was taken is remembered.
        if self.line.take() > 0 {
            self.came.store(true, Ordering::Relaxed);
        }
        self.came.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interrupts_are_counted_once() {
        let line = Line::new().unwrap();
        assert_eq!(line.take(), 0);
        for _ in 0..3 {
            rustix::io::write(line.eventfd(), &1_u64.to_ne_bytes()).unwrap();
        }
        assert_eq!((line.take(), line.take()), (3, 0));
    }

    /// Whoever looks first may not be whom it concerns.
    #[test]
    fn what_happened_to_a_device_is_told_again() {
        let notice = Notice::new(Line::new().unwrap());
        assert!(!notice.came());
        rustix::io::write(notice.line.eventfd(), &1_u64.to_ne_bytes()).unwrap();
        assert!(notice.came() && notice.came());
    }

    /// A sleeper is woken by every interrupt, whether it came before the sleep, in it, or between the look
    /// and the sleep; and by none that was taken.
    #[test]
    fn no_interrupt_is_slept_through() {
        const COUNT: u64 = 2000;
        let line = std::sync::Arc::new(Line::new().unwrap());
        let long = Duration::from_millis(60_000);
        let begin = std::time::Instant::now();
        let device = std::sync::Arc::clone(&line);
        let done = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let taken = std::sync::Arc::clone(&done);
        let device = std::thread::spawn(move || {
            for sent in 1..=COUNT {
                rustix::io::write(device.eventfd(), &1_u64.to_ne_bytes()).unwrap();
                // Now and then the sleeper has to be asleep, and now and then it must not be.
                while sent % 3 == 0 && taken.load(std::sync::atomic::Ordering::Acquire) < sent {
                    std::thread::yield_now();
                }
            }
        });
        let (mut seen, mut sleeps) = (0, 0_u64);
        while seen < COUNT {
            assert!(line.sleep(long));
            sleeps += 1;
            seen += line.take();
            done.store(seen, std::sync::atomic::Ordering::Release);
        }
        device.join().unwrap();
        println!("{seen} interrupts in {sleeps} sleeps");
        // None was ended by its limit.
        assert!(begin.elapsed() < std::time::Duration::from_secs(60) && seen == COUNT);
        let begin = std::time::Instant::now();
        assert!(line.sleep(Duration::from_millis(5)));
        assert!(begin.elapsed() >= std::time::Duration::from_millis(5) && line.take() == 0);
    }
}
