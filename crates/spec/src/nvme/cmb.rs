//! Registers of the Controller Memory Buffer (NVMe Base 2.1 §3.1.4.11 to §3.1.4.19 and §8.2.1).

use bitfield_struct::bitfield;

/// Alignment in bytes of the controller base address: CMBMSC.CBA holds bits 63 to 12.
pub const BASE_ADDRESS_ALIGNMENT: u64 = 4096;

/// CMBLOC, Controller Memory Buffer Location (NVMe Base 2.1 §3.1.4.11). Reads as zero until CMBMSC.CRE is
/// set, if CAP.CMBS says so.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cmbloc {
    /// Base Indicator Register: the BAR; 0 and 2 to 5 are valid.
    #[bits(3)]
    pub bir: u8,
    /// CMB Queue Mixed Memory Support: a queue may be partly in the buffer.
    pub cqmms: bool,
    /// CMB Queue Physically Discontiguous Support.
    pub cqpds: bool,
    /// CMB Data Pointer Mixed Locations Support.
    pub cdpmls: bool,
    /// CMB Data Pointer and Command Independent Locations Support.
    pub cdpcils: bool,
    /// CMB Data Metadata Mixed Memory Support.
    pub cdmmms: bool,
    /// CMB Queue Dword Alignment: queues may begin at any dword.
    pub cqda: bool,
    #[bits(3)]
    __: u8,
    /// Offset in the BAR in units of CMBSZ.SZU.
    #[bits(20)]
    pub ofst: u32,
}
display_words!(Cmbloc {
    "BIR" => (bir), "CQMMS" => (cqmms), "CQPDS" => (cqpds), "CDPMLS" => (cdpmls),
    "CDPCILS" => (cdpcils), "CDMMMS" => (cdmmms), "CQDA" => (cqda), "OFST" => hex(ofst),
});

impl Cmbloc {
    /// The offset in the BAR in bytes; `None` if the unit is reserved. At most 64 PiB, so it cannot wrap.
    #[must_use]
    pub const fn offset_bytes(self, units: SizeUnits) -> Option<u64> {
        match units.bytes() {
            Some(unit) => Some(self.ofst() as u64 * unit),
            None => None,
        }
    }
}

open_enum! {
    /// Granularity of CMBSZ.SZ and CMBLOC.OFST (CMBSZ.SZU).
    pub struct SizeUnits: u8 {
        KIB_4 = 0 => "4 KiB",
        KIB_64 = 1 => "64 KiB",
        MIB_1 = 2 => "1 MiB",
        MIB_16 = 3 => "16 MiB",
        MIB_256 = 4 => "256 MiB",
        GIB_4 = 5 => "4 GiB",
        GIB_64 = 6 => "64 GiB",
    }
}

impl SizeUnits {
    /// The unit in bytes; `None` for a reserved code.
    #[must_use]
    pub const fn bytes(self) -> Option<u64> {
        if self.into_bits() <= Self::GIB_64.into_bits() {
            Some(4096 << (4 * self.into_bits()))
        } else {
            None
        }
    }
}

/// CMBSZ, Controller Memory Buffer Size (NVMe Base 2.1 §3.1.4.12). Reads as zero until CMBMSC.CRE is set,
/// if CAP.CMBS says so.
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cmbsz {
    /// Submission Queue Support.
    pub sqs: bool,
    /// Completion Queue Support.
    pub cqs: bool,
    /// PRP SGL List Support.
    pub lists: bool,
    /// Read Data Support: data and metadata that the controller produces.
    pub rds: bool,
    /// Write Data Support: data and metadata that the controller consumes.
    pub wds: bool,
    #[bits(3)]
    __: u8,
    /// Size Units.
    #[bits(4)]
    pub szu: SizeUnits,
    /// Size in those units.
    #[bits(20)]
    pub sz: u32,
}
display_words!(Cmbsz {
    "SQS" => (sqs), "CQS" => (cqs), "LISTS" => (lists), "RDS" => (rds), "WDS" => (wds),
    "SZU" => (szu), "SZ" => (sz),
});

impl Cmbsz {
    /// The size in bytes; `None` if the unit is reserved. The BAR may be smaller, and then limits it.
    #[must_use]
    pub const fn size_bytes(self) -> Option<u64> {
        match self.szu().bytes() {
            Some(unit) => Some(self.sz() as u64 * unit),
            None => None,
        }
    }

    /// A size of exactly `bytes` in the smallest unit that can hold it, no uses set; `None` if there is
    /// none.
    #[must_use]
    pub fn from_size(bytes: u64) -> Option<Self> {
        SizeUnits::KNOWN.iter().find_map(|szu| {
            let unit = szu.bytes()?;
            let sz = u32::try_from(bytes / unit).ok()?;
            let fits = bytes.is_multiple_of(unit) && sz < 1 << 20;
            fits.then(|| Self::new().with_szu(*szu).with_sz(sz))
        })
    }
}

/// CMBMSC, Controller Memory Buffer Memory Space Control (NVMe Base 2.1 §3.1.4.16).
#[bitfield(u64)]
#[derive(PartialEq, Eq)]
pub struct Cmbmsc {
    /// Capabilities Registers Enabled: CMBLOC and CMBSZ show their values.
    pub cre: bool,
    /// Controller Memory Space Enable: addresses in the controller's range reference the buffer.
    pub cmse: bool,
    #[bits(10)]
    __: u16,
    /// Controller Base Address, bits 63 to 12.
    #[bits(52)]
    pub cba_63_12: u64,
}
display_words!(Cmbmsc { "CRE" => (cre), "CMSE" => (cmse), "CBA" => hex(base_address) });

impl Cmbmsc {
    /// The controller base address in bytes.
    #[must_use]
    pub const fn base_address(self) -> u64 {
        self.cba_63_12() << 12
    }

    /// Replaces the controller base address; bits 11 to 0 of `address` are dropped.
    #[must_use]
    pub const fn with_base_address(self, address: u64) -> Self {
        self.with_cba_63_12(address >> 12)
    }
}

/// CMBSTS, Controller Memory Buffer Status (NVMe Base 2.1 §3.1.4.17).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cmbsts {
    /// Controller Base Address Invalid: the controller memory space is not enabled because of it.
    pub cbai: bool,
    #[bits(31)]
    __: u32,
}
display_words!(Cmbsts { "CBAI" => (cbai) });

open_enum! {
    /// Granularity of elasticity buffers and write throughputs, of the PMR as well.
    pub struct ThroughputUnits: u8 {
        BYTES = 0 => "Bytes",
        KIB = 1 => "1 KiB",
        MIB = 2 => "1 MiB",
        GIB = 3 => "1 GiB",
    }
}

impl ThroughputUnits {
    /// The unit in bytes; `None` for a reserved code.
    #[must_use]
    pub const fn bytes(self) -> Option<u64> {
        if self.into_bits() <= Self::GIB.into_bits() {
            Some(1 << (10 * self.into_bits()))
        } else {
            None
        }
    }
}

/// CMBEBS, Controller Memory Buffer Elasticity Buffer Size (NVMe Base 2.1 §3.1.4.18).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cmbebs {
    /// CMB Elasticity Buffer Size Units.
    #[bits(4)]
    pub cmbszu: ThroughputUnits,
    /// CMB Read Bypass Behavior: reads always pass writes that they do not conflict with.
    pub cmbrbb: bool,
    #[bits(3)]
    __: u8,
    /// CMB Elasticity Buffer Size Base, in those units.
    #[bits(24)]
    pub cmbwbz: u32,
}
display_words!(Cmbebs { "CMBSZU" => (cmbszu), "CMBRBB" => (cmbrbb), "CMBWBZ" => (cmbwbz) });

/// CMBSWTP, Controller Memory Buffer Sustained Write Throughput (NVMe Base 2.1 §3.1.4.19).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Cmbswtp {
    /// CMB Sustained Write Throughput Units, per second.
    #[bits(4)]
    pub cmbswtu: ThroughputUnits,
    #[bits(4)]
    __: u8,
    /// CMB Sustained Write Throughput, in those units.
    #[bits(24)]
    pub cmbswtv: u32,
}
display_words!(Cmbswtp { "CMBSWTU" => (cmbswtu), "CMBSWTV" => (cmbswtv) });

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_buffer_of_512_mib_for_everything() {
        // SZU 1 MiB, SZ 512, all five uses.
        let size = Cmbsz::from_bits(0x0020_021F);
        assert_eq!(size.size_bytes(), Some(512 << 20));
        assert_eq!(size.to_string(), "SQS+ CQS+ LISTS+ RDS+ WDS+ SZU=1 MiB SZ=512");
        let location = Cmbloc::from_bits(0x0000_1002);
        assert_eq!((location.bir(), location.offset_bytes(size.szu())), (2, Some(1 << 20)));
    }

    #[test]
    fn every_unit() {
        let expected = [4 << 10, 64 << 10, 1 << 20, 16 << 20, 256 << 20, 4_u64 << 30, 64_u64 << 30];
        for code in 0..16 {
            let unit = SizeUnits::from_bits(code).bytes();
            assert_eq!(unit, expected.get(usize::from(code)).copied());
            let largest = Cmbsz::from_bits(0xFFFF_F000 | u32::from(code) << 8);
            assert_eq!(largest.size_bytes(), unit.map(|unit| unit * 0xF_FFFF));
        }
        for code in 0..16 {
            let unit = ThroughputUnits::from_bits(code).bytes();
            assert_eq!(unit, [1, 1 << 10, 1 << 20, 1 << 30].get(usize::from(code)).copied());
        }
    }

    #[test]
    fn sizes_that_have_no_encoding() {
        assert_eq!(Cmbsz::from_size(4095), None);
        assert_eq!(Cmbsz::from_size((1 << 32) + 4096), None);
        assert_eq!(Cmbsz::from_size(u64::MAX), None);
        assert_eq!(Cmbsz::from_size(1 << 32).unwrap().szu(), SizeUnits::KIB_64);
        assert_eq!(Cmbsz::from_size(0xF_FFFF << 12).unwrap().szu(), SizeUnits::KIB_4);
    }

    #[test]
    fn bits_of_the_location() {
        let bits = [3, 4, 5, 6, 7, 8].map(|bit| Cmbloc::from_bits(1 << bit));
        assert!(bits[0].cqmms() && bits[1].cqpds() && bits[2].cdpmls());
        assert!(bits[3].cdpcils() && bits[4].cdmmms() && bits[5].cqda());
    }

    proptest! {
        #[test]
        fn sizes_survive(sz in 0_u64..1 << 20, unit in 0_u8..7) {
            let bytes = sz * SizeUnits::from_bits(unit).bytes().unwrap();
            prop_assert_eq!(Cmbsz::from_size(bytes).unwrap().size_bytes(), Some(bytes));
        }

        #[test]
        fn base_address_keeps_its_page(address: u64) {
            let control = Cmbmsc::new().with_cre(true).with_cmse(true).with_base_address(address);
            prop_assert_eq!(control.base_address(), address & !0xFFF);
            prop_assert_eq!(control.into_bits(), address & !0xFFF | 3);
        }
    }
}
