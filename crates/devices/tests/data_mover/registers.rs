//! Registers, rings that can and cannot be, interrupts.

use p2pdma_devices::Error;
use p2pdma_devices::data_mover::registers::{
    CONTROL_ENABLE, FLAG_INTERRUPT, MoverStatus, STATUS_ENABLED, offset,
};
use p2pdma_devices::data_mover::{DataMover, DataMoverConfig, MAX_LENGTH};
use p2pdma_fabric::Endpoint as _;
use p2pdma_pci::Function as _;

use crate::machine::{Mover, copy, outcome, plain};

/// Every register with its width.
const REGISTERS: [(u64, u32); 9] = [
    (offset::MAX_ENTRIES, 4),
    (offset::MAX_LENGTH, 4),
    (offset::CONTROL, 4),
    (offset::STATUS, 4),
    (offset::RING, 8),
    (offset::COMPLETIONS, 8),
    (offset::ENTRIES, 4),
    (offset::TAIL, 4),
    (offset::HEAD, 4),
];

#[test]
fn what_the_registers_say_when_it_is_off() {
    let mover = Mover::open(&plain(), "m0", 8);
    assert_eq!(mover.get(offset::MAX_ENTRIES), 4096);
    assert_eq!(mover.get(offset::MAX_LENGTH), MAX_LENGTH);
    for (at, width) in REGISTERS.into_iter().skip(2) {
        for word in (at..at + u64::from(width)).step_by(4) {
            assert_eq!(mover.get(word), 0, "{word:#x}");
        }
    }
    // Behind them there is nothing, up to the MSI-X table.
    for at in (0x2C..8192).step_by(4) {
        mover.set(at, 0xFFFF_FFFF);
        assert_eq!(mover.get(at), 0, "{at:#x}");
    }
}

#[test]
fn what_can_be_written_and_when() {
    let mover = Mover::open(&plain(), "m0", 8);
    for (at, width) in REGISTERS {
        if at != offset::CONTROL {
            (at..at + u64::from(width)).step_by(4).for_each(|word| mover.set(word, u32::MAX));
        }
    }
    // Bits 5 to 0 of the rings' addresses are zero; what is read only, or needs the engine, stays.
    for (at, expected) in [
        (offset::MAX_ENTRIES, 4096),
        (offset::MAX_LENGTH, MAX_LENGTH),
        (offset::STATUS, 0),
        (offset::RING, 0xFFFF_FFC0),
        (offset::RING + 4, 0xFFFF_FFFF),
        (offset::COMPLETIONS, 0xFFFF_FFC0),
        (offset::COMPLETIONS + 4, 0xFFFF_FFFF),
        (offset::ENTRIES, 0xFFFF_FFFF),
        (offset::TAIL, 0),
        (offset::HEAD, 0),
    ] {
        assert_eq!(mover.get(at), expected, "{at:#x}");
    }
    let mut mover = mover;
    mover.enable();
    let before = [offset::RING, offset::COMPLETIONS].map(|at| mover.bar.read64(at).unwrap());
    assert_eq!(before, [mover.ring.iova().0, mover.completions.iova().0]);
    for at in [offset::RING, offset::COMPLETIONS] {
        mover.bar.write64(at, 0x4_0000).unwrap();
    }
    mover.set(offset::ENTRIES, 4);
    let after = [offset::RING, offset::COMPLETIONS].map(|at| mover.bar.read64(at).unwrap());
    assert_eq!((after, mover.get(offset::ENTRIES)), (before, 8));
    // Enabling twice changes nothing; disabling forgets where it was, and unlocks.
    mover.set(offset::CONTROL, CONTROL_ENABLE | 0xFFFF_FFF0);
    assert_eq!(mover.get(offset::CONTROL), CONTROL_ENABLE);
    mover.set(offset::CONTROL, 0xFFFF_FFFE);
    assert_eq!((mover.get(offset::CONTROL), mover.get(offset::STATUS)), (0, 0));
    mover.set(offset::ENTRIES, 4);
    assert_eq!(mover.get(offset::ENTRIES), 4);
}

/// A register reads the same in one access, in two, or byte by byte.
#[test]
fn reads_of_any_size_agree() {
    let mover = Mover::start(&plain(), "m0", 8);
    let mut whole = vec![0; 64];
    mover.bar.read(0, &mut whole).unwrap();
    let mut reads = 0;
    for at in 0..64_u64 {
        for len in [1, 2, 3, 4, 8, 16] {
            let mut part = vec![0; len.min(64 - at as usize)];
            mover.bar.read(at, &mut part).unwrap();
            assert_eq!(part, whole[at as usize..at as usize + part.len()], "{at} {len}");
            reads += 1;
        }
    }
    println!("reads: {reads}");
}

/// Writes of other sizes, or not aligned, do nothing.
#[test]
fn odd_writes_do_nothing() {
    let mover = Mover::open(&plain(), "m0", 8);
    for (at, len) in
        [(0x10, 1), (0x10, 2), (0x10, 3), (0x11, 4), (0x12, 4), (0x14, 8), (0x10, 16), (0x10, 64)]
    {
        mover.bar.write(at, &vec![0xFF; len]).unwrap();
        mover.settle();
        assert_eq!(mover.bar.read64(offset::RING).unwrap(), 0, "{len} bytes at {at:#x}");
    }
    mover.bar.write64(offset::RING, 0x1234_5678_9ABC_DEC0).unwrap();
    assert_eq!(mover.bar.read64(offset::RING).unwrap(), 0x1234_5678_9ABC_DEC0);
}

#[test]
fn rings_that_cannot_be_leave_it_off() {
    let mover = Mover::open(&plain(), "m0", 8);
    let last = u64::MAX - 63;
    // Ring, completions, entries, whether it can be.
    for (ring, completions, entries, possible) in [
        (0x10_0000, 0x20_0000, 0, false),
        (0x10_0000, 0x20_0000, 1, false),
        (0x10_0000, 0x20_0000, 2, true),
        (0x10_0000, 0x20_0000, 4096, true),
        (0x10_0000, 0x20_0000, 4097, false),
        (0x10_0000, 0x20_0000, u32::MAX, false),
        (last, 0x20_0000, 2, false),
        (last - 64, 0x20_0000, 3, true),
        (last - 64, 0x20_0000, 4, false),
        (0x10_0000, last, 2, true),
        (0x10_0000, last, 3, true),
        (0x10_0000, last, 4, false),
    ] {
        mover.bar.write64(offset::RING, ring).unwrap();
        mover.bar.write64(offset::COMPLETIONS, completions).unwrap();
        mover.set(offset::ENTRIES, entries);
        mover.set(offset::CONTROL, CONTROL_ENABLE);
        let enabled = mover.get(offset::STATUS) & STATUS_ENABLED != 0;
        assert_eq!(enabled, possible, "{ring:#x} {completions:#x} {entries}");
        mover.set(offset::CONTROL, 0);
    }
}

#[test]
fn movers_that_cannot_be_built() {
    for (max_entries, possible) in [
        (0, false),
        (1, false),
        (2, true),
        (1 << 16, true),
        ((1 << 16) + 1, false),
        (u32::MAX, false),
    ] {
        let built = DataMover::new(DataMoverConfig { max_entries, ..DataMoverConfig::default() });
        match built {
            Ok(mover) => {
                assert!(possible);
                assert_eq!(mover.describe().bars.len(), 1);
            }
            Err(error) => assert!(!possible && matches!(error, Error::Value { .. }), "{error}"),
        }
    }
}

/// Every value of the doorbell for every state of a small ring: what is no index is ignored, any other is
/// where fetching ends.
#[test]
fn doorbell_values() {
    let mut values = 0;
    for entries in 2..6 {
        for start in 0..entries {
            for value in 0..entries + 3 {
                let fabric = plain();
                let mut mover = Mover::start(&fabric, "m0", entries);
                let buffer = mover.function.alloc_dma(8192).unwrap();
                let at = buffer.iova().0;
                for _ in 0..start {
                    mover.run(copy(at, at + 4096, 8));
                }
                assert_eq!(mover.get(offset::HEAD), start);
                for _ in 0..entries {
                    mover.push(copy(at, at + 4096, 8));
                }
                mover.set(offset::TAIL, value);
                mover.settle();
                let expected = if value < entries { value } else { start };
                assert_eq!(
                    (mover.get(offset::TAIL), mover.get(offset::HEAD)),
                    (expected, expected)
                );
                values += 1;
            }
        }
    }
    for value in [1 << 16, 1 << 31, u32::MAX] {
        let mover = Mover::start(&plain(), "m0", 8);
        mover.set(offset::TAIL, value);
        mover.settle();
        assert_eq!((mover.get(offset::TAIL), mover.get(offset::HEAD)), (0, 0));
        values += 1;
    }
    println!("doorbell values: {values}");
}

/// A descriptor that asks for one makes one interrupt, whether it succeeds or not; no other does.
#[test]
fn interrupts_as_asked_for() {
    let mut mover = Mover::start(&plain(), "m0", 16);
    let line = mover.function.interrupt(0).unwrap();
    let buffer = mover.function.alloc_dma(8192).unwrap();
    let at = buffer.iova().0;
    let good = copy(at, at + 4096, 64);
    let bad = copy(at, at + 4096, 0);
    for (descriptor, status) in
        [(good, MoverStatus::Success), (bad, MoverStatus::InvalidDescriptor)]
    {
        for flag in [0, FLAG_INTERRUPT] {
            let descriptor = p2pdma_devices::data_mover::registers::Descriptor {
                flags: flag.into(),
                ..descriptor
            };
            assert_eq!(mover.run(descriptor).0, status);
            assert_eq!(line.take(), u64::from(flag));
        }
    }
    // Of a batch, as many as asked.
    let mut asked = 0;
    let mut indexes = Vec::new();
    for turn in 0..10 {
        let flags = if turn % 3 == 0 { FLAG_INTERRUPT } else { 0 };
        asked += u64::from(flags);
        let mut descriptor = good;
        descriptor.flags = flags.into();
        indexes.push(mover.push(descriptor));
    }
    mover.ring();
    for index in indexes {
        assert_eq!(outcome(&mover.wait(index)), (MoverStatus::Success, 64));
    }
    mover.settle();
    assert_eq!(line.take(), asked);
    assert!(mover.function.interrupt(1).is_err(), "there is one vector");
}

/// What is raised while the vector is masked comes when it is not any more: once.
#[test]
fn a_masked_interrupt_waits() {
    let mut mover = Mover::start(&plain(), "m0", 16);
    let line = mover.function.interrupt(0).unwrap();
    let buffer = mover.function.alloc_dma(8192).unwrap();
    let mut descriptor = copy(buffer.iova().0, buffer.iova().0 + 4096, 64);
    descriptor.flags = FLAG_INTERRUPT.into();
    // Vector control is the last dword of the table's entry.
    let control = (8 << 10) + 12;
    mover.set(control, 1);
    for _ in 0..3 {
        mover.run(descriptor);
    }
    assert_eq!(line.take(), 0);
    assert_eq!(mover.get(12 << 10), 1, "pending");
    mover.set(control, 0);
    mover.settle();
    assert_eq!(line.take(), 1);
}

#[test]
fn statuses_and_their_numbers() {
    let known = (0..=u16::MAX).filter_map(MoverStatus::from_bits).collect::<Vec<_>>();
    assert_eq!(known.len(), 7);
    for (bits, status) in (0..).zip(known) {
        assert_eq!(status as u16, bits);
    }
}
