//! Commands that manage namespaces, controllers and media (NVMe Base 2.1 §5.1 and §5.2.6).

use bitfield_struct::bitfield;

use super::command_dwords;
use crate::nvme::CommandSet;

/// Command Dword 10 of Abort (NVMe Base 2.1 §5.1.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AbortCdw10 {
    /// Submission Queue Identifier of the command to abort.
    pub sqid: u16,
    /// Command Identifier of the command to abort.
    pub cid: u16,
}
display_words!(AbortCdw10 { "SQID" => (sqid), "CID" => (cid) });

/// Dword 0 of the completion of Abort (NVMe Base 2.1 §5.1.1).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct AbortResult {
    /// Immediate Abort Not Performed: the command may still complete.
    pub ianp: bool,
    #[bits(31)]
    __: u32,
}
display_words!(AbortResult { "IANP" => (ianp) });

open_enum! {
    /// Select of Namespace Management (NVMe Base 2.1 §5.1.21).
    pub struct NamespaceManagementSelect: u8 {
        CREATE = 0 => "Create",
        DELETE = 1 => "Delete",
    }
}

/// Command Dword 10 of Namespace Management (NVMe Base 2.1 §5.1.21).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct NamespaceManagementCdw10 {
    /// Select.
    #[bits(4)]
    pub sel: NamespaceManagementSelect,
    #[bits(28)]
    __: u32,
}
display_words!(NamespaceManagementCdw10 { "SEL" => (sel) });

/// Command Dword 11 of Namespace Management (NVMe Base 2.1 §5.1.21).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct NamespaceManagementCdw11 {
    #[bits(24)]
    __: u32,
    /// Command Set Identifier of the namespace to create.
    #[bits(8)]
    pub csi: CommandSet,
}
display_words!(NamespaceManagementCdw11 { "CSI" => (csi) });

open_enum! {
    /// Select of Namespace Attachment (NVMe Base 2.1 §5.1.20).
    pub struct NamespaceAttachmentSelect: u8 {
        ATTACH = 0 => "Controller Attach",
        DETACH = 1 => "Controller Detach",
    }
}

/// Command Dword 10 of Namespace Attachment (NVMe Base 2.1 §5.1.20). The data are a controller list.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct NamespaceAttachmentCdw10 {
    /// Select.
    #[bits(4)]
    pub sel: NamespaceAttachmentSelect,
    #[bits(28)]
    __: u32,
}
display_words!(NamespaceAttachmentCdw10 { "SEL" => (sel) });

open_enum! {
    /// Self-test Code (NVMe Base 2.1 §5.1.5).
    pub struct SelfTestCode: u8 {
        SHORT = 0x1 => "Short device self-test",
        EXTENDED = 0x2 => "Extended device self-test",
        HOST_INITIATED_REFRESH = 0x3 => "Host-Initiated Refresh",
        VENDOR_SPECIFIC = 0xE => "Vendor specific",
        ABORT = 0xF => "Abort device self-test",
    }
}

/// Command Dword 10 of Device Self-test (NVMe Base 2.1 §5.1.5).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DeviceSelfTestCdw10 {
    /// Self-test Code.
    #[bits(4)]
    pub stc: SelfTestCode,
    #[bits(28)]
    __: u32,
}
display_words!(DeviceSelfTestCdw10 { "STC" => (stc) });

open_enum! {
    /// Sanitize Action (NVMe Base 2.1 §5.1.22).
    pub struct SanitizeAction: u8 {
        EXIT_FAILURE = 0b001 => "Exit Failure Mode",
        BLOCK_ERASE = 0b010 => "Start a Block Erase sanitize operation",
        OVERWRITE = 0b011 => "Start an Overwrite sanitize operation",
        CRYPTO_ERASE = 0b100 => "Start a Crypto Erase sanitize operation",
        EXIT_MEDIA_VERIFICATION = 0b101 => "Exit Media Verification State",
    }
}

/// Command Dword 10 of Sanitize (NVMe Base 2.1 §5.1.22). Command Dword 11 is the overwrite pattern.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct SanitizeCdw10 {
    /// Sanitize Action.
    #[bits(3)]
    pub sanact: SanitizeAction,
    /// Allow Unrestricted Sanitize Exit.
    pub ause: bool,
    /// Overwrite Pass Count; 0 means 16.
    #[bits(4)]
    pub owpass: u8,
    /// Overwrite Invert Pattern Between Passes.
    pub oipbp: bool,
    /// No-Deallocate After Sanitize.
    pub ndas: bool,
    /// Enter Media Verification State.
    pub emvs: bool,
    #[bits(21)]
    __: u32,
}
display_words!(SanitizeCdw10 {
    "SANACT" => (sanact), "AUSE" => (ause), "OWPASS" => (owpass), "OIPBP" => (oipbp),
    "NDAS" => (ndas), "EMVS" => (emvs),
});

/// Command Dword 10 of Security Send and Security Receive (NVMe Base 2.1 §5.1.23 and §5.1.24).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct SecurityCdw10 {
    /// NVMe Security Specific Field.
    pub nssf: u8,
    /// SP Specific 0.
    pub spsp0: u8,
    /// SP Specific 1.
    pub spsp1: u8,
    /// Security Protocol.
    pub secp: u8,
}
display_words!(SecurityCdw10 {
    "SECP" => hex(secp), "SPSP1" => hex(spsp1), "SPSP0" => hex(spsp0), "NSSF" => hex(nssf),
});

open_enum! {
    /// Directive Type (NVMe Base 2.1 §8.1.8).
    pub struct DirectiveType: u8 {
        IDENTIFY = 0x00 => "Identify",
        STREAMS = 0x01 => "Streams",
        DATA_PLACEMENT = 0x02 => "Data Placement",
    }
}

/// Command Dword 11 of Directive Send and Directive Receive (NVMe Base 2.1 §5.1.6 and §5.1.7).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct DirectiveCdw11 {
    /// Directive Operation; what it means depends on the type.
    pub doper: u8,
    /// Directive Type.
    #[bits(8)]
    pub dtype: DirectiveType,
    /// Directive Specific.
    pub dspec: u16,
}
display_words!(DirectiveCdw11 { "DOPER" => hex(doper), "DTYPE" => (dtype), "DSPEC" => (dspec) });

open_enum! {
    /// Action of Virtualization Management (NVMe Base 2.1 §5.2.6).
    pub struct VirtualizationAction: u8 {
        PRIMARY_FLEXIBLE_ALLOCATION = 0x1 => "Primary Controller Flexible Allocation",
        SECONDARY_OFFLINE = 0x7 => "Secondary Controller Offline",
        SECONDARY_ASSIGN = 0x8 => "Secondary Controller Assign",
        SECONDARY_ONLINE = 0x9 => "Secondary Controller Online",
    }
}

open_enum! {
    /// Resource Type of Virtualization Management (NVMe Base 2.1 §5.2.6).
    pub struct ResourceType: u8 {
        QUEUES = 0b000 => "VQ Resources",
        INTERRUPTS = 0b001 => "VI Resources",
    }
}

/// Command Dword 10 of Virtualization Management (NVMe Base 2.1 §5.2.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct VirtualizationManagementCdw10 {
    /// Action.
    #[bits(4)]
    pub act: VirtualizationAction,
    #[bits(4)]
    __: u8,
    /// Resource Type.
    #[bits(3)]
    pub rt: ResourceType,
    #[bits(5)]
    __: u8,
    /// Controller Identifier.
    pub cntlid: u16,
}
display_words!(VirtualizationManagementCdw10 { "ACT" => (act), "RT" => (rt), "CNTLID" => (cntlid) });

/// Command Dword 11 of Virtualization Management (NVMe Base 2.1 §5.2.6).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct VirtualizationManagementCdw11 {
    /// Number of Controller Resources.
    pub nr: u16,
    __: u16,
}
display_words!(VirtualizationManagementCdw11 { "NR" => (nr) });

command_dwords!(
    AbortCdw10,
    AbortResult,
    NamespaceManagementCdw10,
    NamespaceManagementCdw11,
    NamespaceAttachmentCdw10,
    DeviceSelfTestCdw10,
    SanitizeCdw10,
    SecurityCdw10,
    DirectiveCdw11,
    VirtualizationManagementCdw10,
    VirtualizationManagementCdw11,
);
