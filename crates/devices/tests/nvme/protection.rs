//! Metadata and protection information, against a bit-by-bit checksum.

use p2pdma_devices::nvme::{NamespaceConfig, NvmeConfig, SubsystemConfig};
use p2pdma_pci::DmaBuffer;
use p2pdma_spec::nvme::nvm::{LogicalBlockTags, NvmOpcode, ReadWriteCdw12};
use p2pdma_spec::nvme::protection::{Prinfo, ProtectionInfo16, ProtectionType};
use p2pdma_spec::nvme::queue::{DataPointer, DataTransfer, SubmissionEntry};
use p2pdma_spec::nvme::sgl::SglDescriptor;
use p2pdma_spec::nvme::status::Status;
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::host::{Host, Outcome, Rng, contents, pattern};

/// A format to try.
#[derive(Debug, Clone, Copy)]
struct Case {
    block_size: u32,
    metadata: u16,
    extended: bool,
    kind: ProtectionType,
    first: bool,
}

impl Case {
    fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        for block_size in [512, 4096] {
            for metadata in [8, 16, 64] {
                for extended in [false, true] {
                    for kind in 0..4 {
                        for first in [false, true] {
                            let kind = ProtectionType::from_bits(kind);
                            cases.push(Self { block_size, metadata, extended, kind, first });
                        }
                    }
                }
            }
        }
        cases
    }

    fn host(&self) -> Host {
        let namespace = NamespaceConfig {
            blocks: 512,
            block_size: self.block_size,
            metadata_size: self.metadata,
            extended: self.extended,
            protection: self.kind,
            protection_first: self.first,
            ..NamespaceConfig::default()
        };
        let namespaces = vec![namespace];
        let subsystem = SubsystemConfig { namespaces, ..SubsystemConfig::default() };
        Host::with(NvmeConfig { subsystem, ..NvmeConfig::default() })
    }

    fn protected(&self) -> bool {
        self.kind != ProtectionType::NONE
    }

    /// Where the information is in a block's metadata.
    fn info(&self) -> std::ops::Range<usize> {
        let start = if self.first { 0 } else { usize::from(self.metadata) - 8 };
        start..start + 8
    }

    /// The information that a block should have, by the specification's polynomial 8BB7h.
    fn expected(&self, data: &[u8], metadata: &[u8], tag: u16, reference: u32) -> ProtectionInfo16 {
        let covered = if self.first { 0 } else { self.info().start };
        let bytes = data.iter().chain(&metadata[..covered]);
        let crc = bytes.fold(0_u16, |crc, byte| {
            (0..8).rev().fold(crc, |crc, bit| {
                let top = crc >> 15 ^ u16::from(byte >> bit & 1);
                crc << 1 ^ if top == 1 { 0x8BB7 } else { 0 }
            })
        });
        ProtectionInfo16 {
            guard: crc.into(),
            application_tag: tag.into(),
            reference_tag: reference.into(),
        }
    }

    /// The reference tag of a command's block, where the command begins with `initial`.
    fn reference(&self, initial: u32, index: u32) -> u32 {
        if self.kind == ProtectionType::TYPE_3 { initial } else { initial.wrapping_add(index) }
    }
}

/// Data and metadata of some blocks, as a host holds them.
struct Blocks {
    data: Vec<u8>,
    metadata: Vec<u8>,
}

/// A command's memory: data (with metadata in between if they are extended), and metadata.
struct Memory {
    data: DmaBuffer,
    metadata: DmaBuffer,
}

impl Memory {
    fn new(host: &Host) -> Self {
        Self { data: host.buffer(128 << 10), metadata: host.buffer(8192) }
    }

    fn put(&self, case: &Case, blocks: &Blocks, transferred: bool) {
        let (size, meta) = (case.block_size as usize, usize::from(case.metadata));
        if case.extended && transferred {
            let pairs = blocks.data.chunks(size).zip(blocks.metadata.chunks(meta));
            for (index, (data, metadata)) in pairs.enumerate() {
                self.data.memory().write(index * (size + meta), data).unwrap();
                self.data.memory().write(index * (size + meta) + size, metadata).unwrap();
            }
        } else {
            self.data.memory().write(0, &blocks.data).unwrap();
            self.metadata.memory().write(0, &blocks.metadata).unwrap();
        }
    }

    fn get(&self, case: &Case, count: usize, transferred: bool) -> Blocks {
        let (size, meta) = (case.block_size as usize, usize::from(case.metadata));
        let all = contents(self.data.memory());
        if case.extended && transferred {
            let chunks = all.chunks(size + meta).take(count);
            let (data, metadata): (Vec<_>, Vec<_>) =
                chunks.map(|chunk| (chunk[..size].to_vec(), chunk[size..].to_vec())).unzip();
            return Blocks { data: data.concat(), metadata: metadata.concat() };
        }
        let metadata = contents(self.metadata.memory())[..count * meta].to_vec();
        Blocks { data: all[..count * size].to_vec(), metadata }
    }
}

#[derive(Debug, Clone, Copy)]
struct Command {
    opcode: NvmOpcode,
    first: u64,
    count: u16,
    prinfo: Prinfo,
    reference: u32,
    tags: LogicalBlockTags,
}

impl Command {
    fn new(opcode: NvmOpcode, first: u64, count: u16) -> Self {
        Self {
            opcode,
            first,
            count,
            prinfo: Prinfo::new(),
            reference: u32::try_from(first).unwrap(),
            tags: LogicalBlockTags::new().with_lbat(0xABCD).with_lbatm(0xFFFF),
        }
    }

    fn with(mut self, prinfo: Prinfo) -> Self {
        self.prinfo = prinfo;
        self
    }

    fn send(&self, host: &mut Host, memory: &Memory) -> Outcome {
        let mut entry = SubmissionEntry::new(self.opcode, 1);
        entry.set_cdw10_11(self.first);
        let cdw12 = ReadWriteCdw12::new().with_nlb_z(self.count - 1).with_prinfo(self.prinfo);
        entry.cdw12 = cdw12.into();
        entry.cdw14 = self.reference.into();
        entry.cdw15 = self.tags.into();
        entry.mptr = memory.metadata.iova().0.into();
        entry.dptr = host.prps(&memory.data);
        host.io(entry)
    }
}

fn checks() -> Prinfo {
    Prinfo::new().with_check_guard(true).with_check_application(true)
}

fn all_checks(case: &Case) -> Prinfo {
    checks().with_check_reference(case.kind != ProtectionType::TYPE_3)
}

fn random_blocks(case: &Case, seed: u64, count: usize) -> Blocks {
    let mut data = vec![0; case.block_size as usize * count];
    let mut metadata = vec![0; usize::from(case.metadata) * count];
    pattern(seed, &mut data);
    pattern(seed + 77, &mut metadata);
    Blocks { data, metadata }
}

/// Puts the right information into the blocks' metadata.
fn protect(case: &Case, blocks: &mut Blocks, tag: u16, initial: u32) {
    let meta = usize::from(case.metadata);
    let pairs = blocks.data.chunks(case.block_size as usize).zip(blocks.metadata.chunks_mut(meta));
    for (index, (data, metadata)) in (0..).zip(pairs) {
        let info = case.expected(data, metadata, tag, case.reference(initial, index));
        metadata[case.info()].copy_from_slice(info.as_bytes());
    }
}

/// What the host writes with its own information it reads back, in every format.
#[test]
fn there_and_back_in_every_format() {
    for case in Case::all() {
        let mut host = case.host();
        let memory = Memory::new(&host);
        let mut blocks = random_blocks(&case, 1, 20);
        if case.protected() {
            protect(&case, &mut blocks, 0xABCD, 100);
        }
        memory.put(&case, &blocks, true);
        let write = Command::new(NvmOpcode::WRITE, 100, 20).with(all_checks(&case));
        write.send(&mut host, &memory).unwrap();
        memory.data.memory().fill(0, memory.data.len(), 0).unwrap();
        memory.metadata.memory().fill(0, memory.metadata.len(), 0).unwrap();
        let read = Command { opcode: NvmOpcode::READ, ..write };
        read.send(&mut host, &memory).unwrap();
        let back = memory.get(&case, 20, true);
        assert!(back.data == blocks.data && back.metadata == blocks.metadata, "{case:?}");
        let compare = Command { opcode: NvmOpcode::COMPARE, ..write };
        compare.send(&mut host, &memory).unwrap();
        let verify = Command { opcode: NvmOpcode::VERIFY, ..write };
        verify.send(&mut host, &memory).unwrap();
    }
    println!("formats: {}", Case::all().len());
}

/// PRACT: the controller makes the information, and strips it where it is all of the metadata.
#[test]
fn the_controller_inserts_and_strips() {
    let mut tried = 0;
    for case in Case::all().into_iter().filter(Case::protected) {
        let mut host = case.host();
        let memory = Memory::new(&host);
        let mut blocks = random_blocks(&case, 2, 7);
        let strips = case.metadata == 8;
        memory.put(&case, &blocks, !strips);
        let pract = all_checks(&case).with_pract(true);
        let write = Command::new(NvmOpcode::WRITE, 9, 7).with(pract);
        write.send(&mut host, &memory).unwrap();
        // Read without PRACT, the information shows.
        let read = Command::new(NvmOpcode::READ, 9, 7).with(all_checks(&case));
        read.send(&mut host, &memory).unwrap();
        if strips {
            blocks.metadata.fill(0);
        }
        protect(&case, &mut blocks, 0xABCD, 9);
        let back = memory.get(&case, 7, true);
        assert!(back.data == blocks.data, "{case:?}");
        assert!(back.metadata == blocks.metadata, "{case:?}");
        // With PRACT, it is stripped if it is all there is.
        memory.data.memory().fill(0, memory.data.len(), 0).unwrap();
        let read = read.with(pract);
        read.send(&mut host, &memory).unwrap();
        assert!(memory.get(&case, 7, !strips).data == blocks.data, "{case:?}");
        tried += 1;
    }
    println!("formats with protection: {tried}");
}

/// One bit wrong in guard, tag or reference of any block: the right check fails, and no other.
#[test]
fn every_check_finds_its_error() {
    let mut rng = Rng::new(3);
    let mut found = 0;
    for case in Case::all().into_iter().filter(Case::protected) {
        let mut host = case.host();
        let memory = Memory::new(&host);
        let none = Prinfo::new();
        let kinds = [
            (0_u32..16, none.with_check_guard(true), Status::GUARD_CHECK_ERROR),
            (16..32, none.with_check_application(true), Status::APPLICATION_TAG_CHECK_ERROR),
            (32..64, none.with_check_reference(true), Status::REFERENCE_TAG_CHECK_ERROR),
        ];
        for (bits, check, status) in kinds {
            if case.kind == ProtectionType::TYPE_3 && check.check_reference() {
                let write = Command::new(NvmOpcode::WRITE, 5, 1).with(check);
                let refused = write.send(&mut host, &memory);
                assert_eq!(refused, Err(Status::INVALID_PROTECTION_INFORMATION));
                continue;
            }
            let mut blocks = random_blocks(&case, 4, 5);
            protect(&case, &mut blocks, 0xABCD, 5);
            let bit = bits.start as usize + rng.index(bits.len());
            let block = rng.index(5);
            let at = block * usize::from(case.metadata) + case.info().start + bit / 8;
            blocks.metadata[at] ^= 0x80 >> (bit % 8);
            memory.put(&case, &blocks, true);
            let write = Command::new(NvmOpcode::WRITE, 5, 5);
            assert_eq!(write.with(check).send(&mut host, &memory), Err(status), "{case:?} {bit}");
            let others = [
                all_checks(&case).with_check_guard(!check.check_guard()),
                all_checks(&case).with_check_application(!check.check_application()),
                all_checks(&case).with_check_reference(
                    !check.check_reference() && case.kind != ProtectionType::TYPE_3,
                ),
            ];
            let others = Prinfo::from_bits(
                others.iter().fold(0xF, |bits, prinfo| bits & prinfo.into_bits()),
            );
            write.with(others).send(&mut host, &memory).unwrap();
            // It is on the medium now: reading, verifying and comparing find it as well.
            for opcode in [NvmOpcode::READ, NvmOpcode::VERIFY, NvmOpcode::COMPARE] {
                let command = Command { opcode, ..write }.with(check);
                assert_eq!(command.send(&mut host, &memory), Err(status), "{case:?} {opcode}");
                let command = command.with(others);
                command.send(&mut host, &memory).unwrap();
            }
            found += 1;
        }
    }
    println!("planted errors found: {found}");
}

/// The escape values switch checking off: for types 1 and 2 the tag alone, for type 3 with the reference.
#[test]
fn escapes() {
    for kind in [ProtectionType::TYPE_1, ProtectionType::TYPE_2, ProtectionType::TYPE_3] {
        let case = Case { block_size: 512, metadata: 8, extended: false, kind, first: false };
        let mut host = case.host();
        let memory = Memory::new(&host);
        let write = Command::new(NvmOpcode::WRITE, 3, 1).with(all_checks(&case));
        let mut blocks = random_blocks(&case, 5, 1);
        blocks.metadata[2..4].fill(0xFF);
        memory.put(&case, &blocks, true);
        let expected = match kind {
            ProtectionType::TYPE_3 => Err(Status::GUARD_CHECK_ERROR),
            _ => Ok(0),
        };
        assert_eq!(write.send(&mut host, &memory), expected, "{kind}");
        blocks.metadata[4..8].fill(0xFF);
        memory.put(&case, &blocks, true);
        write.send(&mut host, &memory).unwrap();
    }
}

/// What was never written, or was deallocated, has information of all ones, and every check passes.
#[test]
fn unwritten_and_deallocated_blocks() {
    for case in Case::all().into_iter().filter(Case::protected) {
        let mut host = case.host();
        let memory = Memory::new(&host);
        let look = |host: &mut Host| {
            let read = Command::new(NvmOpcode::READ, 40, 3).with(all_checks(&case));
            read.send(host, &memory).unwrap();
            let blocks = memory.get(&case, 3, true);
            assert!(blocks.data.iter().all(|byte| *byte == 0));
            for metadata in blocks.metadata.chunks(usize::from(case.metadata)) {
                assert_eq!(metadata[case.info()], [0xFF; 8], "{case:?}");
            }
        };
        look(&mut host);
        let pract = Prinfo::new().with_pract(true);
        Command::new(NvmOpcode::WRITE, 40, 3).with(pract).send(&mut host, &memory).unwrap();
        let mut zeroes = SubmissionEntry::new(NvmOpcode::WRITE_ZEROES, 1);
        zeroes.set_cdw10_11(40);
        zeroes.cdw12 = (2 | 1 << 25).into();
        host.io(zeroes).unwrap();
        look(&mut host);
    }
}

/// Write Zeroes without deallocation makes information, or zeroes it.
#[test]
fn write_zeroes_makes_information() {
    let kind = ProtectionType::TYPE_1;
    let case = Case { block_size: 4096, metadata: 16, extended: true, kind, first: true };
    let mut host = case.host();
    let memory = Memory::new(&host);
    for pract in [true, false] {
        let mut zeroes = SubmissionEntry::new(NvmOpcode::WRITE_ZEROES, 1);
        zeroes.set_cdw10_11(8);
        zeroes.cdw12 = (19 | u32::from(pract) << 29).into();
        (zeroes.cdw14, zeroes.cdw15) = (8.into(), 0xFFFF_1234.into());
        host.io(zeroes).unwrap();
        Command::new(NvmOpcode::READ, 8, 20).send(&mut host, &memory).unwrap();
        let blocks = memory.get(&case, 20, true);
        for (index, metadata) in (0..).zip(blocks.metadata.chunks(16)) {
            let info = ProtectionInfo16::read_from_bytes(&metadata[..8]).unwrap();
            let expected = case.expected(&[0; 4096], metadata, 0x1234, 8 + index);
            assert_eq!(info, if pract { expected } else { ProtectionInfo16::default() });
        }
    }
}

#[test]
fn reference_tags_of_type_1_must_fit_the_blocks() {
    let kind = ProtectionType::TYPE_1;
    let case = Case { block_size: 512, metadata: 8, extended: false, kind, first: false };
    let mut host = case.host();
    let memory = Memory::new(&host);
    let command = Command { reference: 8, ..Command::new(NvmOpcode::READ, 9, 1) };
    let checked = command.with(Prinfo::new().with_check_reference(true));
    assert_eq!(checked.send(&mut host, &memory), Err(Status::INVALID_PROTECTION_INFORMATION));
    command.send(&mut host, &memory).unwrap();
    for opcode in [NvmOpcode::COMPARE, NvmOpcode::VERIFY] {
        let pract = Command::new(opcode, 9, 1).with(Prinfo::new().with_pract(true));
        let refused = pract.send(&mut host, &memory);
        assert_eq!(refused, Err(Status::INVALID_PROTECTION_INFORMATION), "{opcode}");
    }
}

/// Metadata pointers: alignment, and one that is an SGL.
#[test]
fn metadata_pointers() {
    let kind = ProtectionType::NONE;
    let case = Case { block_size: 512, metadata: 16, extended: false, kind, first: false };
    let mut host = case.host();
    let memory = Memory::new(&host);
    let blocks = random_blocks(&case, 6, 4);
    memory.put(&case, &blocks, true);
    Command::new(NvmOpcode::WRITE, 0, 4).send(&mut host, &memory).unwrap();
    let mut entry = SubmissionEntry::new(NvmOpcode::READ, 1);
    entry.cdw12 = 3.into();
    entry.dptr = DataPointer::sgl(SglDescriptor::data_block(memory.data.iova().0, 2048));
    let sgl = entry.cdw0.get().with_psdt(DataTransfer::SGL_METADATA_SGL);
    let contiguous = entry.cdw0.get().with_psdt(DataTransfer::SGL_METADATA_BUFFER);
    let base = memory.metadata.iova().0;
    for (cdw0, mptr, expected) in [
        (contiguous, base + 2, Err(Status::INVALID_FIELD)),
        (contiguous, u64::MAX - 3, Err(Status::INVALID_FIELD)),
        (contiguous, base + 4, Ok(0)),
        (sgl, base + 4, Err(Status::INVALID_FIELD)),
        (sgl, 1 << 45, Err(Status::DATA_TRANSFER_ERROR)),
    ] {
        entry.cdw0.set(cdw0);
        entry.mptr = mptr.into();
        assert_eq!(host.io(entry), expected, "{cdw0} {mptr:#x}");
    }
    // Two pieces by a list, with a gap.
    let pieces =
        [SglDescriptor::data_block(base + 1000, 40), SglDescriptor::data_block(base + 2000, 24)];
    for (index, piece) in pieces.iter().enumerate() {
        memory.metadata.memory().write_value(512 + index * 16, piece).unwrap();
    }
    let list = SglDescriptor::last_segment(base + 512, 32);
    memory.metadata.memory().write_value(0, &list).unwrap();
    entry.cdw0.set(sgl);
    entry.mptr = base.into();
    host.io(entry).unwrap();
    let all = contents(memory.metadata.memory());
    assert_eq!([&all[1000..1040], &all[2000..2024]].concat(), blocks.metadata);
    let short = SglDescriptor::data_block(base, 63);
    memory.metadata.memory().write_value(0, &short).unwrap();
    assert_eq!(host.io(entry), Err(Status::METADATA_SGL_LENGTH_INVALID));
}

/// Copy checks where it reads, and makes information where it writes.
#[test]
fn copy_with_protection() {
    use p2pdma_spec::nvme::nvm::{CopyCdw12, CopyRange0};
    let kind = ProtectionType::TYPE_1;
    let case = Case { block_size: 512, metadata: 8, extended: false, kind, first: false };
    let mut host = case.host();
    let memory = Memory::new(&host);
    let mut blocks = random_blocks(&case, 8, 4);
    protect(&case, &mut blocks, 0xABCD, 10);
    memory.put(&case, &blocks, true);
    Command::new(NvmOpcode::WRITE, 10, 4).with(all_checks(&case)).send(&mut host, &memory).unwrap();
    let list = host.buffer(4096);
    let copy = |host: &mut Host, elbt: u32, prinfor: Prinfo, prinfow: Prinfo| {
        let range = CopyRange0 {
            slba: 10.into(),
            nlb_z: 3.into(),
            elbt: elbt.into(),
            elbat: 0xABCD.into(),
            elbatm: 0xFFFF.into(),
            ..CopyRange0::default()
        };
        list.memory().write_value(0, &range).unwrap();
        let mut entry = SubmissionEntry::new(NvmOpcode::COPY, 1);
        entry.set_cdw10_11(200);
        entry.cdw12 = CopyCdw12::new().with_prinfor(prinfor).with_prinfow(prinfow).into();
        (entry.cdw14, entry.cdw15) = (200.into(), 0xFFFF_5678.into());
        entry.dptr = host.prps(&list);
        host.io(entry)
    };
    let (all, pract) = (all_checks(&case), Prinfo::new().with_pract(true));
    assert_eq!(copy(&mut host, 11, all, pract), Err(Status::INVALID_PROTECTION_INFORMATION));
    // The information as it is has the wrong references for its new place.
    let kept = copy(&mut host, 10, all, Prinfo::new().with_check_reference(true));
    assert_eq!(kept, Err(Status::REFERENCE_TAG_CHECK_ERROR));
    copy(&mut host, 10, all, pract).unwrap();
    Command::new(NvmOpcode::READ, 200, 4).send(&mut host, &memory).unwrap();
    let mut expected = blocks;
    protect(&case, &mut expected, 0x5678, 200);
    let back = memory.get(&case, 4, true);
    assert!(back.data == expected.data && back.metadata == expected.metadata);
}
