//! From one controller to the other, through a memory of either: peer to peer.

use p2pdma_nvme::{Error, Segment};
use p2pdma_pci::topology::ReasonCode;

use super::bench::{Bench, pattern};
use crate::machine::Machine;

fn write(bench: &mut Bench, slba: u64, blocks: u32, segment: Segment) {
    bench.run(&bench.namespace.write(slba, blocks).unwrap(), segment.into()).unwrap();
}

fn read(bench: &mut Bench, slba: u64, blocks: u32, segment: Segment) {
    bench.run(&bench.namespace.read(slba, blocks).unwrap(), segment.into()).unwrap();
}

/// Through the target's buffer, the source's, and both regions.
pub(crate) fn between_two(machine: &dyn Machine) -> String {
    let mut from = Bench::new(machine, "nvme0", 1);
    let mut to = Bench::new(machine, "nvme1", 1);
    let mut moved = 0;
    for (index, blocks) in [1, 2, 3, 32, 128].into_iter().enumerate() {
        let seed = index as u64;
        let len = u64::from(blocks) * 4096;
        let data = from.fill(5, blocks, seed);
        // The source writes into the target's buffer.
        let buffer = to.controller.cmb().unwrap().allocate(len, 4096).unwrap();
        let window = buffer.map_peer(from.controller.function()).unwrap();
        read(&mut from, 5, blocks, window.segment());
        write(&mut to, 9, blocks, buffer.segment());
        assert!(to.contents(9, blocks).unwrap() == data, "into the target's buffer");
        // The target reads from the source's buffer.
        let buffer = from.controller.cmb().unwrap().allocate(len, 4096).unwrap();
        read(&mut from, 5, blocks, buffer.segment());
        let window = buffer.map_peer(to.controller.function()).unwrap();
        write(&mut to, 1000, blocks, window.segment());
        assert!(to.contents(1000, blocks).unwrap() == data, "from the source's buffer");
        // Into the target's region, where the bytes stay.
        let pmr = to.controller.pmr().unwrap();
        let window = pmr.map_peer(from.controller.function(), 4096..4096 + len).unwrap();
        read(&mut from, 5, blocks, window.segment());
        pmr.persist().unwrap();
        let mut there = vec![0; data.len()];
        pmr.read(4096, &mut there).unwrap();
        assert!(there == data, "into the target's region");
        moved += 3 * len;
    }
    format!("{moved} bytes")
}

/// Neither the switch nor the kernel's list of host bridges carries it: the mapping is refused, with the
/// same reason on both machines, before any request is sent.
pub(crate) fn refused_between_root_ports(machine: &dyn Machine) -> String {
    let far = machine.open("nvme2");
    let near = machine.open("nvme0");
    let buffer = near.cmb().unwrap().allocate(4096, 4096).unwrap();
    buffer.write(0, &pattern(1, 4096)).unwrap();
    let refused = buffer.map_peer(far.function()).unwrap_err();
    let Error::Pci(p2pdma_pci::Error::Refused(refusal)) = refused else { panic!("{refused}") };
    assert_eq!(refusal.code, ReasonCode::RootNotAllowed);
    refusal.code.to_string()
}
