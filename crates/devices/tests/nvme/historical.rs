//! Bugs that other emulators, drivers and devices had, each by its number or in plain words. More of them are
//! in the files of what they are about; `docs/historical-bugs.md` lists all.

use p2pdma_devices::data_mover::registers::{Descriptor, offset as mover};
use p2pdma_devices::nvme::{
    ControllerConfig, MediaTiming, NamespaceConfig, NvmeConfig, NvmeController, ServiceTime,
    SubsystemConfig,
};
use p2pdma_devices::{BarMemoryConfig, BarMemoryDevice, DataMover, DataMoverConfig};
use p2pdma_fabric::{Endpoint as _, Timing, TimingModel};
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{BarIndex, ConfigSpace, Duration, Function as _, Width};
use p2pdma_spec::nvme::NSID_ALL;
use p2pdma_spec::nvme::admin::{AdminOpcode, Cns, CreateQueueCdw10, LogPageRequest, QueuePriority};
use p2pdma_spec::nvme::feature::FeatureId;
use p2pdma_spec::nvme::identify::IdentifyController;
use p2pdma_spec::nvme::log::{CommandsEffects, LogPageId};
use p2pdma_spec::nvme::namespace::IdentifyNamespace;
use p2pdma_spec::nvme::nvm::{CopyCdw12, CopyRange2, DatasetRange, NvmOpcode};
use p2pdma_spec::nvme::queue::{DataPointer, DataTransfer, SubmissionEntry};
use p2pdma_spec::nvme::registers::{Aqa, Cap, offset, submission_doorbell};
use p2pdma_spec::nvme::sgl::SglDescriptor;
use p2pdma_spec::nvme::status::Status;
use p2pdma_spec::pci::capability::ExtendedCapabilityId;

use crate::host::{Board, Host, Queue, Rng, contents, fill, outcome};

fn small() -> NvmeConfig {
    let namespace = NamespaceConfig { blocks: 1024, ..NamespaceConfig::default() };
    let subsystem = SubsystemConfig {
        namespaces: vec![namespace],
        max_namespaces: 16,
        spare_capacity: 8 << 20,
        ..SubsystemConfig::default()
    };
    NvmeConfig { subsystem, ..NvmeConfig::default() }
}

fn with_controller(controller: ControllerConfig) -> NvmeConfig {
    NvmeConfig { controller, ..small() }
}

/// Lets at most so many events happen; false if more would.
fn settles(host: &Host, events: u32) -> bool {
    (0..events).any(|_| !host.fabric.step())
}

/// CVE-2024-3446: what a device has put off must not enter it, or another, while it runs. A controller's
/// reads ring a data mover, whose copies ring the controller, by doorbells, timers and bells; with time and
/// without. Both get on, a third device too, and the work per event is bounded.
#[test]
fn cve_2024_3446_devices_of_two_kinds_that_wake_each_other() {
    for timing in [Timing::Ideal, Timing::Modelled(TimingModel::default())] {
        let mut board = Board::new(IommuMode::Off, timing);
        board.plug("a", NvmeController::new(small()).unwrap());
        board.plug("b", NvmeController::new(small()).unwrap());
        board.plug("m", DataMover::new(DataMoverConfig::default()).unwrap());
        let fabric = board.build();
        let open = |name| {
            let mut host = Host::open(fabric.clone(), name);
            host.enable();
            host.create_queue(64);
            host
        };
        let (mut host, mut victim) = (open("a"), open("b"));
        let function = fabric.open(fabric.find("m").unwrap()).unwrap();
        function.config().write(4, Width::Word, 6).unwrap();
        let engine = function.map_bar(BarIndex::ZERO).unwrap();
        let rings = host.buffer(8192);
        // Block n has the mover's tail n + 1; descriptor n copies the controller's tail n + 2.
        let (page, tails) = (host.buffer(4096), host.buffer(4096));
        let doorbell = host.bar.address().0 + submission_doorbell(1, 0);
        for index in 0..64_u32 {
            page.memory().write(0, &((index + 1) % 64).to_le_bytes()).unwrap();
            host.write(1, u64::from(index), 1, &page).unwrap();
            tails.memory().write(index as usize * 4, &((index + 2) % 64).to_le_bytes()).unwrap();
        }
        host.io[0] = Queue::new(&host.function, 1, 64);
        host.disable();
        host.enable();
        host.create_queue(64);
        for index in 0..64_u64 {
            let mut read = SubmissionEntry::new(NvmOpcode::READ, 1);
            read.set_cdw10_11(index);
            let list = host.buffer(32);
            let ring = SglDescriptor::data_block(engine.address().0 + mover::TAIL, 4);
            list.memory().write_value(0, &ring).unwrap();
            list.memory().write_value(16, &SglDescriptor::bit_bucket(4092)).unwrap();
            read.dptr = DataPointer::sgl(SglDescriptor::last_segment(list.iova().0, 32));
            std::mem::forget(list);
            let psdt = DataTransfer::SGL_METADATA_BUFFER;
            read.cdw0.set(read.cdw0.get().with_psdt(psdt));
            host.io[0].push(read);
            let descriptor = Descriptor {
                source: (tails.iova().0 + index * 4).into(),
                target: doorbell.into(),
                length: 4.into(),
                ..Descriptor::default()
            };
            rings.memory().write_value(index as usize * 32, &descriptor).unwrap();
        }
        engine.write64(mover::RING, rings.iova().0).unwrap();
        engine.write64(mover::COMPLETIONS, rings.iova().0 + 4096).unwrap();
        engine.write32(mover::ENTRIES, 64).unwrap();
        engine.write32(mover::CONTROL, 1).unwrap();
        host.ring_tail(1, 1);
        let buffer = victim.buffer(4096);
        for lba in 0..30 {
            fill(buffer.memory(), lba);
            let written = contents(buffer.memory());
            victim.write(1, lba, 1, &buffer).unwrap();
            victim.read(1, lba, 1, &buffer).unwrap();
            assert!(contents(buffer.memory()) == written);
        }
        // Nobody takes the completions, so that it ends when their queue is full.
        assert!(settles(&host, 10_000));
        let rung = std::iter::from_fn(|| host.io[0].pop()).count();
        assert!(rung > 40, "{rung} rounds");
        println!("rounds: {rung}");
    }
}

/// CVE-2026-17588: every pointer of a command, and queues, aimed at the controller's own MSI-X table and
/// pending bits. The table is as it was, and interrupts come.
#[test]
fn cve_2026_17588_dma_to_own_msix_table_and_pending_bits() {
    let msix = NvmeController::new(small()).unwrap().describe().msix.unwrap();
    let mut attacks = 0;
    for place in [msix.table, msix.table + 16, msix.pending] {
        for shape in 0..6 {
            let mut board = Board::new(IommuMode::Off, Timing::Ideal);
            board.plug("a", NvmeController::new(small()).unwrap());
            let mut host = Host::open(board.build(), "a");
            let line = host.function.interrupt(0).unwrap();
            host.enable();
            host.create_queue(16);
            let table = |host: &Host| {
                let mut bytes = vec![0; 2048];
                host.bar.read(msix.table, &mut bytes[..1040]).unwrap();
                host.bar.read(msix.pending, &mut bytes[1040..1056]).unwrap();
                bytes
            };
            let before = table(&host);
            let at = host.bar.address().0 + place;
            let mut entry = SubmissionEntry::new(NvmOpcode::READ, 1);
            match shape {
                0 => entry.dptr = DataPointer::prp(at, 0),
                1 => entry.dptr = DataPointer::prp(host.buffer(4096).iova().0, at & !0xFFF),
                2 => {
                    entry.cdw12 = 3.into();
                    entry.dptr = DataPointer::prp(host.buffer(4096).iova().0, at);
                }
                3 => {
                    let few = host.buffer(4096);
                    few.memory().write_value(0, &SglDescriptor::data_block(at, 16)).unwrap();
                    few.memory().write_value(16, &SglDescriptor::bit_bucket(4080)).unwrap();
                    entry.dptr = DataPointer::sgl(SglDescriptor::last_segment(few.iova().0, 32));
                    let psdt = DataTransfer::SGL_METADATA_BUFFER;
                    entry.cdw0.set(entry.cdw0.get().with_psdt(psdt));
                    std::mem::forget(few);
                }
                4 => {
                    let _ = host.create_completion(2, 16, at & !0xFFF, Some(1));
                    let _ = host.create_submission(2, 16, at & !0xFFF, 2, QueuePriority::LOW);
                    host.ring_tail(2, 3);
                }
                _ => {
                    let mut config = SubmissionEntry::new(AdminOpcode::DOORBELL_BUFFER_CONFIG, 0);
                    config.dptr = DataPointer::prp(at & !0xFFF, at & !0xFFF);
                    let _ = host.admin(config);
                }
            }
            host.io[0].push(entry);
            host.ring_tail(1, host.io[0].tail);
            assert!(settles(&host, 10_000));
            assert!(table(&host) == before, "{place:#x} {shape}");
            host.disable();
            let _ = line.take();
            host.enable();
            host.admin(SubmissionEntry::new(AdminOpcode::KEEP_ALIVE, 0)).unwrap();
            assert_eq!(line.take(), 1);
            attacks += 1;
        }
    }
    println!("attacks on own MSI-X: {attacks}");
}

/// CVE-2024-26327, CVE-2024-26328, CVE-2025-54566, CVE-2025-54567 are about NumVFs and VF Enable in every
/// order. There are no virtual functions here: no function announces them, what would be their registers
/// takes no writes, and the controller knows none of their commands.
#[test]
fn cve_2024_26327_cve_2024_26328_cve_2025_54566_cve_2025_54567_there_is_no_sr_iov() {
    let mut board = Board::new(IommuMode::Off, Timing::Ideal);
    board.plug("nvme", NvmeController::new(small()).unwrap());
    board.plug("memory", BarMemoryDevice::new(BarMemoryConfig::default()).unwrap());
    board.plug("mover", DataMover::new(DataMoverConfig::default()).unwrap());
    let fabric = board.build();
    let mut writes = 0;
    for name in ["nvme", "memory", "mover"] {
        let function = fabric.open(fabric.find(name).unwrap()).unwrap();
        let config = function.config();
        let listed = config.extended_capability(ExtendedCapabilityId::SINGLE_ROOT_IOV).unwrap();
        assert_eq!(listed, None, "{name}");
        let multi = config.extended_capability(ExtendedCapabilityId::MULTI_ROOT_IOV).unwrap();
        assert_eq!(multi, None, "{name}");
        // Behind the last extended capability nothing can be written, whatever might be there.
        let mut last = 0x100;
        while let next @ 1.. = config.read(last, Width::Dword).unwrap() >> 20 {
            last = u16::try_from(next).unwrap();
        }
        let behind = last + 0x60;
        let image = || -> Vec<u32> {
            (0..4096).step_by(4).map(|at| config.read(at, Width::Dword).unwrap()).collect()
        };
        let before = image();
        for at in (behind..4096).step_by(4) {
            for (width, value) in [
                (Width::Dword, u32::MAX),
                (Width::Dword, 0),
                (Width::Word, 1),
                (Width::Word, 0xFFFF),
                (Width::Byte, 0x1F),
            ] {
                config.write(at, width, value).unwrap();
                assert_eq!(config.read(at, Width::Dword).unwrap(), 0, "{name} at {at:#x}");
                writes += 1;
            }
        }
        assert_eq!(image(), before);
        // No other function has come to be, on this bus or behind it.
        assert_eq!(fabric.functions().len(), 3);
        for number in 1..8 {
            let neighbour = p2pdma_pci::Bdf::from_requester(
                function.bdf().domain(),
                function.bdf().requester() | number,
            );
            assert_eq!(fabric.config(neighbour).read(0, Width::Dword).unwrap(), u32::MAX);
        }
    }
    let mut host = Host::open(fabric, "nvme");
    host.enable();
    let identify: IdentifyController = host.identify(Cns::CONTROLLER, 0).unwrap();
    assert!(!identify.oacs.get().vms());
    assert_eq!(identify.cmic.into_bits(), 0);
    for cns in [0x14, 0x15] {
        let refused = host.identify_bytes(Cns::from_bits(cns), 0, 0, 0);
        assert_eq!(refused.unwrap_err(), Status::INVALID_FIELD);
    }
    let mut management = SubmissionEntry::new(AdminOpcode::VIRTUALIZATION_MANAGEMENT, 0);
    for action in 0..16 {
        management.cdw10 = action.into();
        assert_eq!(host.admin(management), Err(Status::INVALID_OPCODE));
    }
    println!("writes to where SR-IOV would be: {writes}");
}

/// Lengths as large as their fields allow: refused, or ended by the end of what is there. Nothing is
/// allocated or moved for them.
#[test]
fn huge_lengths() {
    for mdts in [0, 1, 8, 16] {
        let mut host =
            Host::with(with_controller(ControllerConfig { mdts, ..ControllerConfig::default() }));
        let buffer = host.buffer(4096);
        fill(buffer.memory(), 1);
        let at = buffer.iova().0;
        let mut commands = 0;
        // Blocks: all that a namespace has is less than 65 536.
        for opcode in [NvmOpcode::READ, NvmOpcode::WRITE, NvmOpcode::COMPARE, NvmOpcode::VERIFY] {
            let mut entry = host.rw(opcode, 1, 0, 1, &buffer);
            entry.cdw12 = 0xFFFF.into();
            assert_eq!(host.io(entry), Err(Status::LBA_OUT_OF_RANGE), "{opcode}");
            commands += 1;
        }
        // Data and segments of an SGL, up to 4 GiB.
        for length in [1 << 31, u32::MAX - 15, u32::MAX] {
            for kind in 0..3 {
                let descriptor = match kind {
                    0 => SglDescriptor::data_block(at, length),
                    1 => SglDescriptor::segment(at, length),
                    _ => SglDescriptor::last_segment(at, length),
                };
                let mut entry = SubmissionEntry::new(NvmOpcode::WRITE, 1);
                entry.dptr = DataPointer::sgl(descriptor);
                let psdt = DataTransfer::SGL_METADATA_BUFFER;
                entry.cdw0.set(entry.cdw0.get().with_psdt(psdt));
                let before = host.fabric.events();
                let result = host.io(entry);
                // More data than the block needs is allowed (SGLS); the rest is not looked at.
                assert_eq!(result.is_ok(), kind == 0, "{kind} {length:#x}");
                assert!(host.fabric.events() - before < 100);
                commands += 1;
            }
        }
        // Log pages and firmware of up to 16 GiB. Without MDTS 4 GiB may be asked for, but the second page
        // of the list leads nowhere.
        for numd_z in [(1 << 30) - 1, 1 << 30, u32::MAX] {
            let log = LogPageRequest { numd_z, ..LogPageRequest::new(LogPageId::SMART_HEALTH, 1) };
            let mut entry = log.command(0);
            entry.dptr = DataPointer::prp(at, !0xFFF);
            assert!(host.admin(entry).is_err());
            let mut download = SubmissionEntry::new(AdminOpcode::FIRMWARE_IMAGE_DOWNLOAD, 0);
            download.cdw10 = numd_z.into();
            download.dptr = DataPointer::prp(at, !0xFFF);
            assert!(host.admin(download).is_err());
            commands += 2;
        }
        host.write(1, 0, 1, &buffer).unwrap();
        println!("MDTS {mdts}: {commands} commands");
    }
}

/// CVE-2025-57275: a report of more registrants than its buffer holds. There are no reservations: Identify
/// says so, the log of commands says so, and every command, feature and log page about them is refused,
/// whatever it asks for.
#[test]
fn cve_2025_57275_reservations_are_absent_and_say_so() {
    let mut host = Host::with(small());
    let identify: IdentifyController = host.identify(Cns::CONTROLLER, 0).unwrap();
    assert!(!identify.oncs.get().reservs());
    let namespace: IdentifyNamespace = host.identify(Cns::NAMESPACE, 1).unwrap();
    assert_eq!(namespace.rescap.into_bits(), 0);
    let effects: CommandsEffects = host.log(LogPageId::COMMANDS_EFFECTS, 0);
    let mut rng = Rng::new(1);
    let guarded = host.buffer(16_384);
    fill(guarded.memory(), 3);
    let before = contents(guarded.memory());
    let mut commands = 0;
    for opcode in [
        NvmOpcode::RESERVATION_REGISTER,
        NvmOpcode::RESERVATION_REPORT,
        NvmOpcode::RESERVATION_ACQUIRE,
        NvmOpcode::RESERVATION_RELEASE,
    ] {
        assert!(!effects.io[usize::from(opcode.into_bits())].get().csupp(), "{opcode}");
        for _ in 0..100 {
            let mut entry = SubmissionEntry::new(opcode, rng.pick(&[0, 1, 2, NSID_ALL]));
            // As many dwords as a report of 65 535 registrants has, among others.
            entry.cdw10 = rng.pick(&[0, 1, 15, 0x0010_0000, u32::MAX]).into();
            entry.cdw11 = rng.pick(&[0, 1, 8, 0x1FF, u32::MAX]).into();
            entry.dptr = DataPointer::prp(guarded.iova().0 + 4096, guarded.iova().0 + 8192);
            assert_eq!(host.io(entry), Err(Status::INVALID_OPCODE), "{opcode}");
            commands += 1;
        }
    }
    for feature in [0x82, 0x83] {
        let id = FeatureId::from_bits(feature);
        assert_eq!(host.set_feature(id, false, 1, 0), Err(Status::INVALID_FIELD));
        let select = p2pdma_spec::nvme::admin::Select::CURRENT;
        assert_eq!(host.get_feature(id, select, 1, 0), Err(Status::INVALID_FIELD));
    }
    let log = LogPageRequest::new(LogPageId::RESERVATION_NOTIFICATION, 16);
    assert_eq!(host.log_part(log, 0, 64).0, Err(Status::INVALID_LOG_PAGE));
    assert!(contents(guarded.memory()) == before);
    println!("reservation commands: {commands}");
}

/// Queues of every size around CAP.MQES and the ends of its field: the register, Create I/O Queue and the
/// admin queues' register agree, and a queue's end may not pass the end of the address space.
#[test]
fn queue_size_and_mqes() {
    let mut queues = 0;
    for entries in [2, 3, 16, 255, 256, 1024, 4096, 65_535, 65_536_u32] {
        let controller =
            ControllerConfig { max_queue_entries: entries, ..ControllerConfig::default() };
        let mut host = Host::bare(with_controller(controller));
        host.enable();
        let cap = Cap::from_bits(host.bar.read64(offset::CAP).unwrap());
        assert_eq!(u32::from(cap.mqes_z()) + 1, entries);
        let base = 0x10_0000_0000;
        host.create_completion(1, entries, base, None).unwrap();
        for size_z in [0, 1, 2, 14, 15, 254, 255, 1022, 1023, 1024, 4095, 65_534, 65_535_u16] {
            let size = u32::from(size_z) + 1;
            let expected =
                if (2..=entries).contains(&size) { Ok(0) } else { Err(Status::INVALID_QUEUE_SIZE) };
            for opcode in
                [AdminOpcode::CREATE_COMPLETION_QUEUE, AdminOpcode::CREATE_SUBMISSION_QUEUE]
            {
                let mut entry = SubmissionEntry::new(opcode, 0);
                entry.dptr = DataPointer::prp(base, 0);
                entry.cdw10 = CreateQueueCdw10::new().with_qid(2).with_qsize_z(size_z).into();
                entry.cdw11 = (1 << 16 | 1).into();
                assert_eq!(host.admin(entry), expected, "{opcode} of {size} of {entries}");
                queues += 1;
            }
            if expected.is_ok() {
                host.delete(AdminOpcode::DELETE_SUBMISSION_QUEUE, 2).unwrap();
                host.delete(AdminOpcode::DELETE_COMPLETION_QUEUE, 2).unwrap();
            }
        }
        // The last page of the address space holds what fits in it.
        for (size, fits) in [(2, true), (255, true), (256, false), (entries, entries < 256)] {
            let fits = fits && size <= entries;
            let result = host.create_completion(3, size.min(65_536), !0xFFF, None);
            assert_eq!(result.is_ok(), fits, "{size} entries at the end");
            if fits {
                host.delete(AdminOpcode::DELETE_COMPLETION_QUEUE, 3).unwrap();
            }
        }
    }
    // Admin queues of every size that their register can say: from 2 to 4096.
    for (asqs_z, acqs_z, starts) in
        [(0, 0, false), (0, 1, false), (1, 0, false), (1, 1, true), (4095, 4095, true)]
    {
        let mut host = Host::bare(small());
        host.program_admin();
        let aqa = Aqa::new().with_asqs_z(asqs_z).with_acqs_z(acqs_z);
        host.bar.write32(offset::AQA, aqa.into_bits()).unwrap();
        host.set_cc(Host::plain_cc().with_en(true));
        assert_eq!((host.csts().rdy(), host.csts().cfs()), (starts, !starts));
    }
    println!("queues: {queues}");
}

/// Numbers of blocks and of ranges whose sums pass every width: Copy and Dataset Management. The other
/// commands are in `nlb_overflow_in_every_command_on_blocks`.
#[test]
fn nlb_overflow_in_copy_and_dataset_management() {
    let mut host = Host::with(small());
    let (data, list) = (host.buffer(4096), host.buffer(8192));
    let mut commands = 0;
    let starts = [0, 1, 1023, 1024, 1 << 32, 1 << 63, u64::MAX - 65_535, u64::MAX - 1, u64::MAX];
    for start in starts {
        for count in [1, 2, 1024, 1025, 65_536, 1 << 31, u32::MAX] {
            let inside = u128::from(start) + u128::from(count) <= 1024;
            // One range, and 256 of the same, whose blocks together are up to a trillion.
            for ranges in [1, 256] {
                for index in 0..ranges {
                    let range = DatasetRange {
                        llb: count.into(),
                        slba: start.into(),
                        ..DatasetRange::default()
                    };
                    list.memory().write_value(index * 16, &range).unwrap();
                }
                let mut entry = host.rw(NvmOpcode::DATASET_MANAGEMENT, 1, 0, 1, &data);
                entry.dptr = DataPointer::prp(list.iova().0, 0);
                let flags = if inside { 3 } else { 4 };
                (entry.cdw10, entry.cdw11) = ((ranges as u32 - 1).into(), flags.into());
                let expected = if inside { Ok(0) } else { Err(Status::LBA_OUT_OF_RANGE) };
                assert_eq!(host.io(entry), expected, "{start} {count} {ranges}");
                commands += 1;
            }
        }
    }
    for start in starts {
        for nlb_z in [0, 1, 4095, 4096, u16::MAX] {
            for target in [0, 600, 1024, 1 << 63, u64::MAX - 4096, u64::MAX] {
                for ranges in [1, 2, 128_u8] {
                    for index in 0..usize::from(ranges) {
                        let range = CopyRange2 {
                            nlb_z: nlb_z.into(),
                            slba: start.into(),
                            ..p2pdma_spec::nvme::nvm::CopyRange2::default()
                        };
                        list.memory().write_value(index * 32, &range).unwrap();
                    }
                    let mut entry = SubmissionEntry::new(NvmOpcode::COPY, 1);
                    entry.set_cdw10_11(target);
                    entry.cdw12 = CopyCdw12::new().with_nr_z(ranges - 1).into();
                    entry.dptr = DataPointer::prp(list.iova().0, 0);
                    let blocks = (u128::from(nlb_z) + 1) * u128::from(ranges);
                    let fits = |at: u64, count: u128| u128::from(at) + count <= 1024;
                    let apart = u128::from(start) + u128::from(nlb_z) < u128::from(target)
                        || u128::from(target) + blocks <= u128::from(start);
                    let possible = nlb_z < 4096
                        && blocks <= 16_384
                        && fits(target, blocks)
                        && fits(start, u128::from(nlb_z) + 1)
                        && apart;
                    let result = host.io(entry);
                    assert_eq!(result.is_ok(), possible, "{start} {nlb_z} {target} {ranges}");
                    commands += 1;
                }
            }
        }
    }
    println!("commands: {commands}");
}

/// A submission queue names a completion queue that exists: of all 65 536 identifiers, one does here.
#[test]
fn completion_queue_identifiers_that_cannot_be() {
    let mut host = Host::bare(small());
    host.enable();
    let (sq, cq) = (host.buffer(4096), host.buffer(4096));
    host.create_completion(7, 16, cq.iova().0, None).unwrap();
    let mut counts = [0; 3];
    for cqid in 0..=u16::MAX {
        let created = host.create_submission(1, 16, sq.iova().0, cqid, QueuePriority::LOW);
        match created {
            Ok(_) => {
                assert_eq!(cqid, 7);
                counts[0] += 1;
                host.delete(AdminOpcode::DELETE_SUBMISSION_QUEUE, 1).unwrap();
            }
            Err(status) => {
                let possible = (1..=64).contains(&cqid);
                counts[if possible { 1 } else { 2 }] += 1;
                let expected = if possible {
                    Status::COMPLETION_QUEUE_INVALID
                } else {
                    Status::INVALID_QUEUE_IDENTIFIER
                };
                assert_eq!(status, expected, "{cqid}");
            }
        }
    }
    assert_eq!(counts, [1, 63, 65_472]);
    println!("completion queue identifiers: {counts:?} (good, not there, impossible)");
}

/// A queue is deleted after any event, with commands in flight in every stage: when the deletion is
/// complete, every command has its completion, and no byte of memory changes any more.
#[test]
fn no_dma_after_a_queue_is_deleted_at_any_event() {
    let service = ServiceTime { latency: Duration::from_micros(10), bytes_per_second: 1 << 30 };
    let mut deletions = 0;
    for events in 0.. {
        let mut config = small();
        let timing = MediaTiming { read: service, write: service, units: 3 };
        config.subsystem.timing = Some(timing);
        let timing = Timing::Modelled(TimingModel::default());
        let mut board = Board::new(IommuMode::Translate, timing);
        board.plug("nvme0", NvmeController::new(config).unwrap());
        let mut host = Host::open(board.build(), "nvme0");
        host.enable();
        let mut queue = Queue::new(&host.function, 1, 64);
        host.create_completion(1, 64, queue.cq.iova().0, Some(0)).unwrap();
        host.create_submission(1, 64, queue.sq.iova().0, 1, QueuePriority::MEDIUM).unwrap();
        let target = host.buffer(16 * 4096);
        fill(target.memory(), 1);
        for page in 0..16 {
            let opcode = if page % 4 == 3 { NvmOpcode::WRITE } else { NvmOpcode::READ };
            let mut entry = SubmissionEntry::new(opcode, 1);
            entry.set_cdw10_11(page);
            entry.dptr = DataPointer::prp(target.iova().0 + page * 4096, 0);
            queue.push(entry);
        }
        host.ring_tail(1, queue.tail);
        let mut more = true;
        for _ in 0..events {
            more = host.fabric.step();
        }
        let mut delete = SubmissionEntry::new(AdminOpcode::DELETE_SUBMISSION_QUEUE, 0);
        delete.cdw10 = 1.into();
        host.admin.push(delete);
        host.ring_tail(0, host.admin.tail);
        let done = loop {
            if let Some(done) = host.admin.pop() {
                break done;
            }
            assert!(host.fabric.step());
        };
        assert_eq!(outcome(&done), Ok(0));
        let before = [&target, &queue.cq].map(|buffer| contents(buffer.memory()));
        let completed: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        for entry in &completed {
            let result = outcome(entry);
            assert!(matches!(result, Ok(0) | Err(Status::ABORTED_SQ_DELETION)), "{result:?}");
        }
        // What was never fetched has no completion.
        assert!(completed.len() == 16 || completed.is_empty(), "{}", completed.len());
        host.settle();
        assert!(before == [&target, &queue.cq].map(|buffer| contents(buffer.memory())));
        deletions += 1;
        if !more {
            break;
        }
    }
    println!("deletions: {deletions}");
    assert!(deletions > 15);
}

/// NSID 0, identifiers beyond NN, and the broadcast value where it means nothing: each admin command that
/// names a namespace has its status. The I/O commands are in `nsid_0_and_beyond_nn_in_every_io_command`.
#[test]
fn nsid_0_and_beyond_nn_in_every_admin_command() {
    let mut host = Host::with(small());
    let invalid = Status::INVALID_NAMESPACE_OR_FORMAT;
    let field = Status::INVALID_FIELD;
    let controllers = host.buffer(4096);
    controllers.memory().write_value(0, &[1_u8, 0, 0, 0]).unwrap();
    let mut commands = 0;
    for nsid in [0, 17, 4096, 4097, 0x7FFF_FFFF, 0x8000_0000, NSID_ALL - 1] {
        let mut check = |opcode: AdminOpcode, cdw10: u32, expected| {
            let mut entry = SubmissionEntry::new(opcode, nsid);
            entry.cdw10 = cdw10.into();
            entry.dptr = DataPointer::prp(controllers.iova().0, 0);
            assert_eq!(host.admin(entry), Err(expected), "{opcode} {nsid:#x} {cdw10:#x}");
            commands += 1;
        };
        check(AdminOpcode::IDENTIFY, 0, invalid);
        check(AdminOpcode::IDENTIFY, 3, invalid);
        check(AdminOpcode::FORMAT_NVM, 1, invalid);
        // Delete; attach; detach.
        check(AdminOpcode::NAMESPACE_MANAGEMENT, 1, invalid);
        check(AdminOpcode::NAMESPACE_ATTACHMENT, 0, invalid);
        check(AdminOpcode::NAMESPACE_ATTACHMENT, 1, invalid);
        // Error recovery and write protection are of a namespace.
        for feature in [5, 0x84] {
            check(AdminOpcode::GET_FEATURES, feature, invalid);
            check(AdminOpcode::SET_FEATURES, feature, invalid);
        }
        if nsid != 0 {
            // Health, of a namespace that cannot be; a feature that is of none.
            check(AdminOpcode::GET_LOG_PAGE, 2, invalid);
            check(AdminOpcode::SET_FEATURES, 1, invalid);
        }
    }
    // One that could be, and is not.
    for (opcode, cdw10) in [
        (AdminOpcode::FORMAT_NVM, 1),
        (AdminOpcode::NAMESPACE_MANAGEMENT, 1),
        (AdminOpcode::NAMESPACE_ATTACHMENT, 0),
        (AdminOpcode::GET_FEATURES, 5),
        (AdminOpcode::SET_FEATURES, 0x84),
        (AdminOpcode::GET_LOG_PAGE, 2),
    ] {
        let mut entry = SubmissionEntry::new(opcode, 16);
        entry.cdw10 = cdw10.into();
        entry.dptr = DataPointer::prp(controllers.iova().0, 0);
        assert_eq!(host.admin(entry), Err(field), "{opcode}");
        commands += 1;
    }
    println!("commands: {commands}");
}
