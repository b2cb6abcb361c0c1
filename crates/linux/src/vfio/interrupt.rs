//! Interrupts that the kernel counts in an eventfd (eventfd(2)).

use std::os::fd::OwnedFd;

use p2pdma_pci::InterruptLine;
use rustix::event::{EventfdFlags, eventfd};

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
}
