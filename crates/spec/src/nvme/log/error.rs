//! Error Information, LID 01h: the newest error first (NVMe Base 2.1 §5.1.12.1.2).

use core::fmt;
use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::Le16;
use crate::nvme::CommandSet;
use crate::nvme::status::CompletionStatus;
use crate::opaque::Opaque;

/// Parameter Error Location: where in the command the error is; FFFFh if in none.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct ParameterErrorLocation {
    /// The byte of the command: 0 to 63.
    pub byte: u8,
    /// The bit of that byte.
    #[bits(3)]
    pub bit: u8,
    #[bits(5)]
    __: u8,
}
display_words!(ParameterErrorLocation { "Byte" => (byte), "Bit" => (bit) });

/// An entry of the Error Information log page: 64 bytes.
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
pub struct ErrorEntry {
    /// Error Count: a number that identifies the error; 0 if the entry is not used.
    pub error_count: U64,
    /// Submission Queue ID; FFFFh if the error is not about a command.
    pub sqid: U16,
    /// Command ID; FFFFh if the error is not about a command.
    pub cid: U16,
    /// Status Info: phase tag and status of the completion.
    pub status: Le16<CompletionStatus>,
    /// Parameter Error Location.
    pub location: Le16<ParameterErrorLocation>,
    /// The first LBA with the error, if there is one.
    pub lba: U64,
    /// The namespace of the command.
    pub nsid: U32,
    /// Vendor Specific Information Available: a log page that has more, 80h or above.
    pub vendor_log: u8,
    /// Transport Type; 0 for PCIe.
    pub trtype: u8,
    /// Command Set Indicator, valid in version 1 and above.
    pub csi: CommandSet,
    /// Opcode of the command, valid in version 1 and above.
    pub opcode: u8,
    /// Command Specific Information.
    pub command_specific: U64,
    /// Transport Type Specific Information.
    pub transport_specific: U16,
    /// Reserved.
    pub reserved42: Opaque<21>,
    /// Log Page Version.
    pub version: u8,
}
const _: () = assert!(size_of::<ErrorEntry>() == 64);
const _: () = assert!(offset_of!(ErrorEntry, status) == 12);
const _: () = assert!(offset_of!(ErrorEntry, lba) == 16);
const _: () = assert!(offset_of!(ErrorEntry, nsid) == 24);
const _: () = assert!(offset_of!(ErrorEntry, csi) == 30);
const _: () = assert!(offset_of!(ErrorEntry, command_specific) == 32);
const _: () = assert!(offset_of!(ErrorEntry, version) == 63);

impl fmt::Display for ErrorEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "error_count={} SQID={} CID={} {} {} LBA={:#x} NSID={:#x}",
            self.error_count, self.sqid, self.cid, self.status, self.location, self.lba, self.nsid
        )
    }
}
