//! Metadata and end-to-end protection (NVM Command Set 1.1 §5.3).

use p2pdma_devices::nvme::NamespaceConfig;
use p2pdma_nvme::{Command, Error, Segment};
use p2pdma_spec::nvme::protection::{Prinfo, ProtectionInfo16, ProtectionType};
use p2pdma_spec::nvme::status::Status;
use zerocopy::FromBytes as _;

use crate::support::{Bench, pattern, ssd, status};

fn bench(metadata_size: u16, extended: bool, protection: ProtectionType) -> Bench {
    let namespace = NamespaceConfig {
        blocks: 1000,
        block_size: 512,
        metadata_size,
        extended,
        protection,
        ..NamespaceConfig::default()
    };
    Bench::new(ssd(vec![namespace]))
}

const CHECK_ALL: Prinfo =
    Prinfo::new().with_check_guard(true).with_check_application(true).with_check_reference(true);

/// Moves blocks with their metadata there and back, by whatever means the format has.
fn there_and_back(bench: &mut Bench, blocks: u32, offset: u64) {
    let format = *bench.namespace.format();
    let write = bench.namespace.write(3, blocks).unwrap();
    let read = bench.namespace.read(3, blocks).unwrap();
    let (len, meta) = (write.data_len(), write.metadata_len());
    let per_block = u64::from(format.data) + u64::from(format.metadata);
    assert_eq!(len + meta, u64::from(blocks) * per_block);
    let room = usize::try_from(len + 4096).unwrap();
    let data = bench.controller.alloc_dma(room).unwrap();
    let metadata = bench.controller.alloc_dma(usize::try_from(meta).unwrap() + 4096).unwrap();
    let data_part = Segment::from(&data).slice(offset..offset + len).unwrap();
    let metadata_part = Segment::from(&metadata).slice(offset..offset + meta).unwrap();
    let at = usize::try_from(offset).unwrap();
    let [bytes, tags] = [len, meta].map(|len| pattern(len, usize::try_from(len).unwrap()));
    data.memory().write(at, &bytes).unwrap();
    metadata.memory().write(at, &tags).unwrap();
    let with = |command: Command| if meta > 0 { command.metadata(metadata_part) } else { command };
    bench.run(&with(write), data_part.into()).unwrap();
    data.memory().fill(0, room, 0).unwrap();
    metadata.memory().fill(0, metadata.len(), 0).unwrap();
    bench.run(&with(read), data_part.into()).unwrap();
    let mut back = vec![0; bytes.len()];
    data.memory().read(at, &mut back).unwrap();
    assert!(back == bytes, "{format:?} {blocks} blocks at {offset}");
    let mut back = vec![0; tags.len()];
    metadata.memory().read(at, &mut back).unwrap();
    assert!(back == tags, "{format:?} {blocks} blocks at {offset}");
}

#[test]
fn metadata_of_every_size_and_place() {
    let mut count = 0;
    for metadata in [0, 8, 16, 64] {
        for extended in [false, true] {
            if metadata == 0 && extended {
                continue;
            }
            let mut bench = bench(metadata, extended, ProtectionType::NONE);
            for blocks in [1, 2, 7, 8, 9, 64, 255] {
                for offset in [0, 4, 2048, 4092] {
                    there_and_back(&mut bench, blocks, offset);
                    count += 1;
                }
            }
        }
    }
    println!("transfers with metadata: {count}");
}

#[test]
fn metadata_that_are_missing_are_noticed() {
    let mut bench = bench(8, false, ProtectionType::NONE);
    let data = bench.controller.alloc_dma(1024).unwrap();
    let metadata = bench.controller.alloc_dma(64).unwrap();
    let read = bench.namespace.read(0, 2).unwrap();
    let short = read.metadata(Segment::from(&metadata).slice(0..15).unwrap());
    let odd = read.metadata(Segment::from(&metadata).slice(2..18).unwrap());
    for (command, missing) in [(read, true), (short, true), (odd, false)] {
        let error = bench.queue.submit(&command, (&data).into(), ()).unwrap_err().error;
        assert_eq!(matches!(error, Error::Length { what: "metadata", .. }), missing, "{error}");
        assert_eq!(matches!(error, Error::Misaligned { .. }), !missing, "{error}");
    }
}

/// The controller makes the information: the host moves data alone, where there is nothing else.
#[test]
fn information_that_the_controller_makes() {
    let types = [ProtectionType::TYPE_1, ProtectionType::TYPE_2, ProtectionType::TYPE_3];
    for protection in types {
        for extended in [false, true] {
            for metadata in [8, 64] {
                let mut bench = bench(metadata, extended, protection);
                // Type 3 has no reference tag to check (NVM Command Set 1.1 §5.3.2.5).
                let counts = protection != ProtectionType::TYPE_3;
                let make = CHECK_ALL.with_pract(true).with_check_reference(counts);
                let tags = |command: Command| {
                    let reference = if counts { 10 } else { 0x99 };
                    command
                        .reference_tag(reference)
                        .application_tag(0x1234, 0xffff)
                        .protection(make)
                };
                let write = tags(bench.namespace.write(10, 4).unwrap());
                let read = tags(bench.namespace.read(10, 4).unwrap());
                let moves = if metadata == 8 { 0 } else { 4 * u64::from(metadata) };
                assert_eq!(write.data_len() + write.metadata_len(), 2048 + moves);
                let len = usize::try_from(write.data_len()).unwrap();
                let data = bench.controller.alloc_dma(len).unwrap();
                let extra = bench.controller.alloc_dma(4096).unwrap();
                let separate = Segment::from(&extra).slice(0..write.metadata_len()).unwrap();
                let bytes = pattern(21, len);
                data.memory().write(0, &bytes).unwrap();
                bench.run(&write.metadata(separate), (&data).into()).unwrap();
                data.memory().fill(0, len, 0).unwrap();
                bench.run(&read.metadata(separate), (&data).into()).unwrap();
                let mut back = vec![0; len];
                data.memory().read(0, &mut back).unwrap();
                if metadata == 8 {
                    assert!(back == bytes, "{protection} extended {extended}");
                }
                // Another application tag than was written.
                let wrong = read.metadata(separate).application_tag(0x4321, 0xffff);
                let failure = bench.run(&wrong, (&data).into()).unwrap_err();
                assert_eq!(status(failure), Status::APPLICATION_TAG_CHECK_ERROR);
            }
        }
    }
}

/// The host reads the information that the controller made, checks it by itself, and writes wrong ones.
#[test]
fn information_that_the_host_sees() {
    let mut bench = bench(8, false, ProtectionType::TYPE_1);
    let data = bench.controller.alloc_dma(2048).unwrap();
    let metadata = bench.controller.alloc_dma(32).unwrap();
    data.memory().write(0, &pattern(31, 2048)).unwrap();
    let namespace = bench.namespace.clone();
    let make = CHECK_ALL.with_pract(true);
    let write = namespace.write(50, 4).unwrap().reference_tag(50).application_tag(7, 0xffff);
    bench.run(&write.protection(make), (&data).into()).unwrap();
    let read = namespace.read(50, 4).unwrap().metadata((&metadata).into());
    let checked = read.reference_tag(50).application_tag(7, 0xffff).protection(CHECK_ALL);
    bench.run(&checked, (&data).into()).unwrap();
    let mut infos = Vec::new();
    for block in 0..4 {
        let bytes: [u8; 8] = metadata.memory().read_value(block * 8).unwrap();
        let info = ProtectionInfo16::read_from_bytes(&bytes).unwrap();
        assert_eq!(info.application_tag.get(), 7);
        assert_eq!(info.reference_tag.get(), 50 + u32::try_from(block).unwrap());
        let mut block_data = vec![0; 512];
        data.memory().read(block * 512, &mut block_data).unwrap();
        assert_eq!(info.guard.get(), crc16_t10(&block_data), "block {block}");
        infos.push(bytes);
    }
    // Wrong in one way each; the write is refused, and says how it is wrong.
    let write = namespace.write(50, 4).unwrap().metadata((&metadata).into()).reference_tag(50);
    let write = write.application_tag(7, 0xffff).protection(CHECK_ALL);
    for (byte, expected) in [
        (0, Status::GUARD_CHECK_ERROR),
        (2, Status::APPLICATION_TAG_CHECK_ERROR),
        (7, Status::REFERENCE_TAG_CHECK_ERROR),
    ] {
        let mut info = infos[2];
        info[byte] ^= 0x10;
        metadata.memory().write(16, &info).unwrap();
        assert_eq!(status(bench.run(&write, (&data).into()).unwrap_err()), expected);
        metadata.memory().write(16, &infos[2]).unwrap();
    }
    bench.run(&write, (&data).into()).unwrap();
    // Reading from another place than was written: a misdirected read is noticed.
    let elsewhere = namespace.read(51, 3).unwrap().metadata((&metadata).into()).reference_tag(50);
    let elsewhere = elsewhere.protection(CHECK_ALL.with_check_application(false));
    let part = Segment::from(&data).slice(0..1536).unwrap();
    let failure = bench.run(&elsewhere, part.into()).unwrap_err();
    // The initial reference tag of a type 1 namespace has to fit the LBA
    // (NVM Command Set 1.1 §5.3.3): either complaint names the reference tag.
    let status = status(failure);
    let named = [Status::REFERENCE_TAG_CHECK_ERROR, Status::INVALID_PROTECTION_INFORMATION];
    assert!(named.contains(&status), "{status}");
}

/// CRC-16 T10-DIF, bit by bit: polynomial 8BB7h, most significant bit first.
fn crc16_t10(data: &[u8]) -> u16 {
    data.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x8BB7 }
        })
    })
}
