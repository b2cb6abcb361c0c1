//! PRPs and SGLs of every shape, right and wrong, against slow reference walkers that go byte by byte and
//! share nothing with the controller's.

use std::collections::BTreeMap;

use p2pdma_devices::nvme::{ControllerConfig, NamespaceConfig, NvmeConfig, SubsystemConfig};
use p2pdma_pci::DmaBuffer;
use p2pdma_spec::nvme::nvm::{NvmOpcode, ReadWriteCdw12};
use p2pdma_spec::nvme::queue::{DataPointer, DataTransfer, SubmissionEntry};
use p2pdma_spec::nvme::sgl::SglDescriptor;
use p2pdma_spec::nvme::status::Status;
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::host::{Host, Rng, contents, pattern};

/// The memory that everything is in: lists, descriptors and data.
const ARENA: usize = 512 << 10;
const PAGE: u64 = 4096;
/// What of it lists and data are put into.
const USED: u64 = ARENA as u64 - PAGE;
const BLOCK: u64 = 512;
/// Where each byte of the data goes; none for a bit bucket.
type Places = Vec<Option<u64>>;

fn host() -> Host {
    let namespace = NamespaceConfig { blocks: 4096, block_size: 512, ..NamespaceConfig::default() };
    let subsystem = SubsystemConfig { namespaces: vec![namespace], ..SubsystemConfig::default() };
    let controller = ControllerConfig { mdts: 5, ..ControllerConfig::default() };
    let mut host = Host::with(NvmeConfig { subsystem, controller });
    let all = host.buffer(128 << 10);
    for first in (0..4096_u64).step_by(256) {
        let mut bytes = vec![0; 128 << 10];
        pattern(first + 1, &mut bytes);
        all.memory().write(0, &bytes).unwrap();
        host.write(1, first, 256, &all).unwrap();
    }
    host
}

/// The arena as it was before the command.
struct Arena {
    base: u64,
    bytes: Vec<u8>,
}

impl Arena {
    /// Bytes that the controller reads; none where there is no memory.
    fn read(&self, at: u64, len: u64) -> Option<&[u8]> {
        let start = usize::try_from(at.checked_sub(self.base)?).ok()?;
        self.bytes.get(start..start.checked_add(usize::try_from(len).ok()?)?)
    }

    fn entry(&self, at: u64) -> Result<u64, Status> {
        let bytes = self.read(at, 8).ok_or(Status::DATA_TRANSFER_ERROR)?;
        Ok(u64::from_le_bytes(bytes.try_into().unwrap()))
    }
}

/// NVMe Base 2.1 §4.3.1, read literally.
fn reference_prp(arena: &Arena, pointer: DataPointer, len: u64) -> Result<Places, Status> {
    let (prp1, prp2) = (pointer.prp1.address(), pointer.prp2.address());
    if prp1 % 4 != 0 {
        return Err(Status::PRP_OFFSET_INVALID);
    }
    let mut places: Vec<u64> = Vec::new();
    let mut at = prp1;
    while (places.len() as u64) < len && (places.is_empty() || at % PAGE != 0) {
        places.push(at);
        at = at.wrapping_add(1);
    }
    let mut rest = len - places.len() as u64;
    if rest > 0 && rest <= PAGE {
        if prp2 % PAGE != 0 {
            return Err(Status::PRP_OFFSET_INVALID);
        }
        places.extend((0..rest).map(|byte| prp2.wrapping_add(byte)));
        rest = 0;
    }
    let mut list = prp2;
    if rest > 0 && list % 8 != 0 {
        return Err(Status::PRP_OFFSET_INVALID);
    }
    // The controller reads a page of a list before it looks at any of its entries.
    let mut known = 0;
    while rest > 0 {
        if known == 0 {
            let room = (PAGE - list % PAGE) / 8;
            known = room.min(rest.div_ceil(PAGE));
            for index in 0..known {
                arena.entry(list.wrapping_add(index * 8))?;
            }
        }
        let entry = arena.entry(list)?;
        if entry % PAGE != 0 {
            return Err(Status::PRP_OFFSET_INVALID);
        }
        let last_of_page = list % PAGE == PAGE - 8;
        known -= 1;
        if last_of_page && rest > PAGE {
            list = entry;
            continue;
        }
        let here = rest.min(PAGE);
        places.extend((0..here).map(|byte| entry.wrapping_add(byte)));
        rest -= here;
        list = list.wrapping_add(8);
    }
    Ok(places.into_iter().map(Some).collect())
}

/// NVMe Base 2.1 §4.3.2, read literally. `to_host`: whether bit buckets count.
fn reference_sgl(
    arena: &Arena,
    first: SglDescriptor,
    len: u64,
    to_host: bool,
) -> Result<Places, Status> {
    let mut places = Places::new();
    let mut segment = vec![first];
    let (mut last, mut inline) = (true, true);
    let mut budget = 8192_u64;
    loop {
        let mut next = None;
        for (index, descriptor) in segment.iter().enumerate() {
            if places.len() as u64 == len {
                return Ok(places);
            }
            let bytes = descriptor.as_bytes();
            let address = descriptor.address.get();
            let length = u64::from(descriptor.length.get());
            let room = usize::try_from(length.min(len - places.len() as u64)).unwrap();
            match bytes[15] {
                0x00 => {
                    address.checked_add(length).ok_or(Status::DATA_TRANSFER_ERROR)?;
                    places.extend((0..room as u64).map(|byte| Some(address + byte)));
                }
                0x10 if to_host => places.extend(vec![None; room]),
                0x10 => {}
                kind @ (0x20 | 0x30) => {
                    let bad = length == 0
                        || length % 16 != 0
                        || address.checked_add(length).is_none()
                        || (last && !inline);
                    if bad {
                        return Err(Status::INVALID_SGL_SEGMENT_DESCRIPTOR);
                    }
                    if index + 1 < segment.len() {
                        return Err(Status::INVALID_NUMBER_OF_SGL_DESCRIPTORS);
                    }
                    next = Some((address, length, kind == 0x30));
                }
                _ => return Err(Status::SGL_DESCRIPTOR_TYPE_INVALID),
            }
        }
        if places.len() as u64 == len {
            return Ok(places);
        }
        let Some((address, length, is_last)) = next else {
            return Err(if last {
                Status::DATA_SGL_LENGTH_INVALID
            } else {
                Status::INVALID_SGL_SEGMENT_DESCRIPTOR
            });
        };
        budget =
            budget.checked_sub(length / 16).ok_or(Status::INVALID_NUMBER_OF_SGL_DESCRIPTORS)?;
        let bytes = arena.read(address, length).ok_or(Status::DATA_TRANSFER_ERROR)?;
        segment =
            bytes.chunks(16).map(|bytes| SglDescriptor::read_from_bytes(bytes).unwrap()).collect();
        (last, inline) = (is_last, false);
    }
}

/// Makes random lists in an arena.
struct Builder<'a> {
    rng: &'a mut Rng,
    memory: &'a DmaBuffer,
    /// How seldom something is wrong.
    seldom: u64,
}

impl Builder<'_> {
    fn base(&self) -> u64 {
        self.memory.iova().0
    }

    /// Any page but the last, so that what is a little off stays in the arena.
    fn page(&mut self) -> u64 {
        self.base() + self.rng.below(USED / PAGE) * PAGE
    }

    /// Now and then not what it should be.
    fn bent(&mut self, value: u64) -> u64 {
        if !self.rng.once_in(self.seldom) {
            return value;
        }
        match self.rng.below(7) {
            0 => value + 4,
            1 => value + 1,
            // Bits between would lead to other memory of the host.
            2 => value ^ 1 << self.rng.pick(&[0, 2, 3, 9, 11, 32, 40, 63]),
            3 => !4095,
            4 => 0,
            5 => value + 8,
            _ => 1 << 45,
        }
    }

    fn put(&self, at: u64, bytes: &[u8]) {
        if let Some(offset) = at.checked_sub(self.base()).and_then(|at| usize::try_from(at).ok()) {
            let _ = self.memory.memory().write(offset, bytes);
        }
    }

    fn prps(&mut self, len: u64) -> DataPointer {
        let offset = self.rng.pick(&[0, 0, 4, 512, 2048, 4092]);
        let start = self.page() + offset;
        let start = self.bent(start);
        let rest = len.saturating_sub(PAGE - start % PAGE);
        if rest <= PAGE {
            let second = self.page();
            return DataPointer::prp(start, self.bent(second));
        }
        // Often near a page's end, so that lists chain.
        let place = self.page() + self.rng.pick(&[0, 8, 2048, PAGE - 32, PAGE - 16, PAGE - 8]);
        let first = self.bent(place);
        let (mut list, mut rest) = (first, rest);
        for _ in 0..200 {
            if rest == 0 {
                break;
            }
            let chained = list % PAGE == PAGE - 8 && rest > PAGE;
            let entry = self.page();
            let entry = self.bent(entry);
            self.put(list, &entry.to_le_bytes());
            if chained {
                list = entry;
            } else {
                list = list.wrapping_add(8);
                rest = rest.saturating_sub(PAGE);
            }
        }
        DataPointer::prp(start, first)
    }

    fn block(&mut self, len: u64) -> SglDescriptor {
        let at = self.base() + self.rng.below(USED - len + 1);
        let at = self.bent(at);
        SglDescriptor::data_block(at, u32::try_from(len).unwrap())
    }

    /// Some descriptors that stand for `len` bytes.
    fn descriptors(&mut self, len: u64) -> Vec<SglDescriptor> {
        let mut list = Vec::new();
        let mut rest = len;
        while rest > 0 {
            let piece = match self.rng.below(4) {
                0 => rest,
                1 => rest.min(1 + self.rng.below(700)),
                _ => rest.min(512 * (1 + self.rng.below(4))),
            };
            match self.rng.below(10) {
                0 => list.push(SglDescriptor::data_block(self.base(), 0)),
                1 if self.rng.once_in(2) => {
                    list.push(SglDescriptor::bit_bucket(u32::try_from(piece).unwrap()));
                }
                _ => {
                    list.push(self.block(piece));
                    rest -= piece;
                }
            }
            if self.rng.once_in(self.seldom) {
                let mut odd = SglDescriptor::data_block(self.base(), 64);
                odd.identifier = self.rng.next().to_le_bytes()[0].into();
                list.push(odd);
            }
        }
        if self.rng.once_in(self.seldom * 2) {
            list.pop();
        }
        list
    }

    fn sgls(&mut self, len: u64) -> SglDescriptor {
        let mut rest = self.descriptors(len);
        if rest.len() == 1 {
            return rest[0];
        }
        // Segments of any length, each in a place of its own, built from the last one.
        let mut next: Option<SglDescriptor> = None;
        while !rest.is_empty() {
            let count = 1 + self.rng.index(rest.len().min(40));
            let mut segment = rest.split_off(rest.len() - count);
            segment.extend(next);
            let place = self.base() + self.rng.below((USED - 16 * 64) / 4) * 4;
            self.put(place, segment.as_slice().as_bytes());
            let bytes = u32::try_from(segment.len() * 16).unwrap();
            let bytes = if self.rng.once_in(self.seldom * 4) { bytes + 8 } else { bytes };
            let is_last = next.is_none() != self.rng.once_in(self.seldom * 4);
            let place = self.bent(place);
            next = Some(if is_last {
                SglDescriptor::last_segment(place, bytes)
            } else {
                SglDescriptor::segment(place, bytes)
            });
        }
        next.unwrap_or_default()
    }
}

/// What the arena holds after a read of `data`.
fn expected_arena(arena: &Arena, places: &Places, data: &[u8]) -> Vec<u8> {
    let mut bytes = arena.bytes.clone();
    for (place, byte) in places.iter().zip(data) {
        let at = place.and_then(|at| at.checked_sub(arena.base));
        let slot = at.and_then(|at| bytes.get_mut(usize::try_from(at).ok()?));
        // A posted write that goes nowhere is lost, and nobody is told.
        if let Some(slot) = slot {
            *slot = *byte;
        }
    }
    bytes
}

/// What a write takes from the arena; none if any of it is not there.
fn expected_data(arena: &Arena, places: &Places) -> Option<Vec<u8>> {
    places.iter().map(|place| arena.read((*place)?, 1).map(|bytes| bytes[0])).collect()
}

fn compare_with_reference(seed: u64, cases: usize, sgl: bool) {
    let mut host = host();
    let mut rng = Rng::new(seed);
    let memory = host.buffer(ARENA);
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for case in 0..cases {
        let mut bytes = vec![0; ARENA];
        pattern(seed + case as u64, &mut bytes);
        memory.memory().write(0, &bytes).unwrap();
        let blocks = match rng.below(3) {
            0 => 1 + rng.below(16),
            1 => 8 * (1 + rng.below(20)),
            _ => 1 + rng.below(256),
        };
        let (len, write) = (blocks * BLOCK, rng.once_in(2));
        let seldom = rng.pick(&[10, 60, 1_000_000]);
        let opcode = if write { NvmOpcode::WRITE } else { NvmOpcode::READ };
        let mut entry = SubmissionEntry::new(opcode, 1);
        let nlb_z = u16::try_from(blocks - 1).unwrap();
        entry.cdw12 = ReadWriteCdw12::new().with_nlb_z(nlb_z).into();
        let first = rng.below(4096 - blocks);
        entry.set_cdw10_11(first);
        let mut builder = Builder { rng: &mut rng, memory: &memory, seldom };
        if sgl {
            let descriptor = builder.sgls(len);
            entry.dptr = DataPointer::sgl(descriptor);
            let psdt = DataTransfer::from_bits(1 + rng.below(2).to_le_bytes()[0]);
            entry.cdw0.set(entry.cdw0.get().with_psdt(psdt));
        } else {
            entry.dptr = builder.prps(len);
        }
        let arena = Arena { base: memory.iova().0, bytes: contents(memory.memory()) };
        let reference = if sgl {
            reference_sgl(&arena, entry.dptr.as_sgl(), len, !write)
        } else {
            reference_prp(&arena, entry.dptr, len)
        };
        let name = check(&mut host, &entry, &arena, reference, &memory);
        *counts.entry(name).or_default() += 1;
    }
    println!("{} with seed {seed}: {counts:?}", if sgl { "SGLs" } else { "PRPs" });
    assert!(counts["read"] > cases / 8 && counts["written"] > cases / 8);
}

/// Runs a command and compares everything that it could have changed; says what it was.
fn check(
    host: &mut Host,
    entry: &SubmissionEntry,
    arena: &Arena,
    reference: Result<Places, Status>,
    memory: &DmaBuffer,
) -> String {
    let write = entry.opcode() == NvmOpcode::WRITE.into_bits();
    let (first, blocks) = (entry.cdw10_11(), (entry.cdw12.get() & 0xFFFF) + 1);
    let before = blocks_of(host, first, blocks);
    let result = host.io(*entry);
    let after = blocks_of(host, first, blocks);
    let now = contents(memory.memory());
    let places = match reference {
        Err(status) => {
            assert_eq!(result, Err(status), "{entry}");
            assert!(now == arena.bytes, "a refused command changed memory: {entry}");
            assert!(before == after, "a refused command changed blocks: {entry}");
            return status.to_string();
        }
        Ok(places) => places,
    };
    if !write {
        assert_eq!(result, Ok(0), "{entry}");
        assert!(now == expected_arena(arena, &places, &before), "stray or wrong bytes: {entry}");
        return "read".to_owned();
    }
    assert!(now == arena.bytes, "a write changed memory: {entry}");
    if let Some(data) = expected_data(arena, &places) {
        assert_eq!(result, Ok(0), "{entry}");
        assert!(after == data, "wrong data: {entry}");
        return "written".to_owned();
    }
    assert_eq!(result, Err(Status::DATA_TRANSFER_ERROR), "{entry}");
    // What of the data is there is all or nothing, block by block.
    let wanted: Vec<Option<Vec<u8>>> =
        places.chunks(512).map(|block| expected_data(arena, &block.to_vec())).collect();
    for ((after, before), wanted) in after.chunks(512).zip(before.chunks(512)).zip(wanted) {
        let new = wanted.is_some_and(|wanted| after == wanted);
        assert!(new || after == before, "a torn block: {entry}");
    }
    "write from nowhere".to_owned()
}

fn blocks_of(host: &mut Host, first: u64, blocks: u32) -> Vec<u8> {
    let len = blocks as usize * 512;
    let buffer = host.buffer(len);
    let entry = host.rw(NvmOpcode::READ, 1, first, blocks, &buffer);
    host.io(entry).unwrap();
    contents(buffer.memory())
}

/// Planted bugs that this test finds: no check of an entry's offset; the last entry of a full list page
/// taken for data; one byte more than asked for; a list read beyond what is needed.
#[test]
fn prps_against_the_reference() {
    compare_with_reference(1, 3000, false);
}

/// Planted bugs that this test finds: bit buckets that count in writes; segments that may stand anywhere;
/// an SGL that is one byte short; whole blocks taken from runs that tear them.
#[test]
fn sgls_against_the_reference() {
    compare_with_reference(2, 3000, true);
}

fn one_block(host: &mut Host, descriptor: SglDescriptor) -> Result<u32, Status> {
    let mut entry = SubmissionEntry::new(NvmOpcode::READ, 1);
    entry.cdw0.set(entry.cdw0.get().with_psdt(DataTransfer::SGL_METADATA_BUFFER));
    entry.dptr = DataPointer::sgl(descriptor);
    host.io(entry)
}

/// Chains that never come to data end, with a status.
#[test]
fn lists_chained_to_themselves() {
    let mut host = host();
    let memory = host.buffer(8192);
    let at = memory.iova().0;
    // A segment whose last descriptor leads back to it, before it one without bytes.
    let empty = SglDescriptor::data_block(at, 0);
    let itself = SglDescriptor::segment(at, 32);
    memory.memory().write(0, empty.as_bytes()).unwrap();
    memory.memory().write(16, itself.as_bytes()).unwrap();
    assert_eq!(one_block(&mut host, itself), Err(Status::INVALID_NUMBER_OF_SGL_DESCRIPTORS));
    // Two segments that lead to each other.
    let other = SglDescriptor::segment(at + 4096, 16);
    memory.memory().write(16, other.as_bytes()).unwrap();
    memory.memory().write(4096, itself.as_bytes()).unwrap();
    assert_eq!(one_block(&mut host, other), Err(Status::INVALID_NUMBER_OF_SGL_DESCRIPTORS));
    // The longest segment there can be, all of it empty.
    memory.memory().fill(0, 8192, 0).unwrap();
    let long = SglDescriptor::last_segment(at, 0xFFFF_FFF0);
    let status = one_block(&mut host, long).unwrap_err();
    assert!(
        matches!(status, Status::INVALID_NUMBER_OF_SGL_DESCRIPTORS | Status::DATA_TRANSFER_ERROR),
        "{status}"
    );
    // A PRP list whose page leads to itself: every round has 511 pages of data, so it ends.
    let mut list = Vec::new();
    for _ in 0..511 {
        list.extend((at + 4096).to_le_bytes());
    }
    list.extend(at.to_le_bytes());
    memory.memory().write(0, &list).unwrap();
    let mut entry = SubmissionEntry::new(NvmOpcode::READ, 1);
    entry.cdw12 = 255.into();
    entry.dptr = DataPointer::prp(at + 4096, at + 4088);
    memory.memory().write(4088, &at.to_le_bytes()).unwrap();
    host.io(entry).unwrap();
}

#[test]
fn keyed_and_other_descriptors_have_their_status() {
    let mut host = host();
    let at = host.buffer(4096).iova().0;
    let keyed = SglDescriptor::keyed_data_block(at, 512, 7, false).unwrap();
    for descriptor in [keyed, SglDescriptor::transport_data_block(512)] {
        assert_eq!(one_block(&mut host, descriptor), Err(Status::SGL_DESCRIPTOR_TYPE_INVALID));
    }
    let around = SglDescriptor::data_block(u64::MAX - 10, 512);
    assert_eq!(one_block(&mut host, around), Err(Status::DATA_TRANSFER_ERROR));
    let around = SglDescriptor::last_segment(u64::MAX - 15, 32);
    assert_eq!(one_block(&mut host, around), Err(Status::INVALID_SGL_SEGMENT_DESCRIPTOR));
    for length in [0, 1, 8, 15, 17] {
        let odd = SglDescriptor::last_segment(at, length);
        assert_eq!(one_block(&mut host, odd), Err(Status::INVALID_SGL_SEGMENT_DESCRIPTOR));
    }
    // A data pointer that is neither.
    let mut entry = SubmissionEntry::new(NvmOpcode::READ, 1);
    entry.cdw0.set(entry.cdw0.get().with_psdt(DataTransfer::from_bits(3)));
    entry.dptr = DataPointer::prp(at, 0);
    assert_eq!(host.io(entry), Err(Status::INVALID_FIELD));
}

#[test]
fn more_than_mdts() {
    let mut host = host();
    let buffer = host.buffer(256 << 10);
    assert_eq!(host.read(1, 0, 256, &buffer), Ok(0));
    assert_eq!(host.read(1, 0, 257, &buffer), Err(Status::INVALID_FIELD));
    let mut entry = host.rw(NvmOpcode::WRITE, 1, 0, 1, &buffer);
    entry.cdw12 = 0xFFFF.into();
    assert_eq!(host.io(entry), Err(Status::LBA_OUT_OF_RANGE));
}
