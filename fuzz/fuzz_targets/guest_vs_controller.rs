//! A guest's worst input to a controller: registers, queue entries, lists and doorbells of any content,
//! and DMA aimed at anything, its own registers included. It gets a status or a fault record: no panic,
//! and no work without end.

#![no_main]

use libfuzzer_sys::fuzz_target;
use p2pdma_devices::nvme::{
    CmbConfig, ControllerConfig, MediaTiming, NamespaceConfig, NvmeConfig, NvmeController,
    PmrConfig, ServiceTime, SubsystemConfig,
};
use p2pdma_fabric::Endpoint;
use p2pdma_fuzz::{Input, machine, timing};
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{Bar, BarIndex, DmaBuffer, Duration, Function as _, Width};
use p2pdma_spec::nvme::protection::ProtectionType;

/// More events than this for one doorbell are work without end.
const PATIENCE: u32 = 100_000;
/// The guest's memory: queues in its first pages, data and lists behind them.
const MEMORY: usize = 64 << 10;

/// `slow`: whether its media take time, so that commands wait while others change the world.
fn controller(slow: bool) -> Box<dyn Endpoint> {
    let namespace = |block_size, metadata_size, protection| NamespaceConfig {
        blocks: 256,
        block_size,
        metadata_size,
        protection,
        ..NamespaceConfig::default()
    };
    let namespaces = vec![
        namespace(512, 0, ProtectionType::NONE),
        namespace(4096, 8, ProtectionType::from_bits(1)),
    ];
    let service =
        |micros| ServiceTime { latency: Duration::from_micros(micros), bytes_per_second: 1 << 30 };
    let media = MediaTiming { read: service(20), write: service(5), units: 2 };
    let subsystem =
        SubsystemConfig { namespaces, timing: slow.then_some(media), ..SubsystemConfig::default() };
    let controller = ControllerConfig {
        max_queue_entries: 64,
        max_io_queues: 4,
        mdts: 4,
        vectors: 8,
        cmb: Some(CmbConfig { len: 1 << 20, ..CmbConfig::default() }),
        pmr: Some(PmrConfig { len: 1 << 20, ..PmrConfig::default() }),
        ..ControllerConfig::default()
    };
    Box::new(NvmeController::new(NvmeConfig { subsystem, controller }).expect("a valid controller"))
}

struct Guest<'a> {
    input: Input<'a>,
    registers: Bar,
    memory: DmaBuffer,
    /// Addresses worth aiming at.
    targets: Vec<u64>,
}

impl Guest<'_> {
    /// An address: a good one, one of somebody's registers, or any.
    fn address(&mut self) -> u64 {
        let kind = self.input.byte();
        if kind == 0xff {
            return self.input.number(8);
        }
        let base = self.targets[usize::from(kind) % self.targets.len()];
        base.wrapping_add(self.input.number(2))
    }

    fn entry(&mut self) -> [u8; 64] {
        let mut entry = [0; 64];
        entry[0] = self.input.byte();
        entry[1] = self.input.byte();
        entry[2..4].copy_from_slice(&(self.input.number(2) as u16).to_le_bytes());
        entry[4] = self.input.byte() % 4;
        for pointer in [16, 24, 32] {
            let address = self.address();
            entry[pointer..pointer + 8].copy_from_slice(&address.to_le_bytes());
        }
        for dword in 10..16 {
            let bytes = usize::from(self.input.byte()) % 5;
            let value = self.input.number(bytes) as u32;
            entry[dword * 4..dword * 4 + 4].copy_from_slice(&value.to_le_bytes());
        }
        entry
    }

    fn act(&mut self) {
        match self.input.byte() % 8 {
            0 => {
                let at = self.input.number(2) & !3;
                let _ = self.registers.write32(at, self.input.number(4) as u32);
            }
            1 => {
                let at = self.input.number(2) & !3;
                let _ = self.registers.read32(at);
            }
            2 => self.enable(),
            3 | 4 => {
                let slot = usize::from(self.input.byte()) * 64 % 8192;
                let entry = self.entry();
                let _ = self.memory.memory().write(slot, &entry);
            }
            5 => {
                let at = usize::from(self.input.number(2) as u16) & !7;
                let value = self.address();
                let _ = self.memory.memory().write(at % (MEMORY - 8), &value.to_le_bytes());
            }
            _ => {
                let doorbell = 0x1000 + u64::from(self.input.byte() % 12) * 4;
                let _ = self.registers.write32(doorbell, u32::from(self.input.byte()));
            }
        }
    }

    /// A proper start: admin queues of 64 entries in the first pages.
    fn enable(&mut self) {
        let base = self.memory.iova().0;
        let _ = self.registers.write32(0x14, 0);
        let _ = self.registers.write32(0x24, 63 << 16 | 63);
        let _ = self.registers.write64(0x28, base);
        let _ = self.registers.write64(0x30, base + 4096);
        let _ = self.registers.write32(0x14, 0x46_0001);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    // A bit each: translation, time on the bus, time of the media.
    let bits = input.byte();
    let iommu = if bits & 1 == 0 { IommuMode::Off } else { IommuMode::Translate };
    let slow = bits & 4 != 0;
    let models = vec![controller(slow), controller(slow)];
    let fabric = machine(iommu, timing(bits & 2 != 0), models);
    let open = |name| fabric.open(fabric.find(name).expect("it is there")).expect("it opens");
    let (function, peer) = (open("d0"), open("d1"));
    for function in [&function, &peer] {
        let _ = function.config().write(4, Width::Word, 6);
    }
    let memory = function.alloc_dma(MEMORY).expect("memory for a guest");
    let mut targets = vec![memory.iova().0; 4];
    for index in BarIndex::all() {
        for function in [&function, &peer] {
            targets.extend(function.map_bar(index).ok().map(|bar| bar.address().0));
        }
    }
    targets.extend([0, 0xfee0_0000, 0x10_0000]);
    let registers = function.map_bar(BarIndex::ZERO).expect("registers");
    let mut guest = Guest { input, registers, memory, targets };
    guest.enable();
    while !guest.input.is_empty() {
        guest.act();
        let mut steps = 0;
        while fabric.step() {
            steps += 1;
            assert!(steps < PATIENCE, "work without end");
        }
    }
});
