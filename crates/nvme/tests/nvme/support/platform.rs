//! One function, some memory with canaries around every allocation, and a clock that waiting moves.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use p2pdma_mem::{RangeAllocator, SharedMemory};
use p2pdma_pci::{
    Bar, BarAccess, BarIndex, Bdf, BusAddr, Clock, ConfigSpace, DmaBuffer, Duration, Error,
    Function, Instant, Interrupt, InterruptLine, Iova, PeerWindow, Width,
};

use super::controller::FakeController;

/// Where the first byte of memory is for the device.
const BASE: u64 = 0x40_0000_0000;
/// Bytes before and behind every allocation that nobody may change.
const GUARD: u64 = 4096;
const CANARY: u8 = 0xA5;
const FREED: u8 = 0xDE;

/// What the device may do to memory.
pub(crate) struct Dma<'a> {
    memory: &'a SharedMemory,
    live: &'a BTreeMap<u64, u64>,
    enabled: bool,
    strays: &'a mut u64,
    interrupts: &'a BTreeMap<u16, Arc<AtomicU64>>,
}

impl Dma<'_> {
    fn offset(&mut self, at: u64, len: usize) -> Option<usize> {
        if !self.enabled {
            return None;
        }
        let run = self.live.range(..=at).next_back();
        let inside = run
            .is_some_and(|(start, size)| at - start <= *size && len as u64 <= size - (at - start));
        if !inside {
            *self.strays += 1;
            return None;
        }
        usize::try_from(at - BASE).ok()
    }

    pub(crate) fn read(&mut self, at: u64, data: &mut [u8]) -> bool {
        match self.offset(at, data.len()) {
            Some(offset) => self.memory.read(offset, data).is_ok(),
            None => false,
        }
    }

    pub(crate) fn write(&mut self, at: u64, data: &[u8]) -> bool {
        match self.offset(at, data.len()) {
            Some(offset) => self.memory.write(offset, data).is_ok(),
            None => false,
        }
    }

    /// Writes where nobody looks whether it may: without an IOMMU, or within the last page of a mapping.
    pub(crate) fn write_anywhere(&mut self, at: u64, data: &[u8]) {
        let offset = usize::try_from(at - BASE).unwrap();
        self.memory.write(offset, data).unwrap();
    }

    pub(crate) fn interrupt(&mut self, vector: u16) {
        if let Some(line) = self.interrupts.get(&vector) {
            line.fetch_add(1, Ordering::Relaxed);
        }
    }
}

struct World {
    memory: SharedMemory,
    free: RangeAllocator,
    /// Start and length of every allocation.
    live: BTreeMap<u64, u64>,
    device: Option<Box<FakeController>>,
    command: u16,
    class: u32,
    bars: [u64; 6],
    now: u64,
    idle: u64,
    strays: u64,
    broken_canaries: u64,
    resets: u64,
    relaxed: u64,
    opened: u64,
    interrupts: BTreeMap<u16, Arc<AtomicU64>>,
}

/// The machine; clones are handles.
#[derive(Clone)]
pub(crate) struct Machine(Arc<Shared>);

struct Shared {
    world: Mutex<World>,
}

impl Machine {
    pub(crate) fn new(device: Box<FakeController>, memory: usize) -> Self {
        let memory = SharedMemory::anonymous(memory).unwrap();
        let world = World {
            free: RangeAllocator::new(BASE..BASE + memory.len() as u64),
            memory,
            live: BTreeMap::new(),
            device: Some(device),
            command: 0,
            class: 0x0108_0200,
            bars: [0x4000, 0, 1 << 20, 0, 1 << 20, 0],
            now: 0,
            idle: 0,
            strays: 0,
            broken_canaries: 0,
            resets: 0,
            relaxed: 0,
            opened: 0,
            interrupts: BTreeMap::new(),
        };
        Self(Arc::new(Shared { world: Mutex::new(world) }))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_class(&self, class: u32) {
        self.world().class = class << 8;
    }

    pub(crate) fn set_bar(&self, index: usize, len: u64) {
        self.world().bars[index] = len;
    }

    /// Accesses of the device to memory that nobody had given to it.
    pub(crate) fn strays(&self) -> u64 {
        self.world().strays
    }

    /// Allocations whose surroundings had changed when they were given back, and those that have now.
    pub(crate) fn broken_canaries(&self) -> u64 {
        let world = self.world();
        let broken = world.live.iter().filter(|(start, len)| !world.guarded(**start, **len));
        world.broken_canaries + broken.count() as u64
    }

    /// Allocations that were not given back.
    pub(crate) fn held(&self) -> usize {
        self.world().live.len()
    }

    pub(crate) fn resets(&self) -> u64 {
        self.world().resets
    }

    pub(crate) fn bus_master(&self) -> bool {
        self.world().command & 4 != 0
    }

    /// Calls of `relax`.
    pub(crate) fn relaxed(&self) -> u64 {
        self.world().relaxed
    }

    /// How often a vector was opened.
    pub(crate) fn opened(&self) -> u64 {
        self.world().opened
    }

    /// Lets the device work without time passing.
    pub(crate) fn work(&self) {
        self.world().work();
    }

    /// Looks into the device.
    pub(crate) fn device<R>(&self, look: impl FnOnce(&mut FakeController) -> R) -> R {
        look(self.world().device.as_mut().unwrap())
    }
}

impl World {
    fn guarded(&self, start: u64, len: u64) -> bool {
        let check = |from: u64, count: u64| {
            let mut bytes = vec![0; usize::try_from(count).unwrap()];
            self.memory.read(usize::try_from(from - BASE).unwrap(), &mut bytes).unwrap();
            bytes.iter().all(|byte| *byte == CANARY)
        };
        let padded = len.next_multiple_of(4096);
        check(start - GUARD, GUARD) && check(start + len, padded - len + GUARD)
    }

    fn instant(&self) -> Instant {
        Instant::ZERO + Duration::from_picos(self.now)
    }

    fn work(&mut self) {
        let mut device = self.device.take().unwrap();
        let mut dma = Dma {
            memory: &self.memory,
            live: &self.live,
            enabled: self.command & 4 != 0,
            strays: &mut self.strays,
            interrupts: &self.interrupts,
        };
        device.work(&mut dma);
        self.device = Some(device);
    }
}

impl Function for Machine {
    fn bdf(&self) -> Bdf {
        Bdf::from_requester(0, 0x0300)
    }

    fn config(&self) -> &dyn ConfigSpace {
        self
    }

    fn map_bar(&self, index: BarIndex) -> Result<Bar, Error> {
        let len = self.world().bars[usize::from(index)];
        if len == 0 {
            return Err(Error::NoBar { bdf: self.bdf(), bar: index });
        }
        let address = BusAddr(0x10_0000_0000 + (u64::from(index.get()) << 32));
        let access = Arc::new(FakeBar { machine: self.clone(), bar: index.get() });
        Ok(Bar::new(self.bdf(), index, address, len, access))
    }

    fn alloc_dma(&self, len: usize) -> Result<DmaBuffer, Error> {
        let mut world = self.world();
        let padded = (len as u64).max(1).next_multiple_of(4096);
        let reason = "the test's memory is used up";
        let error = Error::NoDmaSpace { bdf: self.bdf(), len: padded, reason };
        let start = world.free.allocate(padded + 2 * GUARD, 4096).ok_or(error)? + GUARD;
        let offset = usize::try_from(start - BASE).unwrap();
        let before = offset - usize::try_from(GUARD).unwrap();
        let all = usize::try_from(padded + 2 * GUARD).unwrap();
        world.memory.fill(before, all, CANARY).unwrap();
        world.memory.fill(offset, len, 0).unwrap();
        world.live.insert(start, len as u64);
        let memory = world.memory.slice(offset..offset + len).unwrap();
        let held = Held { machine: self.clone(), start };
        Ok(DmaBuffer::new(memory, Iova(start), Arc::new(held)))
    }

    fn share_dma(&self, _: &DmaBuffer) -> Result<DmaBuffer, Error> {
        Err(Error::Unsupported { bdf: self.bdf(), what: "has no peers" })
    }

    fn map_peer(&self, _: &Bar, _: Range<u64>) -> Result<PeerWindow, Error> {
        Err(Error::Unsupported { bdf: self.bdf(), what: "has no peers" })
    }

    fn interrupt(&self, vector: u16) -> Result<Interrupt, Error> {
        if vector >= 4 {
            return Err(Error::NoVector { bdf: self.bdf(), vector, vectors: 4 });
        }
        let line = Arc::new(AtomicU64::new(0));
        let mut world = self.world();
        world.interrupts.insert(vector, Arc::clone(&line));
        world.opened += 1;
        Ok(Interrupt::new(vector, Box::new(Line(line))))
    }

    fn clock(&self) -> &dyn Clock {
        self
    }

    fn reset(&self) -> Result<(), Error> {
        let mut world = self.world();
        world.resets += 1;
        world.now += Duration::from_millis(100).picos();
        world.command = 2;
        if world.device.as_mut().unwrap().reset() {
            Ok(())
        } else {
            Err(Error::Unsupported { bdf: self.bdf(), what: "has no function-level reset" })
        }
    }
}

struct Line(Arc<AtomicU64>);

impl InterruptLine for Line {
    fn take(&self) -> u64 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// An allocation, given back on drop.
struct Held {
    machine: Machine,
    start: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut world = self.machine.world();
        let len = world.live.remove(&self.start).unwrap();
        world.broken_canaries += u64::from(!world.guarded(self.start, len));
        let offset = usize::try_from(self.start - BASE).unwrap();
        world.memory.fill(offset, usize::try_from(len).unwrap(), FREED).unwrap();
        let padded = len.max(1).next_multiple_of(4096);
        assert!(world.free.release(self.start - GUARD, padded + 2 * GUARD));
    }
}

struct FakeBar {
    machine: Machine,
    bar: u8,
}

impl BarAccess for FakeBar {
    fn read(&self, offset: u64, data: &mut [u8]) {
        let mut world = self.machine.world();
        if world.command & 2 == 0 {
            return data.fill(0xff);
        }
        let now = world.instant();
        let device = world.device.as_mut().unwrap();
        device.pass(now);
        device.read(self.bar, offset, data);
    }

    fn write(&self, offset: u64, data: &[u8]) {
        let mut world = self.machine.world();
        if world.command & 2 != 0 {
            let now = world.instant();
            let device = world.device.as_mut().unwrap();
            device.pass(now);
            device.write(self.bar, offset, data);
        }
    }
}

impl ConfigSpace for Machine {
    fn read(&self, offset: u16, width: Width) -> Result<u32, Error> {
        let world = self.world();
        Ok(match (offset, width) {
            (0, Width::Word) => 0x1234,
            (4, Width::Word) => world.command.into(),
            (8, Width::Dword) => world.class,
            _ => 0,
        })
    }

    fn write(&self, offset: u16, _: Width, value: u32) -> Result<(), Error> {
        if offset == 4 {
            self.world().command = u16::try_from(value & 0x0406).unwrap();
        }
        Ok(())
    }
}

impl Clock for Machine {
    fn now(&self) -> Instant {
        self.world().instant()
    }

    /// Lets the device work, and some time pass: more and more of it.
    fn relax(&self) {
        let mut world = self.world();
        world.relaxed += 1;
        world.idle = (world.idle * 2).clamp(1_000_000, Duration::from_millis(20).picos());
        world.now += world.idle;
        world.work();
    }
}

impl Machine {
    /// Lets time pass without anything happening.
    pub(crate) fn pass(&self, span: Duration) {
        self.world().now += span.picos();
    }

    /// Interrupts that came and were not seen yet never came.
    pub(crate) fn lose_interrupts(&self) {
        self.world().interrupts.values().for_each(|line| line.store(0, Ordering::Relaxed));
    }
}
