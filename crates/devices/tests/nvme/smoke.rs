//! Bring-up, and one block there and back.

use p2pdma_devices::nvme::NvmeConfig;

use crate::host::{Host, contents, fill};

#[test]
fn a_block_there_and_back() {
    let mut host = Host::with(NvmeConfig::default());
    let (from, to) = (host.buffer(4096), host.buffer(4096));
    fill(from.memory(), 1);
    host.write(1, 7, 1, &from).unwrap();
    host.read(1, 7, 1, &to).unwrap();
    assert_eq!(contents(from.memory()), contents(to.memory()));
    host.read(1, 8, 1, &to).unwrap();
    assert_eq!(contents(to.memory()), [0; 4096]);
}

#[test]
fn large_transfers_with_lists() {
    let mut host = Host::with(NvmeConfig::default());
    let (from, to) = (host.buffer(1 << 20), host.buffer(1 << 20));
    fill(from.memory(), 2);
    host.write(1, 1000, 256, &from).unwrap();
    host.read(1, 1000, 256, &to).unwrap();
    assert_eq!(contents(from.memory()), contents(to.memory()));
}
