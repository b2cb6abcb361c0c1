//! The controller memory buffer and the persistent memory region as places for data.

use p2pdma_nvme::{Placement, QueueOptions, Segment};

use super::bench::{Bench, bytes, pattern, run};
use crate::machine::Machine;

/// Data that never leave the controller, at every kind of alignment.
pub(crate) fn data_in_the_buffer(machine: &dyn Machine) -> String {
    let mut bench = Bench::new(machine, "nvme0", 1);
    let cmb = bench.controller.cmb().unwrap();
    assert_eq!(cmb.len(), 16 << 20);
    assert!(cmb.uses().wds() && cmb.uses().rds());
    let shapes = [(1, 4), (1, 4096), (2, 4), (3, 512), (32, 4096), (64, 4), (128, 4096)];
    for (blocks, align) in shapes {
        let len = u64::from(blocks) * 4096;
        // So that what follows is at no multiple of more than its alignment.
        let shift = cmb.allocate(align, 4).unwrap();
        let (source, target) =
            (cmb.allocate(len, align).unwrap(), cmb.allocate(len, align).unwrap());
        let data = pattern(len, usize::try_from(len).unwrap());
        source.write(0, &data).unwrap();
        bench.run(&bench.namespace.write(7, blocks).unwrap(), source.segment().into()).unwrap();
        bench.run(&bench.namespace.read(7, blocks).unwrap(), target.segment().into()).unwrap();
        let mut back = vec![0; data.len()];
        target.read(0, &mut back).unwrap();
        assert!(back == data, "{blocks} blocks at {align}");
        assert!(bench.contents(7, blocks).unwrap() == data);
        drop(shift);
    }
    assert_eq!(cmb.available(), cmb.len());
    // Used up, and whole again.
    let all = cmb.allocate_as_is(16 << 20, 4096).unwrap();
    assert!(cmb.allocate(4096, 4096).is_err());
    drop(all);
    format!("{} shapes", shapes.len())
}

/// The region; its bytes are in the file behind it, where there is one.
pub(crate) fn data_in_the_region(machine: &dyn Machine) -> String {
    let mut bench = Bench::new(machine, "nvme0", 1);
    let pmr = bench.controller.pmr().unwrap();
    assert_eq!(pmr.len(), 16 << 20);
    let data = pattern(3, 65_536);
    pmr.write(4096, &data).unwrap();
    pmr.persist().unwrap();
    let source = pmr.segment(4096..4096 + 65_536).unwrap();
    bench.run(&bench.namespace.write(20, 16).unwrap(), source.into()).unwrap();
    let target = pmr.segment(1 << 20..(1 << 20) + 65_536).unwrap();
    bench.run(&bench.namespace.read(20, 16).unwrap(), target.into()).unwrap();
    pmr.persist().unwrap();
    let mut back = vec![0; data.len()];
    pmr.read(1 << 20, &mut back).unwrap();
    assert!(back == data);
    drop((pmr, bench));
    let Some(path) = machine.region_file("nvme0") else { return "64 KiB".to_owned() };
    let file = std::fs::read(path).unwrap();
    assert!(file[4096..4096 + 65_536] == data && file[1 << 20..(1 << 20) + 65_536] == data);
    "64 KiB, seen in the file behind it".to_owned()
}

/// Buffer and region at the same time, with the queue in the buffer, too.
pub(crate) fn everything_at_once(machine: &dyn Machine) -> String {
    let mut bench = Bench::new(machine, "nvme0", 1);
    let (cmb, pmr) = (bench.controller.cmb().unwrap(), bench.controller.pmr().unwrap());
    let options = QueueOptions { submission: Placement::Cmb, ..QueueOptions::entries(32) };
    let mut queue = bench.controller.queue_pair(&options).unwrap();
    let buffer = cmb.allocate(512 << 10, 4096).unwrap();
    let data = pattern(6, 512 << 10);
    buffer.write(0, &data).unwrap();
    run(&mut queue, &bench.namespace.write(0, 128).unwrap(), buffer.segment().into()).unwrap();
    let region = pmr.segment(0..512 << 10).unwrap();
    run(&mut queue, &bench.namespace.read(0, 128).unwrap(), region.into()).unwrap();
    let host = bench.controller.alloc_dma(512 << 10).unwrap();
    bench.run(&bench.namespace.read(0, 128).unwrap(), Segment::from(&host).into()).unwrap();
    let mut back = vec![0; data.len()];
    pmr.read(0, &mut back).unwrap();
    assert!(back == data && bytes(&host, 0, data.len()) == data);
    "512 KiB".to_owned()
}
