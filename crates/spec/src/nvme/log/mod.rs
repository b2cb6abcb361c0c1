//! Log pages (NVMe Base 2.1 §5.1.12, NVM Command Set 1.1 §4.1.4).

mod ana;
mod effects;
mod error;
mod events;
mod firmware;
mod health;
mod sanitize;
mod self_test;
mod telemetry;

pub use ana::{AnaGroup, AnaHeader, AnaState, AnaStateByte};
pub use effects::{
    CommandEffects, CommandsEffects, EffectScope, FeatureEffects, FeaturesEffects, LogPageSupport,
    SupportedLogPages,
};
pub use error::{ErrorEntry, ParameterErrorLocation};
pub use events::{
    PersistentEventHeader, PersistentEventLogHeader, PersistentEventType, ReservationNotification,
    ReservationNotificationType,
};
pub use firmware::{ActiveFirmware, FirmwareSlots};
pub use health::{
    CriticalWarning, EnduranceGroup, EnduranceGroupFeatures, EnduranceGroupWarning, SmartHealth,
};
pub use sanitize::{SanitizeState, SanitizeStatus, Sstat};
pub use self_test::{
    SelfTestCompletion, SelfTestLog, SelfTestOperation, SelfTestOutcome, SelfTestResult,
    SelfTestStatus, ValidDiagnostics,
};
pub use telemetry::{TelemetryController, TelemetryHost, TelemetryScope};

/// Attached or allocated namespaces that changed, LIDs 04h and 1Ch (NVMe Base 2.1 §5.1.12.1.5 and
/// §5.1.12.1.27).
pub type ChangedNamespaces = super::identify::NamespaceList;

open_enum! {
    /// Log Page Identifiers (NVMe Base 2.1 §5.1.12, Figure 202).
    pub struct LogPageId: u8 {
        SUPPORTED_LOG_PAGES = 0x00 => "Supported Log Pages",
        ERROR_INFORMATION = 0x01 => "Error Information",
        SMART_HEALTH = 0x02 => "SMART / Health Information",
        FIRMWARE_SLOT = 0x03 => "Firmware Slot Information",
        CHANGED_ATTACHED_NAMESPACES = 0x04 => "Changed Attached Namespace List",
        COMMANDS_EFFECTS = 0x05 => "Commands Supported and Effects",
        DEVICE_SELF_TEST = 0x06 => "Device Self-test",
        TELEMETRY_HOST = 0x07 => "Telemetry Host-Initiated",
        TELEMETRY_CONTROLLER = 0x08 => "Telemetry Controller-Initiated",
        ENDURANCE_GROUP = 0x09 => "Endurance Group Information",
        PREDICTABLE_LATENCY = 0x0A => "Predictable Latency Per NVM Set",
        PREDICTABLE_LATENCY_EVENTS = 0x0B => "Predictable Latency Event Aggregate",
        ANA = 0x0C => "Asymmetric Namespace Access",
        PERSISTENT_EVENT = 0x0D => "Persistent Event Log",
        LBA_STATUS = 0x0E => "LBA Status Information",
        ENDURANCE_GROUP_EVENTS = 0x0F => "Endurance Group Event Aggregate",
        MEDIA_UNIT_STATUS = 0x10 => "Media Unit Status",
        CAPACITY_CONFIGURATIONS = 0x11 => "Supported Capacity Configuration List",
        FEATURES_EFFECTS = 0x12 => "Feature Identifiers Supported and Effects",
        NVME_MI_EFFECTS = 0x13 => "NVMe-MI Commands Supported and Effects",
        LOCKDOWN = 0x14 => "Command and Feature Lockdown",
        BOOT_PARTITION = 0x15 => "Boot Partition",
        ROTATIONAL_MEDIA = 0x16 => "Rotational Media Information",
        DISPERSED_NAMESPACE = 0x17 => "Dispersed Namespace Participating NVM Subsystems",
        MANAGEMENT_ADDRESSES = 0x18 => "Management Address List",
        /// Defined by NVMe over PCIe Transport 1.1.
        EYE_OPENING = 0x19 => "Physical Interface Receiver Eye Opening Measurement",
        REACHABILITY_GROUPS = 0x1A => "Reachability Groups",
        REACHABILITY_ASSOCIATIONS = 0x1B => "Reachability Associations",
        CHANGED_ALLOCATED_NAMESPACES = 0x1C => "Changed Allocated Namespace List",
        FDP_CONFIGURATIONS = 0x20 => "FDP Configurations",
        RECLAIM_UNIT_HANDLES = 0x21 => "Reclaim Unit Handle Usage",
        FDP_STATISTICS = 0x22 => "FDP Statistics",
        FDP_EVENTS = 0x23 => "FDP Events",
        DISCOVERY = 0x70 => "Discovery",
        HOST_DISCOVERY = 0x71 => "Host Discovery",
        AVE_DISCOVERY = 0x72 => "AVE Discovery",
        PULL_MODEL_DDC_REQUEST = 0x73 => "Pull Model DDC Request",
        RESERVATION_NOTIFICATION = 0x80 => "Reservation Notification",
        SANITIZE_STATUS = 0x81 => "Sanitize Status",
        CHANGED_ZONES = 0xBF => "Changed Zone List",
    }
}

#[cfg(test)]
mod tests;
