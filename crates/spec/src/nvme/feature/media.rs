//! Data, media, and their protection.

use bitfield_struct::bitfield;

use crate::nvme::admin::command_dwords;

/// Error Recovery, FID 05h (NVM Command Set 1.1 §4.1.3.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ErrorRecovery {
    /// Time Limited Error Recovery in units of 100 milliseconds, 0 for no limit. Counts for commands with
    /// Limited Retry.
    pub tler: u16,
    /// Deallocated or Unwritten Logical Block Error Enable.
    pub dulbe: bool,
    #[bits(15)]
    __: u16,
}
display_words!(ErrorRecovery { "TLER" => (tler), "DULBE" => (dulbe) });

/// Volatile Write Cache, FID 06h (NVMe Base 2.1 §5.1.25.1.4).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct VolatileWriteCache {
    /// Volatile Write Cache Enable.
    pub wce: bool,
    #[bits(31)]
    __: u32,
}
display_words!(VolatileWriteCache { "WCE" => (wce) });

/// Write Atomicity Normal, FID 0Ah (NVM Command Set 1.1 §4.1.3.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct WriteAtomicityNormal {
    /// Disable Normal: only AWUPF and NAWUPF are honored.
    pub dn: bool,
    #[bits(31)]
    __: u32,
}
display_words!(WriteAtomicityNormal { "DN" => (dn) });

/// Read Recovery Level Config, FID 12h, Command Dword 12; Dword 11 names the NVM set
/// (NVMe Base 2.1 §5.1.25.1.11).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ReadRecoveryLevel {
    /// Read Recovery Level: 0 to 15, where 4 is the default and 15 fails fastest.
    #[bits(4)]
    pub rrl: u8,
    #[bits(28)]
    __: u32,
}
display_words!(ReadRecoveryLevel { "RRL" => (rrl) });

/// LBA Status Information Attributes, FID 15h (NVM Command Set 1.1 §4.1.3.5). Times are in units of 100
/// milliseconds.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LbaStatusAttributes {
    /// LBA Status Information Report Interval: the least time between two alerts.
    pub lsiri: u16,
    /// LBA Status Information Poll Interval: the least time between two reads of the log page. Not
    /// changeable.
    pub lsipi: u16,
}
display_words!(LbaStatusAttributes { "LSIRI" => (lsiri), "LSIPI" => (lsipi) });

/// Sanitize Config, FID 17h (NVMe Base 2.1 §5.1.25.1.15).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct SanitizeConfig {
    /// No-Deallocate Response Mode: a sanitize command with No-Deallocate After Sanitize warns instead of
    /// failing where the controller inhibits that.
    pub nodrm: bool,
    #[bits(31)]
    __: u32,
}
display_words!(SanitizeConfig { "NODRM" => (nodrm) });

/// Spinup Control, FID 1Ah (NVMe Base 2.1 §5.1.25.1.18).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct SpinupControl {
    /// Spinup Control Enable (SCE), or State (SCS) in a completion: rotational media do not spin up by
    /// themselves.
    pub sce: bool,
    #[bits(31)]
    __: u32,
}
display_words!(SpinupControl { "SCE" => (sce) });

/// Performance Characteristics, FID 1Ch (NVM Command Set 1.1 §4.1.3.7).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct PerformanceCharacteristics {
    /// Attribute Index: 00h the standard attribute, C0h the list of identifiers, C1h and above the vendor's.
    pub attri: u8,
    /// Revert Vendor Specific Performance Attribute: delete the saved value.
    pub rvspa: bool,
    #[bits(23)]
    __: u32,
}
display_words!(PerformanceCharacteristics { "ATTRI" => hex(attri), "RVSPA" => (rvspa) });

/// Flexible Data Placement, FID 1Dh, Command Dword 12; Dword 11 names the endurance group
/// (NVMe Base 2.1 §5.1.25.1.20).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct FlexibleDataPlacement {
    /// Flexible Data Placement Enable.
    pub fdpe: bool,
    #[bits(7)]
    __: u8,
    /// Flexible Data Placement Configuration Index.
    pub fdpci: u8,
    __: u16,
}
display_words!(FlexibleDataPlacement { "FDPE" => (fdpe), "FDPCI" => (fdpci) });

/// Reservation Persistence, FID 83h (NVMe Base 2.1 §5.1.25.1.30).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ReservationPersistence {
    /// Persist Through Power Loss.
    pub ptpl: bool,
    #[bits(31)]
    __: u32,
}
display_words!(ReservationPersistence { "PTPL" => (ptpl) });

open_enum! {
    /// Write Protection State of a namespace.
    pub struct WriteProtectionState: u8 {
        NONE = 0b000 => "No Write Protect",
        WRITE_PROTECT = 0b001 => "Write Protect",
        UNTIL_POWER_CYCLE = 0b010 => "Write Protect Until Power Cycle",
        PERMANENT = 0b011 => "Permanent Write Protect",
    }
}

/// Namespace Write Protection Config, FID 84h (NVMe Base 2.1 §5.1.25.1.31).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct WriteProtection {
    /// Write Protection State.
    #[bits(3)]
    pub wps: WriteProtectionState,
    #[bits(29)]
    __: u32,
}
display_words!(WriteProtection { "WPS" => (wps) });

open_enum! {
    /// Write protection state of a boot partition.
    pub struct BootPartitionState: u8 {
        /// For Set Features: leave it as it is. For Get Features: not supported.
        NO_CHANGE = 0b000 => "No change in state",
        UNLOCKED = 0b001 => "Write Unlocked",
        LOCKED = 0b010 => "Write Locked",
        LOCKED_UNTIL_POWER_CYCLE = 0b011 => "Write Locked Until Power Cycle",
        RPMB = 0b100 => "Controlled by RPMB",
    }
}

/// Boot Partition Write Protection Config, FID 85h (NVMe Base 2.1 §5.1.25.1.32).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct BootPartitionProtection {
    /// Boot Partition 0 Write Protection State.
    #[bits(3)]
    pub bp0wps: BootPartitionState,
    /// Boot Partition 1 Write Protection State.
    #[bits(3)]
    pub bp1wps: BootPartitionState,
    #[bits(26)]
    __: u32,
}
display_words!(BootPartitionProtection { "BP0WPS" => (bp0wps), "BP1WPS" => (bp1wps) });

command_dwords!(
    ErrorRecovery,
    VolatileWriteCache,
    WriteAtomicityNormal,
    ReadRecoveryLevel,
    LbaStatusAttributes,
    SanitizeConfig,
    SpinupControl,
    PerformanceCharacteristics,
    FlexibleDataPlacement,
    ReservationPersistence,
    WriteProtection,
    BootPartitionProtection
);
