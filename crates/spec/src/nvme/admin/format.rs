//! The Format NVM command (NVMe Base 2.1 §5.1.10, NVM Command Set 1.1 §4.1.2).

use bitfield_struct::bitfield;

use super::command_dwords;
use crate::nvme::protection::ProtectionType;

open_enum! {
    /// Secure Erase Settings (NVMe Base 2.1 §5.1.10).
    pub struct SecureErase: u8 {
        NONE = 0b000 => "No secure erase",
        USER_DATA = 0b001 => "User Data Erase",
        CRYPTOGRAPHIC = 0b010 => "Cryptographic Erase",
    }
}

/// Command Dword 10 of Format NVM.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct FormatNvmCdw10 {
    /// Format Index Lower (LBAFL): bits 3 to 0 of the index of the LBA format.
    #[bits(4)]
    pub lbafl: u8,
    /// Metadata Settings: metadata follow the data of each block instead of being in a buffer of their own.
    pub mset: bool,
    /// Protection Information.
    #[bits(3)]
    pub pi: ProtectionType,
    /// Protection Information Location: first bytes of the metadata instead of last.
    pub pil: bool,
    /// Secure Erase Settings.
    #[bits(3)]
    pub ses: SecureErase,
    /// Format Index Upper (LBAFU): bits 5 and 4 of the index of the LBA format.
    #[bits(2)]
    pub lbafu: u8,
    #[bits(18)]
    __: u32,
}
display_words!(FormatNvmCdw10 {
    "LBAF" => (format_index), "MSET" => (mset), "PI" => (pi), "PIL" => (pil), "SES" => (ses),
});
command_dwords!(FormatNvmCdw10);

impl FormatNvmCdw10 {
    /// The index of the LBA format: 0 to 63.
    #[must_use]
    pub const fn format_index(self) -> u8 {
        self.lbafu() << 4 | self.lbafl()
    }

    /// Replaces the index of the LBA format, of which 6 bits count.
    #[must_use]
    pub const fn with_format_index(self, index: u8) -> Self {
        self.with_lbafl(index & 0xF).with_lbafu(index >> 4 & 0x3)
    }
}
