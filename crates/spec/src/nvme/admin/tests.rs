//! Admin commands as known drivers send them.

use super::*;
use crate::nvme::log::LogPageId;
use crate::nvme::protection::ProtectionType;
use crate::nvme::queue::{Direction, SubmissionEntry};
use proptest::prelude::*;
use zerocopy::little_endian::U32;

#[test]
fn identify_controller() {
    let mut entry = SubmissionEntry::new(AdminOpcode::IDENTIFY, 0);
    entry.cdw10 = IdentifyCdw10::new().with_cns(Cns::CONTROLLER).into();
    assert_eq!((entry.opcode(), entry.cdw10.get()), (6, 1));
    assert_eq!(
        DisplayAdmin(&entry).to_string(),
        "Identify CID=0 NSID=0x0 CNS=Identify Controller CNTID=0 CNSSID=0 CSI=NVM Command Set"
    );
}

#[test]
fn queue_creation_as_linux_does_it() {
    let cdw10 = CreateQueueCdw10::new().with_qid(1).with_qsize_z(1023);
    assert_eq!(cdw10.into_bits(), 0x03FF_0001);
    let completion = CreateCompletionQueueCdw11::new().with_pc(true).with_ien(true).with_iv(1);
    assert_eq!(completion.into_bits(), 0x0001_0003);
    let submission = CreateSubmissionQueueCdw11::new()
        .with_pc(true)
        .with_qprio(QueuePriority::MEDIUM)
        .with_cqid(1);
    assert_eq!(submission.into_bits(), 0x0001_0005);
    let mut entry = SubmissionEntry::new(AdminOpcode::CREATE_SUBMISSION_QUEUE, 0);
    (entry.cdw10, entry.cdw11) = (cdw10.into(), submission.into());
    assert_eq!(
        DisplayAdmin(&entry).to_string(),
        "Create I/O Submission Queue CID=0 NSID=0x0 QID=1 QSIZE=1023 PC+ QPRIO=Medium CQID=1"
    );
}

#[test]
fn health_log_page() {
    // nvme-cli smart-log: CDW10 = 007F0002h.
    let entry = LogPageRequest::new(LogPageId::SMART_HEALTH, 128).command(crate::nvme::NSID_ALL);
    assert_eq!(entry.cdw10.get(), 0x007F_0002);
    assert_eq!(LogPageRequest::parse(&entry).bytes(), 512);
}

#[test]
fn log_page_sizes_at_the_bounds() {
    assert_eq!(LogPageRequest::new(LogPageId::ERROR_INFORMATION, 1).bytes(), 4);
    let largest =
        LogPageRequest { numd_z: u32::MAX, ..LogPageRequest::new(LogPageId::TELEMETRY_HOST, 1) };
    assert_eq!(largest.bytes(), 1 << 34);
    let entry = largest.command(0);
    assert_eq!((entry.cdw10.get() >> 16, entry.cdw11.get()), (0xFFFF, 0xFFFF));
}

#[test]
fn format_with_an_upper_index_and_protection() {
    let cdw10 = FormatNvmCdw10::new()
        .with_format_index(0x21)
        .with_pi(ProtectionType::TYPE_1)
        .with_ses(SecureErase::CRYPTOGRAPHIC);
    assert_eq!(cdw10.into_bits(), 0x0000_2421);
    assert_eq!(cdw10.to_string(), "LBAF=33 MSET- PI=Type 1 PIL- SES=Cryptographic Erase");
    for index in 0..64 {
        assert_eq!(FormatNvmCdw10::new().with_format_index(index).format_index(), index);
    }
}

#[test]
fn dwords_of_the_other_commands() {
    assert_eq!(AbortCdw10::new().with_sqid(3).with_cid(9).into_bits(), 0x0009_0003);
    let commit = FirmwareCommitCdw10::new().with_fs(2).with_ca(CommitAction::ACTIVATE_NOW);
    assert_eq!(commit.into_bits(), 0x1A);
    let sanitize = SanitizeCdw10::from_bits(0x0000_0202);
    assert_eq!(sanitize.sanact(), SanitizeAction::BLOCK_ERASE);
    assert!(sanitize.ndas() && !sanitize.emvs());
    let virtualization = VirtualizationManagementCdw10::from_bits(0x0005_0108);
    assert_eq!(virtualization.act(), VirtualizationAction::SECONDARY_ASSIGN);
    assert_eq!((virtualization.rt(), virtualization.cntlid()), (ResourceType::INTERRUPTS, 5));
    let security = SecurityCdw10::from_bits(0x0100_0100);
    assert_eq!((security.secp(), security.spsp0()), (1, 1));
    assert_eq!(
        SetFeaturesCdw10::from_bits(0x8000_0006).to_string(),
        "FID=Volatile Write Cache SV+"
    );
}

#[test]
fn directions_follow_from_opcodes() {
    // The data transfer column of Figure 141.
    let cases = [
        (AdminOpcode::IDENTIFY, Direction::CONTROLLER_TO_HOST),
        (AdminOpcode::CREATE_SUBMISSION_QUEUE, Direction::HOST_TO_CONTROLLER),
        (AdminOpcode::ABORT, Direction::NONE),
        (AdminOpcode::FABRICS, Direction::BIDIRECTIONAL),
        (AdminOpcode::FORMAT_NVM, Direction::NONE),
        (AdminOpcode::SECURITY_RECEIVE, Direction::CONTROLLER_TO_HOST),
    ];
    for (opcode, direction) in cases {
        assert_eq!(Direction::of(opcode.into_bits()), direction, "{opcode}");
    }
}

#[test]
fn events_in_words() {
    let namespace_changed = AsyncEventResult::from_bits(0x0004_0002);
    assert_eq!(
        namespace_changed.to_string(),
        "Notice: Attached Namespace Attribute Changed (LID=Changed Attached Namespace List)"
    );
    let doorbell = AsyncEventResult::from_bits(0x0001_0100);
    assert_eq!(
        doorbell.to_string(),
        "Error status: Invalid Doorbell Write Value (LID=Error Information)"
    );
    assert_eq!(
        AsyncEventResult::from_bits(0x00C0_AB07).to_string(),
        "Vendor specific: 0xab (LID=0xc0)"
    );
}

proptest! {
    #[test]
    fn any_admin_command_prints(opcode: u8, nsid: u32, cdw10: u32, cdw11: u32) {
        let mut entry = SubmissionEntry::new(opcode, nsid);
        (entry.cdw10, entry.cdw11) = (U32::new(cdw10), U32::new(cdw11));
        let text = DisplayAdmin(&entry).to_string();
        let name = AdminOpcode::from_bits(opcode).name().unwrap_or("Admin OPC=");
        prop_assert!(text.starts_with(name), "{}", text);
    }

    #[test]
    fn log_page_requests_survive(
        lid: u8, lsp in 0_u8..128, lsi: u16, rae: bool, numd_z: u32, offset: u64, ot: bool, csi: u8,
        uidx in 0_u8..128,
    ) {
        let request = LogPageRequest {
            lid: lid.into(), lsp, lsi, rae, numd_z, offset, ot, csi: csi.into(), uidx,
        };
        prop_assert_eq!(LogPageRequest::parse(&request.command(7)), request);
    }

    #[test]
    fn any_event_prints(bits: u32) {
        prop_assert!(AsyncEventResult::from_bits(bits).to_string().contains(": "));
    }
}
