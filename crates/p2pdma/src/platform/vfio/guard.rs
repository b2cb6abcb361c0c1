//! What happens to devices beside their commands: the kernel asks one back, or an IOMMU refuses a request.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use p2pdma_linux::FaultLog;
use p2pdma_linux::vfio::Vfio;
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
        if let Some(bdf) = self.vfio.recalled() {
            return Err(Error::Recalled { bdf });
        }
        let Some(log) = &self.log else { return Ok(()) };
        let faults = log.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Other processes have devices, too.
        match faults.into_iter().find(|fault| self.vfio.is_open(fault.bdf)) {
            Some(fault) => Err(Error::IommuFault(fault)),
            None => Ok(()),
        }
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
