//! Namespaces made, attached, formatted and deleted by a host.

use p2pdma_devices::Error;
use p2pdma_devices::nvme::{NamespaceConfig, NvmeConfig, Subsystem, SubsystemConfig};
use p2pdma_fabric::Timing;
use p2pdma_pci::topology::IommuMode;
use p2pdma_spec::nvme::NSID_ALL;
use p2pdma_spec::nvme::admin::{AdminOpcode, Cns, FormatNvmCdw10, SecureErase};
use p2pdma_spec::nvme::identify::{ControllerList, IdentifyController, NamespaceList};
use p2pdma_spec::nvme::namespace::{Dps, Flbas, IdentifyNamespace, NamespaceCreation, Nmic};
use p2pdma_spec::nvme::protection::ProtectionType;
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::status::Status;

use crate::host::{Board, Host, Outcome, contents, fill};

const SPARE: u64 = 64 << 20;

fn config() -> SubsystemConfig {
    let namespace = NamespaceConfig { blocks: 256, ..NamespaceConfig::default() };
    SubsystemConfig {
        namespaces: vec![namespace],
        max_namespaces: 4,
        spare_capacity: SPARE,
        ..SubsystemConfig::default()
    }
}

fn host() -> Host {
    Host::with(NvmeConfig { subsystem: config(), ..NvmeConfig::default() })
}

/// 1000 blocks of 4096 bytes.
fn creation() -> NamespaceCreation {
    NamespaceCreation {
        nsze: 1000.into(),
        ncap: 1000.into(),
        flbas: Flbas::new().with_format_index(1),
        nmic: Nmic::new().with_shrns(true),
        ..NamespaceCreation::default()
    }
}

impl Host {
    fn create_namespace(&mut self, wanted: &NamespaceCreation) -> Outcome {
        let buffer = self.buffer(4096);
        buffer.memory().write_value(0, wanted).unwrap();
        let mut entry = SubmissionEntry::new(AdminOpcode::NAMESPACE_MANAGEMENT, 0);
        entry.dptr = self.prps(&buffer);
        self.admin(entry)
    }

    fn delete_namespace(&mut self, nsid: u32) -> Outcome {
        let mut entry = SubmissionEntry::new(AdminOpcode::NAMESPACE_MANAGEMENT, nsid);
        entry.cdw10 = 1.into();
        self.admin(entry)
    }

    fn attach(&mut self, nsid: u32, select: u32, controllers: &[u16]) -> Outcome {
        let list = ControllerList::new(controllers.iter().copied());
        self.attach_list(nsid, select, &list)
    }

    fn attach_list(&mut self, nsid: u32, select: u32, list: &ControllerList) -> Outcome {
        let buffer = self.buffer(4096);
        buffer.memory().write_value(0, list).unwrap();
        let mut entry = SubmissionEntry::new(AdminOpcode::NAMESPACE_ATTACHMENT, nsid);
        entry.cdw10 = select.into();
        entry.dptr = self.prps(&buffer);
        self.admin(entry)
    }

    pub(crate) fn format(&mut self, nsid: u32, cdw10: FormatNvmCdw10) -> Outcome {
        let mut entry = SubmissionEntry::new(AdminOpcode::FORMAT_NVM, nsid);
        entry.cdw10 = cdw10.into();
        self.admin(entry)
    }

    fn unallocated(&mut self) -> u128 {
        self.identify::<IdentifyController>(Cns::CONTROLLER, 0).unwrap().unvmcap.get()
    }
}

#[test]
fn a_namespace_from_making_to_deleting() {
    let mut host = host();
    let buffer = host.buffer(4096);
    assert_eq!(host.create_namespace(&creation()), Ok(2));
    assert_eq!(host.unallocated(), u128::from(SPARE) - 4_096_000);
    assert_eq!(host.read(2, 0, 1, &buffer), Err(Status::INVALID_FIELD));
    host.attach(2, 0, &[0]).unwrap();
    fill(buffer.memory(), 1);
    let written = contents(buffer.memory());
    host.write(2, 999, 1, &buffer).unwrap();
    assert_eq!(host.write(2, 1000, 1, &buffer), Err(Status::LBA_OUT_OF_RANGE));
    host.attach(2, 1, &[0]).unwrap();
    assert_eq!(host.read(2, 999, 1, &buffer), Err(Status::INVALID_FIELD));
    host.attach(2, 0, &[0]).unwrap();
    host.read(2, 999, 1, &buffer).unwrap();
    assert!(contents(buffer.memory()) == written);
    host.delete_namespace(2).unwrap();
    assert_eq!(host.unallocated(), u128::from(SPARE));
    assert_eq!(host.read(2, 999, 1, &buffer), Err(Status::INVALID_FIELD));
    // The identifier is used again, the identity is not, and the blocks are new.
    let first: IdentifyNamespace = host.identify(Cns::ALLOCATED_NAMESPACE, 1).unwrap();
    assert_eq!(host.create_namespace(&creation()), Ok(2));
    host.attach(2, 0, &[0]).unwrap();
    let second: IdentifyNamespace = host.identify(Cns::NAMESPACE, 2).unwrap();
    assert_ne!(first.nguid, second.nguid);
    host.read(2, 999, 1, &buffer).unwrap();
    assert_eq!(contents(buffer.memory()), [0; 4096]);
}

#[test]
fn namespaces_that_cannot_be_made() {
    let mut host = host();
    let good = creation();
    let cases = [
        (NamespaceCreation { nsze: 0.into(), ncap: 0.into(), ..good }, Status::INVALID_FIELD),
        (NamespaceCreation { ncap: 500.into(), ..good }, Status::THIN_PROVISIONING_NOT_SUPPORTED),
        (
            NamespaceCreation { flbas: Flbas::new().with_format_index(8), ..good },
            Status::INVALID_FORMAT,
        ),
        (
            NamespaceCreation { dps: Dps::new().with_pit(ProtectionType::TYPE_1), ..good },
            Status::INVALID_FORMAT,
        ),
        (
            NamespaceCreation { dps: Dps::new().with_pit(ProtectionType::from_bits(4)), ..good },
            Status::INVALID_FORMAT,
        ),
        (
            NamespaceCreation { nsze: 16_385.into(), ncap: 16_385.into(), ..good },
            Status::NAMESPACE_INSUFFICIENT_CAPACITY,
        ),
        (
            NamespaceCreation { nsze: u64::MAX.into(), ncap: u64::MAX.into(), ..good },
            Status::NAMESPACE_INSUFFICIENT_CAPACITY,
        ),
        (NamespaceCreation { nvmsetid: 1.into(), ..good }, Status::INVALID_FIELD),
        (NamespaceCreation { endgid: 1.into(), ..good }, Status::INVALID_FIELD),
        (NamespaceCreation { anagrpid: 1.into(), ..good }, Status::INVALID_FIELD),
    ];
    for (wanted, status) in cases {
        assert_eq!(host.create_namespace(&wanted), Err(status), "{wanted}");
    }
    let mut entry = SubmissionEntry::new(AdminOpcode::NAMESPACE_MANAGEMENT, 0);
    entry.cdw11 = (1 << 24).into();
    assert_eq!(host.admin(entry), Err(Status::COMMAND_SET_NOT_SUPPORTED));
    (entry.cdw10, entry.cdw11) = (2.into(), 0.into());
    assert_eq!(host.admin(entry), Err(Status::INVALID_FIELD));
    let tiny = NamespaceCreation { nsze: 1.into(), ncap: 1.into(), ..good };
    for nsid in 2..5 {
        assert_eq!(host.create_namespace(&tiny), Ok(nsid));
    }
    assert_eq!(host.create_namespace(&tiny), Err(Status::NAMESPACE_ID_UNAVAILABLE));
    host.delete_namespace(3).unwrap();
    assert_eq!(host.create_namespace(&tiny), Ok(3));
    for (nsid, status) in
        [(0, Status::INVALID_NAMESPACE_OR_FORMAT), (5, Status::INVALID_NAMESPACE_OR_FORMAT)]
    {
        assert_eq!(host.delete_namespace(nsid), Err(status));
    }
    host.delete_namespace(2).unwrap();
    assert_eq!(host.delete_namespace(2), Err(Status::INVALID_FIELD));
    host.delete_namespace(NSID_ALL).unwrap();
    let left: NamespaceList = host.identify(Cns::ALLOCATED_NAMESPACES, 0).unwrap();
    assert_eq!(left.iter().count(), 0);
}

/// A namespace in memory has at most 64 TiB, whoever makes it: its last block can be written at the cost of
/// what is written, and a larger one is refused before anything is allocated.
#[test]
fn memory_has_a_bound() {
    const MOST: u64 = (64 << 40) / 4096;
    for (blocks, possible) in [
        (MOST, true),
        (MOST + 1, false),
        (1_000_000 << 28, false),
        ((1 << 62) / 4096 - 1, false),
        ((1 << 62) / 4096, false),
        (u64::MAX / 4096, false),
        (u64::MAX, false),
    ] {
        let namespace = NamespaceConfig { blocks, ..NamespaceConfig::default() };
        let subsystem =
            SubsystemConfig { namespaces: vec![namespace], ..SubsystemConfig::default() };
        match Subsystem::new(subsystem) {
            Ok(_) => assert!(possible, "{blocks} blocks"),
            Err(error) => {
                assert!(!possible && matches!(error, Error::Value { .. }), "{blocks}: {error}");
            }
        }
    }
    let subsystem = SubsystemConfig { spare_capacity: 1 << 61, ..config() };
    let mut host = Host::with(NvmeConfig { subsystem, ..NvmeConfig::default() });
    for blocks in [MOST + 1, 1 << 45] {
        let wanted = NamespaceCreation { nsze: blocks.into(), ncap: blocks.into(), ..creation() };
        let refused = Err(Status::NAMESPACE_INSUFFICIENT_CAPACITY);
        assert_eq!(host.create_namespace(&wanted), refused);
    }
    let wanted = NamespaceCreation { nsze: MOST.into(), ncap: MOST.into(), ..creation() };
    assert_eq!(host.create_namespace(&wanted), Ok(2));
    host.attach(2, 0, &[0]).unwrap();
    let (from, to) = (host.buffer(4096), host.buffer(4096));
    fill(from.memory(), 1);
    host.write(2, MOST - 1, 1, &from).unwrap();
    host.read(2, MOST - 1, 1, &to).unwrap();
    assert_eq!(contents(from.memory()), contents(to.memory()));
    host.read(2, MOST / 2, 1, &to).unwrap();
    assert_eq!(contents(to.memory()), [0; 4096]);
    host.format(2, FormatNvmCdw10::new().with_format_index(0)).unwrap();
    host.read(2, 8 * MOST - 8, 8, &to).unwrap();
    assert_eq!(contents(to.memory()), [0; 4096]);
}

#[test]
fn attachment() {
    let subsystem = Subsystem::new(config()).unwrap();
    let mut board = Board::new(IommuMode::Translate, Timing::Ideal);
    for name in ["a", "b"] {
        board.plug(name, subsystem.controller(Default::default()).unwrap());
    }
    let fabric = board.build();
    let mut host = Host::open(fabric, "a");
    host.enable();
    let private = NamespaceCreation { nmic: Nmic::new(), ..creation() };
    assert_eq!(host.create_namespace(&creation()), Ok(2));
    assert_eq!(host.create_namespace(&private), Ok(3));
    let invalid = Err(Status::CONTROLLER_LIST_INVALID);
    assert_eq!(host.attach(2, 0, &[]), invalid);
    assert_eq!(host.attach(2, 0, &[2]), invalid);
    assert_eq!(host.attach(2, 0, &[0, 0xFFFF]), invalid);
    let mut long = ControllerList::new([0; 2047]);
    long.numid.set(2048);
    assert_eq!(host.attach_list(2, 0, &long), invalid);
    assert_eq!(host.attach(2, 2, &[0]), Err(Status::INVALID_FIELD));
    assert_eq!(host.attach(4, 0, &[0]), Err(Status::INVALID_FIELD));
    assert_eq!(host.attach(0, 0, &[0]), Err(Status::INVALID_NAMESPACE_OR_FORMAT));
    assert_eq!(host.attach(5, 0, &[0]), Err(Status::INVALID_NAMESPACE_OR_FORMAT));
    assert_eq!(host.attach(NSID_ALL, 0, &[0]), Err(Status::INVALID_NAMESPACE_OR_FORMAT));
    assert_eq!(host.attach(2, 1, &[0]), Err(Status::NAMESPACE_NOT_ATTACHED));
    host.attach(2, 0, &[0, 1]).unwrap();
    assert_eq!(host.attach(2, 0, &[1]), Err(Status::NAMESPACE_ALREADY_ATTACHED));
    host.attach(2, 1, &[1]).unwrap();
    assert_eq!(host.attach(2, 1, &[0, 1]), Err(Status::NAMESPACE_NOT_ATTACHED));
    assert_eq!(host.attach(3, 0, &[0, 1]), Err(Status::NAMESPACE_IS_PRIVATE));
    host.attach(3, 0, &[1]).unwrap();
    assert_eq!(host.attach(3, 0, &[0]), Err(Status::NAMESPACE_IS_PRIVATE));
}

/// Every format there is, and that what was there before is gone.
#[test]
fn formats() {
    let mut host = host();
    let buffer = host.buffer(8192);
    for index in 0..64 {
        for extended in [false, true] {
            for protection in 0..8 {
                let protection = ProtectionType::from_bits(protection);
                let cdw10 = FormatNvmCdw10::new()
                    .with_format_index(index)
                    .with_mset(extended)
                    .with_pi(protection);
                let possible = index < 8
                    && ProtectionType::KNOWN.contains(&protection)
                    && (protection == ProtectionType::NONE || index >= 2);
                let result = host.format(1, cdw10);
                if !possible {
                    assert_eq!(result, Err(Status::INVALID_FORMAT), "{cdw10}");
                    continue;
                }
                result.unwrap();
                let identify: IdentifyNamespace = host.identify(Cns::NAMESPACE, 1).unwrap();
                let data = identify.block_bytes().unwrap();
                let stride = data + u64::from(identify.format().ms());
                assert_eq!(identify.nsze.get(), 256 * 4096 / stride, "{cdw10}");
                assert_eq!(identify.dps.pit(), protection);
            }
        }
    }
    // Back to plain blocks: nothing of what was written is left.
    let plain = FormatNvmCdw10::new().with_format_index(1);
    host.format(1, plain).unwrap();
    fill(buffer.memory(), 1);
    host.write(1, 0, 2, &buffer).unwrap();
    host.format(NSID_ALL, plain.with_ses(SecureErase::CRYPTOGRAPHIC)).unwrap();
    host.read(1, 0, 2, &buffer).unwrap();
    assert_eq!(contents(buffer.memory()), [0; 8192]);
    let reserved = plain.with_ses(SecureErase::from_bits(5));
    assert_eq!(host.format(1, reserved), Err(Status::INVALID_FIELD));
    assert_eq!(host.format(0, plain), Err(Status::INVALID_NAMESPACE_OR_FORMAT));
    assert_eq!(host.format(2, plain), Err(Status::INVALID_FIELD));
}

#[test]
fn firmware_is_read_only() {
    let mut host = host();
    let commit = |host: &mut Host, slot: u32, action: u32| {
        let mut entry = SubmissionEntry::new(AdminOpcode::FIRMWARE_COMMIT, 0);
        entry.cdw10 = (slot | action << 3).into();
        host.admin(entry)
    };
    let read_only = Err(Status::INVALID_FIRMWARE_SLOT);
    for slot in 0..8 {
        assert_eq!(commit(&mut host, slot, 0), read_only);
        assert_eq!(commit(&mut host, slot, 1), read_only);
        let there = if slot <= 1 { Ok(0) } else { read_only };
        assert_eq!(commit(&mut host, slot, 2), there);
        assert_eq!(commit(&mut host, slot, 3), there);
        for action in 4..8 {
            assert_eq!(commit(&mut host, slot, action), Err(Status::INVALID_FIELD));
        }
    }
    let buffer = host.buffer(4096);
    let mut entry = SubmissionEntry::new(AdminOpcode::FIRMWARE_IMAGE_DOWNLOAD, 0);
    entry.dptr = host.prps(&buffer);
    entry.cdw10 = 1023.into();
    host.admin(entry).unwrap();
    entry.cdw10 = u32::MAX.into();
    assert_eq!(host.admin(entry), Err(Status::INVALID_FIELD));
}
