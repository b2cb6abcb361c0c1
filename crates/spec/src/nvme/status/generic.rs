//! Generic Command Status (NVMe Base 2.1 §4.2.3.1, Figure 102).

use super::statuses;

statuses! { GENERIC, GENERIC:
    /// The command completed without error.
    SUCCESS = 0x00 => "Successful Completion",
    /// The opcode is reserved or not supported.
    INVALID_OPCODE = 0x01 => "Invalid Command Opcode",
    /// A field of the command, or of data that it points to, holds a reserved or unsupported value.
    INVALID_FIELD = 0x02 => "Invalid Field in Command",
    /// The command identifier is already in use.
    COMMAND_ID_CONFLICT = 0x03 => "Command ID Conflict",
    /// Moving the data or the metadata had an error.
    DATA_TRANSFER_ERROR = 0x04 => "Data Transfer Error",
    /// Power is about to be lost.
    ABORTED_POWER_LOSS = 0x05 => "Commands Aborted due to Power Loss Notification",
    /// The controller had an error of its own.
    INTERNAL_ERROR = 0x06 => "Internal Error",
    /// An Abort or a Cancel command named this command.
    ABORT_REQUESTED = 0x07 => "Command Abort Requested",
    /// The submission queue was deleted.
    ABORTED_SQ_DELETION = 0x08 => "Command Aborted due to SQ Deletion",
    /// The other command of a fused operation failed.
    ABORTED_FAILED_FUSED = 0x09 => "Command Aborted due to Failed Fused Command",
    /// The adjacent entry is not the other command of a fused operation.
    ABORTED_MISSING_FUSED = 0x0A => "Command Aborted due to Missing Fused Command",
    /// The namespace, or its format, is invalid.
    INVALID_NAMESPACE_OR_FORMAT = 0x0B => "Invalid Namespace or Format",
    /// Commands came in an order that their protocol does not allow.
    COMMAND_SEQUENCE_ERROR = 0x0C => "Command Sequence Error",
    /// A Segment or Last Segment descriptor has a bad length or address, or a last segment has another.
    INVALID_SGL_SEGMENT_DESCRIPTOR = 0x0D => "Invalid SGL Segment Descriptor",
    /// A Segment or Last Segment descriptor is not the last descriptor of its segment.
    INVALID_NUMBER_OF_SGL_DESCRIPTORS = 0x0E => "Invalid Number of SGL Descriptors",
    /// The SGL describes less, or unsupportedly more, than the data.
    DATA_SGL_LENGTH_INVALID = 0x0F => "Data SGL Length Invalid",
    /// The SGL describes less, or unsupportedly more, than the metadata.
    METADATA_SGL_LENGTH_INVALID = 0x10 => "Metadata SGL Length Invalid",
    /// The type of a descriptor, or its sub type, is not supported.
    SGL_DESCRIPTOR_TYPE_INVALID = 0x11 => "SGL Descriptor Type Invalid",
    /// The controller does not support this use of its memory buffer.
    INVALID_USE_OF_CMB = 0x12 => "Invalid Use of Controller Memory Buffer",
    /// A PRP entry has an offset where none may be, or one that is not a multiple of 4.
    PRP_OFFSET_INVALID = 0x13 => "PRP Offset Invalid",
    /// The write is larger than what can be written atomically.
    ATOMIC_WRITE_UNIT_EXCEEDED = 0x14 => "Atomic Write Unit Exceeded",
    /// The host lacks the right to do this.
    OPERATION_DENIED = 0x15 => "Operation Denied",
    /// The offset in an SGL descriptor is invalid.
    SGL_OFFSET_INVALID = 0x16 => "SGL Offset Invalid",
    /// Controllers of the subsystem were given host identifiers of 64 and of 128 bits.
    HOST_ID_INCONSISTENT_FORMAT = 0x18 => "Host Identifier Inconsistent Format",
    /// The Keep Alive Timer expired.
    KEEP_ALIVE_EXPIRED = 0x19 => "Keep Alive Timer Expired",
    /// The Keep Alive Timeout value is invalid.
    KEEP_ALIVE_INVALID = 0x1A => "Keep Alive Timeout Invalid",
    /// A Reservation Acquire command preempted and aborted.
    ABORTED_PREEMPT = 0x1B => "Command Aborted due to Preempt and Abort",
    /// The last sanitize operation failed and nothing has recovered from it.
    SANITIZE_FAILED = 0x1C => "Sanitize Failed",
    /// A sanitize operation forbids this for now.
    SANITIZE_IN_PROGRESS = 0x1D => "Sanitize In Progress",
    /// Address or length of a data block does not have the required granularity.
    SGL_GRANULARITY_INVALID = 0x1E => "SGL Data Block Granularity Invalid",
    /// This command may not come from, or complete to, a queue in the controller's memory buffer.
    COMMAND_NOT_SUPPORTED_IN_CMB = 0x1F => "Command Not Supported for Queue in CMB",
    /// The namespace is write protected.
    NAMESPACE_WRITE_PROTECTED = 0x20 => "Namespace is Write Protected",
    /// Processing was interrupted; the host should retry.
    COMMAND_INTERRUPTED = 0x21 => "Command Interrupted",
    /// The transport had an error that a retry is likely to overcome.
    TRANSIENT_TRANSPORT_ERROR = 0x22 => "Transient Transport Error",
    /// Command and Feature Lockdown prohibits the command.
    PROHIBITED_BY_LOCKDOWN = 0x23 => "Command Prohibited by Command and Feature Lockdown",
    /// The command needs media that are not ready yet.
    ADMIN_COMMAND_MEDIA_NOT_READY = 0x24 => "Admin Command Media Not Ready",
    /// The key tag is invalid.
    INVALID_KEY_TAG = 0x25 => "Invalid Key Tag",
    /// The host has not said that it supports dispersed namespaces.
    HOST_DISPERSED_NOT_ENABLED = 0x26 => "Host Dispersed Namespace Support Not Enabled",
    /// The Host Identifier has to be set first.
    HOST_ID_NOT_INITIALIZED = 0x27 => "Host Identifier Not Initialized",
    /// The key that the tag names is the wrong one.
    INCORRECT_KEY = 0x28 => "Incorrect Key",
    /// Flexible Data Placement is disabled.
    FDP_DISABLED = 0x29 => "FDP Disabled",
    /// The placement handle list names a wrong handle or is too long.
    INVALID_PLACEMENT_HANDLE_LIST = 0x2A => "Invalid Placement Handle List",
    /// The command references a logical block beyond the end of the namespace.
    LBA_OUT_OF_RANGE = 0x80 => "LBA Out of Range",
    /// The command would exceed the capacity of the namespace.
    CAPACITY_EXCEEDED = 0x81 => "Capacity Exceeded",
    /// The namespace cannot be accessed yet.
    NAMESPACE_NOT_READY = 0x82 => "Namespace Not Ready",
    /// Another host holds a reservation on the namespace.
    RESERVATION_CONFLICT = 0x83 => "Reservation Conflict",
    /// The namespace is being formatted.
    FORMAT_IN_PROGRESS = 0x84 => "Format In Progress",
    /// The value is too long (Key Value).
    INVALID_VALUE_SIZE = 0x85 => "Invalid Value Size",
    /// The key is too long, or empty (Key Value).
    INVALID_KEY_SIZE = 0x86 => "Invalid Key Size",
    /// There is no such key (Key Value).
    KEY_DOES_NOT_EXIST = 0x87 => "KV Key Does Not Exist",
    /// The value could not be read from the media (Key Value).
    UNRECOVERED_ERROR = 0x88 => "Unrecovered Error",
    /// The key exists already (Key Value).
    KEY_EXISTS = 0x89 => "Key Exists",
}
