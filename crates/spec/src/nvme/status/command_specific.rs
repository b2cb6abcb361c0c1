//! Command Specific Status of admin and Fabrics commands (NVMe Base 2.1 §4.2.3.2, Figures 103 and 105).

use super::statuses;

statuses! { COMMAND_SPECIFIC, COMMAND_SPECIFIC:
    /// The completion queue that a submission queue is to use does not exist.
    COMPLETION_QUEUE_INVALID = 0x00 => "Completion Queue Invalid",
    /// The queue identifier is in use, or does not exist, or is beyond what was allocated.
    INVALID_QUEUE_IDENTIFIER = 0x01 => "Invalid Queue Identifier",
    /// The queue size is 0 or larger than the controller supports.
    INVALID_QUEUE_SIZE = 0x02 => "Invalid Queue Size",
    /// Too many Abort commands are outstanding.
    ABORT_LIMIT_EXCEEDED = 0x03 => "Abort Command Limit Exceeded",
    /// Too many Asynchronous Event Request commands are outstanding.
    ASYNC_EVENT_LIMIT_EXCEEDED = 0x05 => "Asynchronous Event Request Limit Exceeded",
    /// The firmware slot does not exist or is read only.
    INVALID_FIRMWARE_SLOT = 0x06 => "Invalid Firmware Slot",
    /// The firmware image is invalid and was not loaded.
    INVALID_FIRMWARE_IMAGE = 0x07 => "Invalid Firmware Image",
    /// The interrupt vector does not exist.
    INVALID_INTERRUPT_VECTOR = 0x08 => "Invalid Interrupt Vector",
    /// The log page does not exist.
    INVALID_LOG_PAGE = 0x09 => "Invalid Log Page",
    /// The format is not supported.
    INVALID_FORMAT = 0x0A => "Invalid Format",
    /// The firmware becomes active with a conventional reset.
    FIRMWARE_NEEDS_CONVENTIONAL_RESET = 0x0B => "Firmware Activation Requires Conventional Reset",
    /// The completion queue still has submission queues.
    INVALID_QUEUE_DELETION = 0x0C => "Invalid Queue Deletion",
    /// The feature cannot be saved.
    FEATURE_NOT_SAVEABLE = 0x0D => "Feature Identifier Not Saveable",
    /// The feature cannot be changed.
    FEATURE_NOT_CHANGEABLE = 0x0E => "Feature Not Changeable",
    /// The feature applies to all namespaces, not to one.
    FEATURE_NOT_NAMESPACE_SPECIFIC = 0x0F => "Feature Not Namespace Specific",
    /// The firmware becomes active with an NVM Subsystem Reset.
    FIRMWARE_NEEDS_SUBSYSTEM_RESET = 0x10 => "Firmware Activation Requires NVM Subsystem Reset",
    /// The firmware becomes active with a Controller Level Reset.
    FIRMWARE_NEEDS_RESET = 0x11 => "Firmware Activation Requires Controller Level Reset",
    /// Activating the firmware now would take longer than MTFA.
    FIRMWARE_NEEDS_MAX_TIME = 0x12 => "Firmware Activation Requires Maximum Time Violation",
    /// The controller does not allow this image to become active.
    FIRMWARE_ACTIVATION_PROHIBITED = 0x13 => "Firmware Activation Prohibited",
    /// Ranges of a firmware image, or of the LBA Range Type feature, overlap.
    OVERLAPPING_RANGE = 0x14 => "Overlapping Range",
    /// There is less free space than the namespace needs.
    NAMESPACE_INSUFFICIENT_CAPACITY = 0x15 => "Namespace Insufficient Capacity",
    /// No namespace identifier is left.
    NAMESPACE_ID_UNAVAILABLE = 0x16 => "Namespace Identifier Unavailable",
    /// The controller is attached to the namespace already.
    NAMESPACE_ALREADY_ATTACHED = 0x18 => "Namespace Already Attached",
    /// The namespace is private and attached to another controller.
    NAMESPACE_IS_PRIVATE = 0x19 => "Namespace Is Private",
    /// The controller is not attached to the namespace.
    NAMESPACE_NOT_ATTACHED = 0x1A => "Namespace Not Attached",
    /// Thin provisioning is not supported.
    THIN_PROVISIONING_NOT_SUPPORTED = 0x1B => "Thin Provisioning Not Supported",
    /// The controller list is invalid.
    CONTROLLER_LIST_INVALID = 0x1C => "Controller List Invalid",
    /// A device self-test is running.
    SELF_TEST_IN_PROGRESS = 0x1D => "Device Self-test In Progress",
    /// The boot partition is locked.
    BOOT_PARTITION_WRITE_PROHIBITED = 0x1E => "Boot Partition Write Prohibited",
    /// The controller identifier is invalid.
    INVALID_CONTROLLER_ID = 0x1F => "Invalid Controller Identifier",
    /// The secondary controller is in the wrong state for this.
    INVALID_SECONDARY_STATE = 0x20 => "Invalid Secondary Controller State",
    /// The number of resources is invalid.
    INVALID_RESOURCE_COUNT = 0x21 => "Invalid Number of Controller Resources",
    /// The resource identifier is invalid.
    INVALID_RESOURCE_ID = 0x22 => "Invalid Resource Identifier",
    /// A Persistent Memory Region has to be disabled before a sanitize operation.
    SANITIZE_PROHIBITED_BY_PMR = 0x23 => "Sanitize Prohibited While Persistent Memory Region is Enabled",
    /// The ANA group identifier is not supported.
    ANA_GROUP_ID_INVALID = 0x24 => "ANA Group Identifier Invalid",
    /// The namespace could not be attached because of its ANA state.
    ANA_ATTACH_FAILED = 0x25 => "ANA Attach Failed",
    /// There is less capacity than requested.
    INSUFFICIENT_CAPACITY = 0x26 => "Insufficient Capacity",
    /// No more namespaces can be attached.
    NAMESPACE_ATTACHMENT_LIMIT_EXCEEDED = 0x27 => "Namespace Attachment Limit Exceeded",
    /// The command cannot be locked.
    LOCKDOWN_NOT_SUPPORTED = 0x28 => "Prohibition of Command Execution Not Supported",
    /// The I/O Command Set is not supported.
    COMMAND_SET_NOT_SUPPORTED = 0x29 => "I/O Command Set Not Supported",
    /// The I/O Command Set is not enabled.
    COMMAND_SET_NOT_ENABLED = 0x2A => "I/O Command Set Not Enabled",
    /// The combination of I/O Command Sets is not possible now.
    COMMAND_SET_COMBINATION_REJECTED = 0x2B => "I/O Command Set Combination Rejected",
    /// The data structure does not exist for the I/O Command Set.
    INVALID_COMMAND_SET = 0x2C => "Invalid I/O Command Set",
    /// No identifier is left.
    IDENTIFIER_UNAVAILABLE = 0x2D => "Identifier Unavailable",
    /// The namespace is dispersed, and the host does not support reservations on such.
    NAMESPACE_IS_DISPERSED = 0x2E => "Namespace Is Dispersed",
    /// The discovery information is invalid.
    INVALID_DISCOVERY_INFORMATION = 0x2F => "Invalid Discovery Information",
    /// The zoning data structure is locked.
    ZONING_DATA_LOCKED = 0x30 => "Zoning Data Structure Locked",
    /// There is no such zoning data structure.
    ZONING_DATA_NOT_FOUND = 0x31 => "Zoning Data Structure Not Found",
    /// The discovery controller has no room.
    INSUFFICIENT_DISCOVERY_RESOURCES = 0x32 => "Insufficient Discovery Resources",
    /// Fabric zoning is disabled.
    REQUESTED_FUNCTION_DISABLED = 0x33 => "Requested Function Disabled",
    /// The originator of the zone group is another.
    ZONE_GROUP_ORIGINATOR_INVALID = 0x34 => "ZoneGroup Originator Invalid",
    /// The host is invalid.
    INVALID_HOST = 0x35 => "Invalid Host",
    /// The NVM subsystem is invalid.
    INVALID_SUBSYSTEM = 0x36 => "Invalid NVM Subsystem",
    /// The controller data queue does not exist.
    INVALID_CONTROLLER_DATA_QUEUE = 0x37 => "Invalid Controller Data Queue",
    /// The controller lacks resources for this.
    NOT_ENOUGH_RESOURCES = 0x38 => "Not Enough Resources",
    /// The controller is suspended.
    CONTROLLER_SUSPENDED = 0x39 => "Controller Suspended",
    /// The controller is not suspended.
    CONTROLLER_NOT_SUSPENDED = 0x3A => "Controller Not Suspended",
    /// The controller data queue is full.
    CONTROLLER_DATA_QUEUE_FULL = 0x3B => "Controller Data Queue Full",
}

open_enum! {
    /// Command Specific Status of Fabrics commands (NVMe Base 2.1 §4.2.3.2, Figure 105): the status code
    /// within type 1. I/O commands use the same values for something else.
    pub struct FabricsStatus: u8 {
        INCOMPATIBLE_FORMAT = 0x80 => "Incompatible Format",
        CONTROLLER_BUSY = 0x81 => "Controller Busy",
        CONNECT_INVALID_PARAMETERS = 0x82 => "Connect Invalid Parameters",
        CONNECT_RESTART_DISCOVERY = 0x83 => "Connect Restart Discovery",
        CONNECT_INVALID_HOST = 0x84 => "Connect Invalid Host",
        INVALID_QUEUE_TYPE = 0x85 => "Invalid Queue Type",
        DISCOVER_RESTART = 0x90 => "Discover Restart",
        AUTHENTICATION_REQUIRED = 0x91 => "Authentication Required",
    }
}
