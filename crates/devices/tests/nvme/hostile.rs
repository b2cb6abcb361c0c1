//! A host that means harm: bugs that other emulators and devices had, each by name, and random attacks.

use std::sync::{Arc, Mutex};

use p2pdma_devices::nvme::{
    CmbConfig, ControllerConfig, MediaTiming, NamespaceConfig, NvmeConfig, NvmeController,
    PmrConfig, ServiceTime, SubsystemConfig,
};
use p2pdma_fabric::{
    BarDescription, BarMemory, Closed, Description, Endpoint, MemoryRegion, Port, Reset, TimerId,
    Timing, TimingModel,
};
use p2pdma_pci::topology::{IommuMode, MemoryKind};
use p2pdma_pci::{BarIndex, Duration, Function as _};
use p2pdma_spec::nvme::NSID_ALL;
use p2pdma_spec::nvme::admin::{AdminOpcode, QueuePriority};
use p2pdma_spec::nvme::cmb::Cmbmsc;
use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::queue::{DataPointer, DataTransfer, SubmissionEntry};
use p2pdma_spec::nvme::registers::{completion_doorbell, offset, submission_doorbell};
use p2pdma_spec::nvme::sgl::SglDescriptor;
use p2pdma_spec::nvme::status::Status;
use p2pdma_spec::pci::bar::BarKind;
use zerocopy::FromBytes as _;

use crate::host::{Board, Host, Outcome, Rng, contents, fill, outcome};

/// Everything a controller can have.
fn everything() -> ControllerConfig {
    ControllerConfig {
        cmb: Some(CmbConfig { len: 1 << 20, ..CmbConfig::default() }),
        pmr: Some(PmrConfig { len: 1 << 20, ..PmrConfig::default() }),
        ..ControllerConfig::default()
    }
}

fn small(controller: ControllerConfig) -> NvmeConfig {
    let namespace = NamespaceConfig { blocks: 1024, ..NamespaceConfig::default() };
    let subsystem = SubsystemConfig {
        namespaces: vec![namespace],
        spare_capacity: 8 << 20,
        ..SubsystemConfig::default()
    };
    NvmeConfig { subsystem, controller }
}

/// A machine without an IOMMU, so that every address is reachable.
fn exposed(names: &[&str], timing: Timing) -> Vec<Host> {
    let mut board = Board::new(IommuMode::Off, timing);
    for name in names {
        board.plug(name, NvmeController::new(small(everything())).unwrap());
    }
    let fabric = board.build();
    let open = |name: &&str| {
        let mut host = Host::open(fabric.clone(), name);
        host.enable();
        host.create_queue(64);
        host
    };
    names.iter().map(open).collect()
}

/// After an attack the controller can be reset, and then works.
fn revive(host: &mut Host) {
    host.settle();
    host.set_cc(p2pdma_spec::nvme::registers::Cc::new());
    let _ = host.function.reset();
    let mut fresh = Host::open(host.fabric.clone(), "a");
    fresh.enable();
    fresh.create_queue(8);
    let buffer = fresh.buffer(4096);
    fill(buffer.memory(), 1);
    fresh.write(1, 0, 1, &buffer).unwrap();
    fresh.read(1, 0, 1, &buffer).unwrap();
}

/// CVE-2021-3929: every pointer of a command aimed at the controller's own registers,
/// doorbells, MSI-X table and buffers.
#[test]
fn cve_2021_3929_dma_to_own_registers() {
    let targets = [
        offset::CAP,
        offset::CC,
        offset::NSSR,
        offset::ASQ,
        offset::CMBMSC,
        offset::PMRCTL,
        submission_doorbell(0, 0),
        submission_doorbell(1, 0),
        completion_doorbell(1, 0),
        0x2000,
        0x3000,
    ];
    let mut attacks = 0;
    for target in targets {
        for shape in 0..10 {
            let mut host = exposed(&["a"], Timing::Ideal).remove(0);
            let at = host.bar.address().0 + target;
            let page = at & !4095;
            let mut entry = SubmissionEntry::new(NvmOpcode::READ, 1);
            match shape {
                0 => entry.dptr = DataPointer::prp(at, 0),
                1 => {
                    entry.cdw12 = 1.into();
                    entry.dptr = DataPointer::prp(host.buffer(4096).iova().0, page);
                }
                2 => {
                    entry.cdw12 = 7.into();
                    entry.dptr = DataPointer::prp(host.buffer(4096).iova().0, at & !7);
                }
                8 | 9 => {
                    // As few bytes as a register has: these reach it.
                    let few = SglDescriptor::data_block(at, 4 << (shape - 8));
                    let list = host.buffer(32);
                    list.memory().write_value(0, &few).unwrap();
                    list.memory().write_value(16, &SglDescriptor::bit_bucket(4096)).unwrap();
                    entry.dptr = DataPointer::sgl(SglDescriptor::last_segment(list.iova().0, 32));
                    std::mem::forget(list);
                    let psdt = DataTransfer::SGL_METADATA_BUFFER;
                    entry.cdw0.set(entry.cdw0.get().with_psdt(psdt));
                }
                3 | 4 => {
                    let block = SglDescriptor::data_block(at, 4096);
                    let list = SglDescriptor::last_segment(at, 64);
                    entry.dptr = DataPointer::sgl(if shape == 3 { block } else { list });
                    let psdt = DataTransfer::SGL_METADATA_BUFFER;
                    entry.cdw0.set(entry.cdw0.get().with_psdt(psdt));
                }
                5 => {
                    entry = SubmissionEntry::new(NvmOpcode::WRITE, 1);
                    entry.dptr = DataPointer::prp(at & !3, 0);
                }
                6 => {
                    // The log page into the registers.
                    let mut log = SubmissionEntry::new(AdminOpcode::GET_LOG_PAGE, 0);
                    log.cdw10 = (5 | 1023 << 16).into();
                    log.dptr = DataPointer::prp(page, page);
                    host.admin.push(log);
                    host.ring_tail(0, host.admin.tail);
                }
                _ => {
                    // A queue in the registers: completions would ring doorbells.
                    let _ = host.create_completion(9, 64, page, Some(0));
                    let _ = host.create_submission(9, 64, page, 9, QueuePriority::LOW);
                    host.ring_tail(9, 5);
                }
            }
            host.io[0].push(entry);
            host.ring_tail(1, host.io[0].tail);
            let before = host.fabric.events();
            host.settle();
            assert!(host.fabric.events() - before < 10_000, "{target:#x} {shape}");
            if shape >= 8 {
                // No port turns a request back to its sender: it fails where it was sent.
                assert!(host.csts().rdy() && !host.csts().cfs());
                assert!(host.fabric.errors("a").unwrap().unsupported_requests > 0);
            }
            revive(&mut host);
            attacks += 1;
        }
    }
    println!("attacks on own registers: {attacks}");
}

/// CVE-2021-3750: two controllers whose commands ring each other's doorbells, for ever. Others
/// get on, and nothing grows.
#[test]
fn cve_2021_3750_peers_that_ring_each_other() {
    let mut hosts = exposed(&["a", "b", "c"], Timing::Ideal);
    let mut victim = hosts.pop().unwrap();
    let doorbells = hosts.iter().map(|host| host.bar.address().0 + submission_doorbell(1, 0));
    let doorbells: Vec<u64> = doorbells.collect();
    // Block 0 of each holds the other's next tail; reading it rings.
    for (index, host) in hosts.iter_mut().enumerate() {
        let page = host.buffer(4096);
        for slot in 0..64_u64 {
            page.memory().write(0, &(slot + 1).to_le_bytes()).unwrap();
            host.write(1, slot, 1, &page).unwrap();
        }
        for slot in 0..64_u64 {
            let mut entry = SubmissionEntry::new(NvmOpcode::READ, 1);
            entry.set_cdw10_11((slot + 1) % 64);
            let block = SglDescriptor::data_block(doorbells[1 - index], 4);
            let list = host.buffer(32);
            list.memory().write_value(0, &block).unwrap();
            list.memory().write_value(16, &SglDescriptor::bit_bucket(4092)).unwrap();
            entry.dptr = DataPointer::sgl(SglDescriptor::last_segment(list.iova().0, 32));
            std::mem::forget(list);
            let psdt = DataTransfer::SGL_METADATA_BUFFER;
            entry.cdw0.set(entry.cdw0.get().with_psdt(psdt));
            host.io[0].push(entry);
        }
    }
    hosts[0].ring_tail(1, hosts[0].io[0].tail + 1);
    // A third one works while the two are at it.
    let buffer = victim.buffer(4096);
    for lba in 0..50 {
        let entry = victim.rw(NvmOpcode::READ, 1, lba, 1, &buffer);
        victim.io[0].push(entry);
        victim.ring_tail(1, victim.io[0].tail);
        let mut steps = 0;
        while victim.io[0].pop().is_none() {
            assert!(victim.fabric.step());
            steps += 1;
            assert!(steps < 1000, "the victim waits behind {steps} events");
        }
        victim.ring_head(1, victim.io[0].head);
    }
    for _ in 0..10_000 {
        hosts[0].fabric.step();
    }
    // They did reach each other: of the second nobody but the first has rung.
    let done = std::iter::from_fn(|| hosts[1].io[0].pop()).count();
    println!("commands that a peer rang for: {done}");
    assert!(done > 0);
    hosts[0].fabric.remove(hosts[1].function.bdf()).unwrap();
    revive(&mut hosts[0]);
}

/// What an admin command of otherwise only zeroes is answered with: for no namespace, and for the first.
/// Whatever is not listed does not exist here.
const ADMIN: [(u8, Outcome, Outcome); 16] = {
    const OK: Outcome = Ok(0);
    const QUEUE: Outcome = Err(Status::INVALID_QUEUE_IDENTIFIER);
    const FIELD: Outcome = Err(Status::INVALID_FIELD);
    const NAMESPACE: Outcome = Err(Status::INVALID_NAMESPACE_OR_FORMAT);
    const SLOT: Outcome = Err(Status::INVALID_FIRMWARE_SLOT);
    const LIST: Outcome = Err(Status::CONTROLLER_LIST_INVALID);
    [
        (0x00, QUEUE, QUEUE),
        (0x01, QUEUE, QUEUE),
        (0x02, OK, OK),
        (0x04, QUEUE, QUEUE),
        (0x05, QUEUE, QUEUE),
        (0x06, NAMESPACE, OK),
        // Nothing was aborted.
        (0x08, Ok(1), Ok(1)),
        (0x09, FIELD, FIELD),
        (0x0A, FIELD, FIELD),
        (0x0D, FIELD, FIELD),
        (0x10, SLOT, SLOT),
        (0x11, OK, OK),
        (0x15, NAMESPACE, LIST),
        (0x18, OK, OK),
        (0x7C, OK, OK),
        (0x80, NAMESPACE, OK),
    ]
};

/// The same of I/O commands, for the first namespace, whose blocks are all zeroes.
const IO: [(u8, Outcome); 9] = [
    (0x00, Ok(0)),
    (0x01, Ok(0)),
    (0x02, Ok(0)),
    (0x04, Ok(0)),
    (0x05, Ok(0)),
    (0x08, Ok(0)),
    (0x09, Ok(0)),
    (0x0C, Ok(0)),
    // Onto itself.
    (0x19, Err(Status::OVERLAPPING_IO_RANGE)),
];

/// CVE-2023-40360: every opcode has exactly its status, with every optional feature absent and with all of
/// them: what is not there is an invalid opcode, whatever its dwords are.
#[test]
fn cve_2023_40360_every_opcode_has_its_status() {
    let mut commands = 0;
    for controller in [ControllerConfig::default, everything] {
        let mut rng = Rng::new(3);
        let mut shared = Host::with(small(controller()));
        let pages = shared.buffer(8192);
        let pointer = DataPointer::prp(pages.iova().0, pages.iova().0 + 4096);
        for opcode in 0..=u8::MAX {
            if AdminOpcode::from_bits(opcode) != AdminOpcode::ASYNC_EVENT_REQUEST {
                let listed = ADMIN.iter().find(|(listed, ..)| *listed == opcode);
                for nsid in [0, 1] {
                    // One that exists changes the controller: then a fresh one for each.
                    let mut fresh = listed.map(|_| Host::with(small(controller())));
                    let host = fresh.as_mut().unwrap_or(&mut shared);
                    let buffer = host.buffer(8192);
                    let mut entry = SubmissionEntry::new(opcode, nsid);
                    entry.dptr = DataPointer::prp(buffer.iova().0, buffer.iova().0 + 4096);
                    let expected = match listed {
                        None => Err(Status::INVALID_OPCODE),
                        Some((_, none, first)) => *if nsid == 0 { none } else { first },
                    };
                    assert_eq!(host.admin(entry), expected, "admin {opcode:#x}, NSID {nsid}");
                    commands += 1;
                }
                for _ in 0..if listed.is_none() { 20 } else { 0 } {
                    let mut entry = hostile_entry(&mut rng, opcode);
                    entry.cdw0.set(p2pdma_spec::nvme::queue::Cdw0::new().with_opcode(opcode));
                    entry.dptr = pointer;
                    assert_eq!(shared.admin(entry), Err(Status::INVALID_OPCODE), "{opcode:#x}");
                    commands += 1;
                }
            }
            let listed = IO.iter().find(|(listed, _)| *listed == opcode);
            let mut fresh = listed.map(|_| Host::with(small(controller())));
            let host = fresh.as_mut().unwrap_or(&mut shared);
            let buffer = host.buffer(4096);
            let mut entry = SubmissionEntry::new(opcode, 1);
            entry.dptr = host.prps(&buffer);
            let expected = listed.map_or(Err(Status::INVALID_OPCODE), |(_, expected)| *expected);
            assert_eq!(host.io(entry), expected, "I/O {opcode:#x}");
            commands += 1;
            for _ in 0..if listed.is_none() { 20 } else { 0 } {
                let mut entry = hostile_entry(&mut rng, opcode);
                entry.cdw0.set(p2pdma_spec::nvme::queue::Cdw0::new().with_opcode(opcode));
                entry.dptr = pointer;
                assert_eq!(shared.io(entry), Err(Status::INVALID_OPCODE), "I/O {opcode:#x}");
                commands += 1;
            }
        }
    }
    println!("commands with their statuses: {commands}");
}

/// The same opcodes with random dwords, in any order, on a controller that lives through all of them.
#[test]
fn cve_2023_40360_every_opcode_with_random_dwords() {
    let mut commands = 0;
    for controller in [ControllerConfig::default(), everything()] {
        let mut rng = Rng::new(11);
        let mut host = Host::with(small(controller));
        let buffer = host.buffer(16_384);
        for round in 0..6 {
            for opcode in 0..=u8::MAX {
                if AdminOpcode::from_bits(opcode) == AdminOpcode::ASYNC_EVENT_REQUEST {
                    continue;
                }
                let mut entry = hostile_entry(&mut rng, opcode);
                entry.dptr = host.prps(&buffer);
                let _ = host.admin(entry);
                if host.csts().cfs() || !host.csts().rdy() {
                    host.disable();
                    host.enable();
                }
                commands += 1;
                if round < 2 {
                    if host.io.is_empty() || host.create_if_missing() {
                        continue;
                    }
                    let mut entry = hostile_entry(&mut rng, opcode);
                    entry.dptr = host.prps(&buffer);
                    host.io[0].push(entry);
                    host.ring_tail(1, host.io[0].tail);
                    host.drain(0);
                    commands += 1;
                }
            }
        }
    }
    println!("commands with every opcode: {commands}");
}

impl Host {
    /// An attack may have deleted the queue; says whether it had.
    fn create_if_missing(&mut self) -> bool {
        let base = self.buffer(4096).iova().0;
        if self.create_completion(1, 4, base, None).is_err() {
            return false;
        }
        self.delete(AdminOpcode::DELETE_COMPLETION_QUEUE, 1).unwrap();
        self.disable();
        self.enable();
        self.create_queue(64);
        true
    }
}

/// Fields at their bounds, and sometimes anything.
fn hostile(rng: &mut Rng) -> u32 {
    match rng.below(6) {
        0 => 0,
        1 => rng.pick(&[1, 2, 7, 0xFF, 0xFFFF, 0x1_0000, 0x7FFF_FFFF, 0x8000_0000]),
        2 => rng.pick(&[u32::MAX, u32::MAX - 1, NSID_ALL]),
        3 => 1 << rng.below(32),
        4 => u32::try_from(rng.below(300)).unwrap(),
        _ => u32::try_from(rng.next() >> 32).unwrap(),
    }
}

fn hostile_entry(rng: &mut Rng, opcode: u8) -> SubmissionEntry {
    let mut bytes = [0; 64];
    for chunk in bytes.chunks_mut(4) {
        chunk.copy_from_slice(&hostile(rng).to_le_bytes());
    }
    let mut entry = SubmissionEntry::read_from_bytes(&bytes).unwrap();
    let psdt = if rng.once_in(10) { DataTransfer::from_bits(3) } else { DataTransfer::PRP };
    let fuse = if rng.once_in(10) { 1 } else { 0 };
    entry.cdw0.set(
        p2pdma_spec::nvme::queue::Cdw0::new()
            .with_opcode(opcode)
            .with_psdt(psdt)
            .with_fuse(p2pdma_spec::nvme::queue::Fuse::from_bits(fuse)),
    );
    if rng.once_in(2) {
        entry.nsid = rng.pick(&[0, 1, 1, 1, 2, NSID_ALL]).into();
    }
    entry
}

/// Random commands with random pointers, registers and doorbells, ideal and timed: no panic, no end of
/// events, and afterwards a working controller. Guards around what the attacker may not reach.
#[test]
fn random_attacks() {
    let mut commands = 0;
    for (seed, timing) in
        [(1, Timing::Ideal), (2, Timing::Modelled(TimingModel::default())), (3, Timing::Ideal)]
    {
        let mut rng = Rng::new(seed);
        let mut host = exposed(&["a"], timing).remove(0);
        for round in 0..120 {
            attack(&mut rng, &mut host, round);
            commands += 40;
        }
        revive(&mut host);
    }
    println!("random attacks: {commands} commands");
}

/// Forty commands with whatever addresses, some register writes, some doorbells.
fn attack(rng: &mut Rng, host: &mut Host, round: u64) {
    if !host.csts().rdy() || host.csts().cfs() || round.is_multiple_of(10) {
        host.set_cc(p2pdma_spec::nvme::registers::Cc::new());
        let _ = host.function.reset();
        *host = Host::open(host.fabric.clone(), "a");
        host.enable();
        host.create_queue(64);
        host.set_cmbmsc(Cmbmsc::new().with_cre(true).with_cmse(true).with_base_address(1 << 40));
    }
    let arena = host.buffer(64 << 10);
    fill(arena.memory(), rng.next());
    let registers = host.bar.address().0;
    for _ in 0..40 {
        let opcode = rng.pick(&[0, 1, 2, 4, 5, 8, 9, 0xC, 0x19, 0x7F, 0xFF]);
        let mut entry = hostile_entry(rng, opcode);
        let address = |rng: &mut Rng| match rng.below(8) {
            0 => registers + rng.below(0x4000),
            1 => (1 << 40) + rng.below(2 << 20),
            2 => u64::MAX - rng.below(8192),
            3 => rng.next(),
            4 => 0xFEE0_0000 + rng.below(0x2000),
            _ => arena.iova().0 + rng.below(16) * 4096 + rng.pick(&[0, 0, 0, 4, 8, 4088]),
        };
        entry.dptr = if rng.once_in(3) {
            let len = u32::try_from(rng.below(8192)).unwrap();
            let mut sgl = SglDescriptor::data_block(address(rng), len);
            sgl.identifier = rng.pick(&[0x00, 0x10, 0x20, 0x30, 0x40, 0x0F, 0xFF]).into();
            entry.cdw0.set(entry.cdw0.get().with_psdt(DataTransfer::SGL_METADATA_BUFFER));
            DataPointer::sgl(sgl)
        } else {
            DataPointer::prp(address(rng), address(rng))
        };
        entry.mptr = address(rng).into();
        if rng.once_in(20) {
            let admin = rng.next().to_le_bytes()[0];
            entry.cdw0.set(entry.cdw0.get().with_opcode(admin));
            host.admin.push(entry);
            host.ring_tail(0, host.admin.tail);
        } else {
            host.io[0].push(entry);
            host.ring_tail(1, host.io[0].tail);
        }
        if rng.once_in(10) {
            let at = rng.below(0x3000) & !3;
            host.bar.write32(at, hostile(rng)).unwrap();
        }
        if rng.once_in(3) {
            for _ in 0..rng.below(50) {
                host.fabric.step();
            }
        }
        while host.admin.pop().is_some() {}
        while host.io[0].pop().is_some() {}
        host.ring_head(0, host.admin.head);
        host.ring_head(1, host.io[0].head);
    }
    let before = host.fabric.events();
    host.settle();
    assert!(host.fabric.events() - before < 100_000, "round {round}");
}

/// Admin commands have PRPs (NVMe over PCIe 1.1 §3.4), and none is fused.
#[test]
fn psdt_in_admin_commands() {
    let mut host = Host::with(NvmeConfig::default());
    for psdt in 1..4 {
        for opcode in [0x00, 0x01, 0x02, 0x04, 0x05, 0x06, 0x08, 0x09, 0x0A, 0x18, 0x80] {
            let mut entry = SubmissionEntry::new(opcode, 0);
            entry.cdw0.set(entry.cdw0.get().with_psdt(DataTransfer::from_bits(psdt)));
            assert_eq!(host.admin(entry), Err(Status::INVALID_FIELD), "{opcode:#x}");
        }
    }
    for fuse in 1..4 {
        let mut entry = SubmissionEntry::new(AdminOpcode::KEEP_ALIVE, 0);
        let fuse = p2pdma_spec::nvme::queue::Fuse::from_bits(fuse);
        entry.cdw0.set(entry.cdw0.get().with_fuse(fuse));
        assert_eq!(host.admin(entry), Err(Status::INVALID_FIELD));
    }
}

/// A doorbell to a queue that was deleted, and commands that were in it: nothing is fetched any more.
#[test]
fn doorbells_of_deleted_queues() {
    let mut host = Host::with(NvmeConfig::default());
    let buffer = host.buffer(4096);
    fill(buffer.memory(), 3);
    let before = contents(buffer.memory());
    let entry = host.rw(NvmOpcode::READ, 1, 0, 1, &buffer);
    host.io[0].push(entry);
    host.delete(AdminOpcode::DELETE_SUBMISSION_QUEUE, 1).unwrap();
    host.ring_tail(1, 1);
    host.settle();
    assert!(contents(buffer.memory()) == before && !host.csts().cfs());
    host.delete(AdminOpcode::DELETE_COMPLETION_QUEUE, 1).unwrap();
    host.ring_head(1, 1);
    host.settle();
    assert!(host.io[0].pop().is_none());
}

/// A flood of doorbells does not keep a second client of another device from its work.
#[test]
fn doorbell_floods() {
    let mut hosts = exposed(&["a", "c"], Timing::Ideal);
    let mut victim = hosts.pop().unwrap();
    let attacker = &hosts[0];
    let buffer = victim.buffer(4096);
    let mut rng = Rng::new(5);
    for lba in 0..200 {
        for _ in 0..50 {
            let id = u16::try_from(rng.below(70)).unwrap();
            attacker.ring_tail(id, hostile(&mut rng));
            attacker.ring_head(id, hostile(&mut rng));
        }
        fill(buffer.memory(), lba + 1);
        victim.write(1, lba, 1, &buffer).unwrap();
        let written = contents(buffer.memory());
        victim.read(1, lba, 1, &buffer).unwrap();
        assert!(contents(buffer.memory()) == written);
    }
    println!("flood: 20000 doorbells, the victim's 400 commands right");
}

/// Memory of a device whose bytes change as soon as they have been read, and which counts the reads.
struct Fickle {
    bytes: Mutex<(Vec<u8>, Vec<u32>)>,
}

const FICKLE: usize = 1 << 20;

impl BarMemory for Fickle {
    fn read(&self, at: u64, data: &mut [u8]) -> Result<(), Closed> {
        let at = usize::try_from(at).map_err(|_| Closed)?;
        let mut guard = self.bytes.lock().unwrap();
        let (bytes, counts) = &mut *guard;
        for (index, byte) in (at..).zip(data) {
            *byte = bytes[index];
            bytes[index] = bytes[index].wrapping_mul(31).wrapping_add(7);
            counts[index] += 1;
        }
        Ok(())
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<(), Closed> {
        let at = usize::try_from(at).map_err(|_| Closed)?;
        self.bytes.lock().unwrap().0[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }
}

struct FickleDevice(Arc<Fickle>);

impl Endpoint for FickleDevice {
    fn describe(&self) -> Description {
        let region = MemoryRegion {
            offset: 0,
            len: FICKLE as u64,
            kind: MemoryKind::Bar(BarIndex::ZERO),
            behind: None,
            memory: Arc::clone(&self.0) as Arc<dyn BarMemory>,
        };
        let bar = BarDescription {
            index: BarIndex::ZERO,
            len: FICKLE as u64,
            kind: BarKind::Memory64 { prefetchable: true },
            memory: vec![region],
        };
        Description { vendor: 1, device: 1, bars: vec![bar], ..Description::default() }
    }
    fn mmio_read(&mut self, _: BarIndex, _: u64, _: &mut [u8]) {}
    fn mmio_write(&mut self, _: BarIndex, _: u64, _: &[u8], _: &mut Port<'_>) {}
    fn wake(&mut self, _: TimerId, _: &mut Port<'_>) {}
    fn reset(&mut self, _: Reset) {}
}

/// T9: entries, lists, segments and ranges are read once. They lie in memory that changes with every read, so
/// that a second look would see something else; and no byte is read twice.
#[test]
fn control_bytes_are_read_once() {
    let fickle = Arc::new(Fickle { bytes: Mutex::new((vec![0; FICKLE], vec![0; FICKLE])) });
    let mut board = Board::new(IommuMode::Off, Timing::Ideal);
    board.plug("a", NvmeController::new(small(ControllerConfig::default())).unwrap());
    board.plug("fickle", FickleDevice(Arc::clone(&fickle)));
    let fabric = board.build();
    let trap = fabric.open(fabric.find("fickle").unwrap()).unwrap();
    trap.config().write(4, p2pdma_pci::Width::Word, 6).unwrap();
    let base = trap.map_bar(BarIndex::ZERO).unwrap().address().0;
    let mut host = Host::open(fabric, "a");
    host.enable();
    let cq = host.buffer(4096);
    host.create_completion(1, 64, cq.iova().0, None).unwrap();
    host.create_submission(1, 64, base, 1, QueuePriority::HIGH).unwrap();
    let data = host.buffer(1 << 20);
    let put = |at: usize, bytes: &[u8]| {
        fickle.bytes.lock().unwrap().0[at..at + bytes.len()].copy_from_slice(bytes);
    };
    let mut rng = Rng::new(6);
    let mut place = 64 << 10;
    let mut commands = Vec::new();
    for slot in 0..40_usize {
        let blocks = 3 + rng.below(200);
        let mut entry = SubmissionEntry::new(NvmOpcode::READ, 1);
        entry.cdw12 = u32::try_from(blocks - 1).unwrap().into();
        let page = |index: u64| data.iova().0 + index * 4096;
        if slot % 3 == 0 {
            for index in 1..blocks {
                put(place + index as usize * 8 - 8, &page(index).to_le_bytes());
            }
            entry.dptr = DataPointer::prp(page(0), base + place as u64);
        } else if slot % 3 == 1 {
            for index in 0..blocks {
                let block = SglDescriptor::data_block(page(index), 4096);
                put(place + index as usize * 16, zerocopy::IntoBytes::as_bytes(&block));
            }
            let len = u32::try_from(blocks * 16).unwrap();
            let list = SglDescriptor::last_segment(base + place as u64, len);
            entry.dptr = DataPointer::sgl(list);
            let psdt = DataTransfer::SGL_METADATA_BUFFER;
            entry.cdw0.set(entry.cdw0.get().with_psdt(psdt));
        } else {
            entry = SubmissionEntry::new(NvmOpcode::DATASET_MANAGEMENT, 1);
            (entry.cdw10, entry.cdw11) = (255.into(), 4.into());
            put(place, &[0; 4096]);
            entry.dptr = DataPointer::prp(base + place as u64, 0);
        }
        entry.set_cid(u16::try_from(slot).unwrap());
        put(slot * 64, &entry.to_bytes());
        commands.push(entry);
        place += 8192;
    }
    fickle.bytes.lock().unwrap().1.fill(0);
    host.ring_tail(1, 40);
    host.settle();
    for (slot, command) in commands.iter().enumerate() {
        let entry: [u8; 16] = cq.memory().read_value(slot * 16).unwrap();
        assert_eq!((entry[12], entry[14], entry[15]), (slot as u8, 1, 0), "{command}");
    }
    let counts = &fickle.bytes.lock().unwrap().1;
    let most = counts.iter().max().unwrap();
    let read = counts.iter().filter(|count| **count > 0).count();
    println!("control bytes read: {read}, twice: 0");
    assert_eq!(*most, 1);
    assert!(read > 40 * 64);
}

/// One more command than the device may have outstanding waits, whatever the host's queues hold.
#[test]
fn bounded_outstanding_commands() {
    let service = ServiceTime { latency: Duration::from_micros(50), bytes_per_second: 0 };
    let mut config = small(ControllerConfig { max_outstanding: 5, ..ControllerConfig::default() });
    config.subsystem.timing = Some(MediaTiming { read: service, write: service, units: 64 });
    let mut host = Host::with(config);
    let buffer = host.buffer(4096);
    for lba in 0..60 {
        let entry = host.rw(NvmOpcode::READ, 1, lba, 1, &buffer);
        host.io[0].push(entry);
    }
    host.ring_tail(1, host.io[0].tail);
    assert!(host.fabric.step());
    // All of the first five at 50 µs, then the next.
    let mut waves = Vec::new();
    while host.fabric.step() {
        let count = std::iter::from_fn(|| host.io[0].pop())
            .inspect(|entry| assert!(outcome(entry).is_ok()))
            .count();
        if count > 0 {
            waves.push(count);
        }
    }
    assert_eq!(waves, [5; 12]);
}
