//! Controllers as known devices report themselves, and lists at their bounds.

use super::*;
use crate::nvme::CommandSet;
use crate::nvme::temperature::Kelvin;
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

/// The controller of QEMU with its defaults, field by field at the offsets of Figure 312.
fn qemu() -> IdentifyController {
    let mut bytes = [0; IDENTIFY_SIZE];
    let mut put =
        |offset: usize, field: &[u8]| bytes[offset..][..field.len()].copy_from_slice(field);
    put(0, &0x1B36_u16.to_le_bytes());
    put(2, &0x1AF4_u16.to_le_bytes());
    put(4, b"deadbeef            ");
    put(24, b"QEMU NVMe Ctrl                          ");
    put(64, b"8.2.2   ");
    put(72, &[6, 0x00, 0x54, 0x52]);
    put(77, &[7]);
    put(80, &0x0001_0400_u32.to_le_bytes());
    put(96, &0x0008_0010_u32.to_le_bytes());
    put(111, &[1]);
    put(256, &0x012A_u16.to_le_bytes());
    put(258, &[3, 3, 0x03, 0x0C]);
    put(266, &343_u16.to_le_bytes());
    put(268, &373_u16.to_le_bytes());
    put(512, &[0x66, 0x44]);
    put(516, &256_u32.to_le_bytes());
    put(520, &0x01DD_u16.to_le_bytes());
    put(525, &[0x07]);
    put(536, &0x0001_0001_u32.to_le_bytes());
    put(768, b"nqn.2019-08.org.qemu:deadbeef");
    put(2048, &[0xC4, 0x09]);
    put(2052, &16_u32.to_le_bytes());
    put(2056, &4_u32.to_le_bytes());
    IdentifyController::read_from_bytes(&bytes).unwrap()
}

#[test]
fn a_known_controller() {
    let id = qemu();
    assert_eq!((id.vid.get(), id.ssvid.get(), id.oui()), (0x1B36, 0x1AF4, 0x0052_5400));
    assert_eq!(id.mn.to_string(), "QEMU NVMe Ctrl");
    assert_eq!(id.ver.get().to_string(), "1.4");
    assert_eq!(id.ctratt.get().to_string().matches('+').count(), 2);
    assert!(id.ctratt.get().egs() && id.ctratt.get().fdps());
    assert!(id.oacs.get().fnvms() && id.oacs.get().nms() && id.oacs.get().dbcs());
    assert_eq!((id.frmw.ffsro(), id.frmw.nofs()), (true, 1));
    assert_eq!(id.wctemp.get(), Kelvin(343));
    assert_eq!(id.sqes, QueueEntrySizes::SUBMISSION);
    assert_eq!(id.cqes, QueueEntrySizes::COMPLETION);
    let oncs = id.oncs.get();
    assert!(oncs.nvmcmps() && !oncs.nvmwusv() && oncs.nvmcpys() && !oncs.reservs());
    assert_eq!((id.vwc.vwcp(), id.vwc.fb()), (true, FlushBehavior::ALL_SUPPORTED));
    assert_eq!(id.sgls.get().support(), SglSupport::ANY_ALIGNMENT);
    assert!(id.sgls.get().bit_bucket());
    assert_eq!(id.psd[0].max_microwatts(), 25_000_000);
}

#[test]
fn a_controller_in_words() {
    let text = qemu().to_string();
    for line in [
        "VID       : 0x1b36",
        "SN        : deadbeef",
        "VWC       : VWCP+ FB=NSID FFFFFFFFh supported",
        "WCTEMP    : 343 K (70 °C)",
        "SUBNQN    : nqn.2019-08.org.qemu:deadbeef",
        "CNTRLTYPE : I/O controller",
        "ps       0: mp:25.0000W operational enlat:16 exlat:4 rrt:0 rrl:0 rwt:0 rwl:0",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
}

#[test]
fn transfer_limits() {
    let mut id = qemu();
    assert_eq!(id.max_transfer_bytes(4096), Some(512 * 1024));
    for (mdts, limit) in [(0, None), (1, Some(8192)), (51, Some(1 << 63)), (52, None), (255, None)]
    {
        id.mdts = mdts;
        assert_eq!(id.max_transfer_bytes(4096), limit, "MDTS {mdts}");
    }
}

#[test]
fn units_of_power() {
    let mut state = PowerStateDescriptor::default();
    state.mp.set(u16::MAX);
    assert_eq!(state.max_microwatts(), 655_350_000);
    state.flags.set(PowerStateFlags::new().with_mxps(true).with_nops(true));
    assert_eq!(state.max_microwatts(), 6_553_500);
    assert_eq!(state.as_bytes()[3], 0b11);
    assert!(state.to_string().starts_with("mp:6.5535W non-operational"));
    assert_eq!(PowerScale::MILLIWATTS_10.microwatts(), Some(10_000));
    assert_eq!(PowerScale::from_bits(0b11).microwatts(), None);
}

#[test]
fn combinations_of_command_sets() {
    let mut sets = CommandSets::default();
    sets.combinations[0].set(CommandSetVector::new().with_nvm(true));
    sets.combinations[1].set(CommandSetVector::from_bits(0b101));
    sets.combinations[3].set(CommandSetVector::from_bits(0b10));
    let found: Vec<_> = sets.iter().map(|set| set.into_bits()).collect();
    assert_eq!(found, [1, 5], "the first empty combination ends the list");
    let zoned = CommandSetVector::from_bits(0b101);
    assert!(zoned.contains(CommandSet::ZONED) && !zoned.contains(CommandSet::KEY_VALUE));
    assert!(!CommandSetVector::from_bits(u64::MAX).contains(CommandSet::from_bits(64)));
}

#[test]
fn full_lists() {
    let namespaces = NamespaceList::new(1..=2000);
    assert_eq!(namespaces.iter().count(), 1024);
    assert_eq!(namespaces.iter().last(), Some(1024));
    let controllers = ControllerList::new(0..=u16::MAX);
    assert_eq!(controllers.iter().count(), 2047);
    let lying = ControllerList { numid: u16::MAX.into(), ..controllers };
    assert_eq!(lying.iter().count(), 2047);
    let secondaries = SecondaryControllerList { numid: u8::MAX, ..Default::default() };
    assert_eq!(secondaries.iter().count(), 127);
}

#[test]
fn uuids_end_at_the_first_empty_one() {
    let mut list = UuidList::default();
    assert_eq!(list.iter().count(), 0);
    list.entries[0].uuid = [1; 16];
    list.entries[2].uuid = [3; 16];
    assert_eq!(list.iter().count(), 1);
    assert_eq!(list.as_bytes()[48..64], [1; 16]);
}

#[test]
fn descriptors_in_words_and_bytes() {
    let mut buffer = [0; 64];
    let uuid = *b"\x12\x34\x56\x78\x9a\xbc\xde\xf0\x11\x22\x33\x44\x55\x66\x77\x88";
    let rest = NamespaceDescriptor::Uuid(uuid).put(&mut buffer).unwrap();
    let rest = NamespaceDescriptor::Csi(CommandSet::NVM).put(rest).unwrap();
    assert_eq!(rest.len(), 64 - 20 - 5);
    assert_eq!(buffer[..4], [3, 16, 0, 0]);
    assert_eq!(buffer[20..26], [4, 1, 0, 0, 0, 0]);
    let words: Vec<_> = NamespaceDescriptors::new(&buffer).map(|id| id.to_string()).collect();
    assert_eq!(words, ["UUID=12345678-9abc-def0-1122-334455667788", "CSI=NVM Command Set"]);
}

#[test]
fn descriptors_that_are_wrong() {
    // An EUI64 of 4 bytes, then a descriptor that the buffer cuts off.
    let list = [1, 4, 0, 0, 9, 9, 9, 9, 2, 16, 0, 0, 1];
    let found: Vec<_> = NamespaceDescriptors::new(&list).collect();
    let nid = &[9; 4][..];
    assert_eq!(found, [NamespaceDescriptor::Other { nidt: NamespaceIdType::EUI64, nid }]);
    let empty = NamespaceDescriptor::Other { nidt: NamespaceIdType::CSI, nid: &[] };
    assert!(empty.put(&mut [0; 64]).is_none(), "a length of zero would end the list");
    assert!(NamespaceDescriptor::Eui64([0; 8]).put(&mut [0; 11]).is_none());
}

proptest! {
    #[test]
    fn any_controller_survives_and_prints(seed: [u8; 32], at in 0..IDENTIFY_SIZE - 32) {
        let mut bytes = [0xA5; IDENTIFY_SIZE];
        bytes[at..at + 32].copy_from_slice(&seed);
        let id = IdentifyController::read_from_bytes(&bytes).unwrap();
        prop_assert_eq!(id.as_bytes(), bytes);
        prop_assert_eq!(id.to_string().lines().count(), 107 + usize::from(id.npss_z).min(31) + 1);
    }

    #[test]
    fn namespace_lists_survive(nsids in proptest::collection::vec(1_u32.., 0..1024)) {
        let list = NamespaceList::new(nsids.iter().copied());
        prop_assert_eq!(list.iter().collect::<Vec<_>>(), nsids);
    }

    #[test]
    fn controller_lists_survive(cntlids in proptest::collection::vec(any::<u16>(), 0..2047)) {
        let list = ControllerList::new(cntlids.iter().copied());
        prop_assert_eq!(list.iter().collect::<Vec<_>>(), cntlids);
    }

    #[test]
    fn descriptors_survive(
        eui64: [u8; 8], nguid: [u8; 16], csi: u8,
        nidt in 5_u8.., nid in proptest::collection::vec(any::<u8>(), 1..256),
    ) {
        let written = [
            NamespaceDescriptor::Eui64(eui64),
            NamespaceDescriptor::Nguid(nguid),
            NamespaceDescriptor::Csi(csi.into()),
            NamespaceDescriptor::Other { nidt: nidt.into(), nid: &nid },
        ];
        let mut buffer = [0; IDENTIFY_SIZE];
        let mut rest = &mut buffer[..];
        for descriptor in &written {
            rest = descriptor.put(rest).unwrap();
        }
        prop_assert_eq!(NamespaceDescriptors::new(&buffer).collect::<Vec<_>>(), written);
    }

    #[test]
    fn any_descriptor_list_ends(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let printed: usize = NamespaceDescriptors::new(&bytes).map(|id| id.to_string().len()).sum();
        prop_assert!(printed <= 8 * bytes.len());
    }
}
