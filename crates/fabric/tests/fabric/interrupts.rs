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

/// With an IOMMU interrupts are remapped, and each function reaches its own lines only; without one any
/// function can raise any other's.
#[test]
fn a_function_raises_its_own_interrupts_only() {
    for mode in [IommuMode::Off, IommuMode::Passthrough, IommuMode::Translate] {
        let stage = switched(mode, PeerPolicy::Refuse, [0; 4]);
        let function = stage.fabric.open(stage.bdf("a")).unwrap();
        let line = function.interrupt(0).unwrap();
        let data = function.map_bar(BarIndex::ZERO).unwrap().read32(0x2000 + 8).unwrap();
        stage.act("b", move |port| {
            let at = p2pdma_pci::Iova(0xfee0_0000);
            port.write(at, &data.to_le_bytes(), p2pdma_fabric::Attributes::CONTROL).unwrap();
        });
        drain(&stage);
        let (faults, total) = stage.fabric.take_iommu_faults();
        assert_eq!(line.take(), u64::from(mode == IommuMode::Off));
        assert_eq!(total, u64::from(mode != IommuMode::Off));
        assert!(faults.iter().all(|fault| fault.requester == stage.bdf("b")
            && fault.reason == p2pdma_fabric::FaultReason::ForeignInterrupt));
    }
}

/// Two functions whose messages unmask each other's vectors, all of them pending: they go out in turn.
#[test]
fn messages_that_unmask_each_other_come_to_an_end() {
    let stage = switched(IommuMode::Off, PeerPolicy::Forward, [0; 4]);
    let names = ["a", "b"];
    let tables = names.map(|name| stage.registers(name) + 0x2000);
    for (name, other) in names.into_iter().zip([tables[1], tables[0]]) {
        let function = stage.fabric.open(stage.bdf(name)).unwrap();
        drop(function.interrupt(0).unwrap());
        let registers = function.map_bar(BarIndex::ZERO).unwrap();
        for vector in 0..4 {
            let entry = 0x2000 + 16 * vector;
            // The message of each vector unmasks the same vector of the other function.
            let mask = (other + 16 * vector + 12).to_le_bytes();
            registers.write(entry, &mask).unwrap();
            registers.write32(entry + 8, 0).unwrap();
            registers.write32(entry + 12, 1).unwrap();
        }
        for vector in 0..4 {
            stage.act(name, move |port| port.raise(vector));
        }
    }
    let pending = |name| {
        let function = stage.fabric.open(stage.bdf(name)).unwrap();
        function.map_bar(BarIndex::ZERO).unwrap().read32(0x3000).unwrap()
    };
    assert_eq!(names.map(pending), [0b1111; 2]);
    let before = stage.fabric.events();
    let first = stage.fabric.open(stage.bdf("a")).unwrap().map_bar(BarIndex::ZERO).unwrap();
    for vector in 0..4 {
        first.write32(0x2000 + 16 * vector + 12, 0).unwrap();
    }
    drain(&stage);
    assert_eq!(names.map(pending), [0; 2]);
    assert!(stage.fabric.events() - before < 40);
}
