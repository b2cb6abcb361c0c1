//! Namespaces that come, go and change, and what the controller says about it.

use p2pdma_devices::nvme::{ControllerConfig, NvmeConfig, SubsystemConfig};
use p2pdma_nvme::{Error, Options};
use p2pdma_spec::nvme::admin::{AsyncEventType, AsyncNoticeInfo, FormatNvmCdw10};
use p2pdma_spec::nvme::log::LogPageId;
use p2pdma_spec::nvme::namespace::{Flbas, NamespaceCreation};
use p2pdma_spec::nvme::status::Status;
use zerocopy::little_endian::U64;

use crate::support::{Bench, Stage, namespace, pattern, plain, ssd};

/// Formats until the blocks have another size; the driver sees the new ones.
#[test]
fn format_changes_the_blocks() {
    let mut bench = Bench::new(ssd(vec![namespace(4096, 512)]));
    let formats = bench.namespace.identity().lbaf;
    let count = usize::from(bench.namespace.identity().nlbaf_z) + 1;
    let buffer = bench.controller.alloc_dma(4096).unwrap();
    buffer.memory().write(0, &pattern(1, 4096)).unwrap();
    bench.run(&bench.namespace.write(0, 8).unwrap(), (&buffer).into()).unwrap();
    let mut seen = 0;
    for (index, format) in (0_u8..).zip(&formats[..count]) {
        let Some(bytes) = format.get().data_bytes() else { continue };
        if format.get().ms() != 0 {
            continue;
        }
        bench.controller.format(1, FormatNvmCdw10::new().with_format_index(index)).unwrap();
        bench.namespace = bench.controller.namespace(1).unwrap();
        assert_eq!(u64::from(bench.namespace.format().data), bytes);
        let blocks = u32::try_from(4096 / bytes).unwrap();
        bench.run(&bench.namespace.read(0, blocks).unwrap(), (&buffer).into()).unwrap();
        assert_eq!(buffer.memory().read_value::<[u8; 4096]>(0).unwrap(), [0; 4096]);
        buffer.memory().fill(0, 4096, 7).unwrap();
        bench.run(&bench.namespace.write(0, blocks).unwrap(), (&buffer).into()).unwrap();
        seen += 1;
    }
    println!("formats tried: {seen}");
    assert!(seen >= 2);
    let wrong = FormatNvmCdw10::new().with_format_index(63);
    assert!(matches!(bench.controller.format(1, wrong), Err(Error::Admin { .. })));
}

#[test]
fn namespaces_are_created_attached_and_deleted() {
    let config = NvmeConfig {
        subsystem: SubsystemConfig {
            namespaces: vec![namespace(1024, 4096)],
            spare_capacity: 64 << 20,
            ..SubsystemConfig::default()
        },
        controller: ControllerConfig::default(),
    };
    let stage = Stage::one(config);
    let controller = stage.open_with("nvme0", Options::default());
    let own = controller.identity().cntlid.get();
    let wanted = NamespaceCreation {
        nsze: U64::new(5000),
        ncap: U64::new(5000),
        flbas: Flbas::new().with_format_index(0),
        ..NamespaceCreation::default()
    };
    let nsid = controller.create_namespace(&wanted).unwrap();
    assert_eq!(controller.active_namespaces().unwrap(), [1]);
    controller.attach_namespace(nsid, &[own]).unwrap();
    assert_eq!(controller.active_namespaces().unwrap(), [1, nsid]);
    assert_eq!(controller.namespace(nsid).unwrap().block_count(), 5000);
    let twice = controller.attach_namespace(nsid, &[own]).unwrap_err();
    assert!(
        matches!(twice, Error::Admin { status, .. }
        if status.status() == Status::NAMESPACE_ALREADY_ATTACHED),
        "{twice}"
    );
    controller.detach_namespace(nsid, &[own]).unwrap();
    assert!(controller.namespace(nsid).is_err());
    controller.delete_namespace(nsid).unwrap();
    assert!(controller.attach_namespace(nsid, &[own]).is_err());
    let large = NamespaceCreation { nsze: U64::new(1 << 40), ncap: U64::new(1 << 40), ..wanted };
    let refused = controller.create_namespace(&large).unwrap_err();
    assert!(
        matches!(refused, Error::Admin { status, .. }
        if status.status() == Status::NAMESPACE_INSUFFICIENT_CAPACITY),
        "{refused}"
    );
}

/// A change of namespaces made by one controller is announced to the other of the subsystem.
#[test]
fn changes_are_announced() {
    let bench = Bench::new(plain());
    assert_eq!(bench.controller.next_event().unwrap(), None);
    bench.controller.format(1, FormatNvmCdw10::new().with_format_index(0)).unwrap();
    let mut events = Vec::new();
    for _ in 0..10 {
        events.extend(bench.controller.next_event().unwrap());
    }
    for event in &events {
        assert_eq!(event.event_type(), AsyncEventType::NOTICE);
        assert_eq!(event.info(), AsyncNoticeInfo::ATTACHED_NAMESPACE_CHANGED.into_bits());
        assert_eq!(event.lid(), LogPageId::CHANGED_ATTACHED_NAMESPACES);
        assert_eq!(bench.controller.changed_namespaces().unwrap(), Some(vec![1]));
    }
    assert!(events.len() <= 1);
}
