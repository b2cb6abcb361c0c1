//! Where requests go: locally, through the root, to the host, or nowhere.

use crate::support::{BAR2, MEMORY, Stage, switched};
use p2pdma_fabric::{Attributes, FaultReason, PayloadClass, Permission, TlpErrorKind};
use p2pdma_pci::machine::PeerPolicy;
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{BarIndex, ConfigSpace as _, Function as _, Iova, Width};

const NO_ACS: [u16; 4] = [0; 4];
/// SV, RR, CR and UF: what Linux sets where an IOMMU is on.
const ISOLATING: [u16; 4] = [0x1d; 4];

fn write(stage: &Stage, from: &str, at: u64, data: &'static [u8]) -> Result<(), TlpErrorKind> {
    let done = stage.act(from, move |port| port.write(Iova(at), data, Attributes::DATA));
    done.map(drop).map_err(|error| error.kind)
}

fn read(stage: &Stage, from: &str, at: u64, len: usize) -> Result<Vec<u8>, TlpErrorKind> {
    stage.act(from, move |port| {
        let mut data = vec![0; len];
        let done = port.read(Iova(at), &mut data, Attributes::DATA);
        done.map(|_| data).map_err(|error| error.kind)
    })
}

#[test]
fn peers_below_a_switch_meet_without_the_root() {
    let stage = switched(IommuMode::Off, PeerPolicy::Refuse, NO_ACS);
    let target = stage.memory("b");
    write(&stage, "a", target + 100, b"hello").unwrap();
    let mut there = [0; 5];
    stage.puppet("b").memory.read(100, &mut there).unwrap();
    assert_eq!(&there, b"hello");
    assert_eq!(read(&stage, "a", target + 100, 5).unwrap(), b"hello");
    let counters = stage.fabric.counters();
    assert_eq!((counters.root_data(), counters.host_data()), (0, 0));
    assert_eq!(counters.peer_local.of(PayloadClass::Data), 10);
    let by_port = |name: &str| counters.links.iter().find(|link| link.port == name).unwrap();
    assert_eq!(by_port("sw0.0").up.of(PayloadClass::Data), 5);
    assert_eq!(by_port("sw0.0").down.of(PayloadClass::Data), 5);
    assert_eq!(by_port("sw0.1").down.of(PayloadClass::Data), 5);
    assert_eq!(by_port("sw0.1").up.of(PayloadClass::Data), 5);
}

/// The processor's registers and doorbells are control, whatever they are written into; only what is said to be user
/// data counts as that, and it takes the same way at the same time.
#[test]
fn the_processors_data_are_counted_on_every_link() {
    let stage = switched(IommuMode::Off, PeerPolicy::Refuse, NO_ACS);
    let function = stage.fabric.open(stage.bdf("b")).unwrap();
    let [registers, memory] = [BarIndex::ZERO, BAR2].map(|index| function.map_bar(index).unwrap());
    let counted = |what: &dyn Fn()| {
        let before = stage.fabric.counters();
        what();
        let passed = stage.fabric.counters().since(&before);
        let at = |name: &str| {
            let link = passed.links.iter().find(|link| link.port == name).unwrap();
            [link.down, link.up]
                .map(|way| [PayloadClass::Data, PayloadClass::Control].map(|class| way.of(class)))
        };
        assert_eq!(at("rp0"), at("sw0.1"));
        assert_eq!((at("sw0.0"), passed.host_data()), ([[0; 2]; 2], 0));
        assert_eq!(passed.root_data(), at("rp0")[0][0] + at("rp0")[1][0]);
        at("rp0")
    };
    let data = [7; 5000];
    assert_eq!(counted(&|| memory.write_data(3, &data).unwrap()), [[5000, 0], [0, 0]]);
    assert_eq!(counted(&|| memory.write_data(0, &data[..8]).unwrap()), [[8, 0], [0, 0]]);
    assert_eq!(counted(&|| memory.read_data(3, &mut [0; 5000]).unwrap()), [[0, 0], [5000, 0]]);
    assert_eq!(counted(&|| memory.write(3, &data).unwrap()), [[0, 5000], [0, 0]]);
    assert_eq!(counted(&|| memory.read(3, &mut [0; 5000]).unwrap()), [[0, 0], [0, 5000]]);
    assert_eq!(counted(&|| registers.write32(0, 1).unwrap()), [[0, 4], [0, 0]]);
    assert_eq!(
        counted(&|| assert_eq!(registers.read32(0).unwrap(), 0x0302_0100)),
        [[0, 0], [0, 4]]
    );
    // Another class in between leaves the doorbell's way as short as it was.
    assert_eq!(counted(&|| registers.write_data(8, &data[..8]).unwrap()), [[8, 0], [0, 0]]);
    assert_eq!(counted(&|| registers.write64(8, 1).unwrap()), [[0, 8], [0, 0]]);
    let mut there = [0; 5000];
    stage.puppet("b").memory.read(3, &mut there).unwrap();
    assert_eq!(there, data);
    assert!(
        memory.write_data(MEMORY, &[1]).is_err() && memory.read_data(MEMORY, &mut [0]).is_err()
    );
}

#[test]
fn the_root_complex_forwards_refuses_or_loses() {
    for policy in [PeerPolicy::Forward, PeerPolicy::Refuse, PeerPolicy::Lose] {
        let stage = switched(IommuMode::Off, policy, NO_ACS);
        let target = stage.memory("c");
        stage.puppet("c").memory.write(0, b"there").unwrap();
        // A posted write has no answer, wherever it ends.
        write(&stage, "a", target + 8, b"hello").unwrap();
        let arrived = stage.puppet("c").memory.read_value::<[u8; 5]>(8).unwrap() == *b"hello";
        let answer = read(&stage, "a", target, 5);
        let through = stage.fabric.counters().peer_through_root.of(PayloadClass::Data);
        match policy {
            PeerPolicy::Forward => {
                assert_eq!((arrived, answer, through), (true, Ok(b"there".to_vec()), 10))
            }
            PeerPolicy::Refuse => {
                assert_eq!(
                    (arrived, answer, through),
                    (false, Err(TlpErrorKind::UnsupportedRequest), 0)
                );
                assert_eq!(stage.fabric.errors("rp0").unwrap().unsupported_requests, 2);
            }
            PeerPolicy::Lose => assert_eq!((arrived, answer), (false, Ok(vec![0xff; 5]))),
        }
    }
}

#[test]
fn redirection_takes_peers_to_the_root() {
    let stage = switched(IommuMode::Off, PeerPolicy::Forward, ISOLATING);
    let target = stage.memory("b");
    write(&stage, "a", target, b"hello").unwrap();
    assert_eq!(read(&stage, "a", target, 5).unwrap(), b"hello");
    let counters = stage.fabric.counters();
    assert_eq!(counters.peer_local.of(PayloadClass::Data), 0);
    assert_eq!(counters.peer_through_root.of(PayloadClass::Data), 10);
    assert_eq!(counters.root_data(), 20);
}

#[test]
fn without_bus_mastering_nothing_is_sent() {
    let stage = switched(IommuMode::Off, PeerPolicy::Forward, NO_ACS);
    let target = stage.memory("b");
    stage.set_bus_master("a", false);
    let refused =
        stage.act_as_is("a", move |port| port.write(Iova(target), b"x", Attributes::DATA));
    assert_eq!(refused.unwrap_err().kind, TlpErrorKind::BusMasterDisabled);
    assert_eq!(stage.puppet("b").memory.read_value::<[u8; 1]>(0).unwrap(), [0]);
}

/// CVE-2020-12888: accesses to a function whose memory decode is off, by the processor and by a peer, to its
/// memory and to its registers, are unsupported requests: all ones or an error, nothing written, no model
/// called. What is there afterwards is what was there before.
#[test]
fn cve_2020_12888_mmio_while_memory_decode_is_off() {
    let stage = switched(IommuMode::Off, PeerPolicy::Forward, NO_ACS);
    let b = stage.bdf("b");
    let held = stage.fabric.open(b).unwrap();
    let bars = [BarIndex::ZERO, BAR2].map(|index| held.map_bar(index).unwrap());
    let addresses = [stage.registers("b"), stage.memory("b")];
    stage.puppet("b").memory.write(0, b"kept").unwrap();
    let config = stage.fabric.config(b);
    let mut accesses = 0;
    // Off, and off with bus mastering on; on again in between.
    for command in [0, 4, 0] {
        config.write(4, Width::Word, command).unwrap();
        let before = stage.fabric.errors("sw0.1").unwrap().unsupported_requests;
        for (bar, address) in bars.iter().zip(addresses) {
            for at in [0, 4, 0x100, 0x2000, 0x3000] {
                assert_eq!(bar.read32(at).unwrap(), u32::MAX);
                bar.write32(at, 0x1234_5678).unwrap();
                let peers = read(&stage, "a", address + at, 4);
                assert_eq!(peers, Err(TlpErrorKind::UnsupportedRequest));
                write(&stage, "a", address + at, b"lost").unwrap();
                while stage.fabric.step() {}
                accesses += 4;
            }
        }
        let noticed = stage.fabric.errors("sw0.1").unwrap().unsupported_requests - before;
        assert!(noticed >= 20, "{noticed} unsupported requests");
        assert!(stage.puppet("b").script.lock().unwrap().writes.is_empty());
        config.write(4, Width::Word, 2).unwrap();
        assert_eq!(read(&stage, "a", addresses[1], 4).unwrap(), b"kept");
        // MSI-X table and pending bits were not written either.
        let table: Vec<u32> =
            (0..16).map(|word| bars[0].read32(0x2000 + word * 4).unwrap()).collect();
        assert!(!table.contains(&0x1234_5678));
    }
    println!("accesses: {accesses}");
}

#[test]
fn translation_is_enforced_at_the_root_and_bypassed_below_it() {
    let stage = switched(IommuMode::Translate, PeerPolicy::Forward, NO_ACS);
    let a = stage.fabric.open(stage.bdf("a")).unwrap();
    let buffer = a.alloc_dma(10_000).unwrap();
    let at = buffer.iova().0;
    write(&stage, "a", at + 4090, b"across a page").unwrap();
    assert_eq!(buffer.memory().read_value::<[u8; 13]>(4090).unwrap(), *b"across a page");
    // Another function has another domain.
    assert_eq!(read(&stage, "b", at, 4), Err(TlpErrorKind::UnsupportedRequest));
    // Host memory's own address means nothing to a translated function.
    write(&stage, "a", 0x10_0000, b"errant").unwrap();
    let (faults, total) = stage.fabric.take_iommu_faults();
    assert_eq!((faults.len(), total), (2, 2));
    assert_eq!((faults[1].requester, faults[1].iova), (stage.bdf("a"), Iova(0x10_0000)));
    // Below the switch nobody translates: the BAR's own address goes straight there.
    write(&stage, "a", stage.memory("b"), b"direct").unwrap();
    assert_eq!(stage.puppet("b").memory.read_value::<[u8; 6]>(0).unwrap(), *b"direct");
    drop(buffer);
    assert_eq!(read(&stage, "a", at, 4), Err(TlpErrorKind::UnsupportedRequest));
}

/// Ways are remembered, translations with them: none of them outlives its mapping.
#[test]
fn an_unmapped_page_is_out_of_reach_at_once() {
    let stage = switched(IommuMode::Translate, PeerPolicy::Forward, NO_ACS);
    let a = stage.fabric.open(stage.bdf("a")).unwrap();
    stage.set_bus_master("a", true);
    // Nothing but the mapping changes from here on.
    let write = |at, data: &'static [u8]| {
        let done = stage.act_as_is("a", move |port| port.write(Iova(at), data, Attributes::DATA));
        done.unwrap();
    };
    let first = a.alloc_dma(4096).unwrap();
    let (at, page) = (first.iova(), first.memory().clone());
    write(at.0, b"mapped");
    write(at.0, b"mapped again");
    assert_eq!(stage.fabric.take_iommu_faults().1, 0);
    drop(first);
    write(at.0, b"not mapped");
    let (faults, total) = stage.fabric.take_iommu_faults();
    assert_eq!((total, faults[0].iova), (1, at));
    assert_eq!(page.read_value::<[u8; 12]>(0).unwrap(), *b"mapped again");
    // The same address for another page.
    let keeper = stage.fabric.open(stage.bdf("b")).unwrap().alloc_dma(4096).unwrap();
    let second = a.alloc_dma(4096).unwrap();
    assert_eq!(second.iova(), at);
    write(at.0, b"elsewhere");
    assert_eq!(second.memory().read_value::<[u8; 9]>(0).unwrap(), *b"elsewhere");
    assert_eq!(keeper.memory().read_value::<[u8; 9]>(0).unwrap(), [0; 9]);
}

#[test]
fn a_mapping_allows_what_it_was_given_and_no_more() {
    let stage = switched(IommuMode::Translate, PeerPolicy::Forward, NO_ACS);
    let bdf = stage.bdf("a");
    let buffer = stage.fabric.open(bdf).unwrap().alloc_dma(4096).unwrap();
    let at = buffer.iova();
    stage.set_bus_master("a", true);
    let access = || {
        stage.act_as_is("a", move |port| {
            port.write(at, b"new", Attributes::DATA).unwrap();
            port.read(at, &mut [0; 3], Attributes::DATA).is_ok()
        })
    };
    for (read, write) in [(true, true), (true, false), (false, true), (false, false)] {
        buffer.memory().write(0, b"old").unwrap();
        stage.fabric.permit(bdf, at, Permission { read, write }).unwrap();
        assert_eq!(access(), read);
        let there = buffer.memory().read_value::<[u8; 3]>(0).unwrap();
        assert_eq!(&there == b"new", write);
        let (faults, _) = stage.fabric.take_iommu_faults();
        assert_eq!(faults.len(), usize::from(!read) + usize::from(!write));
        assert!(faults.iter().all(|fault| fault.reason == FaultReason::NotPermitted));
    }
    let nowhere = Iova(at.0 + 4096);
    let error = stage.fabric.permit(bdf, nowhere, Permission::READ_WRITE).unwrap_err();
    assert!(error.to_string().contains("no mapping"), "{error}");
}

/// Counters of payload between peers count what arrived, and interrupts are no such payload.
#[test]
fn what_a_root_complex_loses_is_counted_as_lost() {
    let stage = switched(IommuMode::Off, PeerPolicy::Lose, NO_ACS);
    let target = stage.memory("c");
    let line = stage.fabric.open(stage.bdf("a")).unwrap().interrupt(0).unwrap();
    write(&stage, "a", target, b"hello").unwrap();
    assert_eq!(read(&stage, "a", target, 3).unwrap(), [0xff; 3]);
    stage.act("a", |port| port.raise(0));
    while stage.fabric.step() {}
    assert_eq!(line.take(), 1);
    let counters = stage.fabric.counters();
    assert_eq!(counters.lost.of(PayloadClass::Data), 8);
    assert_eq!(counters.peer_through_root.bytes(), 0);
}

#[test]
fn host_memory_can_be_shared_by_two_functions() {
    for iommu in [IommuMode::Off, IommuMode::Translate] {
        let stage = switched(iommu, PeerPolicy::Refuse, NO_ACS);
        let [a, c] = ["a", "c"].map(|name| stage.fabric.open(stage.bdf(name)).unwrap());
        let first = a.alloc_dma(8192).unwrap();
        let second = c.share_dma(&first).unwrap();
        write(&stage, "a", first.iova().0 + 5000, b"once").unwrap();
        drop(first);
        assert_eq!(read(&stage, "c", second.iova().0 + 5000, 4).unwrap(), b"once");
        let foreign = switched(iommu, PeerPolicy::Refuse, NO_ACS);
        let stranger = foreign.fabric.open(foreign.bdf("a")).unwrap();
        assert!(stranger.share_dma(&second).is_err());
    }
}

#[test]
fn the_ends_of_a_bar_and_of_the_address_space_are_exact() {
    let stage = switched(IommuMode::Off, PeerPolicy::Forward, NO_ACS);
    let target = stage.memory("b");
    write(&stage, "a", target + MEMORY - 1, b"z").unwrap();
    assert_eq!(stage.puppet("b").memory.read_value::<[u8; 1]>(1048575).unwrap(), *b"z");
    for at in [u64::MAX, u64::MAX - 3, 0x7fff_ffff_ffff_ffff] {
        assert_eq!(read(&stage, "a", at, 8), Err(TlpErrorKind::UnsupportedRequest), "{at:x}");
        write(&stage, "a", at, b"nowhere!").unwrap();
    }
}

#[test]
fn a_function_cannot_reach_itself_over_the_bus() {
    let stage = switched(IommuMode::Off, PeerPolicy::Forward, NO_ACS);
    for at in [stage.memory("a"), stage.registers("a")] {
        assert_eq!(read(&stage, "a", at, 4), Err(TlpErrorKind::UnsupportedRequest));
        write(&stage, "a", at, b"self").unwrap();
    }
    while stage.fabric.step() {}
    assert_eq!(stage.puppet("a").script.lock().unwrap().writes.len(), 4);
}

#[test]
fn a_peer_s_doorbell_rings_later_and_not_inside_the_write() {
    let stage = switched(IommuMode::Off, PeerPolicy::Forward, NO_ACS);
    let target = stage.registers("b");
    let script = std::sync::Arc::clone(&stage.puppet("b").script);
    let seen = stage.act("a", move |port| {
        port.write(Iova(target + 0x1000), &7_u32.to_le_bytes(), Attributes::CONTROL).unwrap();
        script.lock().unwrap().writes.len()
    });
    assert_eq!(seen, 0);
    while stage.fabric.step() {}
    assert_eq!(stage.puppet("b").script.lock().unwrap().writes[0].1, 0x1000);
}

#[test]
fn registers_of_a_peer_can_be_read() {
    let stage = switched(IommuMode::Off, PeerPolicy::Forward, NO_ACS);
    assert_eq!(
        read(&stage, "a", stage.registers("b") + 0x10, 4).unwrap(),
        [0x10, 0x11, 0x12, 0x13]
    );
}
