//! Power states (NVMe Base 2.1 §5.1.13.2.1, Figure 313).

use core::fmt;
use core::mem::{offset_of, size_of};

use bitfield_struct::bitfield;
use zerocopy::little_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::le::Le16;
use crate::opaque::Opaque;

open_enum! {
    /// Unit of a power (Idle Power Scale, Active Power Scale).
    pub struct PowerScale: u8 {
        NOT_REPORTED = 0b00 => "not reported",
        MILLIWATTS_0_1 = 0b01 => "0.1 mW",
        MILLIWATTS_10 = 0b10 => "10 mW",
    }
}

impl PowerScale {
    /// The unit in microwatts; `None` if the power is not reported.
    #[must_use]
    pub const fn microwatts(self) -> Option<u32> {
        match self {
            Self::MILLIWATTS_0_1 => Some(100),
            Self::MILLIWATTS_10 => Some(10_000),
            _ => None,
        }
    }
}

/// Bytes 2 and 3 of a power state descriptor.
#[bitfield(u16)]
#[derive(PartialEq, Eq)]
pub struct PowerStateFlags {
    __: u8,
    /// Max Power Scale: the unit of the maximum power is 0.1 mW instead of 10 mW.
    pub mxps: bool,
    /// Non-Operational State: no I/O commands are processed.
    pub nops: bool,
    #[bits(6)]
    __: u8,
}
display_words!(PowerStateFlags { "MXPS" => (mxps), "NOPS" => (nops) });

/// Idle power: its scale.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct IdlePowerScale {
    #[bits(6)]
    __: u8,
    /// Idle Power Scale.
    #[bits(2)]
    pub ips: PowerScale,
}
display_words!(IdlePowerScale { "IPS" => (ips) });

/// Active power: its workload and its scale.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct ActivePowerWorkload {
    /// Active Power Workload: 0 for none, 1 and 2 for those of NVMe Base 2.1 §8.1.17.
    #[bits(3)]
    pub apw: u8,
    #[bits(3)]
    __: u8,
    /// Active Power Scale.
    #[bits(2)]
    pub aps: PowerScale,
}
display_words!(ActivePowerWorkload { "APW" => (apw), "APS" => (aps) });

/// Units of two of the power loss times.
#[bitfield(u8)]
#[derive(PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
pub struct PowerLossScales {
    /// Emergency Power Fail Recovery Time Scale.
    #[bits(4)]
    pub epfrts: u8,
    /// Forced Quiescence Vault Time Scale.
    #[bits(4)]
    pub fqvts: u8,
}
display_words!(PowerLossScales { "EPFRTS" => (epfrts), "FQVTS" => (fqvts) });

/// A power state descriptor.
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
pub struct PowerStateDescriptor {
    /// Maximum Power in the unit that `flags` tells.
    pub mp: U16,
    /// Scale of the maximum power, and whether the state is operational.
    pub flags: Le16<PowerStateFlags>,
    /// Entry Latency in microseconds.
    pub enlat: U32,
    /// Exit Latency in microseconds.
    pub exlat: U32,
    /// Relative Read Throughput: 5 bits, 0 is the best.
    pub rrt: u8,
    /// Relative Read Latency: 5 bits, 0 is the best.
    pub rrl: u8,
    /// Relative Write Throughput: 5 bits, 0 is the best.
    pub rwt: u8,
    /// Relative Write Latency: 5 bits, 0 is the best.
    pub rwl: u8,
    /// Idle Power in the unit of `ips`.
    pub idlp: U16,
    /// Idle Power Scale.
    pub ips: IdlePowerScale,
    /// Reserved.
    pub reserved19: u8,
    /// Active Power in the unit of `apw`.
    pub actp: U16,
    /// Active Power Workload and Active Power Scale.
    pub apw: ActivePowerWorkload,
    /// Emergency Power Fail Recovery Time.
    pub epfrt: u8,
    /// Forced Quiescence Vault Time.
    pub fqvt: u8,
    /// Emergency Power Fail Vault Time.
    pub epfvt: u8,
    /// Units of `epfrt` and `fqvt`.
    pub scales: PowerLossScales,
    /// Unit of `epfvt`: Emergency Power Fail Vault Time Scale, 4 bits.
    pub epfvts: u8,
    /// Reserved.
    pub reserved28: Opaque<4>,
}
const _: () = assert!(size_of::<PowerStateDescriptor>() == 32);
const _: () = assert!(offset_of!(PowerStateDescriptor, enlat) == 4);
const _: () = assert!(offset_of!(PowerStateDescriptor, rrt) == 12);
const _: () = assert!(offset_of!(PowerStateDescriptor, idlp) == 16);
const _: () = assert!(offset_of!(PowerStateDescriptor, actp) == 20);
const _: () = assert!(offset_of!(PowerStateDescriptor, epfrt) == 23);

impl PowerStateDescriptor {
    /// The most power that the state draws, in microwatts.
    #[must_use]
    pub fn max_microwatts(&self) -> u32 {
        let unit = if self.flags.get().mxps() { 100 } else { 10_000 };
        u32::from(self.mp.get()) * unit
    }
}

impl fmt::Display for PowerStateDescriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flags = self.flags.get();
        let microwatts = self.max_microwatts();
        write!(
            f,
            "mp:{}.{:04}W {} enlat:{} exlat:{} rrt:{} rrl:{} rwt:{} rwl:{}",
            microwatts / 1_000_000,
            microwatts % 1_000_000 / 100,
            if flags.nops() { "non-operational" } else { "operational" },
            self.enlat,
            self.exlat,
            self.rrt,
            self.rrl,
            self.rwt,
            self.rwl
        )
    }
}
