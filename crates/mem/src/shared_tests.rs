use super::*;
use proptest::prelude::*;

fn memory(len: usize) -> SharedMemory {
    SharedMemory::anonymous(len).unwrap()
}

#[test]
fn a_mostly_empty_terabyte_is_free() {
    let memory = memory(1 << 40);
    memory.write((1 << 40) - 4, &[1, 2, 3, 4]).unwrap();
    assert_eq!(memory.load::<u8>((1 << 40) - 1, Ordering::Relaxed).unwrap(), 4);
}

#[test]
fn words_are_little_endian_and_aligned() {
    let memory = memory(16);
    memory.store(8, 0x0102_0304_u32, Ordering::Release).unwrap();
    assert_eq!(memory.read_value::<[u8; 4]>(8).unwrap(), [4, 3, 2, 1]);
    assert!(memory.load::<u32>(9, Ordering::Acquire).is_err());
    assert!(memory.load::<u64>(12, Ordering::Acquire).is_err());
}

#[test]
fn every_boundary_is_refused_without_wrapping() {
    let memory = memory(4096).slice(96..4096).unwrap();
    for (offset, len) in [(0, 4001), (4000, 1), (4001, 0), (usize::MAX, 1), (1, usize::MAX)] {
        assert!(memory.check(offset, len).is_err(), "{offset} {len}");
    }
    #[expect(clippy::reversed_empty_ranges, reason = "the reversed range is the bad input")]
    let reversed = 8..4;
    assert!(memory.slice(reversed).is_err());
    assert!(memory.slice(4000..4000).unwrap().is_empty());
    assert!(memory.slice(usize::MAX..usize::MAX).is_err());
}

#[test]
fn slices_share_the_bytes_and_keep_them_alive() {
    let whole = memory(4096);
    let part = whole.slice(100..200).unwrap();
    assert_eq!(part.offset_in(&whole), Some(100));
    assert_eq!(whole.offset_in(&part), None);
    assert_eq!(part.offset_in(&memory(4096)), None);
    drop(whole);
    part.fill(0, 100, 7).unwrap();
    let mut back = [0; 100];
    part.clone().read(0, &mut back).unwrap();
    assert_eq!(back, [7; 100]);
}

proptest! {
    /// Against a plain vector: what was written is there, and not one byte beside it changed.
    #[test]
    fn writes_land_exactly(
        writes in proptest::collection::vec((0usize..9000, 0usize..5000, any::<u8>()), 1..20),
    ) {
        let memory = memory(9000);
        let mut model = vec![0u8; 9000];
        for (offset, len, seed) in writes {
            let data: Vec<u8> = (0..len).map(|i| seed.wrapping_add(i.to_le_bytes()[0])).collect();
            match model.get_mut(offset..offset + len) {
                Some(range) => {
                    range.copy_from_slice(&data);
                    memory.write(offset, &data).unwrap();
                }
                None => prop_assert!(memory.write(offset, &data).is_err()),
            }
        }
        let mut back = vec![0xff; 9000];
        memory.read(0, &mut back).unwrap();
        prop_assert_eq!(&back, &model);
        // Reads at odd places and lengths, into a guarded buffer.
        for (offset, len) in [(1, 1), (3, 127), (5, 128), (7, 1023), (11, 1024), (13, 4097)] {
            let mut guarded = vec![0xa5; len + 32];
            memory.read(offset, &mut guarded[16..16 + len]).unwrap();
            prop_assert_eq!(&guarded[16..16 + len], &model[offset..offset + len]);
            prop_assert!(guarded[..16].iter().chain(&guarded[16 + len..]).all(|&b| b == 0xa5));
        }
    }
}

/// A writer that flips a whole buffer between two values, and a reader that must see only these two.
#[test]
fn racing_copies_see_only_bytes_that_were_written() {
    let memory = memory(8192);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0..2000 {
                let value = if round % 2 == 0 { 0x00 } else { 0xff };
                memory.fill(0, 8192, value).unwrap();
            }
        });
        let mut seen = vec![0; 8192];
        for _ in 0..2000 {
            memory.read(0, &mut seen).unwrap();
            assert!(seen.iter().all(|b| matches!(b, 0x00 | 0xff)));
        }
    });
}

/// The release/acquire pair that queues rely on: a flag that is seen implies the data before it.
#[test]
fn a_seen_flag_publishes_the_data_before_it() {
    let memory = memory(128);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for round in 1..=100_000_u32 {
                memory.store(0, round, Ordering::Relaxed).unwrap();
                memory.store(64, round, Ordering::Release).unwrap();
            }
        });
        let mut flag = 0;
        while flag < 100_000 {
            flag = memory.load::<u32>(64, Ordering::Acquire).unwrap();
            assert!(memory.load::<u32>(0, Ordering::Relaxed).unwrap() >= flag);
        }
    });
}
