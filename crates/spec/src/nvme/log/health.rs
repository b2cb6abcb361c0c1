//! SMART / Health Information, LID 02h (NVMe Base 2.1 §5.1.12.1.3), and Endurance Group Information, LID 09h
//! (§5.1.12.1.10).

use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::Le16;
use crate::nvme::temperature::Kelvin;
use crate::opaque::Opaque;

/// Critical Warning.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct CriticalWarning {
    /// Available Spare Capacity Below Threshold.
    pub ascbt: bool,
    /// Temperature Threshold Condition: above the upper or below the lower one.
    pub ttc: bool,
    /// NVM Subsystem Degraded Reliability.
    pub ndr: bool,
    /// All Media Read-Only.
    pub amro: bool,
    /// Volatile Memory Backup Failed.
    pub vmbf: bool,
    /// Persistent Memory Region Read-Only or unreliable.
    pub pmrro: bool,
    #[bits(2)]
    __: u8,
}
display_words!(CriticalWarning {
    "ASCBT" => (ascbt), "TTC" => (ttc), "NDR" => (ndr), "AMRO" => (amro), "VMBF" => (vmbf),
    "PMRRO" => (pmrro),
});

/// Critical warnings of an endurance group, or of any of them.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct EnduranceGroupWarning {
    /// Endurance Group Available Spare Capacity Below Threshold.
    pub egascbt: bool,
    __: bool,
    /// Endurance Group Degraded Reliability.
    pub egdr: bool,
    /// Endurance Group Read-Only.
    pub egro: bool,
    #[bits(4)]
    __: u8,
}
display_words!(EnduranceGroupWarning {
    "EGASCBT" => (egascbt), "EGDR" => (egdr), "EGRO" => (egro),
});

/// The SMART / Health Information log page: 512 bytes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct SmartHealth {
    /// Critical Warning.
    pub critical_warning: CriticalWarning,
    /// Composite Temperature.
    pub composite_temperature: Le16<Kelvin>,
    /// Available Spare in percent.
    pub available_spare: u8,
    /// Available Spare Threshold in percent.
    pub available_spare_threshold: u8,
    /// Percentage Used: may exceed 100, at most 255.
    pub percentage_used: u8,
    /// Endurance Group Critical Warning Summary.
    pub endurance_group_warning: EnduranceGroupWarning,
    /// Reserved.
    pub reserved7: Opaque<25>,
    /// Data Units Read in units of 512 000 bytes.
    pub data_units_read: U128,
    /// Data Units Written in units of 512 000 bytes.
    pub data_units_written: U128,
    /// Host Read Commands.
    pub host_read_commands: U128,
    /// Host Write Commands.
    pub host_write_commands: U128,
    /// Controller Busy Time in minutes.
    pub controller_busy_time: U128,
    /// Power Cycles.
    pub power_cycles: U128,
    /// Power On Hours.
    pub power_on_hours: U128,
    /// Unexpected Power Losses.
    pub unexpected_power_losses: U128,
    /// Media and Data Integrity Errors.
    pub media_errors: U128,
    /// Number of Error Information Log Entries.
    pub error_log_entries: U128,
    /// Warning Composite Temperature Time in minutes.
    pub warning_temperature_time: U32,
    /// Critical Composite Temperature Time in minutes.
    pub critical_temperature_time: U32,
    /// Temperature Sensors 1 to 8; 0 where there is none.
    pub temperature_sensors: [Le16<Kelvin>; 8],
    /// Thermal Management Temperature 1 and 2 Transition Count.
    pub thermal_transitions: [U32; 2],
    /// Total Time For Thermal Management Temperature 1 and 2 in seconds.
    pub thermal_time: [U32; 2],
    /// Reserved.
    pub reserved232: Opaque<280>,
}
const _: () = assert!(size_of::<SmartHealth>() == 512);
const _: () = assert!(offset_of!(SmartHealth, available_spare) == 3);
const _: () = assert!(offset_of!(SmartHealth, endurance_group_warning) == 6);
const _: () = assert!(offset_of!(SmartHealth, data_units_read) == 32);
const _: () = assert!(offset_of!(SmartHealth, controller_busy_time) == 96);
const _: () = assert!(offset_of!(SmartHealth, power_on_hours) == 128);
const _: () = assert!(offset_of!(SmartHealth, error_log_entries) == 176);
const _: () = assert!(offset_of!(SmartHealth, warning_temperature_time) == 192);
const _: () = assert!(offset_of!(SmartHealth, temperature_sensors) == 200);
const _: () = assert!(offset_of!(SmartHealth, thermal_transitions) == 216);
const _: () = assert!(offset_of!(SmartHealth, thermal_time) == 224);

display_lines!(SmartHealth {
    "CW" => (critical_warning), "CTEMP" => (composite_temperature), "AVSP" => (available_spare),
    "AVSPT" => (available_spare_threshold), "PUSED" => (percentage_used),
    "EGCWS" => (endurance_group_warning), "DUR" => (data_units_read),
    "DUW" => (data_units_written), "HRC" => (host_read_commands), "HWC" => (host_write_commands),
    "CBT" => (controller_busy_time), "PWRC" => (power_cycles), "POH" => (power_on_hours),
    "UPL" => (unexpected_power_losses), "MDIE" => (media_errors), "NELE" => (error_log_entries),
    "WCTT" => (warning_temperature_time), "CCTT" => (critical_temperature_time),
});

/// Endurance Group Features.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct EnduranceGroupFeatures {
    /// Endurance Group Rotational Media.
    pub egrmedia: bool,
    #[bits(7)]
    __: u8,
}
display_words!(EnduranceGroupFeatures { "EGRMEDIA" => (egrmedia) });

/// The Endurance Group Information log page: 512 bytes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct EnduranceGroup {
    /// Critical Warning.
    pub critical_warning: EnduranceGroupWarning,
    /// Endurance Group Features.
    pub features: EnduranceGroupFeatures,
    /// Reserved.
    pub reserved2: u8,
    /// Available Spare in percent.
    pub available_spare: u8,
    /// Available Spare Threshold in percent.
    pub available_spare_threshold: u8,
    /// Percentage Used: may exceed 100, at most 255.
    pub percentage_used: u8,
    /// Domain Identifier, 0 if there are no domains.
    pub did: U16,
    /// Reserved.
    pub reserved8: Opaque<24>,
    /// Endurance Estimate in billions of bytes that can be written.
    pub endurance_estimate: U128,
    /// Data Units Read in billions of bytes.
    pub data_units_read: U128,
    /// Data Units Written in billions of bytes.
    pub data_units_written: U128,
    /// Media Units Written in billions of bytes.
    pub media_units_written: U128,
    /// Host Read Commands.
    pub host_read_commands: U128,
    /// Host Write Commands.
    pub host_write_commands: U128,
    /// Media and Data Integrity Errors.
    pub media_errors: U128,
    /// Number of Error Information Log Entries.
    pub error_log_entries: U128,
    /// Total Endurance Group Capacity in bytes.
    pub tegcap: U128,
    /// Unallocated Endurance Group Capacity in bytes.
    pub uegcap: U128,
    /// Reserved.
    pub reserved192: Opaque<320>,
}
const _: () = assert!(size_of::<EnduranceGroup>() == 512);
const _: () = assert!(offset_of!(EnduranceGroup, did) == 6);
const _: () = assert!(offset_of!(EnduranceGroup, endurance_estimate) == 32);
const _: () = assert!(offset_of!(EnduranceGroup, media_units_written) == 80);
const _: () = assert!(offset_of!(EnduranceGroup, tegcap) == 160);

display_lines!(EnduranceGroup {
    "EGCW" => (critical_warning), "EGFEAT" => (features), "AVSP" => (available_spare),
    "AVSPT" => (available_spare_threshold), "PUSED" => (percentage_used), "DID" => (did),
    "EE" => (endurance_estimate), "DUR" => (data_units_read), "DUW" => (data_units_written),
    "MUW" => (media_units_written), "HRC" => (host_read_commands),
    "HWC" => (host_write_commands), "MDIE" => (media_errors), "NEILE" => (error_log_entries),
    "TEGCAP" => (tegcap), "UEGCAP" => (uegcap),
});
