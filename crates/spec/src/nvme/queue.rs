//! Entries of submission and completion queues (NVMe Base 2.1 §4.1 and §4.2).

use core::fmt;
use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, transmute};

use super::prp::PrpEntry;
use super::sgl::SglDescriptor;
use super::status::CompletionStatus;
use crate::le::{Le16, Le32};

/// The identifier of both admin queues.
pub const ADMIN_QID: u16 = 0;
/// Bytes of a submission queue entry of the admin and NVM command sets.
pub const SUBMISSION_ENTRY_SIZE: usize = 64;
/// Bytes of a completion queue entry of the admin and NVM command sets.
pub const COMPLETION_ENTRY_SIZE: usize = 16;
/// The most entries of an admin queue (NVMe Base 2.1 §3.3.3.2).
pub const MAX_ADMIN_ENTRIES: u32 = 4096;
/// The most entries of an I/O queue (NVMe Base 2.1 §3.3.3.2).
pub const MAX_IO_ENTRIES: u32 = 65_536;
/// The fewest entries of a queue: one of them is always empty (NVMe Base 2.1 §3.3.3.2).
pub const MIN_ENTRIES: u32 = 2;
/// The command identifier that means "no command" in error information; commands should not use it
/// (NVMe Base 2.1 §4.1.1).
pub const NO_COMMAND: u16 = 0xFFFF;

open_enum! {
    /// Fused operation (NVMe Base 2.1 §3.4.2).
    pub struct Fuse: u8 {
        NORMAL = 0b00 => "Normal operation",
        FIRST = 0b01 => "Fused operation, first command",
        SECOND = 0b10 => "Fused operation, second command",
    }
}

open_enum! {
    /// PRP or SGL for Data Transfer (NVMe Base 2.1 §4.1.1).
    pub struct DataTransfer: u8 {
        PRP = 0b00 => "PRP",
        SGL_METADATA_BUFFER = 0b01 => "SGL, metadata in a contiguous buffer",
        SGL_METADATA_SGL = 0b10 => "SGL, metadata in an SGL",
    }
}

open_enum! {
    /// Direction of data: bits 1 and 0 of an opcode (NVMe Base 2.1 §4.1.1).
    pub struct Direction: u8 {
        NONE = 0b00 => "no data transfer",
        HOST_TO_CONTROLLER = 0b01 => "host to controller",
        CONTROLLER_TO_HOST = 0b10 => "controller to host",
        BIDIRECTIONAL = 0b11 => "bidirectional",
    }
}

impl Direction {
    /// The direction that an opcode implies.
    #[inline]
    #[must_use]
    pub const fn of(opcode: u8) -> Self {
        Self::from_bits(opcode & 0b11)
    }
}

/// Command Dword 0 (NVMe Base 2.1 §4.1.1, Figure 91).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cdw0 {
    /// Opcode; what it means depends on the queue and the command set.
    pub opcode: u8,
    /// Fused Operation.
    #[bits(2)]
    pub fuse: Fuse,
    #[bits(4)]
    __: u8,
    /// PRP or SGL for Data Transfer.
    #[bits(2)]
    pub psdt: DataTransfer,
    /// Command Identifier: unique among the outstanding commands of the queue.
    pub cid: u16,
}
display_words!(Cdw0 { "OPC" => hex(opcode), "FUSE" => (fuse), "PSDT" => (psdt), "CID" => (cid) });

/// Data Pointer: two PRP entries or one SGL descriptor, as PSDT says (NVMe Base 2.1 §4.1.1).
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
pub struct DataPointer {
    /// PRP Entry 1.
    pub prp1: PrpEntry,
    /// PRP Entry 2: the second page, or a list, or reserved.
    pub prp2: PrpEntry,
}

impl DataPointer {
    /// Two PRP entries.
    #[inline]
    #[must_use]
    pub const fn prp(prp1: u64, prp2: u64) -> Self {
        Self { prp1: PrpEntry::new(prp1), prp2: PrpEntry::new(prp2) }
    }

    /// One SGL descriptor.
    #[inline]
    #[must_use]
    pub const fn sgl(descriptor: SglDescriptor) -> Self {
        transmute!(descriptor)
    }

    /// The field read as an SGL descriptor.
    #[inline]
    #[must_use]
    pub const fn as_sgl(self) -> SglDescriptor {
        transmute!(self)
    }
}

/// A command in a submission queue (NVMe Base 2.1 §4.1.1, Figure 92).
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
pub struct SubmissionEntry {
    /// Opcode, fuse, PSDT and command identifier.
    pub cdw0: Le32<Cdw0>,
    /// Namespace Identifier.
    pub nsid: U32,
    /// Command Dword 2.
    pub cdw2: U32,
    /// Command Dword 3.
    pub cdw3: U32,
    /// Metadata Pointer.
    pub mptr: U64,
    /// Data Pointer.
    pub dptr: DataPointer,
    /// Command Dword 10.
    pub cdw10: U32,
    /// Command Dword 11.
    pub cdw11: U32,
    /// Command Dword 12.
    pub cdw12: U32,
    /// Command Dword 13.
    pub cdw13: U32,
    /// Command Dword 14.
    pub cdw14: U32,
    /// Command Dword 15.
    pub cdw15: U32,
}
const _: () = assert!(size_of::<SubmissionEntry>() == SUBMISSION_ENTRY_SIZE);
const _: () = assert!(offset_of!(SubmissionEntry, nsid) == 4);
const _: () = assert!(offset_of!(SubmissionEntry, mptr) == 16);
const _: () = assert!(offset_of!(SubmissionEntry, dptr) == 24);
const _: () = assert!(offset_of!(SubmissionEntry, cdw10) == 40);
const _: () = assert!(offset_of!(SubmissionEntry, cdw15) == 60);

impl SubmissionEntry {
    /// A command of which only the opcode and the namespace are set.
    #[inline]
    #[must_use]
    pub fn new(opcode: impl Into<u8>, nsid: u32) -> Self {
        Self {
            cdw0: Le32::new(Cdw0::new().with_opcode(opcode.into())),
            nsid: U32::new(nsid),
            ..Self::default()
        }
    }

    /// The opcode.
    #[inline]
    #[must_use]
    pub fn opcode(&self) -> u8 {
        self.cdw0.get().opcode()
    }

    /// The command identifier.
    #[inline]
    #[must_use]
    pub fn cid(&self) -> u16 {
        self.cdw0.get().cid()
    }

    /// Replaces the command identifier.
    #[inline]
    pub fn set_cid(&mut self, cid: u16) {
        self.cdw0.set(self.cdw0.get().with_cid(cid));
    }

    /// Command Dwords 10 and 11 as one number, least significant dword first: a starting LBA, an offset.
    #[inline]
    #[must_use]
    pub const fn cdw10_11(&self) -> u64 {
        (self.cdw11.get() as u64) << 32 | self.cdw10.get() as u64
    }

    /// Replaces Command Dwords 10 and 11 together.
    #[inline]
    pub fn set_cdw10_11(&mut self, value: u64) {
        let [a, b, c, d, e, f, g, h] = value.to_le_bytes();
        self.cdw10 = U32::from_bytes([a, b, c, d]);
        self.cdw11 = U32::from_bytes([e, f, g, h]);
    }

    /// The entry as it lies in the queue.
    #[inline]
    #[must_use]
    pub const fn to_bytes(self) -> [u8; SUBMISSION_ENTRY_SIZE] {
        transmute!(self)
    }

    /// The entry that lies in the queue as `bytes`.
    #[inline]
    #[must_use]
    pub const fn from_bytes(bytes: [u8; SUBMISSION_ENTRY_SIZE]) -> Self {
        transmute!(bytes)
    }
}

impl fmt::Display for SubmissionEntry {
    /// The fields that all commands have, and the dwords that are not zero.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cdw0 = self.cdw0.get();
        write!(f, "{cdw0} NSID={:#x}", self.nsid.get())?;
        if self.dptr != DataPointer::default() {
            match cdw0.psdt() {
                DataTransfer::PRP => {
                    write!(f, " PRP1={} PRP2={}", self.dptr.prp1, self.dptr.prp2)?;
                }
                _ => write!(f, " SGL1=[{}]", self.dptr.as_sgl())?,
            }
        }
        if self.mptr.get() != 0 {
            write!(f, " MPTR={:#x}", self.mptr.get())?;
        }
        let dwords = [
            (2, self.cdw2),
            (3, self.cdw3),
            (10, self.cdw10),
            (11, self.cdw11),
            (12, self.cdw12),
            (13, self.cdw13),
            (14, self.cdw14),
            (15, self.cdw15),
        ];
        for (number, value) in dwords.iter().filter(|(_, value)| value.get() != 0) {
            write!(f, " CDW{number}={:#x}", value.get())?;
        }
        Ok(())
    }
}

/// A completion in a completion queue (NVMe Base 2.1 §4.2.1, Figure 96).
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
pub struct CompletionEntry {
    /// Dword 0: the command's result.
    pub dw0: U32,
    /// Dword 1: the command's result.
    pub dw1: U32,
    /// SQ Head Pointer: how far the controller has fetched.
    pub sqhd: U16,
    /// SQ Identifier.
    pub sqid: U16,
    /// Command Identifier.
    pub cid: U16,
    /// Phase Tag and Status.
    pub status: Le16<CompletionStatus>,
}
const _: () = assert!(size_of::<CompletionEntry>() == COMPLETION_ENTRY_SIZE);
const _: () = assert!(offset_of!(CompletionEntry, sqhd) == 8);
const _: () = assert!(offset_of!(CompletionEntry, sqid) == 10);
const _: () = assert!(offset_of!(CompletionEntry, cid) == 12);
const _: () = assert!(offset_of!(CompletionEntry, status) == 14);

/// Offset in bytes of the half word of a completion queue entry that holds the Phase Tag. Writing it last
/// makes an entry valid.
pub const COMPLETION_STATUS_OFFSET: usize = 14;
const _: () = assert!(offset_of!(CompletionEntry, status) == COMPLETION_STATUS_OFFSET);

impl CompletionEntry {
    /// The Phase Tag.
    #[inline]
    #[must_use]
    pub fn phase(&self) -> bool {
        self.status.get().phase()
    }

    /// Dwords 0 and 1 as one number, least significant dword first.
    #[inline]
    #[must_use]
    pub const fn result(&self) -> u64 {
        (self.dw1.get() as u64) << 32 | self.dw0.get() as u64
    }

    /// The entry as it lies in the queue.
    #[inline]
    #[must_use]
    pub const fn to_bytes(self) -> [u8; COMPLETION_ENTRY_SIZE] {
        transmute!(self)
    }

    /// The entry that lies in the queue as `bytes`.
    #[inline]
    #[must_use]
    pub const fn from_bytes(bytes: [u8; COMPLETION_ENTRY_SIZE]) -> Self {
        transmute!(bytes)
    }
}

impl fmt::Display for CompletionEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} CID={} SQID={} SQHD={} DW0={:#x} P={}",
            self.status,
            self.cid,
            self.sqid,
            self.sqhd,
            self.dw0,
            u8::from(self.phase())
        )?;
        if self.dw1.get() != 0 {
            write!(f, " DW1={:#x}", self.dw1)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nvme::status::Status;
    use proptest::prelude::*;

    #[test]
    fn bytes_of_a_read_command() {
        // Read, CID 7, namespace 1, one page at 12345000h, SLBA 100000001h, 8 blocks.
        let mut entry = SubmissionEntry::new(2_u8, 1);
        entry.set_cid(7);
        entry.dptr = DataPointer::prp(0x1234_5000, 0);
        entry.set_cdw10_11(0x1_0000_0001);
        entry.cdw12 = U32::new(7);
        let mut expected = [0; 64];
        expected[..8].copy_from_slice(&[2, 0, 7, 0, 1, 0, 0, 0]);
        expected[24..28].copy_from_slice(&[0, 0x50, 0x34, 0x12]);
        expected[40..52].copy_from_slice(&[1, 0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 0]);
        assert_eq!(entry.to_bytes(), expected);
        assert_eq!(
            entry.to_string(),
            "OPC=0x2 FUSE=Normal operation PSDT=PRP CID=7 NSID=0x1 PRP1=0x12345000 PRP2=0x0 \
             CDW10=0x1 CDW11=0x1 CDW12=0x7"
        );
    }

    #[test]
    fn fuse_and_psdt_are_where_figure_91_has_them() {
        let cdw0 = Cdw0::new().with_fuse(Fuse::SECOND).with_psdt(DataTransfer::SGL_METADATA_BUFFER);
        assert_eq!(cdw0.into_bits(), 0x0000_4200);
    }

    #[test]
    fn bytes_of_a_completion() {
        // Invalid Field in Command with Do Not Retry, phase 1, for command 9 of queue 3.
        let bytes = [0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0, 0x10, 0, 3, 0, 9, 0, 0x05, 0x80];
        let entry = CompletionEntry::from_bytes(bytes);
        assert_eq!(entry.status.get().status(), Status::INVALID_FIELD);
        assert!(entry.status.get().dnr() && entry.phase());
        assert_eq!((entry.sqhd.get(), entry.sqid.get(), entry.cid.get()), (16, 3, 9));
        assert_eq!(
            entry.to_string(),
            "Invalid Field in Command, DNR CID=9 SQID=3 SQHD=16 DW0=0x12345678 P=1"
        );
        assert_eq!(entry.to_bytes(), bytes);
    }

    #[test]
    fn the_data_pointer_is_either_of_two_things() {
        let descriptor = SglDescriptor::data_block(0x1000, 0x200);
        let pointer = DataPointer::sgl(descriptor);
        assert_eq!(pointer.as_sgl(), descriptor);
        assert_eq!((pointer.prp1.address(), pointer.prp2.address()), (0x1000, 0x200));
    }

    proptest! {
        #[test]
        fn any_command_survives_and_prints(head: [u8; 32], tail: [u8; 32]) {
            let mut bytes = [0; 64];
            bytes[..32].copy_from_slice(&head);
            bytes[32..].copy_from_slice(&tail);
            let entry = SubmissionEntry::from_bytes(bytes);
            prop_assert_eq!(entry.to_bytes(), bytes);
            prop_assert_eq!(entry.cid(), u16::from_le_bytes([bytes[2], bytes[3]]));
            prop_assert!(entry.to_string().starts_with("OPC="));
        }

        #[test]
        fn any_completion_survives_and_prints(bytes: [u8; 16]) {
            let entry = CompletionEntry::from_bytes(bytes);
            prop_assert_eq!(entry.to_bytes(), bytes);
            prop_assert_eq!(entry.phase(), bytes[14] & 1 == 1);
            prop_assert!(entry.to_string().contains(" CID="));
        }

        #[test]
        fn dwords_10_and_11_are_one_number(value: u64) {
            let mut entry = SubmissionEntry::default();
            entry.set_cdw10_11(value);
            prop_assert_eq!(entry.cdw10_11(), value);
        }
    }
}
