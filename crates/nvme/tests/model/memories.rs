//! The controller memory buffer and the persistent memory region.

use p2pdma_devices::nvme::{CmbConfig, CmbUses, NvmeConfig, PmrConfig};
use p2pdma_nvme::{Error, Placement, QueueOptions, Segment};
use p2pdma_pci::BarIndex;
use p2pdma_spec::nvme::status::Status;

use crate::support::{Bench, pattern, plain, run, status};

#[test]
fn data_in_the_buffer() {
    let mut bench = Bench::new(plain());
    let cmb = bench.controller.cmb().unwrap();
    assert_eq!(cmb.len(), 1 << 20);
    let before = bench.stage.fabric.counters();
    assert!(cmb.uses().sqs() && cmb.uses().cqs() && cmb.uses().wds() && cmb.uses().rds());
    for (blocks, align) in [(1, 4), (1, 4096), (3, 512), (32, 4096), (64, 4)] {
        let len = u64::from(blocks) * 4096;
        let offset = cmb.allocate(align.max(4), 4).unwrap();
        let source = cmb.allocate(len, align).unwrap();
        let target = cmb.allocate(len, align).unwrap();
        let data = pattern(len, usize::try_from(len).unwrap());
        source.write(0, &data).unwrap();
        bench.run(&bench.namespace.write(7, blocks).unwrap(), source.segment().into()).unwrap();
        bench.run(&bench.namespace.read(7, blocks).unwrap(), target.segment().into()).unwrap();
        let mut back = vec![0; data.len()];
        target.read(0, &mut back).unwrap();
        assert!(back == data, "{blocks} blocks at {align}");
        drop(offset);
    }
    assert_eq!(cmb.available(), cmb.len());
    assert_eq!(bench.stage.fabric.counters().since(&before).host_data(), 0);
}

/// A use that the buffer does not have is refused by the controller.
#[test]
fn uses_that_the_buffer_does_not_have() {
    let uses = CmbUses { read_data: false, lists: false, ..CmbUses::ALL };
    let mut config = plain();
    config.controller.cmb = Some(CmbConfig { len: 1 << 20, uses, ..CmbConfig::default() });
    let mut bench = Bench::new(config);
    let buffer = bench.controller.cmb().unwrap().allocate(4096, 4096).unwrap();
    bench.run(&bench.namespace.write(0, 1).unwrap(), buffer.segment().into()).unwrap();
    let read = bench.namespace.read(0, 1).unwrap();
    let failure = bench.run(&read, buffer.segment().into()).unwrap_err();
    assert_eq!(status(failure), Status::INVALID_USE_OF_CMB);
    // Without lists there, commands in the buffer move a page at most.
    let options = QueueOptions { submission: Placement::Cmb, ..QueueOptions::default() };
    let queue = bench.controller.queue_pair::<()>(&options).unwrap();
    let most = if bench.controller.cmb().unwrap().location().cdpcils() { 1 << 20 } else { 4096 };
    assert_eq!(queue.max_transfer(), most);
}

/// Every BAR and offset that a buffer can have.
#[test]
fn buffers_in_every_place() {
    for (bar, offset) in [(2, 0), (2, 1 << 20), (4, 64 << 10), (0, 1 << 20)] {
        let mut config = plain();
        let bar = BarIndex::new(bar).unwrap();
        config.controller.cmb =
            Some(CmbConfig { len: 512 << 10, bar, offset, ..CmbConfig::default() });
        let mut bench = Bench::new(config);
        let cmb = bench.controller.cmb().unwrap();
        assert_eq!((cmb.bar().index(), cmb.range()), (bar, offset..offset + (512 << 10)));
        let buffer = cmb.allocate(4096, 4096).unwrap();
        buffer.write(0, b"in the right place").unwrap();
        bench.run(&bench.namespace.write(0, 1).unwrap(), buffer.segment().into()).unwrap();
        let host = bench.controller.alloc_dma(4096).unwrap();
        bench.run(&bench.namespace.read(0, 1).unwrap(), (&host).into()).unwrap();
        assert_eq!(&host.memory().read_value::<[u8; 18]>(0).unwrap(), b"in the right place");
    }
}

fn with_pmr(pmr: PmrConfig) -> NvmeConfig {
    let mut config = plain();
    config.controller.pmr = Some(PmrConfig { len: 1 << 20, ..pmr });
    config
}

#[test]
fn data_in_the_region() {
    let mut bench = Bench::new(with_pmr(PmrConfig::default()));
    let pmr = bench.controller.pmr().unwrap();
    assert_eq!(pmr.len(), 1 << 20);
    let data = pattern(3, 65_536);
    pmr.write(4096, &data).unwrap();
    pmr.persist().unwrap();
    let source = pmr.segment(4096..4096 + 65_536).unwrap();
    bench.run(&bench.namespace.write(20, 16).unwrap(), source.into()).unwrap();
    let target = pmr.segment(512 << 10..(512 << 10) + 65_536).unwrap();
    bench.run(&bench.namespace.read(20, 16).unwrap(), target.into()).unwrap();
    pmr.persist().unwrap();
    let mut back = vec![0; data.len()];
    pmr.read(512 << 10, &mut back).unwrap();
    assert!(back == data);
}

/// What was made persistent survives a loss of power, by every barrier that can be advertised.
#[test]
fn what_is_persistent_survives() {
    for (memory, status) in [(true, false), (false, true), (true, true)] {
        let (barrier_memory_read, barrier_status_read) = (memory, status);
        let config = PmrConfig { barrier_memory_read, barrier_status_read, ..PmrConfig::default() };
        let bench = Bench::new(with_pmr(config));
        let fabric = bench.stage.fabric.clone();
        let data = pattern(4, 300_000);
        let pmr = bench.controller.pmr().unwrap();
        pmr.write(100, &data).unwrap();
        pmr.persist().unwrap();
        fabric.power_cut();
        fabric.enumerate().unwrap();
        drop((pmr, bench.queue, bench.controller));
        let again = bench.stage.open("nvme0");
        let pmr = again.pmr().unwrap();
        let mut back = vec![0; data.len()];
        pmr.read(100, &mut back).unwrap();
        assert!(back == data, "barrier by memory {memory}, by status {status}");
    }
    let (barrier_memory_read, barrier_status_read) = (false, false);
    let config = PmrConfig { barrier_memory_read, barrier_status_read, ..PmrConfig::default() };
    let bench = Bench::new(with_pmr(config));
    let refused = bench.controller.pmr().unwrap().persist();
    assert!(matches!(refused, Err(Error::Unsupported { .. })));
}

/// Buffer and region at the same time, and queues in the buffer beside data.
#[test]
fn everything_at_once() {
    let mut bench = Bench::new(with_pmr(PmrConfig::default()));
    let cmb = bench.controller.cmb().unwrap();
    let pmr = bench.controller.pmr().unwrap();
    let options = QueueOptions {
        submission: Placement::Cmb,
        completion: Placement::Cmb,
        ..QueueOptions::entries(32)
    };
    let mut queue = bench.controller.queue_pair(&options).unwrap();
    let buffer = cmb.allocate(16_384, 4096).unwrap();
    let data = pattern(6, 16_384);
    buffer.write(0, &data).unwrap();
    run(&mut queue, &bench.namespace.write(0, 4).unwrap(), buffer.segment().into()).unwrap();
    let region = pmr.segment(0..16_384).unwrap();
    run(&mut queue, &bench.namespace.read(0, 4).unwrap(), region.into()).unwrap();
    let host = bench.controller.alloc_dma(16_384).unwrap();
    bench.run(&bench.namespace.read(0, 4).unwrap(), Segment::from(&host).into()).unwrap();
    let mut back = vec![0; data.len()];
    pmr.read(0, &mut back).unwrap();
    assert!(back == data);
    host.memory().read(0, &mut back).unwrap();
    assert!(back == data);
}
