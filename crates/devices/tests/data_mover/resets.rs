//! Resets, removal and loss of power at every event.

use p2pdma_devices::data_mover::registers::{FLAG_INTERRUPT, MoverStatus, offset};
use p2pdma_fabric::{Fabric, Timing, TimingModel};
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{Bdf, ConfigSpace as _, DmaBuffer, Function as _, Width};

use crate::machine::{Mover, contents, copy, fill, machine, memory, settle};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Disable,
    FunctionLevel,
    Hot,
    Remove,
    PowerCut,
}

/// A machine in which copies of several pieces are under way in both directions.
fn busy() -> (Fabric, Mover, DmaBuffer, DmaBuffer) {
    let fabric = machine(IommuMode::Off, Timing::Modelled(TimingModel::default()));
    let mut mover = Mover::start(&fabric, "m0", 16);
    let [from, to] = [(); 2].map(|()| mover.function.alloc_dma(1 << 20).unwrap());
    fill(from.memory(), 1);
    let peer = memory(&fabric, "a").address().0;
    for turn in 0..4_u64 {
        let at = turn * (200 << 10);
        let mut there = copy(from.iova().0 + at, peer + at, 150_000);
        there.flags = FLAG_INTERRUPT.into();
        mover.push(there);
        mover.push(copy(peer + at, to.iova().0 + at, 150_000));
    }
    mover.ring();
    (fabric, mover, from, to)
}

/// After any reset at any event no byte of memory changes any more, and no interrupt comes; and the mover
/// works when it is set up again.
#[test]
fn dma_ends_with_a_reset_at_every_event() {
    let ways = [Way::Disable, Way::FunctionLevel, Way::Hot, Way::Remove, Way::PowerCut];
    let mut resets = 0;
    for way in ways {
        for events in 0.. {
            let (fabric, mover, from, to) = busy();
            let line = mover.function.interrupt(0).unwrap();
            let mut more = true;
            for _ in 0..events {
                more = fabric.step();
            }
            match way {
                Way::Disable => {
                    mover.set(offset::CONTROL, 0);
                    // A read does not pass the write.
                    assert_eq!(mover.get(offset::STATUS), 0);
                }
                Way::FunctionLevel => mover.function.reset().unwrap(),
                Way::Hot => {
                    // A secondary bus reset at the root port (PCIe 6.0 §7.5.1.3.13).
                    let bridge = fabric.config(Bdf::new(0, 0, 1, 0).unwrap());
                    bridge.write(0x3E, Width::Word, 1 << 6).unwrap();
                    bridge.write(0x3E, Width::Word, 0).unwrap();
                }
                Way::Remove => drop(fabric.remove(mover.function.bdf()).unwrap().unwrap()),
                Way::PowerCut => fabric.power_cut(),
            }
            let _ = line.take();
            let snapshot = || [&to, &mover.completions].map(|buffer| contents(buffer.memory()));
            let before = snapshot();
            // What was already sent may still arrive, in no more time than a packet takes; nothing that
            // the mover does. Data land when they are sent.
            settle(&fabric);
            assert!(snapshot() == before, "memory changed after {way:?} at event {events}");
            revive(&fabric, way, &from);
            resets += 1;
            if !more {
                break;
            }
        }
    }
    println!("resets, removals and power cuts: {resets}");
    assert!(resets > 100);
}

fn revive(fabric: &Fabric, way: Way, from: &DmaBuffer) {
    match way {
        Way::Remove => return,
        // These take the addresses of the BARs along.
        Way::Hot | Way::PowerCut => fabric.enumerate().unwrap(),
        _ => {}
    }
    let mut mover = Mover::open(fabric, "m0", 4);
    if way != Way::Disable {
        for at in [offset::CONTROL, offset::STATUS, offset::ENTRIES, offset::TAIL, offset::HEAD] {
            assert_eq!(mover.get(at), 0, "{at:#x} after {way:?}");
        }
    }
    mover.enable();
    let to = mover.function.alloc_dma(100_000).unwrap();
    assert_eq!(
        mover.run(copy(from.iova().0, to.iova().0, 100_000)),
        (MoverStatus::Success, 100_000)
    );
    assert!(contents(to.memory()) == contents(from.memory())[..100_000]);
}

/// The target of copies is pulled out at any event: every descriptor still has its record.
#[test]
fn a_peer_that_is_pulled_out() {
    let mut removals = 0;
    for events in 0.. {
        let (fabric, mut mover, _from, _to) = busy();
        let mut more = true;
        for _ in 0..events {
            more = fabric.step();
        }
        fabric.remove(fabric.find("a").unwrap()).unwrap();
        for index in 0..8 {
            let record = mover.wait(index);
            assert!(MoverStatus::from_bits(record.status.get()).is_some());
            // What is read from nowhere is not success.
            if index % 2 == 1 && record.copied.get() < 150_000 {
                assert_ne!(record.status.get(), MoverStatus::Success as u16);
            }
        }
        removals += 1;
        if !more {
            break;
        }
    }
    println!("removals of a peer: {removals}");
}
