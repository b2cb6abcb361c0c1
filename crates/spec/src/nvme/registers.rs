//! Controller registers, which the specification calls properties (NVMe Base 2.1 §3.1.4).
//!
//! Those of the Controller Memory Buffer are in [`cmb`](super::cmb), those of the Persistent Memory
//! Region in [`pmr`](super::pmr).

use bitfield_struct::bitfield;

/// Offsets in bytes within the memory that BAR 0 decodes (NVMe Base 2.1 §3.1.4, Figure 33).
pub mod offset {
    /// [`Cap`](super::Cap), 64 bits.
    pub const CAP: u64 = 0x00;
    /// [`Vs`](super::Vs), 32 bits.
    pub const VS: u64 = 0x08;
    /// INTMS, Interrupt Mask Set, 32 bits; not used with MSI-X.
    pub const INTMS: u64 = 0x0C;
    /// INTMC, Interrupt Mask Clear, 32 bits; not used with MSI-X.
    pub const INTMC: u64 = 0x10;
    /// [`Cc`](super::Cc), 32 bits.
    pub const CC: u64 = 0x14;
    /// [`Csts`](super::Csts), 32 bits.
    pub const CSTS: u64 = 0x1C;
    /// NSSR, NVM Subsystem Reset, 32 bits: writing [`NSSR_RESET`](super::NSSR_RESET) resets.
    pub const NSSR: u64 = 0x20;
    /// [`Aqa`](super::Aqa), 32 bits.
    pub const AQA: u64 = 0x24;
    /// ASQ, Admin Submission Queue Base Address, 64 bits; bits 11 to 0 are reserved.
    pub const ASQ: u64 = 0x28;
    /// ACQ, Admin Completion Queue Base Address, 64 bits; bits 11 to 0 are reserved.
    pub const ACQ: u64 = 0x30;
    /// [`Cmbloc`](crate::nvme::cmb::Cmbloc), 32 bits.
    pub const CMBLOC: u64 = 0x38;
    /// [`Cmbsz`](crate::nvme::cmb::Cmbsz), 32 bits.
    pub const CMBSZ: u64 = 0x3C;
    /// [`Bpinfo`](super::Bpinfo), 32 bits.
    pub const BPINFO: u64 = 0x40;
    /// [`Bprsel`](super::Bprsel), 32 bits.
    pub const BPRSEL: u64 = 0x44;
    /// BPMBL, Boot Partition Memory Buffer Location, 64 bits; bits 11 to 0 are reserved.
    pub const BPMBL: u64 = 0x48;
    /// [`Cmbmsc`](crate::nvme::cmb::Cmbmsc), 64 bits.
    pub const CMBMSC: u64 = 0x50;
    /// [`Cmbsts`](crate::nvme::cmb::Cmbsts), 32 bits.
    pub const CMBSTS: u64 = 0x58;
    /// [`Cmbebs`](crate::nvme::cmb::Cmbebs), 32 bits.
    pub const CMBEBS: u64 = 0x5C;
    /// [`Cmbswtp`](crate::nvme::cmb::Cmbswtp), 32 bits.
    pub const CMBSWTP: u64 = 0x60;
    /// NSSD, NVM Subsystem Shutdown, 32 bits: takes [`NSSD_NORMAL`](super::NSSD_NORMAL) or
    /// [`NSSD_ABRUPT`](super::NSSD_ABRUPT).
    pub const NSSD: u64 = 0x64;
    /// [`Crto`](super::Crto), 32 bits.
    pub const CRTO: u64 = 0x68;
    /// [`Pmrcap`](crate::nvme::pmr::Pmrcap), 32 bits.
    pub const PMRCAP: u64 = 0xE00;
    /// [`Pmrctl`](crate::nvme::pmr::Pmrctl), 32 bits.
    pub const PMRCTL: u64 = 0xE04;
    /// [`Pmrsts`](crate::nvme::pmr::Pmrsts), 32 bits.
    pub const PMRSTS: u64 = 0xE08;
    /// [`Pmrebs`](crate::nvme::pmr::Pmrebs), 32 bits.
    pub const PMREBS: u64 = 0xE0C;
    /// [`Pmrswtp`](crate::nvme::pmr::Pmrswtp), 32 bits.
    pub const PMRSWTP: u64 = 0xE10;
    /// [`Pmrmscl`](crate::nvme::pmr::Pmrmscl), 32 bits.
    pub const PMRMSCL: u64 = 0xE14;
    /// PMRMSCU, bits 63 to 32 of the Persistent Memory Region's controller base address.
    pub const PMRMSCU: u64 = 0xE18;
    /// The first doorbell: the Admin Submission Queue's tail (NVMe over PCIe 1.1 §3.1.2.1).
    pub const DOORBELLS: u64 = 0x1000;
}

/// The value of NSSR that resets the NVM subsystem: "NVMe" (NVMe Base 2.1 §3.1.4.7).
pub const NSSR_RESET: u32 = 0x4E56_4D65;
/// The value of NSSD that starts a normal shutdown: "Nrml" (NVMe Base 2.1 §3.1.4.20).
pub const NSSD_NORMAL: u32 = 0x4E72_6D6C;
/// The value of NSSD that starts an abrupt shutdown: "Abpt" (NVMe Base 2.1 §3.1.4.20).
pub const NSSD_ABRUPT: u32 = 0x4162_7074;

/// Offset in bytes of the tail doorbell of a submission queue; `dstrd` is [`Cap::dstrd`]
/// (NVMe over PCIe 1.1 §3.1.2.1).
#[inline]
#[must_use]
pub const fn submission_doorbell(qid: u16, dstrd: u8) -> u64 {
    offset::DOORBELLS + qid as u64 * 2 * doorbell_stride(dstrd)
}

/// Offset in bytes of the head doorbell of a completion queue; `dstrd` is [`Cap::dstrd`]
/// (NVMe over PCIe 1.1 §3.1.2.2).
#[inline]
#[must_use]
pub const fn completion_doorbell(qid: u16, dstrd: u8) -> u64 {
    offset::DOORBELLS + (qid as u64 * 2 + 1) * doorbell_stride(dstrd)
}

/// Bytes from one doorbell to the next: 4 to 128 KiB. Only the low 4 bits of `dstrd` count.
#[inline]
#[must_use]
pub const fn doorbell_stride(dstrd: u8) -> u64 {
    4 << (dstrd & 0xF)
}

/// A doorbell as found from its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doorbell {
    /// The tail of a submission queue.
    SubmissionTail {
        /// Queue identifier.
        qid: u16,
    },
    /// The head of a completion queue.
    CompletionHead {
        /// Queue identifier.
        qid: u16,
    },
}

impl Doorbell {
    /// The doorbell at an offset in bytes; `None` if none begins there.
    #[inline]
    #[must_use]
    pub const fn at(offset: u64, dstrd: u8) -> Option<Self> {
        let stride = doorbell_stride(dstrd);
        let Some(distance) = offset.checked_sub(offset::DOORBELLS) else {
            return None;
        };
        let index = distance / stride;
        if !distance.is_multiple_of(stride) || index / 2 > u16::MAX as u64 {
            return None;
        }
        let [low, high, ..] = (index / 2).to_le_bytes();
        let qid = u16::from_le_bytes([low, high]);
        Some(if index.is_multiple_of(2) {
            Self::SubmissionTail { qid }
        } else {
            Self::CompletionHead { qid }
        })
    }
}

open_enum! {
    /// Who is powered off together with the controller (CAP.CPS).
    pub struct PowerScope: u8 {
        NOT_REPORTED = 0 => "not reported",
        CONTROLLER = 1 => "controller",
        DOMAIN = 2 => "domain",
        SUBSYSTEM = 3 => "NVM subsystem",
    }
}

/// CAP, Controller Capabilities (NVMe Base 2.1 §3.1.4.1).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Cap {
    /// Maximum Queue Entries Supported, minus 1; at least 1.
    pub mqes_z: u16,
    /// Contiguous Queues Required: I/O queues have to be physically contiguous.
    pub cqr: bool,
    /// Arbitration Mechanism Supported: weighted round robin with urgent priority class.
    pub ams_weighted_round_robin: bool,
    /// Arbitration Mechanism Supported: vendor specific.
    pub ams_vendor: bool,
    #[bits(5)]
    __: u8,
    /// Timeout: the longest that CSTS.RDY may take, in units of 500 ms.
    pub to: u8,
    /// Doorbell Stride: 2 to the power of (2 + DSTRD) bytes.
    #[bits(4)]
    pub dstrd: u8,
    /// NVM Subsystem Reset Supported.
    pub nssrs: bool,
    /// Command Sets Supported: the NVM Command Set (NCSS).
    pub css_nvm: bool,
    #[bits(5)]
    __: u8,
    /// Command Sets Supported: one or more I/O Command Sets, with the data structure that lists them
    /// (IOCSS).
    pub css_io_command_sets: bool,
    /// Command Sets Supported: no I/O Command Set, only admin commands (NOIOCSS).
    pub css_admin_only: bool,
    /// Boot Partition Support.
    pub bps: bool,
    /// Controller Power Scope.
    #[bits(2)]
    pub cps: PowerScope,
    /// Memory Page Size Minimum: 2 to the power of (12 + MPSMIN) bytes.
    #[bits(4)]
    pub mpsmin: u8,
    /// Memory Page Size Maximum: 2 to the power of (12 + MPSMAX) bytes.
    #[bits(4)]
    pub mpsmax: u8,
    /// Persistent Memory Region Supported.
    pub pmrs: bool,
    /// Controller Memory Buffer Supported: CMBLOC and CMBSZ read as zero until CMBMSC.CRE is set.
    pub cmbs: bool,
    /// NVM Subsystem Shutdown Supported.
    pub nsss: bool,
    /// Controller Ready With Media Support (CRMS bit 0).
    pub crwms: bool,
    /// Controller Ready Independent of Media Support (CRMS bit 1).
    pub crims: bool,
    /// NVM Subsystem Shutdown Enhancements Supported.
    pub nsses: bool,
    #[bits(2)]
    __: u8,
}

impl Cap {
    /// The most entries that an I/O queue can have: 2 to 65536.
    #[must_use]
    pub const fn max_queue_entries(self) -> u32 {
        self.mqes_z() as u32 + 1
    }

    /// The smallest memory page in bytes: 4096 and up.
    #[must_use]
    pub const fn min_page_size(self) -> u64 {
        4096 << self.mpsmin()
    }

    /// The largest memory page in bytes.
    #[must_use]
    pub const fn max_page_size(self) -> u64 {
        4096 << self.mpsmax()
    }

    /// The longest that CSTS.RDY may take, in milliseconds, where CRTO does not say otherwise.
    #[must_use]
    pub const fn timeout_ms(self) -> u32 {
        self.to() as u32 * 500
    }
}
display_words!(Cap {
    "MQES" => (mqes_z), "CQR" => (cqr), "AMS.WRR" => (ams_weighted_round_robin),
    "AMS.VS" => (ams_vendor), "TO" => (to), "DSTRD" => (dstrd), "NSSRS" => (nssrs),
    "CSS.NVM" => (css_nvm), "CSS.IO" => (css_io_command_sets), "CSS.NoIO" => (css_admin_only),
    "BPS" => (bps), "CPS" => (cps), "MPSMIN" => (mpsmin), "MPSMAX" => (mpsmax), "PMRS" => (pmrs),
    "CMBS" => (cmbs), "NSSS" => (nsss), "CRWMS" => (crwms), "CRIMS" => (crims), "NSSES" => (nsses),
});

/// VS, Version: a specification version descriptor (NVMe Base 2.1 §3.1.4.2).
#[bitfield(u32)]
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub struct Vs {
    /// Tertiary version (TER).
    pub ter: u8,
    /// Minor version (MNR).
    pub mnr: u8,
    /// Major version (MJR).
    pub mjr: u16,
}

impl Vs {
    /// Version 2.1.
    pub const V2_1: Self = Self::new().with_mjr(2).with_mnr(1);
}

impl core::fmt::Display for Vs {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.mjr(), self.mnr())?;
        if self.ter() > 0 {
            write!(f, ".{}", self.ter())?;
        }
        Ok(())
    }
}

open_enum! {
    /// I/O Command Set Selected (CC.CSS).
    pub struct CommandSetSelection: u8 {
        NVM = 0b000 => "NVM Command Set",
        ALL_SUPPORTED = 0b110 => "All Supported I/O Command Sets",
        ADMIN_ONLY = 0b111 => "Admin Command Set only",
    }
}

open_enum! {
    /// Arbitration Mechanism Selected (CC.AMS; NVMe Base 2.1 §3.4.4).
    pub struct Arbitration: u8 {
        ROUND_ROBIN = 0b000 => "Round Robin",
        WEIGHTED_ROUND_ROBIN = 0b001 => "Weighted Round Robin with Urgent Priority Class",
        VENDOR_SPECIFIC = 0b111 => "Vendor Specific",
    }
}

open_enum! {
    /// Shutdown Notification (CC.SHN).
    pub struct ShutdownNotification: u8 {
        NONE = 0 => "No notification",
        NORMAL = 1 => "Normal shutdown",
        ABRUPT = 2 => "Abrupt shutdown",
    }
}

/// CC, Controller Configuration (NVMe Base 2.1 §3.1.4.5).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cc {
    /// Enable. Clearing it is a Controller Reset.
    pub en: bool,
    #[bits(3)]
    __: u8,
    /// I/O Command Set Selected.
    #[bits(3)]
    pub css: CommandSetSelection,
    /// Memory Page Size: 2 to the power of (12 + MPS) bytes.
    #[bits(4)]
    pub mps: u8,
    /// Arbitration Mechanism Selected.
    #[bits(3)]
    pub ams: Arbitration,
    /// Shutdown Notification.
    #[bits(2)]
    pub shn: ShutdownNotification,
    /// I/O Submission Queue Entry Size: 2 to the power of it in bytes; 6 for the NVM Command Set.
    #[bits(4)]
    pub iosqes: u8,
    /// I/O Completion Queue Entry Size: 2 to the power of it in bytes; 4 for the NVM Command Set.
    #[bits(4)]
    pub iocqes: u8,
    /// Controller Ready Independent of Media Enable.
    pub crime: bool,
    #[bits(7)]
    __: u8,
}

impl Cc {
    /// The memory page size in bytes: 4096 to 128 MiB.
    #[must_use]
    pub const fn page_size(self) -> u64 {
        4096 << self.mps()
    }
}
display_words!(Cc {
    "EN" => (en), "CSS" => (css), "MPS" => (mps), "AMS" => (ams), "SHN" => (shn),
    "IOSQES" => (iosqes), "IOCQES" => (iocqes), "CRIME" => (crime),
});

open_enum! {
    /// Shutdown Status (CSTS.SHST).
    pub struct ShutdownStatus: u8 {
        NORMAL_OPERATION = 0 => "Normal operation",
        OCCURRING = 1 => "Shutdown processing occurring",
        COMPLETE = 2 => "Shutdown processing complete",
    }
}

/// CSTS, Controller Status (NVMe Base 2.1 §3.1.4.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Csts {
    /// Ready: commands are processed.
    pub rdy: bool,
    /// Controller Fatal Status.
    pub cfs: bool,
    /// Shutdown Status.
    #[bits(2)]
    pub shst: ShutdownStatus,
    /// NVM Subsystem Reset Occurred, cleared by writing 1.
    pub nssro: bool,
    /// Processing Paused.
    pub pp: bool,
    /// Shutdown Type: SHST is about an NVM Subsystem Shutdown.
    pub st: bool,
    #[bits(25)]
    __: u32,
}

impl Csts {
    /// What a read returns when the function no longer answers.
    pub const GONE: Self = Self::from_bits(u32::MAX);
}
display_words!(Csts {
    "RDY" => (rdy), "CFS" => (cfs), "SHST" => (shst), "NSSRO" => (nssro), "PP" => (pp), "ST" => (st),
});

/// AQA, Admin Queue Attributes (NVMe Base 2.1 §3.1.4.8).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Aqa {
    /// Admin Submission Queue Size in entries, minus 1; at least 1.
    #[bits(12)]
    pub asqs_z: u16,
    #[bits(4)]
    __: u8,
    /// Admin Completion Queue Size in entries, minus 1; at least 1.
    #[bits(12)]
    pub acqs_z: u16,
    #[bits(4)]
    __: u8,
}
display_words!(Aqa { "ASQS" => (asqs_z), "ACQS" => (acqs_z) });

/// CRTO, Controller Ready Timeouts (NVMe Base 2.1 §3.1.4.21), in units of 500 ms.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Crto {
    /// Controller Ready With Media Timeout.
    pub crwmt: u16,
    /// Controller Ready Independent of Media Timeout.
    pub crimt: u16,
}
display_words!(Crto { "CRWMT" => (crwmt), "CRIMT" => (crimt) });

open_enum! {
    /// Boot Read Status (BPINFO.BRS).
    pub struct BootReadStatus: u8 {
        NONE = 0 => "No Boot Partition read operation requested",
        IN_PROGRESS = 1 => "Boot Partition read in progress",
        SUCCESS = 2 => "Boot Partition read completed successfully",
        ERROR = 3 => "Error completing Boot Partition read",
    }
}

/// BPINFO, Boot Partition Information (NVMe Base 2.1 §3.1.4.13).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Bpinfo {
    /// Boot Partition Size in units of 128 KiB.
    #[bits(15)]
    pub bpsz: u16,
    #[bits(9)]
    __: u16,
    /// Boot Read Status.
    #[bits(2)]
    pub brs: BootReadStatus,
    #[bits(5)]
    __: u8,
    /// Active Boot Partition ID.
    pub abpid: bool,
}
display_words!(Bpinfo { "BPSZ" => (bpsz), "BRS" => (brs), "ABPID" => (abpid) });

/// BPRSEL, Boot Partition Read Select (NVMe Base 2.1 §3.1.4.14).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Bprsel {
    /// Boot Partition Read Size in units of 4 KiB.
    #[bits(10)]
    pub bprsz: u16,
    /// Boot Partition Read Offset in units of 4 KiB.
    #[bits(20)]
    pub bprof: u32,
    __: bool,
    /// Boot Partition Identifier.
    pub bpid: bool,
}
display_words!(Bprsel { "BPRSZ" => (bprsz), "BPROF" => (bprof), "BPID" => (bpid) });

#[cfg(test)]
mod tests;
