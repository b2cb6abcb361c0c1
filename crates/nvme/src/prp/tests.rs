//! Every list that is built, read again by a reader that knows only the specification.

use std::sync::Arc;

use p2pdma_mem::SharedMemory;
use p2pdma_pci::{DmaBuffer, Iova};
use p2pdma_spec::nvme::queue::SubmissionEntry;
use proptest::prelude::*;

use super::*;
use crate::data::Lists;
use crate::memory::QueueMemory;
use crate::walk::{self, Piece};

/// Where the lists are for the controller.
const LISTS: u64 = 0x7_0000_0000;
const SLOTS: usize = 3;

/// Lists for transfers of up to `max` bytes, and their bytes.
fn lists(max: u64) -> (Lists, SharedMemory, u64) {
    let stride = Lists::stride(max).unwrap();
    let memory = SharedMemory::anonymous(SLOTS * stride).unwrap();
    memory.fill(0, SLOTS * stride, 0xee).unwrap();
    let buffer = DmaBuffer::new(memory.clone(), Iova(LISTS), Arc::new(()));
    (Lists::new(QueueMemory::Host(buffer), stride, max), memory, stride as u64)
}

/// Runs of addresses, adjacent ones joined.
fn join(pieces: impl IntoIterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (at, len) in pieces {
        match joined.last_mut() {
            Some((start, sum)) if *start + *sum == at => *sum += len,
            _ => joined.push((at, len)),
        }
    }
    joined
}

/// Builds, reads again, and compares. The reader must find its way within the slot alone.
fn check(input: &[Segment], max: u64, slot: u16) -> Result<usize, TestCaseError> {
    let (lists, memory, stride) = lists(max);
    let mut entry = SubmissionEntry::new(2_u8, 1);
    entry.dptr = segments(input, lists.slot(slot)).unwrap();
    let first = LISTS + u64::from(slot) * stride;
    let mut read_entries = 0;
    let len = input.iter().map(|segment| segment.len).sum();
    let pieces = walk::pieces(&entry, len, &mut |at, bytes: &mut [u8]| {
        let inside = at >= first && at + bytes.len() as u64 <= first + stride;
        read_entries += 1;
        inside && memory.read(usize::try_from(at - LISTS).unwrap(), bytes).is_ok()
    });
    let pieces = pieces.map_err(TestCaseError::fail)?;
    let found = join(pieces.iter().map(|piece| match *piece {
        Piece::Memory(at, len) => (at, len),
        Piece::Bucket(_) => (0, 0),
    }));
    prop_assert_eq!(found, join(input.iter().map(|segment| (segment.iova.0, segment.len))));
    Ok(read_entries)
}

/// Segments that physical region pages can express: the first begins anywhere, the last ends anywhere.
fn legal() -> impl Strategy<Value = Vec<Segment>> {
    let part = (0_u64..1 << 30, 1_u64..40);
    (0_u64..1024, 0_u64..4096, proptest::collection::vec(part, 1..12)).prop_map(
        |(start, end, parts)| {
            let last = parts.len() - 1;
            let segment = |(index, (page, pages)): (usize, (u64, u64))| {
                let mut at = page * PAGE;
                let mut len = pages * PAGE;
                if index == 0 {
                    at += start * 4;
                    len -= start * 4;
                }
                if index == last {
                    len -= end.min(len - 1);
                }
                Segment::new(Iova(at), len)
            };
            parts.into_iter().enumerate().map(segment).collect()
        },
    )
}

#[test]
fn every_offset_and_length_class_of_one_run() {
    let (mut cases, mut chained) = (0, 0);
    let max = 5 << 20;
    for offset in [0, 4, 8, 512, 2048, 4088, 4092] {
        for pages in (0..6).chain([510, 511, 512, 513, 514, 1022, 1023, 1024, 1025, 1279]) {
            for extra in [0, 1, 4, 511, 512, 4091, 4092, 4095] {
                let len: u64 = pages * PAGE + extra;
                if len == 0 || len > max {
                    continue;
                }
                let segment = Segment::new(Iova((0x1234 << 12) + offset), len);
                let entries = check(&[segment], max, 2).unwrap();
                cases += 1;
                chained += usize::from(entries > 512);
            }
        }
    }
    println!("runs: {cases}, with chained lists: {chained}");
    assert!(chained > 100);
}

#[test]
fn slots_are_no_larger_than_they_must_be() {
    for (max, stride) in [
        (4096, 256),
        (128 << 10, 256),
        (256 << 10, 512),
        (1 << 20, 2048),
        (2 << 20, 4096),
        ((2 << 20) + 1, 8192),
        (4 << 20, 12288),
    ] {
        assert_eq!(Lists::stride(max), Some(stride), "{max}");
    }
}

/// The pointer of the fast path.
fn one_page(segment: Segment) -> Option<DataPointer> {
    let fits = Places::of(segment.len).contain(segment.iova);
    fits.then(|| DataPointer::prp(segment.iova.0, 0))
}

/// Every length of up to a page and a bit, at every offset in a page.
#[test]
fn places_are_where_data_fit_a_page() {
    let mut cases = 0;
    for len in 0..PAGE + 8 {
        for offset in 0..PAGE {
            let fits = len > 0 && offset % 4 == 0 && offset + len <= PAGE;
            let at = Iova(0xabcd_ef01_2345_6000 + offset);
            assert_eq!(Places::of(len).contain(at), fits, "{at} {len}");
            cases += 1;
        }
    }
    println!("places: {cases}");
}

/// Bounds of addresses and lengths: an answer or a refusal, never a wrap.
#[test]
fn boundaries_of_addresses() {
    let (lists, ..) = lists(1 << 20);
    let bounds = [0, 1, 4, 4092, 4095, 4096, 1 << 31, 1 << 32, (1 << 63) - 1, 1 << 63];
    let bounds = bounds.into_iter().chain([u64::MAX - 4096, u64::MAX - 3, u64::MAX]);
    let bounds: Vec<u64> = bounds.collect();
    let (mut cases, mut accepted) = (0, 0);
    for &at in &bounds {
        for &len in &bounds {
            let segment = Segment::new(Iova(at), len);
            let legal = at % 4 == 0 && len > 0 && at.checked_add(len.saturating_sub(1)).is_some();
            let built = segments(&[segment], lists.slot(0));
            if len <= 1 << 20 {
                assert_eq!(built.is_ok(), legal, "{at:#x} {len:#x}: {built:?}");
            }
            cases += 1;
            accepted += usize::from(legal);
            if let Some(pointer) = one_page(segment) {
                assert_eq!(built.unwrap(), pointer);
            }
        }
    }
    println!("boundary cases: {cases}, accepted: {accepted}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn whatever_is_legal_is_described_exactly(input in legal(), slot in 0_u16..3) {
        check(&input, 2 << 20, slot)?;
    }

    /// One page at most, by the fast path: the same answer.
    #[test]
    fn the_fast_path_agrees(at in 0_u64..1 << 20, len in 1_u64..5000) {
        let segment = Segment::new(Iova(at * 4), len);
        let (lists, ..) = lists(8192);
        match one_page(segment) {
            Some(pointer) => prop_assert_eq!(segments(&[segment], lists.slot(0)).unwrap(), pointer),
            None => prop_assert!(at * 4 % PAGE + len > PAGE),
        }
    }

    /// Accepted if and only if the rules allow it.
    #[test]
    fn whatever_is_not_legal_is_refused(
        parts in proptest::collection::vec((0_u64..64, 0_u64..10_000, any::<bool>()), 1..6),
    ) {
        let segment = |(page, len, whole): (u64, u64, bool)| {
            let (at, len) = if whole { (page * PAGE, (len / PAGE + 1) * PAGE) } else { (page * 1022, len) };
            Segment::new(Iova(at), len)
        };
        let input: Vec<Segment> = parts.into_iter().map(segment).collect();
        let last = input.len() - 1;
        let legal = input.iter().enumerate().all(|(index, segment)| {
            let (start, end) = (segment.iova.0, segment.iova.0 + segment.len);
            segment.len > 0
                && (if index == 0 { start % 4 == 0 } else { start % PAGE == 0 })
                && (index == last || end % PAGE == 0)
        });
        let (lists, ..) = lists(1 << 20);
        let built = segments(&input, lists.slot(1));
        prop_assert_eq!(built.is_ok(), legal, "{:?}", built);
        if legal {
            check(&input, 1 << 20, 1)?;
        }
    }
}
