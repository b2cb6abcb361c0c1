//! What happens to devices beside their commands: the kernel asks one back, or an IOMMU refuses a request.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use p2pdma_linux::vfio::Vfio;
use p2pdma_linux::{FaultLog, IommuFault};
use p2pdma_pci::Bdf;

use crate::Error;
use crate::client::Counted;
use crate::memory::PeerMemory;
use crate::platform::{Attachment, Capabilities, Client, Done, Op, Ticket};

/// Looked at once in so many polls: it takes system calls.
const TURNS_PER_CHECK: u32 = 1024;

/// Watches the devices of a space.
pub(super) struct Guard {
    vfio: Vfio,
    /// `None` where this user may not read the kernel's log.
    log: Option<Mutex<FaultLog>>,
}

impl Guard {
    pub(super) fn new(vfio: Vfio) -> Self {
        Self { vfio, log: FaultLog::from_now().ok().map(Mutex::new) }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let log = self.log.as_ref().map(|log| log.lock().unwrap_or_else(PoisonError::into_inner));
        let faults = log.map(|mut log| log.take()).unwrap_or_default();
        judge(self.vfio.recalled(), &faults, |bdf| self.vfio.is_open(bdf))
    }
}

/// Lost bytes are worse than a device that is to go.
fn judge(
    recalled: Option<Bdf>,
    faults: &[IommuFault],
    is_open: impl Fn(Bdf) -> bool,
) -> Result<(), Error> {
    // Other processes have devices, too.
    match (faults.iter().find(|fault| is_open(fault.bdf)), recalled) {
        (Some(fault), _) => Err(Error::IommuFault(*fault)),
        (None, Some(bdf)) => Err(Error::Recalled { bdf }),
        (None, None) => Ok(()),
    }
}

/// A client that fails when one of the devices is asked back, or was refused something: whoever goes on would keep the
/// kernel waiting, or call lost bytes moved.
pub(super) struct Guarded {
    client: Counted,
    guard: Arc<Guard>,
    turns: u32,
}

impl Guarded {
    pub(super) fn new(client: Counted, guard: Arc<Guard>) -> Self {
        Self { client, guard, turns: 0 }
    }
}

impl Client for Guarded {
    fn bdf(&self) -> Option<Bdf> {
        self.client.bdf()
    }

    fn capabilities(&self) -> Capabilities {
        self.client.capabilities()
    }

    fn attach(&mut self, memory: &Arc<PeerMemory>) -> Result<Attachment, Error> {
        self.guard.check()?;
        self.client.attach(memory)
    }

    fn submit(
        &mut self,
        op: Op,
        memory: &Attachment,
        range: Range<u64>,
        ticket: Ticket,
    ) -> Result<(), Error> {
        self.client.submit(op, memory, range, ticket)
    }

    fn poll(&mut self, done: &mut Vec<Done>) -> Result<(), Error> {
        self.turns += 1;
        if self.turns >= TURNS_PER_CHECK {
            self.turns = 0;
            self.guard.check()?;
        }
        self.client.poll(done)
    }

    /// What was refused before is known then.
    fn flush(&mut self) -> Result<(), Error> {
        self.client.flush()?;
        self.guard.check()
    }
}

#[cfg(test)]
mod tests {
    use p2pdma_pci::Iova;

    use super::*;

    #[test]
    fn what_became_of_own_devices_alone_ends_a_transfer() {
        let [own, other] = [0x0300, 0x0400].map(|id| Bdf::from_requester(0, id));
        let fault = |bdf| IommuFault { bdf, iova: Iova(0x1000), write: true };
        let judged = |recalled, faults: &[IommuFault]| judge(recalled, faults, |bdf| bdf == own);
        assert!(matches!(judged(None, &[]), Ok(())));
        assert!(matches!(judged(None, &[fault(other)]), Ok(())));
        let lost = judged(None, &[fault(other), fault(own), fault(other)]);
        assert!(matches!(lost, Err(Error::IommuFault(fault)) if fault.bdf == own));
        assert!(matches!(judged(Some(own), &[fault(other)]), Err(Error::Recalled { .. })));
        assert!(matches!(judged(Some(own), &[fault(own)]), Err(Error::IommuFault(_))));
    }
}
