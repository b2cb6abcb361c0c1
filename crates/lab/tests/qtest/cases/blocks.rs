//! Blocks of every format, with metadata and protection information.

use p2pdma_nvme::{Command, Segment};
use p2pdma_spec::nvme::admin::FormatNvmCdw10;
use p2pdma_spec::nvme::protection::{Prinfo, ProtectionType};
use p2pdma_spec::nvme::status::Status;

use super::bench::{Bench, bytes, pattern};
use crate::machine::Machine;

/// Moves blocks with their metadata there and back, by whatever means the format has.
fn there_and_back(bench: &mut Bench, blocks: u32, offset: usize) {
    let format = *bench.namespace.format();
    let write = bench.namespace.write(3, blocks).unwrap();
    let read = bench.namespace.read(3, blocks).unwrap();
    let (len, meta) = (write.data_len(), write.metadata_len());
    let per_block = u64::from(format.data) + u64::from(format.metadata);
    assert_eq!(len + meta, u64::from(blocks) * per_block);
    let alloc = |len: u64| {
        let buffer = bench.controller.alloc_dma(usize::try_from(len).unwrap() + 4096).unwrap();
        let at = offset as u64;
        let part = Segment::from(&buffer).slice(at..at + len).unwrap();
        (buffer, part)
    };
    let ((data, data_part), (metadata, metadata_part)) = (alloc(len), alloc(meta));
    let [written, tags] = [len, meta].map(|len| pattern(len, usize::try_from(len).unwrap()));
    data.memory().write(offset, &written).unwrap();
    metadata.memory().write(offset, &tags).unwrap();
    let with = |command: Command| if meta > 0 { command.metadata(metadata_part) } else { command };
    bench.run(&with(write), data_part.into()).unwrap();
    data.memory().fill(0, data.len(), 0).unwrap();
    metadata.memory().fill(0, metadata.len(), 0).unwrap();
    bench.run(&with(read), data_part.into()).unwrap();
    assert!(bytes(&data, offset, written.len()) == written, "{format:?} {blocks} at {offset}");
    assert!(bytes(&metadata, offset, tags.len()) == tags, "{format:?} {blocks} at {offset}");
}

/// The namespaces of the machine file, at places where data and metadata can begin.
pub(crate) fn of_every_namespace(machine: &dyn Machine) -> String {
    let mut count = 0;
    for nsid in 1..=4 {
        let mut bench = Bench::new(machine, "nvme0", nsid);
        for blocks in [1, 2, 7, 8, 9, 64, 127] {
            for offset in [0, 4, 2048, 4092] {
                there_and_back(&mut bench, blocks, offset);
                count += 1;
            }
        }
    }
    format!("{count} transfers in 4 namespaces")
}

/// Formats a namespace with each format that it has, metadata apart and with the data.
pub(crate) fn formats(machine: &dyn Machine) -> String {
    let mut bench = Bench::new(machine, "nvme0", 2);
    let formats = bench.namespace.identity().lbaf;
    let count = usize::from(bench.namespace.identity().nlbaf_z) + 1;
    let (mut seen, mut with_metadata) = (0, 0);
    for (index, format) in (0_u8..).zip(&formats[..count]) {
        let format = format.get();
        for extended in [false, true] {
            if format.lbads() == 0 || (format.ms() == 0 && extended) {
                continue;
            }
            let wanted = FormatNvmCdw10::new().with_format_index(index).with_mset(extended);
            bench.controller.format(2, wanted).unwrap();
            bench.namespace = bench.controller.namespace(2).unwrap();
            let now = *bench.namespace.format();
            assert_eq!((now.metadata, now.extended), (format.ms(), extended));
            assert_eq!(Some(u64::from(now.data)), format.data_bytes());
            for (blocks, offset) in [(1, 0), (9, 4), (64, 4092)] {
                there_and_back(&mut bench, blocks, offset);
            }
            seen += 1;
            with_metadata += u32::from(format.ms() > 0);
        }
    }
    let wrong = FormatNvmCdw10::new().with_format_index(63);
    assert!(bench.controller.format(2, wrong).is_err());
    assert!(seen >= 8 && with_metadata >= 6, "{seen} {with_metadata}");
    format!("{seen} formats, {with_metadata} of them with metadata")
}

const CHECK_ALL: Prinfo =
    Prinfo::new().with_check_guard(true).with_check_application(true).with_check_reference(true);

/// Protection information of each type, made by the controller, seen and spoilt by the host.
pub(crate) fn protection(machine: &dyn Machine) -> String {
    let mut bench = Bench::new(machine, "nvme0", 3);
    let format = index_of(&bench, 512, 8);
    let types = [ProtectionType::TYPE_1, ProtectionType::TYPE_2, ProtectionType::TYPE_3];
    let mut checks = 0;
    for protection in types {
        let wanted = FormatNvmCdw10::new().with_format_index(format).with_pi(protection);
        bench.controller.format(3, wanted).unwrap();
        bench.namespace = bench.controller.namespace(3).unwrap();
        assert_eq!(bench.namespace.format().protection, protection);
        checks += protected(&mut bench, protection);
    }
    format!("{} types, {checks} checks", types.len())
}

fn index_of(bench: &Bench, data: u64, metadata: u16) -> u8 {
    let formats = bench.namespace.identity().lbaf;
    let fits = |format: &&(u8, _)| {
        let (_, format): &(u8, p2pdma_spec::nvme::namespace::LbaFormat) = format;
        format.data_bytes() == Some(data) && format.ms() == metadata
    };
    let all: Vec<_> = (0..).zip(formats.iter().map(|format| format.get())).collect();
    all.iter().find(fits).unwrap().0
}

fn protected(bench: &mut Bench, protection: ProtectionType) -> usize {
    // Type 3 has no reference tag to check (NVM Command Set 1.1 §5.3.2.5).
    let counts = protection != ProtectionType::TYPE_3;
    let check = CHECK_ALL.with_check_reference(counts);
    let data = bench.controller.alloc_dma(2048).unwrap();
    let metadata = bench.controller.alloc_dma(32).unwrap();
    let written = pattern(21, 2048);
    data.memory().write(0, &written).unwrap();
    let tags = |command: Command, prinfo| {
        command.reference_tag(50).application_tag(7, 0xffff).protection(prinfo)
    };
    // Made by the controller, and stripped by it.
    let write = bench.namespace.write(50, 4).unwrap();
    let read = bench.namespace.read(50, 4).unwrap();
    bench.run(&tags(write, check.with_pract(true)), (&data).into()).unwrap();
    data.memory().fill(0, 2048, 0).unwrap();
    bench.run(&tags(read, check.with_pract(true)), (&data).into()).unwrap();
    assert!(bytes(&data, 0, 2048) == written, "{protection}");
    // Seen by the host.
    let [write, read] = [write, read].map(|command| command.metadata((&metadata).into()));
    bench.run(&tags(read, check), (&data).into()).unwrap();
    assert_eq!(bytes(&metadata, 2, 2), 7_u16.to_be_bytes());
    if counts {
        assert_eq!(bytes(&metadata, 8 + 4, 4), 51_u32.to_be_bytes());
    }
    bench.run(&tags(write, check), (&data).into()).unwrap();
    let wrong = read.reference_tag(50).application_tag(8, 0xffff).protection(check);
    let found = bench.status(&wrong, (&data).into());
    assert_eq!(found, Status::APPLICATION_TAG_CHECK_ERROR, "{protection}");
    // Spoilt in one way each.
    let good = bytes(&metadata, 16, 8);
    let spoilt = [
        (0, Status::GUARD_CHECK_ERROR),
        (2, Status::APPLICATION_TAG_CHECK_ERROR),
        (7, Status::REFERENCE_TAG_CHECK_ERROR),
    ];
    let spoilt = if counts { &spoilt[..] } else { &spoilt[..2] };
    for &(byte, expected) in spoilt {
        let mut info = good.clone();
        info[byte] ^= 0x10;
        metadata.memory().write(16, &info).unwrap();
        assert_eq!(bench.status(&tags(write, check), (&data).into()), expected, "{protection}");
        metadata.memory().write(16, &good).unwrap();
    }
    bench.run(&tags(write, check), (&data).into()).unwrap();
    4 + spoilt.len()
}
