//! The processor's own accesses to devices: memory-mapped registers and memory.

use p2pdma_pci::{Duration, Instant};

use crate::route::Requester;
use crate::state::State;
use crate::tlp::Attributes;

/// An answer is waited for through at most so many events, so that devices that keep each other busy
/// without end cannot hold the processor for ever.
const PATIENCE: u32 = 1 << 20;

impl State {
    /// A posted write. What nobody takes is lost: the processor's own master aborts are logged by no
    /// port.
    pub(crate) fn host_write(&mut self, at: u64, data: &[u8]) {
        if !self.ring(at, data) {
            let _ = self.write(Requester::HOST, at, data, &Attributes::CONTROL);
        }
    }

    /// The same of user data, which is no doorbell.
    pub(crate) fn host_write_data(&mut self, at: u64, data: &[u8]) {
        let _ = self.write(Requester::HOST, at, data, &Attributes::DATA);
    }

    /// A read, of registers or of user data. It pushes the processor's earlier writes to the same function before it
    /// (PCIe 6.0 §2.4.1), and the processor stalls until the answer is there.
    pub(crate) fn host_read(&mut self, at: u64, data: &mut [u8], attributes: &Attributes) {
        match self.read(Requester::HOST, at, data, attributes) {
            Ok(done) => self.wait_until(done),
            Err(_) => data.fill(0xff),
        }
    }

    /// Lets events happen until no write of the processor to `function` is on its way.
    pub(crate) fn flush_posted(&mut self, function: usize) {
        for _ in 0..PATIENCE {
            if self.machine.tree.functions[function].posted == 0 || !self.step() {
                return;
            }
        }
    }

    /// Lets everything happen that is due before `deadline`, and moves time there.
    pub(crate) fn wait_until(&mut self, deadline: Instant) {
        for _ in 0..PATIENCE {
            if self.events.next_at() >= deadline || !self.step() {
                break;
            }
        }
        self.events.advance(deadline);
    }

    pub(crate) fn wait(&mut self, span: Duration) {
        self.wait_until(self.now() + span);
    }
}
