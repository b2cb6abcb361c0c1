//! The commands of the NVM Command Set, and what a controller refuses.

use p2pdma_nvme::{Command, Data, Segment, write_ranges};
use p2pdma_spec::nvme::nvm::{CopyFormat, CopyRange0, DatasetRange};
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::status::Status;
use zerocopy::little_endian::{U16, U32, U64};

use super::bench::{Bench, bytes};
use crate::machine::Machine;

pub(crate) fn compare(machine: &dyn Machine) -> String {
    let mut bench = Bench::new(machine, "nvme0", 1);
    let data = bench.fill(10, 4, 1);
    let buffer = bench.controller.alloc_dma(data.len()).unwrap();
    buffer.memory().write(0, &data).unwrap();
    let compare = bench.namespace.compare(10, 4).unwrap();
    assert_eq!(bench.run(&compare, (&buffer).into()), Ok(0));
    let places = [0, 4095, 4096, 9999, 16_383];
    for at in places {
        buffer.memory().write(at, &[!data[at]]).unwrap();
        assert_eq!(bench.status(&compare, (&buffer).into()), Status::COMPARE_FAILURE, "at {at}");
        buffer.memory().write(at, &data[at..=at]).unwrap();
    }
    assert_eq!(bench.run(&compare, (&buffer).into()), Ok(0));
    format!("{} differences", places.len())
}

pub(crate) fn zeroes_and_verify(machine: &dyn Machine) -> String {
    let mut bench = Bench::new(machine, "nvme0", 1);
    let data = bench.fill(0, 8, 2);
    let namespace = bench.namespace.clone();
    bench.run(&namespace.write_zeroes(2, 3).unwrap(), Data::None).unwrap();
    let seen = bench.contents(0, 8).unwrap();
    assert!(seen[..8192] == data[..8192] && seen[20_480..] == data[20_480..]);
    assert!(seen[8192..20_480].iter().all(|byte| *byte == 0));
    bench.run(&namespace.write_zeroes(6, 2).unwrap().deallocating(), Data::None).unwrap();
    assert_eq!(bench.contents(6, 2).unwrap(), vec![0; 8192]);
    bench.run(&namespace.verify(0, 8).unwrap(), Data::None).unwrap();
    bench.run(&namespace.flush(), Data::None).unwrap();
    let forced = namespace.write(0, 1).unwrap().force_unit_access();
    let buffer = bench.controller.alloc_dma(4096).unwrap();
    bench.run(&forced, (&buffer).into()).unwrap();
    bench.run(&namespace.read(0, 1).unwrap().limited_retry(), (&buffer).into()).unwrap();
    assert_eq!(bytes(&buffer, 0, 4096), [0; 4096]);
    "5 ranges".to_owned()
}

pub(crate) fn deallocate(machine: &dyn Machine) -> String {
    let mut bench = Bench::new(machine, "nvme0", 1);
    let data = bench.fill(0, 16, 4);
    let range = |&(slba, llb): &(u64, u32)| DatasetRange {
        slba: U64::new(slba),
        llb: U32::new(llb),
        ..DatasetRange::default()
    };
    let parts = [(1, 2), (8, 4), (15, 1)];
    let ranges: Vec<DatasetRange> = parts.iter().map(range).collect();
    let buffer = bench.controller.alloc_dma(4096).unwrap();
    let segment = write_ranges(&buffer, &ranges).unwrap();
    bench.run(&bench.namespace.deallocate(3).unwrap(), segment.into()).unwrap();
    let seen = bench.contents(0, 16).unwrap();
    for block in 0..16 {
        let here = block * 4096..(block + 1) * 4096;
        let gone = [1, 2, 8, 9, 10, 11, 15].contains(&block);
        // Zeroes or what was there before: the specification leaves that open unless the namespace says
        // (DLFEAT, NVM Command Set 1.1 §3.3.3.2.1).
        let zero = seen[here.clone()].iter().all(|byte| *byte == 0);
        assert!((gone && zero) || seen[here.clone()] == data[here], "block {block}");
    }
    format!("{} ranges", parts.len())
}

pub(crate) fn copy(machine: &dyn Machine) -> String {
    let mut bench = Bench::new(machine, "nvme0", 1);
    let data = bench.fill(0, 16, 5);
    let buffer = bench.controller.alloc_dma(4096).unwrap();
    let range = |slba, blocks: u16| CopyRange0 {
        slba: U64::new(slba),
        nlb_z: U16::new(blocks - 1),
        ..CopyRange0::default()
    };
    let segment = write_ranges(&buffer, &[range(3, 2), range(10, 1), range(0, 1)]).unwrap();
    let copy = bench.namespace.copy(100, CopyFormat::FORMAT_0, 3).unwrap();
    bench.run(&copy, segment.into()).unwrap();
    let seen = bench.contents(100, 4).unwrap();
    let expected: Vec<u8> = [3, 4, 10, 0]
        .into_iter()
        .flat_map(|block: usize| data[block * 4096..(block + 1) * 4096].to_vec())
        .collect();
    assert!(seen == expected);
    "3 ranges".to_owned()
}

/// What the driver leaves to the controller to refuse, where both name the same reason.
pub(crate) fn refusals(machine: &dyn Machine) -> String {
    let mut bench = Bench::new(machine, "nvme0", 1);
    let buffer = bench.controller.alloc_dma(8192).unwrap();
    let page = Segment::from(&buffer).slice(0..4096).unwrap();
    let raw = |opcode: u8, nsid| {
        Command::raw(SubmissionEntry::new(opcode, nsid), if opcode == 2 { 4096 } else { 0 })
    };
    let namespace = bench.namespace.clone();
    let cases: [(Command, Data<'_>, Status); 8] = [
        (namespace.read(1 << 14, 1).unwrap(), page.into(), Status::LBA_OUT_OF_RANGE),
        (namespace.read((1 << 14) - 1, 2).unwrap(), (&buffer).into(), Status::LBA_OUT_OF_RANGE),
        (namespace.read(u64::MAX, 1).unwrap(), page.into(), Status::LBA_OUT_OF_RANGE),
        (namespace.write(u64::MAX - 1, 2).unwrap(), (&buffer).into(), Status::LBA_OUT_OF_RANGE),
        (namespace.verify(1 << 14, 1).unwrap(), Data::None, Status::LBA_OUT_OF_RANGE),
        (raw(0x7f, 1), Data::None, Status::INVALID_OPCODE),
        // A valid NSID that is not active, and one that is not valid (NVMe Base 2.1 §3.2.1.2 to §3.2.1.5).
        (raw(2, 77), page.into(), Status::INVALID_FIELD),
        (raw(2, 0x1_0000), page.into(), Status::INVALID_NAMESPACE_OR_FORMAT),
    ];
    for (command, data, expected) in &cases {
        assert_eq!(bench.status(command, *data), *expected, "{}", command.entry());
    }
    bench.run(&namespace.read(0, 1).unwrap(), page.into()).unwrap();
    format!("{} commands", cases.len())
}
