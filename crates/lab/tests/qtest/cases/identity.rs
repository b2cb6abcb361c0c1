//! What the controllers say of themselves.

use p2pdma_nvme::{Error, Setting};
use p2pdma_spec::nvme::CommandSet;
use p2pdma_spec::nvme::admin::{AdminOpcode, Select};
use p2pdma_spec::nvme::feature::{FeatureId, NumberOfQueues, TemperatureThreshold, Timestamp};
use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::registers::Vs;
use zerocopy::{FromBytes as _, IntoBytes as _};

use super::bench::Bench;
use crate::machine::Machine;

/// Size, block and metadata of the first controller's namespaces; the second one has the first of them.
const NAMESPACES: [(u64, u32, u16); 4] =
    [(64 << 20, 4096, 0), (16 << 20, 512, 0), (4 << 20, 512, 8), (16 << 20, 4096, 64)];

/// Everything that the machine file says is what the driver finds.
pub(crate) fn identify(machine: &dyn Machine) -> String {
    let expected =
        [("nvme0", &NAMESPACES[..]), ("nvme1", &NAMESPACES[..1]), ("nvme2", &[(1 << 20, 512, 0)])];
    let mut count = 0;
    for (name, namespaces) in expected {
        let controller = machine.open(name);
        assert!(controller.version() >= Vs::new().with_mjr(1).with_mnr(4));
        assert_eq!(controller.identity().sn.to_string(), name);
        assert_eq!(controller.max_queue_entries(), 1024);
        let queues = if name == "nvme2" { 2 } else { 8 };
        assert_eq!(controller.queue_count().unwrap(), queues);
        assert!(controller.vectors().unwrap() > queues);
        let nsids: Vec<u32> = (1..).take(namespaces.len()).collect();
        assert_eq!(controller.namespaces(), nsids);
        for (nsid, &(size, block, metadata)) in nsids.into_iter().zip(namespaces) {
            let namespace = controller.namespace(nsid).unwrap();
            let format = namespace.format();
            assert_eq!((format.data, format.metadata, format.extended), (block, metadata, false));
            assert_eq!(
                (namespace.size(), namespace.block_count()),
                (size, size / u64::from(block))
            );
            count += 1;
        }
        // Not active, and not valid.
        for nsid in [9, 0x1_0000] {
            let absent = controller.namespace(nsid).unwrap_err();
            let named = matches!(absent, Error::ImplausibleNamespace { .. } | Error::Admin { .. });
            assert!(named, "{absent}");
        }
        controller.identify_nvm().unwrap();
    }
    format!("{count} namespaces of 3 controllers")
}

pub(crate) fn features_and_logs(machine: &dyn Machine) -> String {
    let bench = Bench::new(machine, "nvme0", 1);
    let controller = &bench.controller;
    let get = |fid, select| controller.feature(fid, select, 0, 0, 0).unwrap().dword0();
    let queues = NumberOfQueues::from_bits(get(FeatureId::NUMBER_OF_QUEUES, Select::CURRENT));
    assert_eq!((queues.submission_queues(), queues.completion_queues()), (8, 8));
    let threshold = TemperatureThreshold::from_bits(0x0150);
    controller.set_feature(&Setting::new(FeatureId::TEMPERATURE_THRESHOLD, threshold)).unwrap();
    assert_eq!(get(FeatureId::TEMPERATURE_THRESHOLD, Select::CURRENT), 0x0150);
    let stamp = Timestamp::from_millis(1_700_000_000_000).unwrap();
    let setting = Setting { data: stamp.as_bytes(), ..Setting::new(FeatureId::TIMESTAMP, 0_u32) };
    controller.set_feature(&setting).unwrap();
    let reply = controller.feature(FeatureId::TIMESTAMP, Select::CURRENT, 0, 0, 8).unwrap();
    let back = Timestamp::read_from_bytes(&reply.data).unwrap();
    assert!(back.millis() >= stamp.millis() && back.millis() < stamp.millis() + 60_000);
    assert!(controller.feature(FeatureId::from_bits(0xC7), Select::CURRENT, 0, 0, 0).is_err());
    let smart = controller.smart_log().unwrap();
    assert!((-50..100).contains(&smart.composite_temperature.get().celsius()));
    assert!((1..=7).contains(&controller.firmware_log().unwrap().afi.current()));
    controller.error_log().unwrap();
    let effects = controller.effects_log(CommandSet::NVM).unwrap();
    let admin = |opcode: AdminOpcode| effects.admin[usize::from(opcode.into_bits())].get().csupp();
    let io = |opcode: NvmOpcode| effects.io[usize::from(opcode.into_bits())].get().csupp();
    assert!(admin(AdminOpcode::IDENTIFY) && admin(AdminOpcode::ABORT));
    assert!(io(NvmOpcode::READ) && io(NvmOpcode::COPY) && !effects.io[0xFE].get().csupp());
    "4 features and 4 logs".to_owned()
}
