//! Status codes (NVMe Base 2.1 §4.2.3).

mod command_specific;
mod generic;
mod io_command;
mod media;
mod path;

use core::fmt;

use bitfield_struct::bitfield;

pub use command_specific::FabricsStatus;

open_enum! {
    /// Status Code Type (NVMe Base 2.1 §4.2.3, Figure 101).
    pub struct StatusCodeType: u8 {
        GENERIC = 0 => "Generic Command Status",
        COMMAND_SPECIFIC = 1 => "Command Specific Status",
        MEDIA = 2 => "Media and Data Integrity Errors",
        PATH = 3 => "Path Related Status",
        VENDOR_SPECIFIC = 7 => "Vendor Specific",
    }
}

/// Status Code Type and Status Code: bits 10 to 8 and 7 to 0.
///
/// A constant exists for every code that NVMe Base 2.1 names; those of Fabrics commands, which share
/// values with others, are in [`FabricsStatus`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Status(u16);

/// A named status.
struct Named {
    status: Status,
    name: &'static str,
    meaning: &'static str,
}

/// Declares the codes of one type: a constant each, and a table ordered by code.
macro_rules! statuses {
    ($TABLE:ident, $kind:ident: $( #[doc = $meaning:literal] $CONST:ident = $code:literal => $name:literal, )*) => {
        impl super::Status {
            $(
                #[doc = concat!("`", stringify!($code), "`, ", $name, ".", $meaning)]
                pub const $CONST: Self = Self::new(super::StatusCodeType::$kind, $code);
            )*
        }

        pub(super) const $TABLE: &[super::Named] = &[$(
            super::Named { status: super::Status::$CONST, name: $name, meaning: $meaning },
        )*];
    };
}
use statuses;

const TABLES: [&[Named]; 5] = [
    generic::GENERIC,
    command_specific::COMMAND_SPECIFIC,
    io_command::IO_COMMAND,
    media::MEDIA,
    path::PATH,
];

impl Status {
    /// Puts a type and a code together; of the type only 3 bits count.
    #[inline]
    #[must_use]
    pub const fn new(kind: StatusCodeType, code: u8) -> Self {
        Self(((kind.into_bits() & 7) as u16) << 8 | code as u16)
    }

    /// Takes type and code as one number; only 11 bits count.
    #[inline]
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits & 0x7FF)
    }

    /// Type and code as one number, as `nvme-cli` prints it.
    #[inline]
    #[must_use]
    pub const fn into_bits(self) -> u16 {
        self.0
    }

    /// Status Code Type.
    #[inline]
    #[must_use]
    pub const fn kind(self) -> StatusCodeType {
        StatusCodeType::from_bits(self.0.to_be_bytes()[0])
    }

    /// Status Code.
    #[inline]
    #[must_use]
    pub const fn code(self) -> u8 {
        self.0.to_be_bytes()[1]
    }

    /// Whether the command succeeded.
    #[inline]
    #[must_use]
    pub const fn is_success(self) -> bool {
        self.0 == 0
    }

    /// The specification's name, if it has one.
    #[must_use]
    pub fn name(self) -> Option<&'static str> {
        self.named().map(|named| named.name)
    }

    /// What the status means, in one sentence.
    #[must_use]
    pub fn meaning(self) -> Option<&'static str> {
        self.named().map(|named| named.meaning.trim_start())
    }

    /// Every status that has a name, ordered by type and code.
    pub fn known() -> impl Iterator<Item = Self> {
        TABLES.into_iter().flatten().map(|named| named.status)
    }

    fn named(self) -> Option<&'static Named> {
        TABLES.into_iter().find_map(|table| {
            let index = table.binary_search_by_key(&self, |named| named.status).ok()?;
            table.get(index)
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self.code()) {
            (Some(name), _) => f.pad(name),
            (None, code @ 0xC0..) => {
                write!(f, "Vendor Specific {:#x}/{code:#04x}", self.kind().into_bits())
            }
            (None, code) => write!(f, "Reserved status {:#x}/{code:#04x}", self.kind().into_bits()),
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Phase Tag and Status of a completion queue entry: bits 31 to 16 of Dword 3 (NVMe Base 2.1 §4.2.3,
/// Figure 100).
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct CompletionStatus {
    /// Phase Tag (P): inverted on each pass through the queue.
    pub phase: bool,
    /// Status Code (SC) and Status Code Type (SCT).
    #[bits(11)]
    pub status: Status,
    /// Command Retry Delay (CRD): 0 for none, else which of CRDT1 to CRDT3 in Identify Controller.
    #[bits(2)]
    pub crd: u8,
    /// More (M): the Error Information log page says more.
    pub m: bool,
    /// Do Not Retry (DNR): the same command is expected to fail again.
    pub dnr: bool,
}

impl fmt::Display for CompletionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status())?;
        if self.crd() != 0 {
            write!(f, ", CRD {}", self.crd())?;
        }
        if self.m() {
            f.write_str(", More")?;
        }
        if self.dnr() {
            f.write_str(", DNR")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
