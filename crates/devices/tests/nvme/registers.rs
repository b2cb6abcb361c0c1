//! Registers: values, sizes of access, enabling, resetting, shutting down.

use p2pdma_devices::nvme::{ControllerConfig, NvmeConfig};
use p2pdma_fabric::{Fault, FaultKind, Site};
use p2pdma_pci::{Clock as _, Duration, Function as _};
use p2pdma_spec::nvme::admin::{AdminOpcode, Cns, IdentifyCdw10};
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::registers::{
    Aqa, Arbitration, Cap, Cc, CommandSetSelection, NSSR_RESET, ShutdownNotification,
    ShutdownStatus, Vs, offset,
};

use crate::host::{Host, contents, fill};

fn config(controller: ControllerConfig) -> NvmeConfig {
    NvmeConfig { controller, ..NvmeConfig::default() }
}

#[test]
fn capabilities_say_what_the_configuration_says() {
    let host = Host::bare(config(ControllerConfig {
        max_queue_entries: 65_536,
        doorbell_stride: 3,
        max_page_size: 2,
        ready_after: Duration::from_millis(1700),
        weighted_round_robin: false,
        ..ControllerConfig::default()
    }));
    let cap = Cap::from_bits(host.bar.read64(offset::CAP).unwrap());
    assert_eq!((cap.max_queue_entries(), cap.dstrd()), (65_536, 3));
    assert_eq!((cap.min_page_size(), cap.max_page_size()), (4096, 16_384));
    assert!(cap.css_nvm() && cap.cqr() && !cap.ams_weighted_round_robin());
    assert!(!cap.cmbs() && !cap.pmrs());
    assert_eq!(cap.timeout_ms(), 2000);
    assert_eq!(host.bar.read32(offset::VS).unwrap(), Vs::V2_1.into_bits());
    assert_eq!(host.bar.read32(offset::CRTO).unwrap(), 4);
    for absent in [offset::CMBLOC, offset::CMBSZ, offset::CMBSTS, offset::PMRCAP, offset::PMRSTS] {
        assert_eq!(host.bar.read32(absent).unwrap(), 0);
    }
}

/// Every register at every offset within it and in every size reads the bytes of the whole.
#[test]
fn reads_of_any_size_at_any_place_agree() {
    let host = Host::with(NvmeConfig::default());
    let mut whole = vec![0; 0x1000];
    host.bar.read(0, &mut whole).unwrap();
    let mut cases = 0;
    for at in 0..0x120_usize {
        for len in 1..17 {
            let mut part = vec![0; len];
            host.bar.read(at as u64, &mut part).unwrap();
            assert_eq!(part, whole[at..at + len], "{len} bytes at {at:#x}");
            cases += 1;
        }
    }
    println!("register reads: {cases}");
}

/// Writes of sizes that no register has change nothing.
#[test]
fn odd_writes_are_harmless() {
    let mut host = Host::with(NvmeConfig::default());
    let mut before = vec![0; 0x70];
    host.bar.read(0, &mut before).unwrap();
    let mut cases = 0;
    for at in 0..0x70_u64 {
        for len in [1, 2, 3, 5, 6, 7, 9, 12, 16, 64, 4096] {
            host.bar.write(at, &vec![0xFF; len]).unwrap();
            cases += 1;
        }
        if !at.is_multiple_of(4) {
            host.bar.write(at, &[0xFF; 4]).unwrap();
            host.bar.write(at, &[0xFF; 8]).unwrap();
            cases += 2;
        }
    }
    host.settle();
    let mut after = vec![0; 0x70];
    host.bar.read(0, &mut after).unwrap();
    assert_eq!(before, after);
    let buffer = host.buffer(4096);
    host.read(1, 0, 1, &buffer).unwrap();
    println!("odd writes: {cases}");
}

/// Every register written with its bounds, in every order of two: the controller can still be brought up.
#[test]
fn any_values_in_any_register_leave_a_controller_that_can_be_reset() {
    let mut host = Host::bare(NvmeConfig::default());
    let values = [0, 1, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF, NSSR_RESET];
    let mut cases = 0;
    for first in (0..0x70).step_by(4).chain((0xE00..0xE20).step_by(4)) {
        for value in values {
            host.bar.write32(first, value).unwrap();
            host.bar.write32(offset::CC, value.rotate_left(1)).unwrap();
            host.bar.write32(offset::DOORBELLS, value).unwrap();
            host.settle();
            cases += 1;
        }
    }
    host.disable();
    host.enable();
    host.create_queue(4);
    println!("register writes: {cases}");
}

#[test]
fn masks_are_kept_and_do_nothing() {
    let mut host = Host::with(NvmeConfig::default());
    host.bar.write32(offset::INTMS, 0xF0F0).unwrap();
    host.bar.write32(offset::INTMC, 0x00F0).unwrap();
    assert_eq!(host.bar.read32(offset::INTMS).unwrap(), 0xF000);
    assert_eq!(host.bar.read32(offset::INTMC).unwrap(), 0xF000);
    let line = host.function.interrupt(0).unwrap();
    let _ = line.take();
    let buffer = host.buffer(4096);
    host.read(1, 0, 1, &buffer).unwrap();
    assert_eq!(line.take(), 1);
}

#[test]
fn what_cannot_start_is_fatal_until_it_is_disabled() {
    let plain = Host::plain_cc().with_en(true);
    let cases = [
        plain.with_mps(5),
        plain.with_mps(15),
        plain.with_css(CommandSetSelection::from_bits(1)),
        plain.with_ams(Arbitration::from_bits(2)),
        plain.with_ams(Arbitration::VENDOR_SPECIFIC),
    ];
    for cc in cases {
        let mut host = Host::bare(NvmeConfig::default());
        host.program_admin();
        host.set_cc(cc);
        assert!(host.csts().cfs() && !host.csts().rdy(), "{cc}");
        host.disable();
        assert!(!host.csts().cfs());
        host.enable();
    }
    for (asqs_z, acqs_z) in [(0, 63), (63, 0)] {
        let mut host = Host::bare(NvmeConfig::default());
        host.program_admin();
        let aqa = Aqa::new().with_asqs_z(asqs_z).with_acqs_z(acqs_z);
        host.bar.write32(offset::AQA, aqa.into_bits()).unwrap();
        host.set_cc(plain);
        assert!(host.csts().cfs());
    }
    // A page size of 64 KiB, and admin queues that are aligned to 4 KiB only.
    let mut host = Host::bare(NvmeConfig::default());
    host.program_admin();
    host.bar.write64(offset::ASQ, 0x1000).unwrap();
    host.set_cc(plain.with_mps(4));
    assert!(host.csts().cfs());
    // A queue whose end lies beyond the address space.
    host.disable();
    host.bar.write64(offset::ASQ, 0xFFFF_FFFF_FFFF_F000).unwrap();
    host.set_cc(plain);
    assert!(host.csts().cfs());
}

#[test]
fn admin_queue_registers_are_fixed_while_enabled_and_survive_a_controller_reset() {
    let mut host = Host::with(NvmeConfig::default());
    let before = [offset::ASQ, offset::ACQ].map(|at| host.bar.read64(at).unwrap());
    host.bar.write64(offset::ASQ, 0x10_0000).unwrap();
    host.bar.write32(offset::AQA, 0).unwrap();
    assert_eq!(host.bar.read64(offset::ASQ).unwrap(), before[0]);
    host.disable();
    assert_eq!([offset::ASQ, offset::ACQ].map(|at| host.bar.read64(at).unwrap()), before);
    // Bits 11 to 0 are reserved.
    host.bar.write64(offset::ASQ, 0xABCD_EFFF).unwrap();
    assert_eq!(host.bar.read64(offset::ASQ).unwrap(), 0xABCD_E000);
    // A function-level reset takes them.
    host.function.reset().unwrap();
    assert_eq!(host.bar.read64(offset::ASQ).unwrap(), 0);
}

#[test]
fn a_controller_that_takes_its_time_to_become_ready() {
    let ready_after = Duration::from_millis(300);
    let mut host =
        Host::bare(config(ControllerConfig { ready_after, ..ControllerConfig::default() }));
    host.program_admin();
    let begin = host.fabric.clock().now();
    host.bar.write32(offset::CC, Host::plain_cc().with_en(true).into_bits()).unwrap();
    assert!(!host.csts().rdy());
    // A doorbell that comes too early is not heard.
    host.ring_tail(0, 1);
    while !host.csts().rdy() {
        host.fabric.clock().relax();
    }
    let waited = host.fabric.clock().now().since(begin);
    assert!(waited >= ready_after && waited < ready_after + Duration::from_millis(2));
    host.create_queue(4);
}

#[test]
fn shutdown_completes_and_stops() {
    for notification in [ShutdownNotification::NORMAL, ShutdownNotification::ABRUPT] {
        let mut host = Host::with(NvmeConfig::default());
        host.set_cc(Host::plain_cc().with_en(true).with_shn(notification));
        assert_eq!(host.csts().shst(), ShutdownStatus::COMPLETE);
        let buffer = host.buffer(4096);
        fill(buffer.memory(), 1);
        let entry = host.rw(p2pdma_spec::nvme::nvm::NvmOpcode::READ, 1, 0, 1, &buffer);
        host.io[0].push(entry);
        host.ring_tail(1, 1);
        assert!(host.drain(0).is_empty());
        host.disable();
        assert_eq!(host.csts().shst(), ShutdownStatus::NORMAL_OPERATION);
        host.enable();
        host.create_queue(4);
    }
}

#[test]
fn a_subsystem_reset_is_reported_until_it_is_cleared() {
    let mut host = Host::with(NvmeConfig::default());
    host.bar.write32(offset::NSSR, 1).unwrap();
    assert!(host.csts().rdy());
    host.bar.write32(offset::NSSR, NSSR_RESET).unwrap();
    let csts = host.csts();
    assert!(csts.nssro() && !csts.rdy());
    assert_eq!(host.bar.read32(offset::CC).unwrap(), 0);
    host.bar.write32(offset::CSTS, csts.into_bits()).unwrap();
    assert!(!host.csts().nssro());
    host.enable();
}

#[test]
fn without_an_io_command_set_only_admin_commands_work() {
    let mut host = Host::bare(NvmeConfig::default());
    host.enable_with(Host::plain_cc().with_css(CommandSetSelection::ADMIN_ONLY));
    host.create_queue(8);
    let buffer = host.buffer(4096);
    let status = host.read(1, 0, 1, &buffer).unwrap_err();
    assert_eq!(status, p2pdma_spec::nvme::status::Status::INVALID_OPCODE);
}

/// A queue that cannot be reached makes the controller give up; a reset brings it back.
#[test]
fn unreachable_queues_are_fatal() {
    let mut host = Host::with(NvmeConfig::default());
    let bdf = host.function.bdf();
    for kind in [FaultKind::UnsupportedRequest, FaultKind::CompletionTimeout] {
        let site = Site::Read(bdf, Some(p2pdma_fabric::PayloadClass::Control));
        host.fabric.inject(Fault { site, index: 0, kind });
        let mut entry = SubmissionEntry::new(AdminOpcode::IDENTIFY, 0);
        entry.cdw10 = IdentifyCdw10::new().with_cns(Cns::CONTROLLER).into();
        host.admin.push(entry);
        host.ring_tail(0, host.admin.tail);
        host.settle();
        assert!(host.csts().cfs());
        host.disable();
        host.enable();
        host.create_queue(4);
    }
    // Bus mastering off: nothing can be fetched.
    host.function.config().write(4, p2pdma_pci::Width::Word, 2).unwrap();
    host.ring_tail(0, (host.admin.tail + 1) % 64);
    host.settle();
    assert!(host.csts().cfs());
}

#[test]
fn larger_memory_pages() {
    let host = Host::bare(NvmeConfig::default());
    // Buffers are aligned to 4 KiB, so look for one that is aligned to 64 KiB.
    let aligned = loop {
        let buffer = host.buffer(512 << 10);
        let offset = buffer.iova().0.next_multiple_of(64 << 10) - buffer.iova().0;
        if offset + (256 << 10) <= buffer.len() as u64 {
            break (buffer, usize::try_from(offset).unwrap());
        }
    };
    let base = aligned.0.iova().0 + aligned.1 as u64;
    let aqa = Aqa::new().with_asqs_z(63).with_acqs_z(63);
    host.bar.write32(offset::AQA, aqa.into_bits()).unwrap();
    host.bar.write64(offset::ASQ, base).unwrap();
    host.bar.write64(offset::ACQ, base + (64 << 10)).unwrap();
    host.set_cc(Cc::new().with_en(true).with_iosqes(6).with_iocqes(4).with_mps(4));
    assert!(host.csts().rdy());
    let mut entry = SubmissionEntry::new(AdminOpcode::IDENTIFY, 0);
    entry.cdw10 = IdentifyCdw10::new().with_cns(Cns::CONTROLLER).into();
    // 4096 bytes at any offset in one page of 64 KiB need one entry.
    let data = base + (128 << 10) + 0x1234;
    entry.dptr = p2pdma_spec::nvme::queue::DataPointer::prp(data, 0);
    let slot = aligned.1;
    aligned.0.memory().write_value(slot, &entry).unwrap();
    host.ring_tail(0, 1);
    host.settle();
    let whole = contents(aligned.0.memory());
    let completion = &whole[slot + (64 << 10)..][..16];
    assert_eq!(completion[14..], [1, 0]);
    let vendor = &whole[slot + (128 << 10) + 0x1234..][..2];
    assert_eq!(vendor, [0x36, 0x1b]);
}
