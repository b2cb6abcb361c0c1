//! Features: values, what can be saved, and what they do.

use p2pdma_devices::nvme::{
    CacheConfig, ControllerConfig, NamespaceConfig, NvmeConfig, SubsystemConfig,
};
use p2pdma_fabric::Reset;
use p2pdma_pci::{Clock as _, Duration, Function as _};
use p2pdma_spec::nvme::NSID_ALL;
use p2pdma_spec::nvme::admin::{AdminOpcode, Cns, GetFeaturesCdw10, Select, SetFeaturesCdw10};
use p2pdma_spec::nvme::feature::{FeatureCapabilities, FeatureId};
use p2pdma_spec::nvme::identify::IdentifyController;
use p2pdma_spec::nvme::nvm::NvmOpcode;
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::status::Status;

use crate::host::{Host, Outcome, contents, fill};

impl Host {
    pub(crate) fn get_feature(
        &mut self,
        id: FeatureId,
        select: Select,
        nsid: u32,
        cdw11: u32,
    ) -> Outcome {
        let mut entry = SubmissionEntry::new(AdminOpcode::GET_FEATURES, nsid);
        entry.cdw10 = GetFeaturesCdw10::new().with_fid(id).with_sel(select).into();
        entry.cdw11 = cdw11.into();
        let buffer = self.buffer(4096);
        entry.dptr = self.prps(&buffer);
        self.admin(entry)
    }

    pub(crate) fn current(&mut self, id: FeatureId) -> u32 {
        self.get_feature(id, Select::CURRENT, 0, 0).unwrap()
    }

    pub(crate) fn set_feature(
        &mut self,
        id: FeatureId,
        save: bool,
        nsid: u32,
        cdw11: u32,
    ) -> Outcome {
        let mut entry = SubmissionEntry::new(AdminOpcode::SET_FEATURES, nsid);
        entry.cdw10 = SetFeaturesCdw10::new().with_fid(id).with_sv(save).into();
        entry.cdw11 = cdw11.into();
        let buffer = self.buffer(4096);
        entry.dptr = self.prps(&buffer);
        self.admin(entry)
    }
}

fn cached() -> NvmeConfig {
    let cache = Some(CacheConfig { len: 1 << 20, seed: 1 });
    let namespace = NamespaceConfig { cache, ..NamespaceConfig::default() };
    let subsystem = SubsystemConfig { namespaces: vec![namespace], ..SubsystemConfig::default() };
    NvmeConfig { subsystem, ..NvmeConfig::default() }
}

/// Features of a dword: default, a new value with reserved bits set, what then reads back.
const DWORDS: [(FeatureId, u32, u32, u32, bool); 9] = [
    (FeatureId::ARBITRATION, 5, 0xFFFF_FFFF, 0xFFFF_FF07, true),
    (FeatureId::POWER_MANAGEMENT, 0, 0xFFFF_FF40, 0x40, true),
    (FeatureId::VOLATILE_WRITE_CACHE, 1, 0xFFFF_FFFE, 0, true),
    (FeatureId::INTERRUPT_COALESCING, 0, 0xFFFF_0A05, 0x0A05, true),
    (FeatureId::WRITE_ATOMICITY_NORMAL, 0, 0xFFFF_FFFF, 1, true),
    (FeatureId::ASYNC_EVENT_CONFIGURATION, 0, 0x0000_0103, 0x0000_0103, true),
    (FeatureId::SOFTWARE_PROGRESS_MARKER, 0, 0xFFFF_FF07, 7, true),
    (FeatureId::IO_COMMAND_SET_PROFILE, 0, 0, 0, false),
    (FeatureId::TEMPERATURE_THRESHOLD, 358, 350, 350, false),
];

#[test]
fn default_current_and_saved() {
    let mut host = Host::with(cached());
    for (id, default, set, expected, saveable) in DWORDS {
        for select in [Select::CURRENT, Select::DEFAULT, Select::SAVED] {
            assert_eq!(host.get_feature(id, select, 0, 0), Ok(default), "{id} {select}");
        }
        let capabilities = host.get_feature(id, Select::SUPPORTED, 0, 0).unwrap();
        let capabilities = FeatureCapabilities::from_bits(capabilities);
        assert_eq!((capabilities.saveable(), capabilities.changeable()), (saveable, true));
        host.set_feature(id, false, 0, set).unwrap();
        assert_eq!(host.get_feature(id, Select::CURRENT, 0, 0), Ok(expected), "{id}");
        assert_eq!(host.get_feature(id, Select::SAVED, 0, 0), Ok(default), "{id}");
        let saved = host.set_feature(id, true, NSID_ALL, set);
        if saveable {
            saved.unwrap();
            assert_eq!(host.get_feature(id, Select::SAVED, 0, 0), Ok(expected), "{id}");
        } else {
            assert_eq!(saved, Err(Status::FEATURE_NOT_SAVEABLE), "{id}");
        }
        assert_eq!(host.get_feature(id, Select::DEFAULT, 0, 0), Ok(default), "{id}");
        let reserved = Select::from_bits(4);
        assert_eq!(host.get_feature(id, reserved, 0, 0), Err(Status::INVALID_FIELD));
        let one = host.set_feature(id, false, 1, set);
        assert_eq!(one, Err(Status::FEATURE_NOT_NAMESPACE_SPECIFIC), "{id}");
        let beyond = host.set_feature(id, false, 1000, set);
        assert_eq!(beyond, Err(Status::INVALID_NAMESPACE_OR_FORMAT), "{id}");
    }
    // What was saved survives a reset of the controller; what was not has its default.
    host.disable();
    host.enable();
    for (id, default, _, expected, saveable) in DWORDS {
        let after = if saveable { expected } else { default };
        assert_eq!(host.current(id), after, "{id}");
    }
}

#[test]
fn features_that_do_not_exist() {
    let mut host = Host::with(NvmeConfig::default());
    let mut known = 0;
    for id in (0..=u8::MAX).map(FeatureId::from_bits) {
        let got = host.get_feature(id, Select::SUPPORTED, 0, 0);
        match got {
            Ok(_) => known += 1,
            Err(status) => {
                assert_eq!(status, Status::INVALID_FIELD, "{id}");
                assert_eq!(host.set_feature(id, false, 0, 0), Err(Status::INVALID_FIELD));
            }
        }
    }
    assert_eq!(known, 16);
}

/// The feature to switch a volatile write cache is where there is one (VWC), and nowhere else.
#[test]
fn a_write_cache_that_is_not_there_cannot_be_switched() {
    let id = FeatureId::VOLATILE_WRITE_CACHE;
    for (config, expected) in
        [(cached(), Ok(1)), (NvmeConfig::default(), Err(Status::INVALID_FIELD))]
    {
        let mut host = Host::with(config);
        let identify: IdentifyController = host.identify(Cns::CONTROLLER, 0).unwrap();
        assert_eq!(identify.vwc.vwcp(), expected.is_ok());
        for select in [Select::CURRENT, Select::DEFAULT, Select::SAVED] {
            assert_eq!(host.get_feature(id, select, 0, 0), expected, "{select}");
        }
        assert_eq!(host.get_feature(id, Select::SUPPORTED, 0, 0).is_ok(), expected.is_ok());
        for save in [false, true] {
            let set = host.set_feature(id, save, 0, 1);
            assert_eq!(set, expected.map(|_| 0));
        }
    }
}

#[test]
fn values_that_cannot_be() {
    let mut host = Host::with(NvmeConfig::default());
    for (id, value, status) in [
        (FeatureId::POWER_MANAGEMENT, 1, Status::INVALID_FIELD),
        (FeatureId::POWER_MANAGEMENT, 31, Status::INVALID_FIELD),
        (FeatureId::TEMPERATURE_THRESHOLD, 0x0001_0000, Status::INVALID_FIELD),
        (FeatureId::TEMPERATURE_THRESHOLD, 0x0020_0000, Status::INVALID_FIELD),
        (FeatureId::NUMBER_OF_QUEUES, 0x0000_FFFF, Status::INVALID_FIELD),
        (FeatureId::NUMBER_OF_QUEUES, 0xFFFF_0000, Status::INVALID_FIELD),
        (FeatureId::INTERRUPT_VECTOR_CONFIGURATION, 65, Status::INVALID_FIELD),
        (FeatureId::INTERRUPT_VECTOR_CONFIGURATION, 0xFFFF, Status::INVALID_FIELD),
        (FeatureId::IO_COMMAND_SET_PROFILE, 1, Status::COMMAND_SET_COMBINATION_REJECTED),
        // There are queues already.
        (FeatureId::NUMBER_OF_QUEUES, 0x0007_0007, Status::COMMAND_SEQUENCE_ERROR),
    ] {
        assert_eq!(host.set_feature(id, false, 0, value), Err(status), "{id} {value:#x}");
    }
    for value in [65, 0xFFFF] {
        let id = FeatureId::INTERRUPT_VECTOR_CONFIGURATION;
        assert_eq!(host.get_feature(id, Select::CURRENT, 0, value), Err(Status::INVALID_FIELD));
    }
}

#[test]
fn number_of_queues() {
    let controller = ControllerConfig { max_io_queues: 5, ..ControllerConfig::default() };
    let mut host = Host::bare(NvmeConfig { controller, ..NvmeConfig::default() });
    host.enable();
    for asked in [0, 0x0001_0001, 0xFFFE_FFFE] {
        assert_eq!(host.set_feature(FeatureId::NUMBER_OF_QUEUES, false, 0, asked), Ok(0x0004_0004));
    }
    assert_eq!(host.current(FeatureId::NUMBER_OF_QUEUES), 0x0004_0004);
}

#[test]
fn features_of_a_namespace() {
    let mut host = Host::with(NvmeConfig::default());
    let id = FeatureId::ERROR_RECOVERY;
    host.set_feature(id, false, 1, 7).unwrap();
    assert_eq!(host.get_feature(id, Select::CURRENT, 1, 0), Ok(7));
    assert_eq!(host.get_feature(id, Select::SAVED, 1, 0), Ok(0));
    // DULBE is not supported.
    assert_eq!(host.set_feature(id, false, 1, 1 << 16), Err(Status::INVALID_FIELD));
    host.set_feature(id, true, NSID_ALL, 9).unwrap();
    host.disable();
    host.enable();
    assert_eq!(host.get_feature(id, Select::CURRENT, 1, 0), Ok(9));
    for (nsid, status) in [
        (0, Status::INVALID_NAMESPACE_OR_FORMAT),
        (2, Status::INVALID_FIELD),
        (NSID_ALL - 1, Status::INVALID_NAMESPACE_OR_FORMAT),
    ] {
        assert_eq!(host.get_feature(id, Select::CURRENT, nsid, 0), Err(status));
        assert_eq!(host.set_feature(id, false, nsid, 0), Err(status));
    }
}

#[test]
fn a_write_protected_namespace_cannot_be_written() {
    let mut host = Host::with(NvmeConfig::default());
    let (from, to) = (host.buffer(4096), host.buffer(4096));
    fill(from.memory(), 1);
    host.write(1, 0, 1, &from).unwrap();
    let id = FeatureId::NAMESPACE_WRITE_PROTECTION;
    host.set_feature(id, false, 1, 1).unwrap();
    assert_eq!(host.get_feature(id, Select::CURRENT, 1, 0), Ok(1));
    let refused = Err(Status::NAMESPACE_WRITE_PROTECTED);
    for opcode in [NvmOpcode::WRITE, NvmOpcode::WRITE_ZEROES, NvmOpcode::WRITE_UNCORRECTABLE] {
        let entry = host.rw(opcode, 1, 0, 1, &to);
        assert_eq!(host.io(entry), refused, "{opcode}");
    }
    let mut trim = host.rw(NvmOpcode::DATASET_MANAGEMENT, 1, 0, 1, &to);
    (trim.cdw10, trim.cdw11) = (0.into(), 4.into());
    assert_eq!(host.io(trim), refused);
    let format = SubmissionEntry::new(AdminOpcode::FORMAT_NVM, 1);
    assert_eq!(host.admin(format), refused);
    host.read(1, 0, 1, &to).unwrap();
    assert_eq!(contents(from.memory()), contents(to.memory()));
    for unsupported in 2..8 {
        assert_eq!(host.set_feature(id, false, 1, unsupported), Err(Status::INVALID_FIELD));
    }
    host.set_feature(id, false, 1, 0).unwrap();
    host.write(1, 0, 1, &from).unwrap();
}

#[test]
fn time_goes_on_from_where_it_was_set() {
    let mut host = Host::with(NvmeConfig::default());
    let buffer = host.buffer(4096);
    let mut entry = SubmissionEntry::new(AdminOpcode::SET_FEATURES, 0);
    entry.cdw10 = SetFeaturesCdw10::new().with_fid(FeatureId::TIMESTAMP).into();
    entry.dptr = host.prps(&buffer);
    buffer.memory().write_value(0, &1_700_000_000_000_u64.to_le_bytes()).unwrap();
    host.admin(entry).unwrap();
    let clock = host.fabric.clock();
    let begin = clock.now();
    while clock.now().since(begin) < Duration::from_millis(1500) {
        clock.relax();
    }
    entry.cdw0.set(entry.cdw0.get().with_opcode(AdminOpcode::GET_FEATURES.into_bits()));
    host.admin(entry).unwrap();
    let stamp: [u8; 8] = buffer.memory().read_value(0).unwrap();
    let millis = u64::from_le_bytes(stamp) & 0xFFFF_FFFF_FFFF;
    let elapsed = clock.now().since(begin).picos() / 1_000_000_000;
    assert!(millis.abs_diff(1_700_000_000_000 + elapsed) <= 1, "{millis}");
    assert_eq!(stamp[6], 0b0010, "set by the host");
}

#[test]
fn host_identifiers_and_behavior() {
    let mut host = Host::with(NvmeConfig::default());
    let buffer = host.buffer(4096);
    fill(buffer.memory(), 5);
    let written = contents(buffer.memory());
    let mut set = SubmissionEntry::new(AdminOpcode::SET_FEATURES, 0);
    set.cdw10 = SetFeaturesCdw10::new().with_fid(FeatureId::HOST_IDENTIFIER).into();
    set.cdw11 = 1.into();
    set.dptr = host.prps(&buffer);
    host.admin(set).unwrap();
    buffer.memory().fill(0, 4096, 0).unwrap();
    let mut get = set;
    get.cdw0.set(get.cdw0.get().with_opcode(AdminOpcode::GET_FEATURES.into_bits()));
    host.admin(get).unwrap();
    let read = contents(buffer.memory());
    assert_eq!((&read[..16], &read[16..]), (&written[..16], &[0; 4080][..]));
    // Host behavior: flags are 0 or 1.
    set.cdw10 = SetFeaturesCdw10::new().with_fid(FeatureId::HOST_BEHAVIOR_SUPPORT).into();
    buffer.memory().fill(0, 4096, 0).unwrap();
    for (byte, expected) in [(1_u8, Ok(0)), (2, Err(Status::INVALID_FIELD))] {
        buffer.memory().write(0, &[byte]).unwrap();
        assert_eq!(host.admin(set), expected);
    }
}

/// Interrupts wait for company, but not longer than the host allows, and not where it forbids that.
#[test]
fn interrupt_coalescing() {
    let mut host = Host::bare(NvmeConfig::default());
    host.enable();
    host.create_queue(64);
    let line = host.function.interrupt(0).unwrap();
    // More than 4 completions, or 200 µs.
    host.set_feature(FeatureId::INTERRUPT_COALESCING, false, 0, 0x0204).unwrap();
    let _ = line.take();
    let submit = |host: &mut Host, count| {
        for _ in 0..count {
            host.io[0].push(SubmissionEntry::new(NvmOpcode::FLUSH, 1));
        }
        host.ring_tail(1, host.io[0].tail);
        // The doorbell, and nothing that comes later.
        assert!(host.fabric.step());
    };
    submit(&mut host, 3);
    assert_eq!(line.take(), 0);
    submit(&mut host, 2);
    host.settle();
    assert_eq!(line.take(), 1);
    let begin = host.fabric.clock().now();
    submit(&mut host, 3);
    assert_eq!(line.take(), 0);
    host.settle();
    assert_eq!(line.take(), 1);
    let waited = host.fabric.clock().now().since(begin);
    assert_eq!(waited, Duration::from_micros(200));
    // Coalescing disabled for the vector.
    host.set_feature(FeatureId::INTERRUPT_VECTOR_CONFIGURATION, false, 0, 1 << 16).unwrap();
    let get = host.get_feature(FeatureId::INTERRUPT_VECTOR_CONFIGURATION, Select::CURRENT, 0, 0);
    assert_eq!(get, Ok(1 << 16));
    let _ = line.take();
    submit(&mut host, 1);
    host.settle();
    assert_eq!(line.take(), 1);
}

/// A host that stops sending Keep Alive finds the controller stopped.
#[test]
fn keep_alive() {
    let mut host = Host::with(NvmeConfig::default());
    // An interrupt that is held back for 25.5 ms moves time on without anything else happening.
    host.set_feature(FeatureId::INTERRUPT_COALESCING, false, 0, 0xFFFF).unwrap();
    host.set_feature_quietly(FeatureId::KEEP_ALIVE_TIMER, 1000);
    let clock = host.fabric.clock();
    let begin = clock.now();
    for turn in 0..200 {
        let last = clock.now();
        host.io_entry_quietly(SubmissionEntry::new(NvmOpcode::FLUSH, 1));
        while clock.now() == last {
            assert!(host.fabric.step());
        }
        assert!(!host.csts().cfs());
        if turn % 30 == 0 {
            host.admin_quietly(SubmissionEntry::new(AdminOpcode::KEEP_ALIVE, 0));
        }
    }
    assert!(clock.now().since(begin) > Duration::from_millis(4000));
    host.settle();
    assert!(host.csts().cfs());
    assert!(clock.now().since(begin) < Duration::from_millis(8000));
    host.disable();
    host.enable();
    host.settle();
    assert!(!host.csts().cfs());
}

/// Commands of which only the doorbells happen: timers stay where they are.
impl Host {
    fn admin_quietly(&mut self, entry: SubmissionEntry) {
        self.admin.push(entry);
        self.ring_tail(0, self.admin.tail);
        while self.admin.pop().is_none() {
            assert!(self.fabric.step());
        }
        self.ring_head(0, self.admin.head);
        assert!(self.fabric.step());
    }

    fn set_feature_quietly(&mut self, id: FeatureId, value: u32) {
        let mut entry = SubmissionEntry::new(AdminOpcode::SET_FEATURES, 0);
        entry.cdw10 = SetFeaturesCdw10::new().with_fid(id).into();
        entry.cdw11 = value.into();
        self.admin_quietly(entry);
    }

    fn io_entry_quietly(&mut self, entry: SubmissionEntry) {
        self.io[0].push(entry);
        self.ring_tail(1, self.io[0].tail);
        while self.io[0].pop().is_none() {
            assert!(self.fabric.step());
        }
        self.ring_head(1, self.io[0].head);
        assert!(self.fabric.step());
    }
}

/// Saved features survive every reset, current ones none.
#[test]
fn resets_and_saved_features() {
    let id = FeatureId::SOFTWARE_PROGRESS_MARKER;
    for kind in [Reset::FunctionLevel, Reset::Cold] {
        let mut host = Host::with(NvmeConfig::default());
        host.set_feature(id, true, 0, 3).unwrap();
        host.set_feature(id, false, 0, 4).unwrap();
        match kind {
            Reset::Cold => {
                host.fabric.power_cut();
                host.fabric.enumerate().unwrap();
            }
            _ => host.function.reset().unwrap(),
        }
        let mut host = Host::open(host.fabric.clone(), "nvme0");
        host.enable();
        assert_eq!(host.current(id), 3, "{kind:?}");
    }
}
