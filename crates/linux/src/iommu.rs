//! Requests that an IOMMU refused. A device is not told of a write that was: nobody answers writes (PCIe 6.0
//! §2.1.1.1), and its status may be good. The kernel's log has them.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;

use p2pdma_pci::{Bdf, Iova};

/// A request that an IOMMU refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IommuFault {
    /// Who sent it.
    pub bdf: Bdf,
    /// The address.
    pub iova: Iova,
    /// Whether it was to write; else to read.
    pub write: bool,
}

impl std::fmt::Display for IommuFault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = if self.write { "write to" } else { "read of" };
        write!(f, "a {what} {} by {}", self.iova, self.bdf)
    }
}

/// The kernel's log (Documentation/ABI/testing/dev-kmsg), from a moment on. It has the first faults of many: the kernel
/// prints ten lines in five seconds (`dmar_fault()`, drivers/iommu/intel/dmar.c).
///
/// It understands the lines of Intel's IOMMU.
#[derive(Debug)]
pub struct FaultLog(File);

/// The longest record (`PRINTK_MESSAGE_MAX`, kernel/printk/internal.h).
const RECORD: usize = 2048;
/// Records that are read at once: a log that grows faster than it is read does not keep anybody.
const MOST: usize = 4096;

impl FaultLog {
    /// From now on.
    ///
    /// # Errors
    /// EPERM for who may not read it (`kernel.dmesg_restrict`); what the operating system says.
    pub fn from_now() -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).custom_flags(libc::O_NONBLOCK).open("/dev/kmsg")?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self(file))
    }

    /// What was refused since this was last asked.
    pub fn take(&mut self) -> Vec<IommuFault> {
        let mut record = [0; RECORD];
        let mut faults = Vec::new();
        for _ in 0..MOST {
            match self.0.read(&mut record) {
                Ok(len) if len > 0 => {
                    let text = String::from_utf8_lossy(record.get(..len).unwrap_or_default());
                    faults.extend(fault(&text));
                }
                // Records were overwritten before they were read.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                _ => break,
            }
        }
        faults
    }
}

/// A line of Intel's IOMMU (`dmar_fault_do_one()`, drivers/iommu/intel/dmar.c).
fn fault(line: &str) -> Option<IommuFault> {
    let (_, rest) = line.split_once("DMAR: [DMA ")?;
    let write = rest.starts_with("Write");
    if !write && !rest.starts_with("Read") {
        return None;
    }
    let (_, rest) = rest.split_once("Request device [")?;
    let (place, rest) = rest.split_once(']')?;
    // A place without a domain is in the first.
    let bdf = place.parse().or_else(|_| format!("0000:{place}").parse()).ok()?;
    let (_, rest) = rest.split_once("fault addr ")?;
    let digits = rest.trim_start_matches("0x");
    let digits = digits.split(|digit: char| !digit.is_ascii_hexdigit()).next()?;
    let iova = Iova(u64::from_str_radix(digits, 16).ok()?);
    Some(IommuFault { bdf, iova, write })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_kernel_are_read_and_others_are_not() {
        let line = "3,871,13661555,-;DMAR: [DMA Write NO_PASID] Request device [0000:03:00.0] fault addr 0x3ccd0000 \
                    [fault reason 0x05] PTE Write access is not set\n";
        let bdf = "0000:03:00.0".parse().unwrap();
        assert_eq!(fault(line), Some(IommuFault { bdf, iova: Iova(0x3ccd_0000), write: true }));
        let line = "DMAR: [DMA Read] Request device [03:00.0] PASID ffffffff fault addr fffff000 [fault reason 06] x";
        assert_eq!(fault(line), Some(IommuFault { bdf, iova: Iova(0xffff_f000), write: false }));
        for line in [
            "DMAR: DRHD: handling fault status reg 2",
            "DMAR: [INTR-REMAP] Request device [0000:03:00.0] fault index 0x10 [fault reason 0x22]",
            "DMAR: [DMA Write NO_PASID] Request device [0000:03:00.0] fault addr ",
            "DMAR: [DMA Write NO_PASID] Request device [",
            "",
        ] {
            assert_eq!(fault(line), None, "{line}");
        }
    }
}
