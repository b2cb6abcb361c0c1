//! Thousands of random commands against a plain vector of bytes, with guards around every buffer.

use p2pdma_devices::nvme::{
    CacheConfig, ControllerConfig, MediaConfig, NamespaceConfig, NvmeConfig, SubsystemConfig,
};
use p2pdma_pci::DmaBuffer;
use p2pdma_spec::nvme::nvm::{CopyCdw12, CopyRange0, DatasetRange, NvmOpcode};
use p2pdma_spec::nvme::queue::{DataPointer, DataTransfer, SubmissionEntry};
use p2pdma_spec::nvme::sgl::SglDescriptor;
use p2pdma_spec::nvme::status::Status;

use crate::host::{Host, Rng, contents, outcome, pattern};

const BLOCKS: u64 = 1000;
/// The memory that all data are in.
const ARENA: usize = 8 << 20;

/// A namespace and what it should hold.
struct Shadow {
    block: usize,
    bytes: Vec<u8>,
    bad: Vec<bool>,
}

impl Shadow {
    fn range(&self, first: u64, count: u64) -> std::ops::Range<usize> {
        let first = usize::try_from(first).unwrap() * self.block;
        first..first + usize::try_from(count).unwrap() * self.block
    }

    fn is_bad(&self, first: u64, count: u64) -> bool {
        let first = usize::try_from(first).unwrap();
        self.bad[first..first + usize::try_from(count).unwrap()].contains(&true)
    }

    fn set_bad(&mut self, first: u64, count: u64, bad: bool) {
        let first = usize::try_from(first).unwrap();
        self.bad[first..first + usize::try_from(count).unwrap()].fill(bad);
    }
}

/// The pieces of memory that a command's data are in, none of which overlaps another.
struct Scattered {
    pointer: DataPointer,
    sgl: bool,
    pieces: Vec<(usize, usize)>,
}

struct World {
    host: Host,
    rng: Rng,
    arena: DmaBuffer,
    expected: Vec<u8>,
    shadows: Vec<Shadow>,
}

impl World {
    fn new(config: NvmeConfig, blocks: [usize; 2], seed: u64) -> Self {
        let host = Host::with(config);
        let arena = host.buffer(ARENA);
        let mut expected = vec![0; ARENA];
        pattern(seed, &mut expected);
        arena.memory().write(0, &expected).unwrap();
        let shadows = blocks.map(|block| {
            let count = usize::try_from(BLOCKS).unwrap();
            Shadow { block, bytes: vec![0; count * block], bad: vec![false; count] }
        });
        Self { host, rng: Rng::new(seed), arena, expected, shadows: shadows.into() }
    }

    /// Scatters `len` bytes over pages, or over pieces of any size at any place.
    fn scatter(&mut self, len: usize) -> Scattered {
        let sgl = self.rng.once_in(2);
        let mut pages: Vec<usize> = (0..ARENA / 4096).collect();
        let mut page = |rng: &mut Rng| pages.swap_remove(rng.index(pages.len()));
        let mut pieces = Vec::new();
        let base = self.arena.iova().0;
        let mut rest = len;
        let mut offset = if sgl { 0 } else { self.rng.pick(&[0, 0, 4, 1024, 4092]) };
        while rest > 0 {
            let room = if sgl {
                offset = self.rng.index(4000);
                1 + self.rng.index(4096 - offset)
            } else {
                4096 - std::mem::take(&mut offset)
            };
            let start = if sgl { offset } else { 4096 - room };
            let piece = room.min(rest);
            pieces.push((page(&mut self.rng) * 4096 + start, piece));
            rest -= piece;
        }
        let at = |piece: &(usize, usize)| base + piece.0 as u64;
        let pointer = if sgl {
            let descriptors: Vec<_> = pieces
                .iter()
                .map(|piece| SglDescriptor::data_block(at(piece), u32::try_from(piece.1).unwrap()))
                .collect();
            let list = self.host.buffer(descriptors.len() * 16);
            for (index, descriptor) in descriptors.iter().enumerate() {
                list.memory().write_value(index * 16, descriptor).unwrap();
            }
            let bytes = u32::try_from(descriptors.len() * 16).unwrap();
            let last = SglDescriptor::last_segment(list.iova().0, bytes);
            std::mem::forget(list);
            DataPointer::sgl(last)
        } else {
            let addresses: Vec<u64> = pieces.iter().map(at).collect();
            self.host.prps_of(&addresses)
        };
        Scattered { pointer, sgl, pieces }
    }

    fn entry(
        &mut self,
        opcode: NvmOpcode,
        namespace: usize,
        first: u64,
        count: u64,
    ) -> SubmissionEntry {
        let mut entry = SubmissionEntry::new(opcode, u32::try_from(namespace).unwrap() + 1);
        entry.set_cdw10_11(first);
        let fua = u32::from(self.rng.once_in(8)) << 30;
        entry.cdw12 = (u32::try_from(count - 1).unwrap() | fua).into();
        entry
    }

    fn point(entry: &mut SubmissionEntry, scattered: &Scattered) {
        entry.dptr = scattered.pointer;
        if scattered.sgl {
            let psdt = DataTransfer::SGL_METADATA_BUFFER;
            entry.cdw0.set(entry.cdw0.get().with_psdt(psdt));
        }
    }

    /// The bytes of scattered memory, as they should be.
    fn collect(&self, scattered: &Scattered) -> Vec<u8> {
        let pieces = scattered.pieces.iter();
        pieces.flat_map(|&(at, len)| self.expected[at..at + len].to_vec()).collect()
    }

    /// One command and what it should do; says what it was.
    fn step(&mut self) -> &'static str {
        let namespace = self.rng.index(self.shadows.len());
        let block = self.shadows[namespace].block;
        let most = (256 << 10) / block as u64;
        let count = 1 + if self.rng.once_in(4) { self.rng.below(most) } else { self.rng.below(8) };
        let count = count.min(BLOCKS);
        let first = self.rng.below(BLOCKS - count + 1);
        match self.rng.below(20) {
            0..7 => self.read(namespace, first, count),
            7..14 => self.write(namespace, first, count),
            14 => self.zero(namespace, first, count),
            15 => self.trim(namespace),
            16 => self.compare(namespace, first, count),
            17 => self.copy(namespace),
            18 => self.spoil(namespace, first, count.min(4)),
            _ => {
                let nsid = self.rng.pick(&[1, 2, u32::MAX]);
                self.host.io(SubmissionEntry::new(NvmOpcode::FLUSH, nsid)).unwrap();
                "flush"
            }
        }
    }

    fn read(&mut self, namespace: usize, first: u64, count: u64) -> &'static str {
        let range = self.shadows[namespace].range(first, count);
        let scattered = self.scatter(range.len());
        let mut entry = self.entry(NvmOpcode::READ, namespace, first, count);
        Self::point(&mut entry, &scattered);
        let result = self.host.io(entry);
        if self.shadows[namespace].is_bad(first, count) {
            assert_eq!(result, Err(Status::UNRECOVERED_READ_ERROR));
            return "read of bad blocks";
        }
        assert_eq!(result, Ok(0), "{entry}");
        let mut from = range.start;
        for &(at, len) in &scattered.pieces {
            self.expected[at..at + len]
                .copy_from_slice(&self.shadows[namespace].bytes[from..from + len]);
            from += len;
        }
        "read"
    }

    fn write(&mut self, namespace: usize, first: u64, count: u64) -> &'static str {
        let range = self.shadows[namespace].range(first, count);
        let scattered = self.scatter(range.len());
        // New data in the pieces.
        for &(at, len) in &scattered.pieces {
            pattern(self.rng.next(), &mut self.expected[at..at + len]);
            self.arena.memory().write(at, &self.expected[at..at + len]).unwrap();
        }
        let mut entry = self.entry(NvmOpcode::WRITE, namespace, first, count);
        Self::point(&mut entry, &scattered);
        assert_eq!(self.host.io(entry), Ok(0), "{entry}");
        let data = self.collect(&scattered);
        self.shadows[namespace].bytes[range].copy_from_slice(&data);
        self.shadows[namespace].set_bad(first, count, false);
        "write"
    }

    fn zero(&mut self, namespace: usize, first: u64, count: u64) -> &'static str {
        let mut entry = self.entry(NvmOpcode::WRITE_ZEROES, namespace, first, count);
        entry.cdw12 = (entry.cdw12.get() | u32::from(self.rng.once_in(2)) << 25).into();
        assert_eq!(self.host.io(entry), Ok(0));
        let shadow = &mut self.shadows[namespace];
        let range = shadow.range(first, count);
        shadow.bytes[range].fill(0);
        shadow.set_bad(first, count, false);
        "write zeroes"
    }

    fn trim(&mut self, namespace: usize) -> &'static str {
        let ranges: Vec<(u64, u64)> = (0..1 + self.rng.below(5))
            .map(|_| {
                let count = self.rng.below(100);
                (self.rng.below(BLOCKS - count), count)
            })
            .collect();
        let list = self.host.buffer(4096);
        for (index, &(first, count)) in ranges.iter().enumerate() {
            let range = DatasetRange {
                llb: u32::try_from(count).unwrap().into(),
                slba: first.into(),
                ..DatasetRange::default()
            };
            list.memory().write_value(index * 16, &range).unwrap();
        }
        let nsid = u32::try_from(namespace).unwrap() + 1;
        let mut entry = SubmissionEntry::new(NvmOpcode::DATASET_MANAGEMENT, nsid);
        entry.cdw10 = u32::try_from(ranges.len() - 1).unwrap().into();
        entry.cdw11 = 4.into();
        entry.dptr = self.host.prps(&list);
        assert_eq!(self.host.io(entry), Ok(0));
        for (first, count) in ranges {
            let shadow = &mut self.shadows[namespace];
            let range = shadow.range(first, count);
            shadow.bytes[range].fill(0);
            shadow.set_bad(first, count, false);
        }
        "deallocate"
    }

    fn compare(&mut self, namespace: usize, first: u64, count: u64) -> &'static str {
        let range = self.shadows[namespace].range(first, count);
        let scattered = self.scatter(range.len());
        let same = self.rng.once_in(2);
        if same {
            let mut from = range.start;
            for &(at, len) in &scattered.pieces {
                let bytes = &self.shadows[namespace].bytes[from..from + len];
                self.expected[at..at + len].copy_from_slice(bytes);
                self.arena.memory().write(at, bytes).unwrap();
                from += len;
            }
        }
        let mut entry = self.entry(NvmOpcode::COMPARE, namespace, first, count);
        Self::point(&mut entry, &scattered);
        let result = self.host.io(entry);
        let equal = self.collect(&scattered) == self.shadows[namespace].bytes[range];
        let expected = if self.shadows[namespace].is_bad(first, count) {
            Err(Status::UNRECOVERED_READ_ERROR)
        } else if equal {
            Ok(0)
        } else {
            Err(Status::COMPARE_FAILURE)
        };
        assert_eq!(result, expected);
        "compare"
    }

    fn copy(&mut self, namespace: usize) -> &'static str {
        let ranges: Vec<(u64, u64)> = (0..1 + self.rng.below(4))
            .map(|_| (self.rng.below(400), 1 + self.rng.below(100)))
            .collect();
        let total: u64 = ranges.iter().map(|(_, count)| count).sum();
        let to = 500 + self.rng.below(500 - total);
        let list = self.host.buffer(4096);
        for (index, &(first, count)) in ranges.iter().enumerate() {
            let range = CopyRange0 {
                slba: first.into(),
                nlb_z: u16::try_from(count - 1).unwrap().into(),
                ..CopyRange0::default()
            };
            list.memory().write_value(index * 32, &range).unwrap();
        }
        let nsid = u32::try_from(namespace).unwrap() + 1;
        let mut entry = SubmissionEntry::new(NvmOpcode::COPY, nsid);
        entry.set_cdw10_11(to);
        let nr_z = u8::try_from(ranges.len() - 1).unwrap();
        entry.cdw12 = CopyCdw12::new().with_nr_z(nr_z).into();
        entry.dptr = self.host.prps(&list);
        let result = self.host.io(entry);
        let shadow = &mut self.shadows[namespace];
        let mut at = to;
        for (first, count) in ranges {
            if shadow.is_bad(first, count) {
                assert_eq!(result, Err(Status::UNRECOVERED_READ_ERROR));
                return "copy of bad blocks";
            }
            let (from, into) = (shadow.range(first, count), shadow.range(at, count));
            shadow.bytes.copy_within(from, into.start);
            at += count;
        }
        shadow.set_bad(to, total, false);
        assert_eq!(result, Ok(0));
        "copy"
    }

    fn spoil(&mut self, namespace: usize, first: u64, count: u64) -> &'static str {
        let entry = self.entry(NvmOpcode::WRITE_UNCORRECTABLE, namespace, first, count);
        assert_eq!(self.host.io(entry), Ok(0));
        self.shadows[namespace].set_bad(first, count, true);
        "write uncorrectable"
    }

    fn check_arena(&self) {
        assert!(contents(self.arena.memory()) == self.expected, "a stray byte in host memory");
    }
}

fn run(name: &str, media: [MediaConfig; 2], cache: Option<CacheConfig>, seed: u64, steps: usize) {
    let block_sizes = [512, 4096];
    let namespaces = block_sizes.into_iter().zip(media).map(|(block_size, media)| {
        NamespaceConfig { blocks: BLOCKS, block_size, media, cache, ..NamespaceConfig::default() }
    });
    let subsystem =
        SubsystemConfig { namespaces: namespaces.collect(), ..SubsystemConfig::default() };
    let controller = ControllerConfig { mdts: 0, ..ControllerConfig::default() };
    let config = NvmeConfig { subsystem, controller };
    let mut world = World::new(config, block_sizes.map(|size| size as usize), seed);
    let mut counts = std::collections::BTreeMap::<_, usize>::new();
    for step in 0..steps {
        *counts.entry(world.step()).or_default() += 1;
        if step % 32 == 0 {
            world.check_arena();
        }
    }
    world.check_arena();
    // Everything once more, as a whole.
    for namespace in 0..2 {
        let shadow = &world.shadows[namespace];
        let healthy: Vec<u64> = (0..BLOCKS).filter(|&block| !shadow.is_bad(block, 1)).collect();
        for first in healthy {
            world.read(namespace, first, 1);
        }
    }
    world.check_arena();
    println!("{name}, seed {seed}: {steps} commands, 0 stray bytes: {counts:?}");
}

#[test]
fn memory() {
    for seed in 1..4 {
        run("memory", [MediaConfig::Memory, MediaConfig::Memory], None, seed, 1500);
    }
}

#[test]
fn behind_a_small_cache() {
    for seed in 4..6 {
        let cache = Some(CacheConfig { len: 64 << 10, seed });
        run("cached", [MediaConfig::Memory, MediaConfig::Memory], cache, seed, 1000);
    }
}

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let media = ["a", "b"].map(|name| MediaConfig::File(folder.path().join(name)));
    run("files", media, None, 6, 600);
    let lens = ["a", "b"].map(|name| std::fs::metadata(folder.path().join(name)).unwrap().len());
    assert_eq!(lens, [BLOCKS * 512, BLOCKS * 4096]);
}

/// Many commands in one queue at once, on blocks of their own, complete with the right data.
#[test]
fn full_queues() {
    let namespace = NamespaceConfig { blocks: 4096, ..NamespaceConfig::default() };
    let subsystem = SubsystemConfig { namespaces: vec![namespace], ..SubsystemConfig::default() };
    let mut host = Host::with(NvmeConfig { subsystem, ..NvmeConfig::default() });
    host.create_queue(256);
    let buffer = host.buffer(255 * 4096);
    let mut commands = 0;
    for turn in 0..8_u64 {
        for opcode in [NvmOpcode::WRITE, NvmOpcode::READ] {
            let mut bytes = vec![0; buffer.len()];
            pattern(turn + 1, &mut bytes);
            if opcode == NvmOpcode::READ {
                buffer.memory().fill(0, buffer.len(), 0).unwrap();
            } else {
                buffer.memory().write(0, &bytes).unwrap();
            }
            for slot in 0..255 {
                let mut entry = SubmissionEntry::new(opcode, 1);
                entry.set_cdw10_11((slot * 13 + turn * 255) % 4096);
                entry.dptr = DataPointer::prp(buffer.iova().0 + slot * 4096, 0);
                host.io[1].push(entry);
            }
            let done = host.reap(1, 255);
            assert!(done.iter().all(|completion| outcome(completion).is_ok()));
            assert!(contents(buffer.memory()) == bytes);
            commands += 255;
        }
    }
    println!("commands in full queues: {commands}");
}
