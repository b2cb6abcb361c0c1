//! Optional parts of the admin command set: bytes 256 to 511 of Identify Controller
//! (NVMe Base 2.1 §5.1.13.2.1, Figure 312).

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// OACS, Optional Admin Command Support.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Oacs {
    /// Security Send and Security Receive.
    pub ssrs: bool,
    /// Format NVM.
    pub fnvms: bool,
    /// Firmware Commit and Firmware Image Download.
    pub fwds: bool,
    /// Namespace Management and Namespace Attachment.
    pub nms: bool,
    /// Device Self-test.
    pub dsts: bool,
    /// Directives.
    pub dirs: bool,
    /// NVMe-MI Send and NVMe-MI Receive.
    pub nsrs: bool,
    /// Virtualization Management.
    pub vms: bool,
    /// Doorbell Buffer Config.
    pub dbcs: bool,
    /// Get LBA Status.
    pub glss: bool,
    /// Command and Feature Lockdown.
    pub cfls: bool,
    /// Host Managed Live Migration.
    pub hmlms: bool,
    #[bits(4)]
    __: u8,
}
display_words!(Oacs {
    "SSRS" => (ssrs), "FNVMS" => (fnvms), "FWDS" => (fwds), "NMS" => (nms), "DSTS" => (dsts),
    "DIRS" => (dirs), "NSRS" => (nsrs), "VMS" => (vms), "DBCS" => (dbcs), "GLSS" => (glss),
    "CFLS" => (cfls), "HMLMS" => (hmlms),
});

/// FRMW, Firmware Updates.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Frmw {
    /// First Firmware Slot Read Only.
    pub ffsro: bool,
    /// Number of Firmware Slots: 1 to 7.
    #[bits(3)]
    pub nofs: u8,
    /// Firmware Activation Without Reset.
    pub fawr: bool,
    /// Support Multiple Update Detection.
    pub smud: bool,
    #[bits(2)]
    __: u8,
}
display_words!(Frmw { "FFSRO" => (ffsro), "NOFS" => (nofs), "FAWR" => (fawr), "SMUD" => (smud) });

/// LPA, Log Page Attributes.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Lpa {
    /// SMART Support: the health log page for each namespace.
    pub smarts: bool,
    /// Commands Supported and Effects log page.
    pub cses: bool,
    /// Log Page Extended Data: offsets and 32-bit lengths in Get Log Page.
    pub lpeds: bool,
    /// Telemetry log pages and notices.
    pub ts: bool,
    /// Persistent Event log page.
    pub pes: bool,
    /// Miscellaneous Log Page Support: the log pages that report what is supported.
    pub mlps: bool,
    /// Data Area 4 of the telemetry log pages.
    pub da4s: bool,
    __: bool,
}
display_words!(Lpa {
    "SMARTS" => (smarts), "CSES" => (cses), "LPEDS" => (lpeds), "TS" => (ts), "PES" => (pes),
    "MLPS" => (mlps), "DA4S" => (da4s),
});

/// AVSCC, Admin Vendor Specific Command Configuration; ICSVSCC has the same form for I/O commands.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct VendorSpecificCommands {
    /// Standard format: a vendor's commands have NDT and NDM in Command Dwords 10 and 11.
    pub standard_format: bool,
    #[bits(7)]
    __: u8,
}
display_words!(VendorSpecificCommands { "StandardFormat" => (standard_format) });

/// APSTA, Autonomous Power State Transition Attributes.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Apsta {
    /// Autonomous Power State Transitions supported.
    pub apsts: bool,
    #[bits(7)]
    __: u8,
}
display_words!(Apsta { "APSTS" => (apsts) });

/// RPMBS, Replay Protected Memory Block Support.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Rpmbs {
    /// Number of RPMB Units: 0 means that there are none.
    #[bits(3)]
    pub nrpmbu: u8,
    /// Authentication Method: 0 is HMAC SHA-256.
    #[bits(3)]
    pub auth_method: u8,
    #[bits(10)]
    __: u16,
    /// Total Size of a unit in 128 KiB, minus 1.
    pub total_size_z: u8,
    /// Access Size: blocks of 512 bytes of one transfer, minus 1.
    pub access_size_z: u8,
}
display_words!(Rpmbs {
    "NRPMBU" => (nrpmbu), "AuthMethod" => (auth_method), "TotalSize" => (total_size_z),
    "AccessSize" => (access_size_z),
});

/// DSTO, Device Self-test Options.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Dsto {
    /// Single Device Self-test Operation: one in the subsystem at a time.
    pub sdso: bool,
    /// Host-Initiated Refresh Support.
    pub hirs: bool,
    #[bits(6)]
    __: u8,
}
display_words!(Dsto { "SDSO" => (sdso), "HIRS" => (hirs) });

/// HCTMA, Host Controlled Thermal Management Attributes.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct Hctma {
    /// Host Controlled Thermal Management Support.
    pub hctms: bool,
    #[bits(15)]
    __: u16,
}
display_words!(Hctma { "HCTMS" => (hctms) });

open_enum! {
    /// No-Deallocate Modifies Media After Sanitize (SANICAP.NODMMAS).
    pub struct NoDeallocateModifies: u8 {
        NOT_DEFINED = 0b00 => "Not defined",
        NOT_MODIFIED = 0b01 => "Media not modified",
        MODIFIED = 0b10 => "Media modified",
    }
}

/// SANICAP, Sanitize Capabilities.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Sanicap {
    /// Crypto Erase Support.
    pub ces: bool,
    /// Block Erase Support.
    pub bes: bool,
    /// Overwrite Support.
    pub ows: bool,
    /// Verification Support.
    pub vers: bool,
    #[bits(25)]
    __: u32,
    /// No-Deallocate Inhibited.
    pub ndi: bool,
    /// No-Deallocate Modifies Media After Sanitize.
    #[bits(2)]
    pub nodmmas: NoDeallocateModifies,
}
display_words!(Sanicap {
    "CES" => (ces), "BES" => (bes), "OWS" => (ows), "VERS" => (vers), "NDI" => (ndi),
    "NODMMAS" => (nodmmas),
});

/// ANACAP, Asymmetric Namespace Access Capabilities.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Anacap {
    /// Reports the ANA Optimized state.
    pub optimized: bool,
    /// Reports the ANA Non-Optimized state.
    pub non_optimized: bool,
    /// Reports the ANA Inaccessible state.
    pub inaccessible: bool,
    /// Reports the ANA Persistent Loss state.
    pub persistent_loss: bool,
    /// Reports the ANA Change state.
    pub change: bool,
    __: bool,
    /// The ANAGRPID of a namespace does not change while it is attached.
    pub grpid_static: bool,
    /// Namespace Management accepts an ANAGRPID that is not zero.
    pub grpid_management: bool,
}
display_words!(Anacap {
    "Optimized" => (optimized), "NonOptimized" => (non_optimized), "Inaccessible" => (inaccessible),
    "PersistentLoss" => (persistent_loss), "Change" => (change), "GrpidStatic" => (grpid_static),
    "GrpidManagement" => (grpid_management),
});

/// KPIOC, Key Per I/O Capabilities.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Kpioc {
    /// Key Per I/O Supported.
    pub kpios: bool,
    /// Key Per I/O Scope: all namespaces have it on or off together.
    pub kpiosc: bool,
    #[bits(6)]
    __: u8,
}
display_words!(Kpioc { "KPIOS" => (kpios), "KPIOSC" => (kpiosc) });

/// TMPTHHA, Temperature Threshold Hysteresis Attributes.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct Tmpthha {
    /// Temperature Threshold Maximum Hysteresis in kelvins; 0 means none.
    #[bits(3)]
    pub tmpthmh: u8,
    #[bits(5)]
    __: u8,
}
display_words!(Tmpthha { "TMPTHMH" => (tmpthmh) });
