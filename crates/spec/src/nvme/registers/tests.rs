//! Registers of known controllers, and the doorbell formula at its bounds.

use super::*;
use proptest::prelude::*;

#[test]
fn capabilities_of_the_controller_in_qemu() {
    let cap = Cap::from_bits(0x0040_1820_0F01_07FF);
    assert_eq!(cap.max_queue_entries(), 2048);
    assert_eq!(cap.timeout_ms(), 7_500);
    assert_eq!((cap.min_page_size(), cap.max_page_size()), (4096, 65_536));
    assert!(cap.css_nvm() && cap.css_io_command_sets() && cap.css_admin_only());
    assert_eq!(
        cap.to_string(),
        "MQES=2047 CQR+ AMS.WRR- AMS.VS- TO=15 DSTRD=0 NSSRS- CSS.NVM+ CSS.IO+ CSS.NoIO+ BPS- \
         CPS=not reported MPSMIN=0 MPSMAX=4 PMRS- CMBS- NSSS- CRWMS- CRIMS- NSSES-"
    );
}

#[test]
fn capabilities_each_bit_of_the_upper_part() {
    // Bit positions as in NVMe Base 2.1 Figure 36.
    assert!(Cap::from_bits(1 << 36).nssrs());
    assert!(Cap::from_bits(1 << 45).bps());
    assert_eq!(Cap::from_bits(0b10 << 46).cps(), PowerScope::DOMAIN);
    assert!(Cap::from_bits(1 << 56).pmrs());
    assert!(Cap::from_bits(1 << 57).cmbs());
    assert!(Cap::from_bits(1 << 58).nsss());
    assert!(Cap::from_bits(1 << 59).crwms());
    assert!(Cap::from_bits(1 << 60).crims());
    assert!(Cap::from_bits(1 << 61).nsses());
}

#[test]
fn configuration_that_linux_writes() {
    // Enabled, 64-byte and 16-byte entries, 4 KiB pages, round robin.
    let cc = Cc::new().with_en(true).with_iosqes(6).with_iocqes(4);
    assert_eq!(cc.into_bits(), 0x0046_0001);
    assert_eq!(
        cc.to_string(),
        "EN+ CSS=NVM Command Set MPS=0 AMS=Round Robin SHN=No notification IOSQES=6 IOCQES=4 CRIME-"
    );
    let shutdown = cc.with_shn(ShutdownNotification::NORMAL);
    assert_eq!(shutdown.into_bits(), 0x0046_4001);
    assert_eq!(cc.with_css(CommandSetSelection::ALL_SUPPORTED).into_bits(), 0x0046_0061);
}

#[test]
fn status_through_a_shutdown_and_after_removal() {
    assert_eq!(Csts::from_bits(0x5).shst(), ShutdownStatus::OCCURRING);
    assert_eq!(Csts::from_bits(0x9).shst(), ShutdownStatus::COMPLETE);
    assert!(Csts::from_bits(0x2).cfs() && Csts::from_bits(0x40).st());
    assert!(Csts::GONE.rdy() && Csts::GONE.cfs());
    assert_eq!(Csts::GONE.shst().name(), None);
}

#[test]
fn magic_values_are_their_letters() {
    assert_eq!(NSSR_RESET.to_be_bytes(), *b"NVMe");
    assert_eq!(NSSD_NORMAL.to_be_bytes(), *b"Nrml");
    assert_eq!(NSSD_ABRUPT.to_be_bytes(), *b"Abpt");
}

#[test]
fn versions_compare_and_print() {
    assert_eq!(Vs::from_bits(0x0001_0400).to_string(), "1.4");
    assert_eq!(Vs::from_bits(0x0001_0201).to_string(), "1.2.1");
    assert_eq!(Vs::V2_1.into_bits(), 0x0002_0100);
    assert!(Vs::from_bits(0x0001_0400) < Vs::V2_1);
}

#[test]
fn admin_queue_sizes_are_twelve_bits_each() {
    let aqa = Aqa::new().with_asqs_z(0xFFF).with_acqs_z(31);
    assert_eq!(aqa.into_bits(), 0x001F_0FFF);
    assert!(Aqa::new().with_asqs_z_checked(0x1000).is_err());
}

#[test]
fn doorbells_at_the_bounds() {
    assert_eq!(submission_doorbell(0, 0), 0x1000);
    assert_eq!(completion_doorbell(0, 0), 0x1004);
    assert_eq!(submission_doorbell(1, 0), 0x1008);
    assert_eq!(completion_doorbell(1, 4), 0x10C0);
    assert_eq!(completion_doorbell(u16::MAX, 15), 0x1000 + (2 * 65_535 + 1) * 0x2_0000);
    assert_eq!(Doorbell::at(0xFFC, 0), None);
    assert_eq!(Doorbell::at(0x1002, 0), None);
    assert_eq!(Doorbell::at(0x1004, 1), None);
    assert_eq!(Doorbell::at(0x1000 + 0x2_0000 * 4, 0), None);
}

proptest! {
    #[test]
    fn doorbells_are_found_where_they_are(qid: u16, dstrd in 0_u8..16) {
        let submission = Doorbell::at(submission_doorbell(qid, dstrd), dstrd);
        prop_assert_eq!(submission, Some(Doorbell::SubmissionTail { qid }));
        let completion = Doorbell::at(completion_doorbell(qid, dstrd), dstrd);
        prop_assert_eq!(completion, Some(Doorbell::CompletionHead { qid }));
    }

    #[test]
    fn any_offset_is_a_doorbell_or_none(offset: u64, dstrd: u8) {
        match Doorbell::at(offset, dstrd) {
            Some(Doorbell::SubmissionTail { qid }) => {
                prop_assert_eq!(submission_doorbell(qid, dstrd), offset);
            }
            Some(Doorbell::CompletionHead { qid }) => {
                prop_assert_eq!(completion_doorbell(qid, dstrd), offset);
            }
            None => {}
        }
    }
}
