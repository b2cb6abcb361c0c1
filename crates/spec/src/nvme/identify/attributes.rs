//! What kind of controller and subsystem it is: bytes 0 to 255 of Identify Controller
//! (NVMe Base 2.1 §5.1.13.2.1, Figure 312).

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

open_enum! {
    /// CNTRLTYPE, Controller Type.
    pub struct ControllerType: u8 {
        NOT_REPORTED = 0x00 => "Controller type not reported",
        IO = 0x01 => "I/O controller",
        DISCOVERY = 0x02 => "Discovery controller",
        ADMINISTRATIVE = 0x03 => "Administrative controller",
    }
}

/// CMIC, Controller Multi-Path I/O and Namespace Sharing Capabilities.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Cmic {
    /// Multiple Ports: the subsystem may have more than one.
    pub mports: bool,
    /// Multiple Controllers: the subsystem may have more than one.
    pub mctrs: bool,
    /// Function Type: the controller belongs to an SR-IOV virtual function.
    pub ft: bool,
    /// Asymmetric Namespace Access Reporting Support.
    pub anars: bool,
    #[bits(4)]
    __: u8,
}
display_words!(Cmic { "MPORTS" => (mports), "MCTRS" => (mctrs), "FT" => (ft), "ANARS" => (anars) });

/// OAES, Optional Asynchronous Events Supported.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Oaes {
    __: u8,
    /// Namespace attribute notices: attached namespaces.
    pub nsan: bool,
    /// Firmware activation notices.
    pub fan: bool,
    __: bool,
    /// Asymmetric Namespace Access change notices.
    pub anacn: bool,
    /// Predictable Latency Event Aggregate log change notices.
    pub plean: bool,
    /// LBA Status Information notices.
    pub lsian: bool,
    /// Endurance Group Event Aggregate log page change notices.
    pub egean: bool,
    /// Normal NVM Subsystem Shutdown events.
    pub nnss: bool,
    /// Temperature Threshold Hysteresis Recovery events.
    pub tthr: bool,
    /// Reachability Groups change notices.
    pub rgcns: bool,
    __: bool,
    /// Allocated namespace attribute notices.
    pub ansan: bool,
    #[bits(7)]
    __: u8,
    /// Zone Descriptor Changed notices.
    pub zdcn: bool,
    #[bits(3)]
    __: u8,
    /// Discovery Log Page Change notices.
    pub dlpcn: bool,
}
display_words!(Oaes {
    "NSAN" => (nsan), "FAN" => (fan), "ANACN" => (anacn), "PLEAN" => (plean), "LSIAN" => (lsian),
    "EGEAN" => (egean), "NNSS" => (nnss), "TTHR" => (tthr), "RGCNS" => (rgcns),
    "ANSAN" => (ansan), "ZDCN" => (zdcn), "DLPCN" => (dlpcn),
});

/// CTRATT, Controller Attributes.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Ctratt {
    /// Host Identifier Support: 128 bits and not only 64.
    pub hids: bool,
    /// Non-Operational Power State Permissive Mode.
    pub nopspm: bool,
    /// NVM Sets.
    pub nsets: bool,
    /// Read Recovery Levels.
    pub rrlvls: bool,
    /// Endurance Groups.
    pub egs: bool,
    /// Predictable Latency Mode.
    pub plm: bool,
    /// Traffic Based Keep Alive Support.
    pub tbkas: bool,
    /// Namespace Granularity.
    pub ng: bool,
    /// SQ Associations.
    pub sqa: bool,
    /// UUID List.
    pub ulist: bool,
    /// Multi-Domain Subsystem.
    pub mds: bool,
    /// Fixed Capacity Management.
    pub fcm: bool,
    /// Variable Capacity Management.
    pub vcm: bool,
    /// Delete Endurance Group.
    pub deg: bool,
    /// Delete NVM Set.
    pub dnvms: bool,
    /// Extended LBA Formats Supported: formats 16 to 63, storage tags, guards of more than 16 bits.
    pub elbas: bool,
    /// MDTS and Size Limits Exclude Metadata.
    pub mem: bool,
    /// HMB Restrict Non-Operational Power State Access.
    pub hmbr: bool,
    /// Reservations and Host Identifier Interaction.
    pub rhii: bool,
    /// Flexible Data Placement Support.
    pub fdps: bool,
    #[bits(12)]
    __: u16,
}
display_words!(Ctratt {
    "HIDS" => (hids), "NOPSPM" => (nopspm), "NSETS" => (nsets), "RRLVLS" => (rrlvls),
    "EGS" => (egs), "PLM" => (plm), "TBKAS" => (tbkas), "NG" => (ng), "SQA" => (sqa),
    "ULIST" => (ulist), "MDS" => (mds), "FCM" => (fcm), "VCM" => (vcm), "DEG" => (deg),
    "DNVMS" => (dnvms), "ELBAS" => (elbas), "MEM" => (mem), "HMBR" => (hmbr),
    "RHII" => (rhii), "FDPS" => (fdps),
});

open_enum! {
    /// RPMB Boot Partition Write Protection Support (BPCAP.RPMBBPWPS).
    pub struct RpmbBootProtection: u8 {
        NOT_SPECIFIED = 0b00 => "Not specified",
        NOT_SUPPORTED = 0b01 => "Not supported",
        SUPPORTED = 0b10 => "Supported",
    }
}

/// BPCAP, Boot Partition Capabilities.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Bpcap {
    /// RPMB Boot Partition Write Protection Support.
    #[bits(2)]
    pub rpmbbpwps: RpmbBootProtection,
    /// Set Features Boot Partition Write Protection Support.
    pub sfbpwps: bool,
    #[bits(5)]
    __: u8,
}
display_words!(Bpcap { "RPMBBPWPS" => (rpmbbpwps), "SFBPWPS" => (sfbpwps) });

/// PLSI, Power Loss Signaling Information.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Plsi {
    /// PLS Emergency Power Fail mode supported.
    pub plsepf: bool,
    /// PLS Forced Quiescence mode supported.
    pub plsfq: bool,
    #[bits(6)]
    __: u8,
}
display_words!(Plsi { "PLSEPF" => (plsepf), "PLSFQ" => (plsfq) });

/// CRCAP, Controller Reachability Capabilities.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Crcap {
    /// Reachability Reporting Supported.
    pub rrsup: bool,
    /// Reachability Group ID Changeable.
    pub rgidc: bool,
    #[bits(6)]
    __: u8,
}
display_words!(Crcap { "RRSUP" => (rrsup), "RGIDC" => (rgidc) });

/// NVMSR, NVM Subsystem Report.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Nvmsr {
    /// NVMe Storage Device: part of one.
    pub nvmesd: bool,
    /// NVMe Enclosure: part of one.
    pub nvmee: bool,
    #[bits(6)]
    __: u8,
}
display_words!(Nvmsr { "NVMESD" => (nvmesd), "NVMEE" => (nvmee) });

/// VWCI, VPD Write Cycle Information.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Vwci {
    /// VPD Write Cycles Remaining; 127 stands for that or more.
    #[bits(7)]
    pub vwcr: u8,
    /// VPD Write Cycles Remaining Valid.
    pub vwcrv: bool,
}
display_words!(Vwci { "VWCR" => (vwcr), "VWCRV" => (vwcrv) });

/// MEC, Management Endpoint Capabilities.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Mec {
    /// A management endpoint on an SMBus or I2C port.
    pub smbusme: bool,
    /// A management endpoint on a PCIe port.
    pub pcieme: bool,
    #[bits(6)]
    __: u8,
}
display_words!(Mec { "SMBUSME" => (smbusme), "PCIEME" => (pcieme) });
