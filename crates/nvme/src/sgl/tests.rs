//! Every list that is built, read again by a reader that knows only the specification.

use std::sync::Arc;

use p2pdma_mem::SharedMemory;
use p2pdma_pci::{DmaBuffer, Iova};
use p2pdma_spec::nvme::queue::{DataTransfer, SubmissionEntry};
use proptest::prelude::*;

use super::*;
use crate::data::Lists;
use crate::memory::QueueMemory;
use crate::walk::{self, Piece};

const LISTS: u64 = 0x7_0000_0000;
const ANY: SglLimits = SglLimits { align: 1, bit_bucket: true, max_blocks: 0 };

fn lists() -> (Lists, SharedMemory) {
    let stride = Lists::stride(1 << 20).unwrap();
    let memory = SharedMemory::anonymous(2 * stride).unwrap();
    let buffer = DmaBuffer::new(memory.clone(), Iova(LISTS), Arc::new(()));
    (Lists::new(QueueMemory::Host(buffer), stride, 1 << 20), memory)
}

fn check(input: &[SglSegment], slot: u16) -> Result<(), TestCaseError> {
    let (lists, memory) = lists();
    let mut entry = SubmissionEntry::new(2_u8, 1);
    entry.dptr = build(input, ANY, lists.slot(slot)).unwrap();
    entry.cdw0.set(entry.cdw0.get().with_psdt(DataTransfer::SGL_METADATA_BUFFER));
    let pieces = walk::pieces(&entry, len(input), &mut |at, bytes: &mut [u8]| {
        let offset = at.checked_sub(LISTS).and_then(|offset| usize::try_from(offset).ok());
        offset.is_some_and(|offset| memory.read(offset, bytes).is_ok())
    });
    let expected: Vec<Piece> = input
        .iter()
        .map(|segment| match *segment {
            SglSegment::Block(block) => Piece::Memory(block.iova.0, block.len),
            SglSegment::BitBucket(len) => Piece::Bucket(len.into()),
        })
        .collect();
    prop_assert_eq!(pieces, Ok(expected));
    Ok(())
}

fn any_segment() -> impl Strategy<Value = SglSegment> {
    let block = (0_u64..1 << 40, 0_u64..100_000)
        .prop_map(|(at, len)| SglSegment::Block(Segment::new(Iova(at), len)));
    prop_oneof![4 => block, 1 => (0_u32..9000).prop_map(SglSegment::BitBucket)]
}

#[test]
fn limits_are_kept() {
    let (lists, _) = lists();
    let block = |at, len| SglSegment::Block(Segment::new(Iova(at), len));
    let dwords = SglLimits { align: 4, ..ANY };
    let build = |input: &[SglSegment], limits| build(input, limits, lists.slot(0));
    assert!(build(&[block(2, 4)], ANY).is_ok());
    let refused = build(&[block(2, 4)], dwords);
    assert!(matches!(refused, Err(Error::Misaligned { align: 4, .. })), "{refused:?}");
    assert!(matches!(build(&[block(4, 6)], dwords), Err(Error::Misaligned { .. })));
    assert!(matches!(build(&[block(0, 1 << 32)], ANY), Err(Error::TooLong { .. })));
    assert!(matches!(build(&[block(u64::MAX, 2)], ANY), Err(Error::TooLong { .. })));
    let two = SglLimits { max_blocks: 2, ..ANY };
    let many = [block(0, 4), SglSegment::BitBucket(1), block(8, 4), block(16, 4)];
    assert!(build(&many[..3], two).is_ok());
    let refused = build(&many, two);
    assert!(matches!(refused, Err(Error::TooManySegments { count: 3, most: 2 })), "{refused:?}");
    // The slot has 2048 bytes.
    assert!(build(&[block(0, 4); 128], ANY).is_ok());
    let refused = build(&[block(0, 4); 129], ANY);
    assert!(
        matches!(refused, Err(Error::TooManySegments { count: 129, most: 128 })),
        "{refused:?}"
    );
    assert!(matches!(build(&[], ANY), Err(Error::TooManySegments { count: 0, .. })));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_list_is_described_exactly(
        input in proptest::collection::vec(any_segment(), 1..129), slot in 0_u16..2,
    ) {
        check(&input, slot)?;
    }
}
