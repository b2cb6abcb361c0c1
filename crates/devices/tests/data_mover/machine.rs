//! A machine with data movers and memory behind BARs, and a host of a mover.

use p2pdma_devices::data_mover::registers::{
    CONTROL_ENABLE, CompletionRecord, Descriptor, MoverStatus, STATUS_ENABLED, offset,
};
use p2pdma_devices::{BarMemoryConfig, BarMemoryDevice, DataMover, DataMoverConfig};
use p2pdma_fabric::{
    Builder, Endpoint, Fabric, FabricFunction, FunctionConfig, HostBridgeConfig, PortConfig, Timing,
};
use p2pdma_mem::SharedMemory;
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::{CpuVendor, Host, IommuMode, Known, Link, LinkStatus};
use p2pdma_pci::{Bar, BarIndex, DmaBuffer, Function as _, Width};
use p2pdma_spec::pci::express::{LinkSpeed, LinkWidth};

/// Bytes behind the BAR of a memory.
pub(crate) const MEMORY: u64 = 4 << 20;

/// Movers `m0` and `m1`, memories `a` and `b`, below one switch.
pub(crate) fn machine(iommu: IommuMode, timing: Timing) -> Fabric {
    let mover = || Box::new(DataMover::new(DataMoverConfig::default()).unwrap());
    let memory = || {
        let config = BarMemoryConfig { len: MEMORY, ..BarMemoryConfig::default() };
        Box::new(BarMemoryDevice::new(config).unwrap())
    };
    let devices: Vec<(&str, Box<dyn Endpoint>)> =
        vec![("m0", mover()), ("m1", mover()), ("a", memory()), ("b", memory())];
    let mut host = Host::new(CpuVendor::Amd, 0x19);
    host.iommu = Known::Value(iommu);
    let mut builder = Builder::new(host, 256 << 20);
    builder.timing(timing);
    let policy = PeerPolicy::Forward;
    let bridge = builder.host_bridge(HostBridgeConfig { policy, ..HostBridgeConfig::default() });
    let link = Link { speed: LinkSpeed::GEN4, width: LinkWidth::X8 };
    let link = LinkStatus { current: Some(link), max: link };
    let port = |name: &str| PortConfig { name: name.to_owned(), link, acs: None };
    let root = builder.root_port(bridge, port("rp0")).unwrap();
    let slots = devices.iter().map(|(name, _)| port(&format!("slot-{name}"))).collect();
    let slots = builder.switch(root, "sw0", slots).unwrap();
    for ((name, device), slot) in devices.into_iter().zip(slots) {
        let config = FunctionConfig { name: name.to_owned(), number: 0, link, acs: None };
        builder.endpoint(slot, config, device);
    }
    builder.build().unwrap()
}

/// A machine without an IOMMU and without time.
pub(crate) fn plain() -> Fabric {
    machine(IommuMode::Off, Timing::Ideal)
}

/// A function by name, its memory decoded and its bus mastering on.
pub(crate) fn open(fabric: &Fabric, name: &str) -> FabricFunction {
    let function = fabric.open(fabric.find(name).unwrap()).unwrap();
    function.config().write(4, Width::Word, 6).unwrap();
    function
}

/// The memory of `a` or `b`.
pub(crate) fn memory(fabric: &Fabric, name: &str) -> Bar {
    open(fabric, name).map_bar(BarIndex::ZERO).unwrap()
}

/// The host of a mover: its rings, and where it is in them.
pub(crate) struct Mover {
    pub(crate) fabric: Fabric,
    pub(crate) function: FabricFunction,
    pub(crate) bar: Bar,
    pub(crate) ring: DmaBuffer,
    pub(crate) completions: DmaBuffer,
    pub(crate) entries: u32,
    pub(crate) tail: u32,
    /// The phase of the next record of each index.
    phases: Vec<u16>,
}

impl Mover {
    /// Opens a mover, which stays off.
    pub(crate) fn open(fabric: &Fabric, name: &str, entries: u32) -> Self {
        let function = open(fabric, name);
        let bar = function.map_bar(BarIndex::ZERO).unwrap();
        let ring = function.alloc_dma(entries as usize * 32).unwrap();
        let completions = function.alloc_dma(entries as usize * 16).unwrap();
        let phases = vec![1; entries as usize];
        let fabric = fabric.clone();
        Self { fabric, function, bar, ring, completions, entries, tail: 0, phases }
    }

    /// Opens a mover and switches it on.
    pub(crate) fn start(fabric: &Fabric, name: &str, entries: u32) -> Self {
        let mut mover = Self::open(fabric, name, entries);
        mover.enable();
        mover
    }

    pub(crate) fn enable(&mut self) {
        self.completions.memory().fill(0, self.completions.len(), 0).unwrap();
        self.bar.write64(offset::RING, self.ring.iova().0).unwrap();
        self.bar.write64(offset::COMPLETIONS, self.completions.iova().0).unwrap();
        self.set(offset::ENTRIES, self.entries);
        self.set(offset::CONTROL, CONTROL_ENABLE);
        assert_eq!(self.get(offset::STATUS), STATUS_ENABLED);
        self.tail = 0;
        self.phases.fill(1);
    }

    pub(crate) fn get(&self, at: u64) -> u32 {
        self.bar.read32(at).unwrap()
    }

    pub(crate) fn set(&self, at: u64, value: u32) {
        self.bar.write32(at, value).unwrap();
    }

    /// Puts a descriptor into the ring; returns its index. The doorbell is not rung.
    pub(crate) fn push(&mut self, descriptor: Descriptor) -> u32 {
        let index = self.tail;
        self.ring.memory().write_value(index as usize * 32, &descriptor).unwrap();
        self.tail = (self.tail + 1) % self.entries;
        index
    }

    pub(crate) fn ring(&self) {
        self.set(offset::TAIL, self.tail);
    }

    /// The record of an index, if it came.
    pub(crate) fn take(&mut self, index: u32) -> Option<CompletionRecord> {
        let at = index as usize * 16;
        let record: CompletionRecord = self.completions.memory().read_value(at).unwrap();
        let phase = &mut self.phases[index as usize];
        // Before its first pass a record is all zeroes.
        if record.phase.get() != *phase {
            return None;
        }
        *phase ^= 1;
        Some(record)
    }

    /// Waits for the record of an index.
    pub(crate) fn wait(&mut self, index: u32) -> CompletionRecord {
        loop {
            if let Some(record) = self.take(index) {
                return record;
            }
            assert!(self.fabric.step(), "no record of {index}");
        }
    }

    /// Carries one descriptor out.
    pub(crate) fn run(&mut self, descriptor: Descriptor) -> (MoverStatus, u32) {
        let index = self.push(descriptor);
        self.ring();
        let record = self.wait(index);
        assert_eq!(record.cookie, descriptor.cookie);
        self.settle();
        outcome(&record)
    }

    /// Lets everything happen that is due.
    pub(crate) fn settle(&self) {
        settle(&self.fabric);
    }
}

pub(crate) fn settle(fabric: &Fabric) {
    for _ in 0..1_000_000 {
        if !fabric.step() {
            return;
        }
    }
    panic!("the machine does not come to rest");
}

pub(crate) fn outcome(record: &CompletionRecord) -> (MoverStatus, u32) {
    (MoverStatus::from_bits(record.status.get()).unwrap(), record.copied.get())
}

pub(crate) fn copy(source: u64, target: u64, length: u32) -> Descriptor {
    let cookie = source ^ target << 1 ^ u64::from(length) << 32;
    Descriptor {
        source: source.into(),
        target: target.into(),
        length: length.into(),
        flags: 0.into(),
        cookie: cookie.into(),
    }
}

pub(crate) fn contents(memory: &SharedMemory) -> Vec<u8> {
    let mut bytes = vec![0; memory.len()];
    memory.read(0, &mut bytes).unwrap();
    bytes
}

/// Bytes that differ everywhere, and with the seed.
pub(crate) fn fill(memory: &SharedMemory, seed: u64) {
    let mut rng = Rng::new(seed);
    let bytes: Vec<u8> = (0..memory.len()).map(|_| rng.next().to_le_bytes()[3]).collect();
    memory.write(0, &bytes).unwrap();
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

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}
