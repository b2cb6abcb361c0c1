//! Asynchronous events.

use p2pdma_devices::nvme::{NamespaceConfig, NvmeConfig, Subsystem, SubsystemConfig};
use p2pdma_fabric::{Fabric, Timing};
use p2pdma_pci::Function as _;
use p2pdma_pci::topology::IommuMode;
use p2pdma_spec::nvme::admin::{
    AbortCdw10, AdminOpcode, AsyncErrorInfo, AsyncEventResult, AsyncEventType, AsyncHealthInfo,
    AsyncNoticeInfo, LogPageRequest,
};
use p2pdma_spec::nvme::feature::FeatureId;
use p2pdma_spec::nvme::identify::NamespaceList;
use p2pdma_spec::nvme::log::{CriticalWarning, ErrorEntry, LogPageId, SmartHealth};
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::registers::offset;
use p2pdma_spec::nvme::status::Status;

use crate::host::{Board, Host, outcome};

impl Host {
    /// Sends event requests, which do not complete now.
    fn request_events(&mut self, count: usize) {
        for _ in 0..count {
            self.admin.push(SubmissionEntry::new(AdminOpcode::ASYNC_EVENT_REQUEST, 0));
        }
        self.ring_tail(0, self.admin.tail);
        self.settle();
    }

    /// Whatever the admin queue has completed.
    fn admin_completions(&mut self) -> Vec<Result<AsyncEventResult, Status>> {
        self.settle();
        let mut found = Vec::new();
        while let Some(completion) = self.admin.pop() {
            self.ring_head(0, self.admin.head);
            self.settle();
            found.push(outcome(&completion).map(AsyncEventResult::from_bits));
        }
        found
    }

    fn clear(&mut self, lid: LogPageId) {
        let (result, _) = self.log_part(LogPageRequest::new(lid, 16), 0, 64);
        result.unwrap();
    }
}

fn error(info: AsyncErrorInfo) -> Result<AsyncEventResult, Status> {
    let event = AsyncEventResult::new().with_event_type(AsyncEventType::ERROR);
    Ok(event.with_info(info.into_bits()).with_lid(LogPageId::ERROR_INFORMATION))
}

/// Doorbells of queues that do not exist, and values that cannot be: an event each, and nothing else.
#[test]
fn doorbell_values_that_cannot_be_are_events() {
    let mut host = Host::with(NvmeConfig::default());
    let buffer = host.buffer(4096);
    let register = error(AsyncErrorInfo::INVALID_DOORBELL_REGISTER);
    let value = error(AsyncErrorInfo::INVALID_DOORBELL_VALUE);
    type Case<'a> = (&'a dyn Fn(&Host), Result<AsyncEventResult, Status>);
    let cases: [Case<'_>; 9] = [
        (&|host| host.ring_tail(2, 1), register),
        (&|host| host.ring_head(2, 1), register),
        (&|host| host.ring_tail(400, 1), register),
        (&|host| host.ring_tail(1, 64), value),
        (&|host| host.ring_tail(1, 0xFFFF_FFFF), value),
        (&|host| host.ring_tail(1, host.io[0].tail), value),
        (&|host| host.ring_head(1, 64), value),
        (&|host| host.ring_head(1, (host.io[0].head + 1) % 64), value),
        (&|host| host.ring_head(0, 0x1_0000), value),
    ];
    for (ring, expected) in cases {
        host.request_events(1);
        assert_eq!(host.admin_completions(), []);
        ring(&host);
        assert_eq!(host.admin_completions(), [expected]);
        host.clear(LogPageId::ERROR_INFORMATION);
        assert!(!host.csts().cfs());
        host.read(1, 0, 1, &buffer).unwrap();
    }
    let log: [ErrorEntry; 2] = host.log(LogPageId::ERROR_INFORMATION, 0);
    assert_eq!((log[0].sqid.get(), log[0].cid.get()), (0xFFFF, 0xFFFF));
}

/// More doorbells than there can be commands: the tail may not pass the head.
#[test]
fn a_tail_beyond_the_head_is_refused() {
    let mut host = Host::bare(NvmeConfig::default());
    host.enable();
    host.create_queue(8);
    // A completion queue that stays full, so that commands stay in the submission queue.
    for _ in 0..7 {
        host.io[0].push(SubmissionEntry::new(0_u8, 1));
    }
    host.ring_tail(1, 7);
    host.settle();
    for _ in 0..4 {
        host.io[0].push(SubmissionEntry::new(0_u8, 1));
    }
    host.ring_tail(1, 3);
    host.settle();
    host.request_events(1);
    // Head is at 7, four are pending: three more would fit, four would not.
    host.ring_tail(1, 7);
    assert_eq!(host.admin_completions(), [error(AsyncErrorInfo::INVALID_DOORBELL_VALUE)]);
    host.ring_tail(1, 6);
    assert_eq!(host.drain(0).len(), 7);
    assert_eq!(host.drain(0).len(), 7);
}

#[test]
fn requests_are_limited() {
    let mut host = Host::with(NvmeConfig::default());
    host.request_events(9);
    assert_eq!(host.admin_completions(), [Err(Status::ASYNC_EVENT_LIMIT_EXCEEDED)]);
}

/// Outstanding requests take no room in the completion queue: with as many as there can be, and an admin
/// queue of two entries, commands still work.
#[test]
fn requests_do_not_block_the_admin_queue() {
    use p2pdma_spec::nvme::registers::{Aqa, offset};
    let mut host = Host::bare(NvmeConfig::default());
    host.program_admin();
    let aqa = Aqa::new().with_asqs_z(63).with_acqs_z(1);
    host.bar.write32(offset::AQA, aqa.into_bits()).unwrap();
    host.set_cc(Host::plain_cc().with_en(true));
    for _ in 0..8 {
        host.admin.push(SubmissionEntry::new(AdminOpcode::ASYNC_EVENT_REQUEST, 0));
    }
    for _ in 0..6 {
        host.admin.push(SubmissionEntry::new(AdminOpcode::KEEP_ALIVE, 0));
    }
    host.ring_tail(0, 14);
    host.settle();
    for turn in 0..6_usize {
        let slot = turn % 2;
        let entry: [u8; 16] = host.admin.cq.memory().read_value(slot * 16).unwrap();
        assert_eq!((entry[12], entry[14] & 1), (8 + turn as u8, 1 - (turn / 2 % 2) as u8));
        host.ring_head(0, u32::try_from((slot + 1) % 2).unwrap());
        host.settle();
    }
}

/// One event of a type is reported; the next after the log page was read.
#[test]
fn a_type_is_masked_until_its_log_page_is_read() {
    let mut host = Host::with(NvmeConfig::default());
    host.request_events(4);
    host.ring_tail(2, 1);
    host.ring_tail(1, 64);
    assert_eq!(host.admin_completions(), [error(AsyncErrorInfo::INVALID_DOORBELL_REGISTER)]);
    // Retaining the event does not unmask it.
    let retain =
        LogPageRequest { rae: true, ..LogPageRequest::new(LogPageId::ERROR_INFORMATION, 16) };
    host.log_part(retain, 0, 64).0.unwrap();
    host.ring_tail(3, 1);
    assert_eq!(host.admin_completions(), []);
    host.clear(LogPageId::ERROR_INFORMATION);
    assert_eq!(host.admin_completions(), []);
    host.ring_tail(3, 1);
    assert_eq!(host.admin_completions(), [error(AsyncErrorInfo::INVALID_DOORBELL_REGISTER)]);
}

/// An event that comes before the request waits for it.
#[test]
fn events_wait_for_requests() {
    let mut host = Host::with(NvmeConfig::default());
    host.ring_tail(9, 1);
    host.settle();
    host.request_events(1);
    assert_eq!(host.admin_completions(), [error(AsyncErrorInfo::INVALID_DOORBELL_REGISTER)]);
}

#[test]
fn a_request_can_be_aborted() {
    let mut host = Host::with(NvmeConfig::default());
    let cid = host.admin.push(SubmissionEntry::new(AdminOpcode::ASYNC_EVENT_REQUEST, 0));
    let mut abort = SubmissionEntry::new(AdminOpcode::ABORT, 0);
    abort.cdw10 = AbortCdw10::new().with_sqid(0).with_cid(cid).into();
    host.admin.push(abort);
    host.admin.push(abort);
    host.ring_tail(0, host.admin.tail);
    let results = host.admin_completions();
    assert_eq!(results.len(), 3);
    assert_eq!(results[0], Err(Status::ABORT_REQUESTED));
    // Dword 0 bit 0: not aborted.
    assert_eq!(results[1].unwrap().into_bits(), 0);
    assert_eq!(results[2].unwrap().into_bits(), 1);
}

#[test]
fn temperature_warnings() {
    let mut host = Host::with(NvmeConfig::default());
    let warning = CriticalWarning::new().with_ttc(true);
    host.request_events(2);
    host.set_over(300);
    assert_eq!(host.admin_completions(), [], "the host has not asked for it");
    let health: SmartHealth = host.log(LogPageId::SMART_HEALTH, 0);
    assert_eq!(health.critical_warning, warning);
    let wanted = u32::from(warning.into_bits());
    host.set_feature_now(FeatureId::ASYNC_EVENT_CONFIGURATION, wanted);
    let event = AsyncEventResult::new()
        .with_event_type(AsyncEventType::HEALTH)
        .with_info(AsyncHealthInfo::TEMPERATURE_THRESHOLD.into_bits())
        .with_lid(LogPageId::SMART_HEALTH);
    assert_eq!(host.admin_completions(), [Ok(event)]);
    host.set_over(358);
    let health: SmartHealth = host.log(LogPageId::SMART_HEALTH, 0);
    assert_eq!(health.critical_warning.into_bits(), 0);
}

impl Host {
    fn set_over(&mut self, kelvins: u32) {
        self.set_feature_now(FeatureId::TEMPERATURE_THRESHOLD, kelvins);
    }

    /// Set Features, where event completions may come in between.
    fn set_feature_now(&mut self, id: FeatureId, value: u32) {
        let mut entry = SubmissionEntry::new(AdminOpcode::SET_FEATURES, 0);
        (entry.cdw10, entry.cdw11) = (u32::from(id.into_bits()).into(), value.into());
        let cid = self.admin.push(entry);
        self.ring_tail(0, self.admin.tail);
        self.settle();
        let completion = self.admin.pop().unwrap();
        assert_eq!(completion.cid.get(), cid);
        outcome(&completion).unwrap();
        self.ring_head(0, self.admin.head);
    }
}

fn namespace_changed() -> Result<AsyncEventResult, Status> {
    Ok(AsyncEventResult::new()
        .with_event_type(AsyncEventType::NOTICE)
        .with_info(AsyncNoticeInfo::ATTACHED_NAMESPACE_CHANGED.into_bits())
        .with_lid(LogPageId::CHANGED_ATTACHED_NAMESPACES))
}

/// What one controller does to a shared namespace, the other's host hears of, though it does nothing: in
/// the same machine, and in one of its own (a drive with two ports).
#[test]
fn namespace_changes_are_notices_to_an_idle_host() {
    for machines in [1, 2] {
        let subsystem = Subsystem::new(SubsystemConfig {
            namespaces: vec![NamespaceConfig { blocks: 64, ..NamespaceConfig::default() }],
            ..SubsystemConfig::default()
        })
        .unwrap();
        let mut boards = [(); 2].map(|()| Board::new(IommuMode::Translate, Timing::Ideal));
        boards[0].plug("a", subsystem.controller(Default::default()).unwrap());
        boards[machines - 1].plug("b", subsystem.controller(Default::default()).unwrap());
        let fabrics = boards.map(Board::build);
        let open = |fabric: &Fabric, name| {
            let mut host = Host::open(fabric.clone(), name);
            host.enable();
            host
        };
        let (mut a, mut b) = (open(&fabrics[0], "a"), open(&fabrics[machines - 1], "b"));
        b.set_feature(FeatureId::ASYNC_EVENT_CONFIGURATION, false, 0, 1 << 8).unwrap();
        b.request_events(2);
        for _ in 0..2 {
            a.admin(SubmissionEntry::new(AdminOpcode::FORMAT_NVM, 1)).unwrap();
            assert_eq!(b.admin_completions(), [namespace_changed()], "{machines} machines");
            let changed: NamespaceList = b.log(LogPageId::CHANGED_ATTACHED_NAMESPACES, 0);
            assert_eq!(changed.iter().collect::<Vec<_>>(), [1]);
            let changed: NamespaceList = b.log(LogPageId::CHANGED_ATTACHED_NAMESPACES, 0);
            assert_eq!(changed.iter().count(), 0);
        }
        // Its bell is void after a reset, and it is heard again when it works again.
        b.function.reset().unwrap();
        a.admin(SubmissionEntry::new(AdminOpcode::FORMAT_NVM, 1)).unwrap();
        let mut b = open(&fabrics[machines - 1], "b");
        b.set_feature(FeatureId::ASYNC_EVENT_CONFIGURATION, false, 0, 1 << 8).unwrap();
        b.request_events(1);
        assert_eq!(b.admin_completions(), []);
        a.admin(SubmissionEntry::new(AdminOpcode::FORMAT_NVM, 1)).unwrap();
        assert_eq!(b.admin_completions(), [namespace_changed()]);
    }
}

/// A region whose file cannot be written any more is reported to a host that does nothing: once, and as
/// what the health log then says.
#[test]
#[cfg(target_os = "linux")]
fn a_failed_memory_region_is_reported_to_an_idle_host() {
    use p2pdma_devices::nvme::{ControllerConfig, PmrConfig};
    use p2pdma_pci::BarIndex;
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
    use std::os::fd::AsRawFd as _;

    for by_status in [false, true] {
        let file = memfd_create("pmr", MemfdFlags::ALLOW_SEALING).unwrap();
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let region = PmrConfig { len: 1 << 20, file: Some(path.into()), ..PmrConfig::default() };
        let controller = ControllerConfig { pmr: Some(region), ..ControllerConfig::default() };
        let mut host = Host::with(NvmeConfig { controller, ..NvmeConfig::default() });
        host.bar.write32(offset::PMRCTL, 1).unwrap();
        let memory = host.function.map_bar(BarIndex::new(4).unwrap()).unwrap();
        let wanted = CriticalWarning::new().with_pmrro(true);
        let id = FeatureId::ASYNC_EVENT_CONFIGURATION;
        host.set_feature(id, false, 0, u32::from(wanted.into_bits())).unwrap();
        host.request_events(2);
        let barrier = |host: &Host| {
            memory.write(0, &[7; 64]).unwrap();
            if by_status {
                host.bar.read32(offset::PMRSTS).unwrap();
            } else {
                memory.read(0, &mut [0]).unwrap();
            }
        };
        barrier(&host);
        assert_eq!(host.admin_completions(), []);
        fcntl_add_seals(&file, SealFlags::WRITE).unwrap();
        barrier(&host);
        let event = AsyncEventResult::new()
            .with_event_type(AsyncEventType::HEALTH)
            .with_info(AsyncHealthInfo::RELIABILITY.into_bits())
            .with_lid(LogPageId::SMART_HEALTH);
        assert_eq!(host.admin_completions(), [Ok(event)]);
        let health: SmartHealth = host.log(LogPageId::SMART_HEALTH, 0);
        assert_eq!(health.critical_warning, wanted);
        barrier(&host);
        assert_eq!(host.admin_completions(), []);
    }
}
