//! The processor's own accesses to devices: memory-mapped registers and memory.

use p2pdma_pci::{Duration, Instant};

use crate::route::{Request, Target};
use crate::state::State;
use crate::tlp::{Access, Attributes, PayloadClass};

/// An answer is waited for through at most so many events, so that devices that keep each other busy
/// without end cannot hold the processor for ever.
const PATIENCE: u32 = 1 << 20;

impl State {
    /// A posted write.
    pub(crate) fn host_write(&mut self, at: u64, data: &[u8]) {
        let (mut rest, mut at) = (data, at);
        while !rest.is_empty() {
            let request = Request::new(at, Access::Write, &Attributes::CONTROL);
            let Ok(leg) = self.travel(None, &request, rest.len(), PayloadClass::Control) else {
                // Nobody takes it. The processor's own master aborts are not logged by any port.
                return;
            };
            let (piece, others) = rest.split_at(leg.len);
            self.deposit(leg, piece, true);
            rest = others;
            at = at.saturating_add(leg.len as u64);
        }
    }

    /// A read. It pushes the processor's earlier writes to the same function before it (PCIe 6.0
    /// §2.4.1), and the processor stalls until the answer is there.
    pub(crate) fn host_read(&mut self, at: u64, data: &mut [u8]) {
        let (mut rest, mut at) = (data, at);
        while !rest.is_empty() {
            let request = Request::new(at, Access::Read, &Attributes::CONTROL);
            let Ok(leg) = self.travel(None, &request, rest.len(), PayloadClass::Control) else {
                rest.fill(0xff);
                return;
            };
            if let Target::Registers { function, .. } = leg.target {
                self.flush_posted(function);
            }
            let (piece, others) = rest.split_at_mut(leg.len);
            if self.fetch(leg, piece).is_err() {
                piece.fill(0xff);
            }
            self.wait_until(leg.done);
            rest = others;
            at = at.saturating_add(leg.len as u64);
        }
    }

    /// Lets events happen until no write of the processor to `function` is on its way.
    fn flush_posted(&mut self, function: usize) {
        for _ in 0..PATIENCE {
            if self.machine.tree.functions[function].posted == 0 || !self.step() {
                return;
            }
        }
    }

    /// Lets everything happen that is due before `deadline`, and moves time there.
    pub(crate) fn wait_until(&mut self, deadline: Instant) {
        for _ in 0..PATIENCE {
            match self.events.next_at() {
                Some(at) if at < deadline => self.step(),
                _ => break,
            };
        }
        self.events.advance(deadline);
    }

    pub(crate) fn wait(&mut self, span: Duration) {
        self.wait_until(self.now() + span);
    }
}
