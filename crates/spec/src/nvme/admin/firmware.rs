//! Firmware commands (NVMe Base 2.1 §5.1.8 and §5.1.9).
//!
//! Firmware Image Download has NUMD, a number of dwords minus 1, in Command Dword 10, and OFST, an offset
//! in dwords, in Command Dword 11.

use bitfield_struct::bitfield;

use super::command_dwords;

open_enum! {
    /// Commit Action (NVMe Base 2.1 §5.1.8).
    pub struct CommitAction: u8 {
        REPLACE = 0b000 => "Replace the image",
        REPLACE_AND_ACTIVATE = 0b001 => "Replace the image, activate at the next Controller Level Reset",
        ACTIVATE = 0b010 => "Activate at the next Controller Level Reset",
        ACTIVATE_NOW = 0b011 => "Activate immediately without reset",
        REPLACE_BOOT_PARTITION = 0b110 => "Replace the Boot Partition",
        ACTIVATE_BOOT_PARTITION = 0b111 => "Mark the Boot Partition active",
    }
}

/// Command Dword 10 of Firmware Commit (NVMe Base 2.1 §5.1.8).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct FirmwareCommitCdw10 {
    /// Firmware Slot: 1 to 7, or 0 to let the controller choose.
    #[bits(3)]
    pub fs: u8,
    /// Commit Action.
    #[bits(3)]
    pub ca: CommitAction,
    #[bits(25)]
    __: u32,
    /// Boot Partition ID.
    pub bpid: bool,
}
display_words!(FirmwareCommitCdw10 { "FS" => (fs), "CA" => (ca), "BPID" => (bpid) });

/// Dword 0 of the completion of Firmware Commit (NVMe Base 2.1 §5.1.8.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct FirmwareCommitResult {
    /// Multiple Update Detected: an update overlapped with one for a firmware slot from an admin queue.
    pub slot_admin_queue: bool,
    /// Multiple Update Detected: an update overlapped with one for a firmware slot from elsewhere.
    pub slot_management: bool,
    #[bits(30)]
    __: u32,
}
display_words!(FirmwareCommitResult {
    "MUD.AdminQueue" => (slot_admin_queue), "MUD.ManagementEndpoint" => (slot_management),
});

command_dwords!(FirmwareCommitCdw10, FirmwareCommitResult);
