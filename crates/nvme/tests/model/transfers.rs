//! Data of every size at every alignment, against plain memory.

use p2pdma_nvme::{Data, Segment, SglSegment};
use p2pdma_pci::DmaBuffer;
use proptest::prelude::*;

use crate::support::{Bench, pattern, plain};

/// Room in front of the data, so that they can begin anywhere in a page.
const MARGIN: usize = 4096;
const CANARY: u8 = 0xA5;

fn buffer(bench: &Bench, len: usize) -> DmaBuffer {
    let buffer = bench.controller.alloc_dma(len + 2 * MARGIN).unwrap();
    buffer.memory().fill(0, buffer.len(), CANARY).unwrap();
    buffer
}

fn bytes(buffer: &DmaBuffer, at: usize, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    buffer.memory().read(at, &mut bytes).unwrap();
    bytes
}

/// Writes at one offset, reads at another: exactly these bytes, and none beside them.
fn there_and_back(bench: &mut Bench, slba: u64, blocks: u32, offsets: [usize; 2]) {
    let len = blocks as usize * bench.namespace.format().data as usize;
    let data = pattern(slba ^ u64::from(blocks) << 32, len);
    let source = buffer(bench, len);
    source.memory().write(offsets[0], &data).unwrap();
    let part = |buffer: &DmaBuffer, at: usize| {
        Segment::from(buffer).slice(at as u64..(at + len) as u64).unwrap()
    };
    let write = bench.namespace.write(slba, blocks).unwrap();
    bench.run(&write, part(&source, offsets[0]).into()).unwrap();
    let target = buffer(bench, len);
    let read = bench.namespace.read(slba, blocks).unwrap();
    bench.run(&read, part(&target, offsets[1]).into()).unwrap();
    let all = bytes(&target, 0, target.len());
    let (before, rest) = all.split_at(offsets[1]);
    let (back, behind) = rest.split_at(len);
    assert!(back == data, "slba {slba} blocks {blocks} offsets {offsets:?}");
    assert!(before.iter().chain(behind).all(|byte| *byte == CANARY));
}

/// Transfers whose lists are longer than a page.
#[test]
fn lists_of_several_pages() {
    let mut config = plain();
    config.controller.mdts = 12;
    let stage = crate::support::Stage::one(config);
    let options =
        p2pdma_nvme::Options { max_transfer: 16 << 20, ..p2pdma_nvme::Options::default() };
    let controller = stage.open_with("nvme0", options);
    assert_eq!(controller.max_transfer(), 16 << 20);
    let queue = controller.queue_pair(&p2pdma_nvme::QueueOptions::entries(4)).unwrap();
    let namespace = controller.namespace(1).unwrap();
    let mut bench = Bench { stage, queue, namespace, controller };
    for blocks in [511, 512, 513, 514, 1023, 1024, 1025, 2049, 4096] {
        for offsets in [[0, 0], [8, 4088]] {
            there_and_back(&mut bench, 3, blocks, offsets);
        }
    }
}

/// Pieces of a buffer of `len` bytes, in a random order, cut at multiples of `grain`.
fn pieces(whole: Segment, len: u64, grain: u64, seed: u64) -> Vec<Segment> {
    let mut cuts: Vec<u64> = pattern(seed, 24)
        .chunks(2)
        .map(|pair| u64::from(u16::from_le_bytes([pair[0], pair[1]])) % (len / grain) * grain)
        .chain([0, len])
        .collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut pieces: Vec<Segment> =
        cuts.windows(2).map(|cut| whole.slice(cut[0]..cut[1]).unwrap()).collect();
    let turn = usize::try_from(seed).unwrap_or(0) % pieces.len();
    pieces.rotate_left(turn);
    pieces
}

fn gather(buffer: &DmaBuffer, pieces: &[Segment]) -> Vec<u8> {
    let place = |piece: &Segment| usize::try_from(piece.iova.0 - buffer.iova().0).unwrap();
    pieces
        .iter()
        .flat_map(|piece| bytes(buffer, place(piece), usize::try_from(piece.len).unwrap()))
        .collect()
}

fn scatter(buffer: &DmaBuffer, pieces: &[Segment], data: &[u8]) {
    let mut rest = data;
    for piece in pieces {
        let (now, later) = rest.split_at(usize::try_from(piece.len).unwrap());
        let at = usize::try_from(piece.iova.0 - buffer.iova().0).unwrap();
        buffer.memory().write(at, now).unwrap();
        rest = later;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Written as one kind of list, read as another.
    #[test]
    fn scattered_data(blocks in 1_u32..128, slba in 0_u64..1000, seed: u64, sgl: [bool; 2]) {
        let mut bench = Bench::new(plain());
        prop_assume!(bench.controller.takes_sgl() || sgl == [false; 2]);
        let len = u64::from(blocks) * 4096;
        let data = pattern(seed, usize::try_from(len).unwrap());
        let mut images = Vec::new();
        for (write, sgl) in [true, false].into_iter().zip(sgl) {
            let command = if write { bench.namespace.write(slba, blocks) } else { bench.namespace.read(slba, blocks) };
            let buffer = bench.controller.alloc_dma(data.len()).unwrap();
            let grain = if sgl { 4 } else { 4096 };
            let pieces = pieces(Segment::from(&buffer), len, grain, seed ^ u64::from(write));
            let blocks: Vec<SglSegment> = pieces.iter().copied().map(SglSegment::Block).collect();
            let described = if sgl { Data::Sgl(&blocks) } else { Data::Segments(&pieces) };
            if write {
                scatter(&buffer, &pieces, &data);
            }
            prop_assert_eq!(bench.run(&command.unwrap(), described), Ok(0));
            images.push(gather(&buffer, &pieces));
        }
        prop_assert!(images[0] == data && images[1] == data);
    }
}
