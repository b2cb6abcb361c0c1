//! Features: what Set Features and Get Features are about (NVMe Base 2.1 §5.1.25, NVM Command Set 1.1
//! §4.1.3).
//!
//! A feature's dword is Command Dword 11 of Set Features and, with few exceptions, Dword 0 of the completion
//! of Get Features.

mod display;
mod events;
mod host;
mod media;
mod power;
mod queues;
mod ranges;

pub use display::display_feature;
pub use events::{
    AsyncEventConfiguration, EnduranceGroupEventConfiguration, ReservationNotificationMask,
};
pub use host::{
    HostBehaviorSupport, HostIdentifierSize, IoCommandSetProfile, Timestamp, TimestampAttributes,
    TimestampOrigin,
};
pub use media::{
    BootPartitionProtection, BootPartitionState, ErrorRecovery, FlexibleDataPlacement,
    LbaStatusAttributes, PerformanceCharacteristics, ReadRecoveryLevel, ReservationPersistence,
    SanitizeConfig, SpinupControl, VolatileWriteCache, WriteAtomicityNormal, WriteProtection,
    WriteProtectionState,
};
pub use power::{
    AutonomousPowerState, AutonomousPowerStateTable, AutonomousPowerStates,
    NonOperationalPowerState, PowerLossMode, PowerLossSignaling, PowerManagement,
    TemperatureSelect, TemperatureThreshold, ThermalManagement, ThresholdType,
};
pub use queues::{
    Arbitration, HostMemoryBuffer, HostMemoryBufferAttributes, HostMemoryDescriptor,
    InterruptCoalescing, InterruptVectorConfiguration, NO_ARBITRATION_LIMIT, NumberOfQueues,
};
pub use ranges::{LbaRange, LbaRangeAttributes, LbaRangeCount, LbaRangeType};

use bitfield_struct::bitfield;

open_enum! {
    /// Feature Identifiers (NVMe Base 2.1 §5.1.25.1, Figure 385).
    pub struct FeatureId: u8 {
        ARBITRATION = 0x01 => "Arbitration",
        POWER_MANAGEMENT = 0x02 => "Power Management",
        LBA_RANGE_TYPE = 0x03 => "LBA Range Type",
        TEMPERATURE_THRESHOLD = 0x04 => "Temperature Threshold",
        ERROR_RECOVERY = 0x05 => "Error Recovery",
        VOLATILE_WRITE_CACHE = 0x06 => "Volatile Write Cache",
        NUMBER_OF_QUEUES = 0x07 => "Number of Queues",
        INTERRUPT_COALESCING = 0x08 => "Interrupt Coalescing",
        INTERRUPT_VECTOR_CONFIGURATION = 0x09 => "Interrupt Vector Configuration",
        WRITE_ATOMICITY_NORMAL = 0x0A => "Write Atomicity Normal",
        ASYNC_EVENT_CONFIGURATION = 0x0B => "Asynchronous Event Configuration",
        AUTONOMOUS_POWER_STATE_TRANSITION = 0x0C => "Autonomous Power State Transition",
        HOST_MEMORY_BUFFER = 0x0D => "Host Memory Buffer",
        TIMESTAMP = 0x0E => "Timestamp",
        KEEP_ALIVE_TIMER = 0x0F => "Keep Alive Timer",
        HOST_CONTROLLED_THERMAL_MANAGEMENT = 0x10 => "Host Controlled Thermal Management",
        NON_OPERATIONAL_POWER_STATE = 0x11 => "Non-Operational Power State Config",
        READ_RECOVERY_LEVEL = 0x12 => "Read Recovery Level Config",
        PREDICTABLE_LATENCY_CONFIG = 0x13 => "Predictable Latency Mode Config",
        PREDICTABLE_LATENCY_WINDOW = 0x14 => "Predictable Latency Mode Window",
        LBA_STATUS_ATTRIBUTES = 0x15 => "LBA Status Information Report Interval",
        HOST_BEHAVIOR_SUPPORT = 0x16 => "Host Behavior Support",
        SANITIZE_CONFIG = 0x17 => "Sanitize Config",
        ENDURANCE_GROUP_EVENT_CONFIGURATION = 0x18 => "Endurance Group Event Configuration",
        IO_COMMAND_SET_PROFILE = 0x19 => "I/O Command Set Profile",
        SPINUP_CONTROL = 0x1A => "Spinup Control",
        POWER_LOSS_SIGNALING = 0x1B => "Power Loss Signaling Config",
        PERFORMANCE_CHARACTERISTICS = 0x1C => "Performance Characteristics",
        FLEXIBLE_DATA_PLACEMENT = 0x1D => "Flexible Data Placement",
        FDP_EVENTS = 0x1E => "Flexible Data Placement Events",
        NAMESPACE_ADMIN_LABEL = 0x1F => "Namespace Admin Label",
        KEY_VALUE_CONFIGURATION = 0x20 => "Key Value Configuration",
        CONTROLLER_DATA_QUEUE = 0x21 => "Controller Data Queue",
        EMBEDDED_MANAGEMENT_CONTROLLER = 0x78 => "Embedded Management Controller Address",
        HOST_MANAGEMENT_AGENT = 0x79 => "Host Management Agent Address",
        ENHANCED_CONTROLLER_METADATA = 0x7D => "Enhanced Controller Metadata",
        CONTROLLER_METADATA = 0x7E => "Controller Metadata",
        NAMESPACE_METADATA = 0x7F => "Namespace Metadata",
        SOFTWARE_PROGRESS_MARKER = 0x80 => "Software Progress Marker",
        HOST_IDENTIFIER = 0x81 => "Host Identifier",
        RESERVATION_NOTIFICATION_MASK = 0x82 => "Reservation Notification Mask",
        RESERVATION_PERSISTENCE = 0x83 => "Reservation Persistence",
        NAMESPACE_WRITE_PROTECTION = 0x84 => "Namespace Write Protection Config",
        BOOT_PARTITION_WRITE_PROTECTION = 0x85 => "Boot Partition Write Protection Config",
    }
}

/// What Get Features returns in Dword 0 where Select is Supported Capabilities (NVMe Base 2.1 §5.1.11).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct FeatureCapabilities {
    /// Saveable.
    pub saveable: bool,
    /// Namespace Specific.
    pub namespace_specific: bool,
    /// Changeable.
    pub changeable: bool,
    #[bits(29)]
    __: u32,
}
display_words!(FeatureCapabilities {
    "Saveable" => (saveable), "NamespaceSpecific" => (namespace_specific),
    "Changeable" => (changeable),
});
crate::nvme::admin::command_dwords!(FeatureCapabilities);

#[cfg(test)]
mod tests;
