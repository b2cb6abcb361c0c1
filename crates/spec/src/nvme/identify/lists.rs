//! Lists of identifiers.

use core::fmt;
use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::IDENTIFY_SIZE;
use crate::opaque::Opaque;

/// A list of up to 1024 namespaces in increasing order; the first 0 ends it (NVMe Base 2.1 §4.6.2). The
/// changed namespace log pages have the same form, and there a first entry of FFFFFFFFh means that more
/// namespaces changed than fit.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct NamespaceList(pub [U32; Self::CAPACITY]);
const _: () = assert!(size_of::<NamespaceList>() == IDENTIFY_SIZE);

impl NamespaceList {
    /// How many namespaces a list holds.
    pub const CAPACITY: usize = 1024;

    /// Lists the first [`NamespaceList::CAPACITY`] of the given namespaces.
    #[must_use]
    pub fn new(nsids: impl IntoIterator<Item = u32>) -> Self {
        let mut list = Self::default();
        for (entry, nsid) in list.0.iter_mut().zip(nsids) {
            entry.set(nsid);
        }
        list
    }

    /// The namespaces in the list.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().map(|nsid| nsid.get()).take_while(|nsid| *nsid != 0)
    }
}

impl Default for NamespaceList {
    /// The empty list.
    fn default() -> Self {
        Self::new_zeroed()
    }
}

impl fmt::Debug for NamespaceList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// A list of up to 2047 controllers in increasing order (NVMe Base 2.1 §4.6.1).
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct ControllerList {
    /// Number of Identifiers.
    pub numid: U16,
    /// The identifiers.
    pub cntlids: [U16; Self::CAPACITY],
}
const _: () = assert!(size_of::<ControllerList>() == IDENTIFY_SIZE);

impl ControllerList {
    /// How many controllers a list holds.
    pub const CAPACITY: usize = 2047;

    /// Lists the first [`ControllerList::CAPACITY`] of the given controllers.
    #[must_use]
    pub fn new(cntlids: impl IntoIterator<Item = u16>) -> Self {
        let mut list = Self::default();
        let mut count = 0;
        for (entry, cntlid) in list.cntlids.iter_mut().zip(cntlids) {
            entry.set(cntlid);
            count += 1;
        }
        list.numid.set(count);
        list
    }

    /// The controllers in the list; a count beyond its end is cut.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        let count = usize::from(self.numid.get());
        self.cntlids.iter().take(count).map(|cntlid| cntlid.get())
    }
}

impl Default for ControllerList {
    /// The empty list.
    fn default() -> Self {
        Self::new_zeroed()
    }
}

impl fmt::Debug for ControllerList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

open_enum! {
    /// Identifier Association: whose vendor a UUID belongs to.
    pub struct UuidAssociation: u8 {
        NONE = 0b00 => "No association reported",
        VENDOR = 0b01 => "PCI Vendor ID",
        SUBSYSTEM_VENDOR = 0b10 => "PCI Subsystem Vendor ID",
    }
}

/// An entry of a UUID list.
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
pub struct UuidEntry {
    /// UUID Lists Entry Header.
    pub header: UuidEntryHeader,
    /// Reserved.
    pub reserved1: Opaque<15>,
    /// The UUID, most significant byte first; all zero ends the list.
    pub uuid: [u8; 16],
}
const _: () = assert!(size_of::<UuidEntry>() == 32);
const _: () = assert!(offset_of!(UuidEntry, uuid) == 16);

/// UUID Lists Entry Header.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct UuidEntryHeader {
    /// Identifier Association.
    #[bits(2)]
    pub idassoc: UuidAssociation,
    #[bits(6)]
    __: u8,
}
display_words!(UuidEntryHeader { "IDASSOC" => (idassoc) });

/// UUID List, CNS 17h (NVMe Base 2.1 §5.1.13.2.14). A UUID Index counts its entries from 1.
#[derive(Clone, Copy, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct UuidList {
    /// Reserved.
    pub reserved0: Opaque<32>,
    /// The entries; number 127 is always zero.
    pub entries: [UuidEntry; 127],
}
const _: () = assert!(size_of::<UuidList>() == IDENTIFY_SIZE);

impl UuidList {
    /// The entries up to the first that is empty.
    pub fn iter(&self) -> impl Iterator<Item = &UuidEntry> {
        self.entries.iter().take_while(|entry| entry.uuid != [0; 16])
    }
}

impl Default for UuidList {
    /// The empty list.
    fn default() -> Self {
        Self::new_zeroed()
    }
}

impl fmt::Debug for UuidList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}
