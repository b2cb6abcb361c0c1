//! Data of every class of length at every alignment, in every kind of list.

use p2pdma_nvme::{Data, Error, Options, QueueOptions, QueuePair, Segment, SglSegment};
use p2pdma_pci::DmaBuffer;

use super::bench::{Bench, PATIENCE, bytes, pattern};
use crate::machine::Machine;

/// Room in front of the data and behind, so that they can begin anywhere in a page.
const MARGIN: usize = 4096;
const CANARY: u8 = 0xA5;

/// Memory for data to be written from and read to, used again and again.
struct Buffers {
    source: DmaBuffer,
    target: DmaBuffer,
}

impl Buffers {
    fn new(bench: &Bench, len: usize) -> Self {
        let alloc = || bench.controller.alloc_dma(len + 2 * MARGIN).unwrap();
        Self { source: alloc(), target: alloc() }
    }

    /// Writes at one offset, reads at another: exactly these bytes, and none beside them.
    fn there_and_back(&self, bench: &mut Bench, slba: u64, blocks: u32, offsets: [usize; 2]) {
        let write = bench.namespace.write(slba, blocks).unwrap();
        let read = bench.namespace.read(slba, blocks).unwrap();
        let len = usize::try_from(write.data_len()).unwrap();
        let data = pattern(slba ^ u64::from(blocks) << 32 ^ (offsets[0] as u64) << 48, len);
        let part = |buffer: &DmaBuffer, at: usize| {
            Segment::from(buffer).slice(at as u64..(at + len) as u64).unwrap()
        };
        self.source.memory().write(offsets[0], &data).unwrap();
        bench.run(&write, part(&self.source, offsets[0]).into()).unwrap();
        let end = offsets[1] + len + MARGIN;
        self.target.memory().fill(0, end.min(self.target.len()), CANARY).unwrap();
        bench.run(&read, part(&self.target, offsets[1]).into()).unwrap();
        let all = bytes(&self.target, 0, end.min(self.target.len()));
        let (before, rest) = all.split_at(offsets[1]);
        let (back, behind) = rest.split_at(len);
        assert!(back == data, "slba {slba} blocks {blocks} offsets {offsets:?}");
        let untouched = before.iter().chain(behind).all(|byte| *byte == CANARY);
        assert!(untouched, "slba {slba} blocks {blocks} offsets {offsets:?}: beside the data");
    }
}

/// Both entries of a command, and lists, for every place in a page where data can begin.
pub(crate) fn prp_at_every_dword(machine: &dyn Machine) -> String {
    let mut bench = Bench::new(machine, "nvme0", 1);
    let buffers = Buffers::new(&bench, 3 * 4096);
    for dword in 0..1024 {
        let at = 4 * dword;
        let blocks = u32::try_from(dword % 3).unwrap() + 1;
        buffers.there_and_back(&mut bench, dword as u64 % 64, blocks, [at, 4092 - at]);
    }
    "1024 offsets".to_owned()
}

pub(crate) fn prp_of_every_length(machine: &dyn Machine) -> String {
    let mut bench = Bench::new(machine, "nvme0", 2);
    let buffers = Buffers::new(&bench, 2048 * 512);
    let mut count = 0;
    for blocks in (1..=64).chain([127, 128, 129, 511, 1023, 1024, 1025, 2047, 2048]) {
        for offsets in [[0, 0], [4, 4092], [512, 2048], [4092, 4]] {
            buffers.there_and_back(&mut bench, u64::from(blocks % 7), blocks, offsets);
            count += 1;
        }
    }
    format!("{count} lengths and offsets")
}

/// The longest list that QEMU takes, which has not more than 512 pages and one for their place: one page to
/// its last entry, where a longer list has the address of its next page.
pub(crate) fn prp_lists_of_a_page(machine: &dyn Machine) -> String {
    let options = Options { max_transfer: 2 << 20, ..Options::default() };
    let mut bench = Bench::with(machine, "nvme0", 1, options);
    assert_eq!(bench.controller.max_transfer(), 2 << 20);
    bench.queue = bench.controller.queue_pair(&QueueOptions::entries(4)).unwrap();
    let buffers = Buffers::new(&bench, 2 << 20);
    let lengths = [256, 500, 509, 510, 511, 512];
    for blocks in lengths {
        for offsets in [[0, 0], [8, 4088], [4092, 4]] {
            buffers.there_and_back(&mut bench, 3, blocks, offsets);
        }
    }
    format!("{} transfers of up to 2 MiB", 3 * lengths.len())
}

/// Commands with lists, as many in flight at once as a queue can hold, each about other memory.
pub(crate) fn lists_side_by_side(machine: &dyn Machine) -> String {
    let bench = Bench::new(machine, "nvme0", 1);
    let mut queue: QueuePair<usize> =
        bench.controller.queue_pair(&QueueOptions::entries(32)).unwrap();
    let len = 16_384;
    let alloc = || bench.controller.alloc_dma(len).unwrap();
    let (sources, targets): (Vec<_>, Vec<_>) =
        (0..queue.capacity()).map(|_| (alloc(), alloc())).unzip();
    for (buffers, write) in [(&sources, true), (&targets, false)] {
        for (index, buffer) in buffers.iter().enumerate() {
            let slba = 4 * index as u64;
            let command = if write {
                buffer.memory().write(0, &pattern(slba + 1, len)).unwrap();
                bench.namespace.write(slba, 4)
            } else {
                bench.namespace.read(slba, 4)
            };
            queue.submit(&command.unwrap(), Data::from(buffer), index).unwrap();
        }
        queue.ring().unwrap();
        while let Some(completion) = queue.wait(PATIENCE).unwrap() {
            assert_eq!(completion.outcome, Ok(0));
        }
    }
    for (index, (source, target)) in sources.iter().zip(&targets).enumerate() {
        assert!(bytes(source, 0, len) == bytes(target, 0, len), "command {index}");
    }
    format!("{} commands in flight", sources.len())
}

/// The longest that a controller says it takes, and one block more.
pub(crate) fn limits(machine: &dyn Machine) -> String {
    let options = Options { max_transfer: 1 << 30, ..Options::default() };
    let mut bench = Bench::with(machine, "nvme1", 1, options);
    let most = bench.controller.max_transfer();
    assert_eq!(most, 512 << 10);
    let buffers = Buffers::new(&bench, 516 << 10);
    buffers.there_and_back(&mut bench, 0, 128, [0, 4]);
    let beyond = bench.namespace.read(0, 129).unwrap();
    let segment = Segment::from(&buffers.target).slice(0..beyond.data_len()).unwrap();
    let error = bench.queue.submit(&beyond, segment.into(), ()).unwrap_err().error;
    assert!(matches!(error, Error::TooLong { .. }), "{error}");
    let odd = Segment::new(segment.iova.checked_add(2).unwrap(), 4096);
    let error = bench.queue.submit(&bench.namespace.read(0, 1).unwrap(), odd.into(), ());
    let error = error.unwrap_err().error;
    assert!(matches!(error, Error::Misaligned { .. }), "{error}");
    format!("{most} bytes, and 4096 more are refused")
}

/// Pieces of a buffer of `len` bytes, in another order, cut at multiples of `grain`.
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
    let turn = usize::try_from(seed).unwrap() % pieces.len();
    pieces.rotate_left(turn);
    pieces
}

fn place(buffer: &DmaBuffer, piece: &Segment) -> usize {
    usize::try_from(piece.iova.0 - buffer.iova().0).unwrap()
}

fn gather(buffer: &DmaBuffer, pieces: &[Segment]) -> Vec<u8> {
    let piece =
        |piece: &Segment| bytes(buffer, place(buffer, piece), usize::try_from(piece.len).unwrap());
    pieces.iter().flat_map(piece).collect()
}

fn scatter(buffer: &DmaBuffer, pieces: &[Segment], data: &[u8]) {
    let mut rest = data;
    for piece in pieces {
        let (now, later) = rest.split_at(usize::try_from(piece.len).unwrap());
        buffer.memory().write(place(buffer, piece), now).unwrap();
        rest = later;
    }
}

/// Written as one kind of list, read as another, with pieces cut anywhere.
pub(crate) fn scattered(machine: &dyn Machine) -> String {
    let mut bench = Bench::new(machine, "nvme0", 1);
    assert!(bench.controller.takes_sgl());
    let (source, target) = (
        bench.controller.alloc_dma(128 * 4096).unwrap(),
        bench.controller.alloc_dma(128 * 4096).unwrap(),
    );
    let (mut count, mut described) = (0, 0);
    for seed in 0..400_u64 {
        let blocks = u32::try_from(1 + seed * seed % 127).unwrap();
        let len = u64::from(blocks) * 4096;
        let data = pattern(seed, usize::try_from(len).unwrap());
        for (write, buffer) in [(true, &source), (false, &target)] {
            let sgl = (seed >> u64::from(write)) & 1 == 0;
            // By bytes, by dwords, by blocks of the smallest size.
            let grain = if sgl { [1, 4, 512][usize::try_from(seed % 3).unwrap()] } else { 4096 };
            let whole = Segment::from(buffer).slice(0..len).unwrap();
            let pieces = pieces(whole, len, grain, seed ^ u64::from(write));
            let list: Vec<SglSegment> = pieces.iter().copied().map(SglSegment::Block).collect();
            let described_as = if sgl { Data::Sgl(&list) } else { Data::Segments(&pieces) };
            let command = if write {
                scatter(buffer, &pieces, &data);
                bench.namespace.write(seed % 100, blocks)
            } else {
                bench.namespace.read(seed % 100, blocks)
            };
            assert_eq!(bench.run(&command.unwrap(), described_as), Ok(0));
            if !write {
                assert!(gather(buffer, &pieces) == data, "seed {seed}");
            }
            described += pieces.len();
        }
        count += 1;
    }
    format!("{count} there and back, {described} pieces")
}

/// Reads of which only parts are wanted, where the controller has that.
pub(crate) fn bit_buckets(machine: &dyn Machine) -> String {
    let mut bench = Bench::new(machine, "nvme0", 1);
    let data = bench.fill(0, 4, 9);
    let target = bench.controller.alloc_dma(4096).unwrap();
    let whole = Segment::from(&target);
    let wanted = [
        SglSegment::BitBucket(1000),
        SglSegment::Block(whole.slice(0..2000).unwrap()),
        SglSegment::BitBucket(10_000),
        SglSegment::Block(whole.slice(2000..3000).unwrap()),
        SglSegment::BitBucket(2384),
    ];
    let read = bench.namespace.read(0, 4).unwrap();
    if !bench.controller.identity().sgls.get().bit_bucket() {
        let error = bench.queue.submit(&read, Data::Sgl(&wanted), ()).unwrap_err().error;
        assert!(matches!(error, Error::Unsupported { .. }), "{error}");
        return "not offered, and refused by the driver".to_owned();
    }
    bench.run(&read, Data::Sgl(&wanted)).unwrap();
    assert_eq!(bytes(&target, 0, 2000), data[1000..3000]);
    assert_eq!(bytes(&target, 2000, 1000), data[13_000..14_000]);
    assert_eq!(bytes(&target, 3000, 1096), [0; 1096]);
    "3 of them".to_owned()
}
