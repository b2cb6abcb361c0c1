//! What the host sends to create a namespace (NVM Command Set 1.1 §4.1.6).

use core::mem::{offset_of, size_of};

use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{Dps, Flbas, Nmic};
use crate::opaque::Opaque;

/// Placement handles of a namespace: an index for each, into the reclaim unit handles of its endurance
/// group.
pub type PlacementHandles = [U16; 128];

/// The data of Namespace Management with SEL Create, for the NVM Command Set: 4096 bytes.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct NamespaceCreation {
    /// Namespace Size in logical blocks.
    pub nsze: U64,
    /// Namespace Capacity in logical blocks.
    pub ncap: U64,
    /// Reserved.
    pub reserved16: Opaque<10>,
    /// Formatted LBA Size.
    pub flbas: Flbas,
    /// Reserved.
    pub reserved27: Opaque<2>,
    /// End-to-end Data Protection Type Settings.
    pub dps: Dps,
    /// Multi-path I/O and sharing.
    pub nmic: Nmic,
    /// Reserved.
    pub reserved31: Opaque<61>,
    /// ANA Group Identifier, 0 to let the controller choose.
    pub anagrpid: U32,
    /// Reserved.
    pub reserved96: Opaque<4>,
    /// NVM Set Identifier, 0 to let the controller choose.
    pub nvmsetid: U16,
    /// Endurance Group Identifier, 0 to let the controller choose.
    pub endgid: U16,
    /// Reserved.
    pub reserved104: Opaque<280>,
    /// Logical Block Storage Tag Mask.
    pub lbstm: U64,
    /// Number of Placement Handles.
    pub nphndls: U16,
    /// Reserved; a part of it belongs to other command sets.
    pub reserved394: Opaque<118>,
    /// Placement Handle Associated RUH list.
    pub phndl: PlacementHandles,
    /// Reserved, then vendor specific from byte 1024.
    pub reserved768: Opaque<3328>,
}
const _: () = assert!(size_of::<NamespaceCreation>() == 4096);
const _: () = assert!(offset_of!(NamespaceCreation, flbas) == 26);
const _: () = assert!(offset_of!(NamespaceCreation, dps) == 29);
const _: () = assert!(offset_of!(NamespaceCreation, anagrpid) == 92);
const _: () = assert!(offset_of!(NamespaceCreation, nvmsetid) == 100);
const _: () = assert!(offset_of!(NamespaceCreation, lbstm) == 384);
const _: () = assert!(offset_of!(NamespaceCreation, nphndls) == 392);
const _: () = assert!(offset_of!(NamespaceCreation, phndl) == 512);

impl Default for NamespaceCreation {
    /// All zero: an empty namespace in the first LBA format.
    fn default() -> Self {
        Self::new_zeroed()
    }
}

display_lines!(NamespaceCreation {
    "NSZE" => hex(nsze), "NCAP" => hex(ncap), "FLBAS" => (flbas), "DPS" => (dps),
    "NMIC" => (nmic), "ANAGRPID" => (anagrpid), "NVMSETID" => (nvmsetid), "ENDGID" => (endgid),
    "LBSTM" => hex(lbstm), "NPHNDLS" => (nphndls),
});
