//! Descriptors that cannot be, and everything that can go wrong on the way.

use p2pdma_devices::data_mover::MAX_LENGTH;
use p2pdma_devices::data_mover::registers::{MoverStatus, STATUS_ENABLED, STATUS_FAILED, offset};
use p2pdma_fabric::{Fault, FaultKind, PayloadClass, Site, Timing};
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{DmaBuffer, Duration, Function as _, Width};

use crate::machine::{Mover, contents, copy, fill, machine, outcome, plain};

const PIECE: u32 = 64 << 10;

/// Length, flags and addresses at and beyond every bound: refused as a whole, and nothing is touched.
#[test]
fn descriptors_that_cannot_be() {
    let mut mover = Mover::start(&plain(), "m0", 8);
    let buffer = mover.function.alloc_dma(8192).unwrap();
    fill(buffer.memory(), 1);
    let before = contents(buffer.memory());
    let at = buffer.iova().0;
    let mut refused = 0;
    for len in [0, MAX_LENGTH + 1, 1 << 31, u32::MAX] {
        assert_eq!(mover.run(copy(at, at + 4096, len)), (MoverStatus::InvalidDescriptor, 0));
        refused += 1;
    }
    for bit in 1..32 {
        for interrupt in [0, 1] {
            let mut descriptor = copy(at, at + 4096, 64);
            descriptor.flags = (1 << bit | interrupt).into();
            assert_eq!(mover.run(descriptor), (MoverStatus::InvalidDescriptor, 0));
            refused += 1;
        }
    }
    for (source, target, len) in [
        (u64::MAX, at, 1),
        (u64::MAX - 62, at, 64),
        (at, u64::MAX, 1),
        (at, u64::MAX - 62, 64),
        (u64::MAX, u64::MAX, u32::MAX),
        (u64::MAX - u64::from(MAX_LENGTH) + 1, at, MAX_LENGTH),
    ] {
        assert_eq!(mover.run(copy(source, target, len)), (MoverStatus::InvalidDescriptor, 0));
        refused += 1;
    }
    assert!(contents(buffer.memory()) == before);
    // The last that can be is only found to lead nowhere.
    for (source, len) in [(u64::MAX - 64, 64), (1 << 50, MAX_LENGTH)] {
        assert_eq!(mover.run(copy(source, at, len)), (MoverStatus::UnsupportedRequest, 0));
    }
    println!("refused: {refused}");
}

/// A faulty packet has its status, at whichever piece of a copy; what had arrived before it, and that alone,
/// is reported as copied.
#[test]
fn every_error_at_every_piece() {
    let mut errors = 0;
    for (kind, expected) in [
        (FaultKind::UnsupportedRequest, MoverStatus::UnsupportedRequest),
        (FaultKind::CompleterAbort, MoverStatus::CompleterAbort),
        (FaultKind::CompletionTimeout, MoverStatus::CompletionTimeout),
        (FaultKind::Drop, MoverStatus::CompletionTimeout),
        (FaultKind::Poison, MoverStatus::Poisoned),
    ] {
        for piece in 0..20 {
            let (mut mover, from, to) = long();
            let site = Site::Read(mover.function.bdf(), Some(PayloadClass::Data));
            mover.fabric.inject(Fault { site, index: u64::from(piece), kind });
            let outcome = mover.run(copy(from.iova().0, to.iova().0, 20 * PIECE));
            assert_eq!(outcome, (expected, piece * PIECE), "{kind:?}");
            assert!(mover.fabric.faults()[0].fired.is_some());
            let (now, source) = (contents(to.memory()), contents(from.memory()));
            let copied = (piece * PIECE) as usize;
            assert!(now[..copied] == source[..copied]);
            assert!(now[copied..].iter().all(|byte| *byte == 0));
            // The mover is as good as before.
            let again = copy(from.iova().0, to.iova().0, 20 * PIECE);
            assert_eq!(mover.run(again), (MoverStatus::Success, 20 * PIECE));
            errors += 1;
        }
    }
    println!("errors: {errors}");
}

/// A mover, and buffers of 20 pieces.
fn long() -> (Mover, DmaBuffer, DmaBuffer) {
    let mover = Mover::start(&plain(), "m0", 8);
    let [from, to] = [(); 2].map(|()| mover.function.alloc_dma(20 * PIECE as usize).unwrap());
    fill(from.memory(), 3);
    (mover, from, to)
}

/// What is copied is counted from the beginning. Of six pieces two come late: the first of them cannot be
/// written, since bus mastering is off at that moment; the second can. Behind the gap that is left nothing
/// counts, though it is there.
#[test]
fn copied_is_what_arrived_without_a_gap() {
    let mut gaps = 0;
    for lost in 0..6_u32 {
        for last in (0..6).filter(|last| *last != lost) {
            let (mut mover, from, to) = long();
            let site = Site::Read(mover.function.bdf(), Some(PayloadClass::Data));
            for (piece, millis) in [(lost, 1), (last, 2)] {
                let kind = FaultKind::Delay(Duration::from_millis(millis));
                mover.fabric.inject(Fault { site, index: u64::from(piece), kind });
            }
            let index = mover.push(copy(from.iova().0, to.iova().0, 6 * PIECE));
            mover.ring();
            let bus_master =
                |on: u32| mover.function.config().write(4, Width::Word, 2 | on).unwrap();
            assert!(mover.fabric.step(), "the doorbell, with which four pieces arrive");
            bus_master(0);
            assert!(mover.fabric.step(), "the piece that is lost");
            bus_master(4);
            let record = mover.wait(index);
            assert_eq!(outcome(&record), (MoverStatus::CannotSend, lost * PIECE));
            let (now, source) = (contents(to.memory()), contents(from.memory()));
            for piece in 0..6 {
                let range = (piece * PIECE) as usize..((piece + 1) * PIECE) as usize;
                assert_eq!(now[range.clone()] == source[range], piece != lost, "piece {piece}");
            }
            gaps += 1;
        }
    }
    println!("gaps: {gaps}");
}

#[test]
fn a_function_that_may_not_send_says_so() {
    let (mut mover, from, to) = long();
    let index = mover.push(copy(from.iova().0, to.iova().0, PIECE));
    // Without bus mastering not even the descriptor is fetched.
    mover.function.config().write(4, Width::Word, 2).unwrap();
    mover.ring();
    mover.settle();
    assert_eq!(mover.get(offset::STATUS), STATUS_ENABLED | STATUS_FAILED);
    assert!(mover.take(index).is_none());
    // It stays so until it is enabled anew.
    mover.function.config().write(4, Width::Word, 6).unwrap();
    mover.ring();
    mover.settle();
    assert_eq!(mover.get(offset::STATUS), STATUS_ENABLED | STATUS_FAILED);
    mover.set(offset::CONTROL, 0);
    assert_eq!(mover.get(offset::STATUS), 0);
    mover.enable();
    let outcome = mover.run(copy(from.iova().0, to.iova().0, PIECE));
    assert_eq!(outcome, (MoverStatus::Success, PIECE));
}

/// A ring that cannot be read stops the mover; a record that is lost on its way does not.
#[test]
fn rings_out_of_reach() {
    let fabric = machine(IommuMode::Translate, Timing::Ideal);
    let mover = Mover::open(&fabric, "m0", 8);
    let nowhere = 0x0123_4567_8000;
    mover.bar.write64(offset::RING, nowhere).unwrap();
    mover.bar.write64(offset::COMPLETIONS, mover.completions.iova().0).unwrap();
    mover.set(offset::ENTRIES, 8);
    mover.set(offset::CONTROL, 1);
    mover.set(offset::TAIL, 1);
    mover.settle();
    assert_eq!(mover.get(offset::STATUS), STATUS_ENABLED | STATUS_FAILED);
    mover.set(offset::CONTROL, 0);
    let mut mover = mover;
    let [from, to] = [(); 2].map(|()| mover.function.alloc_dma(4096).unwrap());
    fill(from.memory(), 4);
    mover.bar.write64(offset::RING, mover.ring.iova().0).unwrap();
    mover.bar.write64(offset::COMPLETIONS, nowhere).unwrap();
    mover.set(offset::CONTROL, 1);
    let faults = fabric.take_iommu_faults().1;
    mover.push(copy(from.iova().0, to.iova().0, 4096));
    mover.ring();
    mover.settle();
    // The copy was made; its record is a fault record of the IOMMU.
    assert!(contents(to.memory()) == contents(from.memory()));
    assert_eq!(mover.get(offset::STATUS), STATUS_ENABLED);
    assert_eq!(fabric.take_iommu_faults().1, faults + 1);
    // Data out of reach: reads say so, posted writes cannot.
    mover.set(offset::CONTROL, 0);
    mover.enable();
    let unreachable = mover.run(copy(nowhere, to.iova().0, 64));
    assert_eq!(unreachable, (MoverStatus::UnsupportedRequest, 0));
    assert_eq!(mover.run(copy(from.iova().0, nowhere, 64)), (MoverStatus::Success, 64));
}

/// The link is down, or the function is gone: nothing hangs.
#[test]
fn a_link_that_goes_down() {
    for kind in [FaultKind::LinkDown, FaultKind::Unplug] {
        // One for the descriptors, nine for the data.
        for index in 0..10 {
            let (mut mover, from, to) = long();
            let site = Site::Read(mover.function.bdf(), None);
            mover.fabric.inject(Fault { site, index, kind });
            for _ in 0..3 {
                mover.push(copy(from.iova().0, to.iova().0, 3 * PIECE));
            }
            mover.ring();
            mover.settle();
            assert!(mover.fabric.faults()[0].fired.is_some());
        }
    }
}
