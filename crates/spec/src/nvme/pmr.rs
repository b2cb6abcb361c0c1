//! Registers of the Persistent Memory Region (NVMe Base 2.1 §3.1.4.22 to §3.1.4.28 and §8.2.4).

use bitfield_struct::bitfield;

use super::cmb::ThroughputUnits;

open_enum! {
    /// Unit of the timeout (PMRCAP.PMRTU).
    pub struct TimeUnits: u8 {
        MS_500 = 0 => "500 milliseconds",
        MINUTES = 1 => "minutes",
    }
}

/// PMRCAP, Persistent Memory Region Capabilities (NVMe Base 2.1 §3.1.4.22).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Pmrcap {
    #[bits(3)]
    __: u8,
    /// Read Data Support: data and metadata that the controller produces.
    pub rds: bool,
    /// Write Data Support: data and metadata that the controller consumes.
    pub wds: bool,
    /// Base Indicator Register: the BAR that is the region; 2 to 5 are valid.
    #[bits(3)]
    pub bir: u8,
    /// Persistent Memory Region Time Units.
    #[bits(2)]
    pub pmrtu: TimeUnits,
    /// Write barrier (PMRWBM bit 0, CMR): the completion of a read from the region.
    pub barrier_memory_read: bool,
    /// Write barrier (PMRWBM bit 1, CPMTSTSR): the completion of a read of PMRSTS.
    pub barrier_status_read: bool,
    #[bits(4)]
    __: u8,
    /// Persistent Memory Region Timeout, in those units.
    pub pmrto: u8,
    /// Controller Memory Space Supported: commands may reference the region.
    pub cmss: bool,
    #[bits(7)]
    __: u8,
}
display_words!(Pmrcap {
    "RDS" => (rds), "WDS" => (wds), "BIR" => (bir), "PMRTU" => (pmrtu),
    "PMRWBM.MemRead" => (barrier_memory_read), "PMRWBM.StsRead" => (barrier_status_read),
    "PMRTO" => (pmrto), "CMSS" => (cmss),
});

impl Pmrcap {
    /// How long the region may take to become ready or not ready, in milliseconds; `None` if the unit is
    /// reserved.
    #[must_use]
    pub const fn timeout_ms(self) -> Option<u32> {
        match self.pmrtu() {
            TimeUnits::MS_500 => Some(self.pmrto() as u32 * 500),
            TimeUnits::MINUTES => Some(self.pmrto() as u32 * 60_000),
            _ => None,
        }
    }
}

/// PMRCTL, Persistent Memory Region Control (NVMe Base 2.1 §3.1.4.23).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Pmrctl {
    /// Enable.
    pub en: bool,
    #[bits(31)]
    __: u32,
}
display_words!(Pmrctl { "EN" => (en) });

open_enum! {
    /// Health of the region (PMRSTS.HSTS).
    pub struct HealthStatus: u8 {
        NORMAL = 0 => "Normal Operation",
        RESTORE_ERROR = 1 => "Restore Error",
        READ_ONLY = 2 => "Read Only",
        UNRELIABLE = 3 => "Unreliable",
    }
}

/// PMRSTS, Persistent Memory Region Status (NVMe Base 2.1 §3.1.4.24).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Pmrsts {
    /// Error: not zero if a write may have been lost; the value is the vendor's.
    pub err: u8,
    /// Not Ready.
    pub nrdy: bool,
    /// Health Status.
    #[bits(3)]
    pub hsts: HealthStatus,
    /// Controller Base Address Invalid: the controller memory space is not enabled because of it.
    pub cbai: bool,
    #[bits(19)]
    __: u32,
}
display_words!(Pmrsts { "ERR" => hex(err), "NRDY" => (nrdy), "HSTS" => (hsts), "CBAI" => (cbai) });

/// PMREBS, Persistent Memory Region Elasticity Buffer Size (NVMe Base 2.1 §3.1.4.25).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Pmrebs {
    /// PMR Elasticity Buffer Size Units.
    #[bits(4)]
    pub pmrszu: ThroughputUnits,
    /// PMR Read Bypass Behavior: reads always pass writes that they do not conflict with.
    pub pmrrbb: bool,
    #[bits(3)]
    __: u8,
    /// PMR Elasticity Buffer Size Base, in those units.
    #[bits(24)]
    pub pmrwbz: u32,
}
display_words!(Pmrebs { "PMRSZU" => (pmrszu), "PMRRBB" => (pmrrbb), "PMRWBZ" => (pmrwbz) });

/// PMRSWTP, Persistent Memory Region Sustained Write Throughput (NVMe Base 2.1 §3.1.4.26).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Pmrswtp {
    /// PMR Sustained Write Throughput Units, per second.
    #[bits(4)]
    pub pmrswtu: ThroughputUnits,
    #[bits(4)]
    __: u8,
    /// PMR Sustained Write Throughput, in those units.
    #[bits(24)]
    pub pmrswtv: u32,
}
display_words!(Pmrswtp { "PMRSWTU" => (pmrswtu), "PMRSWTV" => (pmrswtv) });

/// PMRMSCL, Persistent Memory Region Memory Space Control Lower (NVMe Base 2.1 §3.1.4.27).
#[bitfield(u32)]
#[derive(PartialEq, Eq)]
pub struct Pmrmscl {
    __: bool,
    /// Controller Memory Space Enable: addresses in the controller's range reference the region.
    pub cmse: bool,
    #[bits(10)]
    __: u16,
    /// Controller Base Address, bits 31 to 12; PMRMSCU holds bits 63 to 32.
    #[bits(20)]
    pub cba_31_12: u32,
}
display_words!(Pmrmscl { "CMSE" => (cmse), "CBA[31:12]" => hex(cba_31_12) });

impl Pmrmscl {
    /// The controller base address in bytes, with PMRMSCU as its upper half.
    #[must_use]
    pub const fn base_address(self, pmrmscu: u32) -> u64 {
        (pmrmscu as u64) << 32 | (self.cba_31_12() as u64) << 12
    }

    /// The register pair (PMRMSCL, PMRMSCU) for a controller base address, enabled; bits 11 to 0 of
    /// `address` are dropped.
    #[must_use]
    pub const fn enabled_at(address: u64) -> (Self, u32) {
        let [a, b, c, d, e, f, g, h] = address.to_le_bytes();
        let lower = u32::from_le_bytes([a, b, c, d]);
        let register = Self::new().with_cmse(true).with_cba_31_12(lower >> 12);
        (register, u32::from_le_bytes([e, f, g, h]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn capabilities_of_a_region_behind_bar_4() {
        // As QEMU reports it: RDS, WDS, BIR 4, write barrier by PMRSTS read, CMSS.
        let capabilities = Pmrcap::from_bits(0x0100_0898);
        assert_eq!(capabilities.bir(), 4);
        assert!(capabilities.rds() && capabilities.wds() && capabilities.cmss());
        assert!(capabilities.barrier_status_read() && !capabilities.barrier_memory_read());
    }

    #[test]
    fn timeouts() {
        assert_eq!(Pmrcap::from_bits(0x00FF_0000).timeout_ms(), Some(127_500));
        assert_eq!(Pmrcap::from_bits(0x00FF_0100).timeout_ms(), Some(15_300_000));
        assert_eq!(Pmrcap::from_bits(0x00FF_0200).timeout_ms(), None);
    }

    #[test]
    fn status_of_a_region_that_lost_writes() {
        let status = Pmrsts::from_bits(0x0000_0601);
        assert_eq!(status.to_string(), "ERR=0x1 NRDY- HSTS=Unreliable CBAI-");
        assert!(Pmrsts::from_bits(0x1100).nrdy() && Pmrsts::from_bits(0x1100).cbai());
    }

    proptest! {
        #[test]
        fn base_address_keeps_its_page(address: u64) {
            let (lower, upper) = Pmrmscl::enabled_at(address);
            prop_assert!(lower.cmse());
            prop_assert_eq!(lower.base_address(upper), address & !0xFFF);
        }
    }
}
