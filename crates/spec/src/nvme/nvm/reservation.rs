//! Reservations (NVMe Base 2.1 §7.5 to §7.8 and §8.1.22).

use core::fmt;
use core::mem::size_of;

use bitfield_struct::bitfield;
use zerocopy::little_endian::U64;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::command_dwords;

open_enum! {
    /// Reservation Type (NVMe Base 2.1 §7.5).
    pub struct ReservationType: u8 {
        WRITE_EXCLUSIVE = 0x01 => "Write Exclusive",
        EXCLUSIVE_ACCESS = 0x02 => "Exclusive Access",
        WRITE_EXCLUSIVE_REGISTRANTS = 0x03 => "Write Exclusive - Registrants Only",
        EXCLUSIVE_ACCESS_REGISTRANTS = 0x04 => "Exclusive Access - Registrants Only",
        WRITE_EXCLUSIVE_ALL = 0x05 => "Write Exclusive - All Registrants",
        EXCLUSIVE_ACCESS_ALL = 0x06 => "Exclusive Access - All Registrants",
    }
}

open_enum! {
    /// Reservation Acquire Action (NVMe Base 2.1 §7.5).
    pub struct AcquireAction: u8 {
        ACQUIRE = 0b000 => "Acquire",
        PREEMPT = 0b001 => "Preempt",
        PREEMPT_AND_ABORT = 0b010 => "Preempt and Abort",
    }
}

open_enum! {
    /// Reservation Register Action (NVMe Base 2.1 §7.6).
    pub struct RegisterAction: u8 {
        REGISTER = 0b000 => "Register Reservation Key",
        UNREGISTER = 0b001 => "Unregister Reservation Key",
        REPLACE = 0b010 => "Replace Reservation Key",
    }
}

open_enum! {
    /// Change Persist Through Power Loss State (NVMe Base 2.1 §7.6).
    pub struct PersistChange: u8 {
        NO_CHANGE = 0b00 => "No change",
        CLEAR = 0b10 => "Released at power on",
        SET = 0b11 => "Persist across power loss",
    }
}

open_enum! {
    /// Reservation Release Action (NVMe Base 2.1 §7.7).
    pub struct ReleaseAction: u8 {
        RELEASE = 0b000 => "Release",
        CLEAR = 0b001 => "Clear",
    }
}

/// Command Dword 10 of Reservation Acquire (NVMe Base 2.1 §7.5).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ReservationAcquireCdw10 {
    /// Reservation Acquire Action.
    #[bits(3)]
    pub racqa: AcquireAction,
    /// Ignore Existing Key.
    pub iekey: bool,
    #[bits(4)]
    __: u8,
    /// Reservation Type.
    #[bits(8)]
    pub rtype: ReservationType,
    __: u16,
}
display_words!(ReservationAcquireCdw10 {
    "RACQA" => (racqa), "IEKEY" => (iekey), "RTYPE" => (rtype),
});

/// Command Dword 10 of Reservation Register (NVMe Base 2.1 §7.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ReservationRegisterCdw10 {
    /// Reservation Register Action.
    #[bits(3)]
    pub rrega: RegisterAction,
    /// Ignore Existing Key.
    pub iekey: bool,
    #[bits(26)]
    __: u32,
    /// Change Persist Through Power Loss State.
    #[bits(2)]
    pub cptpl: PersistChange,
}
display_words!(ReservationRegisterCdw10 {
    "RREGA" => (rrega), "IEKEY" => (iekey), "CPTPL" => (cptpl),
});

/// Command Dword 10 of Reservation Release (NVMe Base 2.1 §7.7).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ReservationReleaseCdw10 {
    /// Reservation Release Action.
    #[bits(3)]
    pub rrela: ReleaseAction,
    /// Ignore Existing Key.
    pub iekey: bool,
    #[bits(4)]
    __: u8,
    /// Reservation Type.
    #[bits(8)]
    pub rtype: ReservationType,
    __: u16,
}
display_words!(ReservationReleaseCdw10 {
    "RRELA" => (rrela), "IEKEY" => (iekey), "RTYPE" => (rtype),
});

command_dwords!(ReservationAcquireCdw10, ReservationRegisterCdw10, ReservationReleaseCdw10);

/// The data of Reservation Acquire (second key: the one to preempt) and of Reservation Register (second
/// key: the new one). Reservation Release has only the first key (NVMe Base 2.1 §7.5 to §7.7).
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
pub struct RegistrationData {
    /// Current Reservation Key.
    pub crkey: U64,
    /// Preempt Reservation Key (PRKEY), or New Reservation Key (NRKEY).
    pub second_key: U64,
}
const _: () = assert!(size_of::<RegistrationData>() == 16);

impl fmt::Display for RegistrationData {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CRKEY={:#x} PRKEY/NRKEY={:#x}", self.crkey, self.second_key)
    }
}
