//! Device Self-test, LID 06h (NVMe Base 2.1 §5.1.12.1.7).

use core::fmt;
use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::nvme::admin::SelfTestCode;
use crate::nvme::status::Status;

/// Current Device Self-test Operation.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SelfTestOperation {
    /// The operation in progress; 0 for none.
    #[bits(4)]
    pub dsto: SelfTestCode,
    #[bits(4)]
    __: u8,
}
display_words!(SelfTestOperation { "DSTO" => (dsto) });

/// Current Device Self-test Completion.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SelfTestCompletion {
    /// Device Self-test Completion in percent.
    #[bits(7)]
    pub dstc: u8,
    __: bool,
}
display_words!(SelfTestCompletion { "DSTC" => (dstc) });

open_enum! {
    /// Device Self-test Result.
    pub struct SelfTestOutcome: u8 {
        NO_ERROR = 0x0 => "Completed without error",
        ABORTED_COMMAND = 0x1 => "Aborted by a Device Self-test command",
        ABORTED_RESET = 0x2 => "Aborted by a Controller Level Reset",
        ABORTED_NAMESPACE = 0x3 => "Aborted by the removal of a namespace",
        ABORTED_FORMAT = 0x4 => "Aborted by a Format NVM command",
        FATAL_ERROR = 0x5 => "Fatal or unknown test error",
        UNKNOWN_SEGMENT_FAILED = 0x6 => "Completed with a segment that failed, which one is not known",
        SEGMENT_FAILED = 0x7 => "Completed with one or more failed segments",
        ABORTED_UNKNOWN = 0x8 => "Aborted for unknown reason",
        ABORTED_SANITIZE = 0x9 => "Aborted by a sanitize operation",
        NOT_USED = 0xF => "Entry not used",
    }
}

/// Device Self-test Status of a result.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SelfTestStatus {
    /// Device Self-test Result.
    #[bits(4)]
    pub dstr: SelfTestOutcome,
    /// Device Self-test Code.
    #[bits(4)]
    pub dstc: SelfTestCode,
}
display_words!(SelfTestStatus { "DSTR" => (dstr), "DSTC" => (dstc) });

/// Valid Diagnostic Information: which fields of a result mean something.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ValidDiagnostics {
    /// NSID Valid.
    pub nsid: bool,
    /// FLBA Valid.
    pub flba: bool,
    /// SCT Valid.
    pub sct: bool,
    /// SC Valid.
    pub sc: bool,
    #[bits(4)]
    __: u8,
}
display_words!(ValidDiagnostics {
    "NSID" => (nsid), "FLBA" => (flba), "SCT" => (sct), "SC" => (sc),
});

/// The result of a self-test: 28 bytes.
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
pub struct SelfTestResult {
    /// Device Self-test Status.
    pub dsts: SelfTestStatus,
    /// Segment Number: the first segment that failed.
    pub segment: u8,
    /// Valid Diagnostic Information.
    pub vdi: ValidDiagnostics,
    /// Reserved.
    pub reserved3: u8,
    /// Power On Hours when the test ended.
    pub poh: U64,
    /// The namespace where the failing block is.
    pub nsid: U32,
    /// Failing LBA.
    pub flba: U64,
    /// Status Code Type, 3 bits.
    pub sct: u8,
    /// Status Code.
    pub sc: u8,
    /// Vendor Specific.
    pub vendor_specific: [u8; 2],
}
const _: () = assert!(size_of::<SelfTestResult>() == 28);
const _: () = assert!(offset_of!(SelfTestResult, poh) == 4);
const _: () = assert!(offset_of!(SelfTestResult, flba) == 16);
const _: () = assert!(offset_of!(SelfTestResult, sct) == 24);

impl SelfTestResult {
    /// The status that the failure had, if the result says so.
    #[must_use]
    pub const fn status(&self) -> Option<Status> {
        if self.vdi.sct() && self.vdi.sc() {
            Some(Status::from_bits((self.sct as u16 & 0x7) << 8 | self.sc as u16))
        } else {
            None
        }
    }
}

impl fmt::Display for SelfTestResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} POH={}", self.dsts, self.poh)?;
        if self.vdi.nsid() {
            write!(f, " NSID={:#x}", self.nsid)?;
        }
        if self.vdi.flba() {
            write!(f, " FLBA={:#x}", self.flba)?;
        }
        match self.status() {
            Some(status) => write!(f, " Status={status}"),
            None => Ok(()),
        }
    }
}

/// The Device Self-test log page: 564 bytes, the newest result first.
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
pub struct SelfTestLog {
    /// Current Device Self-test Operation.
    pub operation: SelfTestOperation,
    /// Current Device Self-test Completion.
    pub completion: SelfTestCompletion,
    /// Reserved.
    pub reserved2: [u8; 2],
    /// The last 20 results.
    pub results: [SelfTestResult; 20],
}
const _: () = assert!(size_of::<SelfTestLog>() == 564);
