//! What the controller says of itself.

use p2pdma_nvme::{Error, Setting};
use p2pdma_spec::nvme::CommandSet;
use p2pdma_spec::nvme::admin::{AdminOpcode, Select};
use p2pdma_spec::nvme::feature::{FeatureId, NumberOfQueues, TemperatureThreshold, Timestamp};
use p2pdma_spec::nvme::log::LogPageId;
use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::registers::Vs;
use p2pdma_spec::nvme::status::Status;
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::support::{Bench, Stage, namespace, plain, ssd};

#[test]
fn identity_and_namespaces() {
    let stage = Stage::one(ssd(vec![namespace(1000, 512), namespace(300, 4096)]));
    let controller = stage.open("nvme0");
    assert_eq!(controller.version(), Vs::V2_1);
    assert_eq!(controller.identity().mn.to_string(), "p2pdma NVMe model");
    assert_eq!(controller.namespaces(), [1, 2]);
    assert_eq!(controller.max_transfer(), 1 << 20);
    assert_eq!(controller.max_queue_entries(), 1024);
    assert_eq!(controller.queue_count().unwrap(), 64);
    assert_eq!(controller.vectors().unwrap(), 65);
    let first = controller.namespace(1).unwrap();
    assert_eq!((first.block_count(), first.format().data, first.size()), (1000, 512, 512_000));
    let second = controller.namespace(2).unwrap();
    assert_eq!((second.block_count(), second.format().data), (300, 4096));
    let absent = controller.namespace(3).unwrap_err();
    assert!(matches!(absent, Error::ImplausibleNamespace { .. } | Error::Admin { .. }), "{absent}");
    controller.identify_nvm().unwrap();
    assert_eq!(
        controller.attached_controllers(1, 0).unwrap(),
        [controller.identity().cntlid.get()]
    );
}

#[test]
fn logs() {
    let bench = Bench::new(plain());
    let smart = bench.controller.smart_log().unwrap();
    assert!(smart.composite_temperature.get().celsius() > -50);
    assert_eq!(smart.available_spare, 100);
    let slots = bench.controller.firmware_log().unwrap();
    assert!((1..=7).contains(&slots.afi.current()));
    let logs = bench.controller.supported_logs().unwrap();
    let supported: Vec<LogPageId> = logs.iter().map(|(lid, _)| lid).collect();
    for lid in [LogPageId::ERROR_INFORMATION, LogPageId::SMART_HEALTH, LogPageId::FIRMWARE_SLOT] {
        assert!(supported.contains(&lid), "{lid}");
    }
    let effects = bench.controller.effects_log(CommandSet::NVM).unwrap();
    assert!(effects.admin[usize::from(AdminOpcode::IDENTIFY.into_bits())].get().csupp());
    assert!(effects.io[usize::from(NvmOpcode::READ.into_bits())].get().csupp());
    assert!(!effects.io[0xff].get().csupp());
    assert_eq!(bench.controller.changed_namespaces().unwrap(), Some(vec![]));
}

/// Failed commands are in the error log, newest first.
#[test]
fn errors_are_logged() {
    let mut bench = Bench::new(plain());
    assert_eq!(bench.controller.error_log().unwrap().len(), 0);
    let buffer = bench.controller.alloc_dma(4096).unwrap();
    let beyond = bench.namespace.read(1 << 14, 1).unwrap();
    let mut failures = Vec::new();
    for _ in 0..3 {
        failures.push(bench.run(&beyond, (&buffer).into()).unwrap_err());
    }
    let log = bench.controller.error_log().unwrap();
    assert!(log.len() >= 3);
    for (entry, failure) in log.iter().zip(failures.iter().rev()) {
        assert_eq!((entry.sqid.get(), entry.cid.get()), (failure.qid, failure.cid));
        assert_eq!(entry.status.get().status(), Status::LBA_OUT_OF_RANGE);
        assert_eq!(entry.nsid.get(), 1);
    }
    assert!(log[0].error_count.get() > log[1].error_count.get());
}

#[test]
fn features() {
    let bench = Bench::new(plain());
    let controller = &bench.controller;
    let get = |fid, select| controller.feature(fid, select, 0, 0, 0).unwrap().dword0();
    let queues = NumberOfQueues::from_bits(get(FeatureId::NUMBER_OF_QUEUES, Select::CURRENT));
    assert_eq!((queues.submission_queues(), queues.completion_queues()), (64, 64));
    let threshold = TemperatureThreshold::from_bits(0x0150);
    controller.set_feature(&Setting::new(FeatureId::TEMPERATURE_THRESHOLD, threshold)).unwrap();
    assert_eq!(get(FeatureId::TEMPERATURE_THRESHOLD, Select::CURRENT), 0x0150);
    let stamp = Timestamp::from_millis(1_700_000_000_000).unwrap();
    let setting = Setting { data: stamp.as_bytes(), ..Setting::new(FeatureId::TIMESTAMP, 0_u32) };
    controller.set_feature(&setting).unwrap();
    let reply = controller.feature(FeatureId::TIMESTAMP, Select::CURRENT, 0, 0, 8).unwrap();
    let back = Timestamp::read_from_bytes(&reply.data).unwrap();
    assert!(back.millis() >= stamp.millis() && back.millis() < stamp.millis() + 10_000);
    let unknown = controller.feature(FeatureId::from_bits(0xC7), Select::CURRENT, 0, 0, 0);
    assert!(matches!(unknown, Err(Error::Admin { status, .. })
        if status.status() == Status::INVALID_FIELD));
}
