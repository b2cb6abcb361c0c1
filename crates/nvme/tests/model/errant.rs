//! Commands that name memory which the IOMMU does not have: nothing is met, and the IOMMU says whose they were. The
//! controller itself knows only of what it could not read: writes are posted, and nobody answers them (PCIe 6.0 §2.1.1.1).

use p2pdma_fabric::{Access, FaultReason, Permission};
use p2pdma_nvme::{Controller, Data, Namespace, QueueOptions, QueuePair, Segment};
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{DmaBuffer, Iova};
use p2pdma_spec::nvme::status::Status;

use crate::support::{Plan, SECOND, Stage, pattern, plain, run, status};

const PAGE: usize = 4096;

/// An SSD with data in its first pages, and a page between two others that must not be met.
struct Errant {
    stage: Stage,
    controller: Controller,
    namespace: Namespace,
    queue: QueuePair<()>,
    canary: DmaBuffer,
    content: Vec<u8>,
}

impl Errant {
    fn new(iommu: IommuMode) -> Self {
        let stage = Stage::new(Plan { iommu, ..Plan::default() }, vec![plain()]);
        let controller = stage.open("nvme0");
        let namespace = controller.namespace(1).unwrap();
        let mut queue = controller.queue_pair(&QueueOptions::entries(8)).unwrap();
        let data = controller.alloc_dma(8 * PAGE).unwrap();
        data.memory().write(0, &pattern(3, 8 * PAGE)).unwrap();
        run(&mut queue, &namespace.write(0, 8).unwrap(), (&data).into()).unwrap();
        let canary = controller.alloc_dma(3 * PAGE).unwrap();
        let content = pattern(4, 3 * PAGE);
        canary.memory().write(0, &content).unwrap();
        assert_eq!(stage.fabric.take_iommu_faults().1, 0);
        Self { stage, controller, namespace, queue, canary, content }
    }

    fn is_untouched(&self) -> bool {
        let mut now = vec![0; 3 * PAGE];
        self.canary.memory().read(0, &mut now).unwrap();
        now == self.content
    }

    /// The page in the middle.
    fn middle(&self) -> Iova {
        Iova(self.canary.iova().0 + PAGE as u64)
    }

    /// A read (the device writes to memory) or a write that was stopped at an address, and what the IOMMU says of it.
    fn is_stopped(&mut self, write: bool, at: Iova, reason: FaultReason) {
        let segment = Segment::new(at, PAGE as u64);
        let command = if write { self.namespace.write(9, 1) } else { self.namespace.read(0, 1) };
        let outcome = run(&mut self.queue, &command.unwrap(), segment.into());
        assert_eq!(outcome.map_err(status), said(write));
        self.fault(write, at, reason);
    }

    fn fault(&self, write: bool, at: Iova, reason: FaultReason) {
        let (faults, total) = self.stage.fabric.take_iommu_faults();
        assert!(total > 0);
        let access = if write { Access::Read } else { Access::Write };
        let page = at.0..at.0 + PAGE as u64;
        for fault in &faults {
            assert_eq!(fault.requester, self.controller.bdf());
            assert_eq!((fault.access, fault.reason), (access, reason));
            assert!(page.contains(&fault.iova.0), "{:?}", fault.iova);
        }
    }
}

/// What the controller says.
fn said(write: bool) -> Result<u64, Status> {
    if write { Err(Status::DATA_TRANSFER_ERROR) } else { Ok(0) }
}

/// The same calls give the same addresses on both machines: what the one without an IOMMU calls the page is where it is
/// in the other's memory.
#[test]
fn an_address_that_was_never_mapped_leads_nowhere() {
    let mut open = Errant::new(IommuMode::Off);
    let at = open.middle();
    let read = open.namespace.read(0, 1).unwrap();
    run(&mut open.queue, &read, Segment::new(at, PAGE as u64).into()).unwrap();
    assert!(!open.is_untouched(), "without an IOMMU the address is that page's");

    let mut guarded = Errant::new(IommuMode::Translate);
    assert_ne!(guarded.middle(), at);
    guarded.is_stopped(false, at, FaultReason::NotMapped);
    guarded.is_stopped(true, at, FaultReason::NotMapped);
    assert!(guarded.is_untouched());
    // Nor did a byte of it get out.
    let back = guarded.controller.alloc_dma(PAGE).unwrap();
    let read = guarded.namespace.read(9, 1).unwrap();
    run(&mut guarded.queue, &read, (&back).into()).unwrap();
    let mut medium = vec![1; PAGE];
    back.memory().read(0, &mut medium).unwrap();
    assert!(medium.iter().all(|&byte| byte == 0));
}

#[test]
fn memory_that_is_unmapped_before_the_doorbell_is_not_met() {
    let mut errant = Errant::new(IommuMode::Translate);
    let at = errant.middle();
    let read = errant.namespace.read(0, 1).unwrap();
    errant.queue.submit(&read, Segment::new(at, PAGE as u64).into(), ()).unwrap();
    // The bytes stay in the machine's memory, and belong to whoever comes next.
    let memory = errant.canary.memory().clone();
    errant.canary = errant.controller.alloc_dma(3 * PAGE).unwrap();
    errant.queue.wait(SECOND).unwrap().unwrap().outcome.unwrap();
    errant.fault(false, at, FaultReason::NotMapped);
    let mut now = vec![0; 3 * PAGE];
    memory.read(0, &mut now).unwrap();
    assert!(now == errant.content);
}

#[test]
fn memory_that_may_be_read_is_not_written() {
    let mut errant = Errant::new(IommuMode::Translate);
    let (bdf, at) = (errant.controller.bdf(), errant.canary.iova());
    let read_only = Permission { read: true, write: false };
    errant.stage.fabric.permit(bdf, at, read_only).unwrap();
    errant.is_stopped(false, errant.middle(), FaultReason::NotPermitted);
    assert!(errant.is_untouched());
    // As the source of a write it will do.
    let write = errant.namespace.write(9, 1).unwrap();
    run(&mut errant.queue, &write, Segment::new(at, PAGE as u64).into()).unwrap();
}

/// One page of a list, each in turn: a command that cannot read it fails, and what is around it is not met.
#[test]
fn one_page_of_a_list_is_as_bad_as_all() {
    let mut errant = Errant::new(IommuMode::Translate);
    let buffer = errant.controller.alloc_dma(8 * PAGE).unwrap();
    let nowhere = Iova(errant.canary.iova().0 + (1 << 30));
    for (index, write) in (0..8).flat_map(|index| [(index, false), (index, true)]) {
        let whole = Segment::from(&buffer);
        let page = |at: u64| whole.slice(at * 4096..(at + 1) * 4096).unwrap();
        let mut pages: Vec<Segment> = (0..8).map(page).collect();
        pages[index] = Segment::new(nowhere, PAGE as u64);
        let namespace = &errant.namespace;
        let command = if write { namespace.write(9, 8) } else { namespace.read(0, 8) };
        let outcome = run(&mut errant.queue, &command.unwrap(), Data::Segments(&pages));
        assert_eq!(outcome.map_err(status), said(write), "page {index}");
        errant.fault(write, nowhere, FaultReason::NotMapped);
    }
    assert!(errant.is_untouched());
}
