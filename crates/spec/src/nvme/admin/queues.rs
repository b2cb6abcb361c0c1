//! Creation and deletion of I/O queues (NVMe Base 2.1 §5.2.1 to §5.2.4).

use bitfield_struct::bitfield;

use super::command_dwords;

/// Command Dword 10 of both creating commands (NVMe Base 2.1 §5.2.1 and §5.2.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CreateQueueCdw10 {
    /// Queue Identifier: 1 and up.
    pub qid: u16,
    /// Queue Size in entries, minus 1; at least 1.
    pub qsize_z: u16,
}
display_words!(CreateQueueCdw10 { "QID" => (qid), "QSIZE" => (qsize_z) });

open_enum! {
    /// Priority class of a submission queue under weighted round robin (NVMe Base 2.1 §5.2.2).
    pub struct QueuePriority: u8 {
        URGENT = 0 => "Urgent",
        HIGH = 1 => "High",
        MEDIUM = 2 => "Medium",
        LOW = 3 => "Low",
    }
}

/// Command Dword 11 of Create I/O Submission Queue (NVMe Base 2.1 §5.2.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CreateSubmissionQueueCdw11 {
    /// Physically Contiguous: PRP1 is the queue and not a list.
    pub pc: bool,
    /// Queue Priority.
    #[bits(2)]
    pub qprio: QueuePriority,
    #[bits(13)]
    __: u16,
    /// Completion Queue Identifier: where completions go.
    pub cqid: u16,
}
display_words!(CreateSubmissionQueueCdw11 { "PC" => (pc), "QPRIO" => (qprio), "CQID" => (cqid) });

/// Command Dword 12 of Create I/O Submission Queue (NVMe Base 2.1 §5.2.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CreateSubmissionQueueCdw12 {
    /// NVM Set Identifier to associate with, 0 for none.
    pub nvmsetid: u16,
    __: u16,
}
display_words!(CreateSubmissionQueueCdw12 { "NVMSETID" => (nvmsetid) });

/// Command Dword 11 of Create I/O Completion Queue (NVMe Base 2.1 §5.2.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CreateCompletionQueueCdw11 {
    /// Physically Contiguous: PRP1 is the queue and not a list.
    pub pc: bool,
    /// Interrupts Enabled.
    pub ien: bool,
    #[bits(14)]
    __: u16,
    /// Interrupt Vector.
    pub iv: u16,
}
display_words!(CreateCompletionQueueCdw11 { "PC" => (pc), "IEN" => (ien), "IV" => (iv) });

/// Command Dword 10 of both deleting commands (NVMe Base 2.1 §5.2.3 and §5.2.4).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DeleteQueueCdw10 {
    /// Queue Identifier.
    pub qid: u16,
    __: u16,
}
display_words!(DeleteQueueCdw10 { "QID" => (qid) });

command_dwords!(
    CreateQueueCdw10,
    CreateSubmissionQueueCdw11,
    CreateSubmissionQueueCdw12,
    CreateCompletionQueueCdw11,
    DeleteQueueCdw10,
);
