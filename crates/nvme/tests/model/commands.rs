//! The commands of the NVM Command Set.

use p2pdma_nvme::{Command, Data, Segment, write_ranges};
use p2pdma_pci::DmaBuffer;
use p2pdma_spec::nvme::nvm::{DatasetRange, NvmOpcode};
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::status::Status;
use proptest::prelude::*;
use zerocopy::little_endian::{U32, U64};

use crate::support::{Bench, namespace, pattern, plain, run, ssd, status};

fn fill(bench: &mut Bench, slba: u64, blocks: u32, seed: u64) -> Vec<u8> {
    let len = blocks as usize * bench.namespace.format().data as usize;
    let data = pattern(seed, len);
    let buffer = bench.controller.alloc_dma(len).unwrap();
    buffer.memory().write(0, &data).unwrap();
    bench.run(&bench.namespace.write(slba, blocks).unwrap(), (&buffer).into()).unwrap();
    data
}

fn contents(bench: &mut Bench, slba: u64, blocks: u32) -> Result<Vec<u8>, Status> {
    let len = blocks as usize * bench.namespace.format().data as usize;
    let buffer = bench.controller.alloc_dma(len).unwrap();
    bench.run(&bench.namespace.read(slba, blocks).unwrap(), (&buffer).into()).map_err(status)?;
    let mut data = vec![0; len];
    buffer.memory().read(0, &mut data).unwrap();
    Ok(data)
}

fn ranges(bench: &Bench, parts: &[(u64, u32)]) -> (DmaBuffer, Segment) {
    let buffer = bench.controller.alloc_dma(4096).unwrap();
    let range = |&(slba, llb): &(u64, u32)| DatasetRange {
        slba: U64::new(slba),
        llb: U32::new(llb),
        ..DatasetRange::default()
    };
    let ranges: Vec<DatasetRange> = parts.iter().map(range).collect();
    let segment = write_ranges(&buffer, &ranges).unwrap();
    (buffer, segment)
}

#[test]
fn zeroes_uncorrectable_and_verify() {
    let mut bench = Bench::new(plain());
    let data = fill(&mut bench, 0, 8, 2);
    let namespace = bench.namespace.clone();
    bench.run(&namespace.write_zeroes(2, 3).unwrap(), Data::None).unwrap();
    let seen = contents(&mut bench, 0, 8).unwrap();
    assert!(seen[..8192] == data[..8192] && seen[20_480..] == data[20_480..]);
    assert!(seen[8192..20_480].iter().all(|byte| *byte == 0));
    bench.run(&namespace.write_zeroes(6, 2).unwrap().deallocating(), Data::None).unwrap();
    assert_eq!(contents(&mut bench, 6, 2).unwrap(), vec![0; 8192]);
    bench.run(&namespace.verify(0, 8).unwrap(), Data::None).unwrap();
    bench.run(&namespace.write_uncorrectable(4, 2).unwrap(), Data::None).unwrap();
    assert_eq!(contents(&mut bench, 3, 2), Err(Status::UNRECOVERED_READ_ERROR));
    let failure = bench.run(&namespace.verify(0, 8).unwrap(), Data::None).unwrap_err();
    assert_eq!(status(failure), Status::UNRECOVERED_READ_ERROR);
    assert!(contents(&mut bench, 0, 4).is_ok());
    fill(&mut bench, 4, 2, 3);
    assert!(contents(&mut bench, 0, 8).is_ok());
    bench.run(&namespace.flush(), Data::None).unwrap();
}

#[test]
fn deallocate() {
    let mut bench = Bench::new(plain());
    let data = fill(&mut bench, 0, 16, 4);
    let (_buffer, segment) = ranges(&bench, &[(1, 2), (8, 4), (15, 1)]);
    bench.run(&bench.namespace.deallocate(3).unwrap(), segment.into()).unwrap();
    let seen = contents(&mut bench, 0, 16).unwrap();
    for block in 0..16 {
        let gone = [1, 2, 8, 9, 10, 11, 15].contains(&block);
        let here = block * 4096..(block + 1) * 4096;
        let expected = if gone { vec![0; 4096] } else { data[here.clone()].to_vec() };
        assert!(seen[here] == expected, "block {block}");
    }
    let (_buffer, segment) = ranges(&bench, &[(1 << 14, 1)]);
    let failure = bench.run(&bench.namespace.deallocate(1).unwrap(), segment.into()).unwrap_err();
    assert_eq!(status(failure), Status::LBA_OUT_OF_RANGE);
}

/// What the driver leaves to the controller to refuse.
#[test]
fn refusals_of_the_controller() {
    let mut bench = Bench::new(plain());
    let buffer = bench.controller.alloc_dma(8192).unwrap();
    let page = Segment::from(&buffer).slice(0..4096).unwrap();
    let raw = |opcode: u8, nsid| {
        Command::raw(SubmissionEntry::new(opcode, nsid), if opcode == 2 { 4096 } else { 0 })
    };
    let namespace = bench.namespace.clone();
    let cases = [
        (namespace.read(1 << 14, 1).unwrap(), page.into(), Status::LBA_OUT_OF_RANGE),
        (namespace.read((1 << 14) - 1, 2).unwrap(), (&buffer).into(), Status::LBA_OUT_OF_RANGE),
        (namespace.read(u64::MAX, 1).unwrap(), page.into(), Status::LBA_OUT_OF_RANGE),
        (namespace.write(u64::MAX - 1, 2).unwrap(), (&buffer).into(), Status::LBA_OUT_OF_RANGE),
        (raw(0x7f, 1), Data::None, Status::INVALID_OPCODE),
        // A valid NSID that is not active, and one that is not valid (NVMe Base 2.1 §3.2.1.2 to §3.2.1.5).
        (raw(2, 77), page.into(), Status::INVALID_FIELD),
        (raw(2, 300), page.into(), Status::INVALID_NAMESPACE_OR_FORMAT),
        (raw(2, 0), page.into(), Status::INVALID_NAMESPACE_OR_FORMAT),
    ];
    for (command, data, expected) in cases {
        let failure = bench.run(&command, data).unwrap_err();
        assert_eq!(status(failure), expected, "{}", command.entry());
    }
    bench.run(&namespace.read(0, 1).unwrap().limited_retry(), page.into()).unwrap();
    bench.run(&namespace.write(0, 1).unwrap().force_unit_access(), page.into()).unwrap();
}

#[derive(Debug, Clone)]
enum Step {
    Write { slba: u64, blocks: u32, seed: u64 },
    Read { slba: u64, blocks: u32 },
    Zero { slba: u64, blocks: u32 },
    Deallocate { slba: u64, blocks: u32 },
}

const BLOCKS: u64 = 200;

fn step() -> impl Strategy<Value = Step> {
    let place = || (0..BLOCKS + 5, 1_u32..40);
    prop_oneof![
        3 => (place(), any::<u64>()).prop_map(|((slba, blocks), seed)| Step::Write { slba, blocks, seed }),
        3 => place().prop_map(|(slba, blocks)| Step::Read { slba, blocks }),
        1 => place().prop_map(|(slba, blocks)| Step::Zero { slba, blocks }),
        1 => place().prop_map(|(slba, blocks)| Step::Deallocate { slba, blocks }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    /// Random commands against a plain vector.
    #[test]
    fn a_namespace_is_a_vector_of_blocks(steps in proptest::collection::vec(step(), 1..60)) {
        let mut bench = Bench::new(ssd(vec![namespace(BLOCKS, 512)]));
        let mut model = vec![0_u8; 512 * 200];
        let ns = bench.namespace.clone();
        for step in steps {
            let (slba, blocks) = match step {
                Step::Write { slba, blocks, .. } | Step::Read { slba, blocks }
                | Step::Zero { slba, blocks } | Step::Deallocate { slba, blocks } => (slba, blocks),
            };
            let len = blocks as usize * 512;
            let at = usize::try_from(slba).unwrap() * 512;
            let inside = slba + u64::from(blocks) <= BLOCKS;
            let buffer = bench.controller.alloc_dma(len).unwrap();
            let result = match step {
                Step::Write { seed, .. } => {
                    let data = pattern(seed, len);
                    buffer.memory().write(0, &data).unwrap();
                    let result = bench.run(&ns.write(slba, blocks).unwrap(), (&buffer).into());
                    if inside { model[at..at + len].copy_from_slice(&data); }
                    result
                }
                Step::Read { .. } => bench.run(&ns.read(slba, blocks).unwrap(), (&buffer).into()),
                Step::Zero { .. } => {
                    if inside { model[at..at + len].fill(0); }
                    bench.run(&ns.write_zeroes(slba, blocks).unwrap(), Data::None)
                }
                Step::Deallocate { .. } => {
                    if inside { model[at..at + len].fill(0); }
                    let (_ranges, segment) = ranges(&bench, &[(slba, blocks)]);
                    run(&mut bench.queue, &ns.deallocate(1).unwrap(), segment.into())
                }
            };
            if !inside {
                prop_assert_eq!(result.map_err(status), Err(Status::LBA_OUT_OF_RANGE));
                continue;
            }
            prop_assert_eq!(result, Ok(0));
            if let Step::Read { .. } = step {
                let mut seen = vec![0; len];
                buffer.memory().read(0, &mut seen).unwrap();
                prop_assert!(seen == model[at..at + len]);
            }
        }
        let opcode = NvmOpcode::READ;
        prop_assert!(contents(&mut bench, 0, 200).unwrap() == model, "{opcode}");
    }
}
