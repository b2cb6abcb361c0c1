//! Configuration writes of any width anywhere, memory accesses through whatever they left, hot-plug and
//! power cuts: no panic, and enumeration brings the machine back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use p2pdma_devices::{BarMemoryConfig, BarMemoryDevice, DataMover, DataMoverConfig};
use p2pdma_fabric::Endpoint;
use p2pdma_fuzz::{Input, machine, timing};
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{BarIndex, Bdf, ConfigSpace as _, Function as _, Width};

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let memory = BarMemoryDevice::new(BarMemoryConfig { len: 1 << 20, ..Default::default() });
    let mover = DataMover::new(DataMoverConfig::default());
    let models: Vec<Box<dyn Endpoint>> =
        vec![Box::new(memory.expect("a model")), Box::new(mover.expect("a model"))];
    let fabric = machine(IommuMode::Off, timing(false), models);
    while !input.is_empty() {
        let bdf = Bdf::from_requester(0, (input.number(1) << 8 | input.number(1) & 0x1f) as u16);
        match input.byte() % 8 {
            0..=4 => {
                let width = input.pick(&[Width::Byte, Width::Word, Width::Dword]);
                let offset = (input.number(2) & 0x1ff) as u16 & !(width.bytes() - 1);
                let _ = fabric.config(bdf).write(offset, width, input.number(4) as u32);
            }
            5 => {
                if let Ok(function) = fabric.open(bdf)
                    && let Some(index) = BarIndex::new(input.byte() % 6)
                    && let Ok(bar) = function.map_bar(index)
                {
                    let _ = bar.write32(input.number(3) & !3, input.number(4) as u32);
                    let _ = bar.read32(input.number(3) & !3);
                }
            }
            6 => {
                let _ = fabric.topology();
            }
            _ => {
                for _ in 0..64 {
                    fabric.step();
                }
            }
        }
    }
    fabric.power_cut();
    fabric.enumerate().expect("what was once enumerated is enumerated again");
    assert_eq!(fabric.functions().len(), 2);
});
