//! Scatter Gather Lists (NVMe Base 2.1 §4.3.2).

use core::fmt;
use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, transmute};

/// Bytes of a descriptor.
pub const DESCRIPTOR_SIZE: u32 = 16;

open_enum! {
    /// SGL Descriptor Type (NVMe Base 2.1 §4.3.2, Figure 115).
    pub struct DescriptorType: u8 {
        DATA_BLOCK = 0x0 => "Data Block",
        BIT_BUCKET = 0x1 => "Bit Bucket",
        SEGMENT = 0x2 => "Segment",
        LAST_SEGMENT = 0x3 => "Last Segment",
        KEYED_DATA_BLOCK = 0x4 => "Keyed Data Block",
        TRANSPORT_DATA_BLOCK = 0x5 => "Transport Data Block",
        VENDOR_SPECIFIC = 0xF => "Vendor Specific",
    }
}

open_enum! {
    /// SGL Descriptor Sub Type (NVMe Base 2.1 §4.3.2, Figure 116). Ah to Fh belong to the transport.
    pub struct DescriptorSubType: u8 {
        ADDRESS = 0x0 => "Address",
        OFFSET = 0x1 => "Offset",
        TRANSPORT = 0xA => "Transport",
        INVALIDATE_KEY = 0xF => "Invalidate Key",
    }
}

/// SGL Identifier: the last byte of a descriptor.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct SglIdentifier {
    /// SGL Descriptor Sub Type.
    #[bits(4)]
    pub sub_type: DescriptorSubType,
    /// SGL Descriptor Type.
    #[bits(4)]
    pub descriptor_type: DescriptorType,
}
display_words!(SglIdentifier { "Type" => (descriptor_type), "SubType" => (sub_type) });

/// A descriptor as it lies in memory, in the layout of most types; [`SglDescriptor::decode`] tells them
/// apart.
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
pub struct SglDescriptor {
    /// Address.
    pub address: U64,
    /// Length in bytes.
    pub length: U32,
    /// Reserved, except in a keyed descriptor.
    pub reserved: [u8; 3],
    /// SGL Identifier.
    pub identifier: SglIdentifier,
}
const _: () = assert!(size_of::<SglDescriptor>() == 16);
const _: () = assert!(offset_of!(SglDescriptor, length) == 8);
const _: () = assert!(offset_of!(SglDescriptor, identifier) == 15);

/// The layout of a keyed descriptor (NVMe Base 2.1 §4.3.2, Figure 121).
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct KeyedLayout {
    address: U64,
    length_low: U16,
    length_high: u8,
    key: U32,
    identifier: SglIdentifier,
}
const _: () = assert!(size_of::<KeyedLayout>() == 16);

/// What a descriptor says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sgl {
    /// A block of data.
    DataBlock {
        /// Where it is.
        address: u64,
        /// Bytes; 0 is valid.
        length: u32,
    },
    /// Source data to throw away.
    BitBucket {
        /// Bytes; 0 is valid.
        length: u32,
    },
    /// The next segment, which is not the last.
    Segment {
        /// Where it is.
        address: u64,
        /// Bytes of descriptors: a positive multiple of 16.
        length: u32,
    },
    /// The next segment, which is the last.
    LastSegment {
        /// Where it is.
        address: u64,
        /// Bytes of descriptors: a positive multiple of 16.
        length: u32,
    },
    /// A block of data that a remote key opens (RDMA).
    KeyedDataBlock {
        /// Where it is.
        address: u64,
        /// Bytes: 24 bits.
        length: u32,
        /// The key.
        key: u32,
        /// Whether the key is to be invalidated afterwards.
        invalidate: bool,
    },
    /// A block of data that the transport moves.
    TransportDataBlock {
        /// Bytes.
        length: u32,
    },
    /// Any other combination of type and sub type.
    Other(SglIdentifier),
}

impl SglDescriptor {
    const fn plain(address: u64, length: u32, descriptor_type: DescriptorType) -> Self {
        Self {
            address: U64::new(address),
            length: U32::new(length),
            reserved: [0; 3],
            identifier: SglIdentifier::new().with_descriptor_type(descriptor_type),
        }
    }

    /// A block of data.
    #[inline]
    #[must_use]
    pub const fn data_block(address: u64, length: u32) -> Self {
        Self::plain(address, length, DescriptorType::DATA_BLOCK)
    }

    /// Source data to throw away.
    #[inline]
    #[must_use]
    pub const fn bit_bucket(length: u32) -> Self {
        Self::plain(0, length, DescriptorType::BIT_BUCKET)
    }

    /// The next segment, which is not the last.
    #[inline]
    #[must_use]
    pub const fn segment(address: u64, length: u32) -> Self {
        Self::plain(address, length, DescriptorType::SEGMENT)
    }

    /// The next segment, which is the last.
    #[inline]
    #[must_use]
    pub const fn last_segment(address: u64, length: u32) -> Self {
        Self::plain(address, length, DescriptorType::LAST_SEGMENT)
    }

    /// A block of data that a remote key opens; `None` if the length has more than 24 bits.
    #[must_use]
    pub const fn keyed_data_block(
        address: u64,
        length: u32,
        key: u32,
        invalidate: bool,
    ) -> Option<Self> {
        let [low, middle, high, 0] = length.to_le_bytes() else {
            return None;
        };
        let sub_type =
            if invalidate { DescriptorSubType::INVALIDATE_KEY } else { DescriptorSubType::ADDRESS };
        let keyed = KeyedLayout {
            address: U64::new(address),
            length_low: U16::from_bytes([low, middle]),
            length_high: high,
            key: U32::new(key),
            identifier: SglIdentifier::new()
                .with_descriptor_type(DescriptorType::KEYED_DATA_BLOCK)
                .with_sub_type(sub_type),
        };
        Some(transmute!(keyed))
    }

    /// A block of data that the transport moves.
    #[must_use]
    pub const fn transport_data_block(length: u32) -> Self {
        let mut descriptor = Self::plain(0, length, DescriptorType::TRANSPORT_DATA_BLOCK);
        descriptor.identifier = descriptor.identifier.with_sub_type(DescriptorSubType::TRANSPORT);
        descriptor
    }

    /// What the descriptor says. Reserved bytes are ignored.
    #[inline]
    #[must_use]
    pub fn decode(&self) -> Sgl {
        let (address, length) = (self.address.get(), self.length.get());
        let identifier = self.identifier;
        match (identifier.descriptor_type(), identifier.sub_type()) {
            (DescriptorType::DATA_BLOCK, DescriptorSubType::ADDRESS) => {
                Sgl::DataBlock { address, length }
            }
            (DescriptorType::BIT_BUCKET, DescriptorSubType::ADDRESS) => Sgl::BitBucket { length },
            (DescriptorType::SEGMENT, DescriptorSubType::ADDRESS) => {
                Sgl::Segment { address, length }
            }
            (DescriptorType::LAST_SEGMENT, DescriptorSubType::ADDRESS) => {
                Sgl::LastSegment { address, length }
            }
            (
                DescriptorType::KEYED_DATA_BLOCK,
                sub_type @ (DescriptorSubType::ADDRESS | DescriptorSubType::INVALIDATE_KEY),
            ) => {
                let keyed: KeyedLayout = transmute!(*self);
                Sgl::KeyedDataBlock {
                    address,
                    length: u32::from(keyed.length_low.get()) | u32::from(keyed.length_high) << 16,
                    key: keyed.key.get(),
                    invalidate: sub_type == DescriptorSubType::INVALIDATE_KEY,
                }
            }
            (DescriptorType::TRANSPORT_DATA_BLOCK, DescriptorSubType::TRANSPORT) => {
                Sgl::TransportDataBlock { length }
            }
            _ => Sgl::Other(identifier),
        }
    }
}

impl fmt::Display for SglDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.identifier.descriptor_type())?;
        match self.decode() {
            Sgl::DataBlock { address, length }
            | Sgl::Segment { address, length }
            | Sgl::LastSegment { address, length } => {
                write!(f, " ADDR={address:#x} LEN={length}")
            }
            Sgl::KeyedDataBlock { address, length, key, .. } => {
                write!(f, " ADDR={address:#x} LEN={length} KEY={key:#x}")
            }
            Sgl::BitBucket { length } | Sgl::TransportDataBlock { length } => {
                write!(f, " LEN={length}")
            }
            Sgl::Other(identifier) => write!(f, " ({})", identifier.sub_type()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_of_descriptors() {
        let block = SglDescriptor::data_block(0x1122_3344_5566_7788, 0x1000);
        assert_eq!(
            block.as_bytes(),
            [0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0, 0x10, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(SglDescriptor::last_segment(0, 16).as_bytes()[15], 0x30);
        assert_eq!(SglDescriptor::transport_data_block(1).as_bytes()[15], 0x5A);
        let keyed = SglDescriptor::keyed_data_block(0, 0x01_0203, 0xA0B0_C0D0, true).unwrap();
        assert_eq!(keyed.as_bytes()[8..], [3, 2, 1, 0xD0, 0xC0, 0xB0, 0xA0, 0x4F]);
        assert_eq!(SglDescriptor::keyed_data_block(0, 1 << 24, 0, false), None);
    }

    #[test]
    fn all_zeroes_is_an_empty_data_block() {
        let null = SglDescriptor::default();
        assert_eq!(null.decode(), Sgl::DataBlock { address: 0, length: 0 });
    }

    #[test]
    fn every_identifier_decodes_to_one_thing() {
        let mut known = 0;
        for bits in 0..=u8::MAX {
            let identifier = SglIdentifier::from_bits(bits);
            let descriptor = SglDescriptor { identifier, ..SglDescriptor::default() };
            match descriptor.decode() {
                Sgl::Other(same) => assert_eq!(same, identifier),
                _ => known += 1,
            }
            assert!(!descriptor.to_string().is_empty());
        }
        println!("identifiers: 256, known: {known}");
        assert_eq!(known, 7);
    }

    #[test]
    fn prints_like_the_specification() {
        let block = SglDescriptor::data_block(0x1000, 512);
        assert_eq!(block.to_string(), "Data Block ADDR=0x1000 LEN=512");
        let offset = SglIdentifier::new().with_sub_type(DescriptorSubType::OFFSET);
        let block = SglDescriptor { identifier: offset, ..block };
        assert_eq!(block.to_string(), "Data Block (Offset)");
    }

    proptest! {
        #[test]
        fn fields_survive(address: u64, length: u32, key: u32, invalidate: bool) {
            let block = SglDescriptor::data_block(address, length);
            prop_assert_eq!(block.decode(), Sgl::DataBlock { address, length });
            let bucket = SglDescriptor::bit_bucket(length);
            prop_assert_eq!(bucket.decode(), Sgl::BitBucket { length });
            let segment = SglDescriptor::segment(address, length);
            prop_assert_eq!(segment.decode(), Sgl::Segment { address, length });
            let last = SglDescriptor::last_segment(address, length);
            prop_assert_eq!(last.decode(), Sgl::LastSegment { address, length });
            let length = length >> 8;
            let keyed = SglDescriptor::keyed_data_block(address, length, key, invalidate).unwrap();
            prop_assert_eq!(keyed.decode(), Sgl::KeyedDataBlock { address, length, key, invalidate });
        }

        #[test]
        fn any_bytes_survive(bytes: [u8; 16]) {
            let descriptor = SglDescriptor::read_from_bytes(&bytes).unwrap();
            prop_assert_eq!(descriptor.as_bytes(), bytes);
        }
    }
}
