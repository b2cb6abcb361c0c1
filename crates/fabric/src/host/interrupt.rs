//! The interrupt controller: where interrupt messages arrive.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{InterruptLine, Iova};

use crate::iommu::{FaultReason, FaultRecord};
use crate::msix::Message;
use crate::state::State;
use crate::tlp::Access;

/// Counts messages by their data value, each of which was given to one vector of one function.
#[derive(Debug, Default)]
pub(crate) struct InterruptController {
    /// Whose each line is, and its count.
    lines: Vec<(usize, Arc<AtomicU64>)>,
    /// Messages whose data value belongs to nobody.
    pub(crate) spurious: u64,
}

/// The addresses at which a device's write is an interrupt (Intel SDM vol. 3 §11.11.1).
pub(crate) const INTERRUPTS: std::ops::Range<u64> = 0xfee0_0000..0xfef0_0000;
/// The one that messages are sent to: local APIC 0.
pub(crate) const MESSAGE_ADDRESS: u64 = INTERRUPTS.start;

impl InterruptController {
    /// A new line of a function, and the data value of its messages.
    pub(crate) fn open(&mut self, function: usize) -> (u32, Line) {
        let count = Arc::new(AtomicU64::new(0));
        self.lines.push((function, Arc::clone(&count)));
        (u32::try_from(self.lines.len() - 1).unwrap_or(u32::MAX), Line(count))
    }
}

impl State {
    /// A message has arrived. With an IOMMU, interrupts are remapped: each function reaches its own lines
    /// only (Intel VT-d 4.1 §5.1.4, source-id validation).
    pub(crate) fn interrupt(&mut self, message: Message, from: Option<usize>) {
        let lines = &self.interrupts.lines;
        let line = usize::try_from(message.data).ok().and_then(|line| lines.get(line));
        let remapped = self.machine.iommu_mode != IommuMode::Off;
        match (line, from) {
            (Some((owner, _)), Some(sender)) if remapped && *owner != sender => {
                let record = FaultRecord {
                    requester: self.bdf(sender),
                    iova: Iova(message.address),
                    access: Access::Write,
                    reason: FaultReason::ForeignInterrupt,
                };
                self.fault_log.push(record);
            }
            // A statistic between threads; the data it announces is ordered by the fabric's lock.
            (Some((_, count)), _) => {
                count.fetch_add(1, Relaxed);
            }
            (None, _) => self.interrupts.spurious += 1,
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
