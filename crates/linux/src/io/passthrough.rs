//! The kernel's interface for NVMe commands of one's own (drivers/nvme/host/ioctl.c).

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;

use p2pdma_mem::SharedMemory;
use p2pdma_spec::nvme::admin::{AdminOpcode, Cns, IdentifyCdw10};
use p2pdma_spec::nvme::identify::IDENTIFY_SIZE;
use p2pdma_spec::nvme::queue::SubmissionEntry;
use p2pdma_spec::nvme::status::Status;
use zerocopy::{Immutable, IntoBytes};

use super::DirectFile;

/// A command with its data, as the kernel takes it from an io_uring (`struct nvme_uring_cmd`,
/// include/uapi/linux/nvme_ioctl.h). The other forms begin with the same fields.
#[derive(Debug, Clone, Copy, Default, IntoBytes, Immutable)]
#[repr(C)]
pub(super) struct Passthrough {
    opcode: u8,
    flags: u8,
    reserved2: u16,
    nsid: u32,
    cdw2: u32,
    cdw3: u32,
    metadata: u64,
    address: u64,
    metadata_len: u32,
    data_len: u32,
    cdw10: u32,
    cdw11: u32,
    cdw12: u32,
    cdw13: u32,
    cdw14: u32,
    cdw15: u32,
    /// 0 is the kernel's own limit.
    timeout_ms: u32,
    /// The result's low half, in the form for the admin queue.
    reserved68: u32,
}
const _: () = assert!(size_of::<Passthrough>() == 72);

impl Passthrough {
    /// A command with `len` bytes of data at an address of this process.
    pub(super) fn new(command: &SubmissionEntry, address: *const u8, len: u32) -> Self {
        Self {
            opcode: command.opcode(),
            nsid: command.nsid.get(),
            address: address as u64,
            data_len: len,
            cdw10: command.cdw10.get(),
            cdw11: command.cdw11.get(),
            cdw12: command.cdw12.get(),
            ..Self::default()
        }
    }
}

/// The form that waits (`struct nvme_passthru_cmd64`).
#[repr(C)]
struct Waiting {
    command: Passthrough,
    result: u64,
}
const _: () = assert!(size_of::<Waiting>() == 80);

/// The requests of ioctl(2): `_IO('N', 0x40)`, and `_IOWR('N', number, structure)`.
const ID: u32 = 0x4e40;
const ADMIN: u32 = request(0x41, size_of::<Passthrough>());
const IO64: u32 = request(0x48, size_of::<Waiting>());
/// The same for io_uring: `NVME_URING_CMD_IO`.
pub(super) const URING_IO: u32 = request(0x80, size_of::<Passthrough>());
const _: () = assert!(ADMIN == 0xc048_4e41 && IO64 == 0xc050_4e48 && URING_IO == 0xc048_4e80);

/// `_IOWR('N', …)` (include/uapi/asm-generic/ioctl.h).
#[expect(clippy::cast_possible_truncation, reason = "the size of a structure of this file")]
const fn request(number: u32, size: usize) -> u32 {
    0xc000_0000 | (size as u32) << 16 | (b'N' as u32) << 8 | number
}

/// A command that its controller has refused or could not carry out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the NVMe command failed: {0}")]
pub struct CommandError(pub Status);

impl CommandError {
    /// The status of a command, if that is why a request did not succeed.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<Status> {
        error.get_ref()?.downcast_ref::<Self>().map(|failed| failed.0)
    }
}

/// What a system call's answer means: 0, the status of the command, or an error of the kernel's, negative.
pub(super) fn outcome(answer: i32) -> io::Result<()> {
    match u32::try_from(answer) {
        Ok(0) => Ok(()),
        // The status field without its phase bit: of its 15 bits 11 are type and code.
        Ok(status) => {
            let status = Status::from_bits((status & 0x7ff) as u16);
            Err(io::Error::other(CommandError(status)))
        }
        Err(_) => Err(io::Error::from_raw_os_error(answer.wrapping_neg())),
    }
}

/// The number of the namespace that a file is; `None` if it is none.
#[expect(unsafe_code, reason = "an ioctl that no library wraps")]
pub(super) fn nsid(file: &File) -> io::Result<Option<u32>> {
    // SAFETY: this request takes no argument.
    let answer = unsafe { libc::ioctl(file.as_raw_fd(), ID.into()) };
    match u32::try_from(answer) {
        Ok(nsid) => Ok(Some(nsid)),
        Err(_) => match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOTTY) => Ok(None),
            error => Err(error),
        },
    }
}

/// Carries out a command of an I/O queue, and waits for it.
///
/// # Safety
/// `address` and `data_len` are memory that stays valid during the call, which the device may write to.
#[expect(unsafe_code, reason = "an ioctl that no library wraps")]
pub(super) unsafe fn carry(file: &File, command: Passthrough) -> io::Result<()> {
    let mut waiting = Waiting { command, result: 0 };
    // SAFETY: the structure has the layout that the kernel knows and lives longer than the call; the memory
    // that it names is valid by this function's contract.
    done(unsafe { libc::ioctl(file.as_raw_fd(), IO64.into(), &raw mut waiting) })
}

/// What Identify says about a namespace, or about its controller (NVMe Base 2.1 §5.1.13).
pub(super) fn identify(file: &File, nsid: u32, cns: Cns) -> io::Result<Vec<u8>> {
    let mut data = vec![0_u8; IDENTIFY_SIZE];
    identify_to(file, nsid, cns, data.as_mut_ptr())?;
    Ok(data)
}

/// Lets the controller of a namespace say what it is (Identify Controller), into the first 4096 bytes of memory.
/// Commands of the admin queue take no memory that devices lend: EINVAL.
///
/// # Errors
/// What the operating system says.
pub fn identify_controller(file: &DirectFile, memory: &SharedMemory) -> io::Result<()> {
    let memory = memory.slice(0..IDENTIFY_SIZE);
    let memory = memory.map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    identify_to(file.file(), 0, Cns::CONTROLLER, memory.base())
}

/// `data` are 4096 bytes.
#[expect(unsafe_code, reason = "an ioctl that no library wraps")]
fn identify_to(file: &File, nsid: u32, cns: Cns, data: *mut u8) -> io::Result<()> {
    let nsid = if cns == Cns::CONTROLLER { 0 } else { nsid };
    let mut identify = SubmissionEntry::new(AdminOpcode::IDENTIFY, nsid);
    identify.cdw10.set(IdentifyCdw10::new().with_cns(cns).into_bits());
    let mut command = Passthrough::new(&identify, data, 4096);
    // SAFETY: the structure has the layout that the kernel knows; it lives longer than the call, and so do the
    // 4096 bytes that both callers have.
    done(unsafe { libc::ioctl(file.as_raw_fd(), ADMIN.into(), &raw mut command) })
}

fn done(answer: libc::c_int) -> io::Result<()> {
    if answer < 0 { Err(io::Error::last_os_error()) } else { outcome(answer) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart() {
        assert!(outcome(0).is_ok());
        // With "do not retry".
        let failed = outcome(0x4080).unwrap_err();
        assert_eq!(CommandError::of(&failed), Some(Status::LBA_OUT_OF_RANGE));
        assert_eq!(failed.to_string(), "the NVMe command failed: LBA Out of Range");
        let refused = outcome(-libc::EINVAL).unwrap_err();
        assert_eq!(
            (refused.raw_os_error(), CommandError::of(&refused)),
            (Some(libc::EINVAL), None)
        );
    }

    #[test]
    fn a_file_is_no_namespace() {
        assert_eq!(nsid(&tempfile::tempfile().unwrap()).unwrap(), None);
        assert!(identify(&tempfile::tempfile().unwrap(), 1, Cns::NAMESPACE).is_err());
    }
}
