//! A host that does everything by hand: registers, queue entries, PRPs. It shares nothing with a driver but
//! the words of the specification.

use std::sync::atomic::Ordering::Relaxed;

use p2pdma_devices::nvme::{NvmeConfig, NvmeController};
use p2pdma_fabric::{
    Builder, Endpoint, Fabric, FabricFunction, FunctionConfig, HostBridgeConfig, PortConfig,
    PortId, Timing,
};
use p2pdma_mem::SharedMemory;
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::{CpuVendor, Host as Machine, IommuMode, Known, Link, LinkStatus};
use p2pdma_pci::{Bar, BarIndex, DmaBuffer, Function as _, Width};
use p2pdma_spec::nvme::admin::{
    AdminOpcode, CreateCompletionQueueCdw11, CreateQueueCdw10, CreateSubmissionQueueCdw11,
    QueuePriority,
};
use p2pdma_spec::nvme::nvm::{NvmOpcode, ReadWriteCdw12};
use p2pdma_spec::nvme::queue::{CompletionEntry, DataPointer, SubmissionEntry};
use p2pdma_spec::nvme::registers::{
    Aqa, Arbitration, Cc, Csts, completion_doorbell, offset, submission_doorbell,
};
use p2pdma_spec::nvme::status::Status;
use p2pdma_spec::pci::express::{LinkSpeed, LinkWidth};

/// A machine with one IOMMU mode, and slots to plug devices into.
pub(crate) struct Board {
    builder: Builder,
    ports: Vec<PortId>,
    used: usize,
}

fn link() -> LinkStatus {
    let link = Link { speed: LinkSpeed::GEN4, width: LinkWidth::X4 };
    LinkStatus { current: Some(link), max: link }
}

impl Board {
    /// A switch with four slots below a root port.
    pub(crate) fn new(iommu: IommuMode, timing: Timing) -> Self {
        let mut machine = Machine::new(CpuVendor::Amd, 6);
        machine.iommu = Known::Value(iommu);
        let mut builder = Builder::new(machine, 512 << 20);
        builder.timing(timing);
        let policy = PeerPolicy::Forward;
        let bridge = builder.host_bridge(HostBridgeConfig { policy, ..Default::default() });
        let port = |name: &str| PortConfig { name: name.to_owned(), link: link(), acs: None };
        let root = builder.root_port(bridge, port("rp0")).unwrap();
        let slots = ["s0", "s1", "s2", "s3"].map(port).to_vec();
        let ports = builder.switch(root, "sw0", slots).unwrap();
        Self { builder, ports, used: 0 }
    }

    /// Puts a device into the next slot.
    pub(crate) fn plug(&mut self, name: &str, device: impl Endpoint + 'static) -> &mut Self {
        let config = FunctionConfig { name: name.to_owned(), number: 0, link: link(), acs: None };
        self.builder.endpoint(self.ports[self.used], config, Box::new(device));
        self.used += 1;
        self
    }

    pub(crate) fn build(self) -> Fabric {
        self.builder.build().unwrap()
    }
}

/// A queue pair in host memory.
pub(crate) struct Queue {
    pub(crate) id: u16,
    pub(crate) size: u32,
    pub(crate) sq: DmaBuffer,
    pub(crate) cq: DmaBuffer,
    pub(crate) tail: u32,
    pub(crate) head: u32,
    pub(crate) phase: bool,
    next_cid: u16,
}

impl Queue {
    pub(crate) fn new(function: &FabricFunction, id: u16, size: u32) -> Self {
        let sq = function.alloc_dma(size as usize * 64).unwrap();
        let cq = function.alloc_dma(size as usize * 16).unwrap();
        Self { id, size, sq, cq, tail: 0, head: 0, phase: true, next_cid: 0 }
    }

    /// Writes an entry; returns its command identifier. The doorbell is not rung.
    pub(crate) fn push(&mut self, mut entry: SubmissionEntry) -> u16 {
        let cid = self.next_cid;
        self.next_cid = self.next_cid.wrapping_add(1) % 0xFFF0;
        entry.set_cid(cid);
        self.push_as_is(&entry);
        cid
    }

    /// Writes an entry with the command identifier that it has.
    pub(crate) fn push_as_is(&mut self, entry: &SubmissionEntry) {
        self.sq.memory().write_value(self.tail as usize * 64, entry).unwrap();
        self.tail = (self.tail + 1) % self.size;
    }

    /// Takes the next completion, if it is there. The doorbell is not rung.
    pub(crate) fn pop(&mut self) -> Option<CompletionEntry> {
        let at = self.head as usize * 16;
        let status: u16 = self.cq.memory().load(at + 14, Relaxed).unwrap();
        if (status & 1 == 1) != self.phase {
            return None;
        }
        let entry = self.cq.memory().read_value(at).unwrap();
        self.head += 1;
        if self.head == self.size {
            self.head = 0;
            self.phase = !self.phase;
        }
        Some(entry)
    }
}

/// A host of one controller.
pub(crate) struct Host {
    pub(crate) fabric: Fabric,
    pub(crate) function: FabricFunction,
    pub(crate) bar: Bar,
    pub(crate) admin: Queue,
    pub(crate) io: Vec<Queue>,
    stride: u8,
}

/// How a command ended: Dword 0, or the status.
pub(crate) type Outcome = Result<u32, Status>;

impl Host {
    /// A machine with one controller, enabled, and one I/O queue pair of 64 entries.
    pub(crate) fn with(config: NvmeConfig) -> Self {
        let mut host = Self::bare(config);
        host.enable();
        host.create_queue(64);
        host
    }

    /// A machine with one controller that is not enabled.
    pub(crate) fn bare(config: NvmeConfig) -> Self {
        let mut board = Board::new(IommuMode::Translate, Timing::Ideal);
        board.plug("nvme0", NvmeController::new(config).unwrap());
        Self::open(board.build(), "nvme0")
    }

    /// Opens a controller of a fabric.
    pub(crate) fn open(fabric: Fabric, name: &str) -> Self {
        let bdf = fabric.find(name).unwrap();
        let function = fabric.open(bdf).unwrap();
        function.config().write(4, Width::Word, 6).unwrap();
        let bar = function.map_bar(BarIndex::ZERO).unwrap();
        let cap = bar.read64(offset::CAP).unwrap();
        let stride = p2pdma_spec::nvme::registers::Cap::from_bits(cap).dstrd();
        let admin = Queue::new(&function, 0, 64);
        Self { fabric, function, bar, admin, io: Vec::new(), stride }
    }

    pub(crate) fn csts(&self) -> Csts {
        Csts::from_bits(self.bar.read32(offset::CSTS).unwrap())
    }

    pub(crate) fn set_cc(&self, cc: Cc) {
        self.bar.write32(offset::CC, cc.into_bits()).unwrap();
        self.settle();
    }

    pub(crate) fn plain_cc() -> Cc {
        Cc::new().with_iosqes(6).with_iocqes(4)
    }

    /// Sets up the admin queues and enables the controller.
    pub(crate) fn enable(&mut self) {
        self.enable_with(Self::plain_cc());
    }

    pub(crate) fn enable_with(&mut self, cc: Cc) {
        self.program_admin();
        self.set_cc(cc.with_en(true));
        assert!(self.csts().rdy(), "{}", self.csts());
    }

    /// Writes the admin queues' registers; the queues begin anew.
    pub(crate) fn program_admin(&mut self) {
        self.admin = Queue::new(&self.function, 0, 64);
        let aqa = Aqa::new().with_asqs_z(63).with_acqs_z(63);
        self.bar.write32(offset::AQA, aqa.into_bits()).unwrap();
        self.bar.write64(offset::ASQ, self.admin.sq.iova().0).unwrap();
        self.bar.write64(offset::ACQ, self.admin.cq.iova().0).unwrap();
        self.io.clear();
    }

    /// Controller Reset.
    pub(crate) fn disable(&mut self) {
        self.set_cc(Cc::new());
        assert!(!self.csts().rdy());
    }

    /// Round robin or weighted.
    pub(crate) fn enable_weighted(&mut self) {
        self.enable_with(Self::plain_cc().with_ams(Arbitration::WEIGHTED_ROUND_ROBIN));
    }

    /// Lets everything happen that is due without more time passing than it needs.
    pub(crate) fn settle(&self) {
        for _ in 0..1_000_000 {
            if !self.fabric.step() {
                return;
            }
        }
        panic!("the machine does not come to rest");
    }

    /// Creates a queue pair with the next identifier; panics if it cannot be.
    pub(crate) fn create_queue(&mut self, size: u32) -> usize {
        let id = u16::try_from(self.io.len() + 1).unwrap();
        let queue = Queue::new(&self.function, id, size);
        self.create_completion(id, size, queue.cq.iova().0, Some(0)).unwrap();
        self.create_submission(id, size, queue.sq.iova().0, id, QueuePriority::MEDIUM).unwrap();
        self.io.push(queue);
        self.io.len() - 1
    }

    pub(crate) fn create_completion(
        &mut self,
        id: u16,
        size: u32,
        base: u64,
        vector: Option<u16>,
    ) -> Outcome {
        let mut entry = SubmissionEntry::new(AdminOpcode::CREATE_COMPLETION_QUEUE, 0);
        let size_z = u16::try_from(size - 1).unwrap();
        entry.dptr = DataPointer::prp(base, 0);
        entry.cdw10 = CreateQueueCdw10::new().with_qid(id).with_qsize_z(size_z).into();
        entry.cdw11 = CreateCompletionQueueCdw11::new()
            .with_pc(true)
            .with_ien(vector.is_some())
            .with_iv(vector.unwrap_or(0))
            .into();
        self.admin(entry)
    }

    pub(crate) fn create_submission(
        &mut self,
        id: u16,
        size: u32,
        base: u64,
        cqid: u16,
        priority: QueuePriority,
    ) -> Outcome {
        let mut entry = SubmissionEntry::new(AdminOpcode::CREATE_SUBMISSION_QUEUE, 0);
        let size_z = u16::try_from(size - 1).unwrap();
        entry.dptr = DataPointer::prp(base, 0);
        entry.cdw10 = CreateQueueCdw10::new().with_qid(id).with_qsize_z(size_z).into();
        entry.cdw11 = CreateSubmissionQueueCdw11::new()
            .with_pc(true)
            .with_qprio(priority)
            .with_cqid(cqid)
            .into();
        self.admin(entry)
    }

    pub(crate) fn delete(&mut self, opcode: AdminOpcode, id: u16) -> Outcome {
        let mut entry = SubmissionEntry::new(opcode, 0);
        entry.cdw10 = u32::from(id).into();
        self.admin(entry)
    }

    pub(crate) fn ring_tail(&self, id: u16, value: u32) {
        self.bar.write32(submission_doorbell(id, self.stride), value).unwrap();
    }

    pub(crate) fn ring_head(&self, id: u16, value: u32) {
        self.bar.write32(completion_doorbell(id, self.stride), value).unwrap();
    }

    /// Sends an admin command, and waits for its completion.
    pub(crate) fn admin(&mut self, entry: SubmissionEntry) -> Outcome {
        outcome(&self.admin_entry(entry))
    }

    pub(crate) fn admin_entry(&mut self, entry: SubmissionEntry) -> CompletionEntry {
        let cid = self.admin.push(entry);
        self.ring_tail(0, self.admin.tail);
        for _ in 0..100_000 {
            if let Some(completion) = self.admin.pop() {
                self.ring_head(0, self.admin.head);
                self.settle();
                assert_eq!(completion.cid.get(), cid, "{completion}");
                return completion;
            }
            assert!(self.fabric.step(), "no completion of {entry}");
        }
        panic!("no completion of {entry}");
    }

    /// Sends a command to the first I/O queue, and waits for its completion.
    pub(crate) fn io(&mut self, entry: SubmissionEntry) -> Outcome {
        outcome(&self.io_entry(0, entry))
    }

    pub(crate) fn io_entry(&mut self, queue: usize, entry: SubmissionEntry) -> CompletionEntry {
        let cid = self.io[queue].push(entry);
        let done = self.reap(queue, 1);
        assert_eq!(done[0].cid.get(), cid, "{}", done[0]);
        done[0]
    }

    /// Rings the tail, and waits for so many completions.
    pub(crate) fn reap(&mut self, queue: usize, count: usize) -> Vec<CompletionEntry> {
        let (id, tail) = (self.io[queue].id, self.io[queue].tail);
        self.ring_tail(id, tail);
        let mut done = Vec::new();
        while done.len() < count {
            match self.io[queue].pop() {
                Some(completion) => done.push(completion),
                None => assert!(self.fabric.step(), "{} of {count} completions", done.len()),
            }
        }
        self.ring_head(id, self.io[queue].head);
        self.settle();
        done
    }

    /// Whatever completions are there.
    pub(crate) fn drain(&mut self, queue: usize) -> Vec<CompletionEntry> {
        self.settle();
        let done: Vec<_> = std::iter::from_fn(|| self.io[queue].pop()).collect();
        if !done.is_empty() {
            self.ring_head(self.io[queue].id, self.io[queue].head);
            self.settle();
        }
        done
    }

    pub(crate) fn buffer(&self, len: usize) -> DmaBuffer {
        self.function.alloc_dma(len).unwrap()
    }

    /// Reads blocks into a buffer of pages.
    pub(crate) fn read(&mut self, nsid: u32, first: u64, blocks: u32, to: &DmaBuffer) -> Outcome {
        let entry = self.rw(NvmOpcode::READ, nsid, first, blocks, to);
        self.io(entry)
    }

    pub(crate) fn write(
        &mut self,
        nsid: u32,
        first: u64,
        blocks: u32,
        from: &DmaBuffer,
    ) -> Outcome {
        let entry = self.rw(NvmOpcode::WRITE, nsid, first, blocks, from);
        self.io(entry)
    }

    /// A command on blocks whose data are the whole buffer, which is contiguous and begins a page.
    pub(crate) fn rw(
        &mut self,
        opcode: NvmOpcode,
        nsid: u32,
        first: u64,
        blocks: u32,
        buffer: &DmaBuffer,
    ) -> SubmissionEntry {
        let mut entry = SubmissionEntry::new(opcode, nsid);
        entry.set_cdw10_11(first);
        let nlb_z = u16::try_from(blocks - 1).unwrap();
        entry.cdw12 = ReadWriteCdw12::new().with_nlb_z(nlb_z).into();
        entry.dptr = self.prps(buffer);
        entry
    }

    /// PRPs of a buffer that begins a page.
    pub(crate) fn prps(&mut self, buffer: &DmaBuffer) -> DataPointer {
        let start = buffer.iova().0;
        let pages = (0..buffer.len() as u64).step_by(4096).map(|at| start + at);
        self.prps_of(&pages.collect::<Vec<_>>())
    }

    /// PRPs of pages. A list is written to memory that is never given back.
    pub(crate) fn prps_of(&mut self, pages: &[u64]) -> DataPointer {
        match *pages {
            [one] => DataPointer::prp(one, 0),
            [one, two] => DataPointer::prp(one, two),
            [one, ref rest @ ..] => {
                let list = self.buffer(rest.len() * 8);
                assert!(rest.len() <= 512, "a list of one page");
                for (index, page) in rest.iter().enumerate() {
                    list.memory().write_value(index * 8, &page.to_le_bytes()).unwrap();
                }
                let at = list.iova().0;
                std::mem::forget(list);
                DataPointer::prp(one, at)
            }
            [] => DataPointer::prp(0, 0),
        }
    }
}

pub(crate) fn outcome(completion: &CompletionEntry) -> Outcome {
    let status = completion.status.get().status();
    if status.is_success() { Ok(completion.dw0.get()) } else { Err(status) }
}

pub(crate) fn fill(memory: &SharedMemory, seed: u64) {
    let mut bytes = vec![0; memory.len()];
    pattern(seed, &mut bytes);
    memory.write(0, &bytes).unwrap();
}

pub(crate) fn contents(memory: &SharedMemory) -> Vec<u8> {
    let mut bytes = vec![0; memory.len()];
    memory.read(0, &mut bytes).unwrap();
    bytes
}

/// Bytes that differ everywhere, and with the seed.
pub(crate) fn pattern(seed: u64, bytes: &mut [u8]) {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    for chunk in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
    }
}

/// A generator of numbers, the same in every run.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Less than `end`.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 11) % end
    }

    pub(crate) fn index(&mut self, end: usize) -> usize {
        usize::try_from(self.below(end as u64)).unwrap()
    }

    /// True once in `times`.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())]
    }
}
