//! Admin commands in words.

use core::fmt;

use zerocopy::little_endian::U32;

use super::{
    AbortCdw10, AdminOpcode, CreateCompletionQueueCdw11, CreateQueueCdw10,
    CreateSubmissionQueueCdw11, DeleteQueueCdw10, DeviceSelfTestCdw10, DirectiveCdw11,
    FirmwareCommitCdw10, FormatNvmCdw10, GetFeaturesCdw10, GetLogPageCdw10, GetLogPageCdw11,
    IdentifyCdw10, IdentifyCdw11, NamespaceAttachmentCdw10, NamespaceManagementCdw10,
    NamespaceManagementCdw11, SanitizeCdw10, SecurityCdw10, SetFeaturesCdw10,
    VirtualizationManagementCdw10, VirtualizationManagementCdw11,
};
use crate::nvme::feature::display_feature;
use crate::nvme::queue::SubmissionEntry;

/// Prints a command of the admin queue: its name, its identifiers, and its dwords field by field.
#[derive(Debug, Clone, Copy)]
pub struct DisplayAdmin<'a>(pub &'a SubmissionEntry);

impl fmt::Display for DisplayAdmin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        let opcode = AdminOpcode::from_bits(entry.opcode());
        if opcode.name().is_none() {
            return write!(f, "Admin {entry}");
        }
        write!(f, "{opcode} CID={} NSID={:#x}", entry.cid(), entry.nsid)?;
        match opcode {
            AdminOpcode::CREATE_SUBMISSION_QUEUE => {
                pair::<CreateQueueCdw10, CreateSubmissionQueueCdw11>(entry, f)
            }
            AdminOpcode::CREATE_COMPLETION_QUEUE => {
                pair::<CreateQueueCdw10, CreateCompletionQueueCdw11>(entry, f)
            }
            AdminOpcode::DELETE_SUBMISSION_QUEUE | AdminOpcode::DELETE_COMPLETION_QUEUE => {
                single::<DeleteQueueCdw10>(entry, f)
            }
            AdminOpcode::GET_LOG_PAGE => pair::<GetLogPageCdw10, GetLogPageCdw11>(entry, f),
            AdminOpcode::IDENTIFY => pair::<IdentifyCdw10, IdentifyCdw11>(entry, f),
            AdminOpcode::ABORT => single::<AbortCdw10>(entry, f),
            AdminOpcode::SET_FEATURES => {
                single::<SetFeaturesCdw10>(entry, f)?;
                let fid = SetFeaturesCdw10::from(entry.cdw10).fid();
                f.write_str(" ")?;
                display_feature(fid, entry.cdw11.get(), f)
            }
            AdminOpcode::GET_FEATURES => single::<GetFeaturesCdw10>(entry, f),
            AdminOpcode::NAMESPACE_MANAGEMENT => {
                pair::<NamespaceManagementCdw10, NamespaceManagementCdw11>(entry, f)
            }
            AdminOpcode::NAMESPACE_ATTACHMENT => single::<NamespaceAttachmentCdw10>(entry, f),
            AdminOpcode::FIRMWARE_COMMIT => single::<FirmwareCommitCdw10>(entry, f),
            AdminOpcode::FORMAT_NVM => single::<FormatNvmCdw10>(entry, f),
            AdminOpcode::DEVICE_SELF_TEST => single::<DeviceSelfTestCdw10>(entry, f),
            AdminOpcode::SANITIZE => single::<SanitizeCdw10>(entry, f),
            AdminOpcode::SECURITY_SEND | AdminOpcode::SECURITY_RECEIVE => {
                single::<SecurityCdw10>(entry, f)
            }
            AdminOpcode::DIRECTIVE_SEND | AdminOpcode::DIRECTIVE_RECEIVE => {
                write!(f, " {}", DirectiveCdw11::from(entry.cdw11))
            }
            AdminOpcode::VIRTUALIZATION_MANAGEMENT => {
                pair::<VirtualizationManagementCdw10, VirtualizationManagementCdw11>(entry, f)
            }
            AdminOpcode::DOORBELL_BUFFER_CONFIG => {
                write!(f, " PRP1={} PRP2={}", entry.dptr.prp1, entry.dptr.prp2)
            }
            _ => Ok(()),
        }
    }
}

fn single<A>(entry: &SubmissionEntry, f: &mut fmt::Formatter<'_>) -> fmt::Result
where
    A: From<U32> + fmt::Display,
{
    write!(f, " {}", A::from(entry.cdw10))
}

fn pair<A, B>(entry: &SubmissionEntry, f: &mut fmt::Formatter<'_>) -> fmt::Result
where
    A: From<U32> + fmt::Display,
    B: From<U32> + fmt::Display,
{
    write!(f, " {} {}", A::from(entry.cdw10), B::from(entry.cdw11))
}
