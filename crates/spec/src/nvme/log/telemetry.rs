//! Headers of the telemetry log pages, LIDs 07h and 08h (NVMe Base 2.1 §5.1.12.1.8 and §5.1.12.1.9). Blocks of
//! 512 bytes follow; all data areas begin at block 1.

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::LogPageId;
use crate::opaque::Opaque;

open_enum! {
    /// What a telemetry log page is about.
    pub struct TelemetryScope: u8 {
        NOT_REPORTED = 0x00 => "Not reported",
        CONTROLLER = 0x01 => "Controller",
        SUBSYSTEM = 0x02 => "NVM subsystem",
    }
}

/// Header of the Telemetry Host-Initiated log page: 512 bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct TelemetryHost {
    /// Log Page Identifier: 07h.
    pub lid: LogPageId,
    /// Reserved.
    pub reserved1: Opaque<4>,
    /// IEEE OUI Identifier, least significant byte first; 0 if the data have no OUI.
    pub ieee: [u8; 3],
    /// Last blocks of Data Areas 1 to 3; 0 for an empty area.
    pub last_blocks: [U16; 3],
    /// Reserved.
    pub reserved14: Opaque<2>,
    /// Last block of Data Area 4; 0 for an empty area.
    pub last_block_4: U32,
    /// Reserved.
    pub reserved20: Opaque<360>,
    /// Telemetry Host-Initiated Scope.
    pub ths: TelemetryScope,
    /// Telemetry Host-Initiated Data Generation Number.
    pub thdgn: u8,
    /// Telemetry Controller-Initiated Data Available: 0 or 1.
    pub tcda: u8,
    /// Telemetry Controller-Initiated Data Generation Number.
    pub tcdgn: u8,
    /// Reason Identifier: the vendor's.
    pub reason: Opaque<128>,
}
const _: () = assert!(size_of::<TelemetryHost>() == 512);
const _: () = assert!(offset_of!(TelemetryHost, ieee) == 5);
const _: () = assert!(offset_of!(TelemetryHost, last_blocks) == 8);
const _: () = assert!(offset_of!(TelemetryHost, last_block_4) == 16);
const _: () = assert!(offset_of!(TelemetryHost, ths) == 380);
const _: () = assert!(offset_of!(TelemetryHost, reason) == 384);

display_lines!(TelemetryHost {
    "LID" => (lid), "DALB4" => (last_block_4), "THS" => (ths), "THDGN" => (thdgn),
    "TCDA" => (tcda), "TCDGN" => (tcdgn),
});

/// Header of the Telemetry Controller-Initiated log page: 512 bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct TelemetryController {
    /// Log Page Identifier: 08h.
    pub lid: LogPageId,
    /// Reserved.
    pub reserved1: Opaque<4>,
    /// IEEE OUI Identifier, least significant byte first; 0 if the data have no OUI.
    pub ieee: [u8; 3],
    /// Last blocks of Data Areas 1 to 3; 0 for an empty area.
    pub last_blocks: [U16; 3],
    /// Reserved.
    pub reserved14: Opaque<2>,
    /// Last block of Data Area 4; 0 for an empty area.
    pub last_block_4: U32,
    /// Reserved.
    pub reserved20: Opaque<361>,
    /// Telemetry Controller-Initiated Scope.
    pub tcs: TelemetryScope,
    /// Telemetry Controller-Initiated Data Available: 0 or 1.
    pub tcda: u8,
    /// Telemetry Controller-Initiated Data Generation Number.
    pub tcdgn: u8,
    /// Reason Identifier: the vendor's.
    pub reason: Opaque<128>,
}
const _: () = assert!(size_of::<TelemetryController>() == 512);
const _: () = assert!(offset_of!(TelemetryController, last_block_4) == 16);
const _: () = assert!(offset_of!(TelemetryController, tcs) == 381);
const _: () = assert!(offset_of!(TelemetryController, reason) == 384);

display_lines!(TelemetryController {
    "LID" => (lid), "DALB4" => (last_block_4), "TCS" => (tcs), "TCDA" => (tcda),
    "TCDGN" => (tcdgn),
});
