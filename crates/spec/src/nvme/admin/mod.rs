//! Admin commands (NVMe Base 2.1 §5): opcodes, and the dwords of each command.
//!
//! A dword type is named after its command and the dword; what a command leaves to zero has no type.

mod display;
mod event;
mod firmware;
mod format;
mod get_log_page;
mod identify;
mod management;
mod queues;
mod set_features;

pub use display::DisplayAdmin;
pub use event::{
    AsyncErrorInfo, AsyncEventResult, AsyncEventType, AsyncHealthInfo, AsyncImmediateInfo,
    AsyncIoCommandInfo, AsyncNoticeInfo,
};
pub use firmware::{CommitAction, FirmwareCommitCdw10, FirmwareCommitResult};
pub use format::{FormatNvmCdw10, SecureErase};
pub use get_log_page::{GetLogPageCdw10, GetLogPageCdw11, GetLogPageCdw14, LogPageRequest};
pub use identify::{Cns, IdentifyCdw10, IdentifyCdw11, UuidIndexCdw14};
pub use management::{
    AbortCdw10, AbortResult, DeviceSelfTestCdw10, DirectiveCdw11, DirectiveType,
    NamespaceAttachmentCdw10, NamespaceAttachmentSelect, NamespaceManagementCdw10,
    NamespaceManagementCdw11, NamespaceManagementSelect, ResourceType, SanitizeAction,
    SanitizeCdw10, SecurityCdw10, SelfTestCode, VirtualizationAction,
    VirtualizationManagementCdw10, VirtualizationManagementCdw11,
};
pub use queues::{
    CreateCompletionQueueCdw11, CreateQueueCdw10, CreateSubmissionQueueCdw11,
    CreateSubmissionQueueCdw12, DeleteQueueCdw10, QueuePriority,
};
pub use set_features::{GetFeaturesCdw10, Select, SetFeaturesCdw10};

open_enum! {
    /// Opcodes of the Admin Command Set (NVMe Base 2.1 §5, Figure 141).
    pub struct AdminOpcode: u8 {
        DELETE_SUBMISSION_QUEUE = 0x00 => "Delete I/O Submission Queue",
        CREATE_SUBMISSION_QUEUE = 0x01 => "Create I/O Submission Queue",
        GET_LOG_PAGE = 0x02 => "Get Log Page",
        DELETE_COMPLETION_QUEUE = 0x04 => "Delete I/O Completion Queue",
        CREATE_COMPLETION_QUEUE = 0x05 => "Create I/O Completion Queue",
        IDENTIFY = 0x06 => "Identify",
        ABORT = 0x08 => "Abort",
        SET_FEATURES = 0x09 => "Set Features",
        GET_FEATURES = 0x0A => "Get Features",
        ASYNC_EVENT_REQUEST = 0x0C => "Asynchronous Event Request",
        NAMESPACE_MANAGEMENT = 0x0D => "Namespace Management",
        FIRMWARE_COMMIT = 0x10 => "Firmware Commit",
        FIRMWARE_IMAGE_DOWNLOAD = 0x11 => "Firmware Image Download",
        DEVICE_SELF_TEST = 0x14 => "Device Self-test",
        NAMESPACE_ATTACHMENT = 0x15 => "Namespace Attachment",
        KEEP_ALIVE = 0x18 => "Keep Alive",
        DIRECTIVE_SEND = 0x19 => "Directive Send",
        DIRECTIVE_RECEIVE = 0x1A => "Directive Receive",
        VIRTUALIZATION_MANAGEMENT = 0x1C => "Virtualization Management",
        NVME_MI_SEND = 0x1D => "NVMe-MI Send",
        NVME_MI_RECEIVE = 0x1E => "NVMe-MI Receive",
        CAPACITY_MANAGEMENT = 0x20 => "Capacity Management",
        DISCOVERY_INFORMATION_MANAGEMENT = 0x21 => "Discovery Information Management",
        FABRIC_ZONING_RECEIVE = 0x22 => "Fabric Zoning Receive",
        LOCKDOWN = 0x24 => "Lockdown",
        FABRIC_ZONING_LOOKUP = 0x25 => "Fabric Zoning Lookup",
        CLEAR_EXPORTED_CONFIGURATION = 0x28 => "Clear Exported NVM Resource Configuration",
        FABRIC_ZONING_SEND = 0x29 => "Fabric Zoning Send",
        CREATE_EXPORTED_SUBSYSTEM = 0x2A => "Create Exported NVM Subsystem",
        MANAGE_EXPORTED_SUBSYSTEM = 0x2D => "Manage Exported NVM Subsystem",
        MANAGE_EXPORTED_NAMESPACE = 0x31 => "Manage Exported Namespace",
        MANAGE_EXPORTED_PORT = 0x35 => "Manage Exported Port",
        SEND_DISCOVERY_LOG_PAGE = 0x39 => "Send Discovery Log Page",
        TRACK_SEND = 0x3D => "Track Send",
        TRACK_RECEIVE = 0x3E => "Track Receive",
        MIGRATION_SEND = 0x41 => "Migration Send",
        MIGRATION_RECEIVE = 0x42 => "Migration Receive",
        CONTROLLER_DATA_QUEUE = 0x45 => "Controller Data Queue",
        /// PRP1 is the shadow doorbell buffer, PRP2 the event index buffer: a memory page each, laid out
        /// like the doorbells (NVMe Base 2.1 §5.2.5).
        DOORBELL_BUFFER_CONFIG = 0x7C => "Doorbell Buffer Config",
        FABRICS = 0x7F => "Fabrics Commands",
        FORMAT_NVM = 0x80 => "Format NVM",
        SECURITY_SEND = 0x81 => "Security Send",
        SECURITY_RECEIVE = 0x82 => "Security Receive",
        SANITIZE = 0x84 => "Sanitize",
        LOAD_PROGRAM = 0x85 => "Load Program",
        GET_LBA_STATUS = 0x86 => "Get LBA Status",
        PROGRAM_ACTIVATION_MANAGEMENT = 0x88 => "Program Activation Management",
        MEMORY_RANGE_SET_MANAGEMENT = 0x89 => "Memory Range Set Management",
    }
}

/// Implements the conversions between a dword type and a command's dword.
macro_rules! command_dwords {
    ($($Type:ty),+ $(,)?) => {$(
        impl From<$Type> for zerocopy::little_endian::U32 {
            #[inline]
            fn from(dword: $Type) -> Self {
                Self::new(dword.into_bits())
            }
        }

        impl From<zerocopy::little_endian::U32> for $Type {
            #[inline]
            fn from(dword: zerocopy::little_endian::U32) -> Self {
                Self::from_bits(dword.get())
            }
        }
    )+};
}
pub(crate) use command_dwords;

#[cfg(test)]
mod tests;
