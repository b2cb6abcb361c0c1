//! The Namespace Identification Descriptor list, CNS 03h (NVMe Base 2.1 §5.1.13.2.3).

use core::fmt;
use core::mem::size_of;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::nvme::CommandSet;

open_enum! {
    /// Namespace Identifier Type.
    pub struct NamespaceIdType: u8 {
        EUI64 = 0x01 => "EUI64",
        NGUID = 0x02 => "NGUID",
        UUID = 0x03 => "UUID",
        CSI = 0x04 => "CSI",
    }
}

/// What precedes each identifier.
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
pub struct NamespaceDescriptorHeader {
    /// Namespace Identifier Type.
    pub nidt: NamespaceIdType,
    /// Namespace Identifier Length in bytes; 0 ends the list.
    pub nidl: u8,
    /// Reserved.
    pub reserved2: [u8; 2],
}
const _: () = assert!(size_of::<NamespaceDescriptorHeader>() == 4);

/// One descriptor. All identifiers have their most significant byte first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NamespaceDescriptor<'a> {
    /// IEEE Extended Unique Identifier.
    Eui64([u8; 8]),
    /// Namespace Globally Unique Identifier.
    Nguid([u8; 16]),
    /// Universally Unique Identifier of RFC 9562.
    Uuid([u8; 16]),
    /// Command Set Identifier.
    Csi(CommandSet),
    /// A type that has no name, or one whose length is not what the type demands.
    Other {
        /// Namespace Identifier Type.
        nidt: NamespaceIdType,
        /// The identifier.
        nid: &'a [u8],
    },
}

impl<'a> NamespaceDescriptor<'a> {
    fn decode(nidt: NamespaceIdType, nid: &'a [u8]) -> Self {
        let other = Self::Other { nidt, nid };
        match (nidt, nid) {
            (NamespaceIdType::EUI64, _) => nid.try_into().map_or(other, Self::Eui64),
            (NamespaceIdType::NGUID, _) => nid.try_into().map_or(other, Self::Nguid),
            (NamespaceIdType::UUID, _) => nid.try_into().map_or(other, Self::Uuid),
            (NamespaceIdType::CSI, [csi]) => Self::Csi(CommandSet::from_bits(*csi)),
            _ => other,
        }
    }

    /// The type of the identifier.
    #[must_use]
    pub const fn nidt(&self) -> NamespaceIdType {
        match self {
            Self::Eui64(_) => NamespaceIdType::EUI64,
            Self::Nguid(_) => NamespaceIdType::NGUID,
            Self::Uuid(_) => NamespaceIdType::UUID,
            Self::Csi(_) => NamespaceIdType::CSI,
            Self::Other { nidt, .. } => *nidt,
        }
    }

    /// Writes the descriptor to the beginning of `buffer` and returns what is left of it. `None` if it does
    /// not fit, or if the identifier is empty or longer than 255 bytes.
    #[must_use]
    pub fn put<'b>(&self, buffer: &'b mut [u8]) -> Option<&'b mut [u8]> {
        let csi: [u8; 1];
        let nid: &[u8] = match self {
            Self::Eui64(eui64) => eui64,
            Self::Nguid(id) | Self::Uuid(id) => id,
            Self::Csi(set) => {
                csi = [set.into_bits()];
                &csi
            }
            Self::Other { nid, .. } => nid,
        };
        let header = NamespaceDescriptorHeader {
            nidt: self.nidt(),
            nidl: u8::try_from(nid.len()).ok().filter(|length| *length > 0)?,
            reserved2: [0; 2],
        };
        let (head, rest) = buffer.split_at_mut_checked(size_of::<NamespaceDescriptorHeader>())?;
        let (body, rest) = rest.split_at_mut_checked(nid.len())?;
        head.copy_from_slice(header.as_bytes());
        body.copy_from_slice(nid);
        Some(rest)
    }
}

impl fmt::Display for NamespaceDescriptor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}=", self.nidt())?;
        match self {
            Self::Eui64(id) => hex(id, f),
            Self::Nguid(id) => hex(id, f),
            Self::Uuid(id) => {
                for (index, group) in
                    [&id[..4], &id[4..6], &id[6..8], &id[8..10], &id[10..]].into_iter().enumerate()
                {
                    if index > 0 {
                        f.write_str("-")?;
                    }
                    hex(group, f)?;
                }
                Ok(())
            }
            Self::Csi(set) => write!(f, "{set}"),
            Self::Other { nid, .. } => hex(nid, f),
        }
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Walks the descriptors of a list. Ends at a length of zero, and at a descriptor that the buffer cuts off.
#[derive(Debug, Clone)]
pub struct NamespaceDescriptors<'a>(&'a [u8]);

impl<'a> NamespaceDescriptors<'a> {
    /// Takes what Identify returned.
    #[must_use]
    pub const fn new(list: &'a [u8]) -> Self {
        Self(list)
    }
}

impl<'a> Iterator for NamespaceDescriptors<'a> {
    type Item = NamespaceDescriptor<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let (header, rest) = NamespaceDescriptorHeader::read_from_prefix(self.0).ok()?;
        if header.nidl == 0 {
            return None;
        }
        let (nid, rest) = rest.split_at_checked(header.nidl.into())?;
        self.0 = rest;
        Some(NamespaceDescriptor::decode(header.nidt, nid))
    }
}
