//! MSI-X: from a model's vector to the processor's count.

use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{BarIndex, Function as _, Width};
use p2pdma_spec::pci::capability::CapabilityId;

use crate::support::{Stage, switched};

fn stage() -> Stage {
    switched(IommuMode::Translate, PeerPolicy::Refuse, [0; 4])
}

fn drain(stage: &Stage) {
    while stage.fabric.step() {}
}

#[test]
fn a_raised_vector_is_counted_at_its_line_only() {
    let stage = stage();
    let function = stage.fabric.open(stage.bdf("a")).unwrap();
    let lines = [0, 3].map(|vector| function.interrupt(vector).unwrap());
    for vector in [3, 3, 0, 2] {
        stage.act("a", move |port| port.raise(vector));
    }
    drain(&stage);
    assert_eq!(lines.each_ref().map(p2pdma_pci::Interrupt::take), [1, 2]);
    assert_eq!(lines[1].take(), 0);
    assert_eq!(stage.fabric.spurious_interrupts(), 0);
    assert!(function.interrupt(4).is_err());
}

#[test]
fn a_masked_vector_is_pending_until_it_is_unmasked() {
    let stage = stage();
    let function = stage.fabric.open(stage.bdf("a")).unwrap();
    let line = function.interrupt(1).unwrap();
    let registers = function.map_bar(BarIndex::ZERO).unwrap();
    registers.write32(0x2000 + 16 + 12, 1).unwrap();
    stage.act("a", |port| port.raise(1));
    drain(&stage);
    assert_eq!((line.take(), registers.read32(0x3000).unwrap()), (0, 0b10));
    registers.write32(0x2000 + 16 + 12, 0).unwrap();
    drain(&stage);
    assert_eq!((line.take(), registers.read32(0x3000).unwrap()), (1, 0));
}

#[test]
fn the_function_mask_holds_all_vectors_back() {
    let stage = stage();
    let function = stage.fabric.open(stage.bdf("a")).unwrap();
    let line = function.interrupt(0).unwrap();
    let config = function.config();
    let control = config.capability(CapabilityId::MSI_X).unwrap().unwrap() + 2;
    let enabled = config.read(control, Width::Word).unwrap();
    config.write(control, Width::Word, enabled | 1 << 14).unwrap();
    stage.act("a", |port| port.raise(0));
    drain(&stage);
    assert_eq!(line.take(), 0);
    config.write(control, Width::Word, enabled).unwrap();
    drain(&stage);
    assert_eq!(line.take(), 1);
}

#[test]
fn without_bus_mastering_no_interrupt_leaves() {
    let stage = stage();
    let function = stage.fabric.open(stage.bdf("a")).unwrap();
    let line = function.interrupt(0).unwrap();
    stage.set_bus_master("a", false);
    stage.act_as_is("a", |port| port.raise(0));
    drain(&stage);
    assert_eq!(line.take(), 0);
}

#[test]
fn a_write_to_the_interrupt_range_with_foreign_data_is_spurious() {
    let stage = stage();
    stage.act("b", |port| {
        let at = p2pdma_pci::Iova(0xfee0_0000);
        port.write(at, &77_u32.to_le_bytes(), p2pdma_fabric::Attributes::CONTROL).unwrap();
        port.write(at, &[0; 8], p2pdma_fabric::Attributes::CONTROL).unwrap();
    });
    drain(&stage);
    assert_eq!(stage.fabric.spurious_interrupts(), 2);
}
