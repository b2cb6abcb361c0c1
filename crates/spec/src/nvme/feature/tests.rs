//! Features as known drivers use them.

use super::*;
use crate::nvme::log::CriticalWarning;
use crate::nvme::temperature::Kelvin;
use proptest::prelude::*;
use std::fmt;
use zerocopy::IntoBytes;

struct Shown(FeatureId, u32);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display_feature(self.0, self.1, f)
    }
}

#[test]
fn queues_that_linux_asks_for() {
    let request = NumberOfQueues::of(8, 8).unwrap();
    assert_eq!(request.into_bits(), 0x0007_0007);
    // A controller may allocate more, and other numbers of the two kinds.
    let allocated = NumberOfQueues::from_bits(0x003E_003F);
    assert_eq!((allocated.submission_queues(), allocated.completion_queues()), (64, 63));
    assert_eq!(NumberOfQueues::of(0, 1), None);
    assert_eq!(NumberOfQueues::of(65_535, 65_535).unwrap().into_bits(), 0xFFFE_FFFE);
}

#[test]
fn events_that_linux_asks_for() {
    // Namespace and firmware notices, ANA changes: 0B00h; and all health warnings.
    let events = AsyncEventConfiguration::new()
        .with_nan(true)
        .with_fan(true)
        .with_anacn(true)
        .with_shcw(CriticalWarning::from_bits(0x1F));
    assert_eq!(events.into_bits(), 0x0B1F);
    assert_eq!(AsyncEventConfiguration::from_bits(0x8000_0000).to_string().matches('+').count(), 1);
}

#[test]
fn features_in_words() {
    let cases = [
        (FeatureId::VOLATILE_WRITE_CACHE, 1, "WCE+"),
        (FeatureId::NUMBER_OF_QUEUES, 0x0007_0007, "NSQ=7 NCQ=7"),
        (FeatureId::ARBITRATION, 0x0F07_0307, "AB=7 LPW=3 MPW=7 HPW=15"),
        (FeatureId::KEEP_ALIVE_TIMER, 5000, "KATO=5000 ms"),
        (FeatureId::TIMESTAMP, 5, "0x00000005"),
        (
            FeatureId::TEMPERATURE_THRESHOLD,
            0x0012_0157,
            "TMPTH=343 K (70 °C) TMPSEL=Temperature Sensor 2 THSEL=Under Temperature Threshold TMPTHH=0",
        ),
        (FeatureId::NAMESPACE_WRITE_PROTECTION, 2, "WPS=Write Protect Until Power Cycle"),
        (
            FeatureId::BOOT_PARTITION_WRITE_PROTECTION,
            0b100_001,
            "BP0WPS=Write Unlocked BP1WPS=Controlled by RPMB",
        ),
    ];
    for (fid, dword, words) in cases {
        assert_eq!(Shown(fid, dword).to_string(), words, "{fid}");
    }
}

#[test]
fn power_states_as_linux_sets_them() {
    // From state 0, go to state 3 after 100 ms: itps << 3 | itpt << 8.
    let entry = AutonomousPowerState::new().with_itps(3).with_itpt(100);
    assert_eq!(entry.into_bits(), 0x6418);
    let mut table = AutonomousPowerStateTable::default();
    table.0[0].set(entry);
    assert_eq!(table.as_bytes()[..8], [0x18, 0x64, 0, 0, 0, 0, 0, 0]);
    assert_eq!(table.to_string().lines().next(), Some("ps       0: ITPS=3 ITPT=100"));
    let thermal = ThermalManagement::new().with_tmt1(Kelvin(343)).with_tmt2(Kelvin(353));
    assert_eq!(thermal.into_bits(), 0x0157_0161);
}

#[test]
fn timestamps_at_the_bounds() {
    let now = Timestamp::from_millis(0x0102_0304_0506).unwrap();
    assert_eq!(now.as_bytes(), [6, 5, 4, 3, 2, 1, 0, 0]);
    assert_eq!(Timestamp::from_millis((1 << 48) - 1).unwrap().millis(), (1 << 48) - 1);
    assert_eq!(Timestamp::from_millis(1 << 48), None);
    let read = Timestamp { attributes: TimestampAttributes::from_bits(0b011), ..now };
    assert_eq!(read.to_string(), "TSTMP=1108152157446 SYNCH+ TO=Set by a Set Features command");
}

#[test]
fn capabilities_of_a_feature() {
    // What QEMU answers for the Temperature Threshold and for the Error Recovery.
    assert_eq!(
        FeatureCapabilities::from_bits(0b100).to_string(),
        "Saveable- NamespaceSpecific- Changeable+"
    );
    assert!(FeatureCapabilities::from_bits(0b110).namespace_specific());
}

#[test]
fn ranges_and_lent_memory() {
    let range = LbaRange {
        range_type: LbaRangeType::FILESYSTEM,
        attrb: LbaRangeAttributes::from_bits(1),
        slba: 0x100.into(),
        nlb_z: 0xFF.into(),
        ..LbaRange::default()
    };
    assert_eq!(range.to_string(), "Filesystem LBARO+ HLBAR- SLBA=256 NLB=255");
    let memory =
        HostMemoryDescriptor { badd: 0x10_0000.into(), bsize: 256.into(), ..Default::default() };
    assert_eq!(memory.as_bytes()[..12], [0, 0, 0x10, 0, 0, 0, 0, 0, 0, 1, 0, 0]);
}

proptest! {
    #[test]
    fn any_feature_prints(fid: u8, dword: u32) {
        prop_assert!(!Shown(fid.into(), dword).to_string().is_empty());
    }

    #[test]
    fn timestamps_survive(millis in 0_u64..1 << 48) {
        prop_assert_eq!(Timestamp::from_millis(millis).unwrap().millis(), millis);
    }

    #[test]
    fn numbers_of_queues_survive(submission in 1_u16.., completion in 1_u16..) {
        let request = NumberOfQueues::of(submission, completion).unwrap();
        prop_assert_eq!(request.submission_queues(), u32::from(submission));
        prop_assert_eq!(request.completion_queues(), u32::from(completion));
    }
}
