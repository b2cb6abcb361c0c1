//! I/O commands of the NVM Command Set (NVM Command Set 1.1 §3.3, NVMe Base 2.1 §7): opcodes, and the
//! dwords of each command.

mod copy;
mod dataset;
mod display;
mod read_write;
mod reservation;

pub use copy::{
    CopyCdw12, CopyCdw13, CopyFormat, CopyRange0, CopyRange1, CopyRange2, CopyRange3, SourceOptions,
};
pub use dataset::{
    DatasetManagementCdw10, DatasetManagementCdw11, DatasetRange, MAX_DATASET_RANGES,
    RangeAttributes,
};
pub use display::DisplayNvm;
pub use read_write::{
    AccessFrequency, AccessLatency, CommandExtension, LogicalBlockTags, ReadWriteCdw12,
    ReadWriteCdw13, WriteZeroesCdw12,
};
pub use reservation::{
    AcquireAction, PersistChange, RegisterAction, RegistrationData, ReleaseAction,
    ReservationAcquireCdw10, ReservationRegisterCdw10, ReservationReleaseCdw10, ReservationType,
};

use crate::nvme::admin::command_dwords;

open_enum! {
    /// Opcodes of I/O commands: those that every command set has, and those of the NVM Command Set
    /// (NVMe Base 2.1 §7; NVM Command Set 1.1 §3.3).
    pub struct NvmOpcode: u8 {
        FLUSH = 0x00 => "Flush",
        WRITE = 0x01 => "Write",
        READ = 0x02 => "Read",
        WRITE_UNCORRECTABLE = 0x04 => "Write Uncorrectable",
        COMPARE = 0x05 => "Compare",
        WRITE_ZEROES = 0x08 => "Write Zeroes",
        DATASET_MANAGEMENT = 0x09 => "Dataset Management",
        VERIFY = 0x0C => "Verify",
        RESERVATION_REGISTER = 0x0D => "Reservation Register",
        RESERVATION_REPORT = 0x0E => "Reservation Report",
        RESERVATION_ACQUIRE = 0x11 => "Reservation Acquire",
        IO_MANAGEMENT_RECEIVE = 0x12 => "I/O Management Receive",
        RESERVATION_RELEASE = 0x15 => "Reservation Release",
        CANCEL = 0x18 => "Cancel",
        COPY = 0x19 => "Copy",
        IO_MANAGEMENT_SEND = 0x1D => "I/O Management Send",
    }
}

#[cfg(test)]
mod tests;
