//! Persistent Event Log, LID 0Dh (NVMe Base 2.1 §5.1.12.1.14), and Reservation Notification, LID 80h
//! (§5.1.12.1.32).

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32, U64, U128};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::LogPageId;
use crate::opaque::Opaque;
use crate::text::{Ascii, Nqn};

open_enum! {
    /// Event Type of a persistent event.
    pub struct PersistentEventType: u8 {
        SMART_HEALTH = 0x01 => "SMART / Health Log Snapshot",
        FIRMWARE_COMMIT = 0x02 => "Firmware Commit",
        TIMESTAMP_CHANGE = 0x03 => "Timestamp Change",
        POWER_ON_OR_RESET = 0x04 => "Power-on or Reset",
        HARDWARE_ERROR = 0x05 => "NVM Subsystem Hardware Error",
        CHANGE_NAMESPACE = 0x06 => "Change Namespace",
        FORMAT_START = 0x07 => "Format NVM Start",
        FORMAT_COMPLETION = 0x08 => "Format NVM Completion",
        SANITIZE_START = 0x09 => "Sanitize Start",
        SANITIZE_COMPLETION = 0x0A => "Sanitize Completion",
        SET_FEATURE = 0x0B => "Set Feature",
        TELEMETRY_CREATED = 0x0C => "Telemetry Log Created",
        THERMAL_EXCURSION = 0x0D => "Thermal Excursion",
        SANITIZE_MEDIA_VERIFICATION = 0x0E => "Sanitize Media Verification",
        VENDOR_SPECIFIC = 0xDE => "Vendor Specific Event",
        TCG = 0xDF => "TCG Defined",
    }
}

/// Header of the Persistent Event Log: 512 bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct PersistentEventLogHeader {
    /// Log Page Identifier: 0Dh.
    pub lid: LogPageId,
    /// Reserved.
    pub reserved1: Opaque<3>,
    /// Total Number of Events.
    pub tnev: U32,
    /// Total Log Length in bytes.
    pub tll: U64,
    /// Log Revision.
    pub rv: u8,
    /// Reserved.
    pub reserved17: u8,
    /// Log Header Length in bytes, the first 20 not counted.
    pub lhl: U16,
    /// Timestamp.
    pub timestamp: U64,
    /// Power On Hours.
    pub poh: U128,
    /// Power Cycle Count.
    pub pcc: U64,
    /// PCI Vendor ID.
    pub vid: U16,
    /// PCI Subsystem Vendor ID.
    pub ssvid: U16,
    /// Serial Number.
    pub sn: Ascii<20>,
    /// Model Number.
    pub mn: Ascii<40>,
    /// NVM Subsystem NVMe Qualified Name.
    pub subnqn: Nqn,
    /// Generation Number.
    pub gnum: U16,
    /// Reporting Context Information.
    pub rci: U32,
    /// Reserved.
    pub reserved378: Opaque<102>,
    /// Supported Events Bitmap: a bit for each event type.
    pub seb: [u8; 32],
}
const _: () = assert!(size_of::<PersistentEventLogHeader>() == 512);
const _: () = assert!(offset_of!(PersistentEventLogHeader, timestamp) == 20);
const _: () = assert!(offset_of!(PersistentEventLogHeader, vid) == 52);
const _: () = assert!(offset_of!(PersistentEventLogHeader, subnqn) == 116);
const _: () = assert!(offset_of!(PersistentEventLogHeader, gnum) == 372);
const _: () = assert!(offset_of!(PersistentEventLogHeader, seb) == 480);

impl Default for PersistentEventLogHeader {
    /// All zero.
    fn default() -> Self {
        Self::new_zeroed()
    }
}

display_lines!(PersistentEventLogHeader {
    "TNEV" => (tnev), "TLL" => (tll), "RV" => (rv), "LHL" => (lhl), "TSTMP" => (timestamp),
    "POH" => (poh), "PCC" => (pcc), "VID" => hex(vid), "SSVID" => hex(ssvid), "SN" => (sn),
    "MN" => (mn), "SUBNQN" => (subnqn), "GNUM" => (gnum), "RCI" => hex(rci),
});

/// Persistent Event Header: 24 bytes, then vendor specific information, then the event.
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
pub struct PersistentEventHeader {
    /// Event Type.
    pub et: PersistentEventType,
    /// Event Type Revision.
    pub etr: u8,
    /// Event Header Length in bytes, the first 3 not counted.
    pub ehl: u8,
    /// Event Header Additional Info.
    pub ehai: u8,
    /// Controller Identifier.
    pub cntlid: U16,
    /// Event Timestamp.
    pub timestamp: U64,
    /// Port Identifier.
    pub pelpid: U16,
    /// Reserved.
    pub reserved16: Opaque<4>,
    /// Vendor Specific Information Length in bytes.
    pub vsil: U16,
    /// Event Length in bytes, the vendor specific information included.
    pub el: U16,
}
const _: () = assert!(size_of::<PersistentEventHeader>() == 24);
const _: () = assert!(offset_of!(PersistentEventHeader, timestamp) == 6);
const _: () = assert!(offset_of!(PersistentEventHeader, vsil) == 20);
display_lines!(PersistentEventHeader {
    "ET" => (et), "ETR" => (etr), "CNTLID" => hex(cntlid), "ETS" => (timestamp),
    "PELPID" => (pelpid), "VSIL" => (vsil), "EL" => (el),
});

open_enum! {
    /// Reservation Notification Log Page Type.
    pub struct ReservationNotificationType: u8 {
        EMPTY = 0x00 => "Empty Log Page",
        REGISTRATION_PREEMPTED = 0x01 => "Registration Preempted",
        RESERVATION_RELEASED = 0x02 => "Reservation Released",
        RESERVATION_PREEMPTED = 0x03 => "Reservation Preempted",
    }
}

/// The Reservation Notification log page: 64 bytes.
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
pub struct ReservationNotification {
    /// Log Page Count: increments with each notification, never 0 for one.
    pub lpc: U64,
    /// Reservation Notification Log Page Type.
    pub rnlpt: ReservationNotificationType,
    /// Number of Available Log Pages that are not read yet.
    pub nalp: u8,
    /// Reserved.
    pub reserved10: Opaque<2>,
    /// The namespace.
    pub nsid: U32,
    /// Reserved.
    pub reserved16: Opaque<48>,
}
const _: () = assert!(size_of::<ReservationNotification>() == 64);
const _: () = assert!(offset_of!(ReservationNotification, nsid) == 12);
display_lines!(ReservationNotification {
    "LPC" => (lpc), "RNLPT" => (rnlpt), "NALP" => (nalp), "NSID" => hex(nsid),
});
