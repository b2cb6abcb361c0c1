//! The controller memory buffer: its registers, its five uses, and who reaches it.

use p2pdma_devices::nvme::{
    CmbConfig, CmbUses, ControllerConfig, NvmeConfig, NvmeController, PmrConfig,
};
use p2pdma_fabric::Timing;
use p2pdma_pci::topology::IommuMode;
use p2pdma_pci::{Bar, BarIndex, Function as _};
use p2pdma_spec::nvme::admin::QueuePriority;
use p2pdma_spec::nvme::cmb::{Cmbloc, Cmbmsc, Cmbsts, Cmbsz, SizeUnits};
use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::queue::{DataPointer, DataTransfer, SubmissionEntry};
use p2pdma_spec::nvme::registers::{Aqa, Cap, offset};
use p2pdma_spec::nvme::sgl::SglDescriptor;
use p2pdma_spec::nvme::status::Status;

use crate::host::{Board, Host, contents, fill};

pub(crate) const BAR2: BarIndex = BarIndex::new(2).unwrap();
const LEN: u64 = 1 << 20;
/// Where the controller is told to find its own buffer: nowhere that anything else is.
const BASE: u64 = 0x7F00_0000_0000;

fn config(cmb: CmbConfig) -> NvmeConfig {
    let controller = ControllerConfig { cmb: Some(cmb), ..ControllerConfig::default() };
    NvmeConfig { controller, ..NvmeConfig::default() }
}

fn plain() -> CmbConfig {
    CmbConfig { len: LEN, ..CmbConfig::default() }
}

impl Host {
    pub(crate) fn set_cmbmsc(&self, control: Cmbmsc) {
        self.bar.write64(offset::CMBMSC, control.into_bits()).unwrap();
        self.settle();
    }

    fn enable_cmb(&self) -> Bar {
        let control = Cmbmsc::new().with_cre(true).with_cmse(true).with_base_address(BASE);
        self.set_cmbmsc(control);
        assert_eq!(self.bar.read32(offset::CMBSTS).unwrap(), 0);
        self.function.map_bar(BAR2).unwrap()
    }
}

fn bytes_of(bar: &Bar, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    bar.read(at, &mut bytes).unwrap();
    bytes
}

/// Size units: what every size shows, and where the region then is.
#[test]
fn sizes_and_places() {
    let cases = [
        (4096, 0, SizeUnits::KIB_4),
        (1 << 20, 1 << 20, SizeUnits::KIB_4),
        ((1 << 32) - 4096, 0, SizeUnits::KIB_4),
        (1 << 32, 1 << 16, SizeUnits::KIB_64),
        (3 << 30, 12 << 12, SizeUnits::KIB_4),
    ];
    for (len, place, unit) in cases {
        let cmb = CmbConfig { len, offset: place, ..plain() };
        let host = Host::bare(config(cmb));
        assert!(Cap::from_bits(host.bar.read64(offset::CAP).unwrap()).cmbs());
        // Hidden until the host asks.
        assert_eq!(host.bar.read32(offset::CMBSZ).unwrap(), 0);
        assert_eq!(host.bar.read32(offset::CMBLOC).unwrap(), 0);
        host.set_cmbmsc(Cmbmsc::new().with_cre(true));
        let size = Cmbsz::from_bits(host.bar.read32(offset::CMBSZ).unwrap());
        let location = Cmbloc::from_bits(host.bar.read32(offset::CMBLOC).unwrap());
        assert_eq!((size.size_bytes(), size.szu()), (Some(len), unit));
        assert_eq!((location.bir(), location.offset_bytes(unit)), (2, Some(place)));
        assert!(size.sqs() && size.cqs() && size.lists() && size.rds() && size.wds());
        let bar = host.function.map_bar(BAR2).unwrap();
        assert_eq!(bar.len(), (place + len).next_power_of_two());
        bar.write(place + len - 4, b"tail").unwrap();
        host.settle();
        assert_eq!(bytes_of(&bar, place + len - 4, 4), b"tail");
    }
}

#[test]
fn impossible_buffers() {
    let cases = [
        CmbConfig { len: 0, ..plain() },
        CmbConfig { len: 4095, ..plain() },
        CmbConfig { len: (1 << 32) + 4096, ..plain() },
        CmbConfig { offset: 2048, ..plain() },
        CmbConfig { offset: 1 << 33, ..plain() },
        CmbConfig { bar: BarIndex::new(1).unwrap(), ..plain() },
        CmbConfig { bar: BarIndex::new(3).unwrap(), ..plain() },
        // In front of, or upon, the doorbells and the MSI-X table.
        CmbConfig { bar: BarIndex::ZERO, offset: 0, ..plain() },
        CmbConfig { bar: BarIndex::ZERO, offset: 0x3000, ..plain() },
    ];
    for cmb in cases {
        assert!(NvmeController::new(config(cmb)).is_err(), "{cmb:?}");
    }
    let pmr = Some(PmrConfig { bar: BAR2, ..PmrConfig::default() });
    let controller = ControllerConfig { cmb: Some(plain()), pmr, ..ControllerConfig::default() };
    let error = NvmeController::new(NvmeConfig { controller, ..NvmeConfig::default() });
    assert_eq!(error.unwrap_err().to_string(), "the CMB and the PMR both want BAR 2");
}

#[test]
fn behind_the_registers() {
    let cmb = CmbConfig { bar: BarIndex::ZERO, offset: 64 << 10, len: 64 << 10, ..plain() };
    let mut host = Host::bare(config(cmb));
    host.enable();
    host.create_queue(8);
    host.set_cmbmsc(Cmbmsc::new().with_cre(true));
    host.bar.write(64 << 10, b"buffer").unwrap();
    host.settle();
    assert_eq!(bytes_of(&host.bar, 64 << 10, 6), b"buffer");
    let buffer = host.buffer(4096);
    host.read(1, 0, 1, &buffer).unwrap();
}

/// The buffer answers the bus only while CRE is set, and commands only while CMSE is.
#[test]
fn enabling_and_disabling() {
    let mut host = Host::with(config(plain()));
    let bar = host.function.map_bar(BAR2).unwrap();
    assert_eq!(bytes_of(&bar, 0, 4), [0xFF; 4]);
    bar.write(0, b"lost").unwrap();
    host.settle();
    host.set_cmbmsc(Cmbmsc::new().with_cre(true));
    assert_eq!(bytes_of(&bar, 0, 4), [0; 4]);
    let mut entry = SubmissionEntry::new(NvmOpcode::WRITE, 1);
    entry.dptr = DataPointer::prp(BASE, 0);
    assert_eq!(host.io(entry), Err(Status::DATA_TRANSFER_ERROR));
    let both = Cmbmsc::new().with_cre(true).with_cmse(true).with_base_address(BASE);
    host.set_cmbmsc(both);
    assert_eq!(host.io(entry), Ok(0));
    // The base may be changed, half by half.
    host.bar.write32(offset::CMBMSC + 4, 0x7E00).unwrap();
    assert_eq!(host.io(entry), Err(Status::DATA_TRANSFER_ERROR));
    entry.dptr = DataPointer::prp(0x7E00_0000_0000, 0);
    assert_eq!(host.io(entry), Ok(0));
    host.set_cmbmsc(Cmbmsc::new().with_cmse(true).with_base_address(BASE));
    assert_eq!(bytes_of(&bar, 0, 4), [0xFF; 4]);
    assert_eq!(host.bar.read32(offset::CMBSZ).unwrap(), 0);
}

#[test]
fn bases_that_cannot_be() {
    let host = Host::bare(config(plain()));
    for (base, invalid) in [
        (0, false),
        (u64::MAX - LEN + 1, true),
        (u64::MAX - LEN - 4095, false),
        (u64::MAX - 4095, true),
    ] {
        host.set_cmbmsc(Cmbmsc::new().with_cre(true).with_cmse(true).with_base_address(base));
        let status = Cmbsts::from_bits(host.bar.read32(offset::CMBSTS).unwrap());
        assert_eq!(status.cbai(), invalid, "{base:#x}");
    }
    // Without CMSE there is nothing to be invalid.
    host.set_cmbmsc(Cmbmsc::new().with_cre(true).with_base_address(u64::MAX));
    assert_eq!(host.bar.read32(offset::CMBSTS).unwrap(), 0);
}

/// Data go straight in and out; nothing of them is on the bus.
#[test]
fn data() {
    let mut host = Host::with(config(plain()));
    let bar = host.enable_cmb();
    let buffer = host.buffer(128 << 10);
    fill(buffer.memory(), 1);
    let written = contents(buffer.memory());
    host.write(1, 0, 32, &buffer).unwrap();
    let before = host.fabric.counters();
    let mut entry = SubmissionEntry::new(NvmOpcode::READ, 1);
    entry.cdw12 = 31.into();
    entry.dptr = DataPointer::sgl(SglDescriptor::data_block(BASE + 512, 128 << 10));
    entry.cdw0.set(entry.cdw0.get().with_psdt(DataTransfer::SGL_METADATA_BUFFER));
    host.io(entry).unwrap();
    let after = host.fabric.counters();
    let class = p2pdma_fabric::PayloadClass::Data;
    assert_eq!(before.host_writes.of(class), after.host_writes.of(class));
    assert_eq!(before.peer_local.of(class), after.peer_local.of(class));
    assert!(bytes_of(&bar, 512, 128 << 10) == written);
    // And back, to other blocks.
    entry.set_cdw10_11(100);
    entry.cdw0.set(entry.cdw0.get().with_opcode(NvmOpcode::WRITE.into_bits()));
    host.io(entry).unwrap();
    host.read(1, 100, 32, &buffer).unwrap();
    assert!(contents(buffer.memory()) == written);
}

/// A run of memory that is partly in the buffer: each byte goes where its address leads.
#[test]
fn across_the_edge() {
    let mut host = Host::bare(config(CmbConfig { len: 8192, ..plain() }));
    host.enable();
    host.create_queue(16);
    let buffer = host.buffer(16_384);
    let data = host.buffer(4096);
    fill(data.memory(), 2);
    host.write(1, 0, 1, &data).unwrap();
    // The controller takes the middle of a host buffer for its own memory.
    let base = buffer.iova().0 + 4096;
    host.set_cmbmsc(Cmbmsc::new().with_cre(true).with_cmse(true).with_base_address(base));
    let bar = host.function.map_bar(BAR2).unwrap();
    for start in [base - 1000, base + 8192 - 1000] {
        let mut entry = SubmissionEntry::new(NvmOpcode::READ, 1);
        entry.dptr = DataPointer::sgl(SglDescriptor::data_block(start, 4096));
        entry.cdw0.set(entry.cdw0.get().with_psdt(DataTransfer::SGL_METADATA_BUFFER));
        host.io(entry).unwrap();
        let (memory, inside) = (contents(buffer.memory()), bytes_of(&bar, 0, 8192));
        for (at, byte) in (start..).zip(contents(data.memory())) {
            let found = match at.checked_sub(base) {
                Some(offset @ 0..8192) => inside[usize::try_from(offset).unwrap()],
                _ => memory[usize::try_from(at - buffer.iova().0).unwrap()],
            };
            assert_eq!(found, byte, "{at:#x}");
        }
        // What is behind the window was not touched.
        assert_eq!(memory[4096..12_288], [0; 8192]);
    }
}

/// Queues in the buffer: entries are fetched and posted without a packet.
#[test]
fn queues_in_the_buffer() {
    let mut host = Host::with(config(plain()));
    let bar = host.enable_cmb();
    host.create_completion(2, 16, BASE + 0x1000, Some(1)).unwrap();
    host.create_submission(2, 16, BASE + 0x2000, 2, QueuePriority::MEDIUM).unwrap();
    let line = host.function.interrupt(1).unwrap();
    let traffic = host.fabric.counters();
    for turn in 0..40_u64 {
        let slot = turn % 16;
        let entry = SubmissionEntry::new(NvmOpcode::FLUSH, 1);
        let mut entry = entry;
        entry.set_cid(u16::try_from(turn).unwrap());
        bar.write(0x2000 + slot * 64, &entry.to_bytes()).unwrap();
        host.ring_tail(2, u32::try_from((slot + 1) % 16).unwrap());
        host.settle();
        let completion = bytes_of(&bar, 0x1000 + slot * 16, 16);
        let phase = 1 - u8::try_from(turn / 16 % 2).unwrap();
        assert_eq!((completion[12], completion[14]), (u8::try_from(turn).unwrap(), phase));
        host.ring_head(2, u32::try_from((slot + 1) % 16).unwrap());
        host.settle();
        assert_eq!(line.take(), 1);
    }
    let after = host.fabric.counters();
    let class = p2pdma_fabric::PayloadClass::Control;
    assert_eq!(traffic.host_reads.of(class), after.host_reads.of(class));
    assert_eq!(traffic.host_writes.of(class), after.host_writes.of(class));
}

/// Even the admin queues can be there.
#[test]
fn admin_queues_in_the_buffer() {
    let host = Host::bare(config(plain()));
    let bar = host.enable_cmb();
    let aqa = Aqa::new().with_asqs_z(3).with_acqs_z(3);
    host.bar.write32(offset::AQA, aqa.into_bits()).unwrap();
    host.bar.write64(offset::ASQ, BASE).unwrap();
    host.bar.write64(offset::ACQ, BASE + 4096).unwrap();
    host.set_cc(Host::plain_cc().with_en(true));
    bar.write(0, &SubmissionEntry::new(0x18_u8, 0).to_bytes()).unwrap();
    host.ring_tail(0, 1);
    host.settle();
    assert_eq!(bytes_of(&bar, 4096 + 14, 2), [1, 0]);
}

/// Each of the five uses that is switched off is refused, and none of the others.
#[test]
fn uses_that_are_not_there() {
    let without = [
        CmbUses { submission_queues: false, ..CmbUses::ALL },
        CmbUses { completion_queues: false, ..CmbUses::ALL },
        CmbUses { lists: false, ..CmbUses::ALL },
        CmbUses { read_data: false, ..CmbUses::ALL },
        CmbUses { write_data: false, ..CmbUses::ALL },
    ];
    for (missing, uses) in without.into_iter().enumerate() {
        let mut host = Host::with(config(CmbConfig { uses, ..plain() }));
        let bar = host.enable_cmb();
        let sq = host.buffer(4096);
        let mut results = Vec::new();
        host.create_completion(2, 16, sq.iova().0, None).unwrap();
        results.push(host.create_submission(2, 16, BASE, 2, QueuePriority::LOW));
        results.push(host.create_completion(3, 16, BASE, None));
        // A PRP list in the buffer, for data outside.
        let buffer = host.buffer(16_384);
        for (index, page) in (1..4_u64).enumerate() {
            let entry = buffer.iova().0 + page * 4096;
            bar.write(0x8000 + index as u64 * 8, &entry.to_le_bytes()).unwrap();
        }
        let mut entry = SubmissionEntry::new(NvmOpcode::READ, 1);
        entry.cdw12 = 3.into();
        entry.dptr = DataPointer::prp(buffer.iova().0, BASE + 0x8000);
        results.push(host.io(entry));
        for opcode in [NvmOpcode::READ, NvmOpcode::WRITE] {
            let mut entry = SubmissionEntry::new(opcode, 1);
            entry.dptr = DataPointer::prp(BASE, 0);
            results.push(host.io(entry));
        }
        for (index, result) in results.into_iter().enumerate() {
            let expected = if index == missing { Err(Status::INVALID_USE_OF_CMB) } else { Ok(0) };
            assert_eq!(result, expected, "use {index} without {missing}");
        }
    }
    // A queue that is partly in the buffer.
    let mut host = Host::with(config(plain()));
    host.enable_cmb();
    let partly = host.create_completion(2, 1024, BASE + LEN - 4096, None);
    assert_eq!(partly, Err(Status::INVALID_USE_OF_CMB));
}

/// The buffer is where another controller can put data: peer to peer, below the switch.
#[test]
fn a_peer_writes_to_the_buffer() {
    let mut board = Board::new(IommuMode::Off, Timing::Ideal);
    board.plug("a", NvmeController::new(config(plain())).unwrap());
    board.plug("b", NvmeController::new(NvmeConfig::default()).unwrap());
    let fabric = board.build();
    let a = Host::open(fabric.clone(), "a");
    let bar = a.enable_cmb();
    let mut b = Host::open(fabric.clone(), "b");
    b.enable();
    b.create_queue(16);
    let buffer = b.buffer(4096);
    fill(buffer.memory(), 5);
    b.write(1, 0, 1, &buffer).unwrap();
    let window = b.function.map_peer(&bar, 0x4000..0x5000).unwrap();
    let mut entry = SubmissionEntry::new(NvmOpcode::READ, 1);
    entry.dptr = DataPointer::prp(window.iova().0, 0);
    b.io(entry).unwrap();
    assert_eq!(bytes_of(&bar, 0x4000, 4096), contents(buffer.memory()));
    let class = p2pdma_fabric::PayloadClass::Data;
    assert_eq!(fabric.counters().peer_local.of(class), 4096);
}

/// Which resets take CMBMSC and the contents along (NVMe Base 2.1 §3.7.2).
#[test]
fn resets() {
    let mut host = Host::with(config(plain()));
    let bar = host.enable_cmb();
    bar.write(0, b"kept").unwrap();
    host.disable();
    assert_eq!(bytes_of(&bar, 0, 4), b"kept");
    host.function.reset().unwrap();
    let control = Cmbmsc::from_bits(host.bar.read64(offset::CMBMSC).unwrap());
    assert!(control.cre() && control.cmse() && control.base_address() == BASE);
    assert_eq!(bytes_of(&bar, 0, 4), b"kept");
    host.fabric.power_cut();
    host.fabric.enumerate().unwrap();
    let host = Host::open(host.fabric.clone(), "nvme0");
    assert_eq!(host.bar.read64(offset::CMBMSC).unwrap(), 0);
    let bar = host.enable_cmb();
    assert_eq!(bytes_of(&bar, 0, 4), [0; 4], "the buffer is volatile");
}
