//! The interrupt controller: where interrupt messages arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use p2pdma_pci::InterruptLine;

/// Counts messages by their data value, each of which was given to one vector of one function.
#[derive(Debug, Default)]
pub(crate) struct InterruptController {
    lines: Vec<Arc<AtomicU64>>,
    /// Messages whose data value belongs to nobody.
    pub(crate) spurious: u64,
}

/// The addresses at which a device's write is an interrupt (Intel SDM vol. 3 §11.11.1).
pub(crate) const INTERRUPTS: std::ops::Range<u64> = 0xfee0_0000..0xfef0_0000;
/// The one that messages are sent to: local APIC 0.
pub(crate) const MESSAGE_ADDRESS: u64 = INTERRUPTS.start;

impl InterruptController {
    /// A new line, and the data value of its messages.
    pub(crate) fn open(&mut self) -> (u32, Line) {
        let count = Arc::new(AtomicU64::new(0));
        self.lines.push(Arc::clone(&count));
        (u32::try_from(self.lines.len() - 1).unwrap_or(u32::MAX), Line(count))
    }

    pub(crate) fn receive(&mut self, data: u32) {
        match usize::try_from(data).ok().and_then(|line| self.lines.get(line)) {
            // A statistic between threads; the data it announces is ordered by the fabric's lock.
            Some(line) => {
                line.fetch_add(1, Relaxed);
            }
            None => self.spurious += 1,
        }
    }
}

/// One vector's count.
#[derive(Debug)]
pub(crate) struct Line(Arc<AtomicU64>);

impl InterruptLine for Line {
    fn take(&self) -> u64 {
        self.0.swap(0, Relaxed)
    }
}
