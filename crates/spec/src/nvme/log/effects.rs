//! What is supported, and what it does: commands (LID 05h, NVMe Base 2.1 §5.1.12.1.6), features (LID 12h,
//! §5.1.12.1.18), log pages (LID 00h, §5.1.12.1.1).

use core::fmt;
use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::LogPageId;
use crate::le::Le32;
use crate::nvme::feature::FeatureId;
use crate::opaque::Opaque;

/// A scope that a command or a feature acts on (CSP, FSP): several bits may be set.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct EffectScope {
    /// Namespace Scope.
    pub namespace: bool,
    /// Controller Scope.
    pub controller: bool,
    /// NVM Set Scope.
    pub nvm_set: bool,
    /// Endurance Group Scope.
    pub endurance_group: bool,
    /// Domain Scope.
    pub domain: bool,
    /// NVM Subsystem Scope.
    pub subsystem: bool,
    /// Controller Data Queue Scope: of features only.
    pub cdq: bool,
    #[bits(9)]
    __: u16,
}
display_words!(EffectScope {
    "Namespace" => (namespace), "Controller" => (controller), "NVMSet" => (nvm_set),
    "EnduranceGroup" => (endurance_group), "Domain" => (domain), "Subsystem" => (subsystem),
    "CDQ" => (cdq),
});

impl EffectScope {
    /// The 12 bits that an entry holds.
    const fn twelve(self) -> u16 {
        self.into_bits() & 0xFFF
    }
}

/// Effects of a command.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct CommandEffects {
    /// Command Supported.
    pub csupp: bool,
    /// Logical Block Content Change: may modify data or metadata.
    pub lbcc: bool,
    /// Namespace Capability Change.
    pub ncc: bool,
    /// Namespace Inventory Change.
    pub nic: bool,
    /// Controller Capability Change.
    pub ccc: bool,
    #[bits(9)]
    __: u16,
    /// Command Submission and Execution Relaxations: 0 for none; otherwise a host that knows the value
    /// ignores CSE.
    #[bits(2)]
    pub cser: u8,
    /// Command Submission and Execution: 0 for no restriction, 1 if no other command to the same
    /// namespace may run, 2 if none to any namespace may.
    #[bits(3)]
    pub cse: u8,
    /// UUID Selection Supported.
    pub uss: bool,
    /// Command Scope.
    #[bits(12, into = EffectScope::twelve)]
    pub csp: EffectScope,
}
display_words!(CommandEffects {
    "CSUPP" => (csupp), "LBCC" => (lbcc), "NCC" => (ncc), "NIC" => (nic), "CCC" => (ccc),
    "CSER" => (cser), "CSE" => (cse), "USS" => (uss), "CSP" => (csp),
});

/// The Commands Supported and Effects log page: 4096 bytes.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct CommandsEffects {
    /// Admin commands, by opcode.
    pub admin: [Le32<CommandEffects>; 256],
    /// I/O commands of the command set that the request named, by opcode.
    pub io: [Le32<CommandEffects>; 256],
    /// Reserved.
    pub reserved2048: Opaque<2048>,
}
const _: () = assert!(size_of::<CommandsEffects>() == 4096);
const _: () = assert!(offset_of!(CommandsEffects, io) == 1024);

impl Default for CommandsEffects {
    /// No command is supported.
    fn default() -> Self {
        Self::new_zeroed()
    }
}

impl fmt::Debug for CommandsEffects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let supported = |effects: &[Le32<CommandEffects>; 256]| {
            effects.iter().filter(|effect| effect.get().csupp()).count()
        };
        f.debug_struct("CommandsEffects")
            .field("admin_supported", &supported(&self.admin))
            .field("io_supported", &supported(&self.io))
            .finish()
    }
}

/// Effects of a feature.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct FeatureEffects {
    /// FID Supported.
    pub fsupp: bool,
    /// User Data Content Change: may modify data or metadata.
    pub udcc: bool,
    /// Namespace Capability Change.
    pub ncc: bool,
    /// Namespace Inventory Change.
    pub nic: bool,
    /// Controller Capability Change.
    pub ccc: bool,
    #[bits(14)]
    __: u16,
    /// UUID Selection Supported.
    pub uss: bool,
    /// FID Scope.
    #[bits(12, into = EffectScope::twelve)]
    pub fsp: EffectScope,
}
display_words!(FeatureEffects {
    "FSUPP" => (fsupp), "UDCC" => (udcc), "NCC" => (ncc), "NIC" => (nic), "CCC" => (ccc),
    "USS" => (uss), "FSP" => (fsp),
});

/// The Feature Identifiers Supported and Effects log page: 1024 bytes.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct FeaturesEffects(pub [Le32<FeatureEffects>; 256]);
const _: () = assert!(size_of::<FeaturesEffects>() == 1024);

impl FeaturesEffects {
    /// The features that are supported, with their effects.
    pub fn iter(&self) -> impl Iterator<Item = (FeatureId, FeatureEffects)> + '_ {
        (0_u8..=u8::MAX)
            .zip(&self.0)
            .map(|(fid, effects)| (FeatureId::from_bits(fid), effects.get()))
            .filter(|(_, effects)| effects.fsupp())
    }
}

impl Default for FeaturesEffects {
    /// No feature is supported.
    fn default() -> Self {
        Self::new_zeroed()
    }
}

impl fmt::Debug for FeaturesEffects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// Whether a log page is supported.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct LogPageSupport {
    /// LID Supported.
    pub lsupp: bool,
    /// Index Offset Supported: the offset may count entries.
    pub ios: bool,
    #[bits(14)]
    __: u16,
    /// LID Specific Parameter: what it means depends on the log page.
    pub lidsp: u16,
}
display_words!(LogPageSupport { "LSUPP" => (lsupp), "IOS" => (ios), "LIDSP" => hex(lidsp) });

/// The Supported Log Pages log page: 1024 bytes.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SupportedLogPages(pub [Le32<LogPageSupport>; 256]);
const _: () = assert!(size_of::<SupportedLogPages>() == 1024);

impl SupportedLogPages {
    /// The log pages that are supported.
    pub fn iter(&self) -> impl Iterator<Item = (LogPageId, LogPageSupport)> + '_ {
        (0_u8..=u8::MAX)
            .zip(&self.0)
            .map(|(lid, support)| (LogPageId::from_bits(lid), support.get()))
            .filter(|(_, support)| support.lsupp())
    }
}

impl Default for SupportedLogPages {
    /// No log page is supported.
    fn default() -> Self {
        Self::new_zeroed()
    }
}

impl fmt::Debug for SupportedLogPages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}
