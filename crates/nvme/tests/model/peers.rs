//! From one controller to another, through a memory of either, without the host.

use p2pdma_devices::nvme::PmrConfig;
use p2pdma_nvme::{Controller, Error, QueueOptions};
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::IommuMode;

use crate::support::{Plan, Stage, pattern, plain, run};

fn two(plan: Plan) -> (Stage, Controller, Controller) {
    let mut second = plain();
    second.controller.pmr = Some(PmrConfig { len: 1 << 20, ..PmrConfig::default() });
    let stage = Stage::new(plan, vec![plain(), second, plain()]);
    let (from, to) = (stage.open("nvme0"), stage.open("nvme1"));
    (stage, from, to)
}

fn write_blocks(controller: &Controller, slba: u64, data: &[u8]) {
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue_pair(&QueueOptions::entries(4)).unwrap();
    let buffer = controller.alloc_dma(data.len()).unwrap();
    buffer.memory().write(0, data).unwrap();
    let blocks = u32::try_from(data.len() / 4096).unwrap();
    run(&mut queue, &namespace.write(slba, blocks).unwrap(), (&buffer).into()).unwrap();
}

fn read_blocks(controller: &Controller, slba: u64, len: usize) -> Vec<u8> {
    let namespace = controller.namespace(1).unwrap();
    let mut queue = controller.queue_pair(&QueueOptions::entries(4)).unwrap();
    let buffer = controller.alloc_dma(len).unwrap();
    let blocks = u32::try_from(len / 4096).unwrap();
    run(&mut queue, &namespace.read(slba, blocks).unwrap(), (&buffer).into()).unwrap();
    let mut data = vec![0; len];
    buffer.memory().read(0, &mut data).unwrap();
    data
}

/// Reads from one SSD into the other's buffer, and writes from there: whatever the machine is like, the
/// data are right or the mapping is refused, and the host's memory is never touched.
#[test]
fn through_the_targets_buffer() {
    let (mut moved, mut refused) = (0, 0);
    for iommu in [IommuMode::Off, IommuMode::Passthrough, IommuMode::Translate] {
        for policy in [PeerPolicy::Forward, PeerPolicy::Refuse, PeerPolicy::Lose] {
            // None; redirect; what Linux sets with an IOMMU; direct translated as well.
            for acs in [0, 0x04, 0x1d, 0x5d] {
                let (stage, from, to) = two(Plan { iommu, policy, acs, ..Plan::default() });
                let data = pattern(11, 256 << 10);
                write_blocks(&from, 5, &data);
                let buffer = to.cmb().unwrap().allocate(256 << 10, 4096).unwrap();
                let window = match buffer.map_peer(from.function()) {
                    Ok(window) => window,
                    Err(Error::Pci(p2pdma_pci::Error::Refused(_))) => {
                        refused += 1;
                        continue;
                    }
                    Err(other) => panic!("{other}"),
                };
                let mut queue = from.queue_pair(&QueueOptions::entries(8)).unwrap();
                let source = from.namespace(1).unwrap();
                let target = to.namespace(1).unwrap();
                let before = stage.fabric.counters();
                run(&mut queue, &source.read(5, 64).unwrap(), window.segment().into()).unwrap();
                let mut queue = to.queue_pair(&QueueOptions::entries(8)).unwrap();
                run(&mut queue, &target.write(9, 64).unwrap(), buffer.segment().into()).unwrap();
                assert_eq!(stage.fabric.counters().since(&before).host_data(), 0);
                assert!(read_blocks(&to, 9, data.len()) == data, "{iommu:?} {policy:?} {acs:#x}");
                moved += 1;
            }
        }
    }
    println!("machines: moved {moved}, refused {refused}");
    assert_eq!((moved, refused), (18, 18));
}

/// The other way: the target reads from the source's buffer; and through a persistent region.
#[test]
fn through_the_sources_buffer_and_through_a_region() {
    let (stage, from, to) = two(Plan::default());
    let data = pattern(12, 128 << 10);
    write_blocks(&from, 0, &data);
    let buffer = from.cmb().unwrap().allocate(128 << 10, 4096).unwrap();
    let mut queue = from.queue_pair(&QueueOptions::entries(8)).unwrap();
    let source = from.namespace(1).unwrap();
    let target = to.namespace(1).unwrap();
    let before = stage.fabric.counters();
    run(&mut queue, &source.read(0, 32).unwrap(), buffer.segment().into()).unwrap();
    let window = buffer.map_peer(to.function()).unwrap();
    let mut other = to.queue_pair(&QueueOptions::entries(8)).unwrap();
    run(&mut other, &target.write(1, 32).unwrap(), window.segment().into()).unwrap();
    // And into the target's region, where they stay.
    let pmr = to.pmr().unwrap();
    let window = pmr.map_peer(from.function(), 4096..4096 + (128 << 10)).unwrap();
    run(&mut queue, &source.read(0, 32).unwrap(), window.segment().into()).unwrap();
    pmr.persist().unwrap();
    assert_eq!(stage.fabric.counters().since(&before).host_data(), 0);
    assert!(read_blocks(&to, 1, data.len()) == data);
    let mut there = vec![0; data.len()];
    pmr.read(4096, &mut there).unwrap();
    assert!(there == data);
}

/// The bytes stay allocated as long as a peer's window exists, and the controller stays up.
#[test]
fn a_window_keeps_what_it_shows() {
    let (_stage, from, to) = two(Plan::default());
    let cmb = to.cmb().unwrap();
    let buffer = cmb.allocate(4096, 4096).unwrap();
    let window = buffer.map_peer(from.function()).unwrap();
    drop(buffer);
    assert_eq!(cmb.available(), cmb.len() - 4096);
    drop((cmb, to));
    let namespace = from.namespace(1).unwrap();
    let mut queue = from.queue_pair(&QueueOptions::entries(4)).unwrap();
    run(&mut queue, &namespace.read(0, 1).unwrap(), window.segment().into()).unwrap();
}

/// Separate root ports, where the root complex may lose what is sent.
#[test]
fn across_root_ports() {
    for policy in [PeerPolicy::Forward, PeerPolicy::Refuse, PeerPolicy::Lose] {
        let (stage, from, _) = two(Plan { policy, ..Plan::default() });
        let far = stage.open("nvme2");
        let data = pattern(13, 65_536);
        write_blocks(&from, 0, &data);
        let buffer = far.cmb().unwrap().allocate(65_536, 4096).unwrap();
        let window = match buffer.map_peer(from.function()) {
            Ok(window) => window,
            Err(Error::Pci(p2pdma_pci::Error::Refused(_))) => continue,
            Err(other) => panic!("{other}"),
        };
        let mut queue = from.queue_pair(&QueueOptions::entries(4)).unwrap();
        let source = from.namespace(1).unwrap();
        run(&mut queue, &source.read(0, 16).unwrap(), window.segment().into()).unwrap();
        let mut there = vec![0; data.len()];
        buffer.read(0, &mut there).unwrap();
        assert!(there == data, "{policy:?}");
    }
}
