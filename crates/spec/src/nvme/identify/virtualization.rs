//! Resources of primary and secondary controllers (NVMe Base 2.1 §8.2.6).

use core::fmt;
use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IDENTIFY_SIZE;
use crate::opaque::Opaque;

/// CRT, Controller Resource Types.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ControllerResourceTypes {
    /// Virtual queue resources are flexible.
    pub vq: bool,
    /// Virtual interrupt resources are flexible.
    pub vi: bool,
    #[bits(6)]
    __: u8,
}
display_words!(ControllerResourceTypes { "VQ" => (vq), "VI" => (vi) });

/// Primary Controller Capabilities, CNS 14h (NVMe Base 2.1 §5.1.13.2.11).
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
pub struct PrimaryControllerCapabilities {
    /// Controller Identifier.
    pub cntlid: U16,
    /// Port Identifier.
    pub portid: U16,
    /// Controller Resource Types.
    pub crt: ControllerResourceTypes,
    /// Reserved.
    pub reserved5: Opaque<27>,
    /// VQ Resources Flexible Total.
    pub vqfrt: U32,
    /// VQ Resources Flexible Assigned.
    pub vqrfa: U32,
    /// VQ Resources Flexible Allocated to Primary.
    pub vqrfap: U16,
    /// VQ Resources Private Total.
    pub vqprt: U16,
    /// VQ Resources Flexible Secondary Maximum.
    pub vqfrsm: U16,
    /// VQ Flexible Resource Preferred Granularity.
    pub vqgran: U16,
    /// Reserved.
    pub reserved48: Opaque<16>,
    /// VI Resources Flexible Total.
    pub vifrt: U32,
    /// VI Resources Flexible Assigned.
    pub virfa: U32,
    /// VI Resources Flexible Allocated to Primary.
    pub virfap: U16,
    /// VI Resources Private Total.
    pub viprt: U16,
    /// VI Resources Flexible Secondary Maximum.
    pub vifrsm: U16,
    /// VI Flexible Resource Preferred Granularity.
    pub vigran: U16,
    /// Reserved.
    pub reserved80: Opaque<4016>,
}
const _: () = assert!(size_of::<PrimaryControllerCapabilities>() == IDENTIFY_SIZE);
const _: () = assert!(offset_of!(PrimaryControllerCapabilities, vqfrt) == 32);
const _: () = assert!(offset_of!(PrimaryControllerCapabilities, vqgran) == 46);
const _: () = assert!(offset_of!(PrimaryControllerCapabilities, vifrt) == 64);
const _: () = assert!(offset_of!(PrimaryControllerCapabilities, vigran) == 78);

display_lines!(PrimaryControllerCapabilities {
    "CNTLID" => hex(cntlid), "PORTID" => hex(portid), "CRT" => (crt), "VQFRT" => (vqfrt),
    "VQRFA" => (vqrfa), "VQRFAP" => (vqrfap), "VQPRT" => (vqprt), "VQFRSM" => (vqfrsm),
    "VQGRAN" => (vqgran), "VIFRT" => (vifrt), "VIRFA" => (virfa), "VIRFAP" => (virfap),
    "VIPRT" => (viprt), "VIFRSM" => (vifrsm), "VIGRAN" => (vigran),
});

/// SCS, Secondary Controller State.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SecondaryState {
    /// The controller is online.
    pub online: bool,
    #[bits(7)]
    __: u8,
}
display_words!(SecondaryState { "Online" => (online) });

/// A secondary controller.
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
pub struct SecondaryController {
    /// Secondary Controller Identifier.
    pub scid: U16,
    /// Primary Controller Identifier.
    pub pcid: U16,
    /// Secondary Controller State.
    pub scs: SecondaryState,
    /// Reserved.
    pub reserved5: Opaque<3>,
    /// Virtual Function Number, 0 if it is none.
    pub vfn: U16,
    /// Number of VQ Flexible Resources Assigned.
    pub nvq: U16,
    /// Number of VI Flexible Resources Assigned.
    pub nvi: U16,
    /// Reserved.
    pub reserved14: Opaque<18>,
}
const _: () = assert!(size_of::<SecondaryController>() == 32);
const _: () = assert!(offset_of!(SecondaryController, vfn) == 8);
const _: () = assert!(offset_of!(SecondaryController, nvi) == 12);

display_lines!(SecondaryController {
    "SCID" => hex(scid), "PCID" => hex(pcid), "SCS" => (scs), "VFN" => (vfn), "NVQ" => (nvq),
    "NVI" => (nvi),
});

/// Secondary Controller List, CNS 15h (NVMe Base 2.1 §5.1.13.2.12).
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct SecondaryControllerList {
    /// Number of Identifiers: up to 127.
    pub numid: u8,
    /// Reserved.
    pub reserved1: Opaque<31>,
    /// The entries.
    pub entries: [SecondaryController; 127],
}
const _: () = assert!(size_of::<SecondaryControllerList>() == IDENTIFY_SIZE);

impl SecondaryControllerList {
    /// The entries that are in use; a count beyond the end of the list is cut.
    pub fn iter(&self) -> impl Iterator<Item = &SecondaryController> {
        self.entries.iter().take(self.numid.into())
    }
}

impl Default for SecondaryControllerList {
    /// The empty list.
    fn default() -> Self {
        Self::new_zeroed()
    }
}

impl fmt::Debug for SecondaryControllerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
