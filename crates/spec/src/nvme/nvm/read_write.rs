//! Read, Write, Compare, Verify, Write Zeroes and Write Uncorrectable. All of them have the starting LBA in
//! Command Dwords 10 and 11.

use bitfield_struct::bitfield;

use super::command_dwords;
use crate::nvme::admin::DirectiveType;
use crate::nvme::protection::Prinfo;

open_enum! {
    /// Command Extension Type: what the Command Extension Value means (NVM Command Set 1.1 §5.4 for Key
    /// Per I/O).
    pub struct CommandExtension: u8 {
        NONE = 0x0 => "None",
        KEY_PER_IO = 0x1 => "Key Per I/O",
    }
}

/// Command Dword 12 of Read, Write, Compare, Verify and Write Uncorrectable (NVM Command Set 1.1 §3.3.1 and
/// §3.3.4 to §3.3.7). A command leaves to zero what it does not have: only writes have a directive, and
/// Write Uncorrectable has nothing but that and the number of blocks.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ReadWriteCdw12 {
    /// Number of Logical Blocks, minus 1.
    pub nlb_z: u16,
    /// Command Extension Type.
    #[bits(4)]
    pub cetype: CommandExtension,
    /// Directive Type.
    #[bits(4)]
    pub dtype: DirectiveType,
    /// Storage Tag Check.
    pub stc: bool,
    __: bool,
    /// Protection Information.
    #[bits(4, into = Prinfo::nibble)]
    pub prinfo: Prinfo,
    /// Force Unit Access: write to, or read from, the medium before completing.
    pub fua: bool,
    /// Limited Retry: give up early.
    pub lr: bool,
}
display_words!(ReadWriteCdw12 {
    "NLB" => (nlb_z), "CETYPE" => (cetype), "DTYPE" => (dtype), "STC" => (stc),
    "PRINFO" => (prinfo), "FUA" => (fua), "LR" => (lr),
});

impl ReadWriteCdw12 {
    /// How many blocks the command is about: 1 to 65 536.
    #[inline]
    #[must_use]
    pub const fn blocks(self) -> u32 {
        self.nlb_z() as u32 + 1
    }
}

/// Command Dword 12 of Write Zeroes (NVM Command Set 1.1 §3.3.8).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct WriteZeroesCdw12 {
    /// Number of Logical Blocks, minus 1.
    pub nlb_z: u16,
    /// Command Extension Type.
    #[bits(4)]
    pub cetype: CommandExtension,
    #[bits(3)]
    __: u8,
    /// Namespace Zeroes: the whole namespace, whatever the starting LBA and the number of blocks are.
    pub nsz: bool,
    /// Storage Tag Check.
    pub stc: bool,
    /// Deallocate: the controller should deallocate the blocks.
    pub deac: bool,
    /// Protection Information.
    #[bits(4, into = Prinfo::nibble)]
    pub prinfo: Prinfo,
    /// Force Unit Access.
    pub fua: bool,
    /// Limited Retry.
    pub lr: bool,
}
display_words!(WriteZeroesCdw12 {
    "NLB" => (nlb_z), "CETYPE" => (cetype), "NSZ" => (nsz), "STC" => (stc), "DEAC" => (deac),
    "PRINFO" => (prinfo), "FUA" => (fua), "LR" => (lr),
});

impl WriteZeroesCdw12 {
    /// How many blocks the command is about, unless NSZ is set: 1 to 65 536.
    #[inline]
    #[must_use]
    pub const fn blocks(self) -> u32 {
        self.nlb_z() as u32 + 1
    }
}

open_enum! {
    /// Access Frequency (NVM Command Set 1.1 §3.3.3, §3.3.4 and §3.3.6).
    pub struct AccessFrequency: u8 {
        NONE = 0x0 => "No frequency information",
        TYPICAL = 0x1 => "Typical number of reads and writes",
        RARE = 0x2 => "Infrequent writes and infrequent reads",
        READS = 0x3 => "Infrequent writes and frequent reads",
        WRITES = 0x4 => "Frequent writes and infrequent reads",
        BOTH = 0x5 => "Frequent writes and frequent reads",
        ONE_TIME_READ = 0x6 => "One time read",
        SPECULATIVE_READ = 0x7 => "Speculative read",
        OVERWRITTEN_SOON = 0x8 => "Overwritten in the near future",
    }
}

open_enum! {
    /// Access Latency (NVM Command Set 1.1 §3.3.3, §3.3.4 and §3.3.6).
    pub struct AccessLatency: u8 {
        NONE = 0b00 => "No latency information",
        IDLE = 0b01 => "Longer latency acceptable",
        NORMAL = 0b10 => "Typical latency",
        LOW = 0b11 => "Smallest possible latency",
    }
}

/// Command Dword 13 of Read and Write: dataset management hints, or the Command Extension Value if CETYPE
/// is not zero (NVM Command Set 1.1 §3.3.4 and §3.3.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct ReadWriteCdw13 {
    /// Access Frequency.
    #[bits(4)]
    pub af: AccessFrequency,
    /// Access Latency.
    #[bits(2)]
    pub al: AccessLatency,
    /// Sequential Request.
    pub seqreq: bool,
    /// Incompressible.
    pub incprs: bool,
    __: u8,
    /// Directive Specific: a stream, a placement handle. Writes only.
    pub dspec: u16,
}
display_words!(ReadWriteCdw13 {
    "AF" => (af), "AL" => (al), "SEQREQ" => (seqreq), "INCPRS" => (incprs), "DSPEC" => (dspec),
});

impl ReadWriteCdw13 {
    /// Command Extension Value, where CETYPE says so; the hints then do not exist.
    #[inline]
    #[must_use]
    pub const fn cev(self) -> u16 {
        (self.into_bits() & 0xFFFF) as u16
    }
}

/// Command Dword 15: application tag and its mask. Command Dwords 2, 3 and 14 hold 80 bits of storage tag
/// and initial reference tag, divided as the namespace's format says, Dword 14 the lowest
/// (NVM Command Set 1.1 §5.3.1.4).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LogicalBlockTags {
    /// Logical Block Application Tag (LBAT, ELBAT).
    pub lbat: u16,
    /// Logical Block Application Tag Mask (LBATM, ELBATM).
    pub lbatm: u16,
}
display_words!(LogicalBlockTags { "LBAT" => hex(lbat), "LBATM" => hex(lbatm) });

command_dwords!(ReadWriteCdw12, ReadWriteCdw13, WriteZeroesCdw12, LogicalBlockTags);
