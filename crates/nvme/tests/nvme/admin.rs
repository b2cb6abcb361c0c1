//! Admin commands: data of every length, events, and what the controller refuses.

use p2pdma_nvme::{AdminData, Controller, Error, Setting};
use p2pdma_pci::{Clock as _, Duration};
use p2pdma_spec::nvme::CommandSet;
use p2pdma_spec::nvme::admin::{
    AdminOpcode, AsyncErrorInfo, AsyncEventResult, AsyncEventType, LogPageRequest, Select,
};
use p2pdma_spec::nvme::feature::{FeatureId, VolatileWriteCache};
use p2pdma_spec::nvme::log::LogPageId;
use p2pdma_spec::nvme::namespace::NamespaceCreation;
use p2pdma_spec::nvme::status::Status;

use crate::support::controller::FakeController;
use crate::support::mischief::{Deed, Mischief};
use crate::support::open;
use crate::support::platform::Machine;

fn honest() -> (Machine, Controller) {
    let (machine, controller) = open(FakeController::default());
    (machine, controller.unwrap())
}

fn status(error: &Error) -> Status {
    match error {
        Error::Admin { status, .. } => status.status(),
        other => panic!("{other}"),
    }
}

#[test]
fn data_of_every_length() {
    let (machine, controller) = honest();
    for len in [1, 4, 511, 4096, 4097, 8192, 8193, 12_288, 65_536, 300_000] {
        let dwords = u32::try_from(len).unwrap().div_ceil(4);
        let request = LogPageRequest::new(LogPageId::TELEMETRY_HOST, dwords);
        // In pieces, and as one command with a list.
        assert_eq!(controller.log_page(request, 0, len).unwrap().len(), len);
        let rounded = len.next_multiple_of(4);
        let reply = controller.admin(request.command(0), AdminData::Receive(rounded)).unwrap();
        assert_eq!(reply.data, vec![0; rounded]);
    }
    assert_eq!(machine.device(|device| device.illegal.clone()), Vec::<String>::new());
    assert_eq!(machine.broken_canaries(), 0);
}

#[test]
fn typed_logs_and_features() {
    let (_, controller) = honest();
    controller.smart_log().unwrap();
    controller.firmware_log().unwrap();
    controller.supported_logs().unwrap();
    controller.effects_log(CommandSet::NVM).unwrap();
    assert_eq!(controller.error_log().unwrap().len(), 0);
    assert_eq!(controller.changed_namespaces().unwrap(), Some(vec![]));
    assert_eq!(controller.active_namespaces().unwrap(), [1]);
    assert_eq!(controller.identify().unwrap().as_ref(), controller.identity());
    let cache = VolatileWriteCache::new().with_wce(true);
    controller.set_feature(&Setting::new(FeatureId::VOLATILE_WRITE_CACHE, cache)).unwrap();
    let refused = controller.feature(FeatureId::TIMESTAMP, Select::CURRENT, 0, 0, 8).unwrap_err();
    assert_eq!(status(&refused), Status::INVALID_OPCODE);
    let refused = controller.create_namespace(&NamespaceCreation::default()).unwrap_err();
    assert!(refused.to_string().starts_with("Namespace Management failed on 0000:03:00.0: "));
    assert!(matches!(controller.attach_namespace(1, &[]), Err(Error::Count { .. })));
    assert!(matches!(controller.detach_namespace(1, &[0; 2048]), Err(Error::Count { .. })));
}

#[test]
fn events_come_one_by_one_and_are_asked_for_again() {
    let (machine, controller) = honest();
    assert_eq!(controller.next_event().unwrap(), None);
    let event = AsyncEventResult::new()
        .with_event_type(AsyncEventType::ERROR)
        .with_info(AsyncErrorInfo::INVALID_DOORBELL_REGISTER.into_bits())
        .with_lid(LogPageId::ERROR_INFORMATION);
    for _ in 0..30 {
        machine.device(|device| device.raise_event(event.into_bits()));
        machine.work();
        assert_eq!(controller.next_event().unwrap(), Some(event));
        assert_eq!(controller.next_event().unwrap(), None);
        machine.work();
    }
    // More than there are requests, while other commands go on: what was not asked for waits there.
    for _ in 0..10 {
        machine.device(|device| device.raise_event(event.into_bits()));
        controller.identify().unwrap();
    }
    let mut events = 0;
    while controller.next_event().unwrap().is_some() {
        events += 1;
    }
    assert_eq!(events, 4);
    controller.reset().unwrap();
    machine.work();
    machine.device(|device| device.raise_event(event.into_bits()));
    machine.work();
    assert!(controller.next_event().unwrap().is_some());
}

/// A controller that answers every request at once is asked only as often as events are taken.
#[test]
fn a_storm_of_events_keeps_nobody_busy() {
    let (machine, controller) = honest();
    machine.device(|device| device.mischief = Mischief::always(Deed::EventStorm, 0));
    let before = machine.device(|device| device.commands);
    for _ in 0..100 {
        controller.identify().unwrap();
    }
    assert_eq!(machine.device(|device| device.commands) - before, 100);
}

/// A command that is not completed keeps its memory; one that comes late gives it back.
#[test]
fn late_and_lost_commands() {
    let (machine, controller) = honest();
    let held = machine.held();
    machine.device(|device| device.mischief = Mischief::always(Deed::Held, 0));
    let began = machine.now();
    let error = controller.identify().unwrap_err();
    let opcode = AdminOpcode::IDENTIFY;
    assert!(matches!(error, Error::AdminTimeout { opcode: o, .. } if o == opcode), "{error}");
    let took = machine.now().since(began);
    assert!(took >= Duration::from_millis(10_000) && took < Duration::from_millis(11_000));
    machine.device(|device| device.mischief = Mischief::none());
    controller.identify().unwrap();
    assert_eq!(machine.held(), held + 1);
    machine.device(FakeController::finish_held);
    controller.identify().unwrap();
    controller.identify().unwrap();
    assert_eq!(machine.held(), held + 1 - 1);
    assert_eq!(machine.strays(), 0);
}
