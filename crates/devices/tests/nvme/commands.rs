//! I/O commands one by one, with every way that they can fail.

use p2pdma_devices::nvme::{MediaConfig, NamespaceConfig, NvmeConfig, SubsystemConfig};
use p2pdma_pci::DmaBuffer;
use p2pdma_spec::nvme::NSID_ALL;
use p2pdma_spec::nvme::feature::FeatureId;
use p2pdma_spec::nvme::identify::Cdfs;
use p2pdma_spec::nvme::nvm::{CopyCdw12, CopyFormat, CopyRange2, DatasetRange, NvmOpcode};
use p2pdma_spec::nvme::queue::{Fuse, SubmissionEntry};
use p2pdma_spec::nvme::status::Status;

use crate::host::{Host, Outcome, contents, fill, outcome};

/// Namespace 1 with 4096-byte blocks, 2 the same, 3 with 512-byte blocks, 4 without data, 5 not attached.
fn host() -> Host {
    let plain = || NamespaceConfig { blocks: 1024, ..NamespaceConfig::default() };
    let namespaces = vec![
        plain(),
        plain(),
        NamespaceConfig { block_size: 512, ..plain() },
        NamespaceConfig { media: MediaConfig::Null, ..plain() },
        NamespaceConfig { attached: false, ..plain() },
    ];
    let subsystem =
        SubsystemConfig { namespaces, max_namespaces: 16, ..SubsystemConfig::default() };
    Host::with(NvmeConfig { subsystem, ..NvmeConfig::default() })
}

fn page(host: &Host, seed: u64) -> DmaBuffer {
    let buffer = host.buffer(4096);
    fill(buffer.memory(), seed);
    buffer
}

impl Host {
    /// A command on blocks without data.
    fn bare_command(&mut self, opcode: NvmOpcode, first: u64, cdw12: u32) -> Outcome {
        let mut entry = SubmissionEntry::new(opcode, 1);
        entry.set_cdw10_11(first);
        entry.cdw12 = cdw12.into();
        self.io(entry)
    }
}

/// NSID 0, beyond NN, valid but not attached, and broadcast, in every command.
#[test]
fn nsid_0_and_beyond_nn_in_every_io_command() {
    let mut host = host();
    let buffer = page(&host, 1);
    let opcodes = [
        NvmOpcode::READ,
        NvmOpcode::WRITE,
        NvmOpcode::COMPARE,
        NvmOpcode::WRITE_ZEROES,
        NvmOpcode::WRITE_UNCORRECTABLE,
        NvmOpcode::VERIFY,
        NvmOpcode::DATASET_MANAGEMENT,
        NvmOpcode::COPY,
        NvmOpcode::FLUSH,
    ];
    for opcode in opcodes {
        for (nsid, expected) in [
            (0, Status::INVALID_NAMESPACE_OR_FORMAT),
            (5, Status::INVALID_FIELD),
            (16, Status::INVALID_FIELD),
            (17, Status::INVALID_NAMESPACE_OR_FORMAT),
            (0x7FFF_FFFF, Status::INVALID_NAMESPACE_OR_FORMAT),
            (NSID_ALL - 1, Status::INVALID_NAMESPACE_OR_FORMAT),
            (NSID_ALL, Status::INVALID_FIELD),
        ] {
            let entry = host.rw(opcode, nsid, 0, 1, &buffer);
            let result = host.io(entry);
            if opcode == NvmOpcode::FLUSH && nsid == NSID_ALL {
                assert_eq!(result, Ok(0));
            } else {
                assert_eq!(result, Err(expected), "{opcode} {nsid:#x}");
            }
        }
    }
}

/// SLBA and NLB at and beyond every bound, and sums that overflow. Copy and Dataset Management are in
/// `historical`.
#[test]
fn nlb_overflow_in_every_command_on_blocks() {
    let mut host = host();
    let buffer = page(&host, 1);
    let starts = [
        0,
        1,
        1022,
        1023,
        1024,
        1025,
        1 << 31,
        1 << 32,
        (1 << 32) + 1,
        1 << 52,
        1 << 63,
        u64::MAX - 65_535,
        u64::MAX - 1,
        u64::MAX,
    ];
    let counts = [1, 2, 3, 1023, 1024, 1025, 65_535, 65_536_u64];
    let mut cases = 0;
    for opcode in [
        NvmOpcode::READ,
        NvmOpcode::WRITE,
        NvmOpcode::COMPARE,
        NvmOpcode::VERIFY,
        NvmOpcode::WRITE_ZEROES,
        NvmOpcode::WRITE_UNCORRECTABLE,
    ] {
        for first in starts {
            for count in counts {
                let mut entry = host.rw(opcode, 1, first, 1, &buffer);
                entry.cdw12 = u32::try_from(count - 1).unwrap().into();
                let result = host.io(entry);
                let inside = u128::from(first) + u128::from(count) <= 1024;
                if !inside {
                    assert_eq!(result, Err(Status::LBA_OUT_OF_RANGE), "{opcode} {first} {count}");
                } else {
                    assert_ne!(result, Err(Status::LBA_OUT_OF_RANGE), "{opcode} {first} {count}");
                }
                cases += 1;
            }
        }
    }
    println!("ranges: {cases}");
}

#[test]
fn compare() {
    let mut host = host();
    let (a, b) = (page(&host, 1), page(&host, 2));
    for nsid in [1, 3] {
        host.write(nsid, 5, 1, &a).unwrap();
        let entry = host.rw(NvmOpcode::COMPARE, nsid, 5, 1, &a);
        assert_eq!(host.io(entry), Ok(0));
        let entry = host.rw(NvmOpcode::COMPARE, nsid, 5, 1, &b);
        assert_eq!(host.io(entry), Err(Status::COMPARE_FAILURE));
    }
    // One bit differs in the last byte of many blocks.
    let large = host.buffer(512 << 10);
    fill(large.memory(), 3);
    host.write(1, 100, 128, &large).unwrap();
    let last: u8 = large.memory().read_value((512 << 10) - 1).unwrap();
    large.memory().write((512 << 10) - 1, &[last ^ 0x80]).unwrap();
    let entry = host.rw(NvmOpcode::COMPARE, 1, 100, 128, &large);
    assert_eq!(host.io(entry), Err(Status::COMPARE_FAILURE));
    large.memory().write((512 << 10) - 1, &[last]).unwrap();
    let entry = host.rw(NvmOpcode::COMPARE, 1, 100, 128, &large);
    assert_eq!(host.io(entry), Ok(0));
}

#[test]
fn write_zeroes_and_deallocation() {
    let mut host = host();
    let large = host.buffer(64 << 10);
    for (turn, deallocate) in [false, true].into_iter().enumerate() {
        fill(large.memory(), 9 + turn as u64);
        let written = contents(large.memory());
        host.write(1, 0, 16, &large).unwrap();
        let cdw12 = 3 | u32::from(deallocate) << 25;
        host.bare_command(NvmOpcode::WRITE_ZEROES, 5, cdw12).unwrap();
        host.read(1, 0, 16, &large).unwrap();
        let now = contents(large.memory());
        assert!(now[..5 * 4096] == written[..5 * 4096] && now[9 * 4096..] == written[9 * 4096..]);
        assert!(now[5 * 4096..9 * 4096].iter().all(|byte| *byte == 0));
    }
    // Namespace Zeroes is not supported.
    assert_eq!(host.bare_command(NvmOpcode::WRITE_ZEROES, 0, 1 << 23), Err(Status::INVALID_FIELD));
}

fn ranges(buffer: &DmaBuffer, ranges: &[(u64, u32)]) {
    for (index, (first, count)) in ranges.iter().enumerate() {
        let range =
            DatasetRange { llb: (*count).into(), slba: (*first).into(), ..DatasetRange::default() };
        buffer.memory().write_value(index * 16, &range).unwrap();
    }
}

#[test]
fn dataset_management() {
    let mut host = host();
    let (large, list) = (host.buffer(64 << 10), host.buffer(4096));
    fill(large.memory(), 4);
    let written = contents(large.memory());
    host.write(1, 0, 16, &large).unwrap();
    let trim = |host: &mut Host, count: u32, flags: u32| {
        let mut entry = host.rw(NvmOpcode::DATASET_MANAGEMENT, 1, 0, 1, &list);
        (entry.cdw10, entry.cdw11) = ((count - 1).into(), flags.into());
        host.io(entry)
    };
    ranges(&list, &[(1, 2), (8, 0), (10, 3)]);
    // Hints change nothing.
    trim(&mut host, 3, 3).unwrap();
    host.read(1, 0, 16, &large).unwrap();
    assert!(contents(large.memory()) == written);
    trim(&mut host, 3, 4).unwrap();
    host.read(1, 0, 16, &large).unwrap();
    for (block, (now, before)) in
        contents(large.memory()).chunks(4096).zip(written.chunks(4096)).enumerate()
    {
        let gone = matches!(block, 1 | 2 | 10..13);
        assert!(if gone { *now == [0; 4096] } else { now == before }, "block {block}");
    }
    // A range beyond the end: none is deallocated.
    host.write(1, 0, 16, &large).unwrap();
    for bad in [(1020, 5), (1024, 1), (u64::MAX, 1), (u64::MAX, u32::MAX), (0, u32::MAX)] {
        ranges(&list, &[(0, 4), bad]);
        assert_eq!(trim(&mut host, 2, 4), Err(Status::LBA_OUT_OF_RANGE));
    }
    let block = page(&host, 0);
    host.read(1, 0, 1, &block).unwrap();
    assert!(contents(block.memory()) == contents(large.memory())[..4096]);
    // As many ranges as there can be.
    ranges(&list, &[(0, 1024); 256]);
    trim(&mut host, 256, 4).unwrap();
    host.read(1, 0, 1, &block).unwrap();
    assert_eq!(contents(block.memory()), [0; 4096]);
}

#[test]
fn write_uncorrectable_until_written() {
    let mut host = host();
    let large = host.buffer(32 << 10);
    fill(large.memory(), 6);
    host.write(1, 0, 8, &large).unwrap();
    host.bare_command(NvmOpcode::WRITE_UNCORRECTABLE, 3, 1).unwrap();
    let lost = Err(Status::UNRECOVERED_READ_ERROR);
    assert_eq!(host.read(1, 0, 8, &large), lost);
    assert_eq!(host.bare_command(NvmOpcode::VERIFY, 0, 7), lost);
    let entry = host.rw(NvmOpcode::COMPARE, 1, 4, 1, &page(&host, 0));
    assert_eq!(host.io(entry), lost);
    let block = page(&host, 7);
    host.read(1, 2, 1, &block).unwrap();
    host.read(1, 5, 1, &block).unwrap();
    host.write(1, 3, 1, &block).unwrap();
    assert_eq!(host.read(1, 0, 8, &large), lost);
    host.bare_command(NvmOpcode::WRITE_ZEROES, 4, 0).unwrap();
    host.read(1, 0, 8, &large).unwrap();
    assert_eq!(host.bare_command(NvmOpcode::VERIFY, 0, 7), Ok(0));
}

impl Host {
    pub(crate) fn copy(
        &mut self,
        nsid: u32,
        to: u64,
        format: CopyFormat,
        from: &[CopyRange2],
    ) -> Outcome {
        let list = self.buffer(from.len() * 32);
        for (index, range) in from.iter().enumerate() {
            list.memory().write_value(index * 32, range).unwrap();
        }
        let mut entry = SubmissionEntry::new(NvmOpcode::COPY, nsid);
        entry.set_cdw10_11(to);
        let nr_z = u8::try_from(from.len() - 1).unwrap();
        entry.cdw12 = CopyCdw12::new().with_nr_z(nr_z).with_desfmt(format).into();
        entry.dptr = self.prps(&list);
        self.io(entry)
    }

    fn enable_copy_descriptors(&mut self) {
        let buffer = self.buffer(4096);
        let formats = Cdfs::new().with_cdf2s(true).into_bits();
        buffer.memory().write(4, &formats.to_le_bytes()).unwrap();
        let mut entry = SubmissionEntry::new(9_u8, 0);
        entry.cdw10 = u32::from(FeatureId::HOST_BEHAVIOR_SUPPORT.into_bits()).into();
        entry.dptr = self.prps(&buffer);
        self.admin(entry).unwrap();
    }
}

pub(crate) fn range(nsid: u32, first: u64, count: u16) -> CopyRange2 {
    CopyRange2 {
        snsid: nsid.into(),
        slba: first.into(),
        nlb_z: (count - 1).into(),
        ..CopyRange2::default()
    }
}

#[test]
fn copy_within_and_between_namespaces() {
    let mut host = host();
    let large = host.buffer(64 << 10);
    fill(large.memory(), 8);
    let written = contents(large.memory());
    host.write(1, 0, 16, &large).unwrap();
    // Blocks 8 to 10, then 2, to 100.
    let sources = [range(0, 8, 3), range(0, 2, 1)];
    host.copy(1, 100, CopyFormat::FORMAT_0, &sources).unwrap();
    let four = host.buffer(16 << 10);
    host.read(1, 100, 4, &four).unwrap();
    let expected = [&written[8 * 4096..11 * 4096], &written[2 * 4096..3 * 4096]].concat();
    assert!(contents(four.memory()) == expected);
    // Another namespace as a source: only for hosts that know of it.
    let sources = [range(1, 8, 3), range(1, 2, 1)];
    let other = host.copy(2, 7, CopyFormat::FORMAT_2, &sources);
    assert_eq!(other, Err(Status::INVALID_FIELD));
    host.enable_copy_descriptors();
    host.copy(2, 7, CopyFormat::FORMAT_2, &sources).unwrap();
    host.read(2, 7, 4, &four).unwrap();
    assert!(contents(four.memory()) == expected);
    // From nowhere to somewhere: zeroes.
    host.copy(2, 7, CopyFormat::FORMAT_2, &[range(4, 0, 4)]).unwrap();
    host.read(2, 7, 4, &four).unwrap();
    assert!(contents(four.memory()).iter().all(|byte| *byte == 0));
}

/// Every way in which a copy fails, and the number of the range that is to blame.
#[test]
fn copies_that_cannot_be() {
    let mut host = host();
    host.enable_copy_descriptors();
    let good = range(1, 0, 1);
    let cases: [(&[CopyRange2], u64, Status, u32); 10] = [
        (&[good, range(1, 1024, 1)], 100, Status::LBA_OUT_OF_RANGE, 1),
        (&[good, good, range(1, u64::MAX, 1)], 100, Status::LBA_OUT_OF_RANGE, 2),
        (&[good], 1024, Status::LBA_OUT_OF_RANGE, 0),
        (&[good], u64::MAX, Status::LBA_OUT_OF_RANGE, 0),
        (&[good, range(3, 0, 1)], 100, Status::INCOMPATIBLE_NAMESPACE, 1),
        (&[range(5, 0, 1)], 100, Status::INVALID_FIELD, 0),
        (&[good, range(0, 0, 1)], 100, Status::INVALID_NAMESPACE_OR_FORMAT, 1),
        (&[good, range(1, 100, 4)], 103, Status::OVERLAPPING_IO_RANGE, 1),
        (&[range(1, 0, 4097)], 0, Status::COMMAND_SIZE_LIMIT_EXCEEDED, 0),
        (&[good; 129], 200, Status::COMMAND_SIZE_LIMIT_EXCEEDED, 0),
    ];
    for (sources, to, status, blame) in cases {
        let list = host.buffer(sources.len() * 32);
        for (index, range) in sources.iter().enumerate() {
            list.memory().write_value(index * 32, range).unwrap();
        }
        let mut entry = SubmissionEntry::new(NvmOpcode::COPY, 1);
        entry.set_cdw10_11(to);
        let nr_z = u8::try_from(sources.len() - 1).unwrap();
        entry.cdw12 = CopyCdw12::new().with_nr_z(nr_z).with_desfmt(CopyFormat::FORMAT_2).into();
        entry.dptr = host.prps(&list);
        let completion = host.io_entry(0, entry);
        assert_eq!(outcome(&completion), Err(status));
        assert_eq!(completion.dw0.get(), blame, "{status}");
    }
    for format in [1, 3, 4, 15] {
        let result = host.copy(1, 100, CopyFormat::from_bits(format), &[good]);
        assert_eq!(result, Err(Status::INVALID_FIELD));
    }
    // A source that cannot be read.
    host.bare_command(NvmOpcode::WRITE_UNCORRECTABLE, 3, 0).unwrap();
    let result = host.copy(1, 100, CopyFormat::FORMAT_0, &[good, range(0, 2, 4)]);
    assert_eq!(result, Err(Status::UNRECOVERED_READ_ERROR));
}

fn fused(mut entry: SubmissionEntry, fuse: Fuse) -> SubmissionEntry {
    entry.cdw0.set(entry.cdw0.get().with_fuse(fuse));
    entry
}

#[test]
fn compare_and_write() {
    let mut host = host();
    let (old, new, read) = (page(&host, 1), page(&host, 2), page(&host, 3));
    host.write(1, 9, 1, &old).unwrap();
    let pair = |host: &mut Host, compare: &DmaBuffer, write: &DmaBuffer| {
        let first = fused(host.rw(NvmOpcode::COMPARE, 1, 9, 1, compare), Fuse::FIRST);
        let second = fused(host.rw(NvmOpcode::WRITE, 1, 9, 1, write), Fuse::SECOND);
        host.io[0].push(first);
        host.io[0].push(second);
        host.reap(0, 2).iter().map(outcome).collect::<Vec<_>>()
    };
    assert_eq!(pair(&mut host, &old, &new), [Ok(0), Ok(0)]);
    host.read(1, 9, 1, &read).unwrap();
    assert!(contents(read.memory()) == contents(new.memory()));
    let failed = [Err(Status::COMPARE_FAILURE), Err(Status::ABORTED_FAILED_FUSED)];
    assert_eq!(pair(&mut host, &old, &old), failed);
    host.read(1, 9, 1, &read).unwrap();
    assert!(contents(read.memory()) == contents(new.memory()));
    // Over every place in the ring, so that the two are also in different batches.
    for _ in 0..100 {
        assert_eq!(pair(&mut host, &new, &new), [Ok(0), Ok(0)]);
    }
}

#[test]
fn fused_commands_without_each_other() {
    let mut host = host();
    let buffer = page(&host, 1);
    host.write(1, 9, 1, &buffer).unwrap();
    let compare = host.rw(NvmOpcode::COMPARE, 1, 9, 1, &buffer);
    let write = host.rw(NvmOpcode::WRITE, 1, 9, 1, &buffer);
    let elsewhere = host.rw(NvmOpcode::WRITE, 1, 10, 1, &buffer);
    let missing = Err(Status::ABORTED_MISSING_FUSED);
    let (first, second) = (Fuse::FIRST, Fuse::SECOND);
    let cases: [(&[SubmissionEntry], &[Outcome]); 7] = [
        (&[fused(compare, first)], &[missing]),
        (&[fused(write, second)], &[missing]),
        (&[fused(compare, first), write], &[missing, Ok(0)]),
        (&[fused(compare, first), fused(compare, first)], &[missing, missing]),
        (
            &[fused(compare, first), fused(elsewhere, second)],
            &[Err(Status::INVALID_FIELD), Err(Status::ABORTED_FAILED_FUSED)],
        ),
        (
            &[fused(write, first), fused(write, second)],
            &[Err(Status::INVALID_FIELD), Err(Status::ABORTED_FAILED_FUSED)],
        ),
        (&[fused(compare, Fuse::from_bits(3))], &[Err(Status::INVALID_FIELD)]),
    ];
    for turn in 0..20 {
        for (entries, expected) in cases {
            for entry in entries {
                host.io[0].push(*entry);
            }
            let done = host.reap(0, expected.len());
            assert_eq!(done.iter().map(outcome).collect::<Vec<_>>(), expected, "turn {turn}");
        }
    }
}

#[test]
fn a_null_namespace_moves_nothing() {
    let mut host = host();
    let buffer = page(&host, 1);
    let before = contents(buffer.memory());
    host.write(4, 0, 1, &buffer).unwrap();
    let traffic = host.fabric.counters();
    host.read(4, 0, 1, &buffer).unwrap();
    let data = p2pdma_fabric::PayloadClass::Data;
    assert_eq!(traffic.host_writes.of(data), host.fabric.counters().host_writes.of(data));
    assert!(contents(buffer.memory()) == before);
    assert_eq!(host.read(4, 1024, 1, &buffer), Err(Status::LBA_OUT_OF_RANGE));
}

/// Every completion of a failure says whether to try again, and that the log has more.
#[test]
fn do_not_retry_and_more() {
    let mut host = host();
    let buffer = page(&host, 1);
    let entry = host.rw(NvmOpcode::READ, 1, 5000, 1, &buffer);
    let completion = host.io_entry(0, entry);
    assert!(completion.status.get().dnr() && completion.status.get().m());
    let mut entry = host.rw(NvmOpcode::WRITE, 1, 0, 1, &buffer);
    entry.dptr = p2pdma_spec::nvme::queue::DataPointer::prp(1 << 45, 0);
    let completion = host.io_entry(0, entry);
    assert_eq!(outcome(&completion), Err(Status::DATA_TRANSFER_ERROR));
    assert!(!completion.status.get().dnr());
}

/// 1 TiB costs what is written.
#[test]
fn a_sparse_terabyte() {
    let namespace = NamespaceConfig { blocks: 1 << 28, ..NamespaceConfig::default() };
    let subsystem = SubsystemConfig { namespaces: vec![namespace], ..SubsystemConfig::default() };
    let resident = || -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    };
    let mut host = Host::with(NvmeConfig { subsystem, ..NvmeConfig::default() });
    let block = page(&host, 1);
    let before = resident();
    for turn in 0..1000 {
        host.write(1, turn * 268_435, 1, &block).unwrap();
    }
    let large = host.buffer(1 << 20);
    for turn in 0..64 {
        host.read(1, turn << 22, 256, &large).unwrap();
    }
    // Other tests run in the same process, so this is a bound, not a measurement.
    let grown = resident().saturating_sub(before);
    println!("1000 blocks in 1 TiB: {} KiB more", grown >> 10);
    assert!(grown < 512 << 20);
    host.bare_command(NvmOpcode::DATASET_MANAGEMENT, 0, 0).unwrap_err();
}
