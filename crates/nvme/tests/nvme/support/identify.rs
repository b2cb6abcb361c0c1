//! What the fake controller says of itself.

use p2pdma_spec::nvme::admin::{Cns, IdentifyCdw10};
use p2pdma_spec::nvme::identify::{
    IdentifyController, Lpa, NamespaceDescriptor, NamespaceList, Oacs, Oaes, QueueEntrySizes,
    SglSupport, Sgls,
};
use p2pdma_spec::nvme::namespace::{Flbas, IdentifyNamespace, LbaFormat};
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::registers::Vs;
use p2pdma_spec::text::Ascii;
use zerocopy::IntoBytes as _;
use zerocopy::little_endian::{U16, U32, U64};

/// Blocks of each namespace, of 512 bytes.
pub(crate) const BLOCKS: u64 = 4096;

/// The identify structure that a command asks for; `None` if there is no such.
pub(crate) fn answer(entry: &SubmissionEntry) -> Option<Vec<u8>> {
    let nsid = entry.nsid.get();
    Some(match IdentifyCdw10::from(entry.cdw10).cns() {
        Cns::CONTROLLER => controller().as_bytes().to_vec(),
        Cns::NAMESPACE if nsid == 1 => namespace().as_bytes().to_vec(),
        Cns::ACTIVE_NAMESPACES => {
            NamespaceList::new([1].into_iter().filter(|id| *id > nsid)).as_bytes().to_vec()
        }
        Cns::NAMESPACE_DESCRIPTORS if nsid == 1 => {
            let mut bytes = vec![0; 4096];
            let set = p2pdma_spec::nvme::CommandSet::NVM;
            let _ = NamespaceDescriptor::Csi(set).put(&mut bytes);
            bytes
        }
        Cns::COMMAND_SET_NAMESPACE | Cns::COMMAND_SET_CONTROLLER => vec![0; 4096],
        _ => return None,
    })
}

fn controller() -> IdentifyController {
    IdentifyController {
        vid: U16::new(0x1234),
        sn: Ascii::new("FAKE").unwrap(),
        mn: Ascii::new("A controller that can lie").unwrap(),
        mdts: 5,
        ver: Vs::V2_1.into(),
        oaes: Oaes::new().with_nsan(true).into(),
        oacs: Oacs::new().with_dbcs(true).with_nms(true).with_fnvms(true).into(),
        acl_z: 3,
        aerl_z: 3,
        lpa: Lpa::new().with_lpeds(true),
        elpe_z: 63,
        sqes: QueueEntrySizes::SUBMISSION,
        cqes: QueueEntrySizes::COMPLETION,
        nn: U32::new(1),
        sgls: Sgls::new().with_support(SglSupport::ANY_ALIGNMENT).with_bit_bucket(true).into(),
        ..IdentifyController::default()
    }
}

fn namespace() -> IdentifyNamespace {
    let mut identify = IdentifyNamespace {
        nsze: U64::new(BLOCKS),
        ncap: U64::new(BLOCKS),
        flbas: Flbas::new(),
        ..IdentifyNamespace::default()
    };
    identify.lbaf[0] = LbaFormat::new().with_lbads(9).into();
    identify
}
