//! A device that answers whatever it likes: the driver ends with success or a typed error, in time, and
//! never touches memory that it did not allocate.

#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use p2pdma_fabric::{
    Attributes, BarDescription, Description, Endpoint, MsixDescription, Port, Reset, TimerId,
};
use p2pdma_fuzz::{machine, timing};
use p2pdma_nvme::{Controller, Data, Options, QueueOptions, Segment};
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{BarIndex, Clock as _, Duration, Function, Instant, Iova};
use p2pdma_spec::pci::bar::BarKind;
use p2pdma_spec::pci::class::ClassCode;

/// Longer than the sum of all the driver's timeouts that one run can meet.
const PATIENCE: Duration = Duration::from_millis(3_600_000);

/// Registers that are plausible at first, and a script of lies.
struct Liar {
    script: Vec<u8>,
    at: usize,
    registers: Vec<u8>,
    admin: [u64; 2],
    /// Entries of the admin completion queue that were written, for the phase.
    posted: u64,
}

impl Liar {
    fn byte(&mut self) -> u8 {
        let byte = self.script.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        byte
    }

    fn word(&self, at: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&self.registers[at..at + 8]);
        u64::from_le_bytes(bytes)
    }

    /// Answers what is in the admin queue, more or less.
    fn answer(&mut self, port: &mut Port<'_>) {
        let entries = (self.word(0x24) >> 16 & 0xfff) + 1;
        for _ in 0..self.byte() % 4 {
            let slot = self.posted % entries;
            let mut entry = [0; 64];
            let from = Iova(self.admin[0].wrapping_add(slot * 64));
            let _ = port.read(from, &mut entry, Attributes::CONTROL);
            let data = u64::from_le_bytes(entry[24..32].try_into().unwrap_or_default());
            let fill = vec![self.byte(); 4096];
            let _ = port.write(Iova(data), &fill, Attributes::DATA);
            let mut completion = [0; 16];
            completion[0] = self.byte();
            completion[8..10].copy_from_slice(&(slot as u16 + 1).to_le_bytes());
            completion[12..14].copy_from_slice(&entry[2..4]);
            let phase = u8::from((self.posted / entries).is_multiple_of(2));
            completion[14] = phase;
            let lie = usize::from(self.byte());
            if lie < 64 {
                completion[lie % 16] ^= self.byte();
            }
            let to = Iova(self.admin[1].wrapping_add(slot * 16));
            let _ = port.write(to, &completion, Attributes::CONTROL);
            self.posted += 1;
        }
    }
}

impl Endpoint for Liar {
    fn describe(&self) -> Description {
        let bar = BarDescription {
            index: BarIndex::ZERO,
            len: 0x4000,
            kind: BarKind::Memory64 { prefetchable: false },
            memory: vec![],
        };
        let msix =
            MsixDescription { vectors: 4, bar: BarIndex::ZERO, table: 0x3000, pending: 0x3800 };
        Description {
            vendor: 0x1b36,
            device: 0x0010,
            class: ClassCode::NVME,
            bars: vec![bar],
            msix: Some(msix),
            function_level_reset: true,
            ..Description::default()
        }
    }

    fn mmio_read(&mut self, _: BarIndex, offset: u64, data: &mut [u8]) {
        let lie = self.byte();
        for (at, byte) in (offset..).zip(data.iter_mut()) {
            let place = usize::try_from(at).unwrap_or(usize::MAX);
            *byte = self.registers.get(place).copied().unwrap_or(0);
        }
        // CSTS follows CC, most of the time.
        if offset == 0x1c && data.len() == 4 && lie < 0xc0 {
            data[0] = self.registers[0x14] & 1;
        }
        if lie >= 0xf0 {
            for byte in data {
                *byte = self.byte();
            }
        }
    }

    fn mmio_write(&mut self, _: BarIndex, offset: u64, data: &[u8], port: &mut Port<'_>) {
        for (at, byte) in (offset..).zip(data) {
            let place = usize::try_from(at).unwrap_or(usize::MAX);
            if let Some(register) = self.registers.get_mut(place) {
                *register = *byte;
            }
        }
        self.admin = [self.word(0x28), self.word(0x30)];
        if offset == 0x14 {
            self.posted = 0;
        }
        if offset >= 0x1000 {
            self.answer(port);
        }
    }

    fn wake(&mut self, _: TimerId, _: &mut Port<'_>) {}
    fn reset(&mut self, _: Reset) {}
}

fn liar(data: &[u8]) -> Liar {
    let mut registers = vec![0; 0x2000];
    // CAP: 64 entries, contiguous, 500 ms, NVM command set, 4 KiB pages; version 2.1.
    let cap = 63_u64 | 1 << 16 | 1 << 24 | 1 << 37;
    registers[..8].copy_from_slice(&cap.to_le_bytes());
    registers[8..12].copy_from_slice(&0x0002_0100_u32.to_le_bytes());
    Liar { script: data.to_vec(), at: 0, registers, admin: [0; 2], posted: 0 }
}

fuzz_target!(|data: &[u8]| {
    let fabric = machine(IommuMode::Translate, timing(false), vec![Box::new(liar(data))]);
    let function = fabric.open(fabric.find("d0").expect("it is there")).expect("it opens");
    let function: Arc<dyn Function> = Arc::new(function);
    // A neighbour's memory, which nobody was told of.
    let canary = function.alloc_dma(4096).expect("memory");
    canary.memory().fill(0, 4096, 0xa5).expect("in range");
    if let Ok(controller) = Controller::open(function, Options::default()) {
        let _ = controller.cmb();
        let _ = controller.pmr();
        let _ = controller.next_event();
        for namespace in controller.namespaces().to_vec().into_iter().take(4) {
            let _ = controller.namespace(namespace);
        }
        if let Ok(mut queue) = controller.queue_pair::<u32>(&QueueOptions::entries(8))
            && let Ok(namespace) = controller.namespace(1)
            && let Ok(read) = namespace.read(0, 1)
            && let Ok(buffer) = controller.alloc_dma(4096)
        {
            let data = Segment::from(&buffer).slice(0..read.data_len());
            let _ = queue.submit(&read, data.map_or(Data::None, Data::from), 7);
            let _ = queue.wait(Duration::from_millis(100));
            let _ = queue.recover();
            drop(queue);
            drop(buffer);
        }
    }
    let mut there = [0; 4096];
    canary.memory().read(0, &mut there).expect("in range");
    assert!(there.iter().all(|&byte| byte == 0xa5), "the canary");
    assert!(fabric.clock().now().since(Instant::ZERO) < PATIENCE, "it took too long");
});
