//! Identify: every structure, with every kind of namespace identifier.

use p2pdma_devices::nvme::{
    MediaConfig, NamespaceConfig, NvmeConfig, NvmeController, Subsystem, SubsystemConfig,
};
use p2pdma_fabric::Timing;
use p2pdma_pci::topology::IommuMode;
use p2pdma_spec::nvme::CommandSet;
use p2pdma_spec::nvme::NSID_ALL;
use p2pdma_spec::nvme::admin::{AdminOpcode, Cns, IdentifyCdw10, IdentifyCdw11};
use p2pdma_spec::nvme::identify::{
    CommandSets, ControllerList, IdentifyController, IdentifyControllerNvm, NamespaceDescriptor,
    NamespaceDescriptors, NamespaceList,
};
use p2pdma_spec::nvme::namespace::{
    Deallocated, IdentifyNamespace, IdentifyNamespaceIndependent, IdentifyNamespaceNvm,
};
use p2pdma_spec::nvme::protection::ProtectionType;
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::status::Status;
use zerocopy::FromBytes;

use crate::host::{Board, Host, contents};

impl Host {
    /// Identify with everything that it can have.
    pub(crate) fn identify_bytes(
        &mut self,
        cns: Cns,
        nsid: u32,
        cntid: u16,
        csi: u8,
    ) -> Result<Vec<u8>, Status> {
        let buffer = self.buffer(4096);
        buffer.memory().fill(0, 4096, 0xEE).unwrap();
        let mut entry = SubmissionEntry::new(AdminOpcode::IDENTIFY, nsid);
        entry.cdw10 = IdentifyCdw10::new().with_cns(cns).with_cntid(cntid).into();
        entry.cdw11 = IdentifyCdw11::new().with_csi(CommandSet::from_bits(csi)).into();
        entry.dptr = self.prps(&buffer);
        self.admin(entry)?;
        Ok(contents(buffer.memory()))
    }

    pub(crate) fn identify<T: FromBytes>(&mut self, cns: Cns, nsid: u32) -> Result<T, Status> {
        let bytes = self.identify_bytes(cns, nsid, 0, 0)?;
        Ok(T::read_from_bytes(&bytes).unwrap())
    }
}

/// Three namespaces: plain, with protection, and one that is not attached.
fn host() -> Host {
    let protected = NamespaceConfig {
        blocks: 1000,
        block_size: 512,
        metadata_size: 8,
        protection: ProtectionType::TYPE_1,
        extended: true,
        shared: false,
        ..NamespaceConfig::default()
    };
    let detached =
        NamespaceConfig { attached: false, media: MediaConfig::Null, ..NamespaceConfig::default() };
    let subsystem = SubsystemConfig {
        serial: "S/N 7".to_owned(),
        model: "Model".to_owned(),
        firmware: "fw-1".to_owned(),
        namespaces: vec![NamespaceConfig::default(), protected, detached],
        max_namespaces: 8,
        spare_capacity: 1 << 20,
        ..SubsystemConfig::default()
    };
    Host::with(NvmeConfig { subsystem, ..NvmeConfig::default() })
}

#[test]
fn the_controller() {
    let mut host = host();
    let identify: IdentifyController = host.identify(Cns::CONTROLLER, 0).unwrap();
    assert_eq!(identify.sn.to_string(), "S/N 7");
    assert_eq!(identify.mn.to_string(), "Model");
    assert_eq!(identify.fr.to_string(), "fw-1");
    assert_eq!(identify.subnqn.to_string(), "nqn.2014-08.org.nvmexpress:p2pdma:S/N 7");
    assert_eq!(identify.nn.get(), 8);
    assert_eq!(identify.max_transfer_bytes(4096), Some(1 << 20));
    assert_eq!((identify.sqes.min(), identify.cqes.max()), (6, 4));
    let used = (1_u128 << 30) + 1000 * 520 + (1 << 30);
    assert_eq!(identify.tnvmcap.get(), used + (1 << 20));
    assert_eq!(identify.unvmcap.get(), 1 << 20);
    let oncs = identify.oncs.get();
    assert!(oncs.nvmcmps() && oncs.nvmwusv() && oncs.nvmdsmsv() && oncs.nvmwzsv());
    assert!(oncs.nvmvfys() && oncs.nvmcpys() && !oncs.reservs() && oncs.ssfs());
    assert!(!identify.vwc.vwcp());
    let nvm: IdentifyControllerNvm = host.identify(Cns::COMMAND_SET_CONTROLLER, 0).unwrap();
    assert_eq!(nvm.ver.get().to_string(), "1.1");
}

#[test]
fn namespaces() {
    let mut host = host();
    let plain: IdentifyNamespace = host.identify(Cns::NAMESPACE, 1).unwrap();
    assert_eq!((plain.nsze.get(), plain.block_bytes()), (1 << 18, Some(4096)));
    assert_eq!(plain.format().ms(), 0);
    assert!(plain.nmic.shrns());
    assert_eq!(plain.dlfeat.drb(), Deallocated::ZEROES);
    let protected: IdentifyNamespace = host.identify(Cns::NAMESPACE, 2).unwrap();
    assert_eq!((protected.nsze.get(), protected.block_bytes()), (1000, Some(512)));
    assert_eq!(protected.format().ms(), 8);
    assert!(protected.flbas.mtelba() && !protected.nmic.shrns());
    assert_eq!(protected.dps.pit(), ProtectionType::TYPE_1);
    assert_ne!(plain.nguid, protected.nguid);
    assert_ne!(plain.eui64, protected.eui64);
    // Not attached: nothing; allocated all the same.
    let detached: IdentifyNamespace = host.identify(Cns::NAMESPACE, 3).unwrap();
    assert_eq!(detached.nsze.get(), 0);
    let detached: IdentifyNamespace = host.identify(Cns::ALLOCATED_NAMESPACE, 3).unwrap();
    assert_eq!(detached.nsze.get(), 1 << 18);
    // What all have in common: the formats.
    let common: IdentifyNamespace = host.identify(Cns::NAMESPACE, NSID_ALL).unwrap();
    assert_eq!((common.nsze.get(), common.nlbaf_z), (0, 7));
    assert_eq!(common.lbaf, plain.lbaf);
    let nvm: IdentifyNamespaceNvm = host.identify(Cns::COMMAND_SET_NAMESPACE, 2).unwrap();
    assert_eq!((nvm.lbstm.get(), nvm.elbaf[0].get().sts()), (0, 0));
    let independent: IdentifyNamespaceIndependent =
        host.identify(Cns::INDEPENDENT_NAMESPACE, 1).unwrap();
    assert!(independent.nstat.nrdy() && independent.nsfeat.vwcnp());
}

#[test]
fn lists() {
    let mut host = host();
    let mut list = |cns, after| {
        let list: Result<NamespaceList, _> = host.identify(cns, after);
        list.map(|list| list.iter().collect::<Vec<_>>())
    };
    assert_eq!(list(Cns::ACTIVE_NAMESPACES, 0), Ok(vec![1, 2]));
    assert_eq!(list(Cns::ACTIVE_NAMESPACES, 1), Ok(vec![2]));
    assert_eq!(list(Cns::ACTIVE_NAMESPACES, 2), Ok(vec![]));
    assert_eq!(list(Cns::ALLOCATED_NAMESPACES, 0), Ok(vec![1, 2, 3]));
    assert_eq!(list(Cns::COMMAND_SET_ACTIVE_NAMESPACES, 0), Ok(vec![1, 2]));
    assert_eq!(list(Cns::COMMAND_SET_ALLOCATED_NAMESPACES, 2), Ok(vec![3]));
    for cns in [Cns::ACTIVE_NAMESPACES, Cns::ALLOCATED_NAMESPACES] {
        for after in [NSID_ALL, NSID_ALL - 1] {
            assert_eq!(list(cns, after), Err(Status::INVALID_NAMESPACE_OR_FORMAT));
        }
        assert_eq!(list(cns, NSID_ALL - 2), Ok(vec![]));
    }
    let sets: CommandSets = host.identify(Cns::COMMAND_SETS, 0).unwrap();
    assert_eq!(sets.iter().count(), 1);
    assert!(sets.iter().all(|set| set.nvm()));
    let bytes = host.identify_bytes(Cns::NAMESPACE_DESCRIPTORS, 1, 0, 0).unwrap();
    let kinds: Vec<_> = NamespaceDescriptors::new(&bytes).collect();
    assert!(matches!(
        kinds[..],
        [
            NamespaceDescriptor::Eui64(_),
            NamespaceDescriptor::Nguid(_),
            NamespaceDescriptor::Csi(CommandSet::NVM)
        ]
    ));
}

/// Every CNS with every kind of NSID: data or the right status, and never a byte of something else.
#[test]
fn every_structure_with_every_identifier() {
    let mut host = host();
    let mut counts = [0; 3];
    let kinds = [0, 1, 2, 3, 4, 8, 9, 0x7FFF_FFFF, NSID_ALL - 1, NSID_ALL];
    for cns in 0..=0xFF_u8 {
        for nsid in kinds {
            for csi in [0, 1, 0xFF] {
                let cns = Cns::from_bits(cns);
                match host.identify_bytes(cns, nsid, 0, csi) {
                    Ok(bytes) => {
                        assert_ne!(bytes[4000..], [0xEE; 96], "{cns} is shorter than 4096 bytes");
                        counts[0] += 1;
                    }
                    Err(Status::INVALID_FIELD | Status::INVALID_COMMAND_SET) => counts[1] += 1,
                    Err(Status::INVALID_NAMESPACE_OR_FORMAT) => counts[2] += 1,
                    Err(other) => panic!("{cns} {nsid:#x}: {other}"),
                }
            }
        }
    }
    println!("identify: {counts:?} (data, refused, no such namespace)");
}

#[test]
fn bad_identifiers() {
    let mut host = host();
    for cns in [
        Cns::NAMESPACE,
        Cns::ALLOCATED_NAMESPACE,
        Cns::COMMAND_SET_NAMESPACE,
        Cns::INDEPENDENT_NAMESPACE,
        Cns::ATTACHED_CONTROLLERS,
        Cns::NAMESPACE_DESCRIPTORS,
    ] {
        for nsid in [0, 9, NSID_ALL - 1] {
            let status = host.identify_bytes(cns, nsid, 0, 0).unwrap_err();
            assert_eq!(status, Status::INVALID_NAMESPACE_OR_FORMAT, "{cns} {nsid:#x}");
        }
    }
    let bad_set = host.identify_bytes(Cns::COMMAND_SET_CONTROLLER, 0, 0, 2).unwrap_err();
    assert_eq!(bad_set, Status::INVALID_COMMAND_SET);
    let no_controller = host.identify_bytes(Cns::COMMAND_SETS, 0, 7, 0).unwrap_err();
    assert_eq!(no_controller, Status::INVALID_CONTROLLER_ID);
    host.identify_bytes(Cns::COMMAND_SETS, 0, 0xFFFF, 0).unwrap();
}

#[test]
fn two_controllers_of_one_subsystem() {
    let private = NamespaceConfig { shared: false, ..NamespaceConfig::default() };
    let subsystem = Subsystem::new(SubsystemConfig {
        namespaces: vec![NamespaceConfig::default(), private],
        ..SubsystemConfig::default()
    })
    .unwrap();
    let mut board = Board::new(IommuMode::Translate, Timing::Ideal);
    for name in ["a", "b"] {
        let controller: NvmeController = subsystem.controller(Default::default()).unwrap();
        board.plug(name, controller);
    }
    let fabric = board.build();
    let mut hosts = ["a", "b"].map(|name| {
        let mut host = Host::open(fabric.clone(), name);
        host.enable();
        host.create_queue(16);
        host
    });
    for (index, host) in (0_u16..).zip(&mut hosts) {
        let identify: IdentifyController = host.identify(Cns::CONTROLLER, 0).unwrap();
        assert_eq!(identify.cntlid.get(), index);
        assert!(identify.cmic.mctrs());
        let all: ControllerList = host.identify(Cns::CONTROLLERS, 0).unwrap();
        assert_eq!(all.iter().collect::<Vec<_>>(), [0, 1]);
        let attached: ControllerList = host.identify(Cns::ATTACHED_CONTROLLERS, 2).unwrap();
        assert_eq!(attached.iter().collect::<Vec<_>>(), [0]);
        let active: NamespaceList = host.identify(Cns::ACTIVE_NAMESPACES, 0).unwrap();
        let expected: &[u32] = if index == 0 { &[1, 2] } else { &[1] };
        assert_eq!(active.iter().collect::<Vec<_>>(), expected);
    }
    let [a, b] = &mut hosts;
    let bytes = a.identify_bytes(Cns::CONTROLLERS, 0, 1, 0).unwrap();
    assert_eq!(bytes[..4], [1, 0, 1, 0]);
    // What one writes the other reads.
    let (from, to) = (a.buffer(4096), b.buffer(4096));
    crate::host::fill(from.memory(), 3);
    a.write(1, 99, 1, &from).unwrap();
    b.read(1, 99, 1, &to).unwrap();
    assert_eq!(contents(from.memory()), contents(to.memory()));
    assert_eq!(b.read(2, 0, 1, &to), Err(Status::INVALID_FIELD));
}
