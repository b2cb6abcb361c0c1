//! Asynchronous events: the result of an Asynchronous Event Request (NVMe Base 2.1 §5.1.2.1).

use core::fmt;

use bitfield_struct::bitfield;

use super::command_dwords;
use crate::nvme::log::LogPageId;

open_enum! {
    /// Asynchronous Event Type (NVMe Base 2.1 §5.1.2.1, Figure 147).
    pub struct AsyncEventType: u8 {
        ERROR = 0b000 => "Error status",
        HEALTH = 0b001 => "SMART / Health status",
        NOTICE = 0b010 => "Notice",
        IMMEDIATE = 0b011 => "Immediate",
        ONE_SHOT = 0b100 => "One-Shot",
        IO_COMMAND = 0b110 => "I/O Command specific status",
        VENDOR_SPECIFIC = 0b111 => "Vendor specific",
    }
}

open_enum! {
    /// Information of an error event (NVMe Base 2.1 §5.1.2.1, Figure 149).
    pub struct AsyncErrorInfo: u8 {
        INVALID_DOORBELL_REGISTER = 0x00 => "Write to Invalid Doorbell Register",
        INVALID_DOORBELL_VALUE = 0x01 => "Invalid Doorbell Write Value",
        DIAGNOSTIC_FAILURE = 0x02 => "Diagnostic Failure",
        PERSISTENT_INTERNAL_ERROR = 0x03 => "Persistent Internal Error",
        TRANSIENT_INTERNAL_ERROR = 0x04 => "Transient Internal Error",
        FIRMWARE_IMAGE_LOAD_ERROR = 0x05 => "Firmware Image Load Error",
    }
}

open_enum! {
    /// Information of a SMART / Health event (NVMe Base 2.1 §5.1.2.1, Figure 150).
    pub struct AsyncHealthInfo: u8 {
        RELIABILITY = 0x00 => "NVM subsystem Reliability",
        TEMPERATURE_THRESHOLD = 0x01 => "Temperature Threshold",
        SPARE_BELOW_THRESHOLD = 0x02 => "Spare Below Threshold",
    }
}

open_enum! {
    /// Information of a notice (NVMe Base 2.1 §5.1.2.1, Figure 151).
    pub struct AsyncNoticeInfo: u8 {
        ATTACHED_NAMESPACE_CHANGED = 0x00 => "Attached Namespace Attribute Changed",
        FIRMWARE_ACTIVATION_STARTING = 0x01 => "Firmware Activation Starting",
        TELEMETRY_LOG_CHANGED = 0x02 => "Telemetry Log Changed",
        ANA_CHANGE = 0x03 => "Asymmetric Namespace Access Change",
        PREDICTABLE_LATENCY_CHANGE = 0x04 => "Predictable Latency Event Aggregate Log Change",
        LBA_STATUS_ALERT = 0x05 => "LBA Status Information Alert",
        ENDURANCE_GROUP_EVENT_CHANGE = 0x06 => "Endurance Group Event Aggregate Log Page Change",
        REACHABILITY_GROUP_CHANGE = 0x07 => "Reachability Group Change",
        REACHABILITY_ASSOCIATION_CHANGE = 0x08 => "Reachability Association Change",
        ALLOCATED_NAMESPACE_CHANGED = 0x09 => "Allocated Namespace Attribute Changed",
        ZONE_DESCRIPTOR_CHANGED = 0xEF => "Zone Descriptor Changed",
        DISCOVERY_LOG_CHANGE = 0xF0 => "Discovery Log Page Change",
        HOST_DISCOVERY_LOG_CHANGE = 0xF1 => "Host Discovery Log Page Change",
        AVE_DISCOVERY_LOG_CHANGE = 0xF2 => "AVE Discovery Log Page Change",
        PULL_MODEL_DDC_REQUEST = 0xF3 => "Pull Model DDC Request",
    }
}

open_enum! {
    /// Information of an I/O command event (NVMe Base 2.1 §5.1.2.1, Figure 152).
    pub struct AsyncIoCommandInfo: u8 {
        RESERVATION_LOG_AVAILABLE = 0x00 => "Reservation Log Page Available",
        SANITIZE_COMPLETED = 0x01 => "Sanitize Operation Completed",
        SANITIZE_COMPLETED_UNEXPECTED = 0x02 => "Sanitize Operation Completed With Unexpected Deallocation",
        SANITIZE_MEDIA_VERIFICATION = 0x03 => "Sanitize Operation Entered Media Verification State",
    }
}

open_enum! {
    /// Information of an immediate event (NVMe Base 2.1 §5.1.2.1, Figure 153).
    pub struct AsyncImmediateInfo: u8 {
        NORMAL_SUBSYSTEM_SHUTDOWN = 0x00 => "Normal NVM Subsystem Shutdown",
        TEMPERATURE_HYSTERESIS_RECOVERY = 0x01 => "Temperature Threshold Hysteresis Recovery",
    }
}

/// Dword 0 of the completion of an Asynchronous Event Request (NVMe Base 2.1 §5.1.2.1, Figure 147).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AsyncEventResult {
    /// Asynchronous Event Type (AET).
    #[bits(3)]
    pub event_type: AsyncEventType,
    #[bits(5)]
    __: u8,
    /// Asynchronous Event Information (AEI): what it means depends on the type.
    pub info: u8,
    /// Log Page Identifier: the page to read, which clears the event.
    #[bits(8)]
    pub lid: LogPageId,
    __: u8,
}
command_dwords!(AsyncEventResult);

impl AsyncEventResult {
    /// The specification's words for the event information, if it has any.
    #[must_use]
    pub const fn info_name(self) -> Option<&'static str> {
        let info = self.info();
        match self.event_type() {
            AsyncEventType::ERROR => AsyncErrorInfo::from_bits(info).name(),
            AsyncEventType::HEALTH => AsyncHealthInfo::from_bits(info).name(),
            AsyncEventType::NOTICE => AsyncNoticeInfo::from_bits(info).name(),
            AsyncEventType::IMMEDIATE => AsyncImmediateInfo::from_bits(info).name(),
            AsyncEventType::IO_COMMAND => AsyncIoCommandInfo::from_bits(info).name(),
            _ => None,
        }
    }
}

impl fmt::Display for AsyncEventResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.event_type())?;
        match self.info_name() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "{:#04x}", self.info())?,
        }
        write!(f, " (LID={})", self.lid())
    }
}
