//! Runs in the guest: lets a controller under vfio read and write at addresses that its IOMMU does not have, and
//! prints what became of it.
//!
//! `errant_dma BDF`: the device is bound to vfio-pci. It prints a line for each case,
//! `case NAME: OUTCOME; MEMORY; refused REQUEST`. OUTCOME is what our driver got; MEMORY is `untouched` if every byte of
//! the memory that could have been met is as before, and else the first byte that is not; REQUEST is what the kernel's log
//! says that the IOMMU refused, `nothing` if that is so, and `another` before what is not of this case.
//!
//! The address is the physical address of the memory that must not be met: without an IOMMU the command would meet it.
//! The last case maps that memory at that address, and shows that the same command does meet it then.

#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, reason = "this is a program")]

mod canary;

use std::error::Error;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration as Wait, Instant};

use p2pdma_linux::vfio::{MapAccess, Vfio};
use p2pdma_linux::{FaultLog, IommuFault, Survey};
use p2pdma_nvme::{
    Cause, Command, Controller, Data, Namespace, Options, QueueOptions, QueuePair, Segment,
};
use p2pdma_pci::{Bdf, Duration, Iova};

use canary::{BYTES, Canary, PAGE};

/// A command that was not stopped within this is lost.
const LIMIT: Duration = Duration::from_millis(5_000);
/// The kernel tells of a fault in an interrupt.
const PATIENCE: Wait = Wait::from_secs(2);
/// It prints ten lines of faults in five seconds, and keeps the others to itself (`dmar_fault()`,
/// drivers/iommu/intel/dmar.c).
const PAUSE: Wait = Wait::from_secs(6);

fn main() -> Result<(), Box<dyn Error>> {
    let bdf: Bdf = std::env::args().nth(1).ok_or("which device?")?.parse()?;
    let vfio = Vfio::new(&Survey::live()?, Vec::new())?;
    let controller = Controller::open(Arc::new(vfio.open(bdf)?), Options::default())?;
    let mut errant = Errant::new(controller)?;
    errant.fill()?;
    let never = Canary::new(&errant.controller)?;
    let at = never.physical()?;
    errant.read("read-never-mapped", at, &never)?;
    errant.settle();
    errant.write("write-never-mapped", at, &never)?;
    errant.settle();
    errant.unmapped()?;
    errant.settle();
    let read_only = Canary::new(&errant.controller)?;
    let at = read_only.physical()?;
    let mapped = vfio.map(read_only.memory(), at, MapAccess::Read)?;
    errant.read("read-mapped-to-read", at, &read_only)?;
    drop(mapped);
    errant.settle();
    let at = never.physical()?;
    let _mapped = vfio.map(never.memory(), at, MapAccess::ReadWrite)?;
    errant.read("read-mapped", at, &never)
}

/// A controller with a queue.
struct Errant {
    controller: Controller,
    namespace: Namespace,
    queue: QueuePair<()>,
    log: FaultLog,
}

impl Errant {
    fn new(controller: Controller) -> Result<Self, Box<dyn Error>> {
        let namespace = controller.namespace(1)?;
        let queue = controller.queue_pair(&QueueOptions::default())?;
        Ok(Self { controller, namespace, queue, log: FaultLog::from_now()? })
    }

    /// Blocks of a page's length.
    fn blocks(&self) -> u32 {
        BYTES / self.namespace.format().data
    }

    /// Where the blocks are that cases write: behind those that they read.
    fn beyond(&self) -> u64 {
        self.blocks().into()
    }

    /// Gives the blocks that are read a content that no memory here has, and those that are written another.
    fn fill(&mut self) -> Result<(), Box<dyn Error>> {
        for (at, byte) in [(0, 0x5a), (self.beyond(), 0xa5)] {
            let buffer = self.controller.alloc_dma(PAGE)?;
            buffer.memory().fill(0, PAGE, byte)?;
            let write = self.namespace.write(at, self.blocks())?;
            let said = self.carry(&write, Segment::from(&buffer))?;
            if said != "success" {
                return Err(said.into());
            }
        }
        Ok(())
    }

    /// Lets all lines of what was before come, and forgets them: a command that is refused has two, one when QEMU looks
    /// where its memory is, and one when it goes there (`address_space_map()` and `_unmap()`, system/physmem.c).
    fn settle(&mut self) {
        sleep(PAUSE);
        self.log.take();
    }

    /// The controller writes to memory.
    fn read(&mut self, name: &str, at: Iova, canary: &Canary) -> Result<(), Box<dyn Error>> {
        let read = self.namespace.read(0, self.blocks())?;
        let said = self.carry(&read, Segment::new(at, PAGE as u64))?;
        let refused = self.refused(at, true);
        println!("case {name}: {said}; {}; refused {refused}", canary.state()?);
        Ok(())
    }

    /// The controller reads from memory: what it has then on its medium must not be what is there.
    fn write(&mut self, name: &str, at: Iova, canary: &Canary) -> Result<(), Box<dyn Error>> {
        let write = self.namespace.write(self.beyond(), self.blocks())?;
        let said = self.carry(&write, Segment::new(at, PAGE as u64))?;
        let back = self.controller.alloc_dma(PAGE)?;
        let read = self.namespace.read(self.beyond(), self.blocks())?;
        let read = self.carry(&read, Segment::from(&back))?;
        let medium = canary.leaked_into(back.memory())?;
        let refused = self.refused(at, false);
        println!("case {name}: {said}; {}; refused {refused}", canary.state()?);
        println!("medium: {read}; {medium}");
        Ok(())
    }

    /// Memory that is mapped when the command is written, and no more when the controller is told of it.
    fn unmapped(&mut self) -> Result<(), Box<dyn Error>> {
        let canary = Canary::new(&self.controller)?;
        let at = canary.iova();
        let read = self.namespace.read(0, self.blocks())?;
        let segment = Segment::new(at, PAGE as u64);
        self.queue.submit(&read, Data::from(segment), ()).map_err(|rejected| rejected.error)?;
        let canary = canary.unmap();
        let said = self.outcome()?;
        let refused = self.refused(at, true);
        println!("case read-unmapped-again: {said}; {}; refused {refused}", canary.state()?);
        Ok(())
    }

    fn carry(&mut self, command: &Command, segment: Segment) -> Result<String, Box<dyn Error>> {
        self.queue.submit(command, Data::from(segment), ()).map_err(|rejected| rejected.error)?;
        self.outcome()
    }

    /// Lets what was written into the queue begin, and waits for its end.
    fn outcome(&mut self) -> Result<String, Box<dyn Error>> {
        self.queue.ring()?;
        let completion = self.queue.wait(LIMIT)?.ok_or("nothing is in flight")?;
        Ok(match completion.outcome {
            Ok(_) => "success".to_owned(),
            Err(failure) => match failure.cause {
                Cause::Status(status) => status.to_string(),
                Cause::Lost => "lost".to_owned(),
            },
        })
    }

    /// What the IOMMU is said to have refused since this was last asked.
    fn refused(&mut self, iova: Iova, write: bool) -> String {
        let (begin, own) = (Instant::now(), IommuFault { bdf: self.controller.bdf(), iova, write });
        let mut faults = self.log.take();
        while faults.is_empty() && begin.elapsed() < PATIENCE {
            sleep(Wait::from_millis(10));
            faults = self.log.take();
        }
        match faults.as_slice() {
            [] => "nothing".to_owned(),
            [first, ..] if *first == own => if write { "the write" } else { "the read" }.to_owned(),
            [other, ..] => format!("another: {other}"),
        }
    }
}
