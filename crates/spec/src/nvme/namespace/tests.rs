//! Namespaces as known devices report them.

use super::*;
use crate::nvme::identify::IDENTIFY_SIZE;
use crate::nvme::protection::{ProtectionFormat, ProtectionType};
use proptest::prelude::*;
use zerocopy::{FromBytes, IntoBytes};

/// A namespace of 1 GiB with the LBA formats of QEMU, in its format 4: blocks of 4096 bytes.
fn qemu() -> IdentifyNamespace {
    let mut bytes = [0; IDENTIFY_SIZE];
    let mut put =
        |offset: usize, field: &[u8]| bytes[offset..][..field.len()].copy_from_slice(field);
    for field in [0, 8, 16] {
        put(field, &0x4_0000_u64.to_le_bytes());
    }
    put(24, &[0x14, 7, 4, 3, 0x1F]);
    put(33, &[0x09]);
    put(104, &[0xAB; 16]);
    put(120, &0x5254_0000_0000_0001_u64.to_be_bytes());
    for (index, (ms, lbads)) in
        [(0_u16, 9_u8), (8, 9), (16, 9), (64, 9), (0, 12), (8, 12), (16, 12), (64, 12)]
            .iter()
            .enumerate()
    {
        put(128 + 4 * index, &ms.to_le_bytes());
        put(130 + 4 * index, &[*lbads]);
    }
    IdentifyNamespace::read_from_bytes(&bytes).unwrap()
}

#[test]
fn a_known_namespace() {
    let id = qemu();
    assert_eq!(id.nsze.get() * id.block_bytes().unwrap(), 1 << 30);
    assert_eq!(id.format().to_string(), "MS=0 LBADS=12 RP=Best");
    assert!(id.nsfeat.dae() && !id.nsfeat.thinp());
    assert_eq!(id.nsfeat.optperf(), PreferredSizes::SMALL);
    assert!(id.mc.mtelbas() && id.mc.mtsbs());
    assert_eq!(id.dpc.to_string(), "PIT1S+ PIT2S+ PIT3S+ PIIFB+ PIILB+");
    assert_eq!((id.dlfeat.drb(), id.dlfeat.wzds()), (Deallocated::ZEROES, true));
    let text = id.to_string();
    for line in [
        "NSZE      : 0x40000",
        "EUI64     : 0x5254000000000001",
        "lbaf     3: MS=64 LBADS=9 RP=Best",
        "lbaf     4: MS=0 LBADS=12 RP=Best (in use)",
    ] {
        assert!(text.lines().any(|other| other == line), "{line}\n{text}");
    }
}

#[test]
fn the_upper_index_counts_with_more_than_16_formats() {
    let mut id =
        IdentifyNamespace { flbas: Flbas::new().with_format_index(0x25), ..Default::default() };
    id.lbaf[0x05].set(LbaFormat::new().with_lbads(9));
    id.lbaf[0x25].set(LbaFormat::new().with_lbads(12));
    for (nlbaf_z, block) in [(0, 512), (15, 512), (16, 4096), (63, 4096), (255, 4096)] {
        id.nlbaf_z = nlbaf_z;
        assert_eq!(id.block_bytes(), Some(block), "NLBAF {nlbaf_z}");
    }
    assert_eq!(Flbas::from_bits(0x65).format_index(), 0x35);
    assert_eq!(Flbas::new().with_format_index(0x35).with_mtelba(true).into_bits(), 0x75);
}

#[test]
fn sizes_of_blocks() {
    let sizes = [0, 8, 9, 63, 64, 255].map(|lbads| LbaFormat::new().with_lbads(lbads).data_bytes());
    assert_eq!(sizes, [None, None, Some(512), Some(1 << 63), None, None]);
}

#[test]
fn protection_of_a_namespace() {
    let dps = Dps::new().with_pit(ProtectionType::TYPE_3).with_pip(true);
    assert_eq!(dps.into_bits(), 0b1011);
    // 64b guard with a storage tag of 16 bits, qualified as the 32b one.
    let format = ExtendedLbaFormat::from_bits(1 << 9 | 0b10 << 7 | 16);
    assert_eq!(format.pif(), ProtectionFormat::GUARD_64);
    assert_eq!((format.sts(), format.qpif()), (16, QualifiedFormat::GUARD_32));
}

#[test]
fn states_of_an_independent_namespace() {
    let status = NamespaceStatus::from_bits(0b111);
    assert_eq!(status.to_string(), "NRDY+ IOI=Degraded");
    assert_eq!(IndependentNsfeat::from_bits(0b11_1000).to_string(), "UIDREUSE+ RMEDIA+ VWCNP+");
}

proptest! {
    #[test]
    fn any_namespace_survives_and_prints(seed: [u8; 32], at in 0..IDENTIFY_SIZE - 32) {
        let mut bytes = [0x5A; IDENTIFY_SIZE];
        bytes[at..at + 32].copy_from_slice(&seed);
        let id = IdentifyNamespace::read_from_bytes(&bytes).unwrap();
        prop_assert_eq!(id.as_bytes(), bytes);
        prop_assert_eq!(id.to_string().lines().count(), 38 + usize::from(id.nlbaf_z).min(63) + 1);
        let nvm = IdentifyNamespaceNvm::read_from_bytes(&bytes).unwrap();
        prop_assert!(nvm.to_string().lines().count() >= 10);
        let independent = IdentifyNamespaceIndependent::read_from_bytes(&bytes).unwrap();
        prop_assert_eq!(independent.to_string().lines().count(), 12);
        let creation = NamespaceCreation::read_from_bytes(&bytes).unwrap();
        prop_assert_eq!(creation.as_bytes(), bytes);
    }

    #[test]
    fn format_indexes_survive(index in 0_u8..64, bits: u8) {
        let flbas = Flbas::from_bits(bits).with_format_index(index);
        prop_assert_eq!(flbas.format_index(), index);
        prop_assert_eq!(flbas.into_bits() & 0x90, bits & 0x90);
    }
}
