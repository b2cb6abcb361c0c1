//! Reason codes: why there is no peer-to-peer path, each with an explanation.

use std::fmt;
use std::str::FromStr;

use crate::suggest::nearest;

macro_rules! reasons {
    ($($name:ident $code:literal $summary:literal $explanation:literal)*) => {
        /// Why a transfer is not peer to peer, or not known to be.
        ///
        /// Codes are stable: they appear in messages, in JSON and on the command line
        /// (`p2pdma explain ACS-REDIR`).
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum ReasonCode {
            $(#[doc = $summary] $name,)*
        }

        impl ReasonCode {
            /// All codes, in the order of the documentation.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The code without its prefix: `ACS-REDIR`.
            #[must_use]
            pub const fn code(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)*
                }
            }

            /// What it means, in a line.
            #[must_use]
            pub const fn summary(self) -> &'static str {
                match self {
                    $(Self::$name => $summary,)*
                }
            }

            /// What it means, how it is found, and what helps: several lines.
            #[must_use]
            pub const fn explanation(self) -> &'static str {
                match self {
                    $(Self::$name => $explanation,)*
                }
            }
        }
    };
}

reasons! {
    AcsRedirect "ACS-REDIR"
"A port or function on the path has ACS redirection switched on, and the host bridge may not be used."
"The two functions share an upstream bridge, so a switch could pass requests
from one to the other. A bridge or function on the way has one of three ACS
controls set: P2P Request Redirect (ReqRedir), P2P Completion Redirect
(CmpltRedir) or P2P Egress Control (EgressCtrl). The kernel then counts on
traffic going up to the root complex, and needs its permission there too: an
AMD processor of the Zen family or later, or an entry in its list of host
bridges. Neither holds here.
The kernel looks at the functions themselves, at every bridge up to the common
one, and at the common one. That is stricter than the bus, where only the port
at which a request turns matters.
IOMMU drivers switch ACS on at boot for every port that has it: 'an IOMMU is
present' means redirection.
To change it now:   setpci -s BDF ECAP_ACS+6.w=0000:002c   (clears the three bits, until reboot)
To change it at boot:   pci=disable_acs_redir=PATH;PATH    (separated by ';', not by ',')
Either joins IOMMU groups: the devices below those ports are no longer isolated
from each other. The kernel remembers a verdict for each pair until the
provider's driver is unbound."

    RootNotAllowed "RC-NOT-ALLOWED"
"The functions share only their host bridge, and it is not on the kernel's list."
"The functions are below different root ports of one host bridge. PCI Express
does not demand that a root complex passes requests from one root port to
another; some refuse them, and some lose writes and return all ones for reads
without any error. The kernel therefore allows it only for AMD processors of
the Zen family or later, and for host bridges on its list. It recognises a host
bridge by the first device of its root bus, and only if that is device 00.0 or
a root port.
What helps: put both devices below one switch. Or, if a data probe of this very
path succeeds, allow the host bridge in a user list: that opens the paths which
this project drives itself, and changes nothing for the kernel."

    RootBlocked "RC-BLOCKED"
"A user's list blocks the host bridge, although the kernel would let traffic pass."
"The transfer would go through the root complex. The kernel allows that, by its
rule for AMD processors or by its list of host bridges, but a user's list says
that this host bridge loses or changes peer-to-peer data. The kernel does not
know that list: what it drives itself is not stopped by it.
What helps: put both devices below one switch; or, if the entry is out of date,
take it out of the list and probe the path with data."

    DifferentRoot "DIFF-ROOT"
"The functions are below different host bridges, and at least one of them does not allow that."
"Requests between host bridges cross the processor's own interconnect. The
kernel allows that for AMD processors of the Zen family or later; otherwise
both host bridges must be on its list, and neither entry may be limited to
pairs below one host bridge (as those of the older Xeon E5 and E7 are).
What helps: put both devices below one switch, or at least below one host
bridge that is on the list."

    NoPeerMemory "NO-P2PMEM"
"The provider has no memory that peers can use."
"A provider lends memory: a controller memory buffer (CMB) of an NVMe SSD, or
another BAR that its driver registered. The kernel shows it as
/sys/bus/pci/devices/BDF/p2pmem. For an NVMe CMB the directory is missing when
the controller has no CMB, when the CMB or its BAR is not aligned to 2 MiB, or
when the kernel was built without CONFIG_PCI_P2PDMA. A CMB that data cannot be
both read from and written to (CMBSZ.RDS and WDS) is there but not published.
The kernel has no support for persistent memory regions (PMR)."

    NoMover "NO-MOVER"
"Nobody starts requests: memory answers them, and bridges pass them on."
"Memory answers requests and starts none, and a bridge has none of its own.
Between two memories somebody else has to move the bytes: an SSD, a network
card, a data mover (DMA engine), or the processor.
What helps: copy by way of an SSD's namespace, or with --p2p=off by the
processor through host memory."

    PoolEmpty "POOL-EMPTY"
"The provider's memory is all in use."
"The pool has no free run of this length. See 'available' in
/sys/bus/pci/devices/BDF/p2pmem, which counts free bytes and not the longest
free run: an allocation is one contiguous run.
Submission queues that the NVMe driver places in its CMB take space; so do
other processes' mappings, until they unmap. An NVMe over Fabrics target falls
back to host memory here without a word."

    KernelConfig "KCONFIG"
"The kernel was built without peer-to-peer DMA."
"CONFIG_PCI_P2PDMA is off in this kernel. It needs a 64-bit architecture with
ZONE_DEVICE (x86-64, arm64, riscv64, ppc64, loongarch, s390). Debian's kernels
have it from 7.3 for x86-64 and arm64; those for riscv64 do not, and neither
did 6.12. The NVMe driver then says 'failed to register the CMB'."

    KernelVersion "KVER"
"The kernel is too old for this way of peer-to-peer transfer."
"User-space peer-to-peer memory (p2pmem/allocate in sysfs) came with Linux 6.2.
Exporting a slice of a BAR as dma-buf from vfio came with 6.19. The list of
host bridges grows with every release: compare it with the version in which the
entry appeared."

    NvmeMultipath "NVME-MULTIPATH"
"The transfer goes through an NVMe multipath head, whose path may change."
"The block device /dev/nvmeXnY is then a multipath head above several
controllers. It carries peer-to-peer I/O, contrary to what some guides say
(shown on Linux 7.3), but each I/O may take another controller: every path has
to reach the provider, not only the one in use now."

    NotNvmePci "NOT-NVME-PCI"
"The block device is not an NVMe controller on PCI Express."
"Peer-to-peer I/O needs a driver that maps peer memory for its own DMA. Of the
block drivers only NVMe on PCI Express does. A namespace over TCP or RDMA, a
SATA disk, virtio or loop device does not: O_DIRECT I/O fails with EREMOTEIO,
and buffered I/O succeeds by a copy in the processor, which is not peer to
peer."

    FileSystem "FS"
"The file system puts its own copy between the file and the device."
"ext4 and xfs pass O_DIRECT I/O on peer memory to the device. btrfs with
checksums, and ext4 with journalled or inline data, fall back to buffered I/O
without a word: the full count comes back, and the data went through host
memory. xfs on a device with protection information bounces writes and fails
reads. Reading a hole is answered by the processor."

    Md "MD"
"The block device is an md array of a level that does not carry peer-to-peer I/O."
"raid0, raid1 and raid10 pass peer memory on, reading and writing. Levels with
parity compute over the data in the processor and do not. Each member disk has
to reach the provider: raid1 and raid10 report a write from memory that a member
does not reach as done, and nothing is written there."

    Dm "DM"
"The block device is made by device mapper."
"No device-mapper target carries peer-to-peer I/O: LVM, dm-crypt, dm-multipath
and the rest answer O_DIRECT I/O on peer memory with EREMOTEIO. NVMe's own
multipath and md raid0, raid1 or raid10 do carry it."

    Iommu "IOMMU"
"An IOMMU stands in the way, or is passed by."
"Between functions below one switch the device is programmed with the bus
address of the memory, and requests turn in the switch: the IOMMU neither
translates nor checks them. On real hardware that is intended: functions that
reach each other are in one IOMMU group. Under QEMU it is fatal (DATA-LOST)."

    BarSmall "BAR-SMALL"
"The window onto the device's memory is smaller than the memory."
"A peer reaches what the BAR decodes. Accelerators often expose 256 MiB of many
GiB until the BAR is resized: enable 'above 4G decoding' and 'resizable BAR' in
the firmware, or resize it in sysfs (/sys/bus/pci/devices/BDF/resourceN_resize)
while no driver is bound."

    CmbAlign "CMB-ALIGN"
"The controller memory buffer is not aligned to 2 MiB, so the kernel ignores it."
"The kernel maps peer memory in sections of 2 MiB. A CMB whose size, or whose
address in its BAR, is no multiple of that is skipped by the NVMe driver
without a message. The sizes are the controller's (CMBSZ, CMBLOC); some
firmware lets them be configured."

    BusMasterOff "BME-OFF"
"The client's bus master enable is off: it cannot start a request."
"Bit 2 of the Command register (PCIe 6.0 §7.5.1.1.3) is clear. Drivers set it
when they bind; a function without a driver, or one that was reset behind its
driver's back, has it clear. Bridges need it too, to pass requests upstream."

    MemoryOff "MEM-OFF"
"The provider's memory space enable is off: nobody can reach its memory."
"Bit 1 of the Command register (PCIe 6.0 §7.5.1.1.3) is clear on the provider or
on a bridge above it. Writes to its memory are then lost while their
completions still say OK, and reads return all ones."

    LinkDown "LINK-DOWN"
"A link on the path is down, or slower than it could be."
"Down: the device does not answer. It is not powered, in reset, removed, or its
link did not train; requests end as unsupported requests or completion timeouts.
Slower: the link trained to a lower speed or fewer lanes than both ends can have.
Data are right, and take longer: reseat the card, or look at riser and retimer."

    Permission "PERM"
"This process may not do that."
"Peer memory in sysfs (p2pmem/allocate) and block devices are root's; ACS
registers lie in extended configuration space, which only root may read; vfio
needs access to /dev/vfio/GROUP and enough locked memory. Nothing here asks for
set-uid."

    BoundElsewhere "BOUND-ELSEWHERE"
"The function is bound to another driver."
"Peer memory of an NVMe SSD exists while the kernel's nvme driver is bound; a
user-space driver needs the function bound to vfio-pci. One of them holds it at
a time: the link /sys/bus/pci/devices/BDF/driver shows which."

    CxlCoherence "CXL-COHERENCE"
"The access would not be coherent with the processors' caches."
"Memory of a CXL device may be cached by a host. A peer that writes it with
ordinary PCI Express requests leaves stale lines there, unless it uses
unordered I/O (UIO) and the memory device takes back the lines with back-
invalidate, both of CXL 3.0. Without these the transfer is refused, for the
data would be wrong with status OK."

    VfioNoDmabuf "VFIO-NO-DMABUF"
"The memory behind vfio cannot be handed to the other driver."
"vfio exports a slice of a BAR as dma-buf from Linux 6.19 on
(CONFIG_VFIO_PCI_DMABUF), but the receiving driver must be able to import it,
and hardly any does yet. Both functions under vfio in one container work
without: there one BAR is mapped for the other, and no kernel code checks
whether the path exists."

    DataLost "DATA-LOST"
"Data on this path are lost or changed, although every command reports success."
"A probe of the path found that, or the path is of a kind that is known for it.
Root complexes that drop peer writes do it. So does QEMU with a translating
IOMMU: its switches turn nothing, so a request with a bus address reaches the
IOMMU, which knows no such address; pairs that go through the host bridge are
well there (recorded with Linux 7.3).
What helps under QEMU: boot with iommu=pt, or without the emulated IOMMU. A
root complex that drops data stays refused until a probe succeeds."

    UnknownNeedRoot "UNKNOWN-NEED-ROOT"
"Whether there is a path is not known, because something could not be read."
"The answer depends on registers that could not be read: most often the ACS
control word, which lies in extended configuration space, where only root may
read. It is not 'no'. Run the command as root, or give it a capture that was
taken as root."
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "P2P-{}", self.code())
    }
}

/// A text that is no [`ReasonCode`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ParseReasonError {
    text: String,
    /// The code that was probably meant.
    pub suggestion: Option<ReasonCode>,
}

impl fmt::Display for ParseReasonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is no reason code", self.text)?;
        match self.suggestion {
            Some(code) => write!(f, "; did you mean {code}?"),
            None => f.write_str("; 'p2pdma explain' without a code lists them all"),
        }
    }
}

impl FromStr for ReasonCode {
    type Err = ParseReasonError;

    /// Reads a code with or without `P2P-`, in any case.
    fn from_str(text: &str) -> Result<Self, ParseReasonError> {
        let upper = text.trim().to_ascii_uppercase().replace('_', "-");
        let bare = upper.strip_prefix("P2P-").unwrap_or(&upper);
        if let Some(&code) = Self::ALL.iter().find(|code| code.code() == bare) {
            return Ok(code);
        }
        let close = nearest(bare, Self::ALL.iter().map(|code| code.code()));
        Err(ParseReasonError {
            text: text.to_owned(),
            suggestion: close
                .and_then(|name| Self::ALL.iter().find(|code| code.code() == name).copied()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_in_any_spelling_and_explained() {
        let distinct: std::collections::BTreeSet<_> =
            ReasonCode::ALL.iter().map(|code| code.code()).collect();
        assert_eq!(distinct.len(), ReasonCode::ALL.len());
        for &code in ReasonCode::ALL {
            let printed = code.to_string();
            assert_eq!(printed.parse::<ReasonCode>().unwrap(), code);
            assert_eq!(printed.to_lowercase().parse::<ReasonCode>().unwrap(), code);
            assert_eq!(code.code().replace('-', "_").parse::<ReasonCode>().unwrap(), code);
            assert!(code.summary().ends_with('.') && code.summary().len() < 110);
            assert!(code.explanation().lines().count() >= 2, "{code}");
            assert!(code.explanation().ends_with(['.', '"']), "{code}");
        }
    }

    #[test]
    fn a_miss_suggests_the_nearest() {
        let miss = |text: &str| text.parse::<ReasonCode>().unwrap_err();
        assert_eq!(miss("P2P-ACS-REDIRECT").suggestion, Some(ReasonCode::AcsRedirect));
        assert_eq!(miss("root-not-allowed").suggestion, Some(ReasonCode::RootNotAllowed));
        assert_eq!(miss("elephant").suggestion, None);
        assert_eq!(miss("KVERS").to_string(), "'KVERS' is no reason code; did you mean P2P-KVER?");
    }
}
