//! Sanitize Status, LID 81h (NVMe Base 2.1 §5.1.12.1.33).

use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::{Le16, Le32};
use crate::nvme::admin::SanitizeCdw10;
use crate::opaque::Opaque;

open_enum! {
    /// Sanitize Operation Status (SSTAT.SOS).
    pub struct SanitizeState: u8 {
        NEVER = 0b000 => "Never sanitized",
        SANITIZED = 0b001 => "Sanitized",
        IN_PROGRESS = 0b010 => "Sanitizing",
        FAILED = 0b011 => "Sanitize failed",
        SANITIZED_UNEXPECTED = 0b100 => "Sanitized, unexpected deallocate",
    }
}

/// SSTAT, Sanitize Status.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Sstat {
    /// Sanitize Operation Status.
    #[bits(3)]
    pub sos: SanitizeState,
    /// Overwrite Passes Completed.
    #[bits(5)]
    pub opc: u8,
    /// Global Data Erased: nothing was written since.
    pub gde: bool,
    /// Media Verification Canceled.
    pub mvcncld: bool,
    #[bits(6)]
    __: u8,
}
display_words!(Sstat { "SOS" => (sos), "OPC" => (opc), "GDE" => (gde), "MVCNCLD" => (mvcncld) });

/// The Sanitize Status log page: 512 bytes. A time is FFFFFFFFh if none is reported.
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
pub struct SanitizeStatus {
    /// Sanitize Progress in 1/65536; FFFFh if no operation is in progress.
    pub sprog: U16,
    /// Sanitize Status.
    pub sstat: Le16<Sstat>,
    /// Sanitize Command Dword 10 Information: of the last command.
    pub scdw10: Le32<SanitizeCdw10>,
    /// Estimated Time For Overwrite in seconds.
    pub eto: U32,
    /// Estimated Time For Block Erase in seconds.
    pub etbe: U32,
    /// Estimated Time For Crypto Erase in seconds.
    pub etce: U32,
    /// Estimated Time For Overwrite With No-Deallocate Media Modification in seconds.
    pub etodmm: U32,
    /// Estimated Time For Block Erase With No-Deallocate Media Modification in seconds.
    pub etbenmm: U32,
    /// Estimated Time For Crypto Erase With No-Deallocate Media Modification in seconds.
    pub etcenmm: U32,
    /// Estimated Time For Post-Verification Deallocation State in seconds.
    pub etpvds: U32,
    /// Sanitize State Information.
    pub ssi: u8,
    /// Reserved.
    pub reserved37: Opaque<475>,
}
const _: () = assert!(size_of::<SanitizeStatus>() == 512);
const _: () = assert!(offset_of!(SanitizeStatus, scdw10) == 4);
const _: () = assert!(offset_of!(SanitizeStatus, etpvds) == 32);
const _: () = assert!(offset_of!(SanitizeStatus, ssi) == 36);
display_lines!(SanitizeStatus {
    "SPROG" => (sprog), "SSTAT" => (sstat), "SCDW10" => (scdw10), "ETO" => (eto),
    "ETBE" => (etbe), "ETCE" => (etce), "ETODMM" => (etodmm), "ETBENMM" => (etbenmm),
    "ETCENMM" => (etcenmm), "ETPVDS" => (etpvds), "SSI" => hex(ssi),
});
