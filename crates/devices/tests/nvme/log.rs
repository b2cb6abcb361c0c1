//! Log pages: contents, and every bound of offset and length (CVE-2021-3947, CVE-2023-4135).

use p2pdma_devices::nvme::{
    ControllerConfig, NamespaceConfig, NvmeConfig, Subsystem, SubsystemConfig,
};
use p2pdma_fabric::Timing;
use p2pdma_pci::topology::IommuMode;
use p2pdma_spec::nvme::NSID_ALL;
use p2pdma_spec::nvme::admin::{AdminOpcode, Cns, LogPageRequest};
use p2pdma_spec::nvme::feature::FeatureId;
use p2pdma_spec::nvme::identify::{IdentifyController, Lpa, NamespaceList};
use p2pdma_spec::nvme::log::{
    CommandsEffects, ErrorEntry, FeaturesEffects, FirmwareSlots, LogPageId, SmartHealth,
    SupportedLogPages,
};
use p2pdma_spec::nvme::nvm::{CopyFormat, NvmOpcode, ReadWriteCdw12};
use p2pdma_spec::nvme::protection::{Prinfo, ProtectionType};
use p2pdma_spec::nvme::queue::{DataPointer, SubmissionEntry};
use p2pdma_spec::nvme::status::Status;
use zerocopy::FromBytes;

use crate::commands::range;
use crate::host::{Board, Host, Outcome, contents, outcome};

/// Bytes around and behind the buffer for a log page, which nobody may touch.
const GUARD: usize = 4096;

impl Host {
    /// Part of a log page into a guarded buffer of `room` bytes.
    pub(crate) fn log_part(
        &mut self,
        request: LogPageRequest,
        nsid: u32,
        room: usize,
    ) -> (Outcome, Vec<u8>) {
        let buffer = self.buffer(GUARD + room.next_multiple_of(4096) + GUARD);
        buffer.memory().fill(0, buffer.len(), 0xEE).unwrap();
        let mut entry = request.command(nsid);
        let start = buffer.iova().0 + GUARD as u64;
        let pages: Vec<u64> = (0..room as u64).step_by(4096).map(|at| start + at).collect();
        entry.dptr = self.prps_of(&pages);
        let result = outcome(&self.admin_entry(entry));
        let bytes = contents(buffer.memory());
        assert_eq!(bytes[..GUARD], [0xEE; GUARD], "before the buffer");
        assert!(bytes[GUARD + room..].iter().all(|byte| *byte == 0xEE), "behind the buffer");
        (result, bytes[GUARD..GUARD + room].to_vec())
    }

    pub(crate) fn log<T: FromBytes>(&mut self, lid: LogPageId, nsid: u32) -> T {
        let size = size_of::<T>();
        let request = LogPageRequest::new(lid, u32::try_from(size / 4).unwrap());
        let (result, bytes) = self.log_part(request, nsid, size);
        result.unwrap();
        T::read_from_bytes(&bytes).unwrap()
    }
}

const SIZES: [(LogPageId, u64); 8] = [
    (LogPageId::SUPPORTED_LOG_PAGES, 1024),
    (LogPageId::ERROR_INFORMATION, 64 * 64),
    (LogPageId::SMART_HEALTH, 512),
    (LogPageId::FIRMWARE_SLOT, 512),
    (LogPageId::CHANGED_ATTACHED_NAMESPACES, 4096),
    (LogPageId::COMMANDS_EFFECTS, 4096),
    (LogPageId::FEATURES_EFFECTS, 1024),
    (LogPageId::NVME_MI_EFFECTS, 4096),
];

/// A host after three errors.
fn host() -> Host {
    let mut host = Host::with(NvmeConfig::default());
    for _ in 0..3 {
        host.io(SubmissionEntry::new(0x7F_u8, 1)).unwrap_err();
    }
    host
}

/// CVE-2021-3947 and CVE-2023-4135: every page, every offset and length around every bound, against the whole
/// page.
#[test]
fn cve_2021_3947_cve_2023_4135_log_pages_at_every_offset_and_length() {
    let mut host = host();
    let (mut served, mut refused) = (0, 0);
    for (lid, size) in SIZES {
        let size_dwords = u32::try_from(size / 4).unwrap();
        let retain = LogPageRequest { rae: true, ..LogPageRequest::new(lid, size_dwords) };
        let offsets = [
            0,
            4,
            8,
            size / 2,
            size - 8,
            size - 4,
            size,
            size + 4,
            4096,
            8192,
            1 << 31,
            1 << 32,
            (1 << 32) + 4,
            (1 << 32) + size - 4,
            (1 << 63) - 4,
            1 << 63,
            u64::MAX - 3,
        ];
        for offset in offsets {
            for dwords in [1, 2, 16, size_dwords - 1, size_dwords, size_dwords + 1, 2048] {
                // Read anew each time: what is refused below is an error more.
                let (result, whole) = host.log_part(retain, 0, usize::try_from(size).unwrap());
                result.unwrap();
                let request = LogPageRequest { offset, numd_z: dwords - 1, ..retain };
                let room = dwords as usize * 4;
                let (result, bytes) = host.log_part(request, 0, room);
                if offset > size {
                    assert_eq!(result, Err(Status::INVALID_FIELD), "{lid} at {offset:#x}");
                    assert!(bytes.iter().all(|byte| *byte == 0xEE));
                    refused += 1;
                    continue;
                }
                result.unwrap();
                let start = usize::try_from(offset).unwrap();
                let end = whole.len().min(start + room);
                assert_eq!(bytes[..end - start], whole[start..end], "{lid} at {offset:#x}");
                assert!(bytes[end - start..].iter().all(|byte| *byte == 0));
                served += 1;
            }
        }
        for offset in [1, 2, 3, 5, size - 1] {
            let (result, _) = host.log_part(LogPageRequest { offset, ..retain }, 0, 4096);
            assert_eq!(result, Err(Status::INVALID_FIELD));
            refused += 1;
        }
        // Lengths beyond what a command may transfer, up to 16 GiB.
        for numd_z in [(1 << 18), (1 << 20) - 1, 1 << 30, u32::MAX - 1, u32::MAX] {
            let (result, _) = host.log_part(LogPageRequest { numd_z, ..retain }, 0, 4096);
            assert_eq!(result, Err(Status::INVALID_FIELD));
            refused += 1;
        }
        let indexed = LogPageRequest { ot: true, ..retain };
        assert_eq!(host.log_part(indexed, 0, 4096).0, Err(Status::INVALID_FIELD));
    }
    println!("log pages: {served} parts served, {refused} refused");
}

#[test]
fn pages_that_do_not_exist() {
    let mut host = host();
    let known: Vec<LogPageId> = SIZES.iter().map(|(lid, _)| *lid).collect();
    for lid in (0..=u8::MAX).map(LogPageId::from_bits).filter(|lid| !known.contains(lid)) {
        let (result, bytes) = host.log_part(LogPageRequest::new(lid, 16), NSID_ALL, 64);
        assert_eq!(result, Err(Status::INVALID_LOG_PAGE), "{lid}");
        assert_eq!(bytes, [0xEE; 64]);
    }
    let listed: SupportedLogPages = host.log(LogPageId::SUPPORTED_LOG_PAGES, 0);
    assert_eq!(listed.iter().map(|(lid, _)| lid).collect::<Vec<_>>(), known);
}

#[test]
fn errors_newest_first() {
    let mut host = host();
    let mut entry = SubmissionEntry::new(AdminOpcode::FABRICS, 5);
    entry.nsid = 5.into();
    host.admin(entry).unwrap_err();
    let entries: [ErrorEntry; 5] = host.log(LogPageId::ERROR_INFORMATION, 0);
    let counts = entries.map(|entry| entry.error_count.get());
    assert_eq!(counts, [4, 3, 2, 1, 0]);
    let newest = &entries[0];
    assert_eq!((newest.sqid.get(), newest.nsid.get(), newest.opcode), (0, 5, 0x7F));
    assert_eq!(newest.status.get().status(), Status::INVALID_OPCODE);
    assert_eq!(entries[1].sqid.get(), 1);
}

#[test]
fn health_counts() {
    let mut host = Host::with(NvmeConfig::default());
    let buffer = host.buffer(1 << 20);
    for _ in 0..3 {
        host.read(1, 0, 256, &buffer).unwrap();
    }
    host.write(1, 0, 256, &buffer).unwrap();
    for nsid in [0, NSID_ALL] {
        let health: SmartHealth = host.log(LogPageId::SMART_HEALTH, nsid);
        assert_eq!((health.host_read_commands.get(), health.host_write_commands.get()), (3, 1));
        // In thousands of 512-byte units, rounded up.
        assert_eq!((health.data_units_read.get(), health.data_units_written.get()), (7, 3));
        assert_eq!(health.composite_temperature.get().celsius(), 40);
        assert_eq!(health.critical_warning.into_bits(), 0);
    }
    let request = LogPageRequest::new(LogPageId::SMART_HEALTH, 128);
    assert_eq!(host.log_part(request, 1, 512).0, Err(Status::INVALID_FIELD));
    let beyond = host.log_part(request, 300, 512).0;
    assert_eq!(beyond, Err(Status::INVALID_NAMESPACE_OR_FORMAT));
}

/// Which commands count as reads and as writes, and that metadata does not; errors of media and of integrity
/// (NVM Command Set 1.2 §1.4.2.7 to §1.4.2.10).
#[test]
fn health_counts_what_the_command_set_says() {
    let protection = ProtectionType::TYPE_1;
    let namespace =
        NamespaceConfig { blocks: 512, metadata_size: 8, protection, ..NamespaceConfig::default() };
    let subsystem = SubsystemConfig { namespaces: vec![namespace], ..SubsystemConfig::default() };
    let mut host = Host::with(NvmeConfig { subsystem, ..NvmeConfig::default() });
    // 125 blocks are 1,000 units of 512 bytes, and with their metadata more.
    let (data, metadata) = (host.buffer(125 * 4096), host.buffer(4096));
    let command = |host: &mut Host, opcode, first, prinfo| {
        let mut entry = host.rw(opcode, 1, first, 125, &data);
        entry.cdw12 = ReadWriteCdw12::new().with_nlb_z(124).with_prinfo(prinfo).into();
        entry.mptr = metadata.iova().0.into();
        host.io(entry)
    };
    let plain = Prinfo::new();
    let mut before = [0; 5];
    let mut counts = |host: &mut Host| {
        let health: SmartHealth = host.log(LogPageId::SMART_HEALTH, 0);
        let now = [
            health.host_read_commands.get(),
            health.data_units_read.get(),
            health.host_write_commands.get(),
            health.data_units_written.get(),
            health.media_errors.get(),
        ];
        let counted = [0, 1, 2, 3, 4].map(|index| now[index] - before[index]);
        before = now;
        counted
    };
    for (opcode, reads, writes) in [
        (NvmOpcode::WRITE, [0, 0], [1, 1]),
        (NvmOpcode::READ, [1, 1], [0, 0]),
        (NvmOpcode::COMPARE, [1, 1], [0, 0]),
        (NvmOpcode::VERIFY, [0, 1], [0, 0]),
        (NvmOpcode::WRITE_ZEROES, [0, 0], [0, 0]),
        (NvmOpcode::WRITE_UNCORRECTABLE, [0, 0], [0, 0]),
    ] {
        // The last one spoils others.
        let first = if opcode == NvmOpcode::WRITE_UNCORRECTABLE { 300 } else { 0 };
        command(&mut host, opcode, first, plain).unwrap();
        let [[a, b], [c, d]] = [reads, writes];
        assert_eq!(counts(&mut host), [a, b, c, d, 0], "{opcode}");
    }
    host.copy(1, 125, CopyFormat::FORMAT_0, &[range(0, 0, 125)]).unwrap();
    assert_eq!(counts(&mut host), [1, 0, 1, 1, 0], "Copy");
    // What cannot be read, and what has no right guard: all zeroes are none.
    command(&mut host, NvmOpcode::WRITE, 0, plain).unwrap();
    data.memory().fill(0, 4096, 1).unwrap();
    command(&mut host, NvmOpcode::WRITE, 0, plain).unwrap();
    counts(&mut host);
    let guarded = plain.with_check_guard(true);
    for (opcode, first, prinfo, error) in [
        (NvmOpcode::READ, 300, plain, Status::UNRECOVERED_READ_ERROR),
        (NvmOpcode::COMPARE, 300, plain, Status::UNRECOVERED_READ_ERROR),
        (NvmOpcode::VERIFY, 300, plain, Status::UNRECOVERED_READ_ERROR),
        (NvmOpcode::READ, 0, guarded, Status::GUARD_CHECK_ERROR),
        (NvmOpcode::COMPARE, 0, guarded, Status::GUARD_CHECK_ERROR),
        (NvmOpcode::VERIFY, 0, guarded, Status::GUARD_CHECK_ERROR),
        (NvmOpcode::WRITE, 0, guarded, Status::GUARD_CHECK_ERROR),
    ] {
        assert_eq!(command(&mut host, opcode, first, prinfo), Err(error), "{opcode}");
        assert_eq!(counts(&mut host)[4], 1, "{opcode}");
    }
    let copied = host.copy(1, 0, CopyFormat::FORMAT_0, &[range(0, 300, 1)]);
    assert_eq!((copied, counts(&mut host)[4]), (Err(Status::UNRECOVERED_READ_ERROR), 1));
}

#[test]
fn firmware_and_effects() {
    let mut host = Host::with(NvmeConfig::default());
    let slots: FirmwareSlots = host.log(LogPageId::FIRMWARE_SLOT, 0);
    assert_eq!(slots.afi.current(), 1);
    assert_eq!(slots.frs[0].to_string(), "1.0");
    let effects: CommandsEffects = host.log(LogPageId::COMMANDS_EFFECTS, 0);
    // The log and the controller agree on what there is.
    for opcode in 0..=u8::MAX {
        if AdminOpcode::from_bits(opcode) == AdminOpcode::ASYNC_EVENT_REQUEST {
            continue;
        }
        let known = effects.admin[usize::from(opcode)].get().csupp();
        let refused = host.admin(SubmissionEntry::new(opcode, 0)) == Err(Status::INVALID_OPCODE);
        assert_ne!(known, refused, "admin {opcode:#x}");
        let known = effects.io[usize::from(opcode)].get().csupp();
        let refused = host.io(SubmissionEntry::new(opcode, 1)) == Err(Status::INVALID_OPCODE);
        assert_ne!(known, refused, "I/O {opcode:#x}");
    }
    assert!(effects.io[usize::from(NvmOpcode::WRITE.into_bits())].get().lbcc());
    let features: FeaturesEffects = host.log(LogPageId::FEATURES_EFFECTS, 0);
    // There is no volatile write cache, hence no feature to switch it.
    assert_eq!(features.iter().count(), 16);
    assert!(features.iter().all(|(id, _)| id != FeatureId::VOLATILE_WRITE_CACHE));
}

/// What Identify says of log pages, and what there is: no health for each namespace; a list of the pages, a
/// scope for each command, and pages of features and of NVMe-MI commands, of which there are none.
#[test]
fn log_pages_are_as_identify_says() {
    let mut host = Host::with(NvmeConfig::default());
    let identify: IdentifyController = host.identify(Cns::CONTROLLER, 0).unwrap();
    let expected = Lpa::new().with_cses(true).with_lpeds(true).with_mlps(true);
    assert_eq!(identify.lpa, expected);
    let request = LogPageRequest::new(LogPageId::SMART_HEALTH, 128);
    assert_eq!(host.log_part(request, 1, 512).0, Err(Status::INVALID_FIELD));
    let listed: SupportedLogPages = host.log(LogPageId::SUPPORTED_LOG_PAGES, 0);
    for lid in [LogPageId::FEATURES_EFFECTS, LogPageId::NVME_MI_EFFECTS] {
        assert!(listed.0[usize::from(lid.into_bits())].get().lsupp(), "{lid}");
    }
    let effects: CommandsEffects = host.log(LogPageId::COMMANDS_EFFECTS, 0);
    let supported = effects.admin.iter().chain(&effects.io).filter(|entry| entry.get().csupp());
    assert!(supported.clone().count() > 20);
    assert!(supported.clone().all(|entry| entry.get().csp().into_bits() != 0));
    let management: [u8; 4096] = host.log(LogPageId::NVME_MI_EFFECTS, 0);
    assert_eq!(management, [0; 4096]);
}

/// A command that fails at the offset, the length, a pointer or the transfer itself takes nothing from the
/// list of changed namespaces; nor does one that retains.
#[test]
fn a_failed_read_of_the_changed_namespaces_loses_none() {
    let namespace = NamespaceConfig { blocks: 64, ..NamespaceConfig::default() };
    let namespaces = vec![namespace];
    let config = SubsystemConfig { namespaces, ..SubsystemConfig::default() };
    let subsystem = Subsystem::new(config).unwrap();
    let mut board = Board::new(IommuMode::Translate, Timing::Ideal);
    for name in ["a", "b"] {
        board.plug(name, subsystem.controller(ControllerConfig::default()).unwrap());
    }
    let fabric = board.build();
    let [mut a, mut b] = ["a", "b"].map(|name| {
        let mut host = Host::open(fabric.clone(), name);
        host.enable();
        host
    });
    a.admin(SubmissionEntry::new(AdminOpcode::FORMAT_NVM, 1)).unwrap();
    let whole = LogPageRequest::new(LogPageId::CHANGED_ATTACHED_NAMESPACES, 1024);
    for request in [
        LogPageRequest { ot: true, ..whole },
        LogPageRequest { offset: 2, ..whole },
        LogPageRequest { offset: 8192, ..whole },
        LogPageRequest { numd_z: u32::MAX, ..whole },
    ] {
        assert_eq!(b.log_part(request, 0, 4096).0, Err(Status::INVALID_FIELD));
    }
    // A pointer that is not aligned, and a list of pages that is out of reach.
    let page = b.buffer(4096).iova().0;
    let long = LogPageRequest { numd_z: 3071, ..whole };
    for (request, pointer, status) in [
        (whole, DataPointer::prp(3, 0), Status::PRP_OFFSET_INVALID),
        (long, DataPointer::prp(page, 0x0123_4567_8000), Status::DATA_TRANSFER_ERROR),
    ] {
        let mut entry = request.command(0);
        entry.dptr = pointer;
        assert_eq!(b.admin(entry), Err(status));
    }
    let retained = b.log_part(LogPageRequest { rae: true, ..whole }, 0, 4096);
    assert_eq!((retained.0, &retained.1[..8]), (Ok(0), &[1, 0, 0, 0, 0, 0, 0, 0][..]));
    let changed: NamespaceList = b.log(LogPageId::CHANGED_ATTACHED_NAMESPACES, 0);
    assert_eq!(changed.iter().collect::<Vec<_>>(), [1]);
    let changed: NamespaceList = b.log(LogPageId::CHANGED_ATTACHED_NAMESPACES, 0);
    assert_eq!(changed.iter().count(), 0);
}
