//! The Get Log Page command (NVMe Base 2.1 §5.1.12). What it returns is in [`log`](crate::nvme::log).

use bitfield_struct::bitfield;
use zerocopy::little_endian::U32;

use super::{AdminOpcode, command_dwords};
use crate::nvme::CommandSet;
use crate::nvme::log::LogPageId;
use crate::nvme::queue::SubmissionEntry;

/// Command Dword 10 of Get Log Page.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct GetLogPageCdw10 {
    /// Log Page Identifier.
    #[bits(8)]
    pub lid: LogPageId,
    /// Log Specific Parameter.
    #[bits(7)]
    pub lsp: u8,
    /// Retain Asynchronous Event: reading does not clear the event.
    pub rae: bool,
    /// Number of Dwords Lower, of a number minus 1.
    pub numdl: u16,
}
display_words!(GetLogPageCdw10 { "LID" => (lid), "LSP" => (lsp), "RAE" => (rae), "NUMDL" => (numdl) });

/// Command Dword 11 of Get Log Page.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct GetLogPageCdw11 {
    /// Number of Dwords Upper, of a number minus 1.
    pub numdu: u16,
    /// Log Specific Identifier.
    pub lsi: u16,
}
display_words!(GetLogPageCdw11 { "NUMDU" => (numdu), "LSI" => (lsi) });

/// Command Dword 14 of Get Log Page.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct GetLogPageCdw14 {
    /// UUID Index: which UUID a vendor specific request is meant for, 0 for none.
    #[bits(7)]
    pub uidx: u8,
    #[bits(16)]
    __: u16,
    /// Offset Type: the offset counts entries and not bytes.
    pub ot: bool,
    /// Command Set Identifier.
    #[bits(8)]
    pub csi: CommandSet,
}
display_words!(GetLogPageCdw14 { "UIDX" => (uidx), "OT" => (ot), "CSI" => (csi) });

command_dwords!(GetLogPageCdw10, GetLogPageCdw11, GetLogPageCdw14);

/// What a Get Log Page command asks for, its split fields joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogPageRequest {
    /// Which log page.
    pub lid: LogPageId,
    /// Log Specific Parameter: 7 bits.
    pub lsp: u8,
    /// Log Specific Identifier.
    pub lsi: u16,
    /// Retain Asynchronous Event.
    pub rae: bool,
    /// Number of dwords to return, minus 1 (NUMD).
    pub numd_z: u32,
    /// Log Page Offset: in bytes, a multiple of 4, unless `ot` is set.
    pub offset: u64,
    /// Offset Type: the offset counts entries and not bytes.
    pub ot: bool,
    /// Command Set Identifier.
    pub csi: CommandSet,
    /// UUID Index: 7 bits.
    pub uidx: u8,
}

impl LogPageRequest {
    /// The first `dwords` dwords of a log page, which are at least 1; its event is cleared.
    #[must_use]
    pub const fn new(lid: LogPageId, dwords: u32) -> Self {
        Self {
            lid,
            lsp: 0,
            lsi: 0,
            rae: false,
            numd_z: dwords.saturating_sub(1),
            offset: 0,
            ot: false,
            csi: CommandSet::NVM,
            uidx: 0,
        }
    }

    /// Bytes to return: 4 to 16 GiB.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        (self.numd_z as u64 + 1) * 4
    }

    /// Reads the request out of a command.
    #[must_use]
    pub fn parse(entry: &SubmissionEntry) -> Self {
        let cdw10 = GetLogPageCdw10::from(entry.cdw10);
        let cdw11 = GetLogPageCdw11::from(entry.cdw11);
        let cdw14 = GetLogPageCdw14::from(entry.cdw14);
        Self {
            lid: cdw10.lid(),
            lsp: cdw10.lsp(),
            lsi: cdw11.lsi(),
            rae: cdw10.rae(),
            numd_z: u32::from(cdw11.numdu()) << 16 | u32::from(cdw10.numdl()),
            offset: u64::from(entry.cdw13.get()) << 32 | u64::from(entry.cdw12.get()),
            ot: cdw14.ot(),
            csi: cdw14.csi(),
            uidx: cdw14.uidx(),
        }
    }

    /// The command, its data pointer and identifier not set. Of `lsp` and `uidx` only 7 bits count.
    #[must_use]
    pub fn command(&self, nsid: u32) -> SubmissionEntry {
        let [a, b, c, d] = self.numd_z.to_le_bytes();
        let cdw10 = GetLogPageCdw10::new()
            .with_lid(self.lid)
            .with_lsp(self.lsp & 0x7F)
            .with_rae(self.rae)
            .with_numdl(u16::from_le_bytes([a, b]));
        let cdw11 =
            GetLogPageCdw11::new().with_numdu(u16::from_le_bytes([c, d])).with_lsi(self.lsi);
        let cdw14 =
            GetLogPageCdw14::new().with_uidx(self.uidx & 0x7F).with_ot(self.ot).with_csi(self.csi);
        let [e, f, g, h, i, j, k, l] = self.offset.to_le_bytes();
        SubmissionEntry {
            cdw10: cdw10.into(),
            cdw11: cdw11.into(),
            cdw12: U32::from_bytes([e, f, g, h]),
            cdw13: U32::from_bytes([i, j, k, l]),
            cdw14: cdw14.into(),
            ..SubmissionEntry::new(AdminOpcode::GET_LOG_PAGE, nsid)
        }
    }
}
