//! Command Specific Status of I/O commands, of all I/O Command Sets (NVMe Base 2.1 §4.2.3.2, Figure 104).

use super::statuses;

statuses! { IO_COMMAND, COMMAND_SPECIFIC:
    /// Attributes of the command contradict each other.
    CONFLICTING_ATTRIBUTES = 0x80 => "Conflicting Attributes",
    /// The protection information settings do not fit the namespace.
    INVALID_PROTECTION_INFORMATION = 0x81 => "Invalid Protection Information",
    /// The range is read only.
    WRITE_TO_READ_ONLY_RANGE = 0x82 => "Attempted Write to Read Only Range",
    /// The command is larger than a limit that the controller reports.
    COMMAND_SIZE_LIMIT_EXCEEDED = 0x83 => "Command Size Limit Exceeded",
    /// The command to cancel is invalid.
    INVALID_COMMAND_ID = 0x84 => "Invalid Command ID",
    /// The namespaces of a copy differ in format.
    INCOMPATIBLE_NAMESPACE = 0x85 => "Incompatible Namespace or Format",
    /// The copy cannot be made fast.
    FAST_COPY_NOT_POSSIBLE = 0x86 => "Fast Copy Not Possible",
    /// Ranges of the command overlap.
    OVERLAPPING_IO_RANGE = 0x87 => "Overlapping I/O Range",
    /// The namespace cannot be reached from the other one.
    NAMESPACE_NOT_REACHABLE = 0x88 => "Namespace Not Reachable",
    /// The controller lacks resources for this.
    INSUFFICIENT_RESOURCES = 0x89 => "Insufficient Resources",
    /// There is no room for the program.
    INSUFFICIENT_PROGRAM_RESOURCES = 0x8A => "Insufficient Program Resources",
    /// The namespace is no memory namespace, or not a reachable one.
    INVALID_MEMORY_NAMESPACE = 0x8B => "Invalid Memory Namespace",
    /// The memory range set is invalid.
    INVALID_MEMORY_RANGE_SET = 0x8C => "Invalid Memory Range Set",
    /// There is no such memory range set.
    INVALID_MEMORY_RANGE_SET_ID = 0x8D => "Invalid Memory Range Set Identifier",
    /// The program is invalid.
    INVALID_PROGRAM_DATA = 0x8E => "Invalid Program Data",
    /// The program index is invalid.
    INVALID_PROGRAM_INDEX = 0x8F => "Invalid Program Index",
    /// The program type is not supported.
    INVALID_PROGRAM_TYPE = 0x90 => "Invalid Program Type",
    /// The memory range set has too many ranges.
    MAX_MEMORY_RANGES_EXCEEDED = 0x91 => "Maximum Memory Ranges Exceeded",
    /// Too many memory range sets exist.
    MAX_MEMORY_RANGE_SETS_EXCEEDED = 0x92 => "Maximum Memory Range Sets Exceeded",
    /// Too many programs are active.
    MAX_PROGRAMS_ACTIVATED = 0x93 => "Maximum Programs Activated",
    /// The programs are too large together.
    MAX_PROGRAM_BYTES_EXCEEDED = 0x94 => "Maximum Program Bytes Exceeded",
    /// A program is using the memory range set.
    MEMORY_RANGE_SET_IN_USE = 0x95 => "Memory Range Set In Use",
    /// There is no program at the index.
    NO_PROGRAM = 0x96 => "No Program",
    /// Memory ranges overlap.
    OVERLAPPING_MEMORY_RANGES = 0x97 => "Overlapping Memory Ranges",
    /// The program is not active.
    PROGRAM_NOT_ACTIVATED = 0x98 => "Program Not Activated",
    /// The program is running.
    PROGRAM_IN_USE = 0x99 => "Program In Use",
    /// No program can be loaded at the index.
    PROGRAM_INDEX_NOT_DOWNLOADABLE = 0x9A => "Program Index Not Downloadable",
    /// The program is too large.
    PROGRAM_TOO_BIG = 0x9B => "Program Too Big",
    /// The read verified sanitized media; the data are not user data.
    MEDIA_VERIFICATION_READ = 0x9C => "Successful Media Verification Read",
    /// The command spans zones.
    ZONED_BOUNDARY_ERROR = 0xB8 => "Zoned Boundary Error",
    /// The zone is full.
    ZONE_IS_FULL = 0xB9 => "Zone Is Full",
    /// The zone is read only.
    ZONE_IS_READ_ONLY = 0xBA => "Zone Is Read Only",
    /// The zone is offline.
    ZONE_IS_OFFLINE = 0xBB => "Zone Is Offline",
    /// The write is not at the zone's write pointer.
    ZONE_INVALID_WRITE = 0xBC => "Zone Invalid Write",
    /// No further zone can be active.
    TOO_MANY_ACTIVE_ZONES = 0xBD => "Too Many Active Zones",
    /// No further zone can be open.
    TOO_MANY_OPEN_ZONES = 0xBE => "Too Many Open Zones",
    /// The zone cannot go to that state.
    INVALID_ZONE_STATE_TRANSITION = 0xBF => "Invalid Zone State Transition",
}
