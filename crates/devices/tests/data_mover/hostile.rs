//! A host that means harm: DMA aimed at the mover itself and at its rings, at a peer that aims back, tails
//! that jump, descriptors of any content.

use p2pdma_devices::data_mover::registers::{Descriptor, MoverStatus, offset};
use p2pdma_fabric::{Fault, FaultKind, PayloadClass, Site, Timing, TimingModel};
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{Duration, Function as _};

use crate::machine::{
    MEMORY, Mover, Rng, contents, copy, fill, machine, memory, open, outcome, plain, settle,
};

/// A copy whose first piece is slow is still under way when the ring has gone round: its index is not
/// taken up a second time, wherever the tail is; it is when it is done.
#[test]
fn an_index_that_is_under_way_is_not_taken_up_again() {
    for entries in 2..10 {
        let fabric = plain();
        let mut mover = Mover::start(&fabric, "m0", entries);
        let [from, to] = [(); 2].map(|()| mover.function.alloc_dma(8192).unwrap());
        fill(from.memory(), 1);
        let site = Site::Read(mover.function.bdf(), Some(PayloadClass::Data));
        let kind = FaultKind::Delay(Duration::from_millis(1));
        fabric.inject(Fault { site, index: 0, kind });
        let slow = copy(from.iova().0, to.iova().0, 4096);
        let index = mover.push(slow);
        for _ in 1..entries {
            // These end at once.
            mover.push(copy(0, 0, 0));
        }
        // All of them, then round to 1: index 0 is asked for again while it is under way.
        for tail in [entries - 1, 0, 1, entries - 1, 0] {
            mover.set(offset::TAIL, tail);
            assert!(fabric.step());
        }
        assert_eq!(mover.get(offset::HEAD), 0);
        assert_eq!(outcome(&mover.wait(index)), (MoverStatus::Success, 4096));
        settle(&fabric);
        // Now it is: the same copy, the other phase.
        mover.set(offset::TAIL, 1);
        settle(&fabric);
        assert_eq!(mover.get(offset::HEAD), 1);
        assert_eq!(outcome(&mover.wait(index)), (MoverStatus::Success, 4096));
        assert!(contents(to.memory())[..4096] == contents(from.memory())[..4096]);
    }
}

/// Reads and writes of its own registers, MSI-X table and pending bits go out on the bus, and no port turns
/// them back: an error for a read, nothing for a write.
#[test]
fn dma_to_own_registers() {
    let fabric = plain();
    let mut mover = Mover::start(&fabric, "m0", 8);
    let buffer = mover.function.alloc_dma(8192).unwrap();
    buffer.memory().fill(0, 8192, 0xA5).unwrap();
    let own = mover.bar.address().0;
    let mut attacks = 0;
    let registers: Vec<u32> = (0..0x2C).step_by(4).map(|at| mover.get(at)).collect();
    for target in [offset::CONTROL, offset::RING, offset::TAIL, 8 << 10, 12 << 10, 0] {
        for len in [1, 4, 8, 4096] {
            let read = mover.run(copy(own + target, buffer.iova().0, len));
            assert_eq!(read, (MoverStatus::UnsupportedRequest, 0));
            let written = mover.run(copy(buffer.iova().0, own + target, len));
            assert_eq!(written, (MoverStatus::Success, len));
            attacks += 2;
        }
    }
    // But for where it is in its ring.
    for (at, before) in (0..0x2C).step_by(4).zip(registers) {
        if !matches!(at, offset::TAIL | offset::HEAD) {
            assert_eq!(mover.get(at), before, "{at:#x}");
        }
    }
    assert!(fabric.errors("m0").unwrap().unsupported_requests > 0);
    println!("attacks on own registers: {attacks}");
}

/// Copies that write descriptors into the very ring that they come from, or records into the descriptors:
/// what was fetched is what is done, and nothing goes on for ever.
#[test]
fn copies_into_their_own_rings() {
    for timing in [Timing::Ideal, Timing::Modelled(TimingModel::default())] {
        let fabric = machine(IommuMode::Off, timing);
        let mut mover = Mover::start(&fabric, "m0", 64);
        let ring = mover.ring.iova().0;
        let source = mover.function.alloc_dma(4096).unwrap();
        // Each descriptor overwrites all of the ring with descriptors like itself.
        let forged = copy(source.iova().0, ring, 2048);
        for index in 0..64 {
            source.memory().write_value(index * 32, &forged).unwrap();
        }
        for _ in 0..63 {
            mover.push(forged);
        }
        mover.ring();
        let before = fabric.events();
        settle(&fabric);
        assert!(fabric.events() - before < 10_000);
        assert_eq!(mover.get(offset::HEAD), 63);
        for index in 0..63 {
            assert_eq!(outcome(&mover.take(index).unwrap()), (MoverStatus::Success, 2048));
        }
        // Completion records over descriptors: the ring is both.
        mover.set(offset::CONTROL, 0);
        mover.bar.write64(offset::COMPLETIONS, ring).unwrap();
        mover.set(offset::CONTROL, 1);
        mover.set(offset::TAIL, 63);
        let before = fabric.events();
        settle(&fabric);
        assert!(fabric.events() - before < 10_000);
    }
}

/// Two movers whose copies ring each other's doorbells: neither starves a third party, nothing grows, and
/// both can be stopped.
#[test]
fn movers_that_ring_each_other() {
    let fabric = plain();
    let mut movers = ["m0", "m1"].map(|name| Mover::start(&fabric, name, 4));
    let doorbells = [1, 0].map(|other: usize| movers[other].bar.address().0 + offset::TAIL);
    let tails = movers[0].function.alloc_dma(4096).unwrap();
    for index in 0..4_u32 {
        tails.memory().write(index as usize * 4, &index.to_le_bytes()).unwrap();
    }
    for (mover, doorbell) in movers.iter_mut().zip(doorbells) {
        // Descriptor n tells the other to go on to n + 2, modulo 4: each round has a next one.
        for index in 0..4_u64 {
            let tail = (index + 2) % 4;
            mover.push(copy(tails.iova().0 + tail * 4, doorbell, 4));
        }
    }
    movers[0].set(offset::TAIL, 1);
    movers[1].set(offset::TAIL, 1);
    // A processor that reads and writes beside them is not kept waiting.
    let victim = memory(&fabric, "b");
    for turn in 0..2000_u32 {
        victim.write32(8, turn).unwrap();
        assert_eq!(victim.read32(8).unwrap(), turn);
        assert!(fabric.step(), "they have stopped");
    }
    let heads = [0, 1].map(|index: usize| movers[index].get(offset::HEAD));
    println!("after 2000 events the heads are at {heads:?}");
    for mover in &movers {
        mover.set(offset::CONTROL, 0);
    }
    settle(&fabric);
}

/// What is more than an event's work is done in turns: no event moves more than 16 MiB.
#[test]
fn long_copies_take_turns() {
    let fabric = plain();
    let mut mover = Mover::start(&fabric, "m0", 8);
    let peer = memory(&fabric, "a").address().0;
    // The same four MiB again and again.
    let indexes: Vec<u32> = (0..7).map(|_| mover.push(copy(peer, peer, MEMORY as u32))).collect();
    mover.ring();
    let (mut events, mut most) = (0, 0);
    let mut before = fabric.counters().peer_local.bytes();
    while fabric.step() {
        let now = fabric.counters().peer_local.bytes();
        most = most.max(now - before);
        before = now;
        events += 1;
    }
    for index in indexes {
        assert_eq!(outcome(&mover.take(index).unwrap()), (MoverStatus::Success, MEMORY as u32));
    }
    println!("7 copies of {MEMORY} bytes in {events} events, at most {most} bytes moved in one");
    // Each byte is read and written.
    assert!(events > 1 && most <= 2 * (16 << 20));
}

/// Source and target that overlap: the result is nobody's promise, but nothing else changes and it ends.
#[test]
fn overlapping_source_and_target() {
    for (source, target) in
        [(0_u64, 1_u64), (1, 0), (0, 65_536), (65_536, 0), (0, 0), (100, 50_000)]
    {
        let mut mover = Mover::start(&plain(), "m0", 8);
        let buffer = mover.function.alloc_dma(1 << 20).unwrap();
        fill(buffer.memory(), 1);
        let before = contents(buffer.memory());
        let at = buffer.iova().0;
        let len = 300_000_u32;
        let outcome = mover.run(copy(at + source, at + target, len));
        assert_eq!(outcome, (MoverStatus::Success, len));
        let now = contents(buffer.memory());
        let (start, end) = (target as usize, target as usize + len as usize);
        assert!(now[..start] == before[..start] && now[end..] == before[end..]);
    }
}

fn hostile(rng: &mut Rng, places: &[u64]) -> Descriptor {
    let address = |rng: &mut Rng| match rng.below(8) {
        0 => rng.next(),
        1 => u64::MAX - rng.below(1 << 18),
        2 => 0xFEE0_0000 + rng.below(0x2000),
        _ => rng.pick(places) + rng.below(0x4000),
    };
    let length = match rng.below(6) {
        0 => rng.pick(&[0, 1, 4, 65_535, 65_536, 65_537, 1 << 30, (1 << 30) + 1, u32::MAX]),
        1 => rng.next() as u32,
        _ => rng.below(20_000) as u32,
    };
    Descriptor {
        source: address(rng).into(),
        target: address(rng).into(),
        length: length.into(),
        flags: rng.pick(&[0, 0, 0, 1, 1, 2, u32::MAX]).into(),
        cookie: rng.next().into(),
    }
}

/// Random descriptors, doorbells, register writes: no panic, no work without end, what nobody aimed at is
/// untouched, and afterwards a mover that works.
#[test]
fn random_attacks() {
    let mut descriptors = 0;
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let timing =
            if seed % 2 == 0 { Timing::Ideal } else { Timing::Modelled(TimingModel::default()) };
        // What is mapped for neither of them is out of their reach, wherever their rings are.
        let fabric = machine(IommuMode::Translate, timing);
        let mut movers = ["m0", "m1"].map(|name| Mover::start(&fabric, name, 16));
        let arena = movers[0].function.alloc_dma(64 << 10).unwrap();
        let bystander = open(&fabric, "a").alloc_dma(64 << 10).unwrap();
        fill(bystander.memory(), 7);
        let untouched = contents(bystander.memory());
        let places = [
            arena.iova().0,
            arena.iova().0 + (32 << 10),
            bystander.iova().0,
            movers[0].bar.address().0,
            movers[1].bar.address().0,
            movers[0].ring.iova().0,
            movers[1].completions.iova().0,
            memory(&fabric, "a").address().0 + MEMORY - 0x2000,
        ];
        for _ in 0..60 {
            for mover in &mut movers {
                for _ in 0..rng.below(20) {
                    mover.push(hostile(&mut rng, &places));
                    descriptors += 1;
                }
                match rng.below(8) {
                    0 => mover.set(rng.below(0x30) & !3, rng.next() as u32),
                    1 => mover.set(offset::TAIL, rng.below(20) as u32),
                    2 => mover.set(offset::CONTROL, rng.below(2) as u32),
                    _ => mover.ring(),
                }
                for _ in 0..rng.below(40) {
                    fabric.step();
                }
            }
        }
        for mover in &movers {
            mover.set(offset::CONTROL, 0);
        }
        settle(&fabric);
        for name in ["m0", "m1"] {
            fabric.open(fabric.find(name).unwrap()).unwrap().reset().unwrap();
            let mut fresh = Mover::start(&fabric, name, 4);
            let [from, to] = [(); 2].map(|()| fresh.function.alloc_dma(4096).unwrap());
            fill(from.memory(), 8);
            let outcome = fresh.run(copy(from.iova().0, to.iova().0, 4096));
            assert_eq!(outcome, (MoverStatus::Success, 4096));
            assert!(contents(to.memory()) == contents(from.memory()));
        }
        assert!(contents(bystander.memory()) == untouched, "seed {seed}");
    }
    println!("hostile descriptors: {descriptors}");
}
