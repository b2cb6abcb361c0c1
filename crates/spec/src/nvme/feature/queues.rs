//! Queues, interrupts, and memory that the host lends.

use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::nvme::admin::command_dwords;
use crate::opaque::Opaque;

/// The arbitration burst that stands for no limit.
pub const NO_ARBITRATION_LIMIT: u8 = 0b111;

/// Arbitration, FID 01h (NVMe Base 2.1 §5.1.25.1.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Arbitration {
    /// Arbitration Burst: the most commands at a time as a power of two, or [`NO_ARBITRATION_LIMIT`].
    #[bits(3)]
    pub ab: u8,
    #[bits(5)]
    __: u8,
    /// Low Priority Weight, minus 1.
    pub lpw_z: u8,
    /// Medium Priority Weight, minus 1.
    pub mpw_z: u8,
    /// High Priority Weight, minus 1.
    pub hpw_z: u8,
}
display_words!(Arbitration {
    "AB" => (ab), "LPW" => (lpw_z), "MPW" => (mpw_z), "HPW" => (hpw_z),
});

/// Number of Queues, FID 07h: what the host requests and, in the completion of either command, what the
/// controller allocates (NVMe Base 2.1 §5.1.25.2.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct NumberOfQueues {
    /// Number of I/O Submission Queues Requested (NSQR) or Allocated (NSQA), minus 1.
    pub nsq_z: u16,
    /// Number of I/O Completion Queues Requested (NCQR) or Allocated (NCQA), minus 1.
    pub ncq_z: u16,
}
display_words!(NumberOfQueues { "NSQ" => (nsq_z), "NCQ" => (ncq_z) });

impl NumberOfQueues {
    /// Numbers from 1 to 65 535 of each kind; `None` for any other, as FFFFh is not allowed.
    #[must_use]
    pub const fn of(submission: u16, completion: u16) -> Option<Self> {
        match (submission.checked_sub(1), completion.checked_sub(1)) {
            (Some(nsq), Some(ncq)) => Some(Self::new().with_nsq_z(nsq).with_ncq_z(ncq)),
            _ => None,
        }
    }

    /// I/O submission queues: 1 to 65 536.
    #[must_use]
    pub const fn submission_queues(self) -> u32 {
        self.nsq_z() as u32 + 1
    }

    /// I/O completion queues: 1 to 65 536.
    #[must_use]
    pub const fn completion_queues(self) -> u32 {
        self.ncq_z() as u32 + 1
    }
}

/// Interrupt Coalescing, FID 08h (NVMe Base 2.1 §5.1.25.2.2). It is off while either field is 0.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct InterruptCoalescing {
    /// Aggregation Threshold: completions to gather before an interrupt, minus 1.
    pub thr_z: u8,
    /// Aggregation Time: the longest delay in units of 100 microseconds.
    pub time: u8,
    __: u16,
}
display_words!(InterruptCoalescing { "THR" => (thr_z), "TIME" => (time) });

/// Interrupt Vector Configuration, FID 09h (NVMe Base 2.1 §5.1.25.2.3).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct InterruptVectorConfiguration {
    /// Interrupt Vector that the setting is for.
    pub iv: u16,
    /// Coalescing Disable.
    pub cd: bool,
    #[bits(15)]
    __: u16,
}
display_words!(InterruptVectorConfiguration { "IV" => (iv), "CD" => (cd) });

/// Host Memory Buffer, FID 0Dh (NVMe Base 2.1 §5.1.25.2.4). Command Dword 12 is the size in pages of CC.MPS,
/// Dwords 13 and 14 are the address of the descriptor list, 16 bytes aligned, and Dword 15 is the number of
/// its descriptors.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct HostMemoryBuffer {
    /// Enable Host Memory.
    pub ehm: bool,
    /// Memory Return: it is the buffer that the controller had before, with its content.
    pub mr: bool,
    /// Host Memory Non-operational Access Restriction Enable.
    pub hmnare: bool,
    #[bits(29)]
    __: u32,
}
display_words!(HostMemoryBuffer { "EHM" => (ehm), "MR" => (mr), "HMNARE" => (hmnare) });

command_dwords!(
    Arbitration,
    NumberOfQueues,
    InterruptCoalescing,
    InterruptVectorConfiguration,
    HostMemoryBuffer
);

/// A descriptor of the Host Memory Descriptor List.
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
pub struct HostMemoryDescriptor {
    /// Buffer Address, aligned to a page of CC.MPS.
    pub badd: U64,
    /// Buffer Size in pages of CC.MPS.
    pub bsize: U32,
    /// Reserved.
    pub reserved12: Opaque<4>,
}
const _: () = assert!(size_of::<HostMemoryDescriptor>() == 16);
const _: () = assert!(offset_of!(HostMemoryDescriptor, bsize) == 8);
display_lines!(HostMemoryDescriptor { "BADD" => hex(badd), "BSIZE" => (bsize) });

/// What Get Features returns for the Host Memory Buffer: 4096 bytes.
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
pub struct HostMemoryBufferAttributes {
    /// Host Memory Buffer Size in pages of CC.MPS.
    pub hsize: U32,
    /// Host Memory Descriptor List Address.
    pub address: U64,
    /// Host Memory Descriptor List Entry Count.
    pub hmdlec: U32,
    /// Reserved.
    pub reserved16: Opaque<4080>,
}
const _: () = assert!(size_of::<HostMemoryBufferAttributes>() == 4096);
const _: () = assert!(offset_of!(HostMemoryBufferAttributes, hmdlec) == 12);
display_lines!(HostMemoryBufferAttributes {
    "HSIZE" => (hsize), "HMDLA" => hex(address), "HMDLEC" => (hmdlec),
});
