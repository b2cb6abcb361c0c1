//! What happens to devices beside their commands: the kernel asks one back or tells of an error on the bus, or an IOMMU
//! refuses a request.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use p2pdma_linux::vfio::Vfio;
use p2pdma_linux::{FaultLog, IommuFault};
use p2pdma_pci::Bdf;

use crate::Error;
use crate::client::Counted;
use crate::memory::PeerMemory;
use crate::platform::{Attachment, Capabilities, Client, Done, Op, Ticket};

/// Looked at once in so many polls: it takes system calls.
const TURNS_PER_CHECK: u32 = 1024;

/// The kernel writes of a refused request in an interrupt, or in a thread that one wakes (`arm_smmu_evtq_thread()`,
/// drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c), which may come after the command's completion. So long nothing is called
/// arrived.
const SETTLING: Duration = Duration::from_millis(20);
/// Between two looks meanwhile.
const STEP: Duration = Duration::from_millis(5);

/// Watches the devices of a space.
pub(super) struct Guard {
    vfio: Vfio,
    /// `None` where this user may not read the kernel's log.
    log: Option<Mutex<(FaultLog, Faults)>>,
}

impl Guard {
    pub(super) fn new(vfio: Vfio) -> Self {
        let log = FaultLog::from_now().ok().map(|log| Mutex::new((log, Faults::default())));
        Self { vfio, log }
    }

    /// What is known now.
    pub(super) fn check(&self) -> Result<(), Error> {
        judge(self.refused(), self.vfio.failed(), self.vfio.recalled())
    }

    /// The same once all that has happened is known.
    pub(super) fn check_settled(&self) -> Result<(), Error> {
        match self.log {
            Some(_) => settle(SETTLING, || self.check()),
            None => self.check(),
        }
    }

    /// What an IOMMU has refused of a device that is open.
    pub(super) fn refused(&self) -> Option<IommuFault> {
        let mut log = self.log.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let (log, faults) = &mut *log;
        faults.add(log.take(), |bdf| self.vfio.is_open(bdf));
        faults.first()
    }
}

/// Looks again and again, the last time after `time`.
fn settle(time: Duration, mut look: impl FnMut() -> Result<(), Error>) -> Result<(), Error> {
    let begin = Instant::now();
    loop {
        let is_last = begin.elapsed() >= time;
        look()?;
        if is_last {
            return Ok(());
        }
        sleep(STEP);
    }
}

/// The first fault of each device, until it is closed: whoever reads the log first may not be whom it concerns.
#[derive(Default)]
struct Faults(BTreeMap<Bdf, IommuFault>);

impl Faults {
    /// Other processes have devices, too: theirs are left out.
    fn add(&mut self, new: Vec<IommuFault>, is_open: impl Fn(Bdf) -> bool) {
        self.0.retain(|&bdf, _| is_open(bdf));
        for fault in new.into_iter().filter(|fault| is_open(fault.bdf)) {
            self.0.entry(fault.bdf).or_insert(fault);
        }
    }

    fn first(&self) -> Option<IommuFault> {
        self.0.values().next().copied()
    }
}

/// Lost bytes are worse than a device that is to go.
fn judge(
    fault: Option<IommuFault>,
    failed: Option<Bdf>,
    recalled: Option<Bdf>,
) -> Result<(), Error> {
    match (fault, failed, recalled) {
        (Some(fault), _, _) => Err(Error::IommuFault(fault)),
        (None, Some(bdf), _) => Err(Error::BusError { bdf }),
        (None, None, Some(bdf)) => Err(Error::Recalled { bdf }),
        (None, None, None) => Ok(()),
    }
}

/// A client that fails when one of the devices is asked back, has failed, or was refused something: whoever goes on would
/// keep the kernel waiting, or call lost bytes moved.
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
        self.guard.check_settled()
    }
}

#[cfg(test)]
mod tests {
    use p2pdma_pci::Iova;

    use super::*;

    fn fault(bdf: Bdf) -> IommuFault {
        IommuFault { bdf, iova: Iova(0x1000), write: true }
    }

    #[test]
    fn what_became_of_own_devices_alone_ends_a_transfer() {
        let [own, other] = [0x0300, 0x0400].map(|id| Bdf::from_requester(0, id));
        let judged = |recalled, new: &[IommuFault]| {
            let mut faults = Faults::default();
            faults.add(new.to_vec(), |bdf| bdf == own);
            judge(faults.first(), None, recalled)
        };
        assert!(matches!(judged(None, &[]), Ok(())));
        assert!(matches!(judged(None, &[fault(other)]), Ok(())));
        let lost = judged(None, &[fault(other), fault(own), fault(other)]);
        assert!(matches!(lost, Err(Error::IommuFault(fault)) if fault.bdf == own));
        assert!(matches!(judged(Some(own), &[fault(other)]), Err(Error::Recalled { .. })));
        assert!(matches!(judged(Some(own), &[fault(own)]), Err(Error::IommuFault(_))));
    }

    #[test]
    fn an_error_on_the_bus_ends_a_transfer() {
        let bdf = Bdf::from_requester(0, 0x0300);
        let failed = |fault, recalled| judge(fault, Some(bdf), recalled);
        assert!(matches!(failed(None, None), Err(Error::BusError { bdf: named }) if named == bdf));
        assert!(matches!(failed(None, Some(bdf)), Err(Error::BusError { .. })));
        assert!(matches!(failed(Some(fault(bdf)), None), Err(Error::IommuFault(_))));
    }

    /// Several transfers look at one log.
    #[test]
    fn a_fault_is_told_to_all_until_its_device_is_closed() {
        let bdf = Bdf::from_requester(0, 0x0300);
        let mut faults = Faults::default();
        faults.add(vec![fault(bdf), IommuFault { iova: Iova(0), ..fault(bdf) }], |_| true);
        for _ in 0..2 {
            assert_eq!(faults.first(), Some(fault(bdf)));
            faults.add(Vec::new(), |_| true);
        }
        faults.add(Vec::new(), |_| false);
        faults.add(Vec::new(), |_| true);
        assert_eq!(faults.first(), None);
    }

    #[test]
    fn a_fault_that_is_written_late_is_seen() {
        let bdf = Bdf::from_requester(0, 0x0300);
        let begin = Instant::now();
        let late = settle(Duration::from_secs(60), || {
            let told = begin.elapsed() > 2 * STEP;
            judge(told.then(|| fault(bdf)), None, None)
        });
        assert!(matches!(late, Err(Error::IommuFault(_))));
        assert!(begin.elapsed() < Duration::from_secs(60), "it is told as soon as it is seen");
        let (begin, mut last) = (Instant::now(), Duration::ZERO);
        let nothing = settle(SETTLING, || {
            last = begin.elapsed();
            Ok(())
        });
        assert!(nothing.is_ok() && last >= SETTLING, "the last look is at the end: {last:?}");
    }
}
