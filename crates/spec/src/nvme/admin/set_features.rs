//! The Get Features and Set Features commands (NVMe Base 2.1 §5.1.11 and §5.1.25). The features are in
//! [`feature`](crate::nvme::feature).

use bitfield_struct::bitfield;

use super::command_dwords;
use crate::nvme::feature::FeatureId;

open_enum! {
    /// Select: which value of a feature to return (NVMe Base 2.1 §5.1.11).
    pub struct Select: u8 {
        CURRENT = 0b000 => "Current",
        DEFAULT = 0b001 => "Default",
        SAVED = 0b010 => "Saved",
        SUPPORTED = 0b011 => "Supported Capabilities",
    }
}

/// Command Dword 10 of Get Features.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct GetFeaturesCdw10 {
    /// Feature Identifier.
    #[bits(8)]
    pub fid: FeatureId,
    /// Select.
    #[bits(3)]
    pub sel: Select,
    #[bits(21)]
    __: u32,
}
display_words!(GetFeaturesCdw10 { "FID" => (fid), "SEL" => (sel) });

/// Command Dword 10 of Set Features.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct SetFeaturesCdw10 {
    /// Feature Identifier.
    #[bits(8)]
    pub fid: FeatureId,
    #[bits(23)]
    __: u32,
    /// Save: the value persists through power states and resets.
    pub sv: bool,
}
display_words!(SetFeaturesCdw10 { "FID" => (fid), "SV" => (sv) });

command_dwords!(GetFeaturesCdw10, SetFeaturesCdw10);
