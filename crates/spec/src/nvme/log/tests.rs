//! Log pages byte by byte.

use super::*;
use crate::nvme::admin::SelfTestCode;
use crate::nvme::feature::FeatureId;
use crate::nvme::status::Status;
use crate::nvme::temperature::Kelvin;
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

#[test]
fn health_of_a_warm_worn_drive() {
    let mut bytes = [0; 512];
    bytes[..6].copy_from_slice(&[0x03, 0x5E, 0x01, 9, 10, 101]);
    bytes[6] = 0x0C;
    bytes[32..48].copy_from_slice(&(u128::from(u64::MAX) + 1).to_le_bytes());
    bytes[112] = 42;
    bytes[200..204].copy_from_slice(&[0x36, 0x01, 0x40, 0x01]);
    let health = SmartHealth::read_from_bytes(&bytes).unwrap();
    assert_eq!(health.critical_warning.to_string(), "ASCBT+ TTC+ NDR- AMRO- VMBF- PMRRO-");
    assert_eq!(health.composite_temperature.get(), Kelvin(350));
    assert!(health.endurance_group_warning.egro() && health.endurance_group_warning.egdr());
    assert_eq!(health.data_units_read.get(), 1 << 64);
    assert_eq!(health.power_cycles.get(), 42);
    assert_eq!(health.temperature_sensors[1].get(), Kelvin(320));
    let text = health.to_string();
    assert!(text.contains("\nCTEMP     : 350 K (77 °C)\nAVSP      : 9\n"), "{text}");
    assert!(text.contains("DUR       : 18446744073709551616"), "{text}");
}

#[test]
fn an_error_in_words() {
    let mut bytes = [0; 64];
    bytes[0] = 7;
    bytes[8..16].copy_from_slice(&[1, 0, 0x2A, 0, 0x05, 0x40, 0x28, 0x03]);
    bytes[16] = 0x80;
    bytes[24] = 1;
    let entry = ErrorEntry::read_from_bytes(&bytes).unwrap();
    assert_eq!(entry.status.get().status(), Status::INVALID_FIELD);
    assert_eq!(
        entry.to_string(),
        "error_count=7 SQID=1 CID=42 Invalid Field in Command, More Byte=40 Bit=3 LBA=0x80 NSID=0x1"
    );
}

#[test]
fn firmware_slots() {
    let mut bytes = [0; 512];
    bytes[0] = 0x21;
    bytes[8..16].copy_from_slice(b"1.0     ");
    bytes[16..24].copy_from_slice(b"2.0     ");
    let slots = FirmwareSlots::read_from_bytes(&bytes).unwrap();
    assert_eq!(slots.to_string(), "Current=1 Next=2 FRS1=1.0 FRS2=2.0");
}

#[test]
fn effects_of_commands() {
    // Format NVM in QEMU: supported, changes blocks and the namespace's capabilities.
    let mut effects = CommandsEffects::default();
    let format = CommandEffects::new()
        .with_csupp(true)
        .with_lbcc(true)
        .with_ncc(true)
        .with_cse(2)
        .with_csp(EffectScope::new().with_subsystem(true));
    assert_eq!(format.into_bits(), 0x0202_0007);
    effects.admin[0x80].set(format);
    assert_eq!(effects.as_bytes()[0x200..0x204], [0x07, 0, 0x02, 0x02]);
    assert_eq!(format!("{effects:?}"), "CommandsEffects { admin_supported: 1, io_supported: 0 }");
    let beyond = CommandEffects::new().with_csp(EffectScope::from_bits(0xFFFF));
    assert_eq!(beyond.into_bits(), 0xFFF0_0000);
}

#[test]
fn what_is_supported() {
    let mut features = FeaturesEffects::default();
    features.0[0x07].set(FeatureEffects::new().with_fsupp(true));
    features.0[0x08].set(FeatureEffects::new().with_uss(true));
    let found: Vec<_> = features.iter().map(|(fid, _)| fid).collect();
    assert_eq!(found, [FeatureId::NUMBER_OF_QUEUES]);
    let mut pages = SupportedLogPages::default();
    pages.0[0xFF].set(LogPageSupport::from_bits(0x0001_0003));
    let (lid, support) = pages.iter().next().unwrap();
    assert_eq!((lid.into_bits(), support.lidsp()), (0xFF, 1));
}

#[test]
fn results_of_self_tests() {
    let mut bytes = [0; 28];
    bytes[..3].copy_from_slice(&[0x17, 2, 0x0F]);
    bytes[4] = 100;
    bytes[12] = 1;
    bytes[16] = 0x40;
    bytes[24..26].copy_from_slice(&[2, 0x81]);
    let mut result = SelfTestResult::read_from_bytes(&bytes).unwrap();
    assert_eq!(result.dsts.dstr(), SelfTestOutcome::SEGMENT_FAILED);
    assert_eq!(result.dsts.dstc(), SelfTestCode::SHORT);
    assert_eq!(result.status(), Some(Status::UNRECOVERED_READ_ERROR));
    assert!(
        result.to_string().ends_with("POH=100 NSID=0x1 FLBA=0x40 Status=Unrecovered Read Error"),
        "{result}"
    );
    result.vdi = ValidDiagnostics::from_bits(0b0100);
    assert_eq!(result.status(), None);
}

#[test]
fn progress_of_a_sanitize_operation() {
    let mut bytes = [0; 512];
    bytes[..4].copy_from_slice(&[0x00, 0x80, 0x0A, 0x01]);
    bytes[4] = 0x02;
    let status = SanitizeStatus::read_from_bytes(&bytes).unwrap();
    assert_eq!(status.sstat.get().to_string(), "SOS=Sanitizing OPC=1 GDE+ MVCNCLD-");
    assert_eq!(status.sprog.get(), 32_768);
    assert!(
        status.to_string().contains("SCDW10    : SANACT=Start a Block Erase sanitize operation")
    );
}

proptest! {
    #[test]
    fn any_page_survives_and_prints(bytes: [u8; 32], fill: u8) {
        let mut page = [fill; 512];
        page[..32].copy_from_slice(&bytes);
        let health = SmartHealth::read_from_bytes(&page).unwrap();
        prop_assert_eq!(health.as_bytes(), page);
        prop_assert_eq!(health.to_string().lines().count(), 18);
        let slots = FirmwareSlots::read_from_bytes(&page).unwrap();
        prop_assert!(slots.to_string().starts_with("Current="));
        let sanitize = SanitizeStatus::read_from_bytes(&page).unwrap();
        prop_assert_eq!(sanitize.to_string().lines().count(), 11);
        let group = EnduranceGroup::read_from_bytes(&page).unwrap();
        prop_assert_eq!(group.to_string().lines().count(), 16);
        let header = PersistentEventLogHeader::read_from_bytes(&page).unwrap();
        prop_assert_eq!(header.as_bytes(), page);
        prop_assert!(header.to_string().contains("TNEV"));
        let telemetry = TelemetryHost::read_from_bytes(&page).unwrap();
        prop_assert_eq!(telemetry.to_string().lines().count(), 6);
    }

    #[test]
    fn any_error_prints(head: [u8; 32], tail: [u8; 32]) {
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(&head);
        bytes[32..].copy_from_slice(&tail);
        let entry = ErrorEntry::read_from_bytes(&bytes).unwrap();
        prop_assert_eq!(entry.as_bytes(), bytes);
        prop_assert!(entry.to_string().starts_with("error_count="));
    }

    #[test]
    fn any_self_test_result_prints(bytes: [u8; 28]) {
        let result = SelfTestResult::read_from_bytes(&bytes).unwrap();
        prop_assert_eq!(result.as_bytes(), bytes);
        prop_assert!(result.to_string().starts_with("DSTR="));
        prop_assert_eq!(result.status().is_some(), bytes[2] & 0b1100 == 0b1100);
    }
}
