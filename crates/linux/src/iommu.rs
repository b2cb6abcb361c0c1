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
/// It understands the lines of Intel's IOMMU, of AMD's, and of Arm's SMMU version 3 where the kernel names the device
/// in them: older ones do not.
#[derive(Debug)]
pub struct FaultLog {
    file: File,
    reader: Reader,
}

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
        Ok(Self { file, reader: Reader::default() })
    }

    /// What was refused since this was last asked.
    pub fn take(&mut self) -> Vec<IommuFault> {
        let mut record = [0; RECORD];
        let mut faults = Vec::new();
        for _ in 0..MOST {
            match self.file.read(&mut record) {
                Ok(len) if len > 0 => {
                    let text = String::from_utf8_lossy(record.get(..len).unwrap_or_default());
                    faults.extend(self.reader.line(&text));
                }
                // Records were overwritten before they were read.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
                _ => break,
            }
        }
        faults
    }
}

/// Reads line by line.
#[derive(Debug, Default)]
struct Reader {
    /// What the first of an SMMU's two lines said: who, and the address.
    first: Option<(Bdf, Iova)>,
}

impl Reader {
    fn line(&mut self, line: &str) -> Option<IommuFault> {
        if let Some(fault) = intel(line).or_else(|| amd(line)) {
            return Some(fault);
        }
        // Other lines may come between the two.
        match (smmu(line), self.first, direction(line)) {
            (Some(first), _, _) => {
                self.first = Some(first);
                None
            }
            (None, Some((bdf, iova)), Some(write)) => {
                self.first = None;
                Some(IommuFault { bdf, iova, write })
            }
            _ => None,
        }
    }
}

/// A line of Intel's IOMMU (`dmar_fault_do_one()`, drivers/iommu/intel/dmar.c).
fn intel(line: &str) -> Option<IommuFault> {
    let (_, rest) = line.split_once("DMAR: [DMA ")?;
    let write = rest.starts_with("Write");
    if !write && !rest.starts_with("Read") {
        return None;
    }
    let (_, rest) = rest.split_once("Request device [")?;
    let (place, rest) = rest.split_once(']')?;
    Some(IommuFault { bdf: place_of(place)?, iova: Iova(number(rest, "fault addr ")?), write })
}

/// A line of AMD's (`amd_iommu_report_page_fault()`, drivers/iommu/amd/iommu.c): the device is before it, or in it if the
/// kernel knows none there.
fn amd(line: &str) -> Option<IommuFault> {
    /// `EVENT_FLAG_I` and `EVENT_FLAG_RW` (drivers/iommu/amd/amd_iommu_types.h): an interrupt; a write.
    const INTERRUPT: u64 = 0x008;
    const WRITE: u64 = 0x020;
    let (before, rest) = line.split_once("AMD-Vi: Event logged [IO_PAGE_FAULT ")?;
    let place = match rest.strip_prefix("device=") {
        Some(rest) => rest.split(' ').next()?,
        // The driver's name, the device, a colon.
        None => before.trim_end().strip_suffix(':')?.rsplit(' ').next()?,
    };
    let (iova, flags) = (Iova(number(rest, "address=")?), number(rest, "flags=")?);
    let fault = IommuFault { bdf: place_of(place)?, iova, write: flags & WRITE != 0 };
    (flags & INTERRUPT == 0).then_some(fault)
}

/// The first line of Arm's (`arm_smmu_dump_event()`, drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c).
fn smmu(line: &str) -> Option<(Bdf, Iova)> {
    let (_, rest) = line.split_once("event: F_")?;
    let (_, rest) = rest.split_once(" client: ")?;
    Some((place_of(rest.split(' ').next()?)?, Iova(number(rest, " iova: ")?)))
}

/// The second one: whether it was to write.
fn direction(line: &str) -> Option<bool> {
    let (_, rest) = line.split_once("priv data ")?;
    match rest.split(' ').next()? {
        "write" => Some(true),
        "read" => Some(false),
        _ => None,
    }
}

/// A place without a domain is in the first.
fn place_of(place: &str) -> Option<Bdf> {
    place.parse().or_else(|_| format!("0000:{place}").parse()).ok()
}

/// The hexadecimal number behind a word.
fn number(text: &str, word: &str) -> Option<u64> {
    let (_, rest) = text.split_once(word)?;
    let digits = rest.trim_start_matches("0x");
    u64::from_str_radix(digits.split(|digit: char| !digit.is_ascii_hexdigit()).next()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(lines: &[&str]) -> Vec<IommuFault> {
        let mut reader = Reader::default();
        lines.iter().filter_map(|line| reader.line(line)).collect()
    }

    fn one(bdf: &str, iova: u64, write: bool) -> Vec<IommuFault> {
        vec![IommuFault { bdf: bdf.parse().unwrap(), iova: Iova(iova), write }]
    }

    #[test]
    fn lines_of_intel_s_are_read_and_others_are_not() {
        let line = "3,871,13661555,-;DMAR: [DMA Write NO_PASID] Request device [0000:03:00.0] fault addr 0x3ccd0000 \
                    [fault reason 0x05] PTE Write access is not set\n";
        assert_eq!(faults(&[line]), one("0000:03:00.0", 0x3ccd_0000, true));
        let line = "DMAR: [DMA Read] Request device [03:00.0] PASID ffffffff fault addr fffff000 [fault reason 06] x";
        assert_eq!(faults(&[line]), one("0000:03:00.0", 0xffff_f000, false));
        for line in [
            "DMAR: DRHD: handling fault status reg 2",
            "DMAR: [INTR-REMAP] Request device [0000:03:00.0] fault index 0x10 [fault reason 0x22]",
            "DMAR: [DMA Write NO_PASID] Request device [0000:03:00.0] fault addr ",
            "DMAR: [DMA Write NO_PASID] Request device [",
            "",
        ] {
            assert_eq!(faults(&[line]), [], "{line}");
        }
    }

    #[test]
    fn lines_of_amd_s_are_read_and_others_are_not() {
        let line = "3,1020,2101,-;vfio-pci 0000:28:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0035 \
                    address=0x7fffff00000 flags=0x0000]\n SUBSYSTEM=pci\n DEVICE=+pci:0000:28:00.0\n";
        assert_eq!(faults(&[line]), one("0000:28:00.0", 0x7ff_fff0_0000, false));
        let line = "3,1,2,-;AMD-Vi: Event logged [IO_PAGE_FAULT device=0000:05:00.6 domain=0x0015 \
                    address=0x1fffff800 flags=0x0020]";
        assert_eq!(faults(&[line]), one("0000:05:00.6", 0x1_ffff_f800, true));
        for line in [
            // An interrupt; a device that is not said; other events.
            "nvme 0000:28:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0055 address=0xfffffffdf8000000 flags=0x0008]",
            "AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0055 address=0xfffffffdf8000000 flags=0x0000]",
            "AMD-Vi: Event logged [ILLEGAL_DEV_TABLE_ENTRY device=0000:28:00.0 pasid=0x00000 address=0x1000 flags=0x0000]",
            "nvme 0000:28:00.0: AMD-Vi: Event logged [IO_PAGE_FAULT domain=0x0055 address=0x1000",
        ] {
            assert_eq!(faults(&[line]), [], "{line}");
        }
    }

    #[test]
    fn pairs_of_lines_of_arm_s_are_read_and_others_are_not() {
        let first = "3,7,8,-;arm-smmu-v3 arm-smmu-v3.0.auto: event: F_TRANSLATION client: 0000:03:00.0 sid: 0x300 \
                     ssid: 0 iova: 0xdeadb000 ipa: 0";
        let write = "3,8,9,-;arm-smmu-v3 arm-smmu-v3.0.auto: unpriv data write s1 \"Input address caused fault\" stag: 0";
        let read = write.replace("data write", "data read");
        assert_eq!(faults(&[first, write]), one("0000:03:00.0", 0xdead_b000, true));
        assert_eq!(
            faults(&[first, "usb 1-1: new device", &read]),
            one("0000:03:00.0", 0xdead_b000, false)
        );
        assert_eq!(faults(&[first, write, write]).len(), 1);
        let nobody = first.replace("0000:03:00.0", "(unassigned sid)");
        assert_eq!(faults(&[&nobody, write]), []);
        assert_eq!(faults(&[write, first]), [], "the second line may come with the next look");
    }
}
