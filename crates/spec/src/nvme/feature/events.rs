//! Which events a controller reports.

use bitfield_struct::bitfield;

use crate::nvme::admin::command_dwords;
use crate::nvme::log::{CriticalWarning, EnduranceGroupWarning};

/// Asynchronous Event Configuration, FID 0Bh (NVMe Base 2.1 §5.1.25.1.5).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AsyncEventConfiguration {
    /// SMART / Health Critical Warnings: the warnings of the log page that are reported.
    #[bits(8)]
    pub shcw: CriticalWarning,
    /// Attached Namespace Attribute Notices.
    pub nan: bool,
    /// Firmware Activation Notices.
    pub fan: bool,
    /// Telemetry Log Notices.
    pub tln: bool,
    /// Asymmetric Namespace Access Change Notices.
    pub anacn: bool,
    /// Predictable Latency Event Aggregate Log Change Notices.
    pub plealcn: bool,
    /// LBA Status Information Alert Notices.
    pub lsian: bool,
    /// Endurance Group Event Aggregate Log Change Notices.
    pub egealcn: bool,
    /// Normal NVM Subsystem Shutdown.
    pub nnsshdn: bool,
    /// Temperature Threshold Hysteresis Recovery.
    pub tthry: bool,
    /// Reachability Association.
    pub rassn: bool,
    /// Reachability Group.
    pub rgrp0: bool,
    /// Allocated Namespace Attribute Notices.
    pub ansan: bool,
    #[bits(7)]
    __: u8,
    /// Zone Descriptor Changed Notices.
    pub zdcn: bool,
    /// Pull Model DDC Request Log Page Change Notification.
    pub pmdrlpcn: bool,
    /// AVE Discovery Log Page Change Notification.
    pub adlpcn: bool,
    /// Host Discovery Log Page Change Notification.
    pub hdlpcn: bool,
    /// Discovery Log Page Change Notification.
    pub dlpcn: bool,
}
display_words!(AsyncEventConfiguration {
    "SHCW" => (shcw), "NAN" => (nan), "FAN" => (fan), "TLN" => (tln), "ANACN" => (anacn),
    "PLEALCN" => (plealcn), "LSIAN" => (lsian), "EGEALCN" => (egealcn), "NNSSHDN" => (nnsshdn),
    "TTHRY" => (tthry), "RASSN" => (rassn), "RGRP0" => (rgrp0), "ANSAN" => (ansan),
    "ZDCN" => (zdcn), "PMDRLPCN" => (pmdrlpcn), "ADLPCN" => (adlpcn), "HDLPCN" => (hdlpcn),
    "DLPCN" => (dlpcn),
});

/// Endurance Group Event Configuration, FID 18h (NVMe Base 2.1 §5.1.25.1.16).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct EnduranceGroupEventConfiguration {
    /// Endurance Group Identifier.
    pub endgid: u16,
    /// Endurance Group Critical Warnings that are reported.
    #[bits(8)]
    pub egcw: EnduranceGroupWarning,
    __: u8,
}
display_words!(EnduranceGroupEventConfiguration { "ENDGID" => (endgid), "EGCW" => (egcw) });

/// Reservation Notification Mask, FID 82h: a set bit keeps a notification from being reported
/// (NVMe Base 2.1 §5.1.25.1.29).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ReservationNotificationMask {
    __: bool,
    /// Mask Registration Preempted Notification.
    pub regpre: bool,
    /// Mask Reservation Released Notification.
    pub resrel: bool,
    /// Mask Reservation Preempted Notification.
    pub respre: bool,
    #[bits(28)]
    __: u32,
}
display_words!(ReservationNotificationMask {
    "REGPRE" => (regpre), "RESREL" => (resrel), "RESPRE" => (respre),
});

command_dwords!(
    AsyncEventConfiguration,
    EnduranceGroupEventConfiguration,
    ReservationNotificationMask
);
