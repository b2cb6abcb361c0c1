//! I/O commands as known drivers send them.

use super::*;
use crate::nvme::protection::Prinfo;
use crate::nvme::queue::{DataTransfer, Direction, SubmissionEntry};
use proptest::prelude::*;
use zerocopy::IntoBytes;
use zerocopy::little_endian::{U16, U32, U64};

#[test]
fn a_write_with_force_unit_access_and_protection() {
    // REQ_FUA with type 1 protection in Linux: control = FUA | PRCHK guard | PRCHK ref = 5400h.
    let cdw12 = ReadWriteCdw12::new()
        .with_nlb_z(7)
        .with_fua(true)
        .with_prinfo(Prinfo::new().with_check_guard(true).with_check_reference(true));
    assert_eq!(cdw12.into_bits(), 0x5400_0007);
    assert_eq!(cdw12.blocks(), 8);
    let mut entry = SubmissionEntry::new(NvmOpcode::WRITE, 1);
    entry.set_cdw10_11(4096);
    entry.cdw12 = cdw12.into();
    assert_eq!(
        DisplayNvm(&entry).to_string(),
        "Write CID=0 NSID=0x1 SLBA=4096 NLB=7 CETYPE=None DTYPE=Identify STC- PRINFO=[PRCHK.Ref+ PRCHK.App- PRCHK.Guard+ PRACT-] FUA+ LR- \
         AF=No frequency information AL=No latency information SEQREQ- INCPRS- DSPEC=0"
    );
}

#[test]
fn read_ahead_hint() {
    // REQ_RAHEAD in Linux: DSM = speculative read, 7.
    let cdw13 = ReadWriteCdw13::new().with_af(AccessFrequency::SPECULATIVE_READ);
    assert_eq!(cdw13.into_bits(), 7);
    assert_eq!(ReadWriteCdw13::from_bits(0xBEEF_1234).cev(), 0x1234);
    assert_eq!(ReadWriteCdw13::from_bits(0xBEEF_1234).dspec(), 0xBEEF);
}

#[test]
fn write_zeroes_that_deallocates() {
    // WRITE ZEROES in Linux: control = DEAC = 0200h.
    let cdw12 = WriteZeroesCdw12::from_bits(0x0200_FFFF);
    assert!(cdw12.deac() && !cdw12.nsz());
    assert_eq!(cdw12.blocks(), 65_536);
    assert!(WriteZeroesCdw12::from_bits(0x0080_0000).nsz());
}

#[test]
fn discard_as_linux_does_it() {
    let range = DatasetRange { llb: U32::new(256), slba: U64::new(0x1000), ..Default::default() };
    assert_eq!(range.as_bytes(), [0, 0, 0, 0, 0, 1, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0]);
    assert_eq!(DatasetManagementCdw11::new().with_ad(true).into_bits(), 4);
    assert_eq!(DatasetManagementCdw10::from_bits(0xFF).ranges(), MAX_DATASET_RANGES);
    let attributes = RangeAttributes::from_bits(0x0800_0721);
    assert_eq!(attributes.af(), AccessFrequency::TYPICAL);
    assert_eq!((attributes.al(), attributes.access_size()), (AccessLatency::NORMAL, 8));
    assert!(attributes.sr() && attributes.sw() && attributes.wp());
}

#[test]
fn copy_of_one_range() {
    let cdw12 = CopyCdw12::new()
        .with_desfmt(CopyFormat::FORMAT_2)
        .with_prinfor(Prinfo::new().with_pract(true))
        .with_prinfow(Prinfo::new().with_check_reference(true))
        .with_lr(true);
    assert_eq!(cdw12.into_bits(), 0x8400_8200);
    assert_eq!(cdw12.ranges(), 1);
    let range = CopyRange2 {
        snsid: U32::new(2),
        slba: U64::new(0x10),
        nlb_z: U16::new(0x20),
        sopt: SourceOptions::new().with_fco(true).into(),
        elbatm: U16::new(0xFFFF),
        ..Default::default()
    };
    let mut expected = [0; 32];
    (expected[0], expected[8], expected[16], expected[23]) = (2, 0x10, 0x20, 0x80);
    (expected[30], expected[31]) = (0xFF, 0xFF);
    assert_eq!(range.as_bytes(), expected);
}

#[test]
fn reservations() {
    let acquire = ReservationAcquireCdw10::from_bits(0x0000_0109);
    assert_eq!(acquire.to_string(), "RACQA=Preempt IEKEY+ RTYPE=Write Exclusive");
    let register = ReservationRegisterCdw10::new().with_cptpl(PersistChange::SET);
    assert_eq!(register.into_bits(), 0xC000_0000);
    let release = ReservationReleaseCdw10::new().with_rtype(ReservationType::EXCLUSIVE_ACCESS_ALL);
    assert_eq!(release.into_bits(), 0x0600);
}

#[test]
fn directions_follow_from_opcodes() {
    let cases = [
        (NvmOpcode::FLUSH, Direction::NONE),
        (NvmOpcode::WRITE, Direction::HOST_TO_CONTROLLER),
        (NvmOpcode::READ, Direction::CONTROLLER_TO_HOST),
        (NvmOpcode::COMPARE, Direction::HOST_TO_CONTROLLER),
        (NvmOpcode::WRITE_ZEROES, Direction::NONE),
        (NvmOpcode::DATASET_MANAGEMENT, Direction::HOST_TO_CONTROLLER),
        (NvmOpcode::RESERVATION_REPORT, Direction::CONTROLLER_TO_HOST),
        (NvmOpcode::COPY, Direction::HOST_TO_CONTROLLER),
    ];
    for (opcode, direction) in cases {
        assert_eq!(Direction::of(opcode.into_bits()), direction, "{opcode}");
    }
}

proptest! {
    #[test]
    fn any_io_command_prints(opcode: u8, nsid: u32, slba: u64, cdw12: u32, cdw13: u32) {
        let mut entry = SubmissionEntry::new(opcode, nsid);
        entry.set_cdw10_11(slba);
        (entry.cdw12, entry.cdw13) = (U32::new(cdw12), U32::new(cdw13));
        entry.cdw0.set(entry.cdw0.get().with_psdt(DataTransfer::SGL_METADATA_BUFFER));
        let text = DisplayNvm(&entry).to_string();
        let name = NvmOpcode::from_bits(opcode).name().unwrap_or("I/O OPC=");
        prop_assert!(text.starts_with(name), "{}", text);
    }

    #[test]
    fn protection_bits_outside_the_field_do_not_leak(bits: u8) {
        let cdw12 = ReadWriteCdw12::new().with_prinfo(Prinfo::from_bits(bits));
        prop_assert_eq!(cdw12.into_bits(), u32::from(bits & 0xF) << 26);
    }
}
