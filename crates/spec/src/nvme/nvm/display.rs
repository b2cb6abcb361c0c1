//! I/O commands in words.

use core::fmt;

use super::{
    CopyCdw12, DatasetManagementCdw10, DatasetManagementCdw11, NvmOpcode, ReadWriteCdw12,
    ReadWriteCdw13, ReservationAcquireCdw10, ReservationRegisterCdw10, ReservationReleaseCdw10,
    WriteZeroesCdw12,
};
use crate::nvme::queue::SubmissionEntry;

/// Prints a command of an I/O queue of the NVM Command Set: its name, its identifiers, and its dwords field
/// by field.
#[derive(Debug, Clone, Copy)]
pub struct DisplayNvm<'a>(pub &'a SubmissionEntry);

impl fmt::Display for DisplayNvm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = self.0;
        let opcode = NvmOpcode::from_bits(entry.opcode());
        if opcode.name().is_none() {
            return write!(f, "I/O {entry}");
        }
        write!(f, "{opcode} CID={} NSID={:#x}", entry.cid(), entry.nsid)?;
        match opcode {
            NvmOpcode::READ | NvmOpcode::WRITE => {
                blocks(entry, ReadWriteCdw12::from(entry.cdw12), f)?;
                write!(f, " {}", ReadWriteCdw13::from(entry.cdw13))
            }
            NvmOpcode::COMPARE | NvmOpcode::VERIFY | NvmOpcode::WRITE_UNCORRECTABLE => {
                blocks(entry, ReadWriteCdw12::from(entry.cdw12), f)
            }
            NvmOpcode::WRITE_ZEROES => blocks(entry, WriteZeroesCdw12::from(entry.cdw12), f),
            NvmOpcode::DATASET_MANAGEMENT => write!(
                f,
                " {} {}",
                DatasetManagementCdw10::from(entry.cdw10),
                DatasetManagementCdw11::from(entry.cdw11)
            ),
            NvmOpcode::COPY => {
                write!(f, " SDLBA={} {}", entry.cdw10_11(), CopyCdw12::from(entry.cdw12))
            }
            NvmOpcode::RESERVATION_ACQUIRE => {
                write!(f, " {}", ReservationAcquireCdw10::from(entry.cdw10))
            }
            NvmOpcode::RESERVATION_REGISTER => {
                write!(f, " {}", ReservationRegisterCdw10::from(entry.cdw10))
            }
            NvmOpcode::RESERVATION_RELEASE => {
                write!(f, " {}", ReservationReleaseCdw10::from(entry.cdw10))
            }
            _ => Ok(()),
        }
    }
}

fn blocks(
    entry: &SubmissionEntry,
    cdw12: impl fmt::Display,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    write!(f, " SLBA={} {cdw12}", entry.cdw10_11())
}
