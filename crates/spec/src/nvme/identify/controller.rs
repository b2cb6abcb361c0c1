//! The Identify Controller data structure (NVMe Base 2.1 §5.1.13.2.1, Figure 312).

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32, U128};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{
    Anacap, Apsta, Bpcap, Cdfs, Cmic, ControllerType, Crcap, Ctratt, DiscoveryControllerType, Dsto,
    Fcatt, Fna, Frmw, Fuses, Hctma, Kpioc, Lpa, Mec, Nvmsr, Nwpc, Oacs, Oaes, Ofcs, Oncs, Plsi,
    PowerStateDescriptor, QueueEntrySizes, Rpmbs, Sanicap, Sgls, Tmpthha, Trattr,
    VendorSpecificCommands, Vwc, Vwci,
};
use crate::le::{Le16, Le32};
use crate::nvme::registers::Vs;
use crate::nvme::temperature::Kelvin;
use crate::opaque::Opaque;
use crate::text::{Ascii, Nqn};

/// Identify Controller, CNS 01h: 4096 bytes.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Default,
    FromBytes,
    IntoBytes,
    Immutable,
    KnownLayout,
    Unaligned,
)]
#[repr(C)]
pub struct IdentifyController {
    /// PCI Vendor ID.
    pub vid: U16,
    /// PCI Subsystem Vendor ID.
    pub ssvid: U16,
    /// Serial Number.
    pub sn: Ascii<20>,
    /// Model Number.
    pub mn: Ascii<40>,
    /// Firmware Revision.
    pub fr: Ascii<8>,
    /// Recommended Arbitration Burst: commands, as a power of two.
    pub rab: u8,
    /// IEEE OUI Identifier, least significant byte first.
    pub ieee: [u8; 3],
    /// Multi-path and sharing capabilities.
    pub cmic: Cmic,
    /// Maximum Data Transfer Size: a power of two in units of CAP.MPSMIN, 0 for no limit.
    pub mdts: u8,
    /// Controller ID.
    pub cntlid: U16,
    /// Version.
    pub ver: Le32<Vs>,
    /// RTD3 Resume Latency in microseconds, 0 if not reported.
    pub rtd3r: U32,
    /// RTD3 Entry Latency in microseconds, 0 if not reported.
    pub rtd3e: U32,
    /// Optional Asynchronous Events Supported.
    pub oaes: Le32<Oaes>,
    /// Controller Attributes.
    pub ctratt: Le32<Ctratt>,
    /// Read Recovery Levels Supported: a bit for each level.
    pub rrls: U16,
    /// Boot Partition Capabilities.
    pub bpcap: Bpcap,
    /// Reserved.
    pub reserved103: u8,
    /// NVM Subsystem Shutdown Latency in microseconds, 0 if not reported.
    pub nssl: U32,
    /// Reserved.
    pub reserved108: Opaque<2>,
    /// Power Loss Signaling Information.
    pub plsi: Plsi,
    /// Controller Type.
    pub cntrltype: ControllerType,
    /// FRU Globally Unique Identifier, most significant byte first.
    pub fguid: [u8; 16],
    /// Command Retry Delay Times 1 to 3, in units of 100 milliseconds.
    pub crdt: [U16; 3],
    /// Controller Reachability Capabilities.
    pub crcap: Crcap,
    /// Reserved.
    pub reserved135: Opaque<105>,
    /// Reserved for the NVMe Management Interface.
    pub reserved240: Opaque<13>,
    /// NVM Subsystem Report.
    pub nvmsr: Nvmsr,
    /// VPD Write Cycle Information.
    pub vwci: Vwci,
    /// Management Endpoint Capabilities.
    pub mec: Mec,
    /// Optional Admin Command Support.
    pub oacs: Le16<Oacs>,
    /// Abort Command Limit, minus 1.
    pub acl_z: u8,
    /// Asynchronous Event Request Limit, minus 1.
    pub aerl_z: u8,
    /// Firmware Updates.
    pub frmw: Frmw,
    /// Log Page Attributes.
    pub lpa: Lpa,
    /// Error Log Page Entries, minus 1.
    pub elpe_z: u8,
    /// Number of Power States Support, minus 1.
    pub npss_z: u8,
    /// Admin Vendor Specific Command Configuration.
    pub avscc: VendorSpecificCommands,
    /// Autonomous Power State Transition Attributes.
    pub apsta: Apsta,
    /// Warning Composite Temperature Threshold.
    pub wctemp: Le16<Kelvin>,
    /// Critical Composite Temperature Threshold.
    pub cctemp: Le16<Kelvin>,
    /// Maximum Time for Firmware Activation in units of 100 milliseconds.
    pub mtfa: U16,
    /// Host Memory Buffer Preferred Size in units of 4 KiB.
    pub hmpre: U32,
    /// Host Memory Buffer Minimum Size in units of 4 KiB.
    pub hmmin: U32,
    /// Total NVM Capacity in bytes.
    pub tnvmcap: U128,
    /// Unallocated NVM Capacity in bytes.
    pub unvmcap: U128,
    /// Replay Protected Memory Block Support.
    pub rpmbs: Le32<Rpmbs>,
    /// Extended Device Self-test Time in minutes.
    pub edstt: U16,
    /// Device Self-test Options.
    pub dsto: Dsto,
    /// Firmware Update Granularity in units of 4 KiB; 0 if not reported, FFh for any.
    pub fwug: u8,
    /// Keep Alive Support: granularity of the timer in units of 100 milliseconds, 0 for no support.
    pub kas: U16,
    /// Host Controlled Thermal Management Attributes.
    pub hctma: Le16<Hctma>,
    /// Minimum Thermal Management Temperature.
    pub mntmt: Le16<Kelvin>,
    /// Maximum Thermal Management Temperature.
    pub mxtmt: Le16<Kelvin>,
    /// Sanitize Capabilities.
    pub sanicap: Le32<Sanicap>,
    /// Host Memory Buffer Minimum Descriptor Entry Size in units of 4 KiB.
    pub hmminds: U32,
    /// Host Memory Maximum Descriptors Entries.
    pub hmmaxd: U16,
    /// NVM Set Identifier Maximum.
    pub nsetidmax: U16,
    /// Endurance Group Identifier Maximum.
    pub endgidmax: U16,
    /// ANA Transition Time in seconds.
    pub anatt: u8,
    /// Asymmetric Namespace Access Capabilities.
    pub anacap: Anacap,
    /// ANA Group Identifier Maximum.
    pub anagrpmax: U32,
    /// Number of ANA Group Identifiers.
    pub nanagrpid: U32,
    /// Persistent Event Log Size in units of 64 KiB.
    pub pels: U32,
    /// Domain Identifier.
    pub did: U16,
    /// Key Per I/O Capabilities.
    pub kpioc: Kpioc,
    /// Reserved.
    pub reserved359: u8,
    /// Maximum Processing Time for Firmware Activation Without Reset in units of 100 milliseconds.
    pub mptfawr: U16,
    /// Reserved.
    pub reserved362: Opaque<6>,
    /// Max Endurance Group Capacity in bytes.
    pub megcap: U128,
    /// Temperature Threshold Hysteresis Attributes.
    pub tmpthha: Tmpthha,
    /// Reserved.
    pub reserved385: u8,
    /// Command Quiesce Time in milliseconds.
    pub cqt: U16,
    /// Reserved.
    pub reserved388: Opaque<124>,
    /// Submission Queue Entry Size.
    pub sqes: QueueEntrySizes,
    /// Completion Queue Entry Size.
    pub cqes: QueueEntrySizes,
    /// Maximum Outstanding Commands, 0 if not reported.
    pub maxcmd: U16,
    /// Number of Namespaces: the largest valid NSID.
    pub nn: U32,
    /// Optional NVM Command Support.
    pub oncs: Le16<Oncs>,
    /// Fused Operation Support.
    pub fuses: Le16<Fuses>,
    /// Format NVM Attributes.
    pub fna: Fna,
    /// Volatile Write Cache.
    pub vwc: Vwc,
    /// Atomic Write Unit Normal in logical blocks, minus 1.
    pub awun_z: U16,
    /// Atomic Write Unit Power Fail in logical blocks, minus 1.
    pub awupf_z: U16,
    /// I/O Command Set Vendor Specific Command Configuration.
    pub icsvscc: VendorSpecificCommands,
    /// Namespace Write Protection Capabilities.
    pub nwpc: Nwpc,
    /// Atomic Compare & Write Unit in logical blocks, minus 1.
    pub acwu_z: U16,
    /// Copy Descriptor Formats Supported.
    pub cdfs: Le16<Cdfs>,
    /// SGL Support.
    pub sgls: Le32<Sgls>,
    /// Maximum Number of Allowed Namespaces, 0 if not reported.
    pub mnan: U32,
    /// Maximum Domain Namespace Attachments.
    pub maxdna: U128,
    /// Maximum I/O Controller Namespace Attachments.
    pub maxcna: U32,
    /// Optimal Aggregated Queue Depth.
    pub oaqd: U32,
    /// Recommended Host-Initiated Refresh Interval in days.
    pub rhiri: u8,
    /// Host-Initiated Refresh Time in minutes.
    pub hirt: u8,
    /// Controller Maximum Memory Range Tracking Descriptors.
    pub cmmrtd: U16,
    /// NVM Subsystem Maximum Memory Range Tracking Descriptors.
    pub nmmrtd: U16,
    /// Minimum Memory Range Tracking Granularity.
    pub minmrtg: u8,
    /// Maximum Memory Range Tracking Granularity.
    pub maxmrtg: u8,
    /// Tracking Attributes.
    pub trattr: Trattr,
    /// Reserved.
    pub reserved577: u8,
    /// Maximum Controller User Data Migration Queues.
    pub mcudmq: U16,
    /// Maximum NVM Subsystem User Data Migration Queues.
    pub mnsudmq: U16,
    /// Maximum CDQ Memory Ranges.
    pub mcmr: U16,
    /// NVM Subsystem Maximum CDQ Memory Ranges.
    pub nmcmr: U16,
    /// Maximum Controller Data Queue PRP Count.
    pub mcdqpc: U16,
    /// Reserved.
    pub reserved588: Opaque<180>,
    /// NVM Subsystem NVMe Qualified Name.
    pub subnqn: Nqn,
    /// Reserved.
    pub reserved1024: Opaque<768>,
    /// I/O Queue Command Capsule Supported Size in units of 16 bytes.
    pub ioccsz: U32,
    /// I/O Queue Response Capsule Supported Size in units of 16 bytes.
    pub iorcsz: U32,
    /// In Capsule Data Offset in units of 16 bytes.
    pub icdoff: U16,
    /// Fabrics Controller Attributes.
    pub fcatt: Fcatt,
    /// Maximum SGL Data Block Descriptors, 0 for no limit.
    pub msdbd: u8,
    /// Optional Fabrics Commands Support.
    pub ofcs: Le16<Ofcs>,
    /// Discovery Controller Type.
    pub dctype: DiscoveryControllerType,
    /// Reserved.
    pub reserved1807: Opaque<241>,
    /// Power State Descriptors.
    pub psd: [PowerStateDescriptor; 32],
    /// Vendor Specific.
    pub vendor_specific: Opaque<1024>,
}

impl IdentifyController {
    /// The IEEE OUI as one number.
    #[must_use]
    pub const fn oui(&self) -> u32 {
        let [low, middle, high] = self.ieee;
        u32::from_le_bytes([low, middle, high, 0])
    }

    /// The most bytes that a command may transfer, where `mpsmin` is the controller's smallest page in
    /// bytes (2 to the power of 12 + CAP.MPSMIN). `None` if there is no limit or it exceeds 64 bits.
    #[must_use]
    pub const fn max_transfer_bytes(&self, mpsmin: u64) -> Option<u64> {
        match self.mdts {
            0 | 64.. => None,
            mdts => mpsmin.checked_mul(1 << mdts),
        }
    }
}

macro_rules! offsets {
    ($($field:ident = $offset:literal),+ $(,)?) => {
        $(const _: () = assert!(offset_of!(IdentifyController, $field) == $offset);)+
    };
}
const _: () = assert!(size_of::<IdentifyController>() == 4096);
offsets! {
    ssvid = 2, sn = 4, mn = 24, fr = 64, rab = 72, ieee = 73, cmic = 76, mdts = 77, cntlid = 78,
    ver = 80, rtd3r = 84, rtd3e = 88, oaes = 92, ctratt = 96, rrls = 100, bpcap = 102, nssl = 104,
    plsi = 110, cntrltype = 111, fguid = 112, crdt = 128, crcap = 134, nvmsr = 253, vwci = 254,
    mec = 255, oacs = 256, acl_z = 258, aerl_z = 259, frmw = 260, lpa = 261, elpe_z = 262,
    npss_z = 263, avscc = 264, apsta = 265, wctemp = 266, cctemp = 268, mtfa = 270, hmpre = 272,
    hmmin = 276, tnvmcap = 280, unvmcap = 296, rpmbs = 312, edstt = 316, dsto = 318, fwug = 319,
    kas = 320, hctma = 322, mntmt = 324, mxtmt = 326, sanicap = 328, hmminds = 332, hmmaxd = 336,
    nsetidmax = 338, endgidmax = 340, anatt = 342, anacap = 343, anagrpmax = 344, nanagrpid = 348,
    pels = 352, did = 356, kpioc = 358, mptfawr = 360, megcap = 368, tmpthha = 384, cqt = 386,
    sqes = 512, cqes = 513, maxcmd = 514, nn = 516, oncs = 520, fuses = 522, fna = 524, vwc = 525,
    awun_z = 526, awupf_z = 528, icsvscc = 530, nwpc = 531, acwu_z = 532, cdfs = 534, sgls = 536,
    mnan = 540, maxdna = 544, maxcna = 560, oaqd = 564, rhiri = 568, hirt = 569, cmmrtd = 570,
    nmmrtd = 572, minmrtg = 574, maxmrtg = 575, trattr = 576, mcudmq = 578, mnsudmq = 580,
    mcmr = 582, nmcmr = 584, mcdqpc = 586, subnqn = 768, ioccsz = 1792, iorcsz = 1796,
    icdoff = 1800, fcatt = 1802, msdbd = 1803, ofcs = 1804, dctype = 1806, psd = 2048,
    vendor_specific = 3072,
}
