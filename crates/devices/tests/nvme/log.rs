//! Log pages: contents, and every bound of offset and length (CVE-2021-3947, CVE-2023-4135).

use p2pdma_devices::nvme::NvmeConfig;
use p2pdma_spec::nvme::NSID_ALL;
use p2pdma_spec::nvme::admin::{AdminOpcode, LogPageRequest};
use p2pdma_spec::nvme::log::{
    CommandsEffects, ErrorEntry, FeaturesEffects, FirmwareSlots, LogPageId, SmartHealth,
    SupportedLogPages,
};
use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::status::Status;
use zerocopy::FromBytes;

use crate::host::{Host, Outcome, contents, outcome};

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

const SIZES: [(LogPageId, u64); 7] = [
    (LogPageId::SUPPORTED_LOG_PAGES, 1024),
    (LogPageId::ERROR_INFORMATION, 64 * 64),
    (LogPageId::SMART_HEALTH, 512),
    (LogPageId::FIRMWARE_SLOT, 512),
    (LogPageId::CHANGED_ATTACHED_NAMESPACES, 4096),
    (LogPageId::COMMANDS_EFFECTS, 4096),
    (LogPageId::FEATURES_EFFECTS, 1024),
];

/// A host after three errors.
fn host() -> Host {
    let mut host = Host::with(NvmeConfig::default());
    for _ in 0..3 {
        host.io(SubmissionEntry::new(0x7F_u8, 1)).unwrap_err();
    }
    host
}

/// Every page, every offset and length around every bound, against the whole page.
#[test]
fn offset_and_length_at_every_bound() {
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
    assert_eq!(features.iter().count(), 17);
}
